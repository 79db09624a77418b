//! Fills generations from the log: one task reads, one opens, and what is opened is folded and written
//! in parallel, disjoint streams by hash, for all models at once.
//!
//! Each piece of the log is written together with the versions that it brings its streams to, and the
//! checkpoint follows. Whoever is killed goes on there, and does again what is not known to be done.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use eventlog::applied;
use eventlog::codec::Codec;
use eventlog::consume::{self, Consumer};
use eventlog::envelope::{Position, StoredEvent, StreamId};
use eventlog::fail_point::FailPoint;
use eventlog::feed::{Batch, Checkpoint, LOG_SOURCE};
use eventlog::store::{EventStore, Filter, LogPage};
use sqlx::PgPool;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bulk::{Bulk, Streams};
use crate::generation::Generation;
use crate::model::Model;
use crate::rebuild::{Progress, RebuildError};

/// Events read from the log at once.
const PAGE: usize = 16_384;
/// Least events of one model in a piece that are worth a task of their own.
const SHARE: usize = 1024;

/// A generation that is filled or catches up.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) model: Model,
    pub(crate) generation: Generation,
    bulk: Arc<dyn Bulk>,
    consumer: Arc<dyn Consumer>,
}

/// What filling needs.
pub(crate) struct Filler {
    pub(crate) pool: PgPool,
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) codec: Codec,
    pub(crate) fail_point: FailPoint,
    /// Most tasks that write at once.
    pub(crate) n_workers: usize,
    pub(crate) stop: CancellationToken,
}

/// A piece of the log, opened.
struct Piece {
    streams: Arc<Streams>,
    /// Events of streams of which one cannot be opened.
    unreadable: Vec<StoredEvent>,
    n_events: usize,
    next: Position,
    head: Position,
}

impl Filler {
    pub(crate) fn target(&self, model: &Model, generation: Generation) -> Target {
        let (pool, codec) = (self.pool.clone(), self.codec.clone());
        let consumer =
            model.consumer(&generation, pool.clone(), codec, Arc::clone(&self.fail_point));
        let bulk = model.bulk(generation.clone(), pool);
        Target { model: *model, generation, bulk, consumer }
    }

    /// Brings the targets from their checkpoints to the head of the log.
    pub(crate) async fn run(
        &self,
        targets: &[Target],
        progress: &watch::Sender<Progress>,
    ) -> Result<(), RebuildError> {
        let mut from = HashMap::new();
        let mut conn = self.pool.acquire().await?;
        for Target { generation: Generation { consumer, .. }, .. } in targets {
            let next = applied::load_checkpoint(&mut conn, consumer, LOG_SOURCE, 0).await?;
            from.insert(consumer.clone(), Position(next.unwrap_or(0)));
        }
        drop(conn);
        let Some(after) = from.values().min().copied() else {
            return Ok(());
        };
        let mut tasks = JoinSet::new();
        let (pages, waiting) = mpsc::channel(1);
        let (pieces, mut opened) = mpsc::channel(1);
        let wanted: HashSet<&'static str> =
            targets.iter().flat_map(|target| target.model.aggregates).copied().collect();
        tasks.spawn(read(Arc::clone(&self.store), wanted, after, pages));
        tasks.spawn(open(self.codec.clone(), self.n_workers, waiting, pieces));
        while let Some(piece) = opened.recv().await {
            if self.stop.is_cancelled() {
                return Err(RebuildError::Stopped);
            }
            let due: Vec<&Target> =
                targets.iter().filter(|t| from[&t.generation.consumer] < piece.next).collect();
            self.write(&due, &piece).await?;
            // A stop may have left some of the piece undone.
            if self.stop.is_cancelled() {
                return Err(RebuildError::Stopped);
            }
            (self.fail_point)("rebuild.before_checkpoint");
            self.save(&due, piece.next).await?;
            (self.fail_point)("rebuild.after_checkpoint");
            progress.send_modify(|progress| {
                progress.position = piece.next.0;
                progress.head = progress.head.max(piece.head.0);
                progress.n_events += piece.n_events as u64;
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|_| RebuildError::Unavailable)??;
        }
        Ok(())
    }

    async fn write(&self, targets: &[&Target], piece: &Piece) -> Result<(), RebuildError> {
        let permits = Arc::new(Semaphore::new(self.n_workers.max(1)));
        let mut tasks = JoinSet::new();
        for target in targets {
            for share in shares(&target.model, &piece.streams, self.n_workers) {
                let (bulk, streams) = (Arc::clone(&target.bulk), Arc::clone(&piece.streams));
                let permits = Arc::clone(&permits);
                let target = (*target).clone();
                tasks.spawn(async move {
                    let _permit = permits.acquire().await;
                    Ok::<_, sqlx::Error>((target, bulk.write(&streams, share).await?))
                });
            }
        }
        let mut left = vec![];
        while let Some(written) = tasks.join_next().await {
            let (target, streams) = written.map_err(|_| RebuildError::Unavailable)??;
            let of = |i: usize| piece.streams[i].1.iter().map(|recorded| recorded.stored.clone());
            let events: Vec<StoredEvent> = streams.into_iter().flat_map(of).collect();
            left.push((target, events));
        }
        for target in targets {
            let wanted = |event: &&StoredEvent| target.model.listens_to(&event.stream.aggregate);
            left.push((
                (*target).clone(),
                piece.unreadable.iter().filter(wanted).cloned().collect(),
            ));
        }
        for (target, events) in left.into_iter().filter(|(_, events)| !events.is_empty()) {
            let batch = Batch { events, checkpoints: vec![] };
            consume::deal_with(&*target.consumer, &*self.store, batch, &self.stop).await;
        }
        Ok(())
    }

    async fn save(&self, targets: &[&Target], next: Position) -> Result<(), RebuildError> {
        let checkpoint = Checkpoint { source: LOG_SOURCE.to_owned(), partition: 0, next: next.0 };
        let mut tx = self.pool.begin().await?;
        sqlx::query("set local synchronous_commit to off").execute(&mut *tx).await?;
        for target in targets {
            let consumer = &target.generation.consumer;
            applied::save_checkpoints(&mut tx, consumer, std::slice::from_ref(&checkpoint)).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// The streams that a model listens to, shared out among some workers by their hash.
fn shares(model: &Model, streams: &Streams, n_workers: usize) -> Vec<Vec<usize>> {
    let wanted: Vec<usize> =
        (0..streams.len()).filter(|i| model.listens_to(&streams[*i].0.aggregate)).collect();
    let n_events: usize = wanted.iter().map(|i| streams[*i].1.len()).sum();
    let n_shares = n_events.div_ceil(SHARE).clamp(1, n_workers.max(1));
    let mut shares = vec![vec![]; n_shares];
    let hash = BuildHasherDefault::<DefaultHasher>::default();
    for i in wanted {
        let share = hash.hash_one(&streams[i].0) % n_shares as u64;
        shares[usize::try_from(share).unwrap_or_default()].push(i);
    }
    shares.retain(|share| !share.is_empty());
    shares
}

/// Reads the log up to its head. Ends early when nobody wants more.
async fn read(
    store: Arc<dyn EventStore>,
    wanted: HashSet<&'static str>,
    mut after: Position,
    pages: mpsc::Sender<LogPage>,
) -> Result<(), RebuildError> {
    // The log is read in one order, and apart by aggregate it would have to be merged again for each
    // page: only one aggregate alone is asked for by name.
    let one = wanted.iter().copied().filter(|_| wanted.len() == 1);
    let filter = Filter::of_aggregates(one);
    loop {
        let page = store.read_log(after, &filter, PAGE).await;
        let mut page = page.map_err(|_| RebuildError::Unavailable)?;
        if page.next == after {
            return Ok(());
        }
        after = page.next;
        page.events.retain(|event| wanted.contains(&*event.stream.aggregate));
        if pages.send(page).await.is_err() {
            return Ok(());
        }
    }
}

/// Opens what was read, in parallel.
async fn open(
    codec: Codec,
    n_workers: usize,
    mut pages: mpsc::Receiver<LogPage>,
    pieces: mpsc::Sender<Piece>,
) -> Result<(), RebuildError> {
    while let Some(LogPage { mut events, next, head }) = pages.recv().await {
        let n_events = events.len();
        let share = n_events.div_ceil(n_workers.max(1)).max(SHARE);
        let mut tasks = JoinSet::new();
        for i in 0.. {
            let rest = events.split_off(share.min(events.len()));
            let (codec, part) = (codec.clone(), std::mem::replace(&mut events, rest));
            if part.is_empty() {
                break;
            }
            tasks.spawn(async move { Ok::<_, RebuildError>((i, opened(&codec, part).await?)) });
        }
        let mut parts = vec![];
        while let Some(opened) = tasks.join_next().await {
            parts.push(opened.map_err(|_| RebuildError::Unavailable)??);
        }
        parts.sort_by_key(|(i, _)| *i);
        let mut streams: Streams = vec![];
        let mut places: HashMap<StreamId, usize> = HashMap::new();
        let mut bad: HashSet<StreamId> = HashSet::new();
        let mut unreadable = vec![];
        for result in parts.into_iter().flat_map(|(_, opened)| opened) {
            match result {
                Ok(recorded) => {
                    let stream = &recorded.stored.stream;
                    let place = places.get(stream).copied().unwrap_or_else(|| {
                        streams.push((stream.clone(), vec![]));
                        places.insert(stream.clone(), streams.len() - 1);
                        streams.len() - 1
                    });
                    streams[place].1.push(recorded);
                }
                Err(stored) => {
                    bad.insert(stored.stream.clone());
                    unreadable.push(*stored);
                }
            }
        }
        if !bad.is_empty() {
            let (aside, rest) =
                streams.into_iter().partition::<Streams, _>(|(stream, _)| bad.contains(stream));
            streams = rest;
            unreadable.extend(aside.into_iter().flat_map(|(_, e)| e).map(|e| e.stored));
        }
        let piece = Piece { streams: Arc::new(streams), unreadable, n_events, next, head };
        if pieces.send(piece).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

type Opened = Vec<Result<eventlog::codec::Recorded, Box<StoredEvent>>>;

/// Opens some events, however long their keys cannot be had: it is not the events' fault.
async fn opened(codec: &Codec, events: Vec<StoredEvent>) -> Result<Opened, RebuildError> {
    for pause_ms in [100, 400, 1600, 5000] {
        let opened = codec.open_each(events.clone()).await;
        let is_transient = match &opened {
            Ok(opened) => {
                opened.iter().any(|r| matches!(r, Err((_, error)) if error.is_transient()))
            }
            Err(_) => true,
        };
        match opened {
            Ok(opened) if !is_transient => {
                let unboxed = opened.into_iter().map(|r| r.map_err(|(e, _)| Box::new(e)));
                return Ok(unboxed.collect());
            }
            _ => tokio::time::sleep(Duration::from_millis(pause_ms)).await,
        }
    }
    Err(RebuildError::Unavailable)
}
