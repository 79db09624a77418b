//! Given, when, then: rules read as tables. No mocks, no IO.

use chrono::{DateTime, Utc};

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::facts::Facts;

/// A history to be decided on.
pub struct Given<A> {
    state: A,
    caller: Caller,
    facts: Facts,
    now: DateTime<Utc>,
}

/// What a decision came to.
pub struct Outcome<A: Aggregate>(Result<Vec<A::Event>, A::Refusal>);

/// Starts from a history, all of it at `at`.
pub fn given<A: Aggregate>(
    at: DateTime<Utc>,
    caller: &Caller,
    events: impl IntoIterator<Item = A::Event>,
) -> Given<A> {
    Given { state: state(at, events), caller: caller.clone(), facts: Facts::default(), now: at }
}

/// The state after a history, all of it at `at`.
pub fn state<A: Aggregate>(at: DateTime<Utc>, events: impl IntoIterator<Item = A::Event>) -> A {
    events.into_iter().fold(A::default(), |state, event| state.evolve(&event, at))
}

impl<A: Aggregate> Given<A> {
    /// With these states of other streams.
    #[must_use]
    pub fn facts(mut self, facts: Facts) -> Self {
        self.facts = facts;
        self
    }

    /// Decides at another time.
    #[must_use]
    pub fn at(mut self, now: DateTime<Utc>) -> Self {
        self.now = now;
        self
    }

    /// Decides as somebody else.
    #[must_use]
    pub fn by(mut self, caller: &Caller) -> Self {
        self.caller = caller.clone();
        self
    }

    /// The state that is decided on.
    #[must_use]
    pub fn state(&self) -> &A {
        &self.state
    }

    /// Decides.
    #[must_use]
    pub fn when(&self, command: A::Command) -> Outcome<A> {
        let context = Context { caller: &self.caller, now: self.now, facts: &self.facts };
        Outcome(self.state.decide(command, context))
    }
}

impl<A: Aggregate> Outcome<A>
where
    A::Event: PartialEq + std::fmt::Debug,
    A::Refusal: PartialEq,
{
    /// Exactly these events.
    ///
    /// # Panics
    /// When it came to something else.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = A::Event>) {
        assert_eq!(self.0, Ok(events.into_iter().collect()));
    }

    /// Nothing: it is so already.
    ///
    /// # Panics
    /// When it came to something else.
    #[track_caller]
    pub fn nothing(self) {
        assert_eq!(self.0, Ok(vec![]));
    }

    /// This refusal.
    ///
    /// # Panics
    /// When it came to something else.
    #[track_caller]
    pub fn refused(self, refusal: A::Refusal) {
        assert_eq!(self.0, Err(refusal));
    }

    /// Any refusal with this public code.
    ///
    /// # Panics
    /// When it came to something else.
    #[track_caller]
    pub fn refused_with(self, code: &str) {
        assert_eq!(self.0.map_err(|refusal| refusal.code()), Err(code));
    }

    /// The bare outcome.
    ///
    /// # Errors
    /// The refusal, where it came to one.
    pub fn result(self) -> Result<Vec<A::Event>, A::Refusal> {
        self.0
    }
}
