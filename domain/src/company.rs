//! A company: the tenant. Its name, its domain, and the roles that it makes itself.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::custom_role::{self, CustomRights, CustomRoles, Permission};
use crate::facts::{Facts, Reference};
use crate::ids::RoleId;
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
    /// Give it another name or mail domain.
    Update {
        /// Its name from now on.
        name: String,
        /// Its mail domain from now on, unique everywhere.
        domain: Option<String>,
    },
    /// Come in as somebody who runs the platform.
    Enter {
        /// The session in which.
        session_id: Uuid,
    },
    /// Make a custom role.
    DefineRole {
        /// Its id.
        role_id: RoleId,
        /// Its name, unique among the company's custom roles whatever the case of its letters.
        name: String,
        /// What it gives, at least one.
        permissions: Vec<Permission>,
    },
    /// Change a custom role.
    ChangeRole {
        /// Which.
        role_id: RoleId,
        /// Its name from now on.
        name: String,
        /// What it gives from now on, at least one.
        permissions: Vec<Permission>,
    },
    /// Take a custom role away from the company and from whoever has it.
    RemoveRole {
        /// Which.
        role_id: RoleId,
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
    /// It got another mail domain, or lost the one that it had.
    DomainChanged {
        /// The mail domain before.
        from: Option<String>,
        /// The mail domain from now on.
        to: Option<String>,
    },
    /// Somebody who runs the platform, the event's actor, came in and may see and do what the rules
    /// give them here.
    OperatorEntered {
        /// The session in which.
        session_id: Uuid,
    },
    /// A custom role was made.
    RoleDefined {
        /// Its id.
        role_id: RoleId,
        /// Its name.
        name: String,
        /// What it gives.
        permissions: Vec<Permission>,
    },
    /// A custom role changed.
    RoleChanged {
        /// Which.
        role_id: RoleId,
        /// Its name from now on.
        name: String,
        /// What it gives from now on.
        permissions: Vec<Permission>,
    },
    /// A custom role is no more, and gives nothing to whoever has it.
    RoleRemoved {
        /// Which.
        role_id: RoleId,
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
    /// Something is wrong about a custom role.
    #[error(transparent)]
    Role(custom_role::Refusal),
}

impl From<custom_role::Refusal> for Refusal {
    fn from(refusal: custom_role::Refusal) -> Self {
        match refusal {
            custom_role::Refusal::Invalid(invalid) => Self::Invalid(invalid),
            refusal => Self::Role(refusal),
        }
    }
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::AlreadyRegistered => "COMPANY_ALREADY_REGISTERED",
            Self::Missing => "COMPANY_NOT_FOUND",
            Self::Role(refusal) => refusal.code(),
        }
    }
}

/// What decisions about a company read.
#[derive(Clone, Debug, Default)]
pub struct Company {
    name: Option<String>,
    domain: Option<String>,
    roles: CustomRoles,
}

impl Company {
    /// What a custom role gives at present; `None` if there is none or it was removed.
    #[must_use]
    pub fn role(&self, id: RoleId) -> Option<CustomRights> {
        self.roles.rights(id)
    }
}

fn mail_domain(text: String) -> Result<String, Invalid> {
    Ok(values::line("domain", &text)?.to_lowercase())
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
            Command::Update { .. }
            | Command::DefineRole { .. }
            | Command::ChangeRole { .. }
            | Command::RemoveRole { .. } => Action::ManageCompany,
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
                let domain = domain.map(mail_domain).transpose()?;
                Ok(vec![Event::Registered { name: values::line("name", &name)?, domain }])
            }
            (Command::Register { .. }, Some(_)) => Err(Refusal::AlreadyRegistered),
            (Command::Update { name, domain }, Some(was)) => {
                let name = values::line("name", &name)?;
                let (from, to) = (self.domain.clone(), domain.map(mail_domain).transpose()?);
                let renamed = (*was != name).then_some(Event::Renamed { name });
                let moved = (from != to).then_some(Event::DomainChanged { from, to });
                Ok(renamed.into_iter().chain(moved).collect())
            }
            (Command::Enter { session_id }, Some(_)) => {
                Ok(vec![Event::OperatorEntered { session_id }])
            }
            (Command::DefineRole { role_id, name, permissions }, Some(_)) => {
                let (name, permissions) = self.roles.define(role_id, &name, &permissions)?;
                Ok(vec![Event::RoleDefined { role_id, name, permissions }])
            }
            (Command::ChangeRole { role_id, name, permissions }, Some(_)) => {
                let changed = self.roles.change(role_id, &name, &permissions)?;
                let event = |(name, permissions)| Event::RoleChanged { role_id, name, permissions };
                Ok(changed.map(event).into_iter().collect())
            }
            (Command::RemoveRole { role_id }, Some(_)) => match self.role(role_id) {
                Some(_) => Ok(vec![Event::RoleRemoved { role_id }]),
                None => Err(custom_role::Refusal::Missing.into()),
            },
            (
                Command::Update { .. }
                | Command::Enter { .. }
                | Command::DefineRole { .. }
                | Command::ChangeRole { .. }
                | Command::RemoveRole { .. },
                None,
            ) => Err(Refusal::Missing),
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Registered { name, domain } => {
                self.name = Some(name.clone());
                self.domain.clone_from(domain);
            }
            Event::Renamed { name } => self.name = Some(name.clone()),
            Event::DomainChanged { to, .. } => self.domain.clone_from(to),
            Event::OperatorEntered { .. } => {}
            Event::RoleDefined { role_id, name, permissions }
            | Event::RoleChanged { role_id, name, permissions } => {
                self.roles.put(*role_id, name, permissions);
            }
            Event::RoleRemoved { role_id } => self.roles.remove(*role_id),
        }
        self
    }
}
