//! Warm aggregates: state, version and the command ids of the history. Bounded; may be stale, which
//! only an append or a look at the version finds out.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::Aggregate;
use eventlog::envelope::{Cause, Position, StreamId, Version};
use moka::sync::Cache;
use uuid::Uuid;

/// What is remembered of a command that wrote.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// HMAC of its input.
    pub fingerprint: Vec<u8>,
    /// Version of its last event.
    pub version: Version,
    /// Position of its last event.
    pub position: Position,
    /// When the log took it in.
    pub recorded_at: DateTime<Utc>,
}

/// An aggregate as of a version.
#[derive(Clone, Debug)]
pub struct Entry<A> {
    /// Its state. No personal text stands in it.
    pub state: A,
    /// Version of its last event.
    pub version: Version,
    /// Position of its last event.
    pub position: Position,
    /// When its last event was recorded.
    pub recorded_at: DateTime<Utc>,
    /// Commands that wrote, by actor and id.
    commands: HashMap<(String, Uuid), Remembered>,
}

impl<A: Aggregate> Default for Entry<A> {
    fn default() -> Self {
        Self {
            state: A::default(),
            version: Version(0),
            position: Position(0),
            recorded_at: DateTime::UNIX_EPOCH,
            commands: HashMap::new(),
        }
    }
}

impl<A: Aggregate> Entry<A> {
    /// The command of this actor with this id, if it wrote.
    pub fn remembered(&self, actor: &str, command_id: Uuid) -> Option<&Remembered> {
        self.commands.get(&(actor.to_owned(), command_id))
    }

    /// Takes in the next event.
    pub fn take_in(
        &mut self,
        event: &A::Event,
        occurred_at: DateTime<Utc>,
        cause: &Cause,
        at: Remembered,
    ) {
        self.state = std::mem::take(&mut self.state).evolve(event, occurred_at);
        self.version = at.version;
        self.position = at.position;
        self.recorded_at = at.recorded_at;
        self.commands.insert((cause.actor.clone(), cause.command_id), at);
    }
}

/// The aggregates that this process has seen lately.
pub struct Warm(Cache<StreamId, Arc<dyn Any + Send + Sync>>);

impl Warm {
    /// Holds at most `capacity` aggregates; 0 holds none.
    pub fn new(capacity: u64) -> Self {
        Self(Cache::new(capacity))
    }

    /// The aggregate as last seen.
    pub fn get<A: Aggregate>(&self, stream: &StreamId) -> Option<Arc<Entry<A>>> {
        self.0.get(stream)?.downcast().ok()
    }

    /// Remembers the aggregate, unless a later version is remembered already.
    pub fn put<A: Aggregate>(&self, stream: &StreamId, entry: Arc<Entry<A>>) {
        if self.get::<A>(stream).is_none_or(|was| was.version < entry.version) {
            self.0.insert(stream.clone(), entry);
        }
    }

    /// Forgets the aggregate.
    pub fn drop_stale(&self, stream: &StreamId) {
        self.0.invalidate(stream);
    }
}
