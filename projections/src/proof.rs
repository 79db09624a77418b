//! Proof that events are in the log's signed tree, and what is published for checking it.

use std::time::Duration;

use eventlog::envelope::EventHash;
use eventlog::proof::merkle::{Hash, leaf_data, leaf_hash};
use eventlog::proof::shelf::{LogKey, ProofError, Shelf};

use crate::history::Entry;
use crate::query::{QueryError, Reads};

/// That one event is in the tree of a signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Index of its leaf: its position less one.
    pub leaf_index: u64,
    /// Hash of its leaf.
    pub leaf_hash: Hash,
    /// How many leaves the tree has.
    pub tree_size: u64,
    /// The siblings from the leaf up to the root, RFC 9162 section 2.1.3.
    pub path: Vec<Hash>,
    /// The checkpoint, a signed note.
    pub checkpoint: String,
}

/// A proof for each of these, all under the newest checkpoint; `None` for an event that is newer.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn of(reads: &Reads, entries: &[Entry]) -> Result<Vec<Option<Proof>>, QueryError> {
    let shelf = Shelf::new(reads.platform.clone());
    let Some(latest) = shelf.latest().await.map_err(unavailable)? else {
        return Ok(vec![None; entries.len()]);
    };
    let size = latest.checkpoint.size;
    let covered = entries.iter().map(|entry| entry.position).filter(|at| at.0 <= size);
    let paths = shelf.inclusion(&covered.collect::<Vec<_>>(), size).await.map_err(unavailable)?;
    let mut paths = paths.into_iter();
    let proof = |entry: &Entry| {
        let path = if entry.position.0 <= size { paths.next()? } else { return None };
        let hash: EventHash = entry.hash.parse().ok()?;
        Some(Proof {
            leaf_index: entry.position.0 - 1,
            leaf_hash: leaf_hash(&leaf_data(entry.position, entry.recorded_at, hash)),
            tree_size: size,
            path,
            checkpoint: latest.note.clone(),
        })
    };
    Ok(entries.iter().map(proof).collect())
}

/// What anybody may know of the log's proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The log's keys in order, the last of which signs.
    pub keys: Vec<LogKey>,
    /// The newest checkpoint, a signed note; none before the first.
    pub checkpoint: Option<String>,
}

/// How old an answer of [`published`] may be: everybody may ask.
pub const RECENT: Duration = Duration::from_secs(2);

/// The public keys and the newest checkpoint as they were at most two seconds ago, however many ask for
/// them. A checkpoint that is followed by another one stays true.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn published(reads: &Reads) -> Result<Published, QueryError> {
    let ask = async {
        let shelf = Shelf::new(reads.platform.clone());
        let keys = shelf.keys().await.map_err(unavailable)?;
        let checkpoint = shelf.latest().await.map_err(unavailable)?.map(|latest| latest.note);
        Ok(Published { keys, checkpoint })
    };
    reads.recent_proof.get(RECENT, ask).await
}

fn unavailable(error: ProofError) -> QueryError {
    if matches!(error, ProofError::Broken(_)) {
        tracing::error!(%error, "a proof cannot be given");
    }
    QueryError::Unavailable
}
