//! Sessions: prolonged one token at a time, and ended everywhere at once.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use domain::ids::AccountId;
use identity::{Lifetimes, Place, Session};
use secrecy::ExposeSecret;

use crate::*;

fn refresh_of(session: &Session) -> String {
    session.refresh_token.as_ref().expect("a refresh token").token.expose_secret().to_owned()
}

fn access_of(session: &Session) -> &str {
    session.access_token.expose_secret()
}

fn account_of(session: &Session) -> AccountId {
    session.principal.account_id.expect("an account")
}

fn names(told: &[(String, serde_json::Value)]) -> Vec<&str> {
    told.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn a_session_is_prolonged_by_tokens_of_which_each_is_good_once() {
    let w = World::new().await;
    let (company, first) = w.admin().await;
    w.clock.advance(TimeDelta::days(6));
    let second = w.identity.refresh(&refresh_of(&first), None).await.expect("prolonged");
    assert_ne!(refresh_of(&first), refresh_of(&second));
    assert_eq!(second.principal.caller.company, company.company_id);
    assert_eq!(second.principal.session_id, first.principal.session_id);
    w.clock.advance(TimeDelta::days(6));
    let third = w.identity.refresh(&refresh_of(&second), None).await.expect("prolonged");
    assert_eq!(code(w.identity.verify(access_of(&third)).await), "ok");

    // The first one comes again: somebody else has it, and nobody can tell who is who.
    let replica = w.replica().await;
    assert_eq!(code(w.identity.refresh(&refresh_of(&first), None).await), "AUTH_004");
    assert_eq!(code(replica.refresh(&refresh_of(&third), None).await), "AUTH_004");
    assert_eq!(code(replica.verify(access_of(&third)).await), "AUTH_004");
    assert_eq!(code(w.identity.verify_anew(access_of(&third)).await), "AUTH_004");
    let told = w.told(account_of(&first)).await;
    assert_eq!(
        names(&told),
        ["account.registered", "account.signed_in", "account.sessions_revoked"]
    );
    assert_eq!(told[2].1["reason"], "TOKEN_REUSED");
}

#[tokio::test]
async fn whose_answer_was_lost_gets_the_same_token_again_for_ten_seconds() {
    let w = World::new().await;
    let (_, first) = w.admin().await;
    let second = w.identity.refresh(&refresh_of(&first), None).await.expect("prolonged");
    w.clock.advance(TimeDelta::seconds(9));
    let again = w.identity.refresh(&refresh_of(&first), None).await.expect("again");
    assert_eq!(refresh_of(&second), refresh_of(&again));
    let third = w.identity.refresh(&refresh_of(&second), None).await.expect("prolonged");
    // Once the next one is in use, it is no lost answer.
    assert_eq!(code(w.identity.refresh(&refresh_of(&first), None).await), "AUTH_004");
    assert_eq!(code(w.identity.refresh(&refresh_of(&third), None).await), "AUTH_004");

    let session = w.identity.sign_in("ada@acme.example", password(), &anywhere()).await;
    let session = session.expect("signed in");
    w.identity.refresh(&refresh_of(&session), None).await.expect("prolonged");
    // Servers whose clocks are apart judge alike: the time is the database's.
    w.clock.advance(TimeDelta::minutes(1));
    w.identity.refresh(&refresh_of(&session), None).await.expect("a lost answer");
    sqlx::query("update identity.refresh_token set used_at = used_at - interval '10 seconds'")
        .execute(&w.database.pool)
        .await
        .expect("ten seconds later");
    assert_eq!(code(w.identity.refresh(&refresh_of(&session), None).await), "AUTH_004");
}

#[tokio::test]
async fn of_pages_that_ask_at_once_none_loses_the_session() {
    let w = World::new().await;
    let (_, first) = w.admin().await;
    let token = refresh_of(&first);
    let asked = (0..8).map(|_| w.identity.refresh(&token, None));
    let answers = futures::future::join_all(asked).await;
    let tokens: Vec<String> =
        answers.iter().map(|answer| refresh_of(answer.as_ref().expect("prolonged"))).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(code(w.identity.refresh(&tokens[0], None).await), "ok");
}

#[tokio::test]
async fn a_refresh_token_ends_after_seven_days_and_nothing_else_is_one() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    for garbage in ["", "garbage", "\0", &"x".repeat(100_000), access_of(&session)] {
        assert_eq!(code(w.identity.refresh(garbage, None).await), "INVALID_TOKEN");
    }
    w.clock.advance(TimeDelta::days(7));
    assert_eq!(code(w.identity.refresh(&refresh_of(&session), None).await), "AUTH_002");
    let stored: i64 = sqlx::query_scalar(
        "select count(*) from identity.refresh_token where encode(token_hash, 'escape') = $1",
    )
    .bind(refresh_of(&session))
    .fetch_one(&w.database.pool)
    .await
    .expect("counted");
    assert_eq!(stored, 0, "the token itself is nowhere");
}

#[tokio::test]
async fn who_signs_out_is_refused_on_every_replica_within_a_second() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let replica = w.replica().await;
    // The replica has just seen the token, and remembers it.
    assert_eq!(code(replica.verify(access_of(&session)).await), "ok");
    let (account, id) = (account_of(&session), session.principal.session_id.expect("a session"));
    assert_eq!(w.identity.sessions(account).await.expect("listed").len(), 1);
    w.identity.sign_out(account, id).await.expect("signed out");
    w.identity.sign_out(account, id).await.expect("a repeat is harmless");
    // Whatever is asked for a second later or more is refused, however long the answer takes.
    let since = std::time::Instant::now();
    loop {
        let asked_after = since.elapsed();
        if replica.verify(access_of(&session)).await.is_err() {
            break;
        }
        assert!(asked_after < std::time::Duration::from_secs(1), "still let in");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(code(replica.verify(access_of(&session)).await), "AUTH_004");
    assert_eq!(code(replica.refresh(&refresh_of(&session), None).await), "AUTH_004");
    assert!(w.identity.sessions(account).await.expect("listed").is_empty());
    let told = w.told(account).await;
    assert_eq!(names(&told), ["account.registered", "account.signed_in", "account.signed_out"]);
}

#[tokio::test]
async fn all_sessions_but_the_present_one_are_ended_at_once_and_nobody_elses() {
    let w = World::new().await;
    let (company, present) = w.admin().await;
    let system = Caller::system(company.company_id, "identity");
    let invited = w.identity.invite(&system, order(2), invitee("bo@acme.example", Role::Hr)).await;
    let token = invited.expect("invited").token;
    let other = w
        .identity
        .accept_invitation(token.expose_secret(), password(), None)
        .await
        .expect("joined");
    let device = Entrance { device: Some("Lynx\u{7}/2.9".into()), ..anywhere() };
    let more = w.identity.sign_in("ada@acme.example", password(), &device).await.expect("in");
    let account = account_of(&present);
    let listed = w.identity.sessions(account).await.expect("listed");
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().any(|session| session.device.as_deref() == Some("Lynx/2.9")));
    // A session of somebody else is none of one's own.
    let foreign = other.principal.session_id.expect("a session");
    assert_eq!(code(w.identity.sign_out(account, foreign).await), "SESSION_NOT_FOUND");
    let n = w.identity.sign_out_everywhere(account, present.principal.session_id).await;
    assert_eq!(n.expect("ended"), 1);
    assert_eq!(code(w.identity.verify_anew(access_of(&more)).await), "AUTH_004");
    for session in [&present, &other] {
        assert_eq!(code(w.identity.verify_anew(access_of(session)).await), "ok");
    }
}

#[tokio::test]
async fn somebody_in_two_companies_enters_the_one_they_name() {
    let w = World::new().await;
    let (first, session) = w.admin().await;
    let operator = w.identity.ensure_operator("op@colloquy.example", password()).await;
    let admin = invitee("ada@acme.example", Role::CompanyAdmin);
    let operator = operator.expect("an operator");
    let second = w.identity.register_company(&operator, order(7), "Second".into(), None, admin);
    let second = second.await.expect("registered");
    let token = second.admin.token.expose_secret();
    w.identity.accept_invitation(token, password(), None).await.expect("joined");
    for company in [first.company_id, second.company_id] {
        let entrance = Entrance { place: Place::Company(company), device: None };
        let entered = w.identity.sign_in("ada@acme.example", password(), &entrance).await;
        assert_eq!(entered.expect("entered").principal.caller.company, company);
    }
    let moved = w.identity.refresh(&refresh_of(&session), Some(second.company_id)).await;
    let moved = moved.expect("moved");
    assert_eq!(moved.principal.caller.company, second.company_id);
    let stays = w.identity.refresh(&refresh_of(&moved), None).await.expect("prolonged");
    assert_eq!(stays.principal.caller.company, second.company_id);
    let nowhere =
        w.identity.refresh(&refresh_of(&stays), Some(CompanyId(Uuid::from_u128(4)))).await;
    assert_eq!(code(nowhere), "COMPANY_NOT_FOUND");
}

/// A token that this installation might have signed, of these claims.
fn signed(w: &World, claims: &serde_json::Value) -> String {
    let seed = w.bus.derived_secret("token-signing-key", &1_i32.to_be_bytes());
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key");
    let part = |json: String| URL_SAFE_NO_PAD.encode(json);
    let header = part(r#"{"alg":"EdDSA","kid":"k1","typ":"JWT"}"#.to_owned());
    let text = format!("{header}.{}", part(claims.to_string()));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes())))
}

#[tokio::test]
async fn a_token_never_stands_for_whom_another_of_the_same_number_stands_for() {
    let w = World::new().await;
    let (company, session) = w.admin().await;
    let account = account_of(&session);
    let (_, rest) = access_of(&session).split_once('.').expect("three parts");
    let claims = rest.split('.').next().expect("claims");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64");
    let own: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!(code(w.identity.verify(&signed(&w, &own)).await), "ok");
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = own.clone();
        claims[name] = value;
        signed(&w, &claims)
    };
    for other in [
        with("sub", serde_json::json!(Uuid::from_u128(7))),
        with("member_id", serde_json::json!(Uuid::from_u128(7))),
        with("company_id", serde_json::json!(Uuid::from_u128(7))),
        with("session_id", serde_json::json!(Uuid::from_u128(7))),
        with("type", serde_json::json!("operator")),
    ] {
        assert_ne!(code(w.identity.verify(&other).await), "ok", "{other}");
    }
    let principal = w.identity.verify(access_of(&session)).await.expect("its own still stands");
    assert_eq!(principal.caller.company, company.company_id);
    assert_eq!(principal.account_id, Some(account));
}

#[tokio::test]
async fn tokens_and_sessions_live_as_long_as_the_settings_say() {
    let w = World::new().await;
    w.admin().await;
    let lives = Lifetimes::new(TimeDelta::minutes(5), TimeDelta::minutes(60), TimeDelta::days(1));
    let brief = w.identity.clone().with_lifetimes(lives.expect("lifetimes"));
    let session = brief.sign_in("ada@acme.example", password(), &anywhere()).await.expect("in");
    w.clock.advance(TimeDelta::minutes(4));
    assert_eq!(code(brief.verify(access_of(&session)).await), "ok");
    w.clock.advance(TimeDelta::minutes(2));
    assert_eq!(code(brief.verify(access_of(&session)).await), "AUTH_002");
    let next = brief.refresh(&refresh_of(&session), None).await.expect("prolonged");
    w.clock.advance(TimeDelta::hours(25));
    assert_eq!(code(brief.refresh(&refresh_of(&next), None).await), "AUTH_002");
}
