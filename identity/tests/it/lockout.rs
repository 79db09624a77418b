//! Failures to sign in: counted in the database, alike for addresses that nobody has.

use eventlog::envelope::{Cause, NewEvent};
use eventlog::store::Append;

use crate::*;

async fn fail(identity: &Identity, email: &str) -> &'static str {
    code(identity.sign_in(email, "wrong horse 1".into(), &anywhere()).await)
}

#[tokio::test]
async fn five_failures_lock_an_address_for_fifteen_minutes_whether_or_not_it_has_an_account() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    for email in ["ada@acme.example", "nobody@acme.example", "no address"] {
        // On several replicas, that know nothing of each other.
        for _ in 0..5 {
            let replica = w.replica().await;
            assert_eq!(fail(&replica, email).await, "AUTH_001", "{email}");
        }
        assert_eq!(fail(&w.identity, email).await, "AUTH_LOCKED", "{email}");
    }
    let entrance = anywhere();
    let right = || w.identity.sign_in("Ada@acme.example ", password(), &entrance);
    assert_eq!(code(right().await), "AUTH_LOCKED", "not even the right password");
    let token = session.access_token.expose_secret();
    assert_eq!(code(w.identity.verify_anew(token).await), "ok", "who is in stays in");
    w.clock.advance(TimeDelta::minutes(15) - TimeDelta::seconds(1));
    assert_eq!(code(right().await), "AUTH_LOCKED");
    w.clock.advance(TimeDelta::seconds(1));
    assert_eq!(code(right().await), "ok");
    for _ in 0..4 {
        assert_eq!(fail(&w.identity, "ada@acme.example").await, "AUTH_001");
    }
    assert_eq!(code(right().await), "ok", "coming in forgets what failed before");
}

#[tokio::test]
async fn many_guesses_at_once_are_no_more_than_five() {
    let w = World::new().await;
    w.admin().await;
    let entrance = anywhere();
    // The right one is the last of many that have all seen an address that is not locked.
    let passwords = (0..24).map(|n| format!("guess number {n}")).chain([PASSWORD.to_owned()]);
    let guesses =
        passwords.map(|guess| w.identity.sign_in("ada@acme.example", guess.into(), &entrance));
    let answers: Vec<_> = futures::future::join_all(guesses).await.into_iter().map(code).collect();
    let n_failed = answers.iter().filter(|code| **code == "AUTH_001").count();
    let locked: Option<DateTime<chrono::Utc>> =
        sqlx::query_scalar("select locked_until from identity.login_attempt")
            .fetch_one(&w.database.pool)
            .await
            .expect("a row");
    assert!(locked.is_some(), "{answers:?}");
    assert_eq!(n_failed, 5, "{answers:?}");
    // Who is right learns nothing that who is wrong does not.
    let n_locked = answers.iter().filter(|code| **code == "AUTH_LOCKED").count();
    assert_eq!(n_locked, 20, "{answers:?}");
    let late = w.identity.sign_in("ada@acme.example", password(), &anywhere()).await;
    assert_eq!(code(late), "AUTH_LOCKED");
}

#[tokio::test]
async fn failures_are_told_at_once_then_once_an_hour_and_none_is_left_out() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let account = session.principal.account_id.expect("an account");
    for _ in 0..3 {
        fail(&w.identity, "ada@acme.example").await;
    }
    fail(&w.identity, "nobody@acme.example").await;
    let counts = |told: &[(String, serde_json::Value)]| -> Vec<i64> {
        let failed = told.iter().filter(|(name, _)| name == "account.sign_in_failed");
        failed.map(|(_, content)| content["count"].as_i64().expect("a number")).collect()
    };
    assert_eq!(counts(&w.told(account).await), [1]);
    w.clock.advance(TimeDelta::hours(1));
    assert_eq!(counts(&w.told(account).await), [1, 2], "nothing followed, and it is told");
    for _ in 0..5 {
        fail(&w.identity, "ada@acme.example").await;
    }
    let told = w.told(account).await;
    assert_eq!(counts(&told), [1, 2], "however many they are, once an hour");
    let last = told.last().expect("events");
    assert_eq!(last.0, "account.locked", "a lock is told at once");
    w.clock.advance(TimeDelta::hours(1));
    assert_eq!(counts(&w.told(account).await), [1, 2, 5]);
    let untold: i64 = sqlx::query_scalar("select count(*) from identity.outbox")
        .fetch_one(&w.database.pool)
        .await
        .expect("counted");
    assert_eq!(untold, 0, "of who has no account nothing is recorded");
}

#[tokio::test]
async fn what_happened_reaches_the_log_once_though_it_is_carried_twice() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let account = session.principal.account_id.expect("an account");
    let told = w.told(account).await;
    assert_eq!(told.len(), 2);
    // As after a crash between the log's commit and the outbox's.
    w.identity.sign_in("ada@acme.example", password(), &anywhere()).await.expect("in");
    let row: (Uuid, Uuid, serde_json::Value) =
        sqlx::query_as("select command_id, account_id, event from identity.outbox")
            .fetch_one(&w.database.pool)
            .await
            .expect("a row");
    assert_eq!(w.told(account).await.len(), 3);
    sqlx::query("insert into identity.outbox (command_id, account_id, event) values ($1, $2, $3)")
        .bind(row.0)
        .bind(row.1)
        .bind(row.2)
        .execute(&w.database.pool)
        .await
        .expect("put back");
    assert_eq!(w.told(account).await.len(), 3);
}

#[tokio::test]
async fn a_login_of_another_system_enters_with_its_password_and_gets_a_better_hash() {
    let w = World::new().await;
    let hash = bcrypt::hash("old system 1", 10).expect("hashed");
    assert!(w.identity.import_account(" Cy@acme.example", &hash).await.expect("imported"));
    assert!(!w.identity.import_account("cy@acme.example", &hash).await.expect("known"));
    assert_eq!(
        code(w.identity.import_account("cy@acme.example", "plain").await),
        "VALIDATION_FAILED"
    );
    let (company, _) = w.admin().await;
    let system = Caller::system(company.company_id, "identity");
    let invited = w.identity.invite(&system, order(2), invitee("cy@acme.example", Role::Hr)).await;
    let token = invited.expect("invited").token;
    let token = token.expose_secret();
    let wrong = w.identity.accept_invitation(token, "another one 2".into(), None).await;
    assert_eq!(code(wrong), "AUTH_001");
    let joined = w.identity.accept_invitation(token, "old system 1".into(), None).await;
    let account = joined.expect("joined").principal.account_id.expect("an account");
    let stored: String =
        sqlx::query_scalar("select password_hash from identity.account where account_id = $1")
            .bind(account.0)
            .fetch_one(&w.database.pool)
            .await
            .expect("a row");
    assert!(stored.starts_with("$argon2id$"), "{stored:.10}");
    let again = w.identity.sign_in("cy@acme.example", "old system 1".into(), &anywhere()).await;
    assert_eq!(code(again), "ok");
}

#[tokio::test]
async fn a_login_whose_maker_died_before_the_log_had_it_is_told_before_all_else() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let account = session.principal.account_id.expect("an account");
    // This log has seen nothing of the login, as after a crash between the table and the log.
    let other = World::new().await;
    while identity::outbox::drain(&w.wall, &other.bus).await.expect("drained") > 0 {}
    let told = other.told(account).await;
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["account.registered", "account.signed_in"]);
}

#[tokio::test]
async fn an_account_that_the_log_does_not_take_holds_up_no_other() {
    let w = World::new().await;
    let (company, session) = w.admin().await;
    let account = session.principal.account_id.expect("an account");
    let n_before = w.told(account).await.len();
    // A newer program has written to the account what this one does not know.
    let append = Append {
        stream: StreamId::new(CompanyId::NONE, "account", account.0),
        expected: Version(n_before.try_into().expect("small")),
        guards: vec![],
        claims: vec![],
        keys: vec![],
        cause: Cause {
            command_id: Uuid::from_u128(0xd001),
            fingerprint: vec![],
            correlation_id: Uuid::from_u128(0xd001),
            causation_id: None,
            actor: "system:newer".into(),
            trace_parent: None,
        },
        events: vec![NewEvent {
            event_id: Uuid::from_u128(0xd002),
            name: "account.renamed".into(),
            schema_version: 1,
            occurred_at: w.bus.now(),
            payload: "{}".into(),
        }],
    };
    w.store.append(append).await.expect("appended");
    fail(&w.identity, "ada@acme.example").await;
    let system = Caller::system(company.company_id, "identity");
    let invited = w.identity.invite(&system, order(2), invitee("bo@acme.example", Role::Hr)).await;
    let token = invited.expect("invited").token;
    let joined = w.identity.accept_invitation(token.expose_secret(), password(), None).await;
    let other = joined.expect("joined").principal.account_id.expect("an account");
    while identity::outbox::drain(&w.wall, &w.bus).await.is_ok_and(|n| n > 0) {}
    let waiting: Vec<Uuid> = sqlx::query_scalar("select account_id from identity.outbox")
        .fetch_all(&w.database.pool)
        .await
        .expect("listed");
    assert_eq!(waiting, [account.0], "what waits is kept, and {other:?} is told");
    let refused = identity::outbox::drain(&w.wall, &w.bus).await;
    assert_eq!(code(refused), "NEWER_HISTORY");
}

#[tokio::test]
async fn the_time_of_a_failure_tells_nobody_whose_hash_is_of_another_system() {
    let w = World::new().await;
    w.admin().await;
    let timed = async |email: &str| {
        let since = std::time::Instant::now();
        assert_eq!(fail(&w.identity, email).await, "AUTH_001");
        since.elapsed()
    };
    let hash = bcrypt::hash("old system 1", 10).expect("hashed");
    w.identity.import_account("cy@acme.example", &hash).await.expect("imported");
    for email in ["cy@acme.example", "ada@acme.example", "nobody@acme.example"] {
        assert!(timed(email).await >= std::time::Duration::from_secs(2), "{email}");
    }
}
