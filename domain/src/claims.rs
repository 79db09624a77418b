//! What must be unique across streams: taken and released together with the events.

use crate::event::Event;
use crate::ids::CompanyId;
use crate::{account, application, candidate, company, interview, member, verdict};

/// A kind of uniqueness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// E-mail of a login, everywhere.
    AccountEmail,
    /// Domain of a company, everywhere.
    CompanyDomain,
    /// E-mail of a member in a company.
    MemberEmail,
    /// E-mail of an active candidate in a company.
    CandidateEmail,
    /// Login of an active candidate in a company.
    CandidateAccount,
    /// One open application of a candidate for a job.
    OpenApplication,
    /// Number of a round within an application.
    RoundNumber,
    /// One verdict for an interview.
    VerdictOfInterview,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::AccountEmail,
        Self::CompanyDomain,
        Self::MemberEmail,
        Self::CandidateEmail,
        Self::CandidateAccount,
        Self::OpenApplication,
        Self::RoundNumber,
        Self::VerdictOfInterview,
    ];

    /// The stored name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountEmail => "account_email",
            Self::CompanyDomain => "company_domain",
            Self::MemberEmail => "member_email",
            Self::CandidateEmail => "candidate_email",
            Self::CandidateAccount => "candidate_account",
            Self::OpenApplication => "open_application",
            Self::RoundNumber => "round_number",
            Self::VerdictOfInterview => "verdict_of_interview",
        }
    }

    /// What is said when it is taken.
    #[must_use]
    pub fn refusal(self) -> &'static str {
        match self {
            Self::AccountEmail => "the e-mail address has an account already",
            Self::CompanyDomain => "another company has this domain",
            Self::MemberEmail => "a member of the company has this e-mail address",
            Self::CandidateEmail => "an active candidate has this e-mail address",
            Self::CandidateAccount => "an active candidate has this login",
            Self::OpenApplication => "the candidate has an open application for this job",
            Self::RoundNumber => "the application has a round of this number",
            Self::VerdictOfInterview => "the interview has its verdict already",
        }
    }

    /// The public code of the refusal when it is taken.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::AccountEmail => "ACCOUNT_EMAIL_TAKEN",
            Self::CompanyDomain => "COMPANY_DOMAIN_TAKEN",
            Self::MemberEmail => "MEMBER_EMAIL_TAKEN",
            Self::CandidateEmail => "CAND_002",
            Self::CandidateAccount => "CAND_ACCOUNT_LINKED",
            Self::OpenApplication => "APPLICATION_ALREADY_OPEN",
            Self::RoundNumber => "INTERVIEW_ROUND_TAKEN",
            Self::VerdictOfInterview => "VERDICT_ALREADY_OPEN",
        }
    }

    /// Whether it is unique in the company, or everywhere.
    #[must_use]
    pub fn scope(self, company: CompanyId) -> CompanyId {
        match self {
            Self::AccountEmail | Self::CompanyDomain => CompanyId::NONE,
            Self::MemberEmail
            | Self::CandidateEmail
            | Self::CandidateAccount
            | Self::OpenApplication
            | Self::RoundNumber
            | Self::VerdictOfInterview => company,
        }
    }
}

/// What an event takes (in clear: the log stores a HMAC of it) or gives up.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Takes this value, replacing the one held.
    Take(Kind, String),
    /// Gives up whatever is held of this kind.
    Release(Kind),
}

/// The claims that an event changes.
#[must_use]
pub fn claims(event: &Event) -> Vec<Change> {
    match event {
        Event::Account(account::Event::Registered { email }) => {
            email.get().map(|e| Change::Take(Kind::AccountEmail, e.clone())).into_iter().collect()
        }
        Event::Company(company::Event::Registered { domain, .. }) => {
            domain.iter().map(|d| Change::Take(Kind::CompanyDomain, d.clone())).collect()
        }
        Event::Company(company::Event::DomainChanged { to, .. }) => vec![match to {
            Some(domain) => Change::Take(Kind::CompanyDomain, domain.clone()),
            None => Change::Release(Kind::CompanyDomain),
        }],
        Event::Member(member::Event::Invited { email, .. }) => {
            email.get().map(|e| Change::Take(Kind::MemberEmail, e.clone())).into_iter().collect()
        }
        Event::Candidate(event) => candidate_claims(event),
        Event::Application(event) => application_claims(event),
        Event::Interview(event) => interview_claims(event),
        Event::Verdict(verdict::Event::Opened { record }) => {
            vec![Change::Take(Kind::VerdictOfInterview, record.interview_id.0.to_string())]
        }
        Event::Account(_)
        | Event::Company(
            company::Event::Renamed { .. }
            | company::Event::OperatorEntered { .. }
            | company::Event::RoleDefined { .. }
            | company::Event::RoleChanged { .. }
            | company::Event::RoleRemoved { .. },
        )
        | Event::CompanyRequest(_)
        | Event::Member(_)
        | Event::Verdict(_)
        | Event::Job(_)
        | Event::Resume(_)
        | Event::Observation(_)
        | Event::Access(_)
        | Event::AiCall(_) => vec![],
    }
}

fn candidate_claims(event: &candidate::Event) -> Vec<Change> {
    match event {
        candidate::Event::Registered { profile } | candidate::Event::ProfileChanged { profile } => {
            let email = profile.email.get().cloned();
            email.map(|e| Change::Take(Kind::CandidateEmail, e)).into_iter().collect()
        }
        candidate::Event::AccountLinked { account_id } => {
            vec![Change::Take(Kind::CandidateAccount, account_id.0.to_string())]
        }
        candidate::Event::AccountUnlinked {} => vec![Change::Release(Kind::CandidateAccount)],
        candidate::Event::Archived { .. } => {
            vec![Change::Release(Kind::CandidateEmail), Change::Release(Kind::CandidateAccount)]
        }
        candidate::Event::Assigned { .. }
        | candidate::Event::Unassigned { .. }
        | candidate::Event::NoteAdded { .. } => vec![],
    }
}

fn application_claims(event: &application::Event) -> Vec<Change> {
    match event {
        application::Event::Submitted { candidate_id, job_id, .. } => {
            let pair = format!("{}/{}", candidate_id.0, job_id.0);
            vec![Change::Take(Kind::OpenApplication, pair)]
        }
        application::Event::StatusChanged { to, .. } if to.is_end() => {
            vec![Change::Release(Kind::OpenApplication)]
        }
        application::Event::Withdrawn { .. } => vec![Change::Release(Kind::OpenApplication)],
        application::Event::StatusChanged { .. } => vec![],
    }
}

fn interview_claims(event: &interview::Event) -> Vec<Change> {
    match event {
        interview::Event::Planned { round }
        | interview::Event::Scheduled { round: Some(round), .. } => {
            let number = format!("{}/{}", round.application_id.0, round.round_number);
            vec![Change::Take(Kind::RoundNumber, number)]
        }
        // An abandoned round frees its number for the one that starts it anew, and for one only.
        interview::Event::Cancelled { .. } | interview::Event::Abandoned { .. } => {
            vec![Change::Release(Kind::RoundNumber)]
        }
        _ => vec![],
    }
}
