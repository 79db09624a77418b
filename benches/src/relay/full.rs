//! The relay of a full log into empty topics.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use eventlog::envelope::{Position, StoredEvent};
use eventlog::kafka::lease::PgLeases;
use eventlog::kafka::relay;
use eventlog::kafka::topics::{Topic, marks_name, published};
use eventlog::store::{EventStore, Filter};
use rdkafka::Message;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::broker::Topics;
use super::gate::Gate;
use crate::database::{Database, Parts};

/// Events read from the log at once.
const PAGE: usize = 5000;
/// Nothing is committed for so long only if something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a turn came to.
pub struct Relayed {
    /// From the moment when every topic's first batch was ready until the last mark was read.
    pub seconds: f64,
    /// The transactions of each topic, by its label: the position that each of them ends with.
    pub transactions: HashMap<String, Vec<u64>>,
}

/// The log's events, by topic; topics without any are left out.
pub async fn events(store: &dyn EventStore) -> anyhow::Result<Vec<(Topic, Vec<StoredEvent>)>> {
    let mut all = vec![];
    for topic in published(false) {
        let filter = Filter::of_aggregates([topic.aggregate]);
        let (mut after, mut events) = (Position(0), vec![]);
        loop {
            let page = store.read_log(after, &filter, PAGE).await?;
            if page.next == after {
                break;
            }
            after = page.next;
            events.extend(page.events);
        }
        if !events.is_empty() {
            all.push((topic, events));
        }
    }
    Ok(all)
}

/// Relays the whole log into these topics, as a server does; `last` says which position each topic
/// that gets any event ends with, by its label.
///
/// # Errors
/// A topic stopped, or the broker cannot be reached.
pub async fn run(
    database: &Database,
    topics: &Topics,
    last: &HashMap<String, u64>,
) -> anyhow::Result<Relayed> {
    let opened = Parts::open(database).await?;
    let gate = Arc::new(Gate::new(last.len()));
    let store = Arc::clone(&opened.store) as Arc<dyn EventStore>;
    let leases = Arc::new(PgLeases::new(database.pool.clone()));
    let mut parts = relay::Parts::new(topics.settings.clone(), store, leases);
    parts.fail_points = {
        let gate = Arc::clone(&gate);
        // Passed on a thread that may block, with the records made and nothing sent.
        Arc::new(move |place| {
            if place == "before_produce" {
                gate.pass();
            }
        })
    };
    let stop = CancellationToken::new();
    let relaying = relay::run_all(&parts, &topics.topics, &stop);
    let following = {
        let (names, last) = (names(topics), last.clone());
        let consumer = topics.consumer(&marks_name(&topics.settings.prefix), 1)?;
        spawn_blocking(move || follow(&consumer, &names, last))
    };
    let (stopped, followed) = tokio::join!(relaying, async {
        let followed = following.await;
        stop.cancel();
        followed
    });
    opened.close().await;
    if let Some(why) = stopped.into_iter().next() {
        return Err(why.into());
    }
    let (ended_at, transactions) = followed??;
    let began_at = gate.opened_at().context("a topic was never published")?;
    Ok(Relayed { seconds: (ended_at - began_at).as_secs_f64(), transactions })
}

/// Labels by the topics' names.
fn names(topics: &Topics) -> HashMap<String, String> {
    let prefix = &topics.settings.prefix;
    topics.topics.iter().map(|topic| (topic.name(prefix), topic.label().into_owned())).collect()
}

/// Reads marks until each topic has come to its last event.
fn follow(
    consumer: &rdkafka::consumer::BaseConsumer,
    names: &HashMap<String, String>,
    mut missing: HashMap<String, u64>,
) -> anyhow::Result<(Instant, HashMap<String, Vec<u64>>)> {
    let mut transactions: HashMap<String, Vec<u64>> = HashMap::new();
    let mut heard_at = Instant::now();
    while !missing.is_empty() {
        ensure!(heard_at.elapsed() < PATIENCE, "{} topics are not published", missing.len());
        let Some(record) = consumer.poll(Duration::from_millis(100)) else { continue };
        let record = record?;
        heard_at = Instant::now();
        let key = record.key().and_then(|key| std::str::from_utf8(key).ok());
        let value = serde_json::from_slice(record.payload().unwrap_or_default());
        let value: serde_json::Value = value.context("a mark has another form")?;
        let Some((label, position)) =
            key.and_then(|key| names.get(key)).zip(value["position"].as_u64())
        else {
            bail!("a mark has another form");
        };
        transactions.entry(label.clone()).or_default().push(position);
        if missing.get(label) == Some(&position) {
            missing.remove(label);
        }
    }
    Ok((heard_at, transactions))
}
