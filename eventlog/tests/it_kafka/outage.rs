use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use eventlog::kafka::KafkaSettings;
use eventlog::kafka::topics::ensure;
use tempfile::TempDir;

use crate::world::{
    Switch, append_many, complete, events_in, events_of, log, parts, records, report_of, start,
    topic,
};

/// A broker that this test may kill.
struct Broker {
    folder: TempDir,
    port: u16,
}

impl Broker {
    fn start() -> Arc<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = Arc::new(Self { folder, port: free_ports() });
        broker.run("start");
        broker
    }

    fn run(&self, verb: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka/broker.sh");
        let mut command = Command::new(script);
        command.arg(verb).arg(self.folder.path());
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

    let report = report_of(&settings, topic, &log, 40).await;
    assert_eq!(report, complete(40));
    let name = topic.name(&settings.prefix);
    let records = records(&settings, &name, topic.partitions, "read_committed").await;
    assert_eq!(events_in(&records), events_of(&*log, "job").await);
    relay.stop().await;
    tokio::task::spawn_blocking(move || drop(broker)).await.expect("stopped");
}
