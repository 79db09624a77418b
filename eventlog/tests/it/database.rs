//! A database of its own for each test, on the server that `TEST_DATABASE_URL` names.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use eventlog::migrate::migrate;
use eventlog::store::postgres::{PostgresSettings, PostgresStore};
use eventlog::vault::MasterKey;
use eventlog::vault::postgres::PostgresVault;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::samples::{World, id};

pub struct Database {
    pub url: String,
    pub pool: PgPool,
}

impl Database {
    /// A new database with the schema.
    pub async fn create() -> Self {
        let server = std::env::var("TEST_DATABASE_URL").expect(
            "TEST_DATABASE_URL names a superuser's `postgres` database; `make test` sets it",
        );
        Self::create_on(&server).await
    }

    pub async fn create_on(server: &str) -> Self {
        let database = Self::create_empty_on(server).await;
        migrate(&database.pool).await.expect("the migrations run");
        database
    }

    pub async fn create_empty_on(server: &str) -> Self {
        let mut admin = PgConnection::connect(server).await.expect("the test server answers");
        let name = format!("eventlog_{}_{}", std::process::id(), id().simple());
        sqlx::query(AssertSqlSafe(format!("create database {name}")))
            .execute(&mut admin)
            .await
            .expect("a database can be made");
        let options = PgConnectOptions::from_str(server).expect("an address").database(&name);
        let url = {
            let (start, _) = server.rsplit_once('/').expect("the address ends with a database");
            format!("{start}/{name}")
        };
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(options);
        Self { url, pool }
    }

    pub fn store(&self) -> Arc<PostgresStore> {
        self.store_with_deadline(Duration::from_secs(30))
    }

    pub fn store_with_deadline(&self, append_deadline: Duration) -> Arc<PostgresStore> {
        let settings = PostgresSettings {
            max_connections: 4,
            append_deadline,
            ..PostgresSettings::new(self.url.clone().into())
        };
        Arc::new(PostgresStore::start(&settings).expect("the address is one"))
    }

    pub fn vault(&self) -> Arc<PostgresVault> {
        Arc::new(PostgresVault::start(self.pool.clone(), MasterKey::new([7; 32])))
    }

    pub fn world(&self) -> World {
        World { store: self.store(), vault: self.vault() }
    }

    /// Runs one statement as the owner of everything.
    pub async fn run(&self, statement: &str) -> sqlx::Result<u64> {
        let statement = AssertSqlSafe(statement.to_owned());
        Ok(sqlx::raw_sql(statement).execute(&self.pool).await?.rows_affected())
    }
}
