//! What the tests share: a database, topics and a data folder of their own, and waiting for what must
//! become true.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tempfile::TempDir;
use uuid::Uuid;

use crate::process::{Process, colloquy, run};
use crate::topic;

/// Nothing that a test waits for takes longer.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Between two looks at something awaited.
const PAUSE: Duration = Duration::from_millis(50);

const OPERATOR: (&str, &str) = ("operator@platform.example", "Operator-pass-1");

/// Looks again and again until something is there.
#[track_caller]
pub fn until<'a, T: 'a>(
    what: &'a str,
    mut look: impl AsyncFnMut() -> Option<T> + 'a,
) -> impl Future<Output = T> + 'a {
    let place = std::panic::Location::caller();
    async move {
        let began_at = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(began_at.elapsed() < DEADLINE, "{place}: {what} did not come true");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The repository's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a repository").to_owned()
}

/// Where things are: a database, perhaps Kafka, and a data folder; all of it the test's own.
pub struct World {
    pub url: String,
    pub pool: PgPool,
    pub data: TempDir,
    kafka: Option<Kafka>,
    /// The server in which the database was made, and its name.
    made: Option<(String, String)>,
    master_key: String,
}

/// The test's own topics on a broker.
struct Kafka {
    bootstrap: String,
    prefix: String,
    is_shared: bool,
}

impl World {
    /// Everything in one process, or several without Kafka.
    pub async fn without_kafka() -> Self {
        let server = std::env::var("TEST_DATABASE_URL").expect(
            "TEST_DATABASE_URL names a superuser's `postgres` database; `make test` sets it",
        );
        let name = format!("colloquy_it_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server).await.expect("the test server answers");
        let statement = AssertSqlSafe(format!("create database {name}"));
        sqlx::query(statement).execute(&mut admin).await.expect("a database can be made");
        let (start, _) = server.rsplit_once('/').expect("the address ends with a database");
        let url = format!("{start}/{name}");
        let mut world = Self::on(url);
        world.made = Some((server, name));
        world
    }

    /// Roles as processes over Kafka.
    pub async fn with_kafka() -> Self {
        let bootstrap = std::env::var("KAFKA_BOOTSTRAP")
            .expect("KAFKA_BOOTSTRAP names a broker; `make test` sets it");
        let mut world = Self::without_kafka().await;
        world.use_kafka(bootstrap, true);
        world
    }

    /// On a database that the test looks after.
    pub fn on(url: String) -> Self {
        let options = url.parse().expect("an address");
        Self {
            pool: PgPoolOptions::new().max_connections(4).connect_lazy_with(options),
            url,
            data: tempfile::tempdir().expect("a folder"),
            kafka: None,
            made: None,
            master_key: format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()),
        }
    }

    /// Lets the roles use this broker. Topics on one that is not shared go with it.
    pub fn use_kafka(&mut self, bootstrap: String, is_shared: bool) {
        let prefix = format!("it-{}", Uuid::new_v4().simple());
        self.kafka = Some(Kafka { bootstrap, prefix, is_shared });
    }

    /// What wraps all keys, as 64 hex digits.
    pub fn master_key(&self) -> &str {
        &self.master_key
    }

    /// First part of the topics' names.
    pub fn prefix(&self) -> &str {
        &self.kafka.as_ref().expect("a world with Kafka").prefix
    }

    pub fn bootstrap(&self) -> &str {
        &self.kafka.as_ref().expect("a world with Kafka").bootstrap
    }

    pub fn operator(&self) -> (String, String) {
        (OPERATOR.0.to_owned(), OPERATOR.1.to_owned())
    }

    /// A connection to the database, apart from the pool.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("the database answers")
    }

    /// The program with this world's settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = colloquy();
        command
            .args(arguments)
            .env("DATABASE_URL", &self.url)
            .env("COLLOQUY_DATA_DIR", self.data.path())
            .env("COLLOQUY_SECRETS__MASTER_KEY", &self.master_key)
            .env("COLLOQUY_OPERATOR__EMAIL", OPERATOR.0)
            .env("COLLOQUY_OPERATOR__PASSWORD", OPERATOR.1)
            .env("COLLOQUY_HTTP__LISTEN", "127.0.0.1:0")
            // Tests ask more in a minute than people do.
            .env("COLLOQUY_LIMITS__ENABLED", "false")
            .env("COLLOQUY_DATABASE__MAX_CONNECTIONS", "8");
        if let Some(kafka) = &self.kafka {
            command
                .env("KAFKA_BOOTSTRAP", &kafka.bootstrap)
                .env("COLLOQUY_KAFKA__PREFIX", &kafka.prefix)
                .env("COLLOQUY_KAFKA__LEASE_SECONDS", "1");
        }
        command
    }

    /// Brings the schema up to date, so that roles that start at once need not wait for each other.
    pub async fn migrate(&self) {
        let (code, said) = self.run(&["migrate"]).await;
        assert!(code.success(), "{said}");
    }

    /// Runs the program to its end and answers what it printed.
    pub async fn run(&self, arguments: &[&str]) -> (ExitStatus, String) {
        run(self.command(arguments)).await
    }

    /// Starts a role.
    pub fn start(&self, role: &str) -> Process {
        self.start_with(role, &[])
    }

    /// Starts a role with further settings.
    pub fn start_with(&self, role: &str, settings: &[(&str, &str)]) -> Process {
        let mut command = self.command(&[role]);
        command.envs(settings.iter().copied());
        Process::start(role, command, self.data.path())
    }

    /// Starts a role that dies where it passes a place for the n-th time.
    pub fn start_failing(&self, role: &str, place: &str) -> Process {
        self.start_with(role, &[("COLLOQUY_FAILPOINT", place)])
    }

    /// The log's versions and hashes of one aggregate's streams, by position.
    pub async fn log_of(&self, aggregate: &str) -> Vec<Logged> {
        sqlx::query_as(
            "select position, stream_id, version, event_type, encode(hash, 'hex') as hash
               from es_event where category = $1 order by position",
        )
        .bind(aggregate)
        .fetch_all(&self.pool)
        .await
        .expect("the log can be read")
    }

    /// Waits until every read model has applied every event that it listens to.
    pub async fn until_projected(&self) {
        until("every read model applies the log", async || {
            for model in projections::model::MODELS {
                let n_behind: i64 = sqlx::query_scalar(
                    "select count(*) from es_stream s
                      where s.category = any($2) and s.version > coalesce((
                            select a.version from consumer_applied a
                             where a.consumer = (
                                    select g.consumer from read_model_generation g
                                     where g.model = $1 and g.version = $3 and g.live)
                               and a.company_id = s.tenant_id
                               and a.category = s.category and a.stream_id = s.stream_id), 0)",
                )
                .bind(model.name)
                .bind(model.aggregates)
                .bind(i32::try_from(model.version).expect("small"))
                .fetch_one(&self.pool)
                .await
                .expect("the read models can be read");
                if n_behind > 0 {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Waits until the log tells of all that happened to logins, so that nothing is appended by itself.
    pub async fn until_told(&self) {
        until("what happened to logins is told", async || {
            let untold = sqlx::query_scalar("select count(*) from identity.outbox");
            let untold: i64 = untold.fetch_one(&self.pool).await.expect("the outbox can be read");
            (untold == 0).then_some(())
        })
        .await;
    }

    /// Asserts that the read models have applied the whole log and equal their rebuild.
    pub async fn read_models_equal_their_rebuild(&self) {
        self.until_projected().await;
        let (code, said) = self.run(&["models", "check"]).await;
        assert!(code.success(), "{said}");
    }

    /// Waits until the topics hold the log, and asserts that they equal it event by event.
    pub async fn topics_equal_the_log(&self) {
        let logged: Vec<String> = sqlx::query_scalar("select distinct category from es_stream")
            .fetch_all(&self.pool)
            .await
            .expect("the log can be read");
        for aggregate in logged {
            let records = topic::complete(self, &aggregate).await;
            let mut seen: Vec<_> =
                records.iter().map(|r| (r.number("ce_position"), r.header("ce_hash"))).collect();
            seen.sort_unstable();
            let logged = self.log_of(&aggregate).await;
            let logged: Vec<_> = logged.iter().map(|e| (e.position, e.hash.as_str())).collect();
            assert_eq!(seen, logged, "the topic of {aggregate}");
        }
        let (code, said) = self.run(&["relay", "check"]).await;
        assert!(code.success(), "{said}");
    }
}

/// One event as the log has it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Logged {
    pub position: i64,
    pub stream_id: Uuid,
    pub version: i64,
    pub event_type: String,
    pub hash: String,
}

impl Drop for World {
    fn drop(&mut self) {
        let made = self.made.take();
        let kafka = self.kafka.take().filter(|kafka| kafka.is_shared);
        // The runtime of the test may be the one that drops this.
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                if let Some((server, name)) = made {
                    drop_database(&server, &name).await;
                }
                if let Some(kafka) = kafka {
                    delete_topics(&kafka).await;
                }
            });
        });
        // What is left behind goes with the test's servers.
        let _ = cleaned.join();
    }
}

async fn drop_database(server: &str, name: &str) {
    if let Ok(mut admin) = PgConnection::connect(server).await {
        let oid = sqlx::query_scalar("select oid::int8 from pg_database where datname = $1");
        let oid: Option<i64> = oid.bind(name).fetch_one(&mut admin).await.ok();
        let statement = AssertSqlSafe(format!("drop database {name} with (force)"));
        let _ = sqlx::query(statement).execute(&mut admin).await;
        // Roles are the server's; those that used it are of no use any more.
        if let Some(oid) = oid {
            let statement = AssertSqlSafe(format!(
                "drop role if exists colloquy_reader_{oid}, colloquy_identity_{oid}"
            ));
            let _ = sqlx::query(statement).execute(&mut admin).await;
        }
    }
}

/// So that the next test's broker need not keep them in mind.
async fn delete_topics(kafka: &Kafka) {
    let admin: Result<AdminClient<DefaultClientContext>, _> =
        ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap).create();
    let Ok(admin) = admin else { return };
    let Ok(metadata) = admin.inner().fetch_metadata(None, Duration::from_secs(10)) else { return };
    let topics = metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name);
    let own: Vec<&str> = topics.filter(|name| name.starts_with(&kafka.prefix)).collect();
    if !own.is_empty() {
        let _ = admin.delete_topics(&own, &AdminOptions::new()).await;
    }
}
