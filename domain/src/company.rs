//! A company: the tenant. Its name, domain and policies.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::permission::{Action, Relation};
use crate::values::{self, Invalid};

/// What can be asked of a company.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make it.
    Register {
        /// Its name.
        name: String,
        /// Its mail domain, unique everywhere.
        domain: Option<String>,
    },
    /// Give it another name.
    Rename {
        /// The new name.
        name: String,
    },
    /// Come in as somebody who runs the platform.
    Enter {
        /// The session in which.
        session_id: Uuid,
    },
}

/// What has happened to a company.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// It became a tenant.
    Registered {
        /// Its name.
        name: String,
        /// Its mail domain.
        domain: Option<String>,
    },
    /// It got another name.
    Renamed {
        /// The new name.
        name: String,
    },
    /// Somebody who runs the platform, the event's actor, came in and may see and do what the rules
    /// give them here.
    OperatorEntered {
        /// The session in which.
        session_id: Uuid,
    },
}

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The company exists already.
    #[error("the company exists already")]
    AlreadyRegistered,
    /// There is no such company.
    #[error("there is no such company")]
    Missing,
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::AlreadyRegistered => "COMPANY_ALREADY_REGISTERED",
            Self::Missing => "COMPANY_NOT_FOUND",
        }
    }
}

/// What decisions about a company read.
#[derive(Clone, Debug, Default)]
pub struct Company {
    name: Option<String>,
}

impl Aggregate for Company {
    const NAME: &'static str = "company";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Company(event) => Some(event),
            _ => None,
        }
    }

    fn action(command: &Command) -> Action {
        match command {
            Command::Register { .. } => Action::RegisterCompany,
            Command::Rename { .. } => Action::ManageCompany,
            Command::Enter { .. } => Action::EnterCompany,
        }
    }

    fn relation(&self, _: &Caller, _: &Command, _: &Facts) -> Relation {
        Relation::default()
    }

    fn references(&self, _: &Command) -> Vec<Reference> {
        vec![]
    }

    fn decide(&self, command: Command, _: Context<'_>) -> Result<Vec<Event>, Refusal> {
        match (command, &self.name) {
            (Command::Register { name, domain }, None) => {
                let domain = domain.map(|d| values::line("domain", &d)).transpose()?;
                let domain = domain.map(|d| d.to_lowercase());
                Ok(vec![Event::Registered { name: values::line("name", &name)?, domain }])
            }
            (Command::Register { .. }, Some(_)) => Err(Refusal::AlreadyRegistered),
            (Command::Rename { name }, Some(was)) if *was == name => Ok(vec![]),
            (Command::Rename { name }, Some(_)) => {
                Ok(vec![Event::Renamed { name: values::line("name", &name)? }])
            }
            (Command::Enter { session_id }, Some(_)) => {
                Ok(vec![Event::OperatorEntered { session_id }])
            }
            (Command::Rename { .. } | Command::Enter { .. }, None) => Err(Refusal::Missing),
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Registered { name, .. } | Event::Renamed { name } => {
                self.name = Some(name.clone());
            }
            Event::OperatorEntered { .. } => {}
        }
        self
    }
}
