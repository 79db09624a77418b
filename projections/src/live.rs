//! One tail of the log per process, fanned out in memory. A subscription replays from the log and
//! goes live without a seam: nothing lost, nothing twice, and a slow reader costs no memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::ids::CompanyId;
use eventlog::codec::{Codec, Recorded};
use eventlog::envelope::{Position, StoredEvent, StreamId, Version};
use eventlog::store::{EventStore, Filter};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Events that the tail keeps for slow readers; whoever falls behind further reads the log again.
const KEPT: usize = 1024;
/// Events read from the log at once.
const PAGE: usize = 256;
/// How long a subscription waits for a tail that has just started.
const START_WAIT: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// What a subscription is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// One stream.
    Stream(StreamId),
    /// All streams of these aggregates in one company.
    Company {
        /// The tenant.
        company: CompanyId,
        /// The aggregates' stored names.
        aggregates: Vec<&'static str>,
    },
}

impl Topic {
    /// Whether the stream is part of it.
    #[must_use]
    pub fn covers(&self, stream: &StreamId) -> bool {
        match self {
            Self::Stream(wanted) => wanted == stream,
            Self::Company { company, aggregates } => {
                stream.company == *company && aggregates.iter().any(|a| *a == stream.aggregate)
            }
        }
    }
}

/// Why a subscription does not begin, or ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// `after` names a place that the log has not reached.
    #[error("the log has not reached that cursor")]
    CursorAhead,
    /// An event cannot be read by this program; what follows it is withheld, so that nobody takes
    /// the rest for the whole.
    #[error("an event of the subscription cannot be read")]
    Unreadable,
    /// The log cannot be reached; subscribing again is right.
    #[error("the log cannot be reached")]
    Unavailable,
}

impl LiveError {
    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::CursorAhead => "CURSOR_AHEAD",
            Self::Unreadable => "HISTORY_UNREADABLE",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

/// What a subscription yields: events in order, or at last the reason why it ends.
pub type Live = BoxStream<'static, Result<Arc<Recorded>, LiveError>>;

/// What the tail hands out: an event, or the place of one that cannot be read.
#[derive(Clone)]
enum Tick {
    Event(Arc<Recorded>),
    Unreadable(Position, StreamId),
}

impl Tick {
    fn position(&self) -> Position {
        match self {
            Self::Event(recorded) => recorded.stored.position,
            Self::Unreadable(position, _) => *position,
        }
    }

    fn stream(&self) -> &StreamId {
        match self {
            Self::Event(recorded) => &recorded.stored.stream,
            Self::Unreadable(_, stream) => stream,
        }
    }
}

/// The tail of one process. Clones share it.
#[derive(Clone)]
pub struct LiveTail {
    store: Arc<dyn EventStore>,
    codec: Codec,
    ticks: broadcast::WeakSender<Tick>,
    /// Everything up to here was handed out, or is about to be. It is set before the event is sent,
    /// so that whoever subscribes first and then looks here knows what will not come by itself.
    pinned: watch::Receiver<Option<Position>>,
    tasks: TaskTracker,
}

impl LiveTail {
    /// Starts tailing from the log's head on the current runtime, until `stop`. A log that cannot be
    /// reached is tried again.
    #[must_use]
    pub fn start(store: Arc<dyn EventStore>, codec: Codec, stop: CancellationToken) -> Self {
        let (ticks, _) = broadcast::channel(KEPT);
        let (pin, pinned) = watch::channel(None);
        let tasks = TaskTracker::new();
        let weak = ticks.downgrade();
        let tail = Tail { store: Arc::clone(&store), codec: codec.clone(), ticks, pin };
        tasks.spawn(async move {
            // The sender goes with the task, which ends every subscription.
            tokio::select! {
                () = stop.cancelled() => {}
                () = tail.run() => {}
            }
        });
        tasks.close();
        Self { store, codec, ticks: weak, pinned, tasks }
    }

    /// Returns once the tail has ended, which is soon after `stop`.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }

    /// The topic's events after `after`, in order, each once: first those that are in the log
    /// already, then those that come. Ends when the tail stops, and after an error.
    ///
    /// # Errors
    /// [`LiveError::CursorAhead`] or [`LiveError::Unavailable`].
    pub async fn subscribe(&self, topic: Topic, after: Position) -> Result<Live, LiveError> {
        let head = self.store.head().await.map_err(|_| LiveError::Unavailable)?;
        if after > head {
            return Err(LiveError::CursorAhead);
        }
        let subscription = self.begin(topic, after).await?;
        let items = stream::unfold(Some(subscription), |state| async move {
            let mut subscription = state?;
            match subscription.next().await? {
                Ok(recorded) => Some((Ok(recorded), Some(subscription))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(items.boxed())
    }

    /// The topic's events from now on.
    ///
    /// # Errors
    /// [`LiveError::Unavailable`].
    pub async fn follow(&self, topic: Topic) -> Result<Live, LiveError> {
        let head = self.store.head().await.map_err(|_| LiveError::Unavailable)?;
        self.subscribe(topic, head).await
    }

    /// A signal each time that an event that `concerns` names passes the tail, or may have passed
    /// unseen. Ends when the tail stops.
    pub fn changes(
        &self,
        concerns: impl Fn(&Recorded) -> bool + Send + 'static,
    ) -> BoxStream<'static, ()> {
        let ticks = self.ticks.upgrade().map(|ticks| ticks.subscribe());
        let signals = stream::unfold((ticks, concerns), |(ticks, concerns)| async move {
            let mut ticks = ticks?;
            loop {
                match ticks.recv().await {
                    Ok(Tick::Event(recorded)) if !concerns(&recorded) => {}
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        return Some(((), (Some(ticks), concerns)));
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        signals.boxed()
    }

    async fn begin(&self, topic: Topic, after: Position) -> Result<Subscription, LiveError> {
        let ticks = self.ticks.upgrade().ok_or(LiveError::Unavailable)?.subscribe();
        let mut pinned = self.pinned.clone();
        let known = timeout(START_WAIT, pinned.wait_for(Option::is_some)).await;
        let replay_to = known.ok().and_then(Result::ok).and_then(|pinned| *pinned);
        let replay_to = replay_to.ok_or(LiveError::Unavailable)?;
        Ok(Subscription {
            store: Arc::clone(&self.store),
            codec: self.codec.clone(),
            topic,
            ticks,
            pinned,
            seen: after,
            version: Version(0),
            replay_to,
            replayed: VecDeque::new(),
        })
    }
}

struct Tail {
    store: Arc<dyn EventStore>,
    codec: Codec,
    ticks: broadcast::Sender<Tick>,
    pin: watch::Sender<Option<Position>>,
}

impl Tail {
    async fn run(&self) {
        let mut retry = FIRST_RETRY;
        let mut after = loop {
            match self.store.head().await {
                Ok(head) => break head,
                Err(_) => pause(&mut retry).await,
            }
        };
        self.pin.send_replace(Some(after));
        let mut retry = FIRST_RETRY;
        loop {
            match self.step(after).await {
                Some(next) if next > after => {
                    after = next;
                    retry = FIRST_RETRY;
                }
                Some(_) => {
                    retry = FIRST_RETRY;
                    self.store.wait_past(after).await;
                }
                None => {
                    tracing::warn!(position = after.0, "the live tail cannot read, trying again");
                    pause(&mut retry).await;
                }
            }
        }
    }

    /// Hands out what follows; `None` when it cannot be read at present.
    async fn step(&self, after: Position) -> Option<Position> {
        let page = self.store.read_log(after, &Filter::default(), PAGE).await.ok()?;
        for tick in open(&self.codec, page.events).await? {
            self.pin.send_replace(Some(tick.position()));
            // Nobody listening is ordinary.
            let _ = self.ticks.send(tick);
        }
        self.pin.send_replace(Some(page.next));
        Some(page.next)
    }
}

/// Opens events; `None` when the keys cannot be had at present.
async fn open(codec: &Codec, events: Vec<StoredEvent>) -> Option<Vec<Tick>> {
    let opened = codec.open_each(events).await.ok()?;
    let ticks = opened.into_iter().map(|result| match result {
        Ok(recorded) => Some(Tick::Event(Arc::new(recorded))),
        Err((_, error)) if error.is_transient() => None,
        Err((stored, _)) => Some(Tick::Unreadable(stored.position, stored.stream)),
    });
    ticks.collect()
}

async fn pause(retry: &mut Duration) {
    sleep(*retry).await;
    *retry = (*retry * 2).min(LONGEST_RETRY);
}

struct Subscription {
    store: Arc<dyn EventStore>,
    codec: Codec,
    topic: Topic,
    ticks: broadcast::Receiver<Tick>,
    pinned: watch::Receiver<Option<Position>>,
    /// Everything up to here was yielded or is of no interest.
    seen: Position,
    /// The same for a topic of one stream, as a version: where its replay goes on.
    version: Version,
    /// What lies beyond `seen` up to here does not come by itself and is read from the log.
    replay_to: Position,
    replayed: VecDeque<Tick>,
}

impl Subscription {
    async fn next(&mut self) -> Option<Result<Arc<Recorded>, LiveError>> {
        let mut retry = FIRST_RETRY;
        loop {
            if let Some(tick) = self.replayed.pop_front() {
                if let Some(item) = self.take(tick) {
                    return Some(item);
                }
                continue;
            }
            if self.seen < self.replay_to {
                if self.replay().await.is_none() {
                    // Without a tail there is nobody left to wait for.
                    if self.pinned.has_changed().is_err() {
                        return None;
                    }
                    pause(&mut retry).await;
                }
                continue;
            }
            match self.ticks.recv().await {
                Ok(tick) => {
                    if let Some(item) = self.take(tick) {
                        return Some(item);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    // What was dropped was pinned before; what is kept follows without a hole.
                    self.replay_to = (*self.pinned.borrow()).unwrap_or_default();
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The tick as an item, unless it was seen before or is of no interest.
    fn take(&mut self, tick: Tick) -> Option<Result<Arc<Recorded>, LiveError>> {
        if tick.position() <= self.seen {
            return None;
        }
        self.seen = tick.position();
        if !self.topic.covers(tick.stream()) {
            return None;
        }
        Some(match tick {
            Tick::Event(recorded) => {
                self.version = recorded.stored.version;
                Ok(recorded)
            }
            Tick::Unreadable(..) => Err(LiveError::Unreadable),
        })
    }

    /// Reads a page of what lies between `seen` and `replay_to`; `None` when that fails.
    async fn replay(&mut self) -> Option<()> {
        // `end`: up to where nothing is left to read once the page's events were taken.
        let (events, end) = match &self.topic {
            Topic::Stream(stream) => {
                let page = self.store.read_stream(stream, self.version, PAGE).await.ok()?;
                let last = page.last().map(|event| event.position);
                let more = page.len() == PAGE && last < Some(self.replay_to);
                (page, if more { self.seen } else { self.replay_to })
            }
            Topic::Company { company, aggregates } => {
                let filter = Filter::of_aggregates(aggregates.iter().copied());
                let filter = Filter { company: Some(*company), ..filter };
                let page = self.store.read_log(self.seen, &filter, PAGE).await;
                let page = page.ok()?;
                (page.events, page.next.min(self.replay_to))
            }
        };
        let mut version = self.version;
        let mut wanted = vec![];
        for event in events {
            if event.position > self.replay_to || !self.topic.covers(&event.stream) {
                continue;
            }
            version = event.version;
            if event.position > self.seen {
                wanted.push(event);
            }
        }
        self.replayed = open(&self.codec, wanted).await?.into();
        self.version = version;
        if self.replayed.is_empty() {
            self.seen = self.seen.max(end);
        }
        Some(())
    }
}
