//! The writers: each appends to streams of its own and to some that all share.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use anyhow::bail;
use bytes::Bytes;
use commands::new_id;
use domain::ids::CompanyId;
use eventlog::clock::{Clock, SystemClock};
use eventlog::envelope::{Cause, NewEvent, Position, StreamId, Version};
use eventlog::store::{Append, AppendError, EventStore};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::raw::noise;

/// How many write at once.
pub const N_WRITERS: usize = 16;
const N_SHARED: usize = 16;
/// One append in so many goes to a stream that all share.
const SHARED_EVERY: u64 = 8;
const APPENDS_PER_STREAM: u64 = 10;
const MOST_EVENTS: u64 = 10;
const PAYLOAD_BYTES: usize = 300;

/// What one writer was told.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// How many of its events were acknowledged: their numbers are 0 up to this.
    pub n_events: u64,
    /// For each acknowledged append the number of its last event, and the position answered.
    pub acknowledged: Vec<(u64, Position)>,
    /// Appends that were refused because another was first.
    pub n_refused: u64,
}

/// The writers at work.
pub struct Writing {
    tasks: Mutex<JoinSet<anyhow::Result<(usize, Written)>>>,
    last: AtomicU64,
    is_done: AtomicBool,
}

/// The id of a writer's event: who wrote it and which of its events it is.
pub fn event_id(writer: usize, nth: u64) -> Uuid {
    Uuid::from_u64_pair(writer as u64 + 1, nth)
}

/// Writer and number of an event; `None` for an id that no writer gives.
pub fn from_event_id(id: Uuid) -> Option<(usize, u64)> {
    let (writer, nth) = id.as_u64_pair();
    let writer = usize::try_from(writer.checked_sub(1)?).ok()?;
    (writer < N_WRITERS).then_some((writer, nth))
}

struct Shared {
    company: CompanyId,
    streams: Vec<(StreamId, AtomicU64)>,
    n_claimed: AtomicU64,
    wanted: u64,
    payload: Bytes,
}

/// Starts them, half on each log, until this many events are written at least.
pub fn start(stores: [Arc<dyn EventStore>; 2], wanted: u64) -> Writing {
    let company = CompanyId(new_id(&SystemClock));
    let shared = Arc::new(Shared {
        company,
        streams: (0..N_SHARED).map(|_| (new_stream(company), AtomicU64::new(0))).collect(),
        n_claimed: AtomicU64::new(0),
        wanted,
        payload: noise(PAYLOAD_BYTES).into(),
    });
    let mut tasks = JoinSet::new();
    for writer in 0..N_WRITERS {
        let (store, shared) = (Arc::clone(&stores[writer % stores.len()]), Arc::clone(&shared));
        tasks.spawn(async move { Ok((writer, write(&*store, &shared, writer).await?)) });
    }
    Writing { tasks: Mutex::new(tasks), last: AtomicU64::new(0), is_done: AtomicBool::new(false) }
}

impl Writing {
    /// Waits until all have written what they had to.
    ///
    /// # Errors
    /// An append failed for another reason than a conflict.
    pub async fn finish(&self) -> anyhow::Result<Vec<Written>> {
        let mut all = vec![Written::default(); N_WRITERS];
        let mut tasks = self.tasks.lock().await;
        while let Some(done) = tasks.join_next().await {
            let (writer, written) = done??;
            if let Some((_, position)) = written.acknowledged.last() {
                self.last.fetch_max(position.0, Relaxed);
            }
            all[writer] = written;
        }
        self.is_done.store(true, Release);
        Ok(all)
    }

    /// The last position acknowledged, once all is written.
    pub fn end(&self) -> Option<Position> {
        self.is_done.load(Acquire).then(|| Position(self.last.load(Relaxed)))
    }
}

fn new_stream(company: CompanyId) -> StreamId {
    StreamId::new(company, "candidate", new_id(&SystemClock))
}

async fn write(store: &dyn EventStore, shared: &Shared, writer: usize) -> anyhow::Result<Written> {
    let mut pen = Pen { store, payload: &shared.payload, writer, written: Written::default() };
    let (mut own, mut own_version) = (new_stream(shared.company), 0);
    for turn in writer as u64.. {
        let n = (turn * 7 + pen.written.n_events) % MOST_EVENTS + 1;
        if shared.n_claimed.fetch_add(n, Relaxed) >= shared.wanted {
            break;
        }
        if turn.is_multiple_of(SHARED_EVERY) {
            let place = usize::try_from(turn / SHARED_EVERY)? % shared.streams.len();
            let (stream, version) = &shared.streams[place];
            loop {
                match pen.append(stream, version.load(Relaxed), n).await? {
                    Ok(reached) => {
                        version.fetch_max(reached, Relaxed);
                        break;
                    }
                    Err(found) => version.fetch_max(found, Relaxed),
                };
            }
        } else {
            if turn.is_multiple_of(APPENDS_PER_STREAM) {
                (own, own_version) = (new_stream(shared.company), 0);
            }
            match pen.append(&own, own_version, n).await? {
                Ok(version) => own_version = version,
                Err(found) => bail!("a stream of one writer alone was found at version {found}"),
            }
        }
    }
    Ok(pen.written)
}

/// What a writer writes with.
struct Pen<'a> {
    store: &'a dyn EventStore,
    payload: &'a Bytes,
    writer: usize,
    written: Written,
}

impl Pen<'_> {
    /// Appends the writer's next events; answers the stream's new version, or the one it was found
    /// at when another was first. What was refused is written again under the same ids, so that a
    /// trace of it would be read twice.
    async fn append(
        &mut self,
        stream: &StreamId,
        expected: u64,
        n: u64,
    ) -> anyhow::Result<Result<u64, u64>> {
        let first = self.written.n_events;
        let command_id = new_id(&SystemClock);
        let append = Append {
            stream: stream.clone(),
            expected: Version(expected),
            guards: vec![],
            claims: vec![],
            keys: vec![],
            cause: Cause {
                command_id,
                fingerprint: vec![7; 32],
                correlation_id: command_id,
                causation_id: None,
                actor: "system:writer".to_owned(),
                trace_parent: None,
            },
            events: (first..first + n).map(|nth| self.event(nth)).collect(),
        };
        match self.store.append(append).await {
            Ok(appended) => {
                self.written.n_events += n;
                self.written.acknowledged.push((first + n - 1, appended.position));
                Ok(Ok(appended.version.0))
            }
            Err(AppendError::Conflict { found }) => {
                self.written.n_refused += 1;
                Ok(Err(found.0))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn event(&self, nth: u64) -> NewEvent {
        NewEvent {
            event_id: event_id(self.writer, nth),
            name: "candidate.note_added".into(),
            schema_version: 1,
            occurred_at: SystemClock.now(),
            payload: self.payload.clone(),
        }
    }
}
