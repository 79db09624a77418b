//! What stands around an event: where it is, who caused it, and the hash that binds both to its bytes.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::ids::CompanyId;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Place in the total order: 1, 2, 3 …, in commit order; 0 is before the first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

/// Number of an event in its stream: 1, 2, 3 …; 0 is a stream without events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

impl Version {
    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one stream: the events of one aggregate instance of one company.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// The tenant, nil for what belongs to no company.
    pub company: CompanyId,
    /// The aggregate's stored name, such as `interview`.
    pub aggregate: Cow<'static, str>,
    /// The instance.
    pub id: Uuid,
}

impl StreamId {
    /// The stream of one aggregate instance.
    #[must_use]
    pub fn new(company: CompanyId, aggregate: &'static str, id: Uuid) -> Self {
        Self { company, aggregate: Cow::Borrowed(aggregate), id }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.company.0, self.aggregate, self.id)
    }
}

/// The SHA-256 hash of an event, see [`event_hash`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventHash(pub [u8; 32]);

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventHash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(());
        }
        for (byte, i) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[i..i + 2], 16).map_err(|_| ())?;
        }
        Ok(Self(hash))
    }
}

/// An event ready to be appended: its exact bytes, personal fields sealed, and who caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Derived from the command, so that a repeat makes the same one.
    pub event_id: Uuid,
    /// Stored name, such as `interview.answer_recorded`.
    pub name: Cow<'static, str>,
    /// Version of the payload's shape, 1 and up.
    pub schema_version: u16,
    /// When it happened by the writer's clock.
    pub occurred_at: DateTime<Utc>,
    /// The payload's exact bytes: JSON, personal fields sealed. At most [`MAX_PAYLOAD_BYTES`].
    pub payload: Bytes,
}

/// An event is at most 256 KiB; larger content goes to the object store.
pub const MAX_PAYLOAD_BYTES: usize = 256 * 1024;

/// Who and what caused the events of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The command's id, given by the client or derived from the event that caused it.
    pub command_id: Uuid,
    /// HMAC of the client's canonical input, for telling a repeat from a clash.
    pub fingerprint: Vec<u8>,
    /// Id shared by all that follows from one outside request.
    pub correlation_id: Uuid,
    /// The event that caused the command, where one did.
    pub causation_id: Option<Uuid>,
    /// Who acted, as `kind:id`.
    pub actor: String,
    /// W3C trace context of the request, where there is one.
    pub trace_parent: Option<String>,
}

/// An event as the log holds it: exact bytes and complete envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Place in the total order.
    pub position: Position,
    /// When the log took it in; never falls as positions grow.
    pub recorded_at: DateTime<Utc>,
    /// Its stream.
    pub stream: StreamId,
    /// Its number in the stream.
    pub version: Version,
    /// Its id.
    pub event_id: Uuid,
    /// Stored name, such as `interview.answer_recorded`.
    pub name: String,
    /// Version of the payload's shape.
    pub schema_version: u16,
    /// When it happened by the writer's clock.
    pub occurred_at: DateTime<Utc>,
    /// Who and what caused it.
    pub cause: Cause,
    /// The payload's exact bytes.
    pub payload: Bytes,
    /// Binds envelope and payload.
    pub hash: EventHash,
}

impl StoredEvent {
    /// Whether the bytes are those that were hashed when the event was written.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        let new = NewEvent {
            event_id: self.event_id,
            name: Cow::Owned(self.name.clone()),
            schema_version: self.schema_version,
            occurred_at: self.occurred_at,
            payload: self.payload.clone(),
        };
        event_hash(&self.stream, self.version, &self.cause, &new) == self.hash
    }
}

/// SHA-256 over the envelope's fields, each preceded by its length as 8 big-endian bytes, and over
/// SHA-256(payload), so that an export that withholds a payload still proves its envelope.
///
/// Order: company, aggregate, stream id, version (8 bytes, big-endian), event id, name, schema
/// version (2 bytes), command id, fingerprint, correlation id, causation id (empty if none), actor,
/// trace parent (empty if none), occurred at (microseconds since 1970 UTC, 8 bytes), SHA-256(payload).
/// Position and `recorded_at` are given by the log afterwards and are bound by its tree.
#[must_use]
pub fn event_hash(
    stream: &StreamId,
    version: Version,
    cause: &Cause,
    event: &NewEvent,
) -> EventHash {
    event_hash_withheld(stream, version, cause, event, &Sha256::digest(&event.payload).into())
}

/// The same for an event whose payload is withheld: its SHA-256 stands for it, and what the event has
/// as payload is not looked at.
#[must_use]
pub fn event_hash_withheld(
    stream: &StreamId,
    version: Version,
    cause: &Cause,
    event: &NewEvent,
    payload_sha256: &[u8; 32],
) -> EventHash {
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    field(stream.company.0.as_bytes());
    field(stream.aggregate.as_bytes());
    field(stream.id.as_bytes());
    field(&version.0.to_be_bytes());
    field(event.event_id.as_bytes());
    field(event.name.as_bytes());
    field(&event.schema_version.to_be_bytes());
    field(cause.command_id.as_bytes());
    field(&cause.fingerprint);
    field(cause.correlation_id.as_bytes());
    field(cause.causation_id.as_ref().map_or(&[], |id| id.as_bytes()));
    field(cause.actor.as_bytes());
    field(cause.trace_parent.as_deref().unwrap_or_default().as_bytes());
    field(&event.occurred_at.timestamp_micros().to_be_bytes());
    field(payload_sha256);
    EventHash(hasher.finalize().into())
}
