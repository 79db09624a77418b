//! Runs a reactor as a consumer: fold, react, act, and only then move the ledger.
//!
//! Streams are independent. Each is worked on in its own lane and in its own order; a batch is
//! answered when it is done or when its time is over, and what is still at work then (a slow model)
//! goes on beside the next batches. What comes for a stream meanwhile waits in its lane. Checkpoints
//! wait as well: one is saved only when everything that was delivered before it is done, so that
//! after a crash the feed delivers the rest again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use eventlog::applied::{Applied, Move};
use eventlog::consume::{ConsumeError, Consumer, StreamWork};
use eventlog::envelope::{StoredEvent, StreamId, Version};
use eventlog::fail_point::FailPoint;
use eventlog::feed::Checkpoint;
use eventlog::ledger::{Ledger, LedgerError};
use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::lanes::{Lanes, Left, Part};
use crate::reactor::{Fault, Reactor, Tools};

/// The actions of an event are done, the ledger does not say so yet.
pub const AFTER_ACTION: &str = "react.after_action";
/// The ledger says that a stream's events are done.
pub const AFTER_LEDGER: &str = "react.after_ledger";

/// How a runner works.
#[derive(Clone, Debug)]
pub struct RunnerSettings {
    /// How long a batch is waited for before the next one is taken beside it.
    pub patience: Duration,
    /// Most streams worked on at once; more wait.
    pub at_once: usize,
    /// First wait before what was unavailable is tried again; it doubles up to five seconds.
    pub retry_after: Duration,
}

impl Default for RunnerSettings {
    fn default() -> Self {
        Self {
            patience: Duration::from_millis(500),
            at_once: 256,
            retry_after: Duration::from_millis(50),
        }
    }
}

/// A reactor as the consumer loop sees it.
pub struct Runner<R> {
    shared: Arc<Shared<R>>,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Batches whose checkpoints are not saved yet, oldest first.
    batches: Mutex<VecDeque<Delivered>>,
    settings: RunnerSettings,
}

struct Shared<R> {
    reactor: R,
    tools: Arc<Tools>,
    ledger: Arc<dyn Ledger>,
    fail_point: FailPoint,
    stop: CancellationToken,
    retry_after: Duration,
    lanes: Lanes,
}

/// A batch whose checkpoints are not saved yet.
struct Delivered {
    checkpoints: Vec<Checkpoint>,
    left: Arc<Left>,
}

/// Why a stream's work stopped.
enum Stopped {
    Moved,
    Unavailable,
    Poison { version: Version, reason: String },
}

impl From<LedgerError> for Stopped {
    fn from(LedgerError: LedgerError) -> Self {
        Self::Unavailable
    }
}

fn unavailable(LedgerError: LedgerError) -> ConsumeError {
    ConsumeError::Unavailable
}

impl<R: Reactor> Runner<R> {
    /// Runs `reactor` until `stop`.
    #[must_use]
    pub fn new(
        reactor: R,
        tools: Arc<Tools>,
        ledger: Arc<dyn Ledger>,
        fail_point: FailPoint,
        settings: RunnerSettings,
        stop: CancellationToken,
    ) -> Self {
        let lanes = Lanes::default();
        let retry_after = settings.retry_after;
        let shared =
            Arc::new(Shared { reactor, tools, ledger, fail_point, stop, retry_after, lanes });
        let slots = Arc::new(Semaphore::new(settings.at_once.max(1)));
        let batches = Mutex::default();
        Self { shared, slots, tasks: TaskTracker::new(), batches, settings }
    }

    /// Checkpoints that may be saved: those of the oldest batches, as far as all of them are done.
    fn reached(&self) -> Vec<Checkpoint> {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latest = BTreeMap::new();
        while let Some(oldest) = batches.front() {
            if !oldest.left.is_none() {
                break;
            }
            for checkpoint in batches.pop_front().into_iter().flat_map(|b| b.checkpoints) {
                latest.insert((checkpoint.source.clone(), checkpoint.partition), checkpoint);
            }
        }
        latest.into_values().collect()
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit, ConsumeError> {
        tokio::select! {
            () = self.shared.stop.cancelled() => Err(ConsumeError::Unavailable),
            slot = Arc::clone(&self.slots).acquire_owned() => {
                slot.map_err(|_| ConsumeError::Unavailable)
            }
        }
    }

    /// Gives batches back whose checkpoints could not be saved.
    fn not_saved(&self, checkpoints: Vec<Checkpoint>) {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.push_front(Delivered { checkpoints, left: Arc::default() });
    }
}

#[async_trait]
impl<R: Reactor> Consumer for Runner<R> {
    fn name(&self) -> &str {
        R::NAME
    }

    async fn applied(
        &self,
        streams: &[StreamId],
    ) -> Result<HashMap<StreamId, Applied>, ConsumeError> {
        self.shared.ledger.applied(R::NAME, streams).await.map_err(unavailable)
    }

    async fn apply(
        &self,
        work: Vec<StreamWork>,
        checkpoints: &[Checkpoint],
    ) -> Result<(), ConsumeError> {
        let left = Left::of(work.len());
        for work in work {
            let part = Part { work, left: Arc::clone(&left) };
            let Some(part) = self.shared.lanes.put_behind(part) else { continue };
            let slot = self.slot().await?;
            // The lane can have been taken while a slot was waited for.
            if let Some(part) = self.shared.lanes.put_behind_or_open(part) {
                self.tasks.spawn(Arc::clone(&self.shared).work_lane(part, slot));
            }
        }
        let delivered = Delivered { checkpoints: checkpoints.to_vec(), left: Arc::clone(&left) };
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).push_back(delivered);
        tokio::select! {
            () = self.shared.stop.cancelled() => {}
            // Whether all is done by then or not, the batch remembers.
            _ = tokio::time::timeout(self.settings.patience, left.until_none()) => {}
        }
        if self.shared.stop.is_cancelled() {
            return Err(ConsumeError::Unavailable);
        }
        let reached = self.reached();
        if reached.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.shared.ledger.advance(R::NAME, &[], &reached).await {
            self.not_saved(reached);
            return Err(unavailable(error));
        }
        Ok(())
    }

    async fn park(
        &self,
        stream: &StreamId,
        version: Version,
        reason: &str,
    ) -> Result<(), ConsumeError> {
        self.shared.ledger.park(R::NAME, stream, version, reason).await.map_err(unavailable)
    }

    async fn retries(&self) -> Result<Vec<StreamId>, ConsumeError> {
        self.shared.ledger.retries(R::NAME).await.map_err(unavailable)
    }

    async fn retried(&self, stream: &StreamId) -> Result<(), ConsumeError> {
        self.shared.ledger.retried(R::NAME, stream).await.map_err(unavailable)
    }
}

impl<R: Reactor> Shared<R> {
    /// Works off a part and what comes for its stream meanwhile; closes the lane behind it.
    async fn work_lane(self: Arc<Self>, part: Part, _slot: OwnedSemaphorePermit) {
        let StreamWork { stream, mut from, mut events, mut skipped } = part.work;
        let mut parts_left = vec![part.left];
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.until_done(&stream, &mut from, &mut events, &skipped) => {}
            }
            parts_left.drain(..).for_each(|left| left.one_done());
            let waiting = self.lanes.take_or_close(&stream);
            if waiting.is_empty() {
                return;
            }
            // Each part goes from what was applied to what there was, so that the last holds most.
            for part in waiting {
                parts_left.push(part.left);
                skipped.extend(part.work.skipped.iter());
                if events.last().map(|event| event.version) < Some(part.work.to()) {
                    events = part.work.events;
                    from = part.work.from;
                }
            }
            // What was done meanwhile is known to the ledger; if that is not, it is done again.
            let _ = self.catch_up(&stream, &mut from, &mut events).await;
        }
    }

    async fn until_done(
        &self,
        stream: &StreamId,
        from: &mut Version,
        events: &mut Vec<StoredEvent>,
        skipped: &[Version],
    ) {
        let mut wait = self.retry_after;
        loop {
            let work = self.work(stream, from, events, skipped);
            let worked = AssertUnwindSafe(work).catch_unwind().await;
            let stopped = match worked {
                Ok(Ok(())) => return,
                Ok(Err(stopped)) => stopped,
                Err(_) => Stopped::Poison { version: from.next(), reason: "panicked".to_owned() },
            };
            let settled = match stopped {
                Stopped::Moved => self.catch_up(stream, from, events).await,
                Stopped::Poison { version, reason } => {
                    self.park(stream, version, &reason).await.map(|()| events.clear())
                }
                Stopped::Unavailable => Err(LedgerError),
            };
            match settled {
                Ok(()) if events.is_empty() => return,
                Ok(()) => {}
                Err(LedgerError) => {
                    tracing::warn!(reactor = R::NAME, "cannot work at present, trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    /// Does what follows from the events in order and moves the ledger as far as that came.
    async fn work(
        &self,
        stream: &StreamId,
        from: &mut Version,
        events: &mut Vec<StoredEvent>,
        skipped: &[Version],
    ) -> Result<(), Stopped> {
        let mut to = *from;
        let mut result = Ok(());
        for event in &*events {
            if !skipped.contains(&event.version) {
                result = self.react(event).await;
            }
            if result.is_err() {
                break;
            }
            to = event.version;
        }
        if to > *from {
            let moves = [Move { stream: stream.clone(), from: *from, to }];
            if !self.ledger.advance(R::NAME, &moves, &[]).await? {
                return Err(Stopped::Moved);
            }
            (self.fail_point)(AFTER_LEDGER);
            *from = to;
            events.retain(|event| event.version > to);
        }
        result
    }

    async fn react(&self, event: &StoredEvent) -> Result<(), Stopped> {
        if !R::EVENTS.contains(&event.name.as_str()) {
            return Ok(());
        }
        let span = tracing::info_span!(
            "react",
            reactor = R::NAME,
            event.name = %event.name,
            stream.id = %event.stream.id,
            stream.version = event.version.0
        );
        let result = self.react_opened(event).instrument(span).await;
        let outcome = match &result {
            Ok(()) => "ok",
            Err(Fault::Unavailable) => "unavailable",
            Err(Fault::Poison(_)) => "poison",
        };
        metrics::counter!("colloquy_reactions_total", "reactor" => R::NAME, "outcome" => outcome)
            .increment(1);
        result.map_err(|fault| match fault {
            Fault::Unavailable => Stopped::Unavailable,
            Fault::Poison(reason) => Stopped::Poison { version: event.version, reason },
        })
    }

    async fn react_opened(&self, event: &StoredEvent) -> Result<(), Fault> {
        let view = self.tools.histories.up_to(&event.stream, event.version).await?;
        let Some(recorded) = view.last() else {
            return Ok(());
        };
        let actions = self.reactor.react(&view, recorded);
        if actions.is_empty() {
            return Ok(());
        }
        for action in actions {
            self.reactor.act(action, &view, event, &self.tools).await?;
        }
        (self.fail_point)(AFTER_ACTION);
        Ok(())
    }

    /// Another worker moved the stream: what it did is done.
    async fn catch_up(
        &self,
        stream: &StreamId,
        from: &mut Version,
        events: &mut Vec<StoredEvent>,
    ) -> Result<(), LedgerError> {
        let applied = self.ledger.applied(R::NAME, std::slice::from_ref(stream)).await?;
        let Applied { version, parked, .. } = applied.get(stream).cloned().unwrap_or_default();
        *from = version;
        events.retain(|event| event.version > version && !parked);
        Ok(())
    }

    async fn park(
        &self,
        stream: &StreamId,
        version: Version,
        reason: &str,
    ) -> Result<(), LedgerError> {
        tracing::error!(
            reactor = R::NAME, stream = %stream, version = version.0, reason,
            "event parks its stream"
        );
        metrics::counter!("colloquy_consumer_parked_total", "consumer" => R::NAME).increment(1);
        self.ledger.park(R::NAME, stream, version, reason).await
    }
}
