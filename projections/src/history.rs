//! The exact history of a stream for auditors, read from the log itself: nothing that could drift.

use chrono::{DateTime, Utc};
use eventlog::codec::CodecError;
use eventlog::envelope::{Position, StoredEvent, StreamId, Version};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::query::{QueryError, Reads};

/// Most entries answered at once.
pub const MAX_ENTRIES: usize = 500;

/// One event as it stands in the log.
#[derive(Clone, PartialEq)]
pub struct Entry {
    /// Its number in the stream.
    pub version: Version,
    /// Its place in the whole log.
    pub position: Position,
    /// Its id.
    pub event_id: Uuid,
    /// Stored name, such as `interview.answer_recorded`.
    pub name: String,
    /// Version of the payload's shape.
    pub schema_version: u16,
    /// Who acted, as `kind:id`.
    pub actor: String,
    /// When it happened by the writer's clock.
    pub occurred_at: DateTime<Utc>,
    /// When the log took it in.
    pub recorded_at: DateTime<Utc>,
    /// The command that caused it.
    pub command_id: Uuid,
    /// Shared by all that followed from one outside request.
    pub correlation_id: Uuid,
    /// The event that caused the command, where one did.
    pub causation_id: Option<Uuid>,
    /// Binds envelope and payload; hex.
    pub hash: String,
    /// Whether bytes and envelope are those that were hashed.
    pub is_intact: bool,
    /// What happened, with personal fields opened; one whose subject was erased is
    /// `{"$erased": true}`.
    pub content: Content,
}

/// The opened payload, or why there is none.
#[derive(Clone, PartialEq)]
pub enum Content {
    /// The event's data.
    Opened(Value),
    /// This program cannot read it; the kind of fault, without content.
    Unreadable(String),
}

/// A piece of a history.
#[derive(Clone, PartialEq)]
pub struct History {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// Whether more follow.
    pub has_more: bool,
}

/// Events of one stream after `after`, at most `limit` and at most [`MAX_ENTRIES`]. Whether the
/// caller may see them is for the caller to know: the right is to read histories.
///
/// # Errors
/// [`QueryError::Unavailable`] when the log or the vault cannot be reached.
pub async fn history(
    reads: &Reads,
    stream: &StreamId,
    after: Version,
    limit: usize,
) -> Result<History, QueryError> {
    let limit = limit.clamp(1, MAX_ENTRIES);
    let stored = reads.store.read_stream(stream, after, limit + 1).await;
    let mut stored = stored.map_err(|_| QueryError::Unavailable)?;
    let has_more = stored.len() > limit;
    stored.truncate(limit);
    let opened = reads.codec.open_each(stored).await.map_err(|_| QueryError::Unavailable)?;
    let mut entries = vec![];
    for result in opened {
        let (stored, content) = match result {
            Ok(recorded) => {
                let tagged = recorded.event.serialize_tagged(serde_json::value::Serializer);
                let malformed = CodecError::Malformed { name: recorded.stored.name.clone() };
                let content = match tagged {
                    Ok(tagged) => Content::Opened(plain(data(tagged))),
                    Err(_) => Content::Unreadable(malformed.to_string()),
                };
                (recorded.stored, content)
            }
            Err((_, error)) if error.is_transient() => return Err(QueryError::Unavailable),
            Err((stored, error)) => (stored, Content::Unreadable(error.to_string())),
        };
        entries.push(entry(stored, content));
    }
    Ok(History { entries, has_more })
}

fn entry(stored: StoredEvent, content: Content) -> Entry {
    Entry {
        is_intact: stored.is_intact(),
        version: stored.version,
        position: stored.position,
        event_id: stored.event_id,
        name: stored.name,
        schema_version: stored.schema_version,
        actor: stored.cause.actor,
        occurred_at: stored.occurred_at,
        recorded_at: stored.recorded_at,
        command_id: stored.cause.command_id,
        correlation_id: stored.cause.correlation_id,
        causation_id: stored.cause.causation_id,
        hash: stored.hash.to_string(),
        content,
    }
}

/// The data of `{"type", "data"}`; an event without any has an empty object.
fn data(tagged: Value) -> Value {
    let Value::Object(mut tagged) = tagged else {
        return Value::Null;
    };
    tagged.remove("data").unwrap_or_else(|| Value::Object(Map::new()))
}

/// The value with every personal field replaced by its clear content.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(mut fields) => {
            if let Some(personal) = fields.remove(domain::Personal::<()>::MARKER) {
                let clear = personal.get("value").filter(|value| !value.is_null());
                return clear.cloned().unwrap_or_else(|| json!({ "$erased": true }));
            }
            Value::Object(fields.into_iter().map(|(name, value)| (name, plain(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(plain).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}
