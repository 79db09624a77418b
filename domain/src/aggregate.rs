//! What every aggregate has: a state, commands that are decided, events that evolve it.

use chrono::{DateTime, Utc};

use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::permission::{Action, Relation};
use crate::personal::Subject;

/// A refusal's or error's public code, which never changes once published.
pub trait PublicCode: std::error::Error {
    /// Such as `VERDICT_ALREADY_SIGNED`; each has its entry in `schemas/errors.md`.
    fn code(&self) -> &'static str;
}

/// What a decision may look at beside the aggregate's own state. All of it is data.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Who asks; already known to hold the right in general.
    pub caller: &'a Caller,
    /// Time of the decision, UTC.
    pub now: DateTime<Utc>,
    /// States of other streams, loaded by the bus as the command's references ask.
    pub facts: &'a Facts,
}

/// Decides commands into events and evolves by events. Pure: no IO, no clock, no randomness.
pub trait Aggregate: Default + Clone + Send + Sync + 'static {
    /// The aggregate's stored name, such as `interview`. A promise: it never changes.
    const NAME: &'static str;
    /// Whether instances belong to no company, but to the platform.
    const OF_PLATFORM: bool = false;
    /// What can be asked.
    type Command: Clone + Send + Sync;
    /// What has happened.
    type Event: Clone + Send + Sync + Into<crate::Event>;
    /// Why not.
    type Refusal: PublicCode + Send + Sync + 'static;

    /// The aggregate's own events out of the sum of all.
    fn event(event: &crate::Event) -> Option<&Self::Event>;

    /// Which right the command needs.
    fn action(command: &Self::Command) -> Action;

    /// How the caller stands to this instance, for rights that hold only for some instances.
    fn relation(&self, caller: &Caller, command: &Self::Command, facts: &Facts) -> Relation;

    /// Streams whose states the decision relies on; their versions are guarded by the append.
    fn references(&self, command: &Self::Command) -> Vec<Reference>;

    /// Whose personal data the instance is about; a command about an erased subject is refused.
    fn subject(&self) -> Option<Subject> {
        None
    }

    /// The rules. An empty list means: already so.
    ///
    /// # Errors
    /// A refusal with a public code when a rule forbids the command.
    fn decide(
        &self,
        command: Self::Command,
        context: Context<'_>,
    ) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// The state after `event`, which happened at `at`. Cannot fail, keeps only what some decision
    /// reads, and never a personal text.
    #[must_use]
    fn evolve(self, event: &Self::Event, at: DateTime<Utc>) -> Self;
}
