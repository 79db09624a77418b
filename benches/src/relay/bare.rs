//! The bare limit: the same records in the same transactions, by producers that know nothing else.
//!
//! They wait for the broker's receipts before they commit: the client library would do so by itself,
//! but looks only every tenth of a second.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use eventlog::envelope::StoredEvent;
use eventlog::kafka::KafkaSettings;
use eventlog::kafka::message::Record;
use eventlog::kafka::topics::Topic;
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{
    BaseRecord, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer,
};
use tokio::task::JoinSet;

use super::broker::Topics;
use super::gate::Gate;

/// How long the broker may take to begin or end a transaction.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many records have no receipt yet. A refused one makes the commit fail.
#[derive(Default)]
struct Receipts {
    n_missing: Mutex<usize>,
    is_complete: Condvar,
}

impl ClientContext for Receipts {}

impl ProducerContext<NoCustomPartitioner> for Receipts {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        let mut n_missing = self.n_missing.lock().unwrap_or_else(PoisonError::into_inner);
        *n_missing = n_missing.saturating_sub(1);
        if *n_missing == 0 {
            self.is_complete.notify_all();
        }
    }
}

impl Receipts {
    fn expect(&self, n: usize) {
        *self.n_missing.lock().unwrap_or_else(PoisonError::into_inner) = n;
    }

    fn wait(&self) {
        let n_missing = self.n_missing.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.is_complete.wait_timeout_while(n_missing, PATIENCE, |n| *n > 0));
    }
}

/// One topic's records, ready to be sent.
pub struct Load {
    topic: Topic,
    records: Vec<Record>,
    positions: Vec<u64>,
}

impl Load {
    /// Makes the records as the relay does.
    pub fn new(topic: Topic, events: &[StoredEvent]) -> Self {
        let KafkaSettings { schema_base, .. } = KafkaSettings::new("");
        let records = events.iter().map(|event| topic.record(event, &schema_base)).collect();
        Self { topic, records, positions: events.iter().map(|event| event.position.0).collect() }
    }

    /// The topic's label, with the position of its last event.
    pub fn last(&self) -> Option<(String, u64)> {
        Some((self.topic.label().into_owned(), *self.positions.last()?))
    }

    /// How many events there are.
    pub fn n_events(&self) -> usize {
        self.records.len()
    }

    /// About how many bytes they take before compression.
    pub fn n_bytes(&self) -> usize {
        self.records.iter().map(Record::n_bytes).sum()
    }

    /// Sends all, cut where these transactions end.
    fn send(
        &self,
        producer: &ThreadedProducer<Receipts>,
        name: &str,
        ends: &[u64],
    ) -> anyhow::Result<()> {
        let mut sent = 0;
        for end in ends {
            let next = self.positions.partition_point(|position| position <= end);
            producer.begin_transaction()?;
            producer.context().expect(next - sent);
            for record in &self.records[sent..next] {
                let message = BaseRecord::to(name)
                    .key(record.key.as_str())
                    .payload(&*record.value)
                    .headers(record.client_headers());
                producer.send(message).map_err(|(error, _)| error)?;
            }
            producer.context().wait();
            producer.commit_transaction(PATIENCE)?;
            sent = next;
        }
        Ok(())
    }
}

/// Sends all of it into these topics, each topic by a producer of its own, with the settings of the
/// relay's; answers the seconds from the moment when all were ready until the last had committed.
///
/// # Errors
/// The broker cannot be reached or refuses.
pub async fn run(
    topics: &Topics,
    loads: &[Arc<Load>],
    transactions: &Arc<HashMap<String, Vec<u64>>>,
) -> anyhow::Result<f64> {
    let gate = Arc::new(Gate::new(loads.len()));
    let mut senders = JoinSet::new();
    for load in loads {
        let (load, transactions) = (Arc::clone(load), Arc::clone(transactions));
        let gate = Arc::clone(&gate);
        let prefix = topics.settings.prefix.clone();
        let mut config = topics.client();
        config
            .set("transactional.id", format!("{prefix}.bare.{}", load.topic.label()))
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "1")
            .set("partitioner", "murmur2_random");
        senders.spawn_blocking(move || {
            let producer = ThreadedProducer::from_config_and_context(&config, Receipts::default())?;
            producer.init_transactions(PATIENCE)?;
            let ends = transactions.get(&*load.topic.label()).context("a topic was not relayed")?;
            gate.pass();
            load.send(&producer, &load.topic.name(&prefix), ends)?;
            anyhow::Ok(Instant::now())
        });
    }
    let mut ended = vec![];
    while let Some(sent) = senders.join_next().await {
        ended.push(sent??);
    }
    let began_at = gate.opened_at().context("a producer was never ready")?;
    let ended_at = ended.into_iter().max().context("there is nothing to be sent")?;
    Ok((ended_at - began_at).as_secs_f64())
}
