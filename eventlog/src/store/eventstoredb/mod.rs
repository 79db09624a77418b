//! The log in EventStoreDB (KurrentDB), server 22.10 or later.
//!
//! Done by the server: a stream of ours is one of its streams, its revision is checked with each
//! append, all events of a command go in one append, ids of events make sending one again harmless,
//! and `$all`, filtered by names, is the total order.
//!
//! Not done by the server, and so done beside it:
//! - Positions are commit positions of `$all`: they rise in commit order, and have gaps.
//! - `recorded_at` is the leader's time of an append's first event. It falls if that clock is set back.
//! - Claims are reservations, see `claims.rs`. Two streams never hold a key at once unless a
//!   reservation's append arrives a minute after it was sent.
//! - Guards are looked at right before the append is sent, not with it: what moves in between is not
//!   noticed.
//! - Keys live in the vault's database; forgetting one waits there for appends that seal with it.
//! - Which streams there are is known to `tail.rs` only, which follows the log from its beginning.

mod claims;
mod client;
mod names;
mod record;
mod tail;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::ids::CompanyId;
use futures::future::try_join_all;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::client::{Client, Found, Proposed, WriteFault};
use self::names::Names;
use self::record::Record;
use self::tail::Tail;
use super::{
    Append, AppendError, Appended, Capabilities, ClaimChange, EventStore, Filter, LogPage,
    ReadError, check,
};
use crate::clock::Clock;
use crate::envelope::{Position, StoredEvent, StreamId, Version};
use crate::vault::VaultError;
use crate::vault::gate::{Admission, KeyGate};

const BEFORE_RETRY: Duration = Duration::from_millis(50);
/// The server's own limit is one MiB for all events of an append, unless it is configured otherwise;
/// metadata is small beside it.
const MAX_APPEND_BYTES: usize = 1024 * 1024;
const OVERHEAD_BYTES: usize = 2048;

/// Where the log is and how to use it.
#[derive(Clone)]
pub struct EventStoreDbSettings {
    /// Address, `esdb://host:port` or `kurrentdb://host:port` with the parameters of the server's
    /// connection strings, such as `?tls=false`. Without TLS, name and password travel in clear.
    pub url: SecretString,
    /// First part of the names of all streams, so that logs can share a server.
    pub prefix: String,
    /// How long an append may wait for the server before its caller is told.
    pub append_deadline: Duration,
}

impl EventStoreDbSettings {
    /// The usual settings: streams named `colloquy…`, and 10 seconds for an append.
    #[must_use]
    pub fn new(url: SecretString) -> Self {
        let append_deadline = Duration::from_secs(10);
        Self { url, prefix: "colloquy".to_owned(), append_deadline }
    }
}

/// The settings name no such server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log's address is not one of an EventStoreDB or KurrentDB, or names certificates that cannot be read"
)]
pub struct BadServerAddress;

/// The log in EventStoreDB.
pub struct EventStoreDb {
    inner: Arc<Inner>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Inner {
    client: Client,
    names: Names,
    tail: Tail,
    gate: KeyGate,
    clock: Arc<dyn Clock>,
    append_deadline: Duration,
}

/// One call of `append`.
struct Attempt<'a> {
    append: &'a Append,
    /// The stream's name on the server.
    name: String,
    /// Stands with each of its events.
    id: Uuid,
    give_up_at: Instant,
}

impl EventStoreDb {
    /// Starts the store and the task that follows the log. Both connect when they can: the server may
    /// come later. Must be called within the runtime that the task is to run on.
    ///
    /// # Errors
    /// [`BadServerAddress`] when the address, or the certificates that it names, cannot be read.
    pub fn start(
        settings: &EventStoreDbSettings,
        gate: KeyGate,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BadServerAddress> {
        let names = Names::new(&settings.prefix);
        let inner = Arc::new(Inner {
            client: Client::new(settings.url.expose_secret())?,
            tail: Tail::new(&names),
            names,
            gate,
            clock,
            append_deadline: settings.append_deadline,
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn({
            let (inner, stop) = (Arc::clone(&inner), stop.clone());
            async move { inner.tail.run(&inner.client, &inner.names, &stop).await }
        });
        tasks.close();
        Ok(Self { inner, stop, tasks })
    }

    /// Stops following the log and closes the gate.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
        self.inner.gate.close().await;
    }
}

impl Drop for EventStoreDb {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Inner {
    /// The append's events, once: whatever happens on the way, they are sent under the same ids.
    async fn write(&self, attempt: &Attempt<'_>) -> Result<Appended, AppendError> {
        let Append { expected, .. } = attempt.append;
        let events = record::proposed(attempt.append, attempt.id)
            .ok_or(AppendError::Malformed("an event's envelope cannot be written"))?;
        // Whether it may be there although no answer said so.
        let mut may_be_there = false;
        loop {
            match self.client.append(&attempt.name, Some(expected.0), &events).await {
                Ok(()) | Err(WriteFault::Unclear) => may_be_there = true,
                // A stream that is too short even for an earlier try holds nothing of it.
                Err(WriteFault::Elsewhere(found)) if !may_be_there || found < expected.0 => {
                    return Err(AppendError::Conflict { found: Version(found) });
                }
                Err(WriteFault::Elsewhere(_) | WriteFault::NotWritten) => {}
                Err(WriteFault::Refused) if may_be_there => {
                    return Err(AppendError::OutcomeUnknown);
                }
                Err(WriteFault::Refused) => return Err(AppendError::Unavailable),
            }
            if may_be_there && let Some(outcome) = self.find(attempt, events.len()).await? {
                return outcome;
            }
            if Instant::now() > attempt.give_up_at {
                return Err(match may_be_there {
                    true => AppendError::OutcomeUnknown,
                    false => AppendError::Unavailable,
                });
            }
            sleep(BEFORE_RETRY).await;
        }
    }

    /// What stands where the append's events belong: its own, or another's, or nothing (yet).
    ///
    /// The server answers an append of events that it has there already as if it had just written
    /// them, so only their own metadata tells who wrote them.
    async fn find(
        &self,
        attempt: &Attempt<'_>,
        n_events: usize,
    ) -> Result<Option<Result<Appended, AppendError>>, AppendError> {
        let unknown = |_| AppendError::OutcomeUnknown;
        let from = attempt.append.expected.0;
        let first = self.client.read_stream(&attempt.name, from, 1).await.map_err(unknown)?.pop();
        let Some(first) = first else { return Ok(None) };
        if Record::of(&first).is_none_or(|record| record.attempt != attempt.id) {
            let found = self.version(&attempt.name).await.map_err(unknown)?;
            return Ok(Some(Err(AppendError::Conflict { found })));
        }
        let mut position = first.position;
        if n_events > 1 {
            let last = from + n_events as u64 - 1;
            let last = self.client.read_stream(&attempt.name, last, 1).await.map_err(unknown)?;
            position = last.first().ok_or(AppendError::OutcomeUnknown)?.position;
        }
        self.tail.seen(Position(position));
        Ok(Some(Ok(Appended {
            version: Version(from + n_events as u64),
            position: Position(position),
            recorded_at: first.created,
        })))
    }

    async fn append(&self, append: &Append) -> Result<Appended, AppendError> {
        check::check(append)?;
        let sizes = append.events.iter().map(|event| event.payload.len() + OVERHEAD_BYTES);
        if append.events.len() > 1 && sizes.sum::<usize>() > MAX_APPEND_BYTES {
            return Err(AppendError::TooLarge);
        }
        let name = self.names.of_stream(&append.stream);
        let attempt = Attempt {
            append,
            name: name.ok_or(AppendError::Malformed("an aggregate's name has a dash in it"))?,
            id: Uuid::from_bytes(rand::random()),
            give_up_at: Instant::now() + self.append_deadline,
        };
        let is_plain =
            append.keys.is_empty() && append.guards.is_empty() && append.claims.is_empty();
        if is_plain {
            return self.write(&attempt).await;
        }
        self.judge(&attempt).await?;
        let reserved = self.reserve(&attempt).await?;
        let outcome = match self.admit(&attempt).await {
            Ok(_admission) => self.write(&attempt).await,
            Err(refused) => Err(refused),
        };
        // What may still be written keeps its reservations.
        if outcome.as_ref().is_err_and(|refused| *refused != AppendError::OutcomeUnknown) {
            self.give_up(&attempt, reserved).await;
        }
        outcome
    }

    /// The reasons for refusal that only need looking, all at once; the strongest is answered.
    async fn judge(&self, attempt: &Attempt<'_>) -> Result<(), AppendError> {
        let Append { expected, keys, .. } = attempt.append;
        let (found, keys, guards) = tokio::join!(
            self.version(&attempt.name),
            self.gate.check(keys),
            self.look_at_guards(attempt),
        );
        let found = found.map_err(|_| AppendError::Unavailable)?;
        if found != *expected {
            return Err(AppendError::Conflict { found });
        }
        keys.map_err(shut)?;
        guards
    }

    async fn look_at_guards(&self, attempt: &Attempt<'_>) -> Result<(), AppendError> {
        let looks = attempt.append.guards.iter().map(async |guard| {
            let Some(name) = self.names.of_stream(&guard.stream) else {
                return Err(AppendError::Malformed("an aggregate's name has a dash in it"));
            };
            let found = self.version(&name).await.map_err(|_| AppendError::Unavailable)?;
            if found == guard.version { Ok(()) } else { Err(AppendError::GuardMoved) }
        });
        try_join_all(looks).await.map(drop)
    }

    /// Last looks, as close to the writing as can be.
    async fn admit(&self, attempt: &Attempt<'_>) -> Result<Admission, AppendError> {
        let admission = self.gate.admit(&attempt.append.keys, &attempt.append.stream).await;
        let admission = admission.map_err(shut)?;
        // Reserving and being admitted take time; without them the first look was just now.
        if !attempt.append.claims.is_empty() || !attempt.append.keys.is_empty() {
            self.look_at_guards(attempt).await?;
        }
        Ok(admission)
    }

    async fn version(&self, name: &str) -> Result<Version, ReadError> {
        Ok(Version(self.client.last_of(name).await?.map_or(0, |last| last.revision + 1)))
    }

    async fn head(&self) -> Result<Position, ReadError> {
        let last = self.client.last_of_all(&self.names.prefixes(&Filter::default())).await?;
        let head = Position(last.map_or(0, |last| last.position));
        self.tail.seen(head);
        Ok(head)
    }

    /// Events with their envelopes. They come in the order of their streams, and the first of a stream
    /// may be in the middle of an append, whose time stands with its first event.
    async fn stored(&self, found: Vec<Found>) -> Result<Vec<StoredEvent>, ReadError> {
        let mut times: HashMap<String, DateTime<Utc>> = HashMap::new();
        let mut events = Vec::with_capacity(found.len());
        for found in found {
            let record = Record::of(&found).ok_or_else(|| foreign(&found.stream))?;
            let recorded_at = match (record.nth, times.get(&found.stream)) {
                (0, _) => found.created,
                (_, Some(time)) => *time,
                (nth, None) => {
                    let first = found.revision.saturating_sub(nth);
                    let first = self.client.read_stream(&found.stream, first, 1).await?;
                    first.first().ok_or(ReadError)?.created
                }
            };
            times.insert(found.stream.clone(), recorded_at);
            let stream = found.stream.clone();
            let event = record::stored(&self.names, found, record, recorded_at);
            events.push(event.ok_or_else(|| foreign(&stream))?);
        }
        Ok(events)
    }

    /// Whether the leader's clock has passed a time: what is appended from now on is recorded later.
    async fn has_passed(&self, at: DateTime<Utc>) -> Result<bool, ReadError> {
        if self.clock.now() <= at {
            return Ok(false);
        }
        let clock = self.names.of_clock();
        if self.client.last_of(&clock).await?.is_some_and(|tick| tick.created > at) {
            return Ok(true);
        }
        let tick = Proposed {
            id: Uuid::from_bytes(rand::random()),
            name: "clock.ticked".to_owned(),
            data: Bytes::from_static(b"{}"),
            metadata: Bytes::from_static(b"{}"),
        };
        self.client.append(&clock, None, &[tick]).await.map_err(|_| ReadError)?;
        Ok(self.client.last_of(&clock).await?.is_some_and(|tick| tick.created > at))
    }
}

#[async_trait]
impl EventStore for EventStoreDb {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.inner.append(&append).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let Some(name) = self.inner.names.of_stream(stream) else { return Ok(Vec::new()) };
        let found = self.inner.client.read_stream(&name, after.0, limit).await?;
        self.inner.stored(found).await
    }

    async fn read_log(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<LogPage, ReadError> {
        let Inner { client, names, tail, .. } = &*self.inner;
        let head = self.inner.head().await?;
        if after >= head || limit == 0 {
            let next = if limit == 0 { after } else { head.max(after) };
            return Ok(LogPage { events: Vec::new(), next, head });
        }
        let (from, n_before) = tail.start(after);
        let prefixes = names.prefixes(filter);
        let mut found = match prefixes.is_empty() {
            true => Vec::new(),
            false => client.read_all(from, &prefixes, limit.saturating_add(n_before)).await?,
        };
        found.retain(|found| found.position > after.0);
        found.truncate(limit);
        let events = self.inner.stored(found).await?;
        let head = events.last().map_or(head, |last| head.max(last.position));
        let next = match events.last() {
            Some(last) if events.len() == limit => last.position,
            _ => head,
        };
        Ok(LogPage { events, next, head })
    }

    async fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        match self.inner.names.of_stream(stream) {
            Some(name) => self.inner.version(&name).await,
            None => Ok(Version(0)),
        }
    }

    async fn holder(
        &self,
        scope: CompanyId,
        kind: &'static str,
        key: &[u8],
    ) -> Result<Option<StreamId>, ReadError> {
        self.inner.holder(&ClaimChange { scope, kind, key: Some(key.to_vec()) }).await
    }

    async fn stream_versions(
        &self,
        filter: &Filter,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, Version)>, ReadError> {
        let head = self.inner.head().await?;
        self.inner.tail.followed(head).await?;
        Ok(self.inner.tail.stream_versions(filter, after, limit))
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.inner.head().await
    }

    async fn position_at(&self, at: DateTime<Utc>) -> Result<(Position, bool), ReadError> {
        const PAGE: usize = 200;
        let has_passed = self.inner.has_passed(at).await?;
        let head = self.inner.head().await?;
        self.inner.tail.followed(head).await?;
        let mark = self.inner.tail.mark_at(at);
        let mut reached = Position(mark.map_or(0, |mark| mark.position));
        loop {
            let page = self.read_log(reached, &Filter::default(), PAGE).await?;
            for event in &page.events {
                if event.recorded_at > at {
                    return Ok((reached, true));
                }
                reached = event.position;
            }
            if page.events.len() < PAGE {
                return Ok((reached, has_passed));
            }
        }
    }

    async fn wait_past(&self, position: Position) {
        self.inner.tail.wait_past(position).await;
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { dense_positions: false, claims: false, guards: false, in_database: false }
    }
}

fn shut(error: VaultError) -> AppendError {
    match error {
        VaultError::SubjectErased => AppendError::SubjectErased,
        _ => AppendError::Unavailable,
    }
}

/// Something else than this product writes to our streams.
fn foreign(stream: &str) -> ReadError {
    tracing::error!(stream, "a stream of the log holds what is no event of the log");
    ReadError
}
