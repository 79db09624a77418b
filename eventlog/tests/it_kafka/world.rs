//! What the tests share: a log with events, topics of their own, and a reader that is not ours.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use domain::ids::CompanyId;
use eventlog::clock::SystemClock;
use eventlog::envelope::{Cause, NewEvent, StoredEvent, StreamId, Version};
use eventlog::kafka::KafkaSettings;
use eventlog::kafka::check::{Report, completeness};
use eventlog::kafka::lease::{LeaseError, Leases};
use eventlog::kafka::message::decode;
use eventlog::kafka::relay::{Parts, Relay, Stopped};
use eventlog::kafka::topics::{Topic, ensure};
use eventlog::store::memory::MemoryStore;
use eventlog::store::{Append, EventStore, Filter};
use eventlog::vault::memory::MemoryVault;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Nothing in these tests takes longer.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub const COMPANY: CompanyId = CompanyId(Uuid::from_u128(0xc0));

/// Settings with a prefix that no other test has.
pub fn settings() -> KafkaSettings {
    let bootstrap = std::env::var("KAFKA_BOOTSTRAP")
        .expect("KAFKA_BOOTSTRAP must name a broker; deploy/test-env.sh starts one");
    let mut settings = KafkaSettings::new(&bootstrap);
    settings.prefix = format!("test-{}", Uuid::from_u128(rand_u128()).simple());
    settings
}

fn rand_u128() -> u128 {
    rand::random()
}

pub fn topic(aggregate: &str) -> Topic {
    Topic::of(aggregate).expect("the aggregate has a topic")
}

pub fn client(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.bootstrap);
    config
}

pub fn stream(aggregate: &'static str, n: u128) -> StreamId {
    StreamId::new(COMPANY, aggregate, Uuid::from_u128(n))
}

/// An empty log.
pub fn log() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(Arc::new(SystemClock), MemoryVault::new()))
}

/// Appends an event that says `text` to a stream.
pub async fn append(store: &dyn EventStore, stream: &StreamId, text: &str) {
    let expected = store.stream_version(stream).await.expect("the log can be read");
    let event = NewEvent {
        event_id: Uuid::from_u128(rand_u128()),
        name: Cow::Owned(format!("{}.happened", stream.aggregate)),
        schema_version: 1,
        occurred_at: DateTime::from_timestamp_micros(1_790_000_000_123_456).expect("valid"),
        payload: Bytes::from(format!(r#"{{"text":"{text}"}}"#)),
    };
    let cause = Cause {
        command_id: Uuid::from_u128(rand_u128()),
        fingerprint: vec![1, 2, 255],
        correlation_id: Uuid::from_u128(11),
        causation_id: Some(Uuid::from_u128(12)),
        actor: "member:memb_7".to_owned(),
        trace_parent: None,
    };
    let append = Append {
        stream: stream.clone(),
        expected,
        guards: Vec::new(),
        claims: Vec::new(),
        keys: Vec::new(),
        cause,
        events: vec![event],
    };
    store.append(append).await.expect("the append is stored");
}

/// Appends `n` events to five streams of the aggregate, by turns.
pub async fn append_many(store: &dyn EventStore, aggregate: &'static str, n: u128) {
    for i in 0..n {
        append(store, &stream(aggregate, 1 + i % 5), &i.to_string()).await;
    }
}

pub async fn events_of(store: &dyn EventStore, aggregate: &str) -> Vec<StoredEvent> {
    let filter = Filter::of_aggregates([aggregate]);
    store.read_log(Default::default(), &filter, usize::MAX).await.expect("readable").events
}

/// Leases as one process sees them: the test says whether it has them.
pub struct Switch {
    pub is_ours: AtomicBool,
    pub n_given_back: watch::Sender<u32>,
}

impl Switch {
    pub fn on() -> Arc<Self> {
        Arc::new(Self { is_ours: AtomicBool::new(true), n_given_back: watch::Sender::new(0) })
    }
}

#[async_trait]
impl Leases for Switch {
    async fn take(&self, _: &str, _: Uuid, _: Duration) -> Result<bool, LeaseError> {
        Ok(self.is_ours.load(Ordering::Acquire))
    }

    async fn give_back(&self, _: &str, _: Uuid) -> Result<(), LeaseError> {
        self.n_given_back.send_modify(|n| *n += 1);
        Ok(())
    }
}

/// A relay that runs in the background.
pub struct Running {
    pub task: JoinHandle<Result<(), Stopped>>,
    stop: CancellationToken,
}

impl Running {
    pub async fn stop(self) {
        self.stop.cancel();
        self.ended().await.expect("it was told to stop");
    }

    pub async fn ended(self) -> Result<(), Stopped> {
        soon(self.task).await.expect("the relay does not panic")
    }
}

pub fn parts(settings: &KafkaSettings, store: &Arc<MemoryStore>, leases: Arc<dyn Leases>) -> Parts {
    Parts::new(settings.clone(), Arc::clone(store) as Arc<dyn EventStore>, leases)
}

pub fn start(parts: Parts, topic: Topic) -> Running {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let relay = Relay::new(parts, topic);
    Running { task: tokio::spawn(async move { relay.run(&stopped).await }), stop }
}

/// A topic of the test's own, and a relay for it that always has the lease.
pub async fn relayed(aggregate: &str) -> (KafkaSettings, Arc<MemoryStore>, Topic) {
    let settings = settings();
    let topic = topic(aggregate);
    ensure(&settings, &[topic]).await.expect("the topics are made");
    (settings, log(), topic)
}

/// The answer, if it comes before the deadline.
pub async fn soon<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, answer).await.expect("in time")
}

/// Waits until the topic holds `n` committed records, and answers how it compares with the log.
pub async fn report_of(
    settings: &KafkaSettings,
    topic: Topic,
    store: &Arc<MemoryStore>,
    n: u64,
) -> Report {
    let began_at = Instant::now();
    loop {
        let report = check(settings, topic, store).await;
        if report.in_topic >= n {
            return report;
        }
        assert!(began_at.elapsed() < DEADLINE, "{report:?} instead of {n} records");
    }
}

/// How the topic compares with the log now.
pub async fn check(settings: &KafkaSettings, topic: Topic, store: &Arc<MemoryStore>) -> Report {
    let store = Arc::clone(store) as Arc<dyn EventStore>;
    let mut report = completeness(settings, topic, store).await.expect("comparable");
    assert_eq!(std::mem::take(&mut report.topic), topic.name(&settings.prefix));
    report
}

/// The report on a topic that holds all `n` events of the log.
pub fn complete(n: u64) -> Report {
    Report { events_in_log: n, in_topic: n, ..Report::default() }
}

/// All records of a topic now, as somebody who knows nothing of our code reads them.
pub async fn records(
    settings: &KafkaSettings,
    topic: &str,
    n_partitions: i32,
    isolation: &'static str,
) -> Vec<OwnedMessage> {
    let (settings, topic) = (settings.clone(), topic.to_owned());
    let read = move || {
        let consumer: BaseConsumer = client(&settings)
            .set("group.id", "test")
            .set("enable.partition.eof", "true")
            .set("enable.auto.commit", "false")
            .set("isolation.level", isolation)
            .create()
            .expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..n_partitions {
            all.add_partition_offset(&topic, partition, Offset::Beginning).expect("added");
        }
        consumer.assign(&all).expect("assigned");
        let (mut records, mut n_ended) = (Vec::new(), 0);
        let began_at = Instant::now();
        while n_ended < n_partitions {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(record)) => records.push(record.detach()),
                Some(Err(KafkaError::PartitionEOF(_))) => n_ended += 1,
                _ => assert!(began_at.elapsed() < DEADLINE, "the topic is not answered for"),
            }
        }
        records
    };
    tokio::task::spawn_blocking(read).await.expect("readable")
}

/// The events in records, by position.
pub fn events_in(records: &[OwnedMessage]) -> Vec<StoredEvent> {
    let mut events: Vec<_> =
        records.iter().map(|record| decode(record).expect("an event")).collect();
    events.sort_by_key(|event| event.position);
    events
}

/// Whether each stream's versions are 1, 2, 3 … in the order of the records.
pub fn is_in_stream_order(records: &[OwnedMessage]) -> bool {
    let mut versions = std::collections::HashMap::new();
    records.iter().map(|record| decode(record).expect("an event")).all(|event| {
        let last: &mut Version = versions.entry(event.stream.id).or_default();
        *last = last.next();
        *last == event.version
    })
}
