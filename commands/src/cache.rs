//! Warm aggregates: state, version and the command ids of the history. Bounded by weight; may be
//! stale, which only an append or a look at the version finds out.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use domain::Aggregate;
use eventlog::envelope::{Cause, Position, StreamId, Version};
use moka::sync::Cache;
use uuid::Uuid;

/// What an entry weighs without its history: the cache's own nodes, the key, the heads of maps.
const ENTRY_BYTES: usize = 512;
/// What a remembered command weighs.
const COMMAND_BYTES: usize = 192;
/// How much a state grows by an event, roughly: ids and counts, no text.
const EVENT_BYTES: u64 = 64;

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
    commands: Commands,
}

/// Commands that wrote, by actor and id. All versions of an aggregate share one index, so that an
/// append adds to it and copies nothing: what is remembered was written, whichever version asks.
#[derive(Clone, Debug, Default)]
struct Commands(Arc<Mutex<Index>>);

#[derive(Debug, Default)]
struct Index {
    /// Few act on one stream, so that their names are kept once.
    actors: Vec<String>,
    /// By the actor's place and the command's id.
    written: HashMap<(usize, Uuid), Remembered>,
}

impl Commands {
    fn get(&self, actor: &str, command_id: Uuid) -> Option<Remembered> {
        let index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let actor = index.actors.iter().position(|known| known == actor)?;
        index.written.get(&(actor, command_id)).cloned()
    }

    fn add(&self, cause: &Cause, at: Remembered) {
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = index.actors.iter().position(|known| *known == cause.actor);
        let actor = known.unwrap_or_else(|| {
            index.actors.push(cause.actor.clone());
            index.actors.len() - 1
        });
        index.written.insert((actor, cause.command_id), at);
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).written.len()
    }
}

impl<A: Aggregate> Default for Entry<A> {
    fn default() -> Self {
        Self {
            state: A::default(),
            version: Version(0),
            position: Position(0),
            recorded_at: DateTime::UNIX_EPOCH,
            commands: Commands::default(),
        }
    }
}

impl<A: Aggregate> Entry<A> {
    /// The command of this actor with this id, if it wrote.
    pub fn remembered(&self, actor: &str, command_id: Uuid) -> Option<Remembered> {
        self.commands.get(actor, command_id)
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
        self.commands.add(cause, at);
    }

    /// Roughly how many bytes it holds.
    fn weight(&self) -> u32 {
        let commands = self.commands.len().saturating_mul(COMMAND_BYTES);
        let grown = self.version.0.saturating_mul(EVENT_BYTES);
        let grown = usize::try_from(grown).unwrap_or(usize::MAX);
        let whole = size_of::<Self>().saturating_add(ENTRY_BYTES);
        u32::try_from(whole.saturating_add(commands).saturating_add(grown)).unwrap_or(u32::MAX)
    }
}

/// An entry of whatever aggregate.
#[derive(Clone)]
struct Kept {
    entry: Arc<dyn Any + Send + Sync>,
    weight: u32,
}

/// The aggregates that this process has seen lately.
pub struct Warm(Cache<StreamId, Kept>);

impl Warm {
    /// Holds aggregates of about `bytes` together; 0 holds none.
    pub fn new(bytes: u64) -> Self {
        let cache = Cache::builder().weigher(|_: &StreamId, kept: &Kept| kept.weight);
        Self(cache.max_capacity(bytes).build())
    }

    /// The aggregate as last seen.
    pub fn get<A: Aggregate>(&self, stream: &StreamId) -> Option<Arc<Entry<A>>> {
        self.0.get(stream)?.entry.downcast().ok()
    }

    /// Remembers the aggregate, unless a later version is remembered already.
    pub fn put<A: Aggregate>(&self, stream: &StreamId, entry: Arc<Entry<A>>) {
        if self.get::<A>(stream).is_none_or(|was| was.version < entry.version) {
            let weight = entry.weight();
            self.0.insert(stream.clone(), Kept { entry, weight });
        }
    }

    /// Forgets the aggregate.
    pub fn drop_stale(&self, stream: &StreamId) {
        self.0.invalidate(stream);
    }
}

#[cfg(test)]
mod tests {
    use domain::candidate::{Candidate, Event};
    use domain::ids::CompanyId;

    use super::*;

    fn stream(n: u128) -> StreamId {
        StreamId::new(CompanyId(Uuid::from_u128(1)), "candidate", Uuid::from_u128(n))
    }

    fn take_in(entry: &mut Entry<Candidate>, n: u64) {
        let at = Remembered {
            fingerprint: vec![7; 32],
            version: Version(n),
            position: Position(n),
            recorded_at: DateTime::UNIX_EPOCH,
        };
        let command_id = Uuid::from_u128(n.into());
        let cause = Cause {
            command_id,
            fingerprint: at.fingerprint.clone(),
            correlation_id: command_id,
            causation_id: None,
            actor: format!("member:{}", n % 3),
            trace_parent: None,
        };
        entry.take_in(&Event::Archived {}, DateTime::UNIX_EPOCH, &cause, at);
    }

    fn entry(n_events: u64) -> Arc<Entry<Candidate>> {
        let mut entry = Entry::default();
        (1..=n_events).for_each(|n| take_in(&mut entry, n));
        Arc::new(entry)
    }

    #[test]
    fn a_command_is_known_by_its_actor_and_id_in_every_version_since() {
        let first = entry(5);
        let mut next = (*first).clone();
        take_in(&mut next, 6);
        for version in [&*first, &next] {
            let found = version.remembered("member:2", Uuid::from_u128(5)).expect("remembered");
            assert_eq!(found.version, Version(5));
            assert!(version.remembered("member:0", Uuid::from_u128(5)).is_none());
        }
        assert!(next.remembered("member:0", Uuid::from_u128(6)).is_some());
        assert!(Arc::ptr_eq(&first.commands.0, &next.commands.0), "nothing is copied");
    }

    #[test]
    fn long_histories_weigh_more_and_few_of_them_are_kept() {
        let bytes = 64 * 1024;
        let kept = |n_events: u64| {
            let warm = Warm::new(bytes);
            for n in 0..200 {
                warm.put(&stream(n), entry(n_events));
                warm.0.run_pending_tasks();
            }
            assert!(warm.0.weighted_size() <= bytes);
            warm.0.entry_count()
        };
        let (short, long) = (kept(1), kept(50));
        assert!(short >= 50, "{short} short histories are kept");
        assert!((1..=8).contains(&long), "{long} long histories are kept");
        assert_eq!(Warm::new(0).get::<Candidate>(&stream(1)).map(|_| ()), None);
    }

    #[test]
    fn an_older_version_does_not_replace_a_later_one() {
        let warm = Warm::new(1 << 20);
        warm.put(&stream(1), entry(3));
        warm.put(&stream(1), entry(2));
        assert_eq!(warm.get::<Candidate>(&stream(1)).map(|e| e.version), Some(Version(3)));
        warm.drop_stale(&stream(1));
        assert!(warm.get::<Candidate>(&stream(1)).is_none());
    }
}
