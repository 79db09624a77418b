//! Who asks: an actor in a company, with roles.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::custom_role::CustomRights;
use crate::ids::{AccountId, ApiKeyId, CandidateId, CompanyId, InterviewId, MemberId};
use crate::permission::Rights;

/// A member's role: a named set of rights, see `permission`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Runs the platform: makes companies; belongs to none, and may enter one.
    SystemAdmin,
    /// Runs one company.
    CompanyAdmin,
    /// Recruits: writes candidates, jobs, interviews, verdicts.
    Hr,
    /// Owns jobs and what belongs to them.
    HiringManager,
    /// Interviews where assigned.
    Employee,
    /// Reads.
    Viewer,
    /// Replays histories and sees who did what.
    Auditor,
}

impl Role {
    /// Every role, in the order of the role matrix.
    pub const ALL: [Self; 7] = [
        Self::SystemAdmin,
        Self::CompanyAdmin,
        Self::Hr,
        Self::HiringManager,
        Self::Employee,
        Self::Viewer,
        Self::Auditor,
    ];

    /// The stored and public spelling, such as `COMPANY_ADMIN`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SystemAdmin => "SYSTEM_ADMIN",
            Self::CompanyAdmin => "COMPANY_ADMIN",
            Self::Hr => "HR",
            Self::HiringManager => "HIRING_MANAGER",
            Self::Employee => "EMPLOYEE",
            Self::Viewer => "VIEWER",
            Self::Auditor => "AUDITOR",
        }
    }

    /// Reads the stored spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// Who acts. Stored with every event as `kind:id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person of the company.
    Member(MemberId),
    /// A person who runs the platform, by account.
    Operator(AccountId),
    /// A candidate who is signed in, by the record of theirs in the company.
    Candidate(CandidateId),
    /// Whoever holds the access token of one interview: its candidate.
    Guest {
        /// The one interview that can be reached.
        interview: InterviewId,
        /// The candidate of that interview.
        candidate: CandidateId,
    },
    /// A program of the company, by its API key.
    Service {
        /// The key.
        id: ApiKeyId,
        /// What it may do.
        rights: Rights,
    },
    /// A part of Colloquy that acts by itself, such as `clock`.
    System(&'static str),
    /// The AI side: asks and proposes, never decides.
    Ai(&'static str),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(id) => write!(f, "member:{}", id.0),
            Self::Operator(id) => write!(f, "operator:{}", id.0),
            Self::Candidate(candidate) | Self::Guest { candidate, .. } => {
                write!(f, "candidate:{}", candidate.0)
            }
            Self::Service { id, .. } => write!(f, "service:{}", id.0),
            Self::System(name) => write!(f, "system:{name}"),
            Self::Ai(name) => write!(f, "ai:{name}"),
        }
    }
}

/// An actor with the company it acts in and its roles there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant; nil for operators, unless they have entered one.
    pub company: CompanyId,
    /// Who acts.
    pub actor: Actor,
    /// Roles of a member; empty for all others.
    pub roles: Vec<Role>,
    /// What the member's custom role adds to them; empty for all others.
    pub custom: CustomRights,
}

impl Caller {
    /// An actor with these roles, and no custom one.
    #[must_use]
    pub fn new(company: CompanyId, actor: Actor, roles: Vec<Role>) -> Self {
        Self { company, actor, roles, custom: CustomRights::default() }
    }

    /// A machine principal of the product itself, acting in `company`.
    #[must_use]
    pub fn system(company: CompanyId, name: &'static str) -> Self {
        Self::new(company, Actor::System(name), vec![])
    }

    /// The AI side, acting in `company`.
    #[must_use]
    pub fn ai(company: CompanyId, name: &'static str) -> Self {
        Self::new(company, Actor::Ai(name), vec![])
    }

    /// The member, where the caller is one.
    #[must_use]
    pub fn member(&self) -> Option<MemberId> {
        match self.actor {
            Actor::Member(id) => Some(id),
            Actor::Operator(_)
            | Actor::Candidate(_)
            | Actor::Guest { .. }
            | Actor::Service { .. }
            | Actor::System(_)
            | Actor::Ai(_) => None,
        }
    }

    /// The candidate, where the caller is one: signed in, or the guest of one interview.
    #[must_use]
    pub fn candidate(&self) -> Option<CandidateId> {
        match self.actor {
            Actor::Candidate(candidate) | Actor::Guest { candidate, .. } => Some(candidate),
            Actor::Member(_)
            | Actor::Operator(_)
            | Actor::Service { .. }
            | Actor::System(_)
            | Actor::Ai(_) => None,
        }
    }

    /// Whether the caller holds `role`.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}
