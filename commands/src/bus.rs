//! The one door of the write side.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::aggregate::Context;
use domain::caller::{Actor, Caller};
use domain::claims::{Change, Kind, claims};
use domain::ids::CompanyId;
use domain::permission::{self, Relation};
use domain::{Aggregate, Event, Facts, Reference};
use eventlog::clock::Clock;
use eventlog::codec::{Codec, CodecError, Encoded, key_home};
use eventlog::envelope::{Cause, NewEvent, Position, StoredEvent, StreamId, Version};
use eventlog::store::{Append, AppendError, ClaimChange, EventStore, Guard, ReadError};
use eventlog::vault::VaultError;
use eventlog::vault::secrets::Secrets;
use tracing::Instrument;
use uuid::Uuid;

use crate::cache::{Entry, Remembered, Warm};
use crate::error::CommandError;
use crate::ids::derive_id;
use crate::turns::Turns;

/// How many events of a stream are read at once.
const PAGE: usize = 500;

/// What surrounds a command.
#[derive(Clone, Debug)]
pub struct Order {
    /// Idempotency key, scoped to the aggregate and the actor.
    pub command_id: Uuid,
    /// The version the client saw, where it wants no other.
    pub expected_version: Option<Version>,
    /// The client's input in canonical form; a repeat has the same.
    pub input: Vec<u8>,
    /// Id shared by all that follows from one outside request; the command's own id if absent.
    pub correlation_id: Option<Uuid>,
    /// The event that caused the command, where one did.
    pub causation_id: Option<Uuid>,
    /// W3C trace context of the request.
    pub trace_parent: Option<String>,
    /// Whether the id derives from an event: a repeat with another body is then taken as done,
    /// because a model's words differ from call to call.
    pub derived: bool,
}

impl Order {
    /// An order of a client.
    #[must_use]
    pub fn of_client(command_id: Uuid, input: Vec<u8>) -> Self {
        Self {
            command_id,
            expected_version: None,
            input,
            correlation_id: None,
            causation_id: None,
            trace_parent: None,
            derived: false,
        }
    }

    /// An order that follows from an event, under an id derived from it and `purpose`.
    #[must_use]
    pub fn of_event(caller: &Caller, cause: &StoredEvent, purpose: &str) -> Self {
        Self {
            command_id: derive_id(caller, cause.event_id, purpose, 0),
            expected_version: None,
            input: purpose.as_bytes().to_vec(),
            correlation_id: Some(cause.cause.correlation_id),
            causation_id: Some(cause.event_id),
            trace_parent: cause.cause.trace_parent.clone(),
            derived: true,
        }
    }
}

/// What a command that went through answers; a repeat of it answers the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The stream addressed.
    pub stream: StreamId,
    /// Its version after the command.
    pub version: Version,
    /// Position of its last event then.
    pub position: Position,
    /// When that event was recorded.
    pub recorded_at: DateTime<Utc>,
    /// Whether this command wrote, now or the first time; else it was so already.
    pub wrote: bool,
}

/// How a bus works.
#[derive(Clone, Debug)]
pub struct BusSettings {
    /// What is kept warm may hold so many bytes, roughly; 0 reads each aggregate anew.
    pub warm_bytes: u64,
    /// How often a command is decided again when others were faster.
    pub max_attempts: u32,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self { warm_bytes: 256 * 1024 * 1024, max_attempts: 20 }
    }
}

/// Authorizes, loads, decides, appends.
pub struct Bus {
    store: Arc<dyn EventStore>,
    codec: Codec,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
    warm: Warm,
    turns: Turns,
    settings: BusSettings,
}

/// An aggregate as loaded, and whether that may be stale.
struct Loaded<A> {
    entry: Arc<Entry<A>>,
    from_cache: bool,
}

/// States of other streams, what the append must guard, and whether any may be stale.
#[derive(Default)]
struct Relied {
    facts: Facts,
    guards: Vec<Guard>,
    from_cache: bool,
}

impl Bus {
    /// A bus on a log.
    #[must_use]
    pub fn new(
        store: Arc<dyn EventStore>,
        codec: Codec,
        secrets: Secrets,
        clock: Arc<dyn Clock>,
        settings: BusSettings,
    ) -> Self {
        let warm = Warm::new(settings.warm_bytes);
        Self { store, codec, secrets, clock, warm, turns: Turns::default(), settings }
    }

    /// The time by which the bus decides.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A secret that is shown once and can be made again from the same order: a repeat after a lost
    /// answer shows the same.
    #[must_use]
    pub fn shown_once(&self, caller: &Caller, purpose: &str, command_id: Uuid) -> [u8; 32] {
        let of = format!("{}/{}/{command_id}", caller.company.0, caller.actor);
        self.secrets.shown_once(purpose, of.as_bytes())
    }

    /// A secret for one purpose that every process of this installation derives alike.
    #[must_use]
    pub fn derived_secret(&self, purpose: &str, of: &[u8]) -> [u8; 32] {
        self.secrets.shown_once(purpose, of)
    }

    /// The clock by which the bus decides.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The stream that an order of this caller addresses.
    #[must_use]
    pub fn stream<A: Aggregate>(caller: &Caller, id: Uuid) -> StreamId {
        let company = if A::OF_PLATFORM { CompanyId::NONE } else { caller.company };
        StreamId::new(company, A::NAME, id)
    }

    /// The state of an aggregate now, read from the log past any cache; `None` if it has no events.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`] or another reason why the history cannot be read.
    pub async fn state<A: Aggregate>(
        &self,
        company: CompanyId,
        id: Uuid,
    ) -> Result<Option<A>, CommandError> {
        let company = if A::OF_PLATFORM { CompanyId::NONE } else { company };
        let stream = StreamId::new(company, A::NAME, id);
        let entry = self.read::<A>(&stream).await?;
        Ok((entry.version.0 > 0).then(|| entry.state.clone()))
    }

    /// Which aggregate holds a value of a company's now that must be unique.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`].
    pub async fn holder(
        &self,
        company: CompanyId,
        kind: Kind,
        value: &str,
    ) -> Result<Option<Uuid>, CommandError> {
        let scope = kind.scope(company);
        let key = self.secrets.claim_key(scope, kind.as_str(), value.as_bytes());
        let held = self.store.holder(scope, kind.as_str(), &key).await;
        Ok(held.map_err(|ReadError| CommandError::Unavailable)?.map(|stream| stream.id))
    }

    /// Carries out a command on the aggregate `id` of the caller's company.
    ///
    /// # Errors
    /// See [`CommandError`]; nothing was written unless it says so.
    pub async fn execute<A: Aggregate>(
        &self,
        caller: &Caller,
        id: Uuid,
        command: A::Command,
        order: Order,
    ) -> Result<Receipt, CommandError> {
        let stream = Self::stream::<A>(caller, id);
        let span = tracing::info_span!(
            "command.execute",
            aggregate = A::NAME,
            stream.id = %stream.id,
            command.id = %order.command_id,
            trace.parent = order.trace_parent
        );
        let result = self.attempt_all::<A>(caller, stream, command, order).instrument(span).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => error.code(),
        };
        metrics::counter!("colloquy_commands_total", "aggregate" => A::NAME, "outcome" => outcome)
            .increment(1);
        result
    }

    async fn attempt_all<A: Aggregate>(
        &self,
        caller: &Caller,
        stream: StreamId,
        command: A::Command,
        order: Order,
    ) -> Result<Receipt, CommandError> {
        let action = A::action(&command);
        let any = Relation { assigned: true, own_job: true, own: true };
        if !permission::allows(caller, action, any) {
            return Err(CommandError::Forbidden);
        }
        // Nothing of a company belongs to no company.
        if caller.company == CompanyId::NONE && !A::OF_PLATFORM {
            return Err(CommandError::Forbidden);
        }
        // A guest's token opens one interview and nothing else, not even another of the same person.
        if let Actor::Guest { interview, .. } = caller.actor
            && stream.id != interview.0
        {
            return Err(CommandError::Forbidden);
        }
        let input = [A::NAME.as_bytes(), &order.input];
        let cause = Cause {
            command_id: order.command_id,
            fingerprint: self.secrets.fingerprint(&input),
            correlation_id: order.correlation_id.unwrap_or(order.command_id),
            causation_id: order.causation_id,
            actor: caller.actor.to_string(),
            trace_parent: order.trace_parent.clone(),
        };
        let _turn = self.turns.take(&stream).await;
        // Whose id derives from this very order is not there, unless the order is a repeat: nothing is
        // read in vain. Whatever comes of that but an append is looked into by an attempt that reads.
        // Where claims are made before the events, a repeat would meet its own.
        let is_new = stream.id == derive_id(caller, order.command_id, A::NAME, 0);
        if is_new && self.store.capabilities().claims && self.warm.get::<A>(&stream).is_none() {
            let nothing = Loaded { entry: Arc::new(Entry::default()), from_cache: false };
            match self.attempt::<A>(caller, &stream, nothing, &command, &order, &cause).await {
                Ok(Some(receipt)) if receipt.wrote => return Ok(receipt),
                Err(error @ (CommandError::OutcomeUnknown | CommandError::Unavailable)) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        for _ in 0..self.settings.max_attempts {
            let loaded = self.load::<A>(&stream).await?;
            if let Some(receipt) =
                self.attempt::<A>(caller, &stream, loaded, &command, &order, &cause).await?
            {
                return Ok(receipt);
            }
        }
        Err(CommandError::Contended)
    }

    /// One attempt; `None` means that it rested on something stale and must be made again.
    async fn attempt<A: Aggregate>(
        &self,
        caller: &Caller,
        stream: &StreamId,
        loaded: Loaded<A>,
        command: &A::Command,
        order: &Order,
        cause: &Cause,
    ) -> Result<Option<Receipt>, CommandError> {
        let entry = &loaded.entry;
        // Before anything is judged anew: a repeat is the same order by the same actor, and it was
        // allowed when it was carried out. Its tenant and the actor's roles were looked at by now; how
        // the actor stands to the record at present decides what it may do next, and not what it is
        // told of what it did. The receipt says no more than that.
        if let Some(was) = entry.remembered(&cause.actor, cause.command_id) {
            if was.fingerprint != cause.fingerprint && !order.derived {
                return Err(CommandError::CommandIdReused);
            }
            return Ok(Some(Receipt {
                stream: stream.clone(),
                version: was.version,
                position: was.position,
                recorded_at: was.recorded_at,
                wrote: true,
            }));
        }
        let relied = self.rely_on(stream.company, entry.state.references(command)).await?;
        let may_be_stale = loaded.from_cache || relied.from_cache;
        let answer = match self.decide::<A>(caller, &loaded, &relied, command, order) {
            Ok(events) if !events.is_empty() => {
                return self.append::<A>(caller, stream, &loaded, &relied, events, cause).await;
            }
            Ok(_) => Ok(Some(Receipt {
                stream: stream.clone(),
                version: entry.version,
                position: entry.position,
                recorded_at: entry.recorded_at,
                wrote: false,
            })),
            Err(error) => Err(error),
        };
        // What does not append is not judged by the log, so it is checked before it is answered.
        if may_be_stale && self.is_stale(stream, entry.version, &relied).await? {
            return Ok(None);
        }
        answer
    }

    fn decide<A: Aggregate>(
        &self,
        caller: &Caller,
        loaded: &Loaded<A>,
        relied: &Relied,
        command: &A::Command,
        order: &Order,
    ) -> Result<Vec<A::Event>, CommandError> {
        let Entry { state, version, .. } = &*loaded.entry;
        let relation = state.relation(caller, command, &relied.facts);
        if !permission::allows(caller, A::action(command), relation) {
            return Err(CommandError::Forbidden);
        }
        if let Some(expected) = order.expected_version.filter(|expected| expected != version) {
            return Err(CommandError::VersionConflict { expected, found: *version });
        }
        let context = Context { caller, now: self.clock.now(), facts: &relied.facts };
        state.decide(command.clone(), context).map_err(|r| CommandError::Refused(Box::new(r)))
    }

    async fn append<A: Aggregate>(
        &self,
        caller: &Caller,
        stream: &StreamId,
        loaded: &Loaded<A>,
        relied: &Relied,
        events: Vec<A::Event>,
        cause: &Cause,
    ) -> Result<Option<Receipt>, CommandError> {
        let occurred_at = self.clock.now();
        // The stream is part of it: one command id may be used on several.
        let kind = format!("{}/{}", stream.aggregate, stream.id);
        let with_ids: Vec<(Uuid, Event)> = events
            .iter()
            .zip(0..)
            .map(|(event, n)| {
                let id = derive_id(caller, cause.command_id, &kind, n);
                (id, event.clone().into())
            })
            .collect();
        let sealed = self.codec.seal(stream.company, &with_ids).await.map_err(unsealed)?;
        let mut keys = keys(&sealed);
        if let Some(subject) = loaded.entry.state.subject() {
            // Even an event without a personal field is refused once its subject was erased.
            let home = key_home(stream.company, subject);
            let key = self.codec.vault().key_for(home, subject).await;
            keys.push(key.map_err(|error| unsealed(error.into()))?.id);
            keys.sort_unstable();
            keys.dedup();
        }
        let named = keys.clone();
        let append = Append {
            stream: stream.clone(),
            expected: loaded.entry.version,
            guards: relied.guards.clone(),
            claims: self.claim_changes(stream.company, with_ids.iter().map(|(_, event)| event)),
            keys,
            cause: cause.clone(),
            events: with_ids
                .iter()
                .zip(sealed)
                .map(|((event_id, _), encoded)| NewEvent {
                    event_id: *event_id,
                    name: encoded.name.into(),
                    schema_version: encoded.schema_version,
                    occurred_at,
                    payload: encoded.payload,
                })
                .collect(),
        };
        let appended = match self.store.append(append).await {
            Ok(appended) => appended,
            Err(AppendError::Conflict { .. }) => {
                self.warm.drop_stale(stream);
                if let Some(entry) = self.read_on(stream, &loaded.entry).await? {
                    self.warm.put(stream, Arc::new(entry));
                }
                return Ok(None);
            }
            Err(AppendError::GuardMoved) => {
                relied.guards.iter().for_each(|guard| self.warm.drop_stale(&guard.stream));
                return Ok(None);
            }
            Err(AppendError::Claimed { kind }) => return Err(taken(kind)),
            // Forgotten, or lost in a crash of the server before an append named it: the next attempt
            // asks the vault.
            Err(AppendError::SubjectErased) => {
                self.codec.vault().doubt(&named);
                return Ok(None);
            }
            Err(AppendError::TooLarge) => return Err(CommandError::TooLarge),
            Err(AppendError::Malformed(why)) => {
                tracing::error!(%why, stream = %stream, "an append has not the form of one");
                return Err(CommandError::Unreadable);
            }
            Err(AppendError::Unavailable) => return Err(CommandError::Unavailable),
            Err(AppendError::OutcomeUnknown) => {
                self.warm.drop_stale(stream);
                return Err(CommandError::OutcomeUnknown);
            }
        };
        let mut entry = (*loaded.entry).clone();
        for event in &events {
            let remembered = Remembered {
                fingerprint: cause.fingerprint.clone(),
                version: appended.version,
                position: appended.position,
                recorded_at: appended.recorded_at,
            };
            entry.take_in(event, occurred_at, cause, remembered);
        }
        self.warm.put(stream, Arc::new(entry));
        Ok(Some(Receipt {
            stream: stream.clone(),
            version: appended.version,
            position: appended.position,
            recorded_at: appended.recorded_at,
            wrote: true,
        }))
    }

    /// The last change of each kind wins, as the events' order has it.
    fn claim_changes<'a>(
        &self,
        company: CompanyId,
        events: impl Iterator<Item = &'a Event>,
    ) -> Vec<ClaimChange> {
        let mut changes: HashMap<Kind, Option<Vec<u8>>> = HashMap::new();
        for change in events.flat_map(claims) {
            match change {
                Change::Take(kind, value) => {
                    let scope = kind.scope(company);
                    let key = self.secrets.claim_key(scope, kind.as_str(), value.as_bytes());
                    changes.insert(kind, Some(key));
                }
                Change::Release(kind) => {
                    changes.insert(kind, None);
                }
            }
        }
        changes
            .into_iter()
            .map(|(kind, key)| ClaimChange { scope: kind.scope(company), kind: kind.as_str(), key })
            .collect()
    }

    async fn load<A: Aggregate>(&self, stream: &StreamId) -> Result<Loaded<A>, CommandError> {
        if let Some(entry) = self.warm.get::<A>(stream) {
            return Ok(Loaded { entry, from_cache: true });
        }
        let entry = self.read::<A>(stream).await?;
        if entry.version.0 > 0 {
            self.warm.put(stream, entry.clone());
        }
        Ok(Loaded { entry, from_cache: false })
    }

    /// Reads the whole history of a stream.
    async fn read<A: Aggregate>(&self, stream: &StreamId) -> Result<Arc<Entry<A>>, CommandError> {
        let mut entry = Entry::<A>::default();
        loop {
            let page = self.page(stream, entry.version).await?;
            let n_events = page.len();
            self.take_in(stream, &mut entry, page).await?;
            if n_events < PAGE {
                return Ok(Arc::new(entry));
            }
        }
    }

    /// What is known of a stream with what has followed. `None` where all has to be read: nothing is
    /// known, a page does not hold what follows, or the log was put back to an earlier state and does
    /// not hold what is known.
    async fn read_on<A: Aggregate>(
        &self,
        stream: &StreamId,
        known: &Entry<A>,
    ) -> Result<Option<Entry<A>>, CommandError> {
        let Some(before) = known.version.0.checked_sub(1) else { return Ok(None) };
        let mut page = self.page(stream, Version(before)).await?;
        let is_held = page.first().is_some_and(|last| {
            (last.position, last.recorded_at) == (known.position, known.recorded_at)
        });
        if !is_held || page.len() == PAGE {
            return Ok(None);
        }
        let mut entry = known.clone();
        self.take_in(stream, &mut entry, page.split_off(1)).await?;
        Ok(Some(entry))
    }

    async fn page(
        &self,
        stream: &StreamId,
        after: Version,
    ) -> Result<Vec<StoredEvent>, CommandError> {
        let page = self.store.read_stream(stream, after, PAGE).await;
        page.map_err(|ReadError| CommandError::Unavailable)
    }

    /// Adds events to an entry, all of them or none.
    async fn take_in<A: Aggregate>(
        &self,
        stream: &StreamId,
        entry: &mut Entry<A>,
        page: Vec<StoredEvent>,
    ) -> Result<(), CommandError> {
        let recorded =
            self.codec.open_withheld(page).await.map_err(|error| unread(stream, &error))?;
        let events: Option<Vec<_>> = recorded.iter().map(|r| A::event(&r.event)).collect();
        let Some(events) = events else {
            tracing::error!(stream = %stream, "an event of another aggregate in the stream");
            return Err(CommandError::Unreadable);
        };
        for (event, r) in events.into_iter().zip(&recorded) {
            let remembered = Remembered {
                fingerprint: r.stored.cause.fingerprint.clone(),
                version: r.stored.version,
                position: r.stored.position,
                recorded_at: r.stored.recorded_at,
            };
            entry.take_in(event, r.stored.occurred_at, &r.stored.cause, remembered);
        }
        Ok(())
    }

    async fn rely_on(
        &self,
        company: CompanyId,
        references: Vec<Reference>,
    ) -> Result<Relied, CommandError> {
        let mut relied = Relied::default();
        for reference in references {
            match reference {
                Reference::Application(id) => {
                    let state = self.fact(company, id.0, &mut relied).await?;
                    relied.facts.applications.extend(state.map(|state| (id, state)));
                }
                Reference::Candidate(id) => {
                    let state = self.fact(company, id.0, &mut relied).await?;
                    relied.facts.candidates.extend(state.map(|state| (id, state)));
                }
                Reference::Company => {
                    relied.facts.company = self.fact(company, company.0, &mut relied).await?;
                }
                Reference::Interview(id) => {
                    let state = self.fact(company, id.0, &mut relied).await?;
                    relied.facts.interviews.extend(state.map(|state| (id, state)));
                }
                Reference::Job(id) => {
                    let state = self.fact(company, id.0, &mut relied).await?;
                    relied.facts.jobs.extend(state.map(|state| (id, state)));
                }
                Reference::Member(id) => {
                    let state = self.fact(company, id.0, &mut relied).await?;
                    relied.facts.members.extend(state.map(|state| (id, state)));
                }
                Reference::Resume(id) => {
                    let state = self.fact(company, id.0, &mut relied).await?;
                    relied.facts.resumes.extend(state.map(|state| (id, state)));
                }
            }
        }
        Ok(relied)
    }

    async fn fact<A: Aggregate>(
        &self,
        company: CompanyId,
        id: Uuid,
        relied: &mut Relied,
    ) -> Result<Option<A>, CommandError> {
        let stream = StreamId::new(company, A::NAME, id);
        let loaded = self.load::<A>(&stream).await?;
        let version = loaded.entry.version;
        relied.from_cache |= loaded.from_cache;
        relied.guards.push(Guard { stream, version });
        Ok((version.0 > 0).then(|| loaded.entry.state.clone()))
    }

    /// Whether what a decision rested on has moved; what has is forgotten.
    async fn is_stale(
        &self,
        stream: &StreamId,
        version: Version,
        relied: &Relied,
    ) -> Result<bool, CommandError> {
        let mut stale = false;
        let own = Guard { stream: stream.clone(), version };
        for guard in std::iter::once(&own).chain(&relied.guards) {
            let found = self.store.stream_version(&guard.stream).await;
            if found.map_err(|ReadError| CommandError::Unavailable)? != guard.version {
                self.warm.drop_stale(&guard.stream);
                stale = true;
            }
        }
        Ok(stale)
    }
}

fn keys(sealed: &[Encoded]) -> Vec<Uuid> {
    let mut keys: Vec<Uuid> = sealed.iter().flat_map(|encoded| &encoded.keys).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn taken(kind: &'static str) -> CommandError {
    match Kind::ALL.into_iter().find(|known| known.as_str() == kind) {
        Some(kind) => CommandError::Taken { kind },
        None => CommandError::Unreadable,
    }
}

fn unsealed(error: CodecError) -> CommandError {
    match error {
        CodecError::Vault(VaultError::SubjectErased) => CommandError::SubjectErased,
        CodecError::Vault(VaultError::Unavailable) => CommandError::Unavailable,
        error => {
            tracing::error!(%error, "an event cannot be sealed");
            CommandError::Unreadable
        }
    }
}

fn unread(stream: &StreamId, error: &CodecError) -> CommandError {
    match error {
        CodecError::Vault(VaultError::Unavailable) => CommandError::Unavailable,
        CodecError::NewerVersion { .. } | CodecError::UnknownName { .. } => {
            CommandError::NewerHistory
        }
        error => {
            tracing::error!(%error, stream = %stream, "a history cannot be read");
            CommandError::Unreadable
        }
    }
}
