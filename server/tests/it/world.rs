//! What the tests share: a database, topics and a data folder of their own, the product's real
//! processes, and waiting for what must become true.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tempfile::TempDir;
use uuid::Uuid;

use crate::client::Client;
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

/// The product's program, with none of this process' settings.
pub fn colloquy() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_colloquy"));
    for (name, _) in std::env::vars() {
        if name.starts_with("COLLOQUY_") || name == "DATABASE_URL" || name == "KAFKA_BOOTSTRAP" {
            command.env_remove(name);
        }
    }
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// A port that is free now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
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
                             where a.consumer = $1 and a.company_id = s.tenant_id
                               and a.category = s.category and a.stream_id = s.stream_id), 0)",
                )
                .bind(model.consumer_name())
                .bind(model.aggregates)
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

    /// Asserts that the read models have applied the whole log and equal their rebuild.
    pub async fn read_models_equal_their_rebuild(&self) {
        self.until_projected().await;
        let (code, said) = self.run(&["verify"]).await;
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

/// Runs a program to its end and answers what it printed, errors last.
pub async fn run(mut command: Command) -> (ExitStatus, String) {
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let output = ran.expect("the program can be started");
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    (output.status, said.concat())
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
        let statement = AssertSqlSafe(format!("drop database {name} with (force)"));
        let _ = sqlx::query(statement).execute(&mut admin).await;
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

/// A running process of the product. It is killed when this is dropped; its log is shown if the test
/// fails.
pub struct Process {
    pub role: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the command. Its output goes to a file in `folder`.
    pub fn start(role: &str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{role}-{}.log", Uuid::new_v4().simple()));
        let file = File::create(&log).expect("a log file");
        let same = file.try_clone().expect("the same file");
        let child = command.stdout(same).stderr(file).spawn().expect("the program starts");
        Self { role: role.to_owned(), child, log }
    }

    /// What it has printed up to now.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The lines of its log as JSON.
    pub fn lines(&self) -> Vec<Value> {
        self.said().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until it serves, and answers where: the log tells it of `serve`, the greeting of `all`.
    pub async fn address(&mut self) -> SocketAddr {
        let what = format!("{} serves", self.role);
        until(&what, async || {
            self.is_running();
            let logged = self.lines().into_iter().find(|line| line["message"] == "serving");
            let logged = logged.and_then(|line| line["address"].as_str().map(str::to_owned));
            let greeting = || {
                let said = self.said();
                let (_, rest) = said.split_once("running at http://")?;
                rest.split_once('\n').map(|(address, _)| address.to_owned())
            };
            let address = logged.or_else(greeting)?;
            Some(address.parse().expect("an address"))
        })
        .await
    }

    /// Waits until it is ready for requests, and answers a client of it.
    pub async fn client(&mut self) -> Client {
        let client = Client::new(self.address().await);
        until("the API is ready", async || {
            (client.get("/ready").await.is_some_and(|(status, _)| status == 200)).then_some(())
        })
        .await;
        client
    }

    /// Asserts that it has not ended by itself.
    #[track_caller]
    pub fn is_running(&mut self) {
        let ended = self.child.try_wait().expect("a process of ours");
        assert!(ended.is_none(), "{} ended: {ended:?}\n{}", self.role, self.said());
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).expect("a process of ours");
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("a process of ours");
        self.child.wait().expect("a process of ours");
    }

    /// Asks it to stop and waits until it has.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.until_ended().await
    }

    /// Waits until it ends.
    pub async fn until_ended(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.role);
        until(&what, async || self.child.try_wait().expect("a process of ours")).await
    }

    /// Waits until its fail point has killed it.
    pub async fn until_killed(mut self) {
        self.until_ended().await;
        self.was_killed();
    }

    /// Asserts that it ended because of its fail point and not by itself.
    #[track_caller]
    pub fn was_killed(&mut self) {
        let status = self.child.wait().expect("a process of ours");
        let signal = status.signal();
        assert_eq!(signal, Some(Signal::SIGKILL as i32), "{status}\n{}", self.said());
    }

    /// Whether it has ended already.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a process of ours").is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            // A private database is a child of its own and must be stopped by its parent.
            self.signal(Signal::SIGTERM);
            let began_at = Instant::now();
            while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
                if began_at.elapsed() > Duration::from_secs(30) {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if std::thread::panicking() {
            let said = self.said();
            let from = said.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
            eprintln!("── the end of {}'s log ──\n{}", self.role, &said[from..]);
        }
    }
}
