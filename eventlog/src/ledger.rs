//! Where each consumer that keeps no rows of its own has come: applied versions, checkpoints, and
//! parked streams. Reactors act first and note here afterwards that they did.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sqlx::PgPool;

use crate::applied::{self, Applied, Move};
use crate::envelope::{StreamId, Version};
use crate::feed::{Checkpoint, Checkpoints, FeedError};

/// The ledger cannot be reached at present; trying again is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger cannot be reached")]
pub struct LedgerError;

/// Remembers how far consumers have come. Every consumer has its own pages, by its name.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// How far the consumer has come in these streams; what is absent is at version 0.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn applied(
        &self,
        consumer: &str,
        streams: &[StreamId],
    ) -> Result<HashMap<StreamId, Applied>, LedgerError>;

    /// Moves applied versions by compare-and-set and saves checkpoints, all or nothing. `false` means
    /// that another worker moved one of the versions: nothing was changed.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing was changed.
    async fn advance(
        &self,
        consumer: &str,
        moves: &[Move],
        checkpoints: &[Checkpoint],
    ) -> Result<bool, LedgerError>;

    /// Parks a stream at a version that cannot be dealt with: its later events wait in the log until
    /// a person has looked.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn park(
        &self,
        consumer: &str,
        stream: &StreamId,
        version: Version,
        reason: &str,
    ) -> Result<(), LedgerError>;

    /// Parked streams of the consumer that are to be tried again.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn retries(&self, consumer: &str) -> Result<Vec<StreamId>, LedgerError>;

    /// A stream was tried again; it stays parked if it was parked anew meanwhile.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn retried(&self, consumer: &str, stream: &StreamId) -> Result<(), LedgerError>;

    /// Where the consumer is to go on in one partition of a source; `None` means from the earliest.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn checkpoint(
        &self,
        consumer: &str,
        source: &str,
        partition: i32,
    ) -> Result<Option<u64>, LedgerError>;
}

/// One consumer's checkpoints, as a feed wants them.
pub struct CheckpointsOf {
    ledger: Arc<dyn Ledger>,
    consumer: String,
}

impl CheckpointsOf {
    /// The checkpoints of `consumer` in `ledger`.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, consumer: &str) -> Self {
        Self { ledger, consumer: consumer.to_owned() }
    }
}

#[async_trait]
impl Checkpoints for CheckpointsOf {
    async fn load(&self, source: &str, partition: i32) -> Result<Option<u64>, FeedError> {
        let loaded = self.ledger.checkpoint(&self.consumer, source, partition).await;
        loaded.map_err(|LedgerError| FeedError)
    }
}

/// The ledger in Postgres.
#[derive(Clone)]
pub struct PostgresLedger(PgPool);

impl PostgresLedger {
    /// A ledger in this database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(pool)
    }
}

fn unreachable(error: sqlx::Error) -> LedgerError {
    tracing::warn!(%error, "the ledger cannot be reached");
    LedgerError
}

#[async_trait]
impl Ledger for PostgresLedger {
    async fn applied(
        &self,
        consumer: &str,
        streams: &[StreamId],
    ) -> Result<HashMap<StreamId, Applied>, LedgerError> {
        let mut conn = self.0.acquire().await.map_err(unreachable)?;
        applied::load(&mut conn, consumer, streams).await.map_err(unreachable)
    }

    async fn advance(
        &self,
        consumer: &str,
        moves: &[Move],
        checkpoints: &[Checkpoint],
    ) -> Result<bool, LedgerError> {
        let mut tx = self.0.begin().await.map_err(unreachable)?;
        if !moves.is_empty()
            && !applied::advance(&mut tx, consumer, moves).await.map_err(unreachable)?
        {
            tx.rollback().await.map_err(unreachable)?;
            return Ok(false);
        }
        if !checkpoints.is_empty() {
            let saved = applied::save_checkpoints(&mut tx, consumer, checkpoints).await;
            saved.map_err(unreachable)?;
        }
        // An unclear commit is no harm: the versions say at the next attempt whether it went through.
        tx.commit().await.map_err(unreachable)?;
        Ok(true)
    }

    async fn park(
        &self,
        consumer: &str,
        stream: &StreamId,
        version: Version,
        reason: &str,
    ) -> Result<(), LedgerError> {
        let mut conn = self.0.acquire().await.map_err(unreachable)?;
        applied::park(&mut conn, consumer, stream, version, reason).await.map_err(unreachable)
    }

    async fn retries(&self, consumer: &str) -> Result<Vec<StreamId>, LedgerError> {
        let mut conn = self.0.acquire().await.map_err(unreachable)?;
        applied::retries(&mut conn, consumer).await.map_err(unreachable)
    }

    async fn retried(&self, consumer: &str, stream: &StreamId) -> Result<(), LedgerError> {
        let mut conn = self.0.acquire().await.map_err(unreachable)?;
        applied::retried(&mut conn, consumer, stream).await.map_err(unreachable)
    }

    async fn checkpoint(
        &self,
        consumer: &str,
        source: &str,
        partition: i32,
    ) -> Result<Option<u64>, LedgerError> {
        let mut conn = self.0.acquire().await.map_err(unreachable)?;
        let loaded = applied::load_checkpoint(&mut conn, consumer, source, partition).await;
        loaded.map_err(unreachable)
    }
}

#[derive(Default)]
struct Pages {
    applied: HashMap<(String, StreamId), Applied>,
    checkpoints: HashMap<(String, String, i32), u64>,
    parked: HashMap<(String, StreamId), (Version, String)>,
    retries: HashSet<(String, StreamId)>,
}

/// The ledger in memory: for tests.
#[derive(Default)]
pub struct MemoryLedger(Mutex<Pages>);

impl MemoryLedger {
    /// Where and why a consumer parked a stream, if it did.
    #[must_use]
    pub fn parked(&self, consumer: &str, stream: &StreamId) -> Option<(Version, String)> {
        self.pages().parked.get(&(consumer.to_owned(), stream.clone())).cloned()
    }

    /// Asks for another try of a parked stream.
    pub fn retry(&self, consumer: &str, stream: &StreamId) {
        let mut pages = self.pages();
        let key = (consumer.to_owned(), stream.clone());
        pages.applied.entry(key.clone()).or_default().parked = false;
        pages.retries.insert(key);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn applied(
        &self,
        consumer: &str,
        streams: &[StreamId],
    ) -> Result<HashMap<StreamId, Applied>, LedgerError> {
        let pages = self.pages();
        let of = |stream: &StreamId| {
            let applied = pages.applied.get(&(consumer.to_owned(), stream.clone()))?;
            Some((stream.clone(), applied.clone()))
        };
        Ok(streams.iter().filter_map(of).collect())
    }

    async fn advance(
        &self,
        consumer: &str,
        moves: &[Move],
        checkpoints: &[Checkpoint],
    ) -> Result<bool, LedgerError> {
        let mut pages = self.pages();
        let key = |stream: &StreamId| (consumer.to_owned(), stream.clone());
        let fits = |m: &Move| {
            pages.applied.get(&key(&m.stream)).map_or(Version(0), |applied| applied.version)
                == m.from
        };
        // Like the table, which takes a first row from wherever its writer had come.
        if !moves.iter().all(|m| fits(m) || !pages.applied.contains_key(&key(&m.stream))) {
            return Ok(false);
        }
        for m in moves {
            pages.applied.entry(key(&m.stream)).or_default().version = m.to;
        }
        for checkpoint in checkpoints {
            let at = (consumer.to_owned(), checkpoint.source.clone(), checkpoint.partition);
            pages.checkpoints.insert(at, checkpoint.next);
        }
        Ok(true)
    }

    async fn park(
        &self,
        consumer: &str,
        stream: &StreamId,
        version: Version,
        reason: &str,
    ) -> Result<(), LedgerError> {
        let mut pages = self.pages();
        let key = (consumer.to_owned(), stream.clone());
        pages.applied.entry(key.clone()).or_default().parked = true;
        pages.retries.remove(&key);
        pages.parked.insert(key, (version, reason.to_owned()));
        Ok(())
    }

    async fn retries(&self, consumer: &str) -> Result<Vec<StreamId>, LedgerError> {
        let pages = self.pages();
        let of_consumer = pages.retries.iter().filter(|(name, _)| name == consumer);
        Ok(of_consumer.map(|(_, stream)| stream.clone()).collect())
    }

    async fn retried(&self, consumer: &str, stream: &StreamId) -> Result<(), LedgerError> {
        let key = (consumer.to_owned(), stream.clone());
        let mut pages = self.pages();
        if pages.retries.remove(&key) {
            pages.parked.remove(&key);
        }
        Ok(())
    }

    async fn checkpoint(
        &self,
        consumer: &str,
        source: &str,
        partition: i32,
    ) -> Result<Option<u64>, LedgerError> {
        let key = (consumer.to_owned(), source.to_owned(), partition);
        Ok(self.pages().checkpoints.get(&key).copied())
    }
}
