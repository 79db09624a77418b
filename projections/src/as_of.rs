//! A stream's rows as they stood at a version or a time: the same fold, run in memory.

use chrono::{DateTime, Utc};
use eventlog::codec::{CodecError, Recorded};
use eventlog::envelope::{Position, StoredEvent, StreamId, Version};

use crate::projector::{Projector, StreamRows, fold_into};
use crate::query::Reads;

/// Events read at once.
const PAGE: usize = 500;

/// A point in a stream's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// Right after this version, which must exist.
    Version(Version),
    /// At this time by the log's clock; not in the future.
    Time(DateTime<Utc>),
}

/// Rows as they stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past<R> {
    /// The rows in the order of their keys; none where there was nothing yet.
    pub rows: Vec<R>,
    /// The stream's version then; 0 where there was nothing yet.
    pub version: Version,
    /// The position that the point resolved to: the greatest recorded at or before a time, or the
    /// version's own.
    pub position: Position,
    /// Whether the same question will always have this answer.
    pub is_final: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AsOfError {
    /// The time has not come.
    #[error("the time asked for is in the future")]
    InFuture,
    /// The stream has no such version.
    #[error("there is no such version")]
    UnknownVersion,
    /// An event cannot be read by this program.
    #[error("an event of the history cannot be read: {0}")]
    Unreadable(CodecError),
    /// The log or the vault cannot be reached.
    #[error("the log cannot be reached")]
    Unavailable,
}

impl AsOfError {
    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InFuture => "AS_OF_IN_FUTURE",
            Self::UnknownVersion => "AS_OF_VERSION_UNKNOWN",
            Self::Unreadable(_) => "HISTORY_UNREADABLE",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

impl From<CodecError> for AsOfError {
    fn from(error: CodecError) -> Self {
        if error.is_transient() { Self::Unavailable } else { Self::Unreadable(error) }
    }
}

/// The rows of `stream` in the model `P` as they stood. Whether the caller may see the stream is for
/// the caller to know. What only a query of its own may show is left out.
///
/// # Errors
/// See [`AsOfError`].
pub async fn rows_as_of<P: Projector>(
    reads: &Reads,
    stream: &StreamId,
    as_of: AsOf,
) -> Result<Past<P::Row>, AsOfError> {
    match as_of {
        AsOf::Version(version) => {
            let events = read(reads, stream, |event| event.version <= version).await?;
            let last = events.last().filter(|last| last.version == version);
            let position = last.map(|last| last.position).ok_or(AsOfError::UnknownVersion)?;
            let rows = fold_all::<P>(reads, events).await?;
            Ok(Past { rows, version, position, is_final: true })
        }
        AsOf::Time(time) => {
            if time > reads.clock.now() {
                return Err(AsOfError::InFuture);
            }
            // Before there was anything; databases do not know every date that can be written.
            let (position, is_final) = if time < DateTime::UNIX_EPOCH {
                (Position(0), true)
            } else {
                let resolved = reads.store.position_at(time).await;
                resolved.map_err(|_| AsOfError::Unavailable)?
            };
            let events = read(reads, stream, |event| event.position <= position).await?;
            let version = events.last().map_or(Version(0), |last| last.version);
            let rows = fold_all::<P>(reads, events).await?;
            Ok(Past { rows, version, position, is_final })
        }
    }
}

/// The rows of `stream` right after `version`: the entity in the answer to the command that made it.
///
/// # Errors
/// See [`AsOfError`].
pub async fn rows_at<P: Projector>(
    reads: &Reads,
    stream: &StreamId,
    version: Version,
) -> Result<Vec<P::Row>, AsOfError> {
    Ok(rows_as_of::<P>(reads, stream, AsOf::Version(version)).await?.rows)
}

/// The one row of `stream` right after `version`, of a model that has one row for each stream.
///
/// # Errors
/// See [`AsOfError`].
pub async fn row_at<P: Projector>(
    reads: &Reads,
    stream: &StreamId,
    version: Version,
) -> Result<Option<P::Row>, AsOfError> {
    Ok(rows_at::<P>(reads, stream, version).await?.into_iter().next())
}

/// The stream's first events, for as long as they are wanted.
async fn read(
    reads: &Reads,
    stream: &StreamId,
    wanted: impl Fn(&StoredEvent) -> bool,
) -> Result<Vec<StoredEvent>, AsOfError> {
    let mut events = vec![];
    let mut after = Version(0);
    loop {
        let page = reads.store.read_stream(stream, after, PAGE).await;
        let page = page.map_err(|_| AsOfError::Unavailable)?;
        let whole = page.len() == PAGE;
        for event in page {
            if !wanted(&event) {
                return Ok(events);
            }
            after = event.version;
            events.push(event);
        }
        if !whole {
            return Ok(events);
        }
    }
}

async fn fold_all<P: Projector>(
    reads: &Reads,
    events: Vec<StoredEvent>,
) -> Result<Vec<P::Row>, AsOfError> {
    Ok(fold::<P>(&reads.codec.open(events).await?))
}

/// Folds the whole beginning of a stream.
#[must_use]
pub fn fold<P: Projector>(events: &[Recorded]) -> Vec<P::Row> {
    let mut rows = StreamRows::<P>::new();
    for recorded in events {
        fold_into::<P>(&mut rows, recorded);
    }
    rows.into_values().flatten().map(P::redact).collect()
}
