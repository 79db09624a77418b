//! The topics as any consumer reads them: the interview's events, in order, as CloudEvents.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use eventlog::kafka::KafkaSettings;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::sleep;

use super::checks::Checks;

/// How long a broker may say nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// Headers that every event carries.
const HEADERS: [&str; 13] = [
    "content-type",
    "ce_specversion",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "ce_dataschema",
    "ce_streamversion",
    "ce_position",
    "ce_hash",
    "ce_correlationid",
    "ce_actor",
];

/// What the auditor saw of an interview: versions with the events' names and hashes.
pub struct Expected {
    /// The stream's id as a plain UUID.
    pub stream: String,
    /// Version, stored name, hash; in order.
    pub events: Vec<(u64, String, String)>,
}

/// One record of the interview.
struct Found {
    partition: i32,
    headers: BTreeMap<String, String>,
}

/// Waits until the topic holds the whole interview, and checks how.
///
/// # Errors
/// When the broker cannot be read.
pub async fn check(
    checks: &Checks,
    kafka: &KafkaSettings,
    expected: &Expected,
    patience: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    let mut found = scan(kafka, &expected.stream).await?;
    while found.len() < expected.events.len() && Instant::now() < deadline {
        sleep(Duration::from_millis(500)).await;
        found = scan(kafka, &expected.stream).await?;
    }
    let text = |found: &Found, name: &str| found.headers.get(name).cloned().unwrap_or_default();
    let seen: Vec<_> = found
        .iter()
        .map(|record| {
            let version = text(record, "ce_streamversion").parse().unwrap_or_default();
            (version, event_name(&text(record, "ce_type")), text(record, "ce_hash"))
        })
        .collect();
    checks.check(
        "Kafka's topic holds the interview's events once, in the order of the log, with its hashes",
        seen == expected.events,
        || {
            let (n_seen, n_expected) = (seen.len(), expected.events.len());
            match n_seen {
                0 => "the topic has none of them, as if no relay were running".to_owned(),
                _ => format!("{n_seen} records where the log has {n_expected}: {seen:?}"),
            }
        },
    );
    let partitions: BTreeSet<_> = found.iter().map(|record| record.partition).collect();
    checks.check("all of them are in one partition", partitions.len() == 1, || {
        format!("{partitions:?}")
    });
    let lacks = |record: &Found| {
        let missing: Vec<_> =
            HEADERS.iter().filter(|name| !record.headers.contains_key(**name)).collect();
        (!missing.is_empty()).then(|| format!("{missing:?}"))
    };
    let wrong: Vec<_> = found.iter().filter_map(lacks).collect();
    checks.check(
        "each carries the headers of CloudEvents 1.0 in binary mode and those of the log",
        !found.is_empty() && wrong.is_empty(),
        || format!("missing: {wrong:?}"),
    );
    checks.check(
        "each says application/json, version 1.0, and a source within its company",
        found.iter().all(|record| {
            text(record, "content-type") == "application/json"
                && text(record, "ce_specversion") == "1.0"
                && text(record, "ce_source").starts_with("/companies/")
                && text(record, "ce_source").ends_with("/interviews")
        }),
        || "a record says otherwise".to_owned(),
    );
    Ok(())
}

/// `colloquy.interview.started.v1` → `interview.started`.
fn event_name(ce_type: &str) -> String {
    let name = ce_type.strip_prefix("colloquy.").unwrap_or(ce_type);
    name.rsplit_once(".v").map_or(name, |(name, _)| name).to_owned()
}

/// All committed records of one interview, in the order of their partition.
async fn scan(kafka: &KafkaSettings, stream: &str) -> anyhow::Result<Vec<Found>> {
    let (kafka, stream) = (kafka.clone(), stream.to_owned());
    tokio::task::spawn_blocking(move || read(&kafka, &stream)).await?
}

fn read(kafka: &KafkaSettings, stream: &str) -> anyhow::Result<Vec<Found>> {
    let topic = format!("{}.interview.v1", kafka.prefix);
    let mut config = ClientConfig::new();
    for (name, value) in &kafka.properties {
        config.set(name, value);
    }
    let consumer: BaseConsumer = config
        .set("bootstrap.servers", &kafka.bootstrap)
        // Asked for when partitions are assigned; the group is never joined and commits nothing.
        .set("group.id", format!("{}.demo", kafka.prefix))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(&topic), SILENCE).context("no broker answers")?;
    let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    let mut unread: BTreeSet<i32> = (0..i32::try_from(partitions)?).collect();
    let mut from_start = TopicPartitionList::new();
    for partition in &unread {
        from_start.add_partition_offset(&topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&from_start)?;
    let mut found = vec![];
    let mut heard_at = Instant::now();
    while !unread.is_empty() {
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(record)) => {
                heard_at = Instant::now();
                if record.key() == Some(stream.as_bytes()) {
                    found.push(Found { partition: record.partition(), headers: headers(&record) });
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard_at = Instant::now();
                unread.remove(&partition);
            }
            // The client goes on by itself where it can.
            Some(Err(_)) | None => {}
        }
        anyhow::ensure!(heard_at.elapsed() < SILENCE, "the broker stopped answering");
    }
    Ok(found)
}

fn headers(record: &BorrowedMessage<'_>) -> BTreeMap<String, String> {
    let headers = record.headers().map(|headers| {
        let text =
            |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
    });
    headers.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_name_is_read_out_of_the_type() {
        assert_eq!(
            event_name("colloquy.interview.answer_recorded.v2"),
            "interview.answer_recorded"
        );
    }
}
