//! An application: one candidate for one job, and its moves along the pipeline.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::ids::{CandidateId, JobId};
use crate::permission::{Action, Relation};
use crate::personal::{Personal, Subject};
use crate::spelled;
use crate::values::{self, Invalid, MAX_NOTE_CHARS, Spelled};

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// Where an application stands in the pipeline (C12).
    Status {
        /// Just submitted.
        New = "NEW",
        /// Being looked at.
        Screening = "SCREENING",
        /// Rounds are held.
        Interviewing = "INTERVIEWING",
        /// An offer was made.
        Offered = "OFFERED",
        /// The person was hired.
        Hired = "HIRED",
        /// The company said no.
        Rejected = "REJECTED",
        /// The candidate said no.
        Withdrawn = "WITHDRAWN",
    }
}

impl Status {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Hired | Self::Rejected | Self::Withdrawn)
    }

    /// The pipeline: forward step by step (screening may be left out), rejection from any open
    /// status. Withdrawal is the candidate's own and a command of its own.
    #[must_use]
    pub fn may_become(self, to: Self) -> bool {
        use Status::{Hired, Interviewing, New, Offered, Rejected, Screening};
        match self {
            New => matches!(to, Screening | Interviewing | Rejected),
            Screening => matches!(to, Interviewing | Rejected),
            Interviewing => matches!(to, Offered | Rejected),
            Offered => matches!(to, Hired | Rejected),
            Hired | Rejected | Self::Withdrawn => false,
        }
    }
}

/// What can be asked of an application.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make it.
    Submit {
        /// Who applies.
        candidate_id: CandidateId,
        /// For what.
        job_id: JobId,
    },
    /// Move it along the pipeline.
    ChangeStatus {
        /// Where to.
        to: Status,
        /// Why.
        reason: Option<String>,
    },
    /// The candidate takes it back.
    Withdraw {
        /// Why.
        reason: Option<String>,
    },
}

/// What has happened to an application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// It was made, with status NEW.
    Submitted {
        /// Who applies.
        candidate_id: CandidateId,
        /// For what.
        job_id: JobId,
    },
    /// It moved along the pipeline.
    StatusChanged {
        /// Status before.
        from: Status,
        /// Status from now on.
        to: Status,
        /// Why.
        reason: Option<Personal<String>>,
    },
    /// The candidate took it back.
    Withdrawn {
        /// Why.
        reason: Option<Personal<String>>,
    },
}

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such application.
    #[error("there is no such application")]
    Missing,
    /// The application exists already.
    #[error("the application exists already")]
    AlreadySubmitted,
    /// There is no such active candidate.
    #[error("there is no such active candidate")]
    NoSuchCandidate,
    /// There is no such open job.
    #[error("there is no such published job")]
    NoSuchJob,
    /// The pipeline has no such move.
    #[error("an application cannot go from {} to {}", from.as_str(), to.as_str())]
    IllegalMove {
        /// Status now.
        from: Status,
        /// Status asked for.
        to: Status,
    },
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::Missing => "APPLICATION_NOT_FOUND",
            Self::AlreadySubmitted => "APPLICATION_ALREADY_OPEN",
            Self::NoSuchCandidate => "CAND_001",
            Self::NoSuchJob => "JOB_001",
            Self::IllegalMove { .. } => "APPLICATION_ILLEGAL_MOVE",
        }
    }
}

/// What decisions about an application read.
#[derive(Clone, Debug, Default)]
pub struct Application {
    of: Option<(CandidateId, JobId)>,
    status: Option<Status>,
}

impl Application {
    /// Who applies.
    #[must_use]
    pub fn candidate(&self) -> Option<CandidateId> {
        self.of.map(|(candidate, _)| candidate)
    }

    /// For what.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        self.of.map(|(_, job)| job)
    }

    /// Whether rounds can be held.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status.is_some_and(|status| !status.is_end())
    }
}

impl Aggregate for Application {
    const NAME: &'static str = "application";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Application(event) => Some(event),
            _ => None,
        }
    }

    fn action(command: &Command) -> Action {
        match command {
            Command::Submit { .. } | Command::Withdraw { .. } => Action::WriteCandidate,
            Command::ChangeStatus { .. } => Action::ChangeApplicationStatus,
        }
    }

    fn relation(&self, caller: &Caller, _: &Command, facts: &Facts) -> Relation {
        let candidate = self.candidate().and_then(|id| facts.candidates.get(&id));
        let assigned = candidate.and_then(crate::candidate::Candidate::assigned_to);
        let assigned = assigned.is_some() && assigned == caller.member();
        Relation { assigned, ..Relation::default() }
    }

    fn references(&self, command: &Command) -> Vec<Reference> {
        match command {
            Command::Submit { candidate_id, job_id } => {
                vec![Reference::Candidate(*candidate_id), Reference::Job(*job_id)]
            }
            Command::ChangeStatus { .. } | Command::Withdraw { .. } => {
                self.candidate().map(Reference::Candidate).into_iter().collect()
            }
        }
    }

    fn subject(&self) -> Option<Subject> {
        self.candidate().map(Subject::Candidate)
    }

    fn decide(&self, command: Command, context: Context<'_>) -> Result<Vec<Event>, Refusal> {
        let (Some((candidate_id, _)), Some(from)) = (self.of, self.status) else {
            return match command {
                Command::Submit { candidate_id, job_id } => {
                    let candidate = context.facts.candidates.get(&candidate_id);
                    if !candidate.is_some_and(crate::candidate::Candidate::is_active) {
                        return Err(Refusal::NoSuchCandidate);
                    }
                    let job = context.facts.jobs.get(&job_id);
                    if !job.is_some_and(crate::job::Job::is_published) {
                        return Err(Refusal::NoSuchJob);
                    }
                    Ok(vec![Event::Submitted { candidate_id, job_id }])
                }
                _ => Err(Refusal::Missing),
            };
        };
        let personal = |reason: Option<String>| -> Result<Option<Personal<String>>, Invalid> {
            let reason =
                reason.map(|r| values::bounded("reason", &r, MAX_NOTE_CHARS)).transpose()?;
            Ok(reason.map(|reason| Personal::new(Subject::Candidate(candidate_id), reason)))
        };
        match command {
            Command::Submit { .. } => Err(Refusal::AlreadySubmitted),
            Command::ChangeStatus { to, .. } if to == from => Ok(vec![]),
            Command::ChangeStatus { to, reason } if from.may_become(to) => {
                Ok(vec![Event::StatusChanged { from, to, reason: personal(reason)? }])
            }
            Command::ChangeStatus { to, .. } => Err(Refusal::IllegalMove { from, to }),
            Command::Withdraw { .. } if from == Status::Withdrawn => Ok(vec![]),
            Command::Withdraw { .. } if from.is_end() => {
                Err(Refusal::IllegalMove { from, to: Status::Withdrawn })
            }
            Command::Withdraw { reason } => {
                Ok(vec![Event::Withdrawn { reason: personal(reason)? }])
            }
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Submitted { candidate_id, job_id } => {
                self.of = Some((*candidate_id, *job_id));
                self.status = Some(Status::New);
            }
            Event::StatusChanged { to, .. } => self.status = Some(*to),
            Event::Withdrawn { .. } => self.status = Some(Status::Withdrawn),
        }
        self
    }
}
