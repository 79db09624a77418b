//! Parked streams as operators see and settle them, see [`eventlog::parked`].

use eventlog::envelope::Version;
pub use eventlog::parked::{MAX_REASON_CHARS, Parked, ParkedError, Place, PlaceInvalid};

use crate::query::Reads;

/// Parked streams of every read model and reactor, longest first, at most `limit`.
///
/// # Errors
/// [`ParkedError::Unavailable`].
pub async fn list(reads: &Reads, limit: u32) -> Result<Vec<Parked>, ParkedError> {
    eventlog::parked::list(&mut *reads.platform.acquire().await?, limit).await
}

/// Asks for another try; answers what was parked.
///
/// # Errors
/// [`ParkedError::NotParked`], [`ParkedError::Unavailable`].
pub async fn retry(reads: &Reads, place: &Place, by: &str) -> Result<Parked, ParkedError> {
    let mut conn = reads.platform.acquire().await?;
    eventlog::parked::retry(&mut conn, place, by).await?;
    eventlog::parked::find(&mut conn, place).await
}

/// Leaves the event out for good, see [`eventlog::parked::skip`].
///
/// # Errors
/// See [`ParkedError`]; nothing was changed.
pub async fn skip(
    reads: &Reads,
    place: &Place,
    version: u64,
    reason: &str,
    by: &str,
) -> Result<Parked, ParkedError> {
    let mut conn = reads.platform.acquire().await?;
    eventlog::parked::skip(&mut conn, place, Version(version), reason, by).await
}
