use std::time::{Duration, Instant};

use eventlog::kafka::lease::{Leases, PgLeases};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use uuid::Uuid;

use crate::world::DEADLINE;

const LONG: Duration = Duration::from_secs(3600);

/// A database of the test's own with the table of leases.
pub async fn database() -> PgPool {
    let url = std::env::var("TEST_DATABASE_URL")
        .expect("TEST_DATABASE_URL must name a server; deploy/test-env.sh starts one");
    let name = format!("relay_{}", Uuid::from_bytes(rand::random()).simple());
    let mut admin = PgConnection::connect(&url).await.expect("a server");
    admin
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await
        .expect("a database of the test's own");
    let options: PgConnectOptions = url.parse().expect("a URL");
    let pool =
        PgPoolOptions::new().connect_with(options.database(&name)).await.expect("a connection");
    pool.execute(include_str!("../../../migrations/0004_relay.sql")).await.expect("the table");
    pool
}

#[tokio::test]
async fn a_lease_is_held_by_one_until_it_is_given_back() {
    let leases = PgLeases::new(database().await);
    let (ada, bo) = (Uuid::from_u128(1), Uuid::from_u128(2));
    assert_eq!(leases.take("topic", ada, LONG).await, Ok(true));
    assert_eq!(leases.take("topic", bo, LONG).await, Ok(false));
    assert_eq!(leases.take("another", bo, LONG).await, Ok(true));
    assert_eq!(leases.take("topic", ada, LONG).await, Ok(true), "renewed");
    assert_eq!(leases.give_back("topic", bo).await, Ok(()), "not theirs to give");
    assert_eq!(leases.take("topic", bo, LONG).await, Ok(false));
    assert_eq!(leases.give_back("topic", ada).await, Ok(()));
    assert_eq!(leases.take("topic", bo, LONG).await, Ok(true));
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_goes_to_whoever_asks() {
    let leases = PgLeases::new(database().await);
    let (ada, bo) = (Uuid::from_u128(1), Uuid::from_u128(2));
    assert_eq!(leases.take("topic", ada, Duration::from_millis(50)).await, Ok(true));
    let began_at = Instant::now();
    while leases.take("topic", bo, LONG).await != Ok(true) {
        assert!(began_at.elapsed() < DEADLINE);
    }
    assert_eq!(leases.take("topic", ada, LONG).await, Ok(false));
}

#[tokio::test]
async fn an_absent_database_is_an_error_and_not_a_no() {
    let pool = database().await;
    let leases = PgLeases::new(pool.clone());
    pool.close().await;
    assert!(leases.take("topic", Uuid::from_u128(1), LONG).await.is_err());
}
