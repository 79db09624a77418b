//! What is stored of the tree, read: checkpoints, proofs, public keys. Needs no private key.

use std::ops::Range;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, Row};

use super::export::KeyChain;
use super::merkle::{self, Hash, nodes_of, range_hash};
use super::note::PublicKey;
use super::statement::Checkpoint;
use super::tiles::{TileId, Tiles};
use crate::envelope::Position;
use crate::store::ReadError;
use crate::vault::VaultError;

/// Why something is not proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The database or the log cannot be reached; trying again is right.
    #[error("the proof cannot be reached")]
    Unavailable,
    /// The signing key cannot be read.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Log, tree and signed checkpoints contradict each other: an alarm. Nothing is signed.
    #[error("the log's proof is broken: {0}")]
    Broken(&'static str),
    /// The log has a name already, which never changes.
    #[error("proof.origin: this log is called {0}, and that cannot change")]
    Named(String),
    /// The log cannot be called so.
    #[error("proof.origin: a name has no spaces and no plus signs")]
    BadName,
    /// The database's clock is behind what it was.
    #[error("the database's clock stands before what the log has recorded")]
    ClockBehind,
    /// What is asked for is not in the signed tree.
    #[error("{0}")]
    NotThere(&'static str),
}

impl From<sqlx::Error> for ProofError {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(%error, "the proof cannot be reached");
        Self::Unavailable
    }
}

impl From<ReadError> for ProofError {
    fn from(_: ReadError) -> Self {
        Self::Unavailable
    }
}

/// A tile is missing, damaged, or shorter than it was.
pub(super) const TILE_DAMAGED: ProofError = ProofError::Broken("a tile of the tree is damaged");

/// A checkpoint as it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What it states.
    pub checkpoint: Checkpoint,
    /// The note.
    pub note: String,
}

/// One of the log's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKey {
    /// 1, 2, 3 …; the highest signs.
    pub number: i32,
    /// Its public half.
    pub public: PublicKey,
    /// The note that introduced it; none for the first.
    pub introduction: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Reads the stored tree. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Shelf {
    pool: PgPool,
}

impl Shelf {
    /// The tree in this database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// How many events the tree has.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub async fn size(&self) -> Result<u64, ProofError> {
        size(&mut *self.pool.acquire().await?).await
    }

    /// The newest checkpoint; `None` before the first.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub async fn latest(&self) -> Result<Option<SignedCheckpoint>, ProofError> {
        latest(&mut *self.pool.acquire().await?).await
    }

    /// The log's keys in order; none before the log's first process that signs.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub async fn keys(&self) -> Result<Vec<LogKey>, ProofError> {
        keys(&mut *self.pool.acquire().await?).await
    }

    /// Proofs that these positions are in the tree of this size, in the order asked for.
    ///
    /// # Errors
    /// [`ProofError::NotThere`] for a position outside of that tree, else see [`ProofError`].
    pub async fn inclusion(
        &self,
        positions: &[Position],
        size: u64,
    ) -> Result<Vec<Vec<Hash>>, ProofError> {
        if positions.iter().any(|position| position.0 == 0 || position.0 > size) {
            return Err(ProofError::NotThere("the position is not in the signed tree"));
        }
        let paths: Vec<_> =
            positions.iter().map(|position| merkle::inclusion(position.0 - 1, size)).collect();
        let ranges: Vec<_> = paths.iter().flatten().cloned().collect();
        let tiles = tiles(&mut *self.pool.acquire().await?, &ranges).await?;
        let path = |ranges: &Vec<Range<u64>>| hashes(&tiles, ranges);
        paths.iter().map(path).collect()
    }

    /// Proof that the tree of size `new` begins with that of size `old`.
    ///
    /// # Errors
    /// [`ProofError::NotThere`] when `old` is above `new`, else see [`ProofError`].
    pub async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, ProofError> {
        if old > new {
            return Err(ProofError::NotThere("the older tree is larger than the signed one"));
        }
        let ranges = merkle::consistency(old, new);
        let tiles = tiles(&mut *self.pool.acquire().await?, &ranges).await?;
        hashes(&tiles, &ranges)
    }
}

/// The keys as an export lists them.
#[must_use]
pub fn key_chain(keys: &[LogKey]) -> KeyChain {
    KeyChain {
        first: keys.first().map(|key| key.public.to_string()).unwrap_or_default(),
        introductions: keys.iter().filter_map(|key| key.introduction.clone()).collect(),
    }
}

fn hashes(tiles: &Tiles, ranges: &[Range<u64>]) -> Result<Vec<Hash>, ProofError> {
    ranges.iter().map(|range| range_hash(tiles, range).ok_or(TILE_DAMAGED)).collect()
}

/// Root of the tree when it had this size.
pub(super) async fn root(connection: &mut PgConnection, size: u64) -> Result<Hash, ProofError> {
    let whole = 0..size;
    let tiles = tiles(connection, std::slice::from_ref(&whole)).await?;
    range_hash(&tiles, &whole).ok_or(TILE_DAMAGED)
}

/// The tiles from which the hashes of these subtrees are computed.
async fn tiles(connection: &mut PgConnection, ranges: &[Range<u64>]) -> Result<Tiles, ProofError> {
    let mut wanted: Vec<_> = ranges.iter().flat_map(nodes_of).map(TileId::of).collect();
    wanted.sort_unstable();
    wanted.dedup();
    read_tiles(connection, &wanted).await
}

pub(super) async fn read_tiles(
    connection: &mut PgConnection,
    wanted: &[TileId],
) -> Result<Tiles, ProofError> {
    let mut tiles = Tiles::default();
    if wanted.is_empty() {
        return Ok(tiles);
    }
    let levels: Vec<i16> = wanted.iter().map(|tile| i16::from(tile.level)).collect();
    let indexes: Vec<i64> = wanted.iter().map(|tile| stored(tile.index)).collect();
    let rows = sqlx::query(
        "select t.level, t.index, t.hashes from proof_tile t
           join unnest($1::smallint[], $2::bigint[]) w(level, index)
             on w.level = t.level and w.index = t.index",
    )
    .bind(levels)
    .bind(indexes)
    .fetch_all(connection)
    .await?;
    for row in rows {
        let (level, index): (i16, i64) = (row.try_get(0)?, row.try_get(1)?);
        let level = u8::try_from(level).map_err(|_| TILE_DAMAGED)?;
        tiles.extend([(TileId { level, index: counted(index) }, row.try_get(2)?)]);
    }
    Ok(tiles)
}

/// The tree's size: what its last tile of leaves says.
pub(super) async fn size(connection: &mut PgConnection) -> Result<u64, ProofError> {
    let size: Option<i64> = sqlx::query_scalar(
        "select index * 256 + octet_length(hashes) / 32 from proof_tile
          where level = 0 order by index desc limit 1",
    )
    .fetch_optional(connection)
    .await?;
    Ok(size.map_or(0, counted))
}

pub(super) async fn latest(
    connection: &mut PgConnection,
) -> Result<Option<SignedCheckpoint>, ProofError> {
    let row = sqlx::query(
        "select (select origin from proof_log), size, root, signed_at, note
           from proof_checkpoint order by checkpoint_number desc limit 1",
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let root: Vec<u8> = row.try_get(2)?;
    let checkpoint = Checkpoint {
        origin: row.try_get(0)?,
        size: counted(row.try_get(1)?),
        root: root.try_into().map_err(|_| ProofError::Broken("a checkpoint is damaged"))?,
        signed_at: row.try_get(3)?,
    };
    Ok(Some(SignedCheckpoint { checkpoint, note: row.try_get(4)? }))
}

pub(super) async fn keys(connection: &mut PgConnection) -> Result<Vec<LogKey>, ProofError> {
    let rows = sqlx::query(
        "select l.origin, k.key_number, k.public_key, k.introduction, k.created_at
           from proof_key k cross join proof_log l order by k.key_number",
    )
    .fetch_all(connection)
    .await?;
    let damaged = ProofError::Broken("a public key is damaged");
    let key = |row: &sqlx::postgres::PgRow| {
        let (origin, bytes): (&str, &[u8]) = (row.try_get(0)?, row.try_get(2)?);
        let bytes = bytes.try_into().map_err(|_| damaged.clone())?;
        Ok(LogKey {
            number: row.try_get(1)?,
            public: PublicKey::new(origin, bytes).map_err(|_| damaged.clone())?,
            introduction: row.try_get(3)?,
            created_at: row.try_get(4)?,
        })
    };
    rows.iter().map(key).collect()
}

/// As the database counts.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn counted(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
