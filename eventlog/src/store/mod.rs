//! The event store's port: append with an expected version, guards, claims and key checks; read.

mod batch;
mod check;
mod connect;
#[cfg(feature = "eventstoredb")]
pub mod eventstoredb;
mod gather;
mod lane;
pub mod memory;
pub mod postgres;
pub(crate) mod readers;
mod room;
mod rows;
mod wake;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::ids::CompanyId;
use uuid::Uuid;

use crate::envelope::{Cause, NewEvent, Position, StoredEvent, StreamId, Version};

/// One command's events for one stream, stored whole or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    /// The stream they belong to.
    pub stream: StreamId,
    /// The version that the decision was made on. There is no append without one.
    pub expected: Version,
    /// Versions of other streams of the same company which the decision relied on.
    pub guards: Vec<Guard>,
    /// Uniqueness to be taken or given up together with the events.
    pub claims: Vec<ClaimChange>,
    /// Ids of the keys that the payloads are sealed with: each must be alive.
    pub keys: Vec<Uuid>,
    /// Who and what caused the events.
    pub cause: Cause,
    /// The events, at least one.
    pub events: Vec<NewEvent>,
}

/// A version of another stream that must still hold when the append is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The other stream.
    pub stream: StreamId,
    /// The version which the decision saw.
    pub version: Version,
}

/// What must be unique across streams. A stream holds at most one key of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimChange {
    /// In whose name it is unique: the company, or nil for everywhere.
    pub scope: CompanyId,
    /// What is unique, such as `candidate_email`.
    pub kind: &'static str,
    /// HMAC of the value to take (replacing the one held); `None` releases.
    pub key: Option<Vec<u8>>,
}

/// What an append that was stored answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Version of the stream's last event.
    pub version: Version,
    /// Position of the last event of this append.
    pub position: Position,
    /// When the log took it in.
    pub recorded_at: DateTime<Utc>,
}

/// Why an append was not stored, or is not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The stream stands at another version than the decision saw.
    #[error("the stream is at version {found}")]
    Conflict {
        /// The version found.
        found: Version,
    },
    /// A stream that the decision relied on has moved.
    #[error("a stream that the decision relied on has moved")]
    GuardMoved,
    /// Another stream holds the key of this kind.
    #[error("{kind} is taken")]
    Claimed {
        /// The kind of claim, such as `candidate_email`.
        kind: &'static str,
    },
    /// A key that the payload is sealed with was forgotten, or is not known (any more).
    #[error("the data's subject was erased")]
    SubjectErased,
    /// Nothing was written and nothing could be: the caller may try again.
    #[error("the event store cannot be reached")]
    Unavailable,
    /// The connection broke after the append was sent; whether it was stored is not known.
    #[error("whether the append was stored is not known")]
    OutcomeUnknown,
    /// An event is larger than an event may be.
    #[error("an event is larger than {} bytes", crate::envelope::MAX_PAYLOAD_BYTES)]
    TooLarge,
    /// The append itself makes no sense, which is a defect of the caller; trying again is no use.
    #[error("the append is malformed: {0}")]
    Malformed(&'static str),
}

/// The log could not be read. Details are logged where it happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event store cannot be read")]
pub struct ReadError;

/// Which events a reader of the whole log wants. What is empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this tenant's.
    pub company: Option<CompanyId>,
    /// Only these aggregates.
    pub aggregates: Vec<String>,
}

impl Filter {
    /// These aggregates of all tenants.
    #[must_use]
    pub fn of_aggregates<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { company: None, aggregates: names.into_iter().map(Into::into).collect() }
    }

    /// Whether it lets a stream's events through.
    pub(crate) fn lets(&self, stream: &StreamId) -> bool {
        let is_its = |name: &String| *name == stream.aggregate;
        self.company.is_none_or(|company| company == stream.company)
            && (self.aggregates.is_empty() || self.aggregates.iter().any(is_its))
    }
}

/// A piece of the log.
#[derive(Clone, Debug)]
pub struct LogPage {
    /// The events that match, in order.
    pub events: Vec<StoredEvent>,
    /// Where to go on: everything up to here was looked at.
    pub next: Position,
    /// The last position there was when the page was read.
    pub head: Position,
}

/// What a store can promise beyond the words of [`EventStore`], and what it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Positions are 1, 2, 3 … without a gap. Else they rise in commit order, with gaps.
    pub dense_positions: bool,
    /// Claims are judged together with the events. Else they are reserved before.
    pub claims: bool,
    /// Versions of other streams are judged together with the events. Else they are looked at right
    /// before, and what moves in between is not noticed.
    pub guards: bool,
    /// The log stands in tables beside the read models, where SQL can join it with them.
    pub in_database: bool,
}

/// The log: one total order of all events, each in the order of its stream.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Stores the events durably, or says why not.
    ///
    /// # Errors
    /// See [`AppendError`]; after any but `OutcomeUnknown` nothing was written.
    async fn append(&self, append: Append) -> Result<Appended, AppendError>;

    /// Events of one stream after `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be reached.
    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError>;

    /// Events of all streams after `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be reached.
    async fn read_log(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<LogPage, ReadError>;

    /// The stream's version now, 0 if it has no events.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be reached.
    async fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError>;

    /// The stream that holds a claim's key now.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be reached.
    async fn holder(
        &self,
        scope: CompanyId,
        kind: &'static str,
        key: &[u8],
    ) -> Result<Option<StreamId>, ReadError>;

    /// Every stream of these aggregates (empty: of all) with its version, after the given stream in
    /// the order of (company, aggregate, id), at most `limit`: what a sweep compares.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be reached.
    async fn stream_versions(
        &self,
        filter: &Filter,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, Version)>, ReadError>;

    /// The last position, 0 if the log is empty.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be reached.
    async fn head(&self) -> Result<Position, ReadError>;

    /// The greatest position recorded at or before `at`, and whether that answer is final: a later
    /// event is committed already, or the order's lock was passed once after `at`.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be reached.
    async fn position_at(&self, at: DateTime<Utc>) -> Result<(Position, bool), ReadError>;

    /// Returns as soon as there may be an event past `position`, at the latest after about a second.
    /// A wake-up is a hint: the caller reads and waits again.
    async fn wait_past(&self, position: Position);

    /// What the store can promise.
    fn capabilities(&self) -> Capabilities;
}
