//! The loop of every consumer: batch, drop what was seen, fill holes from the log, park poison, and
//! let the consumer do its work, move its applied versions and save its checkpoints as one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::applied::Applied;
use crate::envelope::{StoredEvent, StreamId, Version};
use crate::feed::{Batch, Checkpoint, Feed};
use crate::store::{EventStore, Filter};

/// The next events of one stream, without hole or repeat.
#[derive(Clone, Debug)]
pub struct StreamWork {
    /// The stream.
    pub stream: StreamId,
    /// What was applied before the first of them.
    pub from: Version,
    /// The events `from + 1`, `from + 2` …, at least one.
    pub events: Vec<StoredEvent>,
    /// Versions that a person has decided to leave out: nothing is done about them, and they count as
    /// applied.
    pub skipped: Vec<Version>,
}

impl StreamWork {
    /// What is applied once this is done.
    #[must_use]
    pub fn to(&self) -> Version {
        self.events.last().map_or(self.from, |event| event.version)
    }
}

/// Why work was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// Another worker moved an applied version; nothing was changed here.
    #[error("another worker moved an applied version")]
    Moved,
    /// One event cannot be dealt with, whoever tries; nothing was changed.
    #[error("version {version} of {stream} cannot be dealt with: {reason}")]
    Poison {
        /// Its stream.
        stream: StreamId,
        /// Its version.
        version: Version,
        /// What kind of fault, without content.
        reason: String,
    },
    /// Something needed cannot be reached at present; nothing was changed.
    #[error("something needed cannot be reached at present")]
    Unavailable,
}

/// A read model or a reactor, as the loop sees it.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// Its stored name, such as `interviews.v1`.
    fn name(&self) -> &str;

    /// How far it has come in these streams.
    ///
    /// # Errors
    /// [`ConsumeError::Unavailable`].
    async fn applied(
        &self,
        streams: &[StreamId],
    ) -> Result<HashMap<StreamId, Applied>, ConsumeError>;

    /// Does the work, moves the applied versions and saves the checkpoints, in one transaction as far
    /// as the work is rows, else so that doing it again changes nothing. `work` may be empty.
    ///
    /// # Errors
    /// See [`ConsumeError`]; after any of them nothing of this call is kept, or can be done again.
    async fn apply(
        &self,
        work: Vec<StreamWork>,
        checkpoints: &[Checkpoint],
    ) -> Result<(), ConsumeError>;

    /// Parks a stream at a version that cannot be dealt with.
    ///
    /// # Errors
    /// [`ConsumeError::Unavailable`].
    async fn park(
        &self,
        stream: &StreamId,
        version: Version,
        reason: &str,
    ) -> Result<(), ConsumeError>;

    /// Parked streams that are to be tried again; they count as not parked.
    ///
    /// # Errors
    /// [`ConsumeError::Unavailable`].
    async fn retries(&self) -> Result<Vec<StreamId>, ConsumeError>;

    /// A stream was tried again; it stays parked if it was parked anew meanwhile.
    ///
    /// # Errors
    /// [`ConsumeError::Unavailable`].
    async fn retried(&self, stream: &StreamId) -> Result<(), ConsumeError>;
}

/// How a loop runs.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Most events of a batch.
    pub batch: usize,
    /// Longest wait for the first of them.
    pub wait: Duration,
    /// How often an idle loop compares the log's stream versions with the applied ones; a loop that is
    /// never idle does so a tenth as often.
    pub sweep_every: Duration,
    /// How often a loop looks for parked streams that are to be tried again.
    pub retry_every: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            batch: 500,
            wait: Duration::from_secs(1),
            sweep_every: Duration::from_secs(30),
            retry_every: Duration::from_secs(1),
        }
    }
}

/// Runs a consumer until `stop`. Never ends by itself: what cannot be reached is tried again.
pub async fn run(
    consumer: Arc<dyn Consumer>,
    mut feed: Box<dyn Feed>,
    store: Arc<dyn EventStore>,
    filter: Filter,
    pace: Pace,
    stop: CancellationToken,
) {
    let name = consumer.name().to_owned();
    let mut swept = Instant::now();
    let mut looked: Option<Instant> = None;
    let mut fresh = true;
    while !stop.is_cancelled() {
        let batch = tokio::select! {
            () = stop.cancelled() => return,
            batch = feed.next(pace.batch, pace.wait) => batch,
        };
        let Ok(batch) = batch else {
            tracing::warn!(consumer = %name, "feed cannot be read, trying again");
            pause(&stop, Duration::from_millis(500)).await;
            continue;
        };
        let idle = batch.events.is_empty();
        if !idle || !batch.checkpoints.is_empty() {
            deal_with(&*consumer, &*store, batch, &stop).await;
        }
        if looked.is_none_or(|looked| looked.elapsed() >= pace.retry_every) {
            try_again(&*consumer, &*store, &stop).await;
            looked = Some(Instant::now());
        }
        let sweep_every = if idle { pace.sweep_every } else { pace.sweep_every * 10 };
        if (idle && fresh) || swept.elapsed() >= sweep_every {
            sweep(&*consumer, &*store, &filter, &stop).await;
            swept = Instant::now();
            fresh = false;
        }
    }
}

async fn pause(stop: &CancellationToken, time: Duration) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}

/// Deals with parked streams that somebody wants to be tried again. The wish is forgotten only
/// afterwards, so that it outlives this process.
async fn try_again(consumer: &dyn Consumer, store: &dyn EventStore, stop: &CancellationToken) {
    let Ok(streams) = consumer.retries().await else {
        return;
    };
    for stream in streams {
        let Ok(applied) = consumer.applied(std::slice::from_ref(&stream)).await else {
            return;
        };
        let from = applied.get(&stream).map(|applied| applied.version).unwrap_or_default();
        let Ok(events) = from_log(store, &stream, from, None).await else {
            return;
        };
        deal_with(consumer, store, Batch { events, checkpoints: vec![] }, stop).await;
        if stop.is_cancelled() || consumer.retried(&stream).await.is_err() {
            return;
        }
    }
}

/// Deals with one batch, however often it takes; returns early only on `stop`.
pub async fn deal_with(
    consumer: &dyn Consumer,
    store: &dyn EventStore,
    batch: Batch,
    stop: &CancellationToken,
) {
    let mut wait = Duration::from_millis(50);
    let mut by_stream: BTreeMap<StreamId, Vec<StoredEvent>> = BTreeMap::new();
    for event in batch.events {
        by_stream.entry(event.stream.clone()).or_default().push(event);
    }
    for events in by_stream.values_mut() {
        events.sort_by_key(|event| event.version);
        events.dedup_by_key(|event| event.version);
    }
    // Streams that stop before a poison event, to be parked once what comes before it is done.
    let mut poisoned: HashMap<StreamId, (Version, String)> = HashMap::new();
    while !stop.is_cancelled() {
        let result = async {
            let work = prepare(consumer, store, &by_stream, &poisoned).await?;
            consumer.apply(work, &batch.checkpoints).await?;
            for (stream, (version, reason)) in &poisoned {
                consumer.park(stream, *version, reason).await?;
            }
            Ok(())
        };
        match result.await {
            Ok(()) => return,
            Err(ConsumeError::Moved) => {
                metrics::counter!("colloquy_consumer_moved_total", "consumer" => consumer.name().to_owned())
                    .increment(1);
            }
            Err(ConsumeError::Poison { stream, version, reason }) => {
                tracing::error!(
                    consumer = %consumer.name(), stream = %stream, version = version.0, %reason,
                    "event parks its stream"
                );
                metrics::counter!("colloquy_consumer_parked_total", "consumer" => consumer.name().to_owned())
                    .increment(1);
                poisoned.insert(stream, (version, reason));
            }
            Err(ConsumeError::Unavailable) => {
                tracing::warn!(consumer = %consumer.name(), "cannot work at present, trying again");
                pause(stop, wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
        }
    }
}

/// What is next for each stream: seen versions dropped, holes and damaged records read from the log.
async fn prepare(
    consumer: &dyn Consumer,
    store: &dyn EventStore,
    by_stream: &BTreeMap<StreamId, Vec<StoredEvent>>,
    poisoned: &HashMap<StreamId, (Version, String)>,
) -> Result<Vec<StreamWork>, ConsumeError> {
    let streams: Vec<StreamId> = by_stream.keys().cloned().collect();
    let applied = consumer.applied(&streams).await?;
    let mut work = vec![];
    for (stream, delivered) in by_stream {
        let Applied { version: from, parked, skipped } =
            applied.get(stream).cloned().unwrap_or_default();
        let Some(last) = delivered.last().map(|event| event.version) else {
            continue;
        };
        if parked || last <= from {
            continue;
        }
        let unseen: Vec<StoredEvent> =
            delivered.iter().filter(|event| event.version > from).cloned().collect();
        let n_damaged = unseen.iter().filter(|event| !event.is_intact()).count();
        if n_damaged > 0 {
            let consumer = consumer.name().to_owned();
            tracing::warn!(consumer, n_damaged, "records without the hash of what they say");
            metrics::counter!("colloquy_consumer_damaged_total", "consumer" => consumer)
                .increment(n_damaged as u64);
        }
        let is_dense = unseen.iter().zip(from.0 + 1..).all(|(event, v)| event.version.0 == v);
        let whole = n_damaged == 0 && is_dense;
        let mut events =
            if whole { unseen } else { from_log(store, stream, from, Some(last)).await? };
        if let Some((bad, _)) = poisoned.get(stream) {
            events.retain(|event| event.version < *bad);
        }
        if !events.is_empty() {
            work.push(StreamWork { stream: stream.clone(), from, events, skipped });
        }
    }
    Ok(work)
}

/// Versions after `from`, up to `to` where given, straight from the log.
async fn from_log(
    store: &dyn EventStore,
    stream: &StreamId,
    from: Version,
    to: Option<Version>,
) -> Result<Vec<StoredEvent>, ConsumeError> {
    let mut events = vec![];
    let mut after = from;
    loop {
        let page = store.read_stream(stream, after, 500).await;
        let page = page.map_err(|_| ConsumeError::Unavailable)?;
        let Some(last) = page.last().map(|event| event.version) else {
            return Ok(events);
        };
        after = last;
        events.extend(page.into_iter().filter(|event| to.is_none_or(|to| event.version <= to)));
        if to.is_some_and(|to| after >= to) {
            return Ok(events);
        }
    }
}

/// Compares the log's stream versions with the applied ones, so that even a lost tail heals.
async fn sweep(
    consumer: &dyn Consumer,
    store: &dyn EventStore,
    filter: &Filter,
    stop: &CancellationToken,
) {
    let mut after: Option<StreamId> = None;
    while !stop.is_cancelled() {
        let Ok(page) = store.stream_versions(filter, after.as_ref(), 1000).await else {
            return;
        };
        let Some((last, _)) = page.last() else {
            return;
        };
        after = Some(last.clone());
        let streams: Vec<StreamId> = page.iter().map(|(stream, _)| stream.clone()).collect();
        let Ok(applied) = consumer.applied(&streams).await else {
            return;
        };
        for (stream, version) in page {
            let done = applied.get(&stream).cloned().unwrap_or_default();
            if done.parked || done.version >= version {
                continue;
            }
            let Ok(events) = from_log(store, &stream, done.version, None).await else {
                return;
            };
            let batch = Batch { events, checkpoints: vec![] };
            deal_with(consumer, store, batch, stop).await;
        }
    }
}
