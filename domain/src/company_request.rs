//! A company that asks to be let onto the platform: approved or rejected once, by an operator.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::ids::{CompanyId, CompanyRequestId};
use crate::permission::{Action, Relation};
use crate::personal::{Personal, Subject};
use crate::values::{self, Invalid};

/// What can be asked of a request.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make it.
    Submit {
        /// Its id, whose key seals the contact.
        request_id: CompanyRequestId,
        /// Name of the company.
        company_name: String,
        /// Its mail domain.
        domain: Option<String>,
        /// Who asks, and is to be the first administrator.
        contact_name: String,
        /// Address of who asks.
        contact_email: String,
    },
    /// Let the company in.
    Approve {
        /// The company that it becomes.
        company_id: CompanyId,
    },
    /// Turn it away.
    Reject {
        /// Why.
        reason: String,
    },
}

/// What has happened to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// Somebody asked for their company.
    Submitted {
        /// Name of the company.
        company_name: String,
        /// Its mail domain.
        domain: Option<String>,
        /// Who asks.
        contact_name: Personal<String>,
        /// Address of who asks.
        contact_email: Personal<String>,
    },
    /// The company was let in.
    Approved {
        /// The company that it became.
        company_id: CompanyId,
    },
    /// The company was turned away.
    Rejected {
        /// Why.
        reason: Personal<String>,
    },
}

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such request.
    #[error("there is no such request")]
    Missing,
    /// The request stands already.
    #[error("the request was made already")]
    AlreadySubmitted,
    /// The company was let in.
    #[error("the request was approved already")]
    AlreadyApproved,
    /// The company was turned away.
    #[error("the request was rejected already")]
    AlreadyRejected,
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::Missing => "COMPANY_REQUEST_NOT_FOUND",
            Self::AlreadySubmitted => "COMPANY_REQUEST_ALREADY_SUBMITTED",
            Self::AlreadyApproved => "COMPANY_REQUEST_ALREADY_APPROVED",
            Self::AlreadyRejected => "COMPANY_REQUEST_ALREADY_REJECTED",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Decision {
    Approved(CompanyId),
    Rejected,
}

/// What decisions about a request read.
#[derive(Clone, Debug, Default)]
pub struct CompanyRequest {
    contact: Option<Subject>,
    decision: Option<Decision>,
}

impl CompanyRequest {
    /// Whether an operator has decided.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.decision.is_some()
    }
}

impl Aggregate for CompanyRequest {
    const NAME: &'static str = "company_request";
    const OF_PLATFORM: bool = true;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::CompanyRequest(event) => Some(event),
            _ => None,
        }
    }

    fn action(command: &Command) -> Action {
        match command {
            Command::Submit { .. } => Action::RequestCompany,
            Command::Approve { .. } | Command::Reject { .. } => Action::DecideCompanyRequest,
        }
    }

    fn relation(&self, _: &Caller, _: &Command, _: &Facts) -> Relation {
        Relation::default()
    }

    fn references(&self, _: &Command) -> Vec<Reference> {
        vec![]
    }

    fn subject(&self) -> Option<Subject> {
        self.contact
    }

    fn decide(&self, command: Command, _: Context<'_>) -> Result<Vec<Event>, Refusal> {
        let Some(contact) = self.contact else {
            let Command::Submit { request_id, company_name, domain, contact_name, contact_email } =
                command
            else {
                return Err(Refusal::Missing);
            };
            let contact = Subject::CompanyRequest(request_id);
            let domain = domain.map(|d| values::line("domain", &d)).transpose()?;
            let name = values::line("contactFullName", &contact_name)?;
            let email = values::email("contactEmail", &contact_email)?;
            return Ok(vec![Event::Submitted {
                company_name: values::line("companyName", &company_name)?,
                domain: domain.map(|d| d.to_lowercase()),
                contact_name: Personal::new(contact, name),
                contact_email: Personal::new(contact, email),
            }]);
        };
        match (command, self.decision) {
            (Command::Submit { .. }, _) => Err(Refusal::AlreadySubmitted),
            (Command::Approve { company_id }, None) => Ok(vec![Event::Approved { company_id }]),
            (Command::Approve { company_id }, Some(Decision::Approved(was)))
                if was == company_id =>
            {
                Ok(vec![])
            }
            (Command::Reject { reason }, None) => {
                let reason = values::bounded("reason", &reason, values::MAX_NOTE_CHARS)?;
                Ok(vec![Event::Rejected { reason: Personal::new(contact, reason) }])
            }
            (_, Some(Decision::Approved(_))) => Err(Refusal::AlreadyApproved),
            (_, Some(Decision::Rejected)) => Err(Refusal::AlreadyRejected),
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Submitted { contact_email, .. } => self.contact = Some(contact_email.subject()),
            Event::Approved { company_id } => {
                self.decision = Some(Decision::Approved(*company_id));
            }
            Event::Rejected { .. } => self.decision = Some(Decision::Rejected),
        }
        self
    }
}
