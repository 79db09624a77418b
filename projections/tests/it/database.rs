//! A database of its own for each test, on the server that `TEST_DATABASE_URL` names.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use eventlog::clock::SystemClock;
use eventlog::codec::Codec;
use eventlog::consume::{Pace, run};
use eventlog::feed::{Feed, LogFeed};
use eventlog::store::postgres::{PostgresSettings, PostgresStore};
use eventlog::vault::MasterKey;
use eventlog::vault::postgres::PostgresVault;
use projections::model::{MODELS, Model};
use projections::runner::no_fail_point;
use projections::{Reads, lag};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::world::World;

pub struct Database {
    server: String,
    name: String,
    pub pool: PgPool,
    pub store: Arc<PostgresStore>,
    pub codec: Codec,
    pub reads: Reads,
}

static N_DATABASES: AtomicU32 = AtomicU32::new(0);

impl Database {
    pub async fn create() -> Self {
        let server = std::env::var("TEST_DATABASE_URL").expect(
            "TEST_DATABASE_URL names a superuser's `postgres` database; `make test` sets it",
        );
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let n = N_DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("projections_{}_{n}_{}", std::process::id(), now.subsec_nanos());
        execute(&server, format!("create database {name}")).await.expect("a database can be made");
        let options = PgConnectOptions::from_str(&server).expect("an address").database(&name);
        let pool = PgPoolOptions::new().max_connections(8).connect_lazy_with(options);
        eventlog::migrate::migrate(&pool).await.expect("the migrations run");
        let (start, _) = server.rsplit_once('/').expect("the address ends with a database");
        let settings = PostgresSettings {
            max_connections: 4,
            ..PostgresSettings::new(format!("{start}/{name}").into())
        };
        let store = Arc::new(PostgresStore::start(&settings).expect("the address is one"));
        let vault = PostgresVault::start(pool.clone(), MasterKey::new([7; 32]));
        let codec = Codec::new(Arc::new(vault));
        let clock = Arc::new(SystemClock);
        let reads = Reads::new(pool.clone(), store.clone(), codec.clone(), clock);
        Self { server, name, pool, store, codec, reads }
    }

    pub fn world(&self, n: u128) -> World {
        World::new(self.store.clone(), self.codec.clone(), n)
    }

    /// Runs these models from the log until they have applied all of it.
    pub async fn catch_up(&self, models: &[Model]) {
        let mut feeds = vec![];
        for model in models {
            feeds.push((*model, self.log_feed(model).await));
        }
        self.drive(feeds).await;
    }

    pub async fn log_feed(&self, model: &Model) -> Box<dyn Feed> {
        let checkpoints = model.checkpoints(self.pool.clone());
        let feed = LogFeed::start(self.store.clone(), model.filter(), &checkpoints).await;
        Box::new(feed.expect("the checkpoint can be loaded"))
    }

    /// Runs models on these feeds until they have applied all of the log.
    pub async fn drive(&self, feeds: Vec<(Model, Box<dyn Feed>)>) {
        let stop = CancellationToken::new();
        let mut loops = JoinSet::new();
        let mut names = vec![];
        for (model, feed) in feeds {
            names.push(model.name);
            let consumer = model.consumer(self.pool.clone(), self.codec.clone(), no_fail_point());
            let pace = Pace {
                batch: 50,
                wait: Duration::from_millis(20),
                sweep_every: Duration::from_millis(100),
            };
            let store = self.store.clone();
            loops.spawn(run(consumer, feed, store, model.filter(), pace, stop.clone()));
        }
        loop {
            let lags = lag::lag(&self.reads).await.expect("lag can be read");
            let behind: u64 =
                lags.iter().filter(|l| names.contains(&l.model)).map(|l| l.n_events).sum();
            if behind == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        while let Some(ended) = loops.join_next().await {
            ended.expect("a loop ends without panic");
        }
    }

    /// Every table equals its rebuild; answers how many rows there are by model.
    pub async fn assert_rebuilds(&self) -> Vec<(&'static str, u64)> {
        let mut rows = vec![];
        for model in MODELS {
            let compared = model.rebuild_equals_live(&self.pool, &*self.store, &self.codec).await;
            let compared = compared.expect("the rebuild runs");
            assert!(compared.is_equal(), "{}: {compared:?}", model.name);
            rows.push((model.name, compared.n_live));
        }
        rows
    }

    /// All rows of a table as JSON, in a fixed order.
    pub async fn rows(&self, table: &str) -> Vec<serde_json::Value> {
        let statement = format!("select to_jsonb(t) from {table} t order by to_jsonb(t)::text");
        sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_all(&self.pool)
            .await
            .expect("the table can be read")
    }
}

async fn execute(server: &str, statement: String) -> sqlx::Result<()> {
    let mut admin = PgConnection::connect(server).await?;
    sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await?;
    admin.close().await
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let statement = format!("drop database {name} with (force)");
            runtime.map(|runtime| runtime.block_on(execute(&server, statement)))
        });
        // A database that stays behind goes with the test server.
        let _ = dropped.join();
    }
}
