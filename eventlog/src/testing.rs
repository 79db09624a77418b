//! A database of its own for each test (feature `testing`), on the server that `TEST_DATABASE_URL`
//! names. The database is dropped with the value.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

/// A database that lives as long as the test.
pub struct TestDatabase {
    /// Address of the database.
    pub url: String,
    /// A few connections to it.
    pub pool: PgPool,
    server: String,
    name: String,
}

impl TestDatabase {
    /// A new database with the product's schema.
    ///
    /// # Panics
    /// When `TEST_DATABASE_URL` is not set (`make test` sets it) or its server does not answer.
    pub async fn create() -> Self {
        let database = Self::create_empty().await;
        crate::migrate::migrate(&database.pool).await.expect("the migrations run");
        database
    }

    /// A new database without any schema.
    ///
    /// # Panics
    /// See [`TestDatabase::create`].
    pub async fn create_empty() -> Self {
        #[expect(clippy::disallowed_methods, reason = "where tests find their server")]
        let server = std::env::var("TEST_DATABASE_URL")
            .expect("TEST_DATABASE_URL names a superuser's database `postgres`; use `make test`");
        let mut admin = PgConnection::connect(&server).await.expect("the test server answers");
        let name = format!("test_{}", Uuid::from_bytes(rand::random()).simple());
        let create = AssertSqlSafe(format!("create database {name}"));
        sqlx::query(create).execute(&mut admin).await.expect("a database can be made");
        let options = PgConnectOptions::from_str(&server).expect("an address").database(&name);
        let start = server.rsplit_once('/').expect("the address ends with a database").0;
        let url = format!("{start}/{name}");
        let pool = PgPoolOptions::new().max_connections(6).connect_lazy_with(options);
        Self { url, pool, server, name }
    }
}

/// How a role of this name connects, which owns nothing and is made if there is none: it is one for all
/// databases of the server, and stays.
///
/// # Panics
/// When the pool's role may make none.
pub async fn login(pool: &PgPool, name: &str) -> PgConnectOptions {
    let make = AssertSqlSafe(format!(
        "do $$ begin
           create role {name} login;
         exception when duplicate_object or unique_violation then null;
         end $$"
    ));
    sqlx::query(make).execute(pool).await.expect("a role can be made");
    pool.connect_options().as_ref().clone().username(name)
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A thread of its own, because a test's runtime may be on its way out.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                if let Ok(mut admin) = PgConnection::connect(&server).await {
                    let drop =
                        AssertSqlSafe(format!("drop database if exists {name} with (force)"));
                    // A database that stays is removed with the test server.
                    let _ = sqlx::query(drop).execute(&mut admin).await;
                }
            });
        });
        let _ = dropped.join();
    }
}
