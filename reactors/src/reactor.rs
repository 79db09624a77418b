//! What a reactor is: a pure reaction to one event, and the actions that follow from it.

use std::sync::Arc;

use async_trait::async_trait;
use commands::{Bus, CommandError, Order, Receipt};
use domain::Aggregate;
use domain::caller::Caller;
use eventlog::codec::Recorded;
use eventlog::deadlines::{DeadlineError, Deadlines};
use eventlog::envelope::StoredEvent;
use eventlog::files::Files;
use uuid::Uuid;

use crate::ai_log::AiLog;
use crate::history::{Histories, View};
use crate::resume::text::TextReader;

/// A process manager: events in, orders and side effects out. It keeps no state of its own: what it
/// needs is in the histories, so that the same event leads to the same actions whenever it comes.
#[async_trait]
pub trait Reactor: Send + Sync + 'static {
    /// Its stored name, such as `reactor.conductor`. A promise: it never changes.
    const NAME: &'static str;
    /// The one aggregate whose streams it follows.
    const AGGREGATE: &'static str;
    /// Stored names of the events that it reacts to; others are passed over unopened.
    const EVENTS: &'static [&'static str];
    /// What can follow from an event.
    type Action: Send;

    /// What follows from `event`. Pure. `view` is the stream up to and including the event, never
    /// beyond, so that a redelivery sees what the first delivery saw.
    fn react(&self, view: &View, event: &Recorded) -> Vec<Self::Action>;

    /// Carries out one action. Doing it again must change nothing: orders go out under ids that
    /// derive from `cause`, and a refusal by the rules is an ordinary outcome.
    ///
    /// # Errors
    /// See [`Fault`].
    async fn act(
        &self,
        action: Self::Action,
        view: &View,
        cause: &StoredEvent,
        tools: &Tools,
    ) -> Result<(), Fault>;
}

/// Why an action was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something needed cannot be reached; doing it again later is right.
    #[error("something needed cannot be reached at present")]
    Unavailable,
    /// It cannot be carried out, whoever tries: what kind of fault, without content.
    #[error("it cannot be carried out: {0}")]
    Poison(String),
}

impl From<DeadlineError> for Fault {
    fn from(DeadlineError: DeadlineError) -> Self {
        Self::Unavailable
    }
}

/// What reactors work with.
pub struct Tools {
    /// The door to the rules.
    pub bus: Arc<Bus>,
    /// Histories of other streams.
    pub histories: Arc<Histories>,
    /// The AI, each of whose answers is recorded before it is used.
    pub ai: AiLog,
    /// What is due later.
    pub deadlines: Arc<dyn Deadlines>,
    /// Uploaded files.
    pub files: Files,
    /// Reads résumés' files.
    pub reader: TextReader,
}

impl Tools {
    /// Carries out an order that follows from an event.
    ///
    /// # Errors
    /// See [`Fault`]; a refusal by the rules is none.
    pub async fn order<A: Aggregate>(
        &self,
        caller: &Caller,
        id: Uuid,
        command: A::Command,
        cause: &StoredEvent,
        purpose: &str,
    ) -> Result<Settled, Fault> {
        let order = Order::of_event(caller, cause, purpose);
        settle(A::NAME, self.bus.execute::<A>(caller, id, command, order).await)
    }
}

/// How an order came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was carried out, now or before, or it was so already.
    Done(Receipt),
    /// A rule stands against it; the refusal's public code.
    Refused(&'static str),
}

/// Tells what is ordinary from what must be tried again, and from what nobody can mend by trying.
///
/// # Errors
/// See [`Fault`].
pub(crate) fn settle(
    aggregate: &'static str,
    result: Result<Receipt, CommandError>,
) -> Result<Settled, Fault> {
    let error = match result {
        Ok(receipt) => return Ok(Settled::Done(receipt)),
        Err(error) => error,
    };
    let code = error.code();
    match error {
        // The world has moved on since the event, as it may.
        CommandError::Refused(_) | CommandError::Taken { .. } | CommandError::SubjectErased => {
            tracing::debug!(aggregate, error.code = code, "an order came to nothing");
            Ok(Settled::Refused(code))
        }
        CommandError::TooLarge => {
            tracing::warn!(aggregate, error.code = code, "an order was too large");
            Ok(Settled::Refused(code))
        }
        CommandError::Contended | CommandError::Unavailable | CommandError::OutcomeUnknown => {
            Err(Fault::Unavailable)
        }
        CommandError::Forbidden
        | CommandError::VersionConflict { .. }
        | CommandError::CommandIdReused
        | CommandError::NewerHistory
        | CommandError::Unreadable => Err(Fault::Poison(format!("{aggregate}: {code}"))),
    }
}
