//! Lag behind a log that is not in the database: its streams are asked for page by page, where
//! otherwise one statement compares all.

use eventlog::applied;
use eventlog::envelope::{StreamId, Version};
use eventlog::store::ReadError;
use sqlx::PgConnection;

use crate::query::{QueryError, Reads};

const PAGE: usize = 1000;
/// The age is that of the oldest event missing from at most so many streams, since each is one reading.
const MAX_AGED: usize = 20;

/// What a consumer has not applied of some aggregates.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// How many events.
    pub(crate) n_events: u64,
    /// Positions from the oldest of them to the head.
    pub(crate) n_positions: u64,
    /// When the oldest of them was recorded.
    pub(crate) oldest: Option<chrono::DateTime<chrono::Utc>>,
    /// Streams that are parked.
    pub(crate) n_parked: u64,
}

/// What this consumer has not applied.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub(crate) async fn missing(
    reads: &Reads,
    conn: &mut PgConnection,
    consumer: &str,
    aggregates: &[&str],
) -> Result<Missing, QueryError> {
    let filter = eventlog::store::Filter::of_aggregates(aggregates.iter().copied());
    let unread = |ReadError| QueryError::Unavailable;
    let mut missing = Missing::default();
    let mut behind: Vec<(StreamId, Version)> = vec![];
    let mut after: Option<StreamId> = None;
    loop {
        let page = reads.store.stream_versions(&filter, after.as_ref(), PAGE).await;
        let page = page.map_err(unread)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        let streams: Vec<StreamId> = page.iter().map(|(stream, _)| stream.clone()).collect();
        let applied = applied::load(&mut *conn, consumer, &streams).await?;
        for (stream, version) in page {
            let done = applied.get(&stream).cloned().unwrap_or_default();
            missing.n_parked += u64::from(done.parked);
            if !done.parked && done.version < version {
                missing.n_events += version.0 - done.version.0;
                behind.push((stream, done.version));
            }
        }
    }
    let mut oldest = None;
    for (stream, applied) in behind.into_iter().take(MAX_AGED) {
        let next = reads.store.read_stream(&stream, applied, 1).await.map_err(unread)?;
        let next = next.first().map(|event| (event.position, event.recorded_at));
        oldest = oldest.into_iter().chain(next).min();
    }
    if let Some((position, recorded_at)) = oldest {
        let head = reads.store.head().await.map_err(unread)?;
        missing.n_positions = (head.0 + 1).saturating_sub(position.0);
        missing.oldest = Some(recorded_at);
    }
    Ok(missing)
}
