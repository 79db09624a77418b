//! A topic as somebody reads it who knows nothing of our code.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::world::{DEADLINE, World, until};

/// One committed record.
#[derive(Clone, Debug)]
pub struct Record {
    pub partition: i32,
    pub key: String,
    pub headers: BTreeMap<String, String>,
    pub value: Vec<u8>,
}

impl Record {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.get(name);
        found.unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers))
    }

    #[track_caller]
    pub fn number(&self, name: &str) -> i64 {
        self.header(name).parse().expect("a number")
    }
}

/// All committed records of an aggregate's topic, each partition in its order.
pub async fn records(world: &World, aggregate: &str) -> Vec<Record> {
    let bootstrap = world.bootstrap().to_owned();
    let topic = format!("{}.{aggregate}.v1", world.prefix());
    tokio::task::spawn_blocking(move || read(&bootstrap, &topic)).await.expect("no panic")
}

/// The same once the topic holds as many as the log.
pub async fn complete(world: &World, aggregate: &str) -> Vec<Record> {
    let what = format!("the topic of {aggregate} holds the log");
    until(&what, async || {
        let (found, logged) = (records(world, aggregate).await, world.log_of(aggregate).await);
        (found.len() >= logged.len()).then_some(found)
    })
    .await
}

fn read(bootstrap: &str, topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "it")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE).expect("a broker");
    let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    let mut unread: BTreeSet<i32> = (0..).take(partitions).collect();
    let mut all = TopicPartitionList::new();
    for partition in &unread {
        all.add_partition_offset(topic, *partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&all).expect("assigned");
    let mut found = vec![];
    let began_at = Instant::now();
    while !unread.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => found.push(of(&record)),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            // The client goes on by itself.
            Some(Err(_)) | None => {
                assert!(began_at.elapsed() < DEADLINE, "{topic} is not answered for");
            }
        }
    }
    found
}

fn of(record: &BorrowedMessage<'_>) -> Record {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let headers = record.headers().expect("headers").iter();
    Record {
        partition: record.partition(),
        key: text(record.key().expect("a key")),
        headers: headers.map(|h| (h.key.to_owned(), text(h.value.expect("a value")))).collect(),
        value: record.payload().expect("a value").to_vec(),
    }
}
