//! The feed from Kafka: a consumer group per consumer, partitions started where the consumer's own
//! checkpoints say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use metrics::counter;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::message::decode;
use super::topics::{TOPICS, Topic};
use super::{DropsAside, KafkaSettings};
use crate::envelope::StoredEvent;
use crate::feed::{Batch, Checkpoint, Checkpoints, Feed, FeedError};

/// How often the group is told how far the consumer is. Nobody starts from it: it only lets
/// Kafka's own tools show the lag.
const TELL_GROUP: Duration = Duration::from_secs(5);

/// A consumer's feed of the topics it wants. Several processes with the same consumer name share
/// the partitions.
pub struct KafkaFeed {
    consumer: Arc<StreamConsumer<Rebalances>>,
    checkpoints: Arc<dyn Checkpoints>,
    /// Next offsets of the last batch, which is dealt with once the next one is asked for.
    handed_out: BTreeMap<(String, i32), u64>,
    told_group_at: Instant,
    _aside: DropsAside<StreamConsumer<Rebalances>>,
}

impl KafkaFeed {
    /// A feed of these aggregates (none: of all) for the consumer of this name.
    ///
    /// # Errors
    /// [`FeedError`] when an aggregate has no topic or the client refuses its settings. An absent
    /// broker is no error here: the feed waits for it.
    pub fn start(
        settings: &KafkaSettings,
        consumer: &str,
        aggregates: &[&str],
        checkpoints: Arc<dyn Checkpoints>,
    ) -> Result<Self, FeedError> {
        let topics: Option<Vec<Topic>> = if aggregates.is_empty() {
            Some(TOPICS.to_vec())
        } else {
            aggregates.iter().map(|aggregate| Topic::of(aggregate)).collect()
        };
        let topics = topics.ok_or(FeedError)?;
        let names: Vec<_> = topics.iter().map(|topic| topic.name(&settings.prefix)).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();

        let mut config = settings.client();
        config
            .set("group.id", format!("{}.{consumer}", settings.prefix))
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // All partitions are given up before any is assigned anew, which is what lets an
            // assignment wait for its checkpoints.
            .set("partition.assignment.strategy", "roundrobin")
            // How long the partitions of a process that crashed stay without a reader.
            .set("session.timeout.ms", "10000")
            .set("queued.max.messages.kbytes", "16384");
        let consumer: StreamConsumer<Rebalances> =
            config.create_with_context(Rebalances::default()).map_err(broken)?;
        consumer.subscribe(&names).map_err(broken)?;
        let consumer = Arc::new(consumer);
        Ok(Self {
            _aside: DropsAside::new(&consumer),
            consumer,
            checkpoints,
            handed_out: BTreeMap::new(),
            told_group_at: Instant::now(),
        })
    }

    /// Starts the partitions that the group has given us, each at its checkpoint.
    ///
    /// While this waits nobody polls the consumer, so the assignment cannot change meanwhile.
    async fn accept_assignment(&self) -> Result<(), FeedError> {
        let Some(mut assigned) = self.consumer.context().waiting().clone() else {
            return Ok(());
        };
        let partitions: Vec<_> = assigned
            .elements()
            .iter()
            .map(|element| (element.topic().to_owned(), element.partition()))
            .collect();
        for (topic, partition) in partitions {
            // Where 0 or the checkpoint is out of range, the client goes to the earliest record.
            let next = self.checkpoints.load(&topic, partition).await?.unwrap_or(0);
            let offset = Offset::Offset(i64::try_from(next).map_err(|_| FeedError)?);
            assigned.set_partition_offset(&topic, partition, offset).map_err(broken)?;
        }
        self.consumer.assign(&assigned).map_err(broken)?;
        *self.consumer.context().waiting() = None;
        tracing::debug!(n_partitions = assigned.count(), "partitions assigned");
        Ok(())
    }

    /// The first record, or `None` if there is none before the deadline.
    async fn first(&self, deadline: Instant) -> Result<Option<BorrowedMessage<'_>>, FeedError> {
        loop {
            self.accept_assignment().await?;
            tokio::select! {
                received = timeout_at(deadline, self.consumer.recv()) => match received {
                    Ok(Ok(record)) => return Ok(Some(record)),
                    Ok(Err(error)) => return Err(broken(error)),
                    Err(_) => return Ok(None),
                },
                () = self.consumer.context().is_assigned.notified() => {}
            }
        }
    }

    fn tell_group(&mut self) {
        if self.handed_out.is_empty() || self.told_group_at.elapsed() < TELL_GROUP {
            return;
        }
        self.told_group_at = Instant::now();
        let mut done = TopicPartitionList::new();
        for ((topic, partition), next) in std::mem::take(&mut self.handed_out) {
            let Ok(next) = i64::try_from(next) else { continue };
            if let Err(error) = done.add_partition_offset(&topic, partition, Offset::Offset(next)) {
                tracing::debug!(%error, "an offset cannot be told to the group");
            }
        }
        // The answer comes to the context; a partition that was lost meanwhile is no trouble.
        if let Err(error) = self.consumer.commit(&done, CommitMode::Async) {
            tracing::debug!(%error, "the group cannot be told how far the consumer is");
        }
    }
}

#[async_trait]
impl Feed for KafkaFeed {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, FeedError> {
        self.tell_group();
        let mut events = Vec::new();
        let mut next_offsets = BTreeMap::new();
        {
            let Some(first) = self.first(Instant::now() + wait).await? else {
                return Ok(Batch::default());
            };
            // Nothing waits from here on, so that dropping the future cannot lose a record.
            let mut record = first;
            loop {
                let next = u64::try_from(record.offset() + 1).map_err(|_| FeedError)?;
                next_offsets.insert((record.topic().to_owned(), record.partition()), next);
                events.extend(event_in(&record));
                if events.len() >= max {
                    break;
                }
                match self.consumer.recv().now_or_never() {
                    Some(Ok(another)) => record = another,
                    Some(Err(error)) => {
                        tracing::warn!(%error, "the event feed was interrupted");
                        break;
                    }
                    None => break,
                }
            }
        }
        let checkpoints = next_offsets
            .iter()
            .map(|((topic, partition), next)| Checkpoint {
                source: topic.clone(),
                partition: *partition,
                next: *next,
            })
            .collect();
        self.handed_out.extend(next_offsets);
        Ok(Batch { events, checkpoints })
    }
}

/// The event in a record. What cannot be decoded is counted and left out: the sweep finds what is
/// missing in the log.
fn event_in(record: &BorrowedMessage<'_>) -> Option<StoredEvent> {
    match decode(record) {
        Ok(event) => Some(event),
        Err(error) => {
            let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
            counter!("colloquy_feed_undecodable_total", "topic" => topic.to_owned()).increment(1);
            tracing::warn!(topic, partition, offset, %error, "a record is not an event");
            None
        }
    }
}

fn broken(error: KafkaError) -> FeedError {
    tracing::warn!(%error, "the event feed cannot be read");
    FeedError
}

/// Notices what the group decides. An assignment is only noted down, because its checkpoints have
/// to be loaded first, and that cannot be waited for in a callback.
#[derive(Default)]
struct Rebalances {
    assigned: Mutex<Option<TopicPartitionList>>,
    is_assigned: Notify,
}

impl Rebalances {
    fn waiting(&self) -> MutexGuard<'_, Option<TopicPartitionList>> {
        self.assigned.lock().unwrap_or_else(|held| held.into_inner())
    }
}

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        decision: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if decision == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            *self.waiting() = Some(partitions.clone());
            self.is_assigned.notify_one();
            return;
        }
        *self.waiting() = None;
        if let Err(error) = consumer.unassign() {
            tracing::warn!(%error, "partitions cannot be given up");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "the group was not told how far the consumer is");
        }
    }
}
