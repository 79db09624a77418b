//! What the vault in Postgres keeps, and what it does not show.

use domain::ids::{CandidateId, CompanyId};
use domain::personal::Subject;
use eventlog::vault::postgres::PostgresVault;
use eventlog::vault::rekey::rekey;
use eventlog::vault::secrets::load_or_create;
use eventlog::vault::{KeyState, KeyVault, MasterKey, VaultError};
use futures::future::join_all;

use crate::database::Database;
use crate::samples::id;

fn somebody() -> (CompanyId, Subject) {
    (CompanyId(id()), Subject::Candidate(CandidateId(id())))
}

#[tokio::test]
async fn all_who_ask_at_once_get_the_same_key() {
    let database = Database::create().await;
    let vaults: Vec<_> = (0..4).map(|_| database.vault()).collect();
    let (company, subject) = somebody();
    let keys = join_all(vaults.iter().map(|vault| vault.key_for(company, subject))).await;
    let ids: Vec<_> = keys.into_iter().map(|key| key.expect("makes one").id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[tokio::test]
async fn keys_lie_wrapped_and_open_with_their_master_key_only() {
    let database = Database::create().await;
    let (company, subject) = somebody();
    let key = database.vault().key_for(company, subject).await.expect("makes one");
    let stored: Vec<u8> = sqlx::query_scalar("select wrapped from vault.subject_key")
        .fetch_one(&database.pool)
        .await
        .expect("one key");
    assert!(!stored.windows(8).any(|piece| piece == &key.key[..8]));

    let stranger = PostgresVault::start(database.pool.clone(), MasterKey::new([8; 32]));
    let opened = stranger.key_for(company, subject).await;
    assert_eq!(opened.err(), Some(VaultError::Unreadable));
    database
        .run("update vault.subject_key set company_id = gen_random_uuid()")
        .await
        .expect("moves");
    let opened = database.vault().keys(&[key.id]).await;
    assert_eq!(opened.err(), Some(VaultError::Unreadable));
}

#[tokio::test]
async fn a_key_forgotten_elsewhere_is_dropped_here() {
    let database = Database::create().await;
    let (here, elsewhere) = (database.vault(), database.vault());
    let (company, subject) = somebody();
    let key = here.key_for(company, subject).await.expect("makes one").id;
    elsewhere.forget(company, subject).await.expect("forgets");
    assert_eq!(here.is_erased(company, subject).await, Ok(true));
    // Nobody waits for the notice, so it is looked for until it has come.
    loop {
        let states = here.keys(&[key]).await.expect("reads");
        if matches!(states[&key], KeyState::Forgotten(_)) {
            break;
        }
        tokio::task::yield_now().await;
    }
    let made = here.key_for(company, subject).await;
    assert_eq!(made.err(), Some(VaultError::SubjectErased));
    let left: Option<Vec<u8>> = sqlx::query_scalar("select wrapped from vault.subject_key")
        .fetch_one(&database.pool)
        .await
        .expect("the tombstone");
    assert_eq!(left, None);
}

#[tokio::test]
async fn a_key_that_went_with_its_server_is_not_taken_for_a_durable_one() {
    let database = Database::create().await;
    let (vault, (company, subject)) = (database.vault(), somebody());
    let lost = vault.key_for(company, subject).await.expect("makes one").id;
    database.run("delete from vault.subject_key").await.expect("as after a crash");
    // Told once, unless the vault began to hear of forgotten keys meanwhile and knows none any more.
    let mut found = vault.durable_key_for(company, subject).await;
    if let Err(told) = found {
        assert_eq!(told, VaultError::Unavailable);
        found = vault.durable_key_for(company, subject).await;
    }
    let made = found.expect("makes another").id;
    assert_ne!(made, lost);
    let same = database.vault().key_for(company, subject).await.expect("opens").id;
    assert_eq!(same, made);
}

#[tokio::test]
async fn every_process_has_the_same_secrets() {
    let database = Database::create().await;
    let master = MasterKey::new([7; 32]);
    let loaded = join_all((0..4).map(|_| load_or_create(&database.pool, &master))).await;
    let fingerprints: Vec<_> = loaded
        .into_iter()
        .map(|secrets| secrets.expect("loads").fingerprint(&[b"one", b"two"]))
        .collect();
    assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]));
    let stranger = load_or_create(&database.pool, &MasterKey::new([8; 32])).await;
    assert_eq!(stranger.err(), Some(VaultError::Unreadable));
}

#[tokio::test]
async fn another_master_key_opens_the_same_keys_once_they_are_wrapped_anew() {
    let database = Database::create().await;
    let (old, new) = (MasterKey::new([7; 32]), MasterKey::new([8; 32]));
    let ((company, subject), (_, forgotten)) = (somebody(), somebody());
    let vault = database.vault();
    let key = vault.key_for(company, subject).await.expect("makes one");
    vault.forget(company, forgotten).await.expect("forgets");
    let secrets = load_or_create(&database.pool, &old).await.expect("makes them");

    let refused = rekey(&database.pool, &new, &old).await;
    assert_eq!(refused, Err(VaultError::Unreadable));
    rekey(&database.pool, &old, &new).await.expect("wraps anew");
    let vault = PostgresVault::start(database.pool.clone(), new.clone());
    let again = vault.key_for(company, subject).await.expect("opens");
    assert_eq!((again.id, &again.key), (key.id, &key.key));
    assert_eq!(vault.is_erased(company, forgotten).await, Ok(true));
    let same = load_or_create(&database.pool, &new).await.expect("opens");
    assert_eq!(same.fingerprint(&[b"one"]), secrets.fingerprint(&[b"one"]));
    let refused = load_or_create(&database.pool, &old).await;
    assert_eq!(refused.err(), Some(VaultError::Unreadable));
}
