//! A database of its own for each test, with the log and the read models in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventlog::clock::SystemClock;
use eventlog::codec::Codec;
use eventlog::consume::{ConsumeError, Consumer, Pace, StreamWork, run};
use eventlog::fail_point::{FailPoint, no_fail_point};
use eventlog::feed::{Feed, LogFeed};
use eventlog::store::EventStore;
use eventlog::store::postgres::{PostgresSettings, PostgresStore};
use eventlog::testing::{TestDatabase, login};
use eventlog::vault::MasterKey;
use eventlog::vault::postgres::PostgresVault;
use projections::generation::{self, Generation};
use projections::model::{MODELS, Model, ModelCheckpoints};
use projections::rebuild::{IfDifferent, RebuildError, Rebuilder, Rebuilt};
use projections::wall::Readers;
use projections::{Reads, lag};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// How the role that reads connects to this database. It is one for all tests of a server.
pub async fn reader(pool: &PgPool) -> PgConnectOptions {
    let options = login(pool, "projections_reader").await;
    let let_read = sqlx::query("select rm_let_read('projections_reader')").execute(pool).await;
    let_read.expect("it may read");
    options
}

/// Nothing that a test waits for takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Database {
    pub pool: PgPool,
    pub store: Arc<PostgresStore>,
    pub codec: Codec,
    pub reads: Reads,
    /// Dropped last.
    _database: TestDatabase,
}

impl Database {
    pub async fn create() -> Self {
        let database = TestDatabase::create().await;
        let pool = database.pool.clone();
        let settings = PostgresSettings {
            max_connections: 4,
            ..PostgresSettings::new(database.url.clone().into())
        };
        let store = Arc::new(PostgresStore::start(&settings).expect("the address is one"));
        let vault = PostgresVault::start(pool.clone(), MasterKey::new([7; 32]));
        let codec = Codec::new(Arc::new(vault));
        let clock = Arc::new(SystemClock);
        let readers = Readers::new(reader(&pool).await, 4);
        let reads = Reads::new(pool.clone(), readers, store.clone(), codec.clone(), clock);
        Self { pool, store, codec, reads, _database: database }
    }

    /// The generation of a model that queries find.
    pub async fn live(&self, model: &Model) -> Generation {
        let mut conn = self.pool.acquire().await.expect("a connection");
        let live = generation::live(&mut conn, model).await.expect("generations can be read");
        live.expect("one is live")
    }

    /// What drives the live generation of a model.
    pub async fn consumer(&self, model: &Model, fail_point: FailPoint) -> Arc<dyn Consumer> {
        let live = self.live(model).await;
        model.consumer(&live, self.pool.clone(), self.codec.clone(), fail_point)
    }

    pub async fn checkpoints(&self, model: &Model) -> ModelCheckpoints {
        ModelCheckpoints::new(self.pool.clone(), &self.live(model).await)
    }

    pub fn world(&self, n: u128) -> World {
        World::new(self.store.clone(), self.codec.clone(), n)
    }

    /// What rebuilds, with a fail point.
    pub fn rebuilder(&self, fail_point: FailPoint) -> Rebuilder {
        let (pool, codec) = (self.pool.clone(), self.codec.clone());
        Rebuilder::new(pool, self.store.clone(), codec, fail_point, 2, CancellationToken::new())
    }

    /// Rebuilds models beside their live rows.
    pub async fn rebuild(
        &self,
        models: &[Model],
        fail_point: FailPoint,
    ) -> Result<Vec<Rebuilt>, RebuildError> {
        let progress = watch::Sender::default();
        self.rebuilder(fail_point).rebuild(models, IfDifferent::Stay, &progress).await
    }

    /// Runs these models from the log until they have applied all of it.
    pub async fn catch_up(&self, models: &[Model]) {
        let mut feeds = vec![];
        for model in models {
            feeds.push((*model, self.log_feed(model).await));
        }
        self.drive(feeds).await;
    }

    /// Applies what follows in every stream to one generation, as one batch. Of two that do so at once,
    /// one does it.
    pub async fn follow(&self, model: &Model, generation: &Generation) {
        let (pool, codec) = (self.pool.clone(), self.codec.clone());
        let consumer = model.consumer(generation, pool, codec, no_fail_point());
        let streams = self.store.stream_versions(&model.filter(), None, 10_000).await;
        let streams = streams.expect("the streams can be read");
        let ids: Vec<_> = streams.iter().map(|(stream, _)| stream.clone()).collect();
        let applied = consumer.applied(&ids).await.expect("applied versions");
        let mut work = vec![];
        for (stream, version) in streams {
            let from = applied.get(&stream).cloned().unwrap_or_default().version;
            if from < version {
                let events = self.store.read_stream(&stream, from, 100).await.expect("the log");
                work.push(StreamWork { stream, from, events, skipped: vec![] });
            }
        }
        match consumer.apply(work, &[]).await {
            Ok(()) | Err(ConsumeError::Moved) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn log_feed(&self, model: &Model) -> Box<dyn Feed> {
        let checkpoints = self.checkpoints(model).await;
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
            let consumer = self.consumer(&model, no_fail_point()).await;
            let pace = Pace {
                batch: 50,
                wait: Duration::from_millis(20),
                sweep_every: Duration::from_millis(100),
                retry_every: Duration::from_millis(20),
            };
            let store = self.store.clone();
            loops.spawn(run(consumer, feed, store, model.filter(), pace, stop.clone()));
        }
        let began_at = Instant::now();
        loop {
            let lags = lag::lag(&self.reads).await.expect("lag can be read");
            let behind: u64 =
                lags.iter().filter(|l| names.contains(&l.model)).map(|l| l.n_events).sum();
            if behind == 0 {
                break;
            }
            assert!(began_at.elapsed() < DEADLINE, "{behind} events are not applied");
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
