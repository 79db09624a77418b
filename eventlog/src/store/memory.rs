//! The log in memory: for tests and for trying things out. It keeps every promise but durability.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::ids::CompanyId;
use tokio::sync::watch;

use super::{
    Append, AppendError, Appended, Capabilities, EventStore, Filter, LogPage, ReadError, check,
};
use crate::clock::Clock;
use crate::envelope::{Position, StoredEvent, StreamId, Version, event_hash};
use crate::vault::memory::MemoryVault;

/// How long a reader waits at most for something new.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A log that lives as long as the process.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    vault: MemoryVault,
    log: Mutex<Log>,
    head: watch::Sender<Position>,
}

#[derive(Default)]
struct Log {
    events: Vec<StoredEvent>,
    /// Where in `events` a stream's events are.
    streams: BTreeMap<StreamId, Vec<usize>>,
    /// Which stream holds a key, by scope, kind and key.
    holders: HashMap<(CompanyId, &'static str, Vec<u8>), StreamId>,
    /// What a stream holds, by kind.
    held: HashMap<(StreamId, &'static str), (CompanyId, Vec<u8>)>,
}

impl MemoryStore {
    /// An empty log. Appends are checked against the keys of `vault`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, vault: MemoryVault) -> Self {
        Self { clock, vault, log: Mutex::default(), head: watch::Sender::new(Position(0)) }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn version(&self, stream: &StreamId) -> Version {
        Version(self.streams.get(stream).map_or(0, |at| at.len() as u64))
    }

    fn head(&self) -> Position {
        Position(self.events.len() as u64)
    }

    fn judge_claims(&self, append: &Append) -> Result<(), AppendError> {
        for claim in &append.claims {
            let Some(key) = &claim.key else { continue };
            let holder = self.holders.get(&(claim.scope, claim.kind, key.clone()));
            if holder.is_some_and(|holder| *holder != append.stream) {
                return Err(AppendError::Claimed { kind: claim.kind });
            }
        }
        Ok(())
    }

    fn change_claims(&mut self, append: &Append) {
        for claim in &append.claims {
            let owner = (append.stream.clone(), claim.kind);
            if let Some((scope, key)) = self.held.remove(&owner) {
                self.holders.remove(&(scope, claim.kind, key));
            }
            if let Some(key) = &claim.key {
                self.held.insert(owner, (claim.scope, key.clone()));
                self.holders.insert((claim.scope, claim.kind, key.clone()), append.stream.clone());
            }
        }
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        check::check(&append)?;
        let mut log = self.log();
        let found = log.version(&append.stream);
        if found != append.expected {
            return Err(AppendError::Conflict { found });
        }
        let mut keys = self.vault.lock();
        if !keys.all_alive(&append.keys) {
            return Err(AppendError::SubjectErased);
        }
        if append.guards.iter().any(|guard| log.version(&guard.stream) != guard.version) {
            return Err(AppendError::GuardMoved);
        }
        log.judge_claims(&append)?;

        log.change_claims(&append);
        keys.note(&append.keys, &append.stream);
        drop(keys);
        let last = log.events.last().map_or(DateTime::UNIX_EPOCH, |event| event.recorded_at);
        let recorded_at = self.clock.now().max(last);
        let Append { stream, cause, events, .. } = append;
        let mut version = found;
        for new in events {
            version = version.next();
            let at = log.events.len();
            let event = StoredEvent {
                position: Position(at as u64 + 1),
                recorded_at,
                stream: stream.clone(),
                version,
                event_id: new.event_id,
                name: new.name.to_string(),
                schema_version: new.schema_version,
                occurred_at: DateTime::from_timestamp_micros(new.occurred_at.timestamp_micros())
                    .unwrap_or(new.occurred_at),
                cause: cause.clone(),
                hash: event_hash(&stream, version, &cause, &new),
                payload: new.payload,
            };
            log.events.push(event);
            log.streams.entry(stream.clone()).or_default().push(at);
        }
        let position = log.head();
        // Sent under the lock, so that the head that readers wait for never falls.
        self.head.send_replace(position);
        Ok(Appended { version, position, recorded_at })
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let log = self.log();
        let after = usize::try_from(after.0).unwrap_or(usize::MAX);
        let found = log.streams.get(stream).into_iter().flatten().skip(after).take(limit);
        Ok(found.map(|&at| log.events[at].clone()).collect())
    }

    async fn read_log(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<LogPage, ReadError> {
        let log = self.log();
        let head = log.head();
        let skipped = usize::try_from(after.0).unwrap_or(usize::MAX);
        let events: Vec<_> = log
            .events
            .iter()
            .skip(skipped)
            .filter(|event| filter.lets(&event.stream))
            .take(limit)
            .cloned()
            .collect();
        let next = match events.last() {
            Some(last) if events.len() == limit => last.position,
            _ if limit == 0 => after,
            _ => head.max(after),
        };
        Ok(LogPage { events, next, head })
    }

    async fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        Ok(self.log().version(stream))
    }

    async fn holder(
        &self,
        scope: CompanyId,
        kind: &'static str,
        key: &[u8],
    ) -> Result<Option<StreamId>, ReadError> {
        Ok(self.log().holders.get(&(scope, kind, key.to_vec())).cloned())
    }

    async fn stream_versions(
        &self,
        filter: &Filter,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, Version)>, ReadError> {
        let log = self.log();
        let found = log
            .streams
            .iter()
            .filter(|(stream, _)| after.is_none_or(|after| *stream > after))
            .filter(|(stream, _)| filter.lets(stream))
            .take(limit);
        Ok(found.map(|(stream, at)| (stream.clone(), Version(at.len() as u64))).collect())
    }

    async fn head(&self) -> Result<Position, ReadError> {
        Ok(self.log().head())
    }

    async fn position_at(&self, at: DateTime<Utc>) -> Result<(Position, bool), ReadError> {
        let log = self.log();
        let n_until = log.events.partition_point(|event| event.recorded_at <= at);
        let position = Position(n_until as u64);
        Ok((position, position < log.head() || self.clock.now() > at))
    }

    async fn wait_past(&self, position: Position) {
        let mut head = self.head.subscribe();
        // Both an elapsed wait and a closed channel only mean that the caller looks again.
        let _ = tokio::time::timeout(LONGEST_WAIT, head.wait_for(|head| *head > position)).await;
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { dense_positions: true, claims: true, guards: true, in_database: false }
    }
}
