//! Rows R: the relay dies, is stopped, is doubled, or loses what it holds on to.

use std::collections::BTreeSet;
use std::time::Duration;

use eventlog::kafka::topics::TOPICS;
use nix::sys::signal::Signal;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};

use crate::process::Process;
use crate::product::Product;
use crate::row::{Length, Row};
use crate::servers::Broker;
use crate::world::{World, until};

pub const ROWS: &[Row] = &[
    Row {
        name: "R1",
        fault: "the relay dies after reading",
        is_short: true,
        body: |length| Box::pin(dies_at("before_produce", length)),
    },
    Row {
        name: "R2",
        fault: "the relay dies after produce, before the mark",
        is_short: true,
        body: |length| Box::pin(dies_at("after_produce_before_mark", length)),
    },
    Row {
        name: "R3",
        fault: "the relay dies after the mark, before the commit",
        is_short: false,
        body: |length| Box::pin(dies_at("after_mark_before_commit", length)),
    },
    Row {
        name: "R4",
        fault: "the relay dies after the commit",
        is_short: false,
        body: |length| Box::pin(dies_at("after_commit", length)),
    },
    Row {
        name: "R5",
        fault: "the relay dies while it takes over",
        is_short: false,
        body: |length| Box::pin(dies_at("after_fencing", length)),
    },
    Row {
        name: "R6",
        fault: "two relays, one stopped past its lease and continued",
        is_short: true,
        body: |_| Box::pin(stopped_and_continued()),
    },
    Row {
        name: "R7",
        fault: "the marks are lost",
        is_short: false,
        body: |_| Box::pin(marks_are_lost()),
    },
    Row {
        name: "R8",
        fault: "the producer is fenced from outside, and a commit times out",
        is_short: false,
        body: |length| Box::pin(fatal_producer_errors(length)),
    },
];

/// The relay under load dies at a place, again and again, and is started again each time.
async fn dies_at(place: &'static str, length: Length) -> String {
    let product = Product::with_kafka().await;
    let _project = product.world.start("project");
    let load = product.load(4);
    let n = length.of(1, 5);
    for i in 0..n {
        // A topic is taken over once in a life, a batch published often.
        let nth = if place == "after_fencing" { 1 + i } else { 2 + 3 * i };
        let mut relay = product.world.start_failing("relay", &format!("{place}:{nth}"));
        load.until_more(20).await;
        relay.until_ended().await;
        relay.was_killed();
    }
    let _relay = product.world.start("relay");
    load.until_more(40).await;
    let done = load.stop().await;
    product.holds(&done).await;
    product.is_published_and_projected().await;
    format!("SIGKILL at {place} {n} times, {} commands published once", done.len())
}

/// How often a process has said this.
pub fn n_said(process: &Process, message: &str) -> usize {
    process.lines().iter().filter(|line| line["message"] == message).count()
}

const STANDS_BY: &str = "another relay has the topic: standing by";
const PUBLISHES: &str = "publishing";

/// Waits until a relay publishes every topic: before, what is done to it is done to a start.
pub async fn until_publishing(relay: &Process) {
    until("the relay publishes every topic", async || {
        let lines = relay.lines();
        let said = lines.iter().filter(|line| line["message"] == PUBLISHES);
        let topics: BTreeSet<_> = said.filter_map(|line| line["topic"].as_str()).collect();
        (topics.len() >= TOPICS.len()).then_some(())
    })
    .await;
}

async fn stopped_and_continued() -> String {
    let product = Product::with_kafka().await;
    let _project = product.world.start("project");
    let first = product.world.start("relay");
    // One that is stopped while it takes a topic over goes on taking it, and drives its successor out.
    until_publishing(&first).await;
    let load = product.load(4);
    load.until_more(40).await;
    let second = product.world.start("relay");
    first.signal(Signal::SIGSTOP);
    until("the second relay takes over", async || (n_said(&second, PUBLISHES) > 0).then_some(()))
        .await;
    load.until_more(40).await;
    let job = format!("{}.job.v1", product.world.prefix());
    until("the second relay publishes jobs", async || {
        let lines = second.lines();
        lines.iter().any(|line| line["message"] == PUBLISHES && line["topic"] == job).then_some(())
    })
    .await;
    first.signal(Signal::SIGCONT);
    load.until_more(40).await;
    until("the first relay is fenced", async || (n_said(&first, STANDS_BY) > 0).then_some(()))
        .await;
    let done = load.stop().await;
    product.holds(&done).await;
    product.is_published_and_projected().await;
    // A duel would be the second fenced by the first in its turn.
    let n_back = n_said(&second, STANDS_BY);
    assert_eq!(n_back, 0, "the second relay was driven out again");
    format!("the stopped relay stood by {} times, its successor never", n_said(&first, STANDS_BY))
}

/// A client that orders the broker about.
pub fn admin(world: &World) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", world.bootstrap()).create().expect("a client")
}

/// Deletes topics and waits until the broker knows them no more.
pub async fn delete_topics(world: &World, names: &[&str]) {
    let admin = admin(world);
    let deleted = admin.delete_topics(names, &AdminOptions::new()).await.expect("an answer");
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    until("the topics are gone", async || {
        let known = admin.inner().fetch_metadata(None, Duration::from_secs(10)).ok()?;
        let is_gone = |name: &&str| !known.topics().iter().any(|topic| topic.name() == *name);
        names.iter().all(is_gone).then_some(())
    })
    .await;
}

async fn marks_are_lost() -> String {
    let product = Product::with_kafka().await;
    let _project = product.world.start("project");
    let relay = product.world.start("relay");
    let load = product.load(4);
    load.until_more(60).await;
    let before = load.stop().await;
    product.is_published_and_projected().await;
    relay.terminate().await;
    let prefix = product.world.prefix().to_owned();
    delete_topics(&product.world, &[&format!("{prefix}.relay.v1")]).await;

    let mut relay = product.world.start("relay");
    let stopped = "the topic's relay stopped";
    until("the relay refuses to go on", async || {
        let lines = relay.lines();
        let refused = lines.iter().any(|line| {
            line["message"] == stopped
                && line["reason"].as_str().is_some_and(|why| why.contains("has no mark"))
                && line["topic"] == format!("{prefix}.job.v1")
        });
        refused.then_some(())
    })
    .await;
    relay.signal(Signal::SIGTERM);
    relay.until_ended().await;
    // The way out that the documentation gives: delete what has no mark; it is filled from the log.
    let logged: Vec<String> = sqlx::query_scalar("select distinct category from es_stream")
        .fetch_all(&product.world.pool)
        .await
        .expect("the log can be read");
    let names: Vec<_> = logged.iter().map(|category| format!("{prefix}.{category}.v1")).collect();
    delete_topics(&product.world, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let _relay = product.world.start("relay");
    let load = product.load(4);
    load.until_more(40).await;
    let mut done = load.stop().await;
    done.extend(before);
    product.holds(&done).await;
    product.is_published_and_projected().await;
    "the relay refused to publish without marks; topics deleted and filled again from the log"
        .to_owned()
}

async fn fatal_producer_errors(length: Length) -> String {
    let broker = Broker::start();
    let mut world = World::without_kafka().await;
    world.use_kafka(broker.bootstrap(), false);
    let product = Product::on(world).await;
    let _project = product.world.start("project");
    let mut relay = product.world.start("relay");
    // Before it has the id, it would take it back.
    until_publishing(&relay).await;
    let load = product.load(4);
    load.until_more(40).await;
    let n = length.of(1, 3);
    let job = format!("{}.job.v1", product.world.prefix());
    let n_begun = || {
        let lines = relay.lines();
        lines.iter().filter(|line| line["message"] == PUBLISHES && line["topic"] == *job).count()
    };
    for _ in 0..n {
        let (n_before, n_begun_before) = (n_said(&relay, STANDS_BY), n_begun());
        fence(&product.world).await;
        load.until_more(20).await;
        until("the relay is fenced", async || (n_said(&relay, STANDS_BY) > n_before).then_some(()))
            .await;
        until("the relay is back", async || (n_begun() > n_begun_before).then_some(())).await;
    }
    let n_noticed = |relay: &Process| n_said(relay, "starting a new producer");
    // The broker stands still past every time limit of an open transaction, until that is noticed.
    let before = n_noticed(&relay);
    broker.signal(Signal::SIGSTOP);
    load.until_more(20).await;
    tokio::time::sleep(Duration::from_secs(length.of(12, 40))).await;
    until("the standstill is noticed", async || (n_noticed(&relay) != before).then_some(())).await;
    broker.signal(Signal::SIGCONT);
    load.until_more(40).await;
    let done = load.stop().await;
    product.holds(&done).await;
    product.is_published_and_projected().await;
    relay.is_running();
    let n_new = n_noticed(&relay) - before;
    format!("fenced {n} times, {n_new} producers replaced")
}

/// Takes the transactional id of the jobs' relay.
async fn fence(world: &World) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", world.bootstrap())
        .set("transactional.id", format!("{}.relay.job", world.prefix()))
        .create()
        .expect("a producer");
    let fenced =
        tokio::task::spawn_blocking(move || producer.init_transactions(Duration::from_secs(30)));
    fenced.await.expect("no panic").expect("the id is taken");
}
