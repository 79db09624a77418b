//! Letters: addresses shown to be one's own, and new passwords.

use std::sync::Mutex;

use identity::mail::{Mail, MailError, Mailer, PostOffice};

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

struct Post {
    office: PostOffice,
    mailbox: Arc<Mailbox>,
}

impl Post {
    fn of(w: &World) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let office = PostOffice {
            pool: w.database.pool.clone(),
            bus: w.bus.clone(),
            mailer: mailbox.clone(),
            app_url: "https://app.example.com".into(),
        };
        Self { office, mailbox }
    }

    /// The tokens that an address has got by now for a page.
    async fn tokens(&self, to: &str, page: &str) -> Vec<String> {
        while self.office.send_one().await.expect("sent") {}
        self.mailbox.tokens(to, page)
    }

    async fn resets(&self) -> Vec<String> {
        self.tokens(ADA, "reset-password").await
    }

    async fn waiting(&self) -> i64 {
        let waiting = sqlx::query_scalar("select count(*) from identity.mail");
        waiting.fetch_one(&self.office.pool).await.expect("counted")
    }
}

const ADA: &str = "ada@acme.example";
const NEW: &str = "battery staple 2";

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
    let other = w.identity.reset_password(&last, "another battery 3".into()).await;
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
    assert_eq!(code(w.identity.verify_email("garbage").await), "LETTER_INVALID");
    w.identity.verify_email(&tokens[0]).await.expect("shown");
    assert_eq!(code(w.identity.verify_email(&tokens[0]).await), "LETTER_INVALID");
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
    w.admin().await;
    let post = Post::of(&w);
    let token = post.tokens(ADA, "verify-email").await.pop().expect("a letter");
    w.clock.advance(TimeDelta::hours(24));
    assert_eq!(code(w.identity.verify_email(&token).await), "LETTER_INVALID");
    w.identity.request_verification(ADA).await.expect("asked");
    let token = post.tokens(ADA, "verify-email").await.pop().expect("another letter");
    w.identity.verify_email(&token).await.expect("shown");
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
