//! Reading events back: the columns of an event and what they mean.

use std::borrow::Cow;

use bytes::Bytes;
use domain::ids::CompanyId;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::envelope::{Cause, EventHash, Position, StoredEvent, StreamId, Version};

/// The columns of an event in the order in which [`event`] reads them.
macro_rules! columns {
    () => {
        "e.position, e.recorded_at, e.tenant_id, e.category, e.stream_id, e.version, e.event_id,
         e.event_type, e.schema_version, e.command_id, e.fingerprint, e.correlation_id,
         e.causation_id, e.actor, e.trace_parent, e.occurred_at, e.payload, e.hash"
    };
}
pub(super) use columns;

/// How many columns an event has.
pub(super) const N_COLUMNS: usize = 18;

/// The event in a row whose first columns are those of an event.
pub(super) fn event(row: &PgRow) -> sqlx::Result<StoredEvent> {
    let category: String = row.try_get(3)?;
    let schema_version: i16 = row.try_get(8)?;
    let payload: Vec<u8> = row.try_get(16)?;
    let hash: &[u8] = row.try_get(17)?;
    Ok(StoredEvent {
        position: Position(number(row, 0)?),
        recorded_at: row.try_get(1)?,
        stream: StreamId {
            company: CompanyId(row.try_get(2)?),
            aggregate: Cow::Owned(category),
            id: row.try_get(4)?,
        },
        version: Version(number(row, 5)?),
        event_id: row.try_get(6)?,
        name: row.try_get(7)?,
        schema_version: u16::try_from(schema_version).unwrap_or(0),
        cause: Cause {
            command_id: row.try_get(9)?,
            fingerprint: row.try_get(10)?,
            correlation_id: row.try_get(11)?,
            causation_id: row.try_get(12)?,
            actor: row.try_get(13)?,
            trace_parent: row.try_get(14)?,
        },
        occurred_at: row.try_get(15)?,
        payload: Bytes::from(payload),
        // A hash of another length was tampered with; none at all makes that plain to whoever checks.
        hash: EventHash(hash.try_into().unwrap_or_default()),
    })
}

/// The stream in a row that begins with company, aggregate and id.
pub(super) fn stream(row: &PgRow) -> sqlx::Result<StreamId> {
    Ok(StreamId {
        company: CompanyId(row.try_get(0)?),
        aggregate: Cow::Owned(row.try_get(1)?),
        id: row.try_get(2)?,
    })
}

/// The stream and its version in a row of (company, aggregate, id, version).
pub(super) fn stream_version(row: &PgRow) -> sqlx::Result<(StreamId, Version)> {
    Ok((stream(row)?, Version(number(row, 3)?)))
}

/// A column that counts something.
pub(super) fn number(row: &PgRow, column: usize) -> sqlx::Result<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

/// As much as the database can be asked for.
pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A place in the log or in a stream, or the end of all if it is beyond what the database counts.
pub(super) fn place(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}
