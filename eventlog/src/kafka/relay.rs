//! The relay: publishes the log's events, each topic by a publisher of its own, each event once.
//!
//! A topic starts in this order: the lease, so that standbys are quiet; the transactional id, which
//! stops a predecessor for good; the mark, which is then final. The mark is compared with the log
//! before anything is published.
//!
//! # When a topic stops
//!
//! A [`Stopped`] topic publishes nothing more until the relay is started again; the other topics go
//! on. Consumers heal from the log meanwhile. The way out is the same for all causes: stop the
//! relay, delete the topic in Kafka, start the relay. It makes the topic anew, finds it empty, and
//! fills it from the log, whatever the mark says.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lease::Leases;
use super::mark::{Mark, MarkError, read_mark};
use super::message::Record;
use super::publisher::{Fault, Publisher};
use super::scan::scan;
use super::tail::Tail;
use super::topics::Topic;
use super::{DropsAside, KafkaSettings, blocking};
use crate::envelope::{Position, StoredEvent};
use crate::fail_point::{FailPoint, no_fail_point};
use crate::store::{EventStore, Filter};

/// A batch holds at most this many events.
const MAX_BATCH_EVENTS: usize = 1000;

/// A batch is closed before it grows beyond this many bytes.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Why a topic is not published any more. See the module about the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The topic holds events, but nothing says up to where. Publishing would repeat them.
    #[error("topic {topic} holds records but has no mark")]
    MarkMissing {
        /// The topic's name.
        topic: String,
    },
    /// The topic's mark is not in our form.
    #[error("topic {topic} has a malformed mark")]
    MarkMalformed {
        /// The topic's name.
        topic: String,
    },
    /// The log does not hold the event that the topic ends with: the log was restored from a
    /// backup, or the topic belongs to another log.
    #[error("topic {topic} ends with an event at position {position} that the log does not hold")]
    ForeignMark {
        /// The topic's name.
        topic: String,
        /// The mark's position.
        position: Position,
    },
}

/// What the relay of every topic is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where Kafka is.
    pub settings: KafkaSettings,
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// Where the leases are kept.
    pub leases: Arc<dyn Leases>,
    /// How long a lease lasts unless renewed, which happens three times as often. A standby takes
    /// over so long after a crash.
    pub lease_period: Duration,
    /// Told of `after_fencing` when a topic was taken over and nothing is published yet, then of these
    /// places of each transaction, in this order: `before_produce`, `after_produce_before_mark`,
    /// `after_mark_before_commit`, `after_commit`.
    pub fail_points: FailPoint,
}

impl Parts {
    /// A relay with leases of 10 s and no fail points.
    #[must_use]
    pub fn new(
        settings: KafkaSettings,
        store: Arc<dyn EventStore>,
        leases: Arc<dyn Leases>,
    ) -> Self {
        let lease_period = Duration::from_secs(10);
        Self { settings, store, leases, lease_period, fail_points: no_fail_point() }
    }
}

/// Publishes the topics until `stop`; a topic that has to stop does not stop the others. Answers
/// why topics stopped.
pub async fn run_all(parts: &Parts, topics: &[Topic], stop: &CancellationToken) -> Vec<Stopped> {
    let mut relays = JoinSet::new();
    let tail = Arc::new(Tail::new(Arc::clone(&parts.store)));
    for &topic in topics {
        let relay = Relay::sharing(parts.clone(), topic, Arc::clone(&tail));
        let stop = stop.clone();
        relays.spawn(async move { relay.run(&stop).await });
    }
    let mut stopped = Vec::new();
    while let Some(ended) = relays.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(why)) => stopped.push(why),
            Err(error) => tracing::error!(%error, "a topic's relay ended by itself"),
        }
    }
    stopped
}

/// The relay of one topic.
pub struct Relay {
    parts: Parts,
    tail: Arc<Tail>,
    filter: Filter,
    topic: Topic,
    name: String,
    transactional_id: String,
    holder: Uuid,
}

/// Why a turn of publishing ended.
enum End {
    /// Another relay publishes the topic now, or may.
    StandBy,
    /// The producer has to be replaced.
    Again(String),
    /// The topic has to stop.
    Stop(Stopped),
}

impl Relay {
    /// A relay that has not started yet.
    #[must_use]
    pub fn new(parts: Parts, topic: Topic) -> Self {
        let tail = Arc::new(Tail::new(Arc::clone(&parts.store)));
        Self::sharing(parts, topic, tail)
    }

    fn sharing(parts: Parts, topic: Topic, tail: Arc<Tail>) -> Self {
        let name = topic.name(&parts.settings.prefix);
        let transactional_id = format!("{}.relay.{}", parts.settings.prefix, topic.label());
        let filter = Filter::of_aggregates([topic.aggregate]);
        let holder = Uuid::from_bytes(rand::random());
        Self { parts, tail, filter, topic, name, transactional_id, holder }
    }

    /// Publishes the topic until `stop`, standing by while another relay does.
    ///
    /// # Errors
    /// [`Stopped`] when a person has to decide; any other trouble is waited out.
    pub async fn run(&self, stop: &CancellationToken) -> Result<(), Stopped> {
        let ended = stop.run_until_cancelled(self.serve()).await;
        // Without an answer the lease runs out by itself.
        let _ = self.parts.leases.give_back(&self.name, self.holder).await;
        match ended {
            None => Ok(()),
            Some(stopped) => {
                gauge!("colloquy_relay_stopped", "topic" => self.name.clone()).set(1.0);
                tracing::error!(topic = self.name, reason = %stopped, "the topic's relay stopped");
                Err(stopped)
            }
        }
    }

    async fn serve(&self) -> Stopped {
        gauge!("colloquy_relay_stopped", "topic" => self.name.clone()).set(0.0);
        loop {
            self.wait_for_lease().await;
            let stopped = tokio::select! {
                () = self.keep_lease() => None,
                stopped = self.publish_always() => stopped,
            };
            if let Some(stopped) = stopped {
                return stopped;
            }
            self.error("stood_by");
            tracing::warn!(topic = self.name, "another relay has the topic: standing by");
            // Whoever fenced this one is to get the lease, were it still ours.
            let _ = self.parts.leases.give_back(&self.name, self.holder).await;
            sleep(self.parts.lease_period).await;
        }
    }

    async fn take_lease(&self) -> Option<bool> {
        let Parts { leases, lease_period, .. } = &self.parts;
        leases.take(&self.name, self.holder, *lease_period).await.ok()
    }

    async fn wait_for_lease(&self) {
        while self.take_lease().await != Some(true) {
            sleep(self.parts.lease_period / 5).await;
        }
    }

    /// Returns once the lease is lost. While the place of leases cannot be reached it may be lost,
    /// which only means that a successor fences this relay.
    async fn keep_lease(&self) {
        loop {
            sleep(self.parts.lease_period / 3).await;
            if self.take_lease().await == Some(false) {
                return;
            }
        }
    }

    /// Publishes with one producer after another, until the topic has to stop, or (`None`) until
    /// another relay publishes it.
    async fn publish_always(&self) -> Option<Stopped> {
        let mut pause = Pause::default();
        loop {
            let began_at = Instant::now();
            match self.publish_once().await {
                End::Again(reason) => {
                    self.error("producer");
                    tracing::warn!(topic = self.name, reason, "starting a new producer");
                    if began_at.elapsed() > Duration::from_secs(60) {
                        pause = Pause::default();
                    }
                    pause.wait().await;
                }
                End::StandBy => return None,
                End::Stop(stopped) => return Some(stopped),
            }
        }
    }

    /// Publishes with one producer until it is of no more use.
    async fn publish_once(&self) -> End {
        let settings = self.parts.settings.clone();
        let (name, id) = (self.name.clone(), self.transactional_id.clone());
        let fail_points = Arc::clone(&self.parts.fail_points);
        let abandon = Abandon::default();
        let is_abandoned = Arc::clone(&abandon.0);
        let started = blocking(move || {
            let publisher = Publisher::start(&settings, name, &id, fail_points, is_abandoned)?;
            let publisher = Arc::new(publisher);
            Ok((DropsAside::new(&publisher), publisher))
        });
        let (_aside, publisher) = match started.await {
            Ok(started) => started,
            Err(fault) => return end(fault),
        };
        (self.parts.fail_points)("after_fencing");
        let mut after = match self.find_start().await {
            Ok(after) => after,
            Err(end) => return end,
        };
        tracing::info!(topic = self.name, after = after.0, "publishing");
        let mut pause = Pause::default();
        loop {
            let page = match self.tail.read(after, self.topic.aggregate, MAX_BATCH_EVENTS).await {
                Ok(page) => page,
                Err(_) => {
                    self.error("log");
                    pause.wait().await;
                    continue;
                }
            };
            pause = Pause::default();
            for batch in batches(&page.events) {
                if let Err(end) = self.publish_batch(&publisher, batch).await {
                    return end;
                }
            }
            after = page.next.max(after);
            let lag = page.head.0.saturating_sub(after.0);
            gauge!("colloquy_relay_position", "topic" => self.name.clone()).set(after.0 as f64);
            gauge!("colloquy_relay_lag_events", "topic" => self.name.clone()).set(lag as f64);
            if lag == 0 {
                self.parts.store.wait_past(after).await;
            }
        }
    }

    /// Where publishing goes on: after the mark if the log agrees, at the beginning if the topic is
    /// empty. An empty topic may be a new one or one that a person deleted to have it filled again.
    async fn find_start(&self) -> Result<Position, End> {
        let (settings, name, n_partitions) =
            (self.parts.settings.clone(), self.name.clone(), self.topic.partitions);
        let searched = blocking(move || {
            let mut is_empty = true;
            scan(&settings, &name, n_partitions, |_| {
                is_empty = false;
                ControlFlow::Break(())
            })
            .map(|()| is_empty)
        });
        match searched.await {
            Ok(true) => return Ok(Position(0)),
            Ok(false) => {}
            Err(error) => return Err(End::Again(error.to_string())),
        }
        let topic = self.name.clone();
        match read_mark(&self.parts.settings, &self.name).await {
            Ok(Some(mark)) => self.compare(&mark).await,
            Ok(None) => Err(End::Stop(Stopped::MarkMissing { topic })),
            Err(MarkError::Malformed) => Err(End::Stop(Stopped::MarkMalformed { topic })),
            Err(error) => Err(End::Again(error.to_string())),
        }
    }

    /// Whether the log holds the very event that the mark names.
    async fn compare(&self, mark: &Mark) -> Result<Position, End> {
        let before = Position(mark.position.0.saturating_sub(1));
        let page = match self.parts.store.read_log(before, &self.filter, 1).await {
            Ok(page) => page,
            Err(error) => return Err(End::Again(error.to_string())),
        };
        let is_held =
            |event: &StoredEvent| event.position == mark.position && event.hash == mark.hash;
        if page.events.first().is_some_and(is_held) {
            Ok(mark.position)
        } else {
            let (topic, position) = (self.name.clone(), mark.position);
            Err(End::Stop(Stopped::ForeignMark { topic, position }))
        }
    }

    /// Publishes one batch.
    async fn publish_batch(
        &self,
        publisher: &Arc<Publisher>,
        events: &[StoredEvent],
    ) -> Result<(), End> {
        let Some(last) = events.last() else {
            return Ok(());
        };
        let mark = Mark { position: last.position, hash: last.hash };
        let base = &self.parts.settings.schema_base;
        let records: Vec<Record> =
            events.iter().map(|event| self.topic.record(event, base)).collect();
        let publisher = Arc::clone(publisher);
        blocking(move || publisher.publish(&records, &mark)).await.map_err(end)?;
        counter!("colloquy_relay_batches_total", "topic" => self.name.clone()).increment(1);
        counter!("colloquy_relay_events_total", "topic" => self.name.clone())
            .increment(events.len() as u64);
        Ok(())
    }

    fn error(&self, kind: &'static str) {
        counter!("colloquy_relay_errors_total", "topic" => self.name.clone(), "kind" => kind)
            .increment(1);
    }
}

fn end(fault: Fault) -> End {
    match fault {
        Fault::Fenced => End::StandBy,
        Fault::Broken(error) => End::Again(error.to_string()),
    }
}

/// Tells a call that still blocks that nobody waits for it any more.
#[derive(Default)]
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Cuts events into batches that hold at most so many events and bytes, each at least one event.
fn batches(events: &[StoredEvent]) -> impl Iterator<Item = &[StoredEvent]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let mut n_bytes = 0;
        let fits = |event: &&StoredEvent| {
            n_bytes += event.payload.len();
            n_bytes <= MAX_BATCH_BYTES
        };
        let n_fitting = rest.iter().take(MAX_BATCH_EVENTS).take_while(fits).count();
        let (batch, later) = rest.split_at_checked(n_fitting.max(1))?;
        rest = later;
        Some(batch)
    })
}

/// Pauses between attempts, twice as long each time, up to 5 s.
#[derive(Default)]
struct Pause {
    n_attempts: u32,
}

impl Pause {
    async fn wait(&mut self) {
        let most = Duration::from_millis(100 << self.n_attempts.min(6)).min(Duration::from_secs(5));
        self.n_attempts += 1;
        // A share by chance, so that the topics do not all come back at once.
        sleep(most.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}
