//! Histories of streams, opened, with their texts: what reactors decide by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Aggregate;
use domain::ids::CompanyId;
use domain::personal::Subject;
use eventlog::codec::{Codec, Recorded, key_home};
use eventlog::envelope::{StreamId, Version};
use eventlog::store::EventStore;
use moka::sync::Cache;

use crate::reactor::Fault;

/// How long an opened text is kept in memory at most: as long as a process may keep its key.
const LONGEST_KEPT: Duration = Duration::from_secs(60);
/// Bytes of payload kept in memory at most, over all streams.
const MOST_BYTES: u64 = 128 * 1024 * 1024;
const PAGE: usize = 500;

/// A stream up to and including one event.
#[derive(Clone)]
pub struct View {
    opened: Arc<Opened>,
    n_events: usize,
}

/// The first events of a stream. Their sealed bytes are left out, because nobody here needs them.
#[derive(Default)]
struct Opened {
    events: Vec<Arc<Recorded>>,
    n_bytes: usize,
    /// When the oldest of them was opened; none if there are no events.
    since: Option<Instant>,
    /// Why the event after them cannot be read, if there is one and it cannot.
    stopped_by: Option<String>,
}

impl View {
    /// The events, in order.
    pub fn events(&self) -> &[Arc<Recorded>] {
        self.opened.events.get(..self.n_events).unwrap_or_default()
    }

    /// The same stream before its last event.
    #[must_use]
    pub fn before(&self) -> Self {
        Self { opened: Arc::clone(&self.opened), n_events: self.n_events.saturating_sub(1) }
    }

    /// The last event, which is the one that is reacted to.
    #[must_use]
    pub fn last(&self) -> Option<&Recorded> {
        self.events().last().map(Arc::as_ref)
    }

    /// The aggregate's own events, each with its place.
    pub fn of<A: Aggregate>(&self) -> impl Iterator<Item = (&A::Event, &Recorded)> {
        self.events().iter().filter_map(|r| Some((A::event(&r.event)?, r.as_ref())))
    }

    /// The aggregate's state by then.
    #[must_use]
    pub fn state<A: Aggregate>(&self) -> A {
        self.of::<A>().fold(A::default(), |state, (event, recorded)| {
            state.evolve(event, recorded.stored.occurred_at)
        })
    }
}

/// Reads histories and keeps those that were lately read. Shared by all reactors of a process.
pub struct Histories {
    store: Arc<dyn EventStore>,
    codec: Codec,
    kept: Cache<StreamId, Arc<Opened>>,
}

impl Histories {
    /// Histories of this log.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, codec: Codec) -> Self {
        let weight = |_: &StreamId, opened: &Arc<Opened>| {
            u32::try_from(opened.n_bytes + 64).unwrap_or(u32::MAX)
        };
        let kept = Cache::builder()
            .weigher(weight)
            .max_capacity(MOST_BYTES)
            .time_to_live(LONGEST_KEPT)
            .build();
        Self { store, codec, kept }
    }

    /// The stream up to and including `version`.
    ///
    /// # Errors
    /// [`Fault::Poison`] when an event up to there cannot be read by this program.
    pub async fn up_to(&self, stream: &StreamId, version: Version) -> Result<View, Fault> {
        let n_events = usize::try_from(version.0).unwrap_or(usize::MAX);
        let mut opened = self.kept(stream);
        if opened.events.len() < n_events {
            opened = self.read_on(stream, opened).await?;
        }
        if opened.events.len() < n_events {
            let why = opened.stopped_by.clone();
            // The log has the event, so that an answer without it comes from a reader that lags.
            return Err(why.map_or(Fault::Unavailable, Fault::Poison));
        }
        Ok(View { opened, n_events })
    }

    /// The stream as it stands now; without events if there is no such stream.
    ///
    /// # Errors
    /// [`Fault::Poison`] when an event cannot be read by this program.
    pub async fn now(&self, stream: &StreamId) -> Result<View, Fault> {
        let opened = self.read_on(stream, self.kept(stream)).await?;
        if let Some(why) = &opened.stopped_by {
            return Err(Fault::Poison(why.clone()));
        }
        Ok(View { n_events: opened.events.len(), opened })
    }

    /// Whether this person was forgotten by now, whatever is still kept in memory.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    pub async fn is_forgotten(&self, company: CompanyId, of: Subject) -> Result<bool, Fault> {
        let home = key_home(company, of);
        self.codec.vault().is_erased(home, of).await.map_err(|_| Fault::Unavailable)
    }

    fn kept(&self, stream: &StreamId) -> Arc<Opened> {
        let fresh =
            |opened: &Arc<Opened>| opened.since.is_none_or(|since| since.elapsed() < LONGEST_KEPT);
        self.kept.get(stream).filter(fresh).unwrap_or_default()
    }

    /// Adds what the log holds beyond.
    async fn read_on(&self, stream: &StreamId, from: Arc<Opened>) -> Result<Arc<Opened>, Fault> {
        let mut added = vec![];
        let mut n_bytes = from.n_bytes;
        let mut stopped_by = None;
        'pages: loop {
            let after = Version((from.events.len() + added.len()) as u64);
            let page = self.store.read_stream(stream, after, PAGE).await;
            let page = page.map_err(|_| Fault::Unavailable)?;
            let n_read = page.len();
            let opened = self.codec.open_each(page).await.map_err(|error| {
                tracing::warn!(%error, "the keys of a history cannot be had");
                Fault::Unavailable
            })?;
            for result in opened {
                match result {
                    Ok(mut recorded) => {
                        n_bytes += recorded.stored.payload.len();
                        recorded.stored.payload.clear();
                        added.push(Arc::new(recorded));
                    }
                    Err((_, error)) => {
                        stopped_by = Some(error.to_string());
                        break 'pages;
                    }
                }
            }
            if n_read < PAGE {
                break;
            }
        }
        if added.is_empty() && stopped_by == from.stopped_by {
            return Ok(from);
        }
        let mut events = from.events.clone();
        events.extend(added);
        let since = Some(from.since.unwrap_or_else(Instant::now));
        let opened = Arc::new(Opened { events, n_bytes, since, stopped_by });
        self.kept.insert(stream.clone(), Arc::clone(&opened));
        Ok(opened)
    }
}
