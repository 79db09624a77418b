//! An event of ours as one of the server's: the payload is the data, as it is; the envelope is the
//! metadata, as JSON under the names that the server's own tools know where there are such.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::{Found, Proposed};
use super::names::Names;
use crate::envelope::{Cause, EventHash, NewEvent, Position, StoredEvent, Version, event_hash};
use crate::store::{Append, ClaimChange};

/// What stands beside a payload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Names the call of `append` that wrote it, so that a writer knows its own.
    pub(super) attempt: Uuid,
    /// Which of that call's events this is, from 0.
    pub(super) nth: u64,
    schema: u16,
    command: Uuid,
    fingerprint: String,
    #[serde(rename = "$correlationId")]
    correlation: Uuid,
    #[serde(rename = "$causationId", skip_serializing_if = "Option::is_none")]
    causation: Option<Uuid>,
    actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    /// Microseconds since 1970 UTC.
    occurred: i64,
    hash: String,
    /// What this call took and gave up; on its first event only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) claims: Vec<Change>,
}

/// A change of a claim, as it is kept with the events that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) kind: String,
    pub(super) scope: Uuid,
    /// Base64; absent for giving up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
}

impl Change {
    pub(super) fn new(claim: &ClaimChange) -> Self {
        let key = claim.key.as_ref().map(|key| STANDARD.encode(key));
        Self { kind: claim.kind.to_owned(), scope: claim.scope.0, key }
    }
}

impl Record {
    /// The metadata of an event of ours.
    pub(super) fn of(found: &Found) -> Option<Self> {
        serde_json::from_slice(&found.metadata).ok()
    }

    fn new(append: &Append, attempt: Uuid, nth: usize, event: &NewEvent, hash: EventHash) -> Self {
        let Append { cause, claims, .. } = append;
        let claims = if nth == 0 { claims.iter().map(Change::new).collect() } else { Vec::new() };
        Self {
            attempt,
            nth: nth as u64,
            schema: event.schema_version,
            command: cause.command_id,
            fingerprint: STANDARD.encode(&cause.fingerprint),
            correlation: cause.correlation_id,
            causation: cause.causation_id,
            actor: cause.actor.clone(),
            trace: cause.trace_parent.clone(),
            occurred: event.occurred_at.timestamp_micros(),
            hash: hash.to_string(),
            claims,
        }
    }
}

/// The events of an append as the server is to hold them; `None` if their metadata cannot be written.
pub(super) fn proposed(append: &Append, attempt: Uuid) -> Option<Vec<Proposed>> {
    let Append { stream, expected, cause, events, .. } = append;
    let numbered = (expected.0 + 1..).zip(events).enumerate();
    numbered
        .map(|(nth, (version, event))| {
            let hash = event_hash(stream, Version(version), cause, event);
            let record = Record::new(append, attempt, nth, event, hash);
            Some(Proposed {
                id: event.event_id,
                name: event.name.to_string(),
                data: event.payload.clone(),
                metadata: Bytes::from(serde_json::to_vec(&record).ok()?),
            })
        })
        .collect()
}

/// An event with its envelope; `recorded_at` is when the first event of its append was created, so
/// that all of an append have one time. `None` if it is none of ours.
pub(super) fn stored(
    names: &Names,
    found: Found,
    record: Record,
    recorded_at: DateTime<Utc>,
) -> Option<StoredEvent> {
    Some(StoredEvent {
        position: Position(found.position),
        recorded_at,
        stream: names.stream(&found.stream)?,
        version: Version(found.revision + 1),
        event_id: found.id,
        name: found.name,
        schema_version: record.schema,
        occurred_at: DateTime::from_timestamp_micros(record.occurred)?,
        cause: Cause {
            command_id: record.command,
            fingerprint: STANDARD.decode(record.fingerprint).ok()?,
            correlation_id: record.correlation,
            causation_id: record.causation,
            actor: record.actor,
            trace_parent: record.trace,
        },
        payload: found.data,
        hash: record.hash.parse().ok()?,
    })
}
