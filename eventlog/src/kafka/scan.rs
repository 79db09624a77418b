//! Reads partitions from the first record to the last committed one, without a consumer group.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaSettings;

/// How long a broker may say nothing before a scan gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows `each` every committed record of the topic's first `partitions` partitions, in order
/// within a partition, until it breaks or the last one was shown. Blocks.
///
/// The end is where the broker says so and not an offset: markers of transactions and compaction
/// use up offsets, too.
///
/// # Errors
/// The client's error when the broker stays silent or refuses.
pub fn scan(
    settings: &KafkaSettings,
    topic: &str,
    partitions: i32,
    mut each: impl FnMut(&BorrowedMessage<'_>) -> ControlFlow<()>,
) -> Result<(), KafkaError> {
    let consumer: BaseConsumer = settings
        .client()
        // Assigning asks for a group's name, but the group is never joined and commits nothing.
        .set("group.id", format!("{}.scan", settings.prefix))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        // The broker answers at once that there is nothing more.
        .set("fetch.wait.max.ms", "10")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .create()?;
    // A number spares asking for the earliest offset; if that is another, the client goes to it.
    let mut from_start = TopicPartitionList::new();
    for partition in 0..partitions {
        from_start.add_partition_offset(topic, partition, Offset::Offset(0))?;
    }
    consumer.assign(&from_start)?;

    let mut unread: BTreeSet<i32> = (0..partitions).collect();
    let mut heard_at = Instant::now();
    let mut last_error = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
    while !unread.is_empty() {
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(record)) => {
                heard_at = Instant::now();
                if each(&record).is_break() {
                    return Ok(());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard_at = Instant::now();
                unread.remove(&partition);
            }
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
            // The client goes on by itself: a broker that went away may come back.
            Some(Err(error)) => last_error = error,
            None => {}
        }
        if heard_at.elapsed() > PATIENCE {
            return Err(last_error);
        }
    }
    Ok(())
}
