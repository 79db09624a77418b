//! Lets the tree grow beside the appends, and signs checkpoints over it.
//!
//! A pass reads what the log has past the tree's size and writes the tiles in one transaction, under a
//! lock of the database: whenever it dies, the tree is whole at its old or its new size, and any
//! process goes on from there. Before anything is signed, the tree is held against the checkpoint that
//! was signed last.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use super::keys::{Keys, Lock, lock};
use super::merkle::{Hash, Node, Nodes, leaf_data, leaf_hash};
use super::note::{self, Note, PublicKey, SigningKey};
use super::shelf::{self, LogKey, ProofError, Shelf, SignedCheckpoint, TILE_DAMAGED, stored};
use super::statement::Checkpoint;
use super::tiles::{Edge, TileId};
use crate::envelope::{Position, StoredEvent};
use crate::fail_point::FailPoint;
use crate::store::{EventStore, Filter};
use crate::vault::MasterKey;

/// Events that one transaction adds.
const BATCH: usize = 512;
/// Between two passes: checkpoints are a minute apart, so the tree need not hurry.
const PAUSE: Duration = Duration::from_secs(1);

/// How far one pass came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grown {
    /// The tree has so many events, and the log more.
    Behind(u64),
    /// The tree has so many events, and the log had no more.
    UpToDate(u64),
    /// Another process is at it.
    Busy,
}

/// Builds the tree and signs. Any number of processes may have one.
#[derive(Clone)]
pub struct Prover {
    store: Arc<dyn EventStore>,
    pool: PgPool,
    keys: Keys,
    fail_point: FailPoint,
}

/// Everything an export is signed with, from one moment.
pub(super) struct Signer {
    pub(super) latest: SignedCheckpoint,
    pub(super) keys: Vec<LogKey>,
    pub(super) key: SigningKey,
}

impl Prover {
    /// A prover of this log. The fail point is passed at `proof.before_commit`,
    /// `proof.after_commit`, `proof.before_signed`, `proof.after_signed` and `proof.before_rotated`.
    #[must_use]
    pub fn new(
        store: Arc<dyn EventStore>,
        pool: PgPool,
        master: MasterKey,
        fail_point: FailPoint,
    ) -> Self {
        let keys = Keys { pool: pool.clone(), master };
        Self { store, pool, keys, fail_point }
    }

    /// Gives the log its name and its first key, if it has none. An empty `origin` leaves the name to
    /// us.
    ///
    /// # Errors
    /// [`ProofError::Named`] when it has another name already, [`ProofError::NotThere`] for a log in a
    /// server of its own or in memory, else see [`ProofError`].
    pub async fn prepare(&self, origin: &str) -> Result<(), ProofError> {
        if !self.store.capabilities().in_database {
            return Err(ProofError::NotThere("only a log in the database can be proven"));
        }
        self.keys.prepare(origin).await
    }

    /// What is stored.
    #[must_use]
    pub fn shelf(&self) -> Shelf {
        Shelf::new(self.pool.clone())
    }

    /// The log that is proven.
    pub(super) fn store(&self) -> &dyn EventStore {
        &*self.store
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Adds the next events of the log to the tree.
    ///
    /// # Errors
    /// [`ProofError::Broken`] when log and tree contradict each other, else see [`ProofError`].
    pub async fn grow(&self) -> Result<Grown, ProofError> {
        self.grow_by(Lock::Try).await
    }

    async fn grow_by(&self, how: Lock) -> Result<Grown, ProofError> {
        let mut tx = self.pool.begin().await?;
        // The tree can be made again from the log. What is signed later is behind it in the same
        // write-ahead log, so no checkpoint outlives its tiles.
        sqlx::query("set local synchronous_commit = off").execute(&mut *tx).await?;
        if !lock(&mut tx, how).await? {
            return Ok(Grown::Busy);
        }
        let mut edge = read_edge(&mut tx).await?;
        let size = edge.size();
        // From the last event of the tree on, which must still be the one that was taken in.
        let after = Position(size.saturating_sub(1));
        let page = self.store.read_log(after, &Filter::default(), BATCH + 1).await?;
        if page.head.0 < size {
            return Err(ProofError::Broken("the tree has more events than the log"));
        }
        let (known, new) = page.events.split_at(page.events.len().min(usize::from(size > 0)));
        check_end(&mut tx, size, known.first()).await?;
        for event in new {
            add(&mut edge, event)?;
        }
        write(&mut tx, &mut edge).await?;
        (self.fail_point)("proof.before_commit");
        tx.commit().await?;
        (self.fail_point)("proof.after_commit");
        let lag = page.head.0.saturating_sub(edge.size());
        metrics::gauge!("colloquy_proof_lag_events").set(to_float(lag));
        Ok(if lag > 0 { Grown::Behind(edge.size()) } else { Grown::UpToDate(edge.size()) })
    }

    /// Signs a checkpoint as of now, after bringing the tree up to date. Answers the newest one.
    ///
    /// # Errors
    /// [`ProofError::Broken`] when the tree contradicts the checkpoint signed last; then nothing is
    /// signed. Else see [`ProofError`].
    pub async fn checkpoint(&self) -> Result<SignedCheckpoint, ProofError> {
        let now = sqlx::query_scalar("select clock_timestamp()").fetch_one(&self.pool).await?;
        // Passes the order's lock, so nothing is committed later that was recorded until now.
        let (reached, is_final) = self.store.position_at(now).await?;
        if !is_final {
            return Err(ProofError::ClockBehind);
        }
        while let Grown::Behind(size) = self.grow_by(Lock::Wait).await? {
            if size >= reached.0 {
                break;
            }
        }
        let mut tx = self.pool.begin().await?;
        lock(&mut tx, Lock::Wait).await?;
        if let Some(last) = check_last(&mut tx).await? {
            if last.checkpoint.signed_at >= now {
                // Somebody else was faster, or the clock was set back: the newest one stands.
                return Ok(last);
            }
            if last.checkpoint.size > reached.0 {
                return Err(ProofError::Broken("the log is shorter than a signed checkpoint"));
            }
        }
        let key = self.keys.current(&mut tx).await?;
        let checkpoint = Checkpoint {
            origin: key.public().name().to_owned(),
            size: reached.0,
            root: shelf::root(&mut tx, reached.0).await?,
            signed_at: now,
        };
        let signed = insert(&mut tx, checkpoint, &[&key]).await?;
        (self.fail_point)("proof.before_signed");
        tx.commit().await?;
        (self.fail_point)("proof.after_signed");
        Ok(signed)
    }

    /// Lets a new key sign from now on. The old one introduces it, and both sign the same checkpoint.
    ///
    /// # Errors
    /// See [`Prover::checkpoint`].
    pub async fn rotate_key(&self) -> Result<SignedCheckpoint, ProofError> {
        self.checkpoint().await?;
        let mut tx = self.pool.begin().await?;
        lock(&mut tx, Lock::Wait).await?;
        let last = check_last(&mut tx).await?;
        let last = last.ok_or(ProofError::Broken("a signed checkpoint is gone"))?;
        let (old, new) = self.keys.rotate(&mut tx).await?;
        let signed = insert(&mut tx, last.checkpoint, &[&new, &old]).await?;
        (self.fail_point)("proof.before_rotated");
        tx.commit().await?;
        Ok(signed)
    }

    /// A fresh checkpoint with the keys that go with it.
    pub(super) async fn signer(&self) -> Result<Signer, ProofError> {
        self.checkpoint().await?;
        let mut tx = self.pool.begin().await?;
        lock(&mut tx, Lock::Wait).await?;
        let latest = check_last(&mut tx).await?;
        Ok(Signer {
            latest: latest.ok_or(ProofError::Broken("a signed checkpoint is gone"))?,
            keys: shelf::keys(&mut tx).await?,
            key: self.keys.current(&mut tx).await?,
        })
    }

    /// Brings the tree up to date, and signs if the newest checkpoint is older than `every` and the
    /// log has grown since.
    async fn pass(&self, every: Duration) -> Result<(), ProofError> {
        let size = loop {
            match self.grow().await? {
                Grown::Behind(_) => {}
                Grown::UpToDate(size) => break size,
                Grown::Busy => return Ok(()),
            }
        };
        let newest: Option<(i64, f64)> = sqlx::query_as(
            "select size, extract(epoch from clock_timestamp() - signed_at)::float8
               from proof_checkpoint order by checkpoint_number desc limit 1",
        )
        .fetch_optional(&self.pool)
        .await?;
        let is_due = match newest {
            None => size > 0,
            Some((signed, age)) => {
                metrics::gauge!("colloquy_proof_checkpoint_age_seconds").set(age);
                stored(size) > signed && age >= every.as_secs_f64()
            }
        };
        if is_due {
            self.checkpoint().await?;
        }
        metrics::gauge!("colloquy_proof_broken").set(0.0);
        Ok(())
    }
}

/// Builds and signs until it is told to stop. What is broken is an alarm, the gauge
/// `colloquy_proof_broken`, and is looked at again and again; nothing is signed meanwhile.
pub async fn run(prover: Prover, every: Duration, stop: CancellationToken) {
    let mut complained = None;
    loop {
        let Some(outcome) = stop.run_until_cancelled(prover.pass(every)).await else { return };
        match outcome {
            Ok(()) => complained = None,
            Err(error) => {
                if matches!(error, ProofError::Broken(_)) {
                    metrics::gauge!("colloquy_proof_broken").set(1.0);
                }
                if complained.as_ref() != Some(&error) {
                    tracing::error!(%error, "the log's proof does not go on");
                }
                complained = Some(error);
            }
        }
        let pause = stop.run_until_cancelled(tokio::time::sleep(PAUSE));
        if pause.await.is_none() {
            return;
        }
    }
}

async fn read_edge(connection: &mut PgConnection) -> Result<Edge, ProofError> {
    let size = shelf::size(connection).await?;
    let tiles = shelf::read_tiles(connection, &Edge::tiles(size)).await?;
    Edge::read(size, &tiles).map_err(|_| TILE_DAMAGED)
}

/// Whether the log's event at the end of the tree is the one that the tree has there. It is another
/// one if the log lost its end, as by a restore, and has grown anew.
async fn check_end(
    connection: &mut PgConnection,
    size: u64,
    event: Option<&StoredEvent>,
) -> Result<(), ProofError> {
    let Some(index) = size.checked_sub(1) else { return Ok(()) };
    let last = Node { level: 0, index };
    let tiles = shelf::read_tiles(connection, &[TileId::of(last)]).await?;
    let leaf = tiles.node(last).ok_or(TILE_DAMAGED)?;
    let is_same = event.is_some_and(|event| event.position.0 == size && leaf_of(event) == leaf);
    match is_same {
        true => Ok(()),
        false => Err(ProofError::Broken("the log's end is another one than the tree's")),
    }
}

fn leaf_of(event: &StoredEvent) -> Hash {
    leaf_hash(&leaf_data(event.position, event.recorded_at, event.hash))
}

fn add(edge: &mut Edge, event: &StoredEvent) -> Result<(), ProofError> {
    if event.position.0 != edge.size() + 1 {
        return Err(ProofError::Broken("the log's positions have a gap"));
    }
    if !event.is_intact() {
        // It goes in as it was hashed: so every export shows that its bytes are others.
        metrics::counter!("colloquy_proof_damaged_events_total").increment(1);
        tracing::error!(position = %event.position, "an event is not what was hashed");
    }
    edge.push(leaf_of(event));
    Ok(())
}

async fn write(connection: &mut PgConnection, edge: &mut Edge) -> Result<(), ProofError> {
    let changed = edge.take_changed();
    if changed.is_empty() {
        return Ok(());
    }
    let (mut levels, mut indexes, mut hashes) = (vec![], vec![], vec![]);
    for (tile, bytes) in changed {
        levels.push(i16::from(tile.level));
        indexes.push(stored(tile.index));
        hashes.push(bytes);
    }
    sqlx::query(
        "insert into proof_tile (level, index, hashes)
         select * from unnest($1::smallint[], $2::bigint[], $3::bytea[])
             on conflict (level, index) do update set hashes = excluded.hashes",
    )
    .bind(levels)
    .bind(indexes)
    .bind(hashes)
    .execute(connection)
    .await?;
    Ok(())
}

/// The checkpoint signed last, if the tree still has its root and a key of the log has signed it.
async fn check_last(connection: &mut PgConnection) -> Result<Option<SignedCheckpoint>, ProofError> {
    let Some(last) = shelf::latest(connection).await? else { return Ok(None) };
    let keys = shelf::keys(connection).await?;
    let note =
        Note::parse(&last.note).map_err(|_| ProofError::Broken("a checkpoint is damaged"))?;
    let is_signed = keys.iter().any(|key| note.is_signed_by(&key.public));
    if !is_signed || note.text != last.checkpoint.text() {
        return Err(ProofError::Broken("a checkpoint is not the one that was signed"));
    }
    let Checkpoint { size, root, .. } = last.checkpoint;
    if shelf::size(connection).await? < size || shelf::root(connection, size).await? != root {
        return Err(ProofError::Broken("the tree does not have the root that was signed"));
    }
    Ok(Some(last))
}

async fn insert(
    connection: &mut PgConnection,
    checkpoint: Checkpoint,
    keys: &[&SigningKey],
) -> Result<SignedCheckpoint, ProofError> {
    let note = note::sign(&checkpoint.text(), keys);
    sqlx::query(
        "insert into proof_checkpoint (size, root, signed_at, note) values ($1, $2, $3, $4)",
    )
    .bind(stored(checkpoint.size))
    .bind(checkpoint.root.as_slice())
    .bind(checkpoint.signed_at)
    .bind(&note)
    .execute(connection)
    .await?;
    let signers: Vec<&PublicKey> = keys.iter().map(|key| key.public()).collect();
    tracing::info!(size = checkpoint.size, n_signers = signers.len(), "a checkpoint is signed");
    Ok(SignedCheckpoint { checkpoint, note })
}

#[expect(clippy::cast_precision_loss, reason = "a gauge need not be exact beyond 2^53")]
fn to_float(number: u64) -> f64 {
    number as f64
}
