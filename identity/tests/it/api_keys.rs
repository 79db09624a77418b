//! API keys: programs with rights of their own.

use domain::permission::{Action, Relation, allows};
use identity::{NewApiKey, Principal};

use crate::*;

fn key(rights: &[Action]) -> NewApiKey {
    NewApiKey { name: " Payroll ".into(), rights: rights.to_vec(), expires_at: None }
}

async fn make(
    w: &World,
    admin: &Principal,
    n: u128,
    rights: &[Action],
) -> (identity::ApiKey, String) {
    let made = w.identity.create_api_key(admin, Uuid::from_u128(n), key(rights)).await;
    let (key, secret) = made.expect("made");
    (key, secret.expose_secret().to_owned())
}

#[tokio::test]
async fn a_program_comes_in_by_its_key_and_may_do_what_the_key_says() {
    let w = World::new().await;
    let (company, session) = w.admin().await;
    let admin = session.principal;
    let (made, secret) = make(&w, &admin, 1, &[Action::ReadJob, Action::WriteCandidate]).await;
    assert_eq!(made.name, "Payroll");
    let principal = w.identity.verify(&secret).await.expect("in");
    assert_eq!(principal.caller.company, company.company_id);
    assert_eq!(principal.account_id, None);
    let may = |action| allows(&principal.caller, action, Relation::default());
    assert!(may(Action::ReadJob) && may(Action::WriteCandidate));
    assert!(!may(Action::ReadCandidate) && !may(Action::ManageApiKeys));
    let listed = w.identity.api_keys(&admin.caller).await.expect("listed");
    assert_eq!(listed.len(), 1);
    assert!(listed[0].last_used_at.is_some());
    // The same command shows the same key, another body under its id is refused.
    assert_eq!(make(&w, &admin, 1, &[Action::ReadJob, Action::WriteCandidate]).await.1, secret);
    let other = NewApiKey { name: "Other".into(), ..key(&[Action::ReadJob]) };
    let other = w.identity.create_api_key(&admin, Uuid::from_u128(1), other).await;
    assert_eq!(code(other), "COMMAND_ID_REUSED");
    let stored: String = sqlx::query_scalar("select row_to_json(k)::text from identity.api_key k")
        .fetch_one(&w.database.pool)
        .await
        .expect("read");
    assert!(!stored.contains(&secret[4..]), "the key itself is nowhere");
    let told = w.told(admin.account_id.expect("an account")).await;
    let created = told.iter().find(|(name, _)| name == "account.api_key_created");
    assert_eq!(
        created.expect("told").1["rights"],
        serde_json::json!(["READ_JOB", "WRITE_CANDIDATE"])
    );
}

#[tokio::test]
async fn a_key_that_was_taken_back_is_refused_everywhere_within_a_second() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let admin = session.principal;
    let (made, secret) = make(&w, &admin, 1, &[Action::ReadJob]).await;
    let replica = w.replica().await;
    assert_eq!(code(replica.verify(&secret).await), "ok");
    w.identity.revoke_api_key(&admin, made.key_id).await.expect("taken back");
    w.identity.revoke_api_key(&admin, made.key_id).await.expect("a repeat is harmless");
    // Whatever is asked for a second later or more is refused, however long the answer takes.
    let since = std::time::Instant::now();
    loop {
        let asked_after = since.elapsed();
        if replica.verify(&secret).await.is_err() {
            break;
        }
        assert!(asked_after < std::time::Duration::from_secs(1), "still let in");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(code(w.identity.verify_anew(&secret).await), "AUTH_004");
    let told = w.told(admin.account_id.expect("an account")).await;
    let revoked = told.iter().filter(|(name, _)| name == "account.api_key_revoked");
    assert_eq!(revoked.count(), 1);
}

#[tokio::test]
async fn a_key_ends_and_garbage_is_none() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let (_, secret) = make(&w, &session.principal, 1, &[Action::ReadJob]).await;
    for garbage in ["clq_", "clq_garbage", "clq_\0", &format!("{secret}x")] {
        assert_eq!(code(w.identity.verify(garbage).await), "INVALID_TOKEN");
    }
    w.clock.advance(TimeDelta::days(90));
    assert_eq!(code(w.identity.verify_anew(&secret).await), "AUTH_002");
}

#[tokio::test]
async fn only_administrators_make_keys_and_none_for_what_a_person_answers_for() {
    let w = World::new().await;
    let (company, session) = w.admin().await;
    let admin = session.principal;
    for rights in [&[][..], &[Action::SignVerdict], &[Action::ReadJob, Action::ManageMembers]] {
        let made = w.identity.create_api_key(&admin, Uuid::from_u128(1), key(rights)).await;
        assert_eq!(code(made), "VALIDATION_FAILED");
    }
    let long = Some(w.bus.now() + TimeDelta::days(367));
    let long = NewApiKey { expires_at: long, ..key(&[Action::ReadJob]) };
    let long = w.identity.create_api_key(&admin, Uuid::from_u128(1), long).await;
    assert_eq!(code(long), "VALIDATION_FAILED");

    let (made, secret) = make(&w, &admin, 2, &[Action::ReadJob]).await;
    let system = Caller::system(company.company_id, "identity");
    let bo = w.identity.invite(&system, order(2), invitee("bo@acme.example", Role::Hr)).await;
    let token = bo.expect("invited").token;
    let bo = w.identity.accept_invitation(token.expose_secret(), password(), None).await;
    let bo = bo.expect("joined").principal;
    let program = w.identity.verify(&secret).await.expect("in");
    let operator = w.identity.ensure_operator("op@colloquy.example", password()).await;
    let operator = Principal { caller: operator.expect("one"), ..admin.clone() };
    for other in [bo, program, operator] {
        let made_by =
            w.identity.create_api_key(&other, Uuid::from_u128(9), key(&[Action::ReadJob]));
        assert_eq!(code(made_by.await), "AUTH_003");
        assert_eq!(code(w.identity.api_keys(&other.caller).await), "AUTH_003");
        assert_eq!(code(w.identity.revoke_api_key(&other, made.key_id).await), "AUTH_003");
    }
    // An administrator of another company finds none of these.
    let company = domain::ids::CompanyId(Uuid::from_u128(4));
    let foreign = Caller { company, ..admin.caller.clone() };
    assert!(w.identity.api_keys(&foreign).await.expect("listed").is_empty());
    let foreign = Principal { caller: foreign, ..admin };
    assert_eq!(code(w.identity.revoke_api_key(&foreign, made.key_id).await), "API_KEY_NOT_FOUND");
}
