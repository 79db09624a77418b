//! Rows K: the broker goes away, comes back, forgets, or is hard to reach.

use std::time::Duration;

use nix::sys::signal::Signal;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};

use crate::door::Door;
use crate::process::Process;
use crate::product::Product;
use crate::relays::{admin, delete_topics, until_publishing};
use crate::row::{Length, Row};
use crate::servers::Broker;
use crate::topic;
use crate::world::{World, until};

pub const ROWS: &[Row] = &[
    Row {
        name: "K1",
        fault: "the broker is down",
        is_short: true,
        body: |length| Box::pin(is_down(length)),
    },
    Row {
        name: "K2",
        fault: "the broker is killed and restarted again and again",
        is_short: false,
        body: |length| Box::pin(comes_and_goes(length)),
    },
    Row {
        name: "K3",
        fault: "a topic is deleted",
        is_short: false,
        body: |_| Box::pin(topic_is_deleted()),
    },
    Row {
        name: "K4",
        fault: "connections to the broker stand still, are slow, are reset",
        is_short: false,
        body: |length| Box::pin(is_hard_to_reach(length)),
    },
    Row {
        name: "K5",
        fault: "one topic takes nothing",
        is_short: false,
        body: |_| Box::pin(one_topic_fails()),
    },
];

/// The product over a broker of its own.
struct Own {
    // First, so that they are gone before their data.
    relay: Process,
    project: Process,
    product: Product,
    broker: Broker,
}

impl Own {
    async fn start() -> Self {
        let broker = Broker::start();
        let bootstrap = broker.bootstrap();
        Self::over(broker, bootstrap).await
    }

    /// The roles reach the broker at `bootstrap`.
    async fn over(broker: Broker, bootstrap: String) -> Self {
        let mut world = World::without_kafka().await;
        world.use_kafka(bootstrap, false);
        let product = Product::on(world).await;
        let (relay, project) = (product.world.start("relay"), product.world.start("project"));
        until_publishing(&relay).await;
        product.world.until_projected().await;
        Self { relay, project, product, broker }
    }

    /// Waits until the API says so of the broker.
    async fn until_health_says(&self, wanted: u16) {
        until("the API knows how the broker stands", async || {
            let (status, _) = self.product.admin.get("/health/kafka").await?;
            (status == wanted).then_some(())
        })
        .await;
    }

    /// Waits until so many events of jobs are in their topic.
    async fn until_published(&self, n_logged: usize) {
        until("what waited for the broker is published", async || {
            let n = topic::records(&self.product.world, "job").await.len();
            (n >= n_logged).then_some(())
        })
        .await;
    }

    fn is_running(&mut self) {
        self.product.serve.is_running();
        self.relay.is_running();
        self.project.is_running();
    }
}

async fn is_down(length: Length) -> String {
    let mut own = Own::start().await;
    let load = own.product.load(4);
    load.until_more(40).await;
    let n_before = load.n_told();
    own.broker.kill();
    own.until_health_says(503).await;
    let n_done = load.n_done();
    tokio::time::sleep(Duration::from_secs(length.of(3, 60))).await;
    load.until_more(10).await;
    let n_meanwhile = load.n_done() - n_done;
    assert_eq!(load.n_told(), n_before, "no command notices: {}", load.told());
    own.broker.resume();
    load.until_more(40).await;
    let done = load.stop().await;
    own.product.holds(&done).await;
    own.product.is_published_and_projected().await;
    own.is_running();
    format!("/health/kafka said 503; {n_meanwhile} commands acknowledged meanwhile, all published")
}

async fn comes_and_goes(length: Length) -> String {
    let mut own = Own::start().await;
    let load = own.product.load(4);
    let (n, up) = length.of((2, 3), (4, 20));
    let mut n_waiting = vec![];
    for _ in 0..n {
        tokio::time::sleep(Duration::from_secs(up)).await;
        own.broker.kill();
        let world = &own.product.world;
        let n_before = world.log_of("job").await.len();
        own.until_health_says(503).await;
        load.until_more(10).await;
        let n_logged = world.log_of("job").await.len();
        own.broker.resume();
        own.until_health_says(200).await;
        own.until_published(n_logged).await;
        n_waiting.push(n_logged - n_before);
    }
    load.until_more(40).await;
    let done = load.stop().await;
    own.product.holds(&done).await;
    own.product.is_published_and_projected().await;
    own.is_running();
    assert!(n_waiting.iter().all(|n| *n > 0), "nothing waited for the broker: {n_waiting:?}");
    format!(
        "killed {n} times, each told by /health/kafka; {n_waiting:?} events waited and were published \
         at its return; {} commands in all",
        done.len()
    )
}

async fn topic_is_deleted() -> String {
    let mut own = Own::start().await;
    let load = own.product.load(4);
    load.until_more(60).await;
    let mut done = load.stop().await;
    own.product.is_published_and_projected().await;
    let world = &own.product.world;
    let name = format!("{}.job.v1", world.prefix());
    delete_topics(world, &[&name]).await;
    let load = own.product.load(4);
    load.until_more(40).await;
    done.extend(load.stop().await);
    // Read models need no topic to be complete: what the feed lacks is read from the log.
    world.read_models_equal_their_rebuild().await;
    own.relay.signal(Signal::SIGTERM);
    own.relay.until_ended().await;
    own.relay = world.start("relay");
    own.product.holds(&done).await;
    own.product.is_published_and_projected().await;
    own.is_running();
    format!("{name} deleted; read models went on from the log, a restarted relay filled it again")
}

async fn is_hard_to_reach(length: Length) -> String {
    let door = Door::to_nowhere().await;
    let broker = Broker::start_advertising(door.address.port());
    door.lead_to(broker.address());
    let bootstrap = door.address.to_string();
    let mut own = Own::over(broker, bootstrap).await;
    let load = own.product.load(2);
    load.until_more(40).await;
    let n_before = load.n_told();
    let lasting = Duration::from_secs(length.of(4, 30));

    door.stand_still(true);
    // What had passed the gate already arrives.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (n_bytes, n_done) = (door.n_bytes(), load.n_done());
    tokio::time::sleep(lasting).await;
    load.until_more(10).await;
    assert_eq!(door.n_bytes(), n_bytes, "bytes passed while everything stood still");
    let n_meanwhile = load.n_done() - n_done;
    let n_logged = own.product.world.log_of("job").await.len();
    door.stand_still(false);
    own.until_published(n_logged).await;

    door.slow_down(Some((Duration::from_secs(1), 10_000)));
    tokio::time::sleep(lasting).await;
    load.until_more(10).await;
    let n_slowed = door.n_slowed();
    assert!(n_slowed > 0, "nothing was slowed down");
    door.slow_down(None);

    let (n, mut n_cut) = (length.of(5, 30), 0);
    for _ in 0..n {
        n_cut += until("there are connections to cut", async || match door.cut() {
            0 => None,
            n => Some(n),
        })
        .await;
        load.until_more(3).await;
    }
    load.until_more(40).await;
    assert_eq!(load.n_told(), n_before, "no command notices: {}", load.told());
    let done = load.stop().await;
    own.product.holds(&done).await;
    own.product.is_published_and_projected().await;
    own.is_running();
    format!(
        "stood still {lasting:?}: not a byte passed, {n_meanwhile} commands acknowledged; {n_slowed} \
         pieces held back 1 s and more, at 10 kB/s; {n_cut} connections cut in {n} resets; no command \
         noticed, {} published",
        done.len()
    )
}

async fn one_topic_fails() -> String {
    let mut own = Own::start().await;
    let load = own.product.load(4);
    load.until_more(20).await;
    let world = &own.product.world;
    let name = format!("{}.job.v1", world.prefix());
    let n_refused = || {
        let lines = own.relay.lines();
        let of_jobs = lines.iter().filter(|line| line["topic"] == *name);
        of_jobs.filter(|line| line["message"] == "starting a new producer").count()
    };
    let n_before = n_refused();
    // Too little for a batch of events, enough for the broker's own word that one was aborted.
    alter(world, &name, "300").await;
    until("the jobs' relay is refused", async || (n_refused() > n_before).then_some(())).await;
    // Another topic goes on beside it.
    let input = serde_json::json!({
        "email": format!("bob.{}@lights.example", uuid::Uuid::new_v4()),
        "fullName": "Bob Bright", "role": "HR",
    });
    own.product.admin.carry_out("inviteMember", input, "invitationToken").await;
    let n_members = topic::complete(world, "member").await.len();
    alter(world, &name, "1048588").await;
    load.until_more(40).await;
    let done = load.stop().await;
    own.product.holds(&done).await;
    own.product.is_published_and_projected().await;
    let n = n_refused() - n_before;
    own.is_running();
    format!("{n} batches refused by {name}; meanwhile {n_members} events in the members' topic")
}

/// Sets how large a batch of records the topic takes.
async fn alter(world: &World, topic: &str, bytes: &str) {
    // What is not said goes back to its default.
    let config = AlterConfig::new(ResourceSpecifier::Topic(topic))
        .set("max.message.bytes", bytes)
        .set("cleanup.policy", "delete")
        .set("retention.ms", "-1")
        .set("message.timestamp.type", "LogAppendTime");
    let altered = admin(world).alter_configs([&config], &AdminOptions::new()).await;
    let altered = altered.expect("an answer");
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");
}
