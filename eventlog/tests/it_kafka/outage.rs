use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use eventlog::kafka::KafkaSettings;
use eventlog::kafka::topics::{Topic, ensure};
use eventlog::store::memory::MemoryStore;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::world::{
    Switch, append_many, complete, events_in, events_of, log, parts, records, report_of, soon,
    start, topic,
};

/// A broker that this test may kill.
struct Broker {
    folder: TempDir,
    port: u16,
    /// The port that clients are told.
    advertised: u16,
}

impl Broker {
    fn start() -> Arc<Self> {
        Self::start_behind(None)
    }

    /// One whose clients come by another port.
    fn start_behind(advertised: Option<u16>) -> Arc<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_ports();
        let broker = Arc::new(Self { folder, port, advertised: advertised.unwrap_or(port) });
        broker.run("start");
        broker
    }

    fn run(&self, verb: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka/broker.sh");
        let mut command = Command::new(script);
        command.arg(verb).arg(self.folder.path());
        command.env("KAFKA_ADVERTISED_PORT", self.advertised.to_string());
        if verb == "start" {
            command.arg(self.port.to_string());
        }
        let log: PathBuf = self.folder.path().join("broker.log");
        assert!(command.status().is_ok_and(|status| status.success()), "{verb}: {log:?}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.run("stop");
    }
}

/// The first of two ports that are free now, far from those that the system gives away by itself.
fn free_ports() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (0..1000)
        .map(|_| rand::random_range(11_000..29_000))
        .find(|&port| is_free(port) && is_free(port + 1))
        .expect("two free ports")
}

/// How a way to a broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The answer to the next batch of records is lost, and the way with it.
    LosesNext,
    Gone,
}

/// A way to a broker.
struct Way {
    port: u16,
    state: watch::Sender<State>,
    target: watch::Sender<u16>,
}

impl Way {
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (state, target) = (watch::Sender::new(State::Open), watch::Sender::new(0));
        let (states, targets) = (state.clone(), target.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (state, target) = (states.clone(), *targets.borrow());
                tokio::spawn(async move {
                    let mut gone = state.subscribe();
                    tokio::select! {
                        _ = gone.wait_for(|state| *state == State::Gone) => {}
                        () = pass(client, target, &state) => {}
                    }
                });
            }
        });
        Self { port, state, target }
    }

    async fn until_gone(&self) {
        let mut states = self.state.subscribe();
        states.wait_for(|state| *state == State::Gone).await.expect("a way");
    }
}

async fn pass(mut client: TcpStream, target: u16, state: &watch::Sender<State>) {
    let Ok(mut broker) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let (mut asked, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let mut is_lost = false;
    loop {
        tokio::select! {
            n = client.read(&mut asked) => {
                let Ok(n @ 1..) = n else { return };
                // A request is its length in four bytes, then its kind in two: 0 is a batch of records.
                let is_batch = asked.get(4..6) == Some(&[0, 0]);
                is_lost |= is_batch && *state.borrow() == State::LosesNext;
                if broker.write_all(&asked[..n]).await.is_err() {
                    return;
                }
            }
            n = broker.read(&mut answered) => {
                let Ok(n @ 1..) = n else { return };
                if is_lost {
                    state.send_replace(State::Gone);
                }
                if is_lost || client.write_all(&answered[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Asserts that the topic comes to hold the log's events, each once and in order.
async fn holds_the_log(settings: &KafkaSettings, topic: Topic, log: &Arc<MemoryStore>, n: u64) {
    assert_eq!(report_of(settings, topic, log, n).await, complete(n));
    let name = topic.name(&settings.prefix);
    let records = records(settings, &name, topic.partitions, "read_committed").await;
    assert_eq!(events_in(&records), events_of(&**log, "job").await);
}

/// Longer than a batch of records is sent again.
const OUTAGE: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_was_lost_is_published_once_and_whole() {
    let way = Way::new().await;
    let port = way.port;
    let broker = tokio::task::spawn_blocking(move || Broker::start_behind(Some(port)));
    let broker = broker.await.expect("a broker");
    way.target.send_replace(broker.port);
    let settings = KafkaSettings::new(&format!("127.0.0.1:{port}"));
    let (log, topic) = (log(), topic("job"));
    ensure(&settings, &[topic]).await.expect("the topics are made");
    append_many(&*log, "job", 10).await;
    let relay = start(parts(&settings, &log, Switch::on()), topic);
    report_of(&settings, topic, &log, 10).await;

    way.state.send_replace(State::LosesNext);
    append_many(&*log, "job", 30).await;
    soon(way.until_gone()).await;
    tokio::time::sleep(OUTAGE).await;
    way.state.send_replace(State::Open);

    holds_the_log(&settings, topic, &log, 40).await;
    relay.stop().await;
    tokio::task::spawn_blocking(move || drop(broker)).await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_while_the_broker_is_down_arrives_once_when_it_is_back() {
    let broker = tokio::task::spawn_blocking(Broker::start).await.expect("a broker");
    let settings = KafkaSettings::new(&format!("127.0.0.1:{}", broker.port));
    let (log, topic) = (log(), topic("job"));
    ensure(&settings, &[topic]).await.expect("the topics are made");
    append_many(&*log, "job", 10).await;
    let relay = start(parts(&settings, &log, Switch::on()), topic);
    report_of(&settings, topic, &log, 10).await;

    let killed = Arc::clone(&broker);
    tokio::task::spawn_blocking(move || killed.run("kill")).await.expect("killed");
    append_many(&*log, "job", 30).await;
    let back = Arc::clone(&broker);
    tokio::task::spawn_blocking(move || back.run("start")).await.expect("back");

    holds_the_log(&settings, topic, &log, 40).await;
    relay.stop().await;
    tokio::task::spawn_blocking(move || drop(broker)).await.expect("stopped");
}
