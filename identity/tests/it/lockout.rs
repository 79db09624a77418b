//! Failures to sign in: counted in the database, alike for addresses that nobody has.

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
    let guesses = (0..12).map(|n| {
        w.identity.sign_in("ada@acme.example", format!("guess number {n}").into(), &entrance)
    });
    let answers: Vec<_> = futures::future::join_all(guesses).await.into_iter().map(code).collect();
    let n_failed = answers.iter().filter(|code| **code == "AUTH_001").count();
    let locked: Option<DateTime<chrono::Utc>> =
        sqlx::query_scalar("select locked_until from identity.login_attempt")
            .fetch_one(&w.database.pool)
            .await
            .expect("a row");
    assert!(n_failed >= 5 && locked.is_some(), "{answers:?}");
    // Whoever had looked before the lock and is right after it is refused as well.
    let late = w.identity.sign_in("ada@acme.example", password(), &anywhere()).await;
    assert_eq!(code(late), "AUTH_LOCKED");
}

#[tokio::test]
async fn failures_are_told_at_once_then_once_a_minute_and_none_is_left_out() {
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
    w.clock.advance(TimeDelta::minutes(1));
    assert_eq!(counts(&w.told(account).await), [1, 2], "nothing followed, and it is told");
    fail(&w.identity, "ada@acme.example").await;
    fail(&w.identity, "ada@acme.example").await;
    let told = w.told(account).await;
    assert_eq!(counts(&told), [1, 2, 2], "a lock tells the rest");
    let last = told.last().expect("events");
    assert_eq!(last.0, "account.locked");
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
