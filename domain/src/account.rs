//! An account: one login. Credentials are rows of `identity`; here stands what happened.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::ids::AccountId;
use crate::permission::{Action, Relation};
use crate::personal::{Personal, Subject};
use crate::values::{self, Invalid};

/// What can be asked of an account.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make it.
    Register {
        /// Its id, whose key seals the address.
        account_id: AccountId,
        /// E-mail address, unique everywhere.
        email: String,
    },
}

/// What has happened to an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The login was made.
    Registered {
        /// E-mail address.
        email: Personal<String>,
    },
}

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The account exists already.
    #[error("the account exists already")]
    AlreadyRegistered,
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::AlreadyRegistered => "ACCOUNT_ALREADY_REGISTERED",
        }
    }
}

/// What decisions about an account read.
#[derive(Clone, Debug, Default)]
pub struct Account {
    registered: Option<Subject>,
}

impl Aggregate for Account {
    const NAME: &'static str = "account";
    const OF_PLATFORM: bool = true;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Account(event) => Some(event),
            _ => None,
        }
    }

    fn action(command: &Command) -> Action {
        match command {
            Command::Register { .. } => Action::JoinCompany,
        }
    }

    fn relation(&self, _: &Caller, _: &Command, _: &Facts) -> Relation {
        Relation::default()
    }

    fn references(&self, _: &Command) -> Vec<Reference> {
        vec![]
    }

    fn subject(&self) -> Option<Subject> {
        self.registered
    }

    fn decide(&self, command: Command, _: Context<'_>) -> Result<Vec<Event>, Refusal> {
        match (command, self.registered) {
            (Command::Register { account_id, email }, None) => {
                let email = values::email("email", &email)?;
                let email = Personal::new(Subject::Account(account_id), email);
                Ok(vec![Event::Registered { email }])
            }
            (Command::Register { .. }, Some(_)) => Err(Refusal::AlreadyRegistered),
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Registered { email } => self.registered = Some(email.subject()),
        }
        self
    }
}
