//! Letters: addresses shown to be one's own, and new passwords.

use std::sync::Mutex;

use identity::mail::{Mail, MailError, Mailer, PostOffice};
use totp_rs::{Builder, Secret};

use crate::*;

/// Keeps what is sent, or fails as told.
#[derive(Default)]
struct Mailbox {
    sent: Mutex<Vec<Mail>>,
    fails: Mutex<Option<MailError>>,
}

#[async_trait::async_trait]
impl Mailer for Mailbox {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        if let Some(error) = *self.fails.lock().expect("whole") {
            return Err(error);
        }
        self.sent.lock().expect("whole").push(mail.clone());
        Ok(())
    }
}

impl Mailbox {
    /// The tokens that were sent to an address for a page, oldest first.
    fn tokens(&self, to: &str, page: &str) -> Vec<String> {
        let sent = self.sent.lock().expect("whole");
        let own = sent.iter().filter(|mail| mail.to == to);
        let token = |mail: &Mail| {
            let text = mail.text.expose_secret();
            let (_, rest) = text.split_once(&format!("example.com/{page}#token="))?;
            rest.lines().next().map(str::to_owned)
        };
        own.filter_map(token).collect()
    }
}

pub struct Post {
    office: PostOffice,
    pool: sqlx::PgPool,
    mailbox: Arc<Mailbox>,
}

impl Post {
    pub fn of(w: &World) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let office = PostOffice {
            wall: w.wall.clone(),
            bus: w.bus.clone(),
            mailer: mailbox.clone(),
            app_url: "https://app.example.com".into(),
        };
        Self { office, pool: w.database.pool.clone(), mailbox }
    }

    /// The tokens that an address has got by now for a page.
    pub async fn tokens(&self, to: &str, page: &str) -> Vec<String> {
        while self.office.send_one().await.expect("sent") {}
        self.mailbox.tokens(to, page)
    }

    async fn resets(&self) -> Vec<String> {
        self.tokens(ADA, "reset-password").await
    }

    async fn waiting(&self) -> i64 {
        let waiting = sqlx::query_scalar("select count(*) from identity.mail");
        waiting.fetch_one(&self.pool).await.expect("counted")
    }
}

const ADA: &str = "ada@acme.example";
const NEW: &str = "Battery staple 2";

async fn sign_in(w: &World, password: &str) -> &'static str {
    code(w.identity.sign_in(ADA, password.into(), &anywhere()).await)
}

#[tokio::test]
async fn a_new_password_comes_by_letter_once_and_ends_all_sessions() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let post = Post::of(&w);
    w.identity.request_password_reset(" Ada@acme.example").await.expect("asked");
    let token = post.resets().await.pop().expect("a letter");
    assert_eq!(code(w.identity.reset_password(&token, "weak".into()).await), "VALIDATION_FAILED");
    w.identity.reset_password(&token, NEW.into()).await.expect("set");
    assert_eq!(code(w.identity.reset_password(&token, NEW.into()).await), "LETTER_INVALID");
    let access = session.access_token.expose_secret();
    assert_eq!(code(w.identity.verify_anew(access).await), "AUTH_004");
    assert_eq!(sign_in(&w, PASSWORD).await, "AUTH_001");
    assert_eq!(sign_in(&w, NEW).await, "ok");
    let told = w.told(session.principal.account_id.expect("an account")).await;
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names[2..6],
        [
            "account.password_reset_requested",
            "account.password_changed",
            "account.email_verified",
            "account.sessions_revoked",
        ]
    );
    assert_eq!(post.waiting().await, 0, "what was sent is kept nowhere");
}

#[tokio::test]
async fn a_token_of_a_letter_ends_after_an_hour_and_with_the_next_password() {
    let w = World::new().await;
    w.admin().await;
    let post = Post::of(&w);
    w.identity.request_password_reset(ADA).await.expect("asked");
    w.identity.request_password_reset(ADA).await.expect("asked");
    assert_eq!(post.resets().await.len(), 1, "one letter a minute");
    w.clock.advance(TimeDelta::minutes(1));
    w.identity.request_password_reset(ADA).await.expect("asked");
    let tokens = post.resets().await;
    w.clock.advance(TimeDelta::minutes(59));
    let late = w.identity.reset_password(&tokens[0], NEW.into()).await;
    assert_eq!(code(late), "LETTER_INVALID", "an hour is over");
    w.identity.request_password_reset(ADA).await.expect("asked");
    let last = post.resets().await.pop().expect("a letter");
    w.identity.reset_password(&tokens[1], NEW.into()).await.expect("set");
    let other = w.identity.reset_password(&last, "Another battery 3".into()).await;
    assert_eq!(code(other), "LETTER_INVALID", "of several letters one counts");
}

#[tokio::test]
async fn an_unknown_address_is_answered_alike_and_gets_no_letter() {
    let w = World::new().await;
    w.admin().await;
    let post = Post::of(&w);
    for email in ["nobody@acme.example", "no address", "\0"] {
        w.identity.request_password_reset(email).await.expect("the same answer");
    }
    assert!(post.tokens("nobody@acme.example", "reset-password").await.is_empty());
    assert_eq!(post.waiting().await, 0);
}

#[tokio::test]
async fn a_new_password_lifts_the_lock() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let post = Post::of(&w);
    for _ in 0..5 {
        sign_in(&w, "wrong horse 1").await;
    }
    assert_eq!(sign_in(&w, PASSWORD).await, "AUTH_LOCKED");
    w.identity.request_password_reset(ADA).await.expect("asked");
    let token = post.resets().await.pop().expect("a letter");
    w.identity.reset_password(&token, NEW.into()).await.expect("set");
    assert_eq!(sign_in(&w, NEW).await, "ok");
    let told = w.told(session.principal.account_id.expect("an account")).await;
    assert!(told.iter().any(|(name, _)| name == "account.unlocked"), "{told:?}");
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_the_old_one_and_other_sessions_end() {
    let w = World::new().await;
    let (_, present) = w.admin().await;
    let other = w.identity.sign_in(ADA, password(), &anywhere()).await.expect("in");
    let (account, id) = (present.principal.account_id.expect("one"), present.principal.session_id);
    let change =
        |old: &str, new: &str| w.identity.change_password(account, id, old.into(), new.into());
    assert_eq!(code(change("wrong horse 1", NEW).await), "AUTH_001");
    assert_eq!(code(change(PASSWORD, "weak").await), "VALIDATION_FAILED");
    change(PASSWORD, NEW).await.expect("changed");
    assert_eq!(code(w.identity.verify_anew(present.access_token.expose_secret()).await), "ok");
    assert_eq!(code(w.identity.verify_anew(other.access_token.expose_secret()).await), "AUTH_004");
    assert_eq!(sign_in(&w, PASSWORD).await, "AUTH_001");
    assert_eq!(sign_in(&w, NEW).await, "ok");
}

#[tokio::test]
async fn an_invitation_by_letter_shows_whose_the_address_is_and_one_by_hand_does_not() {
    let w = World::new().await;
    let (company, session) = w.admin().await;
    let post = Post::of(&w);
    let account = session.principal.account_id.expect("an account");
    // Its token was shown to the operator, who may have taken it up.
    assert!(!w.identity.login(account).await.expect("a login").is_verified);
    let tokens = post.tokens(ADA, "verify-email").await;
    assert_eq!(tokens.len(), 1);
    assert_eq!(code(w.identity.verify_email(account, "garbage").await), "LETTER_INVALID");
    let other = AccountId(Uuid::from_u128(7));
    let foreign = w.identity.verify_email(other, &tokens[0]).await;
    assert_eq!(code(foreign), "LETTER_INVALID", "of another's session it says nothing");
    w.identity.verify_email(account, &tokens[0]).await.expect("shown");
    assert_eq!(code(w.identity.verify_email(account, &tokens[0]).await), "LETTER_INVALID");
    assert!(w.identity.login(account).await.expect("a login").is_verified);

    let system = Caller::system(company.company_id, "identity");
    let bo = invitee("bo@acme.example", Role::Hr);
    w.identity.invite(&system, order(2), bo.clone()).await.expect("invited");
    w.identity.invite(&system, order(2), bo).await.expect("a repeat");
    let tokens = post.tokens("bo@acme.example", "accept-invitation").await;
    assert_eq!(tokens.len(), 1, "a repeat sends nothing more");
    let joined = w.identity.accept_invitation(&tokens[0], password(), None).await.expect("joined");
    let account = joined.principal.account_id.expect("an account");
    assert!(w.identity.login(account).await.expect("a login").is_verified);
    assert!(post.tokens("bo@acme.example", "verify-email").await.is_empty());
}

#[tokio::test]
async fn the_address_is_shown_within_a_day() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let account = session.principal.account_id.expect("an account");
    let post = Post::of(&w);
    let token = post.tokens(ADA, "verify-email").await.pop().expect("a letter");
    w.clock.advance(TimeDelta::hours(24));
    assert_eq!(code(w.identity.verify_email(account, &token).await), "LETTER_INVALID");
    w.identity.request_verification(ADA).await.expect("asked");
    let token = post.tokens(ADA, "verify-email").await.pop().expect("another letter");
    w.identity.verify_email(account, &token).await.expect("shown");
}

#[tokio::test]
async fn a_letter_waits_for_a_mail_server_and_is_given_up_where_it_is_refused() {
    let w = World::new().await;
    w.admin().await;
    let post = Post::of(&w);
    post.resets().await;
    *post.mailbox.fails.lock().expect("whole") = Some(MailError::Unavailable);
    w.identity.request_password_reset(ADA).await.expect("asked");
    let n_before = post.resets().await.len();
    assert_eq!(post.waiting().await, 1);
    *post.mailbox.fails.lock().expect("whole") = None;
    assert_eq!(post.resets().await.len(), n_before, "not before its pause is over");
    w.clock.advance(TimeDelta::minutes(1));
    let token = post.resets().await.pop().expect("a letter");
    w.identity.reset_password(&token, NEW.into()).await.expect("the same token");

    *post.mailbox.fails.lock().expect("whole") = Some(MailError::Refused);
    w.identity.request_password_reset(ADA).await.expect("asked");
    post.resets().await;
    assert_eq!(post.waiting().await, 0);
}

#[tokio::test]
async fn what_the_old_password_proved_is_worth_nothing_after_a_reset() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let account = session.principal.account_id.expect("an account");
    let post = Post::of(&w);
    w.identity.request_password_reset(ADA).await.expect("asked");
    let token = post.resets().await.pop().expect("a letter");
    // The sign-in has proved the old password, and waits for the account that the reset holds.
    let mut holds = w.database.pool.begin().await.expect("begun");
    sqlx::query("select 1 from identity.account where account_id = $1 for update")
        .bind(account.0)
        .execute(&mut *holds)
        .await
        .expect("held");
    let entrance = anywhere();
    let stale = w.identity.sign_in(ADA, password(), &entrance);
    let reset = async {
        waits_for_a_lock(&w, "for share").await;
        sqlx::query(
            "update identity.account set password_no = password_no + 1 where account_id = $1",
        )
        .bind(account.0)
        .execute(&mut *holds)
        .await
        .expect("another password");
        holds.commit().await.expect("set");
    };
    let (stale, ()) = tokio::join!(stale, reset);
    assert_eq!(code(stale), "AUTH_001");
    // And a reset counts like that.
    let number = || async {
        sqlx::query_scalar::<_, i32>("select password_no from identity.account where email = $1")
            .bind(ADA)
            .fetch_one(&w.database.pool)
            .await
            .expect("a number")
    };
    let before = number().await;
    w.identity.reset_password(&token, NEW.into()).await.expect("set");
    assert_eq!(number().await, before + 1);
    assert_eq!(w.identity.sessions(account).await.expect("listed").len(), 0);
}

/// A second proof is asked for from now on.
async fn enrol_with(w: &World, account: AccountId, password: &str) {
    let begun = w.identity.begin_second_factor(account, password.into()).await.expect("begun");
    let secret = Secret::try_from_base32(begun.secret.expose_secret()).expect("base 32");
    let totp = Builder::new().with_secret(secret).with_account_name("ada").build().expect("one");
    let now = u64::try_from(w.bus.now().timestamp()).expect("after 1970");
    let shown = totp.generate(now).to_string();
    w.identity.confirm_second_factor(account, &shown).await.expect("confirmed");
}

#[tokio::test]
async fn a_login_made_with_somebody_elses_address_is_taken_over_by_a_reset() {
    let w = World::new().await;
    // Whoever invites has the shown token, and takes it up in the other's place.
    let (_, session) = w.admin().await;
    let account = session.principal.account_id.expect("an account");
    enrol_with(&w, account, PASSWORD).await;
    let post = Post::of(&w);
    w.identity.request_password_reset(ADA).await.expect("asked");
    let token = post.resets().await.pop().expect("a letter");
    w.identity.reset_password(&token, NEW.into()).await.expect("set");
    assert_eq!(sign_in(&w, NEW).await, "ok", "no code of an authenticator of somebody else");
    let codes: i64 = sqlx::query_scalar("select count(*) from identity.recovery_code")
        .fetch_one(&w.database.pool)
        .await
        .expect("counted");
    assert_eq!(codes, 0);
    let told = w.told(account).await;
    assert!(told.iter().any(|(name, _)| name == "account.second_factor_removed"), "{told:?}");

    // From now on the address is known to be theirs, and a letter alone takes no proof away.
    enrol_with(&w, account, NEW).await;
    w.clock.advance(TimeDelta::minutes(1));
    w.identity.request_password_reset(ADA).await.expect("asked");
    let token = post.resets().await.pop().expect("a letter");
    w.identity.reset_password(&token, "Third battery 3".into()).await.expect("set");
    assert_eq!(sign_in(&w, "Third battery 3").await, "SECOND_STEP_NEEDED");
}

#[tokio::test]
async fn a_letter_does_not_clear_what_failed_with_codes() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let account = session.principal.account_id.expect("an account");
    let post = Post::of(&w);
    let letter = post.tokens(ADA, "verify-email").await.pop().expect("a letter");
    w.identity.verify_email(account, &letter).await.expect("shown");
    w.identity.request_password_reset(ADA).await.expect("asked");
    let token = post.resets().await.pop().expect("a letter");
    enrol_with(&w, account, PASSWORD).await;
    for _ in 0..5 {
        let Err(IdentityError::SecondStepNeeded(step)) =
            w.identity.sign_in(ADA, password(), &anywhere()).await
        else {
            panic!("no second step");
        };
        let wrong = w.identity.finish_sign_in(step.token.expose_secret(), "123 456", None).await;
        assert_eq!(code(wrong), "SECOND_FACTOR_WRONG");
    }
    w.identity.reset_password(&token, NEW.into()).await.expect("set");
    assert_eq!(sign_in(&w, NEW).await, "AUTH_LOCKED");
    w.clock.advance(TimeDelta::minutes(15));
    assert_eq!(sign_in(&w, NEW).await, "SECOND_STEP_NEEDED");
}

#[tokio::test]
async fn a_first_step_is_over_with_the_password_it_was_made_by() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let account = session.principal.account_id.expect("an account");
    enrol_with(&w, account, PASSWORD).await;
    assert_eq!(sign_in(&w, PASSWORD).await, "SECOND_STEP_NEEDED");
    w.identity
        .change_password(account, session.principal.session_id, password(), NEW.into())
        .await
        .expect("changed");
    let steps: i64 = sqlx::query_scalar("select count(*) from identity.second_step")
        .fetch_one(&w.database.pool)
        .await
        .expect("counted");
    assert_eq!(steps, 0);
}

/// Until a statement of this text waits for somebody's lock.
async fn waits_for_a_lock(w: &World, text: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let waiting: bool = sqlx::query_scalar(
            "select exists (select 1 from pg_stat_activity
              where datname = current_database() and wait_event_type = 'Lock'
                and query like '%' || $1 || '%' and pid <> pg_backend_pid())",
        )
        .bind(text)
        .fetch_one(&w.database.pool)
        .await
        .expect("asked");
        if waiting {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "nobody waits");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
