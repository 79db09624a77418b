//! The read side as a server runs it: each read model's loop follows the log from its beginning.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use async_trait::async_trait;
use eventlog::applied::Applied;
use eventlog::codec::Codec;
use eventlog::consume::{self, ConsumeError, Consumer, Pace, StreamWork};
use eventlog::envelope::{Position, StreamId, Version};
use eventlog::fail_point::FailPoint;
use eventlog::feed::{Batch, Checkpoint, Feed, FeedError, LogFeed};
use eventlog::store::EventStore;
use projections::model::ModelCheckpoints;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::pair::Pair;
use crate::breakdown::timed;
use crate::database::{Database, Parts};

/// What following the log to its end came to.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// From the first reading until the last model has committed.
    pub seconds: f64,
    /// Events applied, for each model.
    pub n_events: u64,
    /// How many batches that was, for each model.
    pub n_batches: u64,
    /// Seconds of reading the log, of looking up what is applied, of opening, folding and writing, and
    /// of committing; of all models together.
    pub steps: [f64; 4],
}

/// Sums over all loops.
#[derive(Default)]
struct Seen {
    n_events: AtomicU64,
    n_batches: AtomicU64,
    is_parked: AtomicBool,
    reading: AtomicU64,
    looking_up: AtomicU64,
    applying: AtomicU64,
    committing: AtomicU64,
}

impl Seen {
    /// What tells how long one model's commits take.
    fn fail_point(self: &Arc<Self>) -> FailPoint {
        let (seen, since) = (Arc::clone(self), Mutex::new(None::<Instant>));
        Arc::new(move |place| {
            let mut since = since.lock().unwrap_or_else(PoisonError::into_inner);
            match place {
                "project.before_commit" => *since = Some(Instant::now()),
                "project.after_commit" => {
                    let took = since.take().map(|since| since.elapsed().as_nanos());
                    let took = u64::try_from(took.unwrap_or_default()).unwrap_or_default();
                    seen.committing.fetch_add(took, Relaxed);
                }
                _ => {}
            }
        })
    }
}

/// A consumer that stops its loop at the end of the log.
struct Watched {
    inner: Arc<dyn Consumer>,
    head: Position,
    seen: Arc<Seen>,
    stop: CancellationToken,
}

#[async_trait]
impl Consumer for Watched {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn applied(
        &self,
        streams: &[StreamId],
    ) -> Result<HashMap<StreamId, Applied>, ConsumeError> {
        timed(&self.seen.looking_up, self.inner.applied(streams)).await
    }

    async fn apply(
        &self,
        work: Vec<StreamWork>,
        checkpoints: &[Checkpoint],
    ) -> Result<(), ConsumeError> {
        let n_events: usize = work.iter().map(|work| work.events.len()).sum();
        timed(&self.seen.applying, self.inner.apply(work, checkpoints)).await?;
        self.seen.n_events.fetch_add(n_events as u64, Relaxed);
        self.seen.n_batches.fetch_add(u64::from(n_events > 0), Relaxed);
        if checkpoints.iter().any(|checkpoint| checkpoint.next >= self.head.0) {
            self.stop.cancel();
        }
        Ok(())
    }

    async fn park(
        &self,
        stream: &StreamId,
        version: Version,
        reason: &str,
    ) -> Result<(), ConsumeError> {
        self.seen.is_parked.store(true, Relaxed);
        self.inner.park(stream, version, reason).await
    }

    async fn retries(&self) -> Result<Vec<StreamId>, ConsumeError> {
        self.inner.retries().await
    }

    async fn retried(&self, stream: &StreamId) -> Result<(), ConsumeError> {
        self.inner.retried(stream).await
    }
}

/// A feed whose time is kept.
struct Timed {
    inner: LogFeed,
    seen: Arc<Seen>,
}

#[async_trait]
impl Feed for Timed {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, FeedError> {
        timed(&self.seen.reading, self.inner.next(max, wait)).await
    }
}

/// Lets the projectors of all of these models follow the log at once, from their checkpoints to its
/// end. No key is known at the start.
///
/// # Errors
/// The database cannot be reached, or an event cannot be projected.
pub async fn follow(database: &Database, pairs: &[&Pair]) -> anyhow::Result<Pass> {
    let parts = Parts::open(database).await?;
    let head = parts.head().await?;
    let store = Arc::clone(&parts.store) as Arc<dyn EventStore>;
    let codec = Codec::new(Arc::clone(&parts.vault) as _);
    let seen = Arc::new(Seen::default());
    let mut ready = vec![];
    for Pair { model, ours, .. } in pairs {
        let checkpoints = ModelCheckpoints::new(database.pool.clone(), ours);
        let inner = LogFeed::start(Arc::clone(&store), model.filter(), &checkpoints).await?;
        let feed = Timed { inner, seen: Arc::clone(&seen) };
        let pool = database.pool.clone();
        let inner = model.consumer(ours, pool, codec.clone(), seen.fail_point());
        let stop = CancellationToken::new();
        let consumer = Watched { inner, head, seen: Arc::clone(&seen), stop: stop.clone() };
        ready.push((consumer, feed, model.filter(), stop));
    }
    let began = Instant::now();
    let mut loops = JoinSet::new();
    for (consumer, feed, filter, stop) in ready {
        let (store, pace) = (Arc::clone(&store), Pace::default());
        loops.spawn(consume::run(Arc::new(consumer), Box::new(feed), store, filter, pace, stop));
    }
    while let Some(ended) = loops.join_next().await {
        ended?;
    }
    let seconds = began.elapsed().as_secs_f64();
    parts.close().await;
    ensure!(!seen.is_parked.load(Relaxed), "an event could not be projected");
    let of = |sum: &AtomicU64| sum.load(Relaxed);
    let seconds_of = |sum: &AtomicU64| of(sum) as f64 / 1e9;
    let committing = seconds_of(&seen.committing);
    let writing = seconds_of(&seen.applying) - committing;
    let steps = [seconds_of(&seen.reading), seconds_of(&seen.looking_up), writing, committing];
    let (n_events, n_batches) = (of(&seen.n_events), of(&seen.n_batches));
    Ok(Pass { seconds, n_events, n_batches, steps })
}
