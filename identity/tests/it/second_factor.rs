//! The second proof: told to an authenticator, asked for at every door, good once.

use domain::ids::AccountId;
use identity::Session;
use totp_rs::{Builder, Secret, Totp};

use crate::*;

const ADA: &str = "ada@acme.example";

/// What a person has in hand.
struct Authenticator {
    totp: Totp,
    recovery_codes: Vec<String>,
    account: AccountId,
}

impl Authenticator {
    fn code(&self, w: &World) -> String {
        let now = u64::try_from(w.bus.now().timestamp()).expect("after 1970");
        self.totp.generate(now).to_string()
    }
}

/// Lets signing in to an account ask for a second proof: its recovery codes.
pub async fn enrol(w: &World, account: AccountId) -> Vec<SecretString> {
    let begun = w.identity.begin_second_factor(account, password()).await.expect("begun");
    let secret = Secret::try_from_base32(begun.secret.expose_secret()).expect("base 32");
    let totp = Builder::new().with_secret(secret).with_account_name("me").build().expect("one");
    let now = u64::try_from(w.bus.now().timestamp()).expect("after 1970");
    let code = totp.generate(now).to_string();
    w.identity.confirm_second_factor(account, &code).await.expect("confirmed")
}

/// Signs in by both proofs, the second a recovery code.
pub async fn by_two_proofs(
    w: &World,
    email: &str,
    entrance: &Entrance,
    code: &SecretString,
) -> Result<Session, IdentityError> {
    match w.identity.sign_in(email, password(), entrance).await {
        Err(IdentityError::SecondStepNeeded(step)) => {
            let token = step.token.expose_secret();
            w.identity.finish_sign_in(token, code.expose_secret(), None).await
        }
        other => other,
    }
}

/// An administrator who is asked for a second proof.
async fn enrolled(w: &World) -> (Session, Authenticator) {
    let (_, session) = w.admin().await;
    let account = session.principal.account_id.expect("an account");
    let begun = w.identity.begin_second_factor(account, password()).await.expect("begun");
    assert!(begun.url.expose_secret().starts_with("otpauth://totp/Colloquy:ada"));
    let secret = Secret::try_from_base32(begun.secret.expose_secret()).expect("base 32");
    let totp = Builder::new().with_secret(secret).with_account_name("ada").build().expect("one");
    let mut authenticator = Authenticator { totp, recovery_codes: vec![], account };
    let sign_in = w.identity.sign_in(ADA, password(), &anywhere()).await;
    assert_eq!(code(sign_in), "ok", "what is not confirmed is not asked for");
    let wrong = w.identity.confirm_second_factor(account, "000000").await;
    assert_eq!(code(wrong), "SECOND_FACTOR_WRONG");
    let codes = w.identity.confirm_second_factor(account, &authenticator.code(w)).await;
    let codes = codes.expect("confirmed");
    authenticator.recovery_codes =
        codes.iter().map(|code| code.expose_secret().to_owned()).collect();
    w.clock.advance(TimeDelta::seconds(30));
    (session, authenticator)
}

async fn first_step(w: &World) -> String {
    match w.identity.sign_in(ADA, password(), &anywhere()).await {
        Err(IdentityError::SecondStepNeeded(step)) => step.token.expose_secret().to_owned(),
        other => panic!("{:?}", code(other)),
    }
}

#[tokio::test]
async fn signing_in_takes_two_steps_and_a_code_is_good_once() {
    let w = World::new().await;
    let (_, authenticator) = enrolled(&w).await;
    let (step, right) = (first_step(&w).await, authenticator.code(&w));
    let session = w.identity.finish_sign_in(&step, &right, None).await.expect("in");
    assert_eq!(code(w.identity.verify(session.access_token.expose_secret()).await), "ok");
    let again = w.identity.finish_sign_in(&step, &right, None).await;
    assert_eq!(code(again), "SECOND_FACTOR_WRONG", "the step is over");
    let replayed = w.identity.finish_sign_in(&first_step(&w).await, &right, None).await;
    assert_eq!(code(replayed), "SECOND_FACTOR_WRONG", "the code was used");
    w.clock.advance(TimeDelta::seconds(30));
    let next = authenticator.code(&w);
    let next = format!("{} {}", &next[..3], &next[3..]);
    let spaced = w.identity.finish_sign_in(&first_step(&w).await, &next, None).await;
    assert_eq!(code(spaced), "ok", "as authenticators write it");
    let told = w.told(authenticator.account).await;
    assert!(told.iter().any(|(name, _)| name == "account.second_factor_enrolled"));
    assert_eq!(told.last().expect("events").1["method"], "PASSWORD_AND_CODE");
    let login = w.identity.login(authenticator.account).await.expect("a login");
    assert!(login.has_second_factor);
    assert_eq!(w.n_letters("SECOND_FACTOR_ENROLLED", ADA).await, 1);
}

#[tokio::test]
async fn a_step_is_over_after_five_minutes_and_nothing_else_is_one() {
    let w = World::new().await;
    let (session, authenticator) = enrolled(&w).await;
    let step = first_step(&w).await;
    w.clock.advance(TimeDelta::minutes(5));
    let right = authenticator.code(&w);
    for token in [step.as_str(), "garbage", "", session.access_token.expose_secret()] {
        let entered = w.identity.finish_sign_in(token, &right, None).await;
        assert_eq!(code(entered), "SECOND_FACTOR_WRONG");
    }
}

#[tokio::test]
async fn guessing_codes_locks_the_address_though_the_password_is_right() {
    let w = World::new().await;
    let (_, authenticator) = enrolled(&w).await;
    for _ in 0..5 {
        // Each time anew from the first step, which must not forget the failures.
        let wrong = w.identity.finish_sign_in(&first_step(&w).await, "123 456", None).await;
        assert_eq!(code(wrong), "SECOND_FACTOR_WRONG");
    }
    let locked = w.identity.sign_in(ADA, password(), &anywhere()).await;
    assert_eq!(code(locked), "AUTH_LOCKED");
    w.clock.advance(TimeDelta::minutes(15));
    let right = authenticator.code(&w);
    let entered = w.identity.finish_sign_in(&first_step(&w).await, &right, None).await;
    assert_eq!(code(entered), "ok");
}

#[tokio::test]
async fn a_recovery_code_stands_in_once() {
    let w = World::new().await;
    let (_, authenticator) = enrolled(&w).await;
    let codes = &authenticator.recovery_codes;
    assert_eq!(codes.len(), 10);
    assert!(codes.iter().all(|code| code.len() == 19), "{}", codes.len());
    let used = codes[3].to_uppercase();
    let entered = w.identity.finish_sign_in(&first_step(&w).await, &used, None).await;
    assert_eq!(code(entered), "ok");
    let again = w.identity.finish_sign_in(&first_step(&w).await, &used, None).await;
    assert_eq!(code(again), "SECOND_FACTOR_WRONG");
    let told = w.told(authenticator.account).await;
    let signed_in = told.iter().rev().find(|(name, _)| name == "account.signed_in");
    assert_eq!(signed_in.expect("one").1["method"], "PASSWORD_AND_RECOVERY_CODE");
}

#[tokio::test]
async fn an_invitation_is_no_way_around_the_second_proof() {
    let w = World::new().await;
    let (_, _) = enrolled(&w).await;
    let operator = w.identity.ensure_operator("op@colloquy.example", password()).await;
    let admin = invitee(ADA, Role::CompanyAdmin);
    let operator = operator.expect("an operator");
    let second = w.identity.register_company(&operator, order(7), "Second".into(), None, admin);
    let token = second.await.expect("registered").admin.token;
    let joined = w.identity.accept_invitation(token.expose_secret(), password(), None).await;
    assert_eq!(code(joined), "SECOND_STEP_NEEDED");
}

#[tokio::test]
async fn the_second_proof_is_switched_off_by_both() {
    let w = World::new().await;
    let (_, authenticator) = enrolled(&w).await;
    let account = authenticator.account;
    let begun = w.identity.begin_second_factor(account, password()).await;
    assert_eq!(code(begun), "SECOND_FACTOR_ON");
    let right = authenticator.code(&w);
    let remove = |password: &str, code: &str| {
        let (password, code) = (SecretString::from(password), code.to_owned());
        let identity = w.identity.clone();
        async move { identity.remove_second_factor(account, password, &code).await }
    };
    assert_eq!(code(remove("wrong horse 1", &right).await), "AUTH_001");
    assert_eq!(code(remove(PASSWORD, "000000").await), "SECOND_FACTOR_WRONG");
    remove(PASSWORD, &right).await.expect("off");
    assert_eq!(code(w.identity.sign_in(ADA, password(), &anywhere()).await), "ok");
    let told = w.told(account).await;
    assert!(told.iter().any(|(name, _)| name == "account.second_factor_removed"));
}

#[tokio::test]
async fn who_has_lost_the_second_proof_is_let_in_again_by_an_administrator() {
    let w = World::new().await;
    let (company, admin) = w.admin().await;
    let (admin, own) = (admin.principal, company.admin.member_id);
    let bo = w.identity.invite(&admin.caller, order(2), invitee("bo@acme.example", Role::Hr)).await;
    let bo = bo.expect("invited");
    let take = async |who: &identity::Principal, member| {
        code(w.identity.take_second_factor_away(who, member).await)
    };
    assert_eq!(take(&admin, bo.member_id).await, "MEMBER_NOT_FOUND", "nobody has joined");
    let session = w.identity.accept_invitation(bo.token.expose_secret(), password(), None).await;
    let session = session.expect("joined");
    let account = session.principal.account_id.expect("an account");
    enrol(&w, account).await;

    assert_eq!(take(&session.principal, own).await, "AUTH_003", "no administrator");
    enrol(&w, admin.account_id.expect("an account")).await;
    assert_eq!(take(&admin, own).await, "AUTH_003", "not for oneself");
    sqlx::query(
        "insert into identity.membership (account_id, company_id, member_id) values ($1, $2, $2)",
    )
    .bind(account.0)
    .bind(Uuid::from_u128(4))
    .execute(&w.database.pool)
    .await
    .expect("in another company, too");
    assert_eq!(take(&admin, bo.member_id).await, "AUTH_003", "the login is others', too");
    let token = session.access_token.expose_secret();
    assert_eq!(code(w.identity.verify_anew(token).await), "ok");
    let operator = identity::Principal {
        caller: Caller::new(
            company.company_id,
            Actor::Operator(AccountId(Uuid::from_u128(5))),
            vec![Role::SystemAdmin],
        ),
        account_id: Some(AccountId(Uuid::from_u128(5))),
        ..admin.clone()
    };
    assert_eq!(take(&operator, bo.member_id).await, "ok");
    assert_eq!(take(&operator, bo.member_id).await, "ok", "a repeat finds none");
    assert_eq!(code(w.identity.verify_anew(token).await), "AUTH_004");
    assert_eq!(w.n_letters("SECOND_FACTOR_TAKEN_AWAY", "bo@acme.example").await, 1);
    let told = w.told(account).await;
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    let end = ["account.second_factor_taken_away", "account.sessions_revoked"];
    assert_eq!(names[names.len() - 2..], end);
    assert_eq!(told[names.len() - 2].1["by"], operator.caller.actor.to_string());
    let sign_in = w.identity.sign_in("bo@acme.example", password(), &anywhere()).await;
    assert_eq!(code(sign_in), "ok", "the password alone");
}
