//! Appends and streams to test with.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chrono::DateTime;
use domain::ids::CompanyId;
use eventlog::envelope::{Cause, NewEvent, StreamId, Version};
use eventlog::store::{Append, EventStore};
use eventlog::vault::KeyVault;
use uuid::Uuid;

/// A store and the vault whose keys it checks.
#[derive(Clone)]
pub struct World {
    pub store: Arc<dyn EventStore>,
    pub vault: Arc<dyn KeyVault>,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// An id that no other call gives.
pub fn id() -> Uuid {
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    Uuid::from_u128(u128::from(next) | 0x0198_0000_0000_7000_8000_0000_0000_0000)
}

pub fn stream() -> StreamId {
    StreamId::new(CompanyId(id()), "interview", id())
}

pub fn sibling(of: &StreamId) -> StreamId {
    StreamId { id: id(), ..of.clone() }
}

/// An append of `n_events` by a command of its own.
pub fn append(stream: &StreamId, expected: u64, n_events: usize) -> Append {
    let cause = Cause {
        command_id: id(),
        fingerprint: vec![1, 2, 3],
        correlation_id: id(),
        causation_id: Some(id()),
        actor: "member:7".to_owned(),
        trace_parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    };
    Append {
        stream: stream.clone(),
        expected: Version(expected),
        guards: Vec::new(),
        claims: Vec::new(),
        keys: Vec::new(),
        cause,
        events: (0..n_events).map(event).collect(),
    }
}

fn event(nth: usize) -> NewEvent {
    NewEvent {
        event_id: id(),
        name: Cow::Borrowed("interview.answer_recorded"),
        schema_version: 1,
        occurred_at: DateTime::from_timestamp_micros(1_790_000_000_123_456).expect("a time"),
        payload: Bytes::from(format!("{{ \"nth\" :{nth}, \"z\":1e2,\"a\":\"\\u0000é\"}}")),
    }
}
