//! Rows K: the broker goes away, comes back, forgets, or is hard to reach.

use std::time::Duration;

use nix::sys::signal::Signal;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};

use crate::door::Door;
use crate::process::{Process, free_port};
use crate::product::Product;
use crate::relays::{admin, delete_topics, n_said};
use crate::row::{Length, Row};
use crate::servers::Broker;
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
        Self { relay, project, product, broker }
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
    let refused = until("the lost broker is noticed", async || {
        let (status, _) = own.product.admin.get("/health/kafka").await?;
        (status == 503).then_some(status)
    })
    .await;
    let n_done = load.n_done();
    tokio::time::sleep(Duration::from_secs(length.of(3, 60))).await;
    let n_meanwhile = load.n_done() - n_done;
    assert!(n_meanwhile > 0, "commands go on without a broker");
    assert_eq!(load.n_told(), n_before, "no command notices: {}", load.told());
    own.broker.resume();
    load.until_more(40).await;
    let done = load.stop().await;
    own.product.holds(&done).await;
    own.product.is_published_and_projected().await;
    own.is_running();
    format!(
        "/health/kafka said {refused}; {n_meanwhile} commands acknowledged meanwhile, all published"
    )
}

async fn comes_and_goes(length: Length) -> String {
    let mut own = Own::start().await;
    let load = own.product.load(4);
    let (n, up) = length.of((2, 3), (4, 20));
    for _ in 0..n {
        tokio::time::sleep(Duration::from_secs(up)).await;
        own.broker.kill();
        load.until_more(10).await;
        own.broker.resume();
    }
    load.until_more(40).await;
    let done = load.stop().await;
    own.product.holds(&done).await;
    own.product.is_published_and_projected().await;
    own.is_running();
    let n_new = n_said(&own.relay, "starting a new producer");
    format!("killed {n} times ({n_new} producers replaced), {} commands published", done.len())
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
    let port = free_port();
    let broker = Broker::start_advertising(port);
    let door = Door::at(port, broker.address()).await;
    let bootstrap = door.address.to_string();
    let mut own = Own::over(broker, bootstrap).await;
    let load = own.product.load(2);
    load.until_more(40).await;
    let n_before = load.n_told();
    let lasting = Duration::from_secs(length.of(4, 30));
    let mut said = vec![];
    door.stand_still(true);
    tokio::time::sleep(lasting).await;
    door.stand_still(false);
    said.push(format!("stood still {lasting:?}"));
    door.slow_down(Some((Duration::from_secs(1), 10_000)));
    tokio::time::sleep(lasting).await;
    door.slow_down(None);
    said.push(format!("1 s and 10 kB/s for {lasting:?}"));
    let n = length.of(5, 30);
    for _ in 0..n {
        door.cut();
        load.until_more(3).await;
    }
    said.push(format!("reset {n} times"));
    let n_bytes = door.n_bytes();
    load.until_more(40).await;
    assert_eq!(load.n_told(), n_before, "no command notices: {}", load.told());
    let done = load.stop().await;
    own.product.holds(&done).await;
    own.product.is_published_and_projected().await;
    own.is_running();
    format!(
        "{}; {n_bytes} bytes through the proxy, {} commands published",
        said.join(", "),
        done.len()
    )
}

async fn one_topic_fails() -> String {
    let mut own = Own::start().await;
    let load = own.product.load(4);
    load.until_more(20).await;
    let world = &own.product.world;
    let name = format!("{}.job.v1", world.prefix());
    // Too little for a batch of events, enough for the broker's own word that one was aborted.
    alter(world, &name, "300").await;
    until("the jobs' relay is refused", async || {
        (n_said(&own.relay, "a batch was aborted and is repeated") > 0).then_some(())
    })
    .await;
    // Another topic goes on beside it.
    let input = serde_json::json!({
        "email": format!("bob.{}@lights.example", uuid::Uuid::new_v4()),
        "fullName": "Bob Bright", "role": "HR",
    });
    own.product.admin.carry_out("inviteMember", input, "invitationToken").await;
    let n_members = crate::topic::complete(world, "member").await.len();
    alter(world, &name, "1048588").await;
    load.until_more(40).await;
    let done = load.stop().await;
    own.product.holds(&done).await;
    own.product.is_published_and_projected().await;
    own.is_running();
    let n = n_said(&own.relay, "a batch was aborted and is repeated");
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
