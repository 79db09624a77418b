//! A database of its own for each part, and the parts of the product upon it.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use commands::{Bus, BusSettings};
use eventlog::clock::{Clock, SystemClock};
use eventlog::codec::Codec;
use eventlog::envelope::Position;
use eventlog::migrate::migrate;
use eventlog::store::EventStore;
use eventlog::store::postgres::{PostgresSettings, PostgresStore};
use eventlog::vault::postgres::PostgresVault;
use eventlog::vault::secrets::{self, Secrets};
use eventlog::vault::{KeyVault, MasterKey};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

/// As many as the server has by default.
const POOL: u32 = 20;

/// A database that is there for one part.
pub struct Database {
    server: String,
    /// What the server calls it.
    pub name: String,
    /// How it is reached.
    pub options: PgConnectOptions,
    /// Connections as the server has them.
    pub pool: PgPool,
}

impl Database {
    /// An empty database.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn create(server: &str, label: &str) -> anyhow::Result<Self> {
        let mut admin =
            PgConnection::connect(server).await.context("the server cannot be reached")?;
        let name = format!("bench_{}_{label}", std::process::id());
        sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await?;
        admin.close().await?;
        let options = PgConnectOptions::from_str(server)?.database(&name);
        let pool = PgPoolOptions::new()
            .max_connections(POOL)
            .acquire_timeout(Duration::from_secs(10))
            .connect_lazy_with(options.clone());
        Ok(Self { server: server.to_owned(), name, options, pool })
    }

    /// A database with the product's schema.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn create_with_schema(server: &str, label: &str) -> anyhow::Result<Self> {
        let database = Self::create(server, label).await?;
        migrate(&database.pool).await.context("the migrations do not run")?;
        Ok(database)
    }

    /// A log in it.
    ///
    /// # Errors
    /// The address has no form of one.
    pub fn store(&self) -> anyhow::Result<Arc<PostgresStore>> {
        let (start, _) = self.server.rsplit_once('/').context("the address names no database")?;
        let mut settings = PostgresSettings::new(format!("{start}/{}", self.name).into());
        settings.append_deadline = Duration::from_secs(60);
        Ok(Arc::new(PostgresStore::start(&settings)?))
    }

    /// How many commands shared a commit, on average, among the events after `position`: those of one
    /// commit were recorded at the same time.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn commands_per_commit(&self, position: Position) -> anyhow::Result<f64> {
        let query = "select count(distinct command_id)::float8 / count(distinct recorded_at)
                       from es_event where position > $1";
        let position = i64::try_from(position.0)?;
        Ok(sqlx::query_scalar(query).bind(position).fetch_one(&self.pool).await?)
    }

    /// Removes it with all that is connected to it.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn drop(self) -> anyhow::Result<()> {
        self.pool.close().await;
        let mut admin = PgConnection::connect(&self.server).await?;
        let statement = format!("drop database {} with (force)", self.name);
        sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await?;
        Ok(())
    }
}

/// Log, keys and secrets, as the server puts them together.
pub struct Parts {
    /// The log.
    pub store: Arc<PostgresStore>,
    /// Keys of persons.
    pub vault: Arc<PostgresVault>,
    secrets: Secrets,
}

impl Parts {
    /// Opens them.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn open(database: &Database) -> anyhow::Result<Self> {
        let master = MasterKey::new([7; 32]);
        let secrets = secrets::load_or_create(&database.pool, &master).await?;
        let vault = Arc::new(PostgresVault::start(database.pool.clone(), master));
        Ok(Self { store: database.store()?, vault, secrets })
    }

    /// The last position.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn head(&self) -> anyhow::Result<Position> {
        Ok(self.store.head().await?)
    }

    /// A bus upon them that keeps this many aggregates warm.
    pub fn bus(&self, warm_bytes: u64) -> Bus {
        let (store, vault) = (Arc::clone(&self.store), Arc::clone(&self.vault));
        self.bus_on(store, vault, warm_bytes)
    }

    /// The same, with something before the log and the keys.
    pub fn bus_on(
        &self,
        store: Arc<dyn EventStore>,
        vault: Arc<dyn KeyVault>,
        warm_bytes: u64,
    ) -> Bus {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let settings = BusSettings { warm_bytes, ..BusSettings::default() };
        Bus::new(store, Codec::new(vault), self.secrets.clone(), clock, settings)
    }

    /// Stops their tasks.
    pub async fn close(&self) {
        self.store.stop().await;
        self.vault.stop().await;
    }
}
