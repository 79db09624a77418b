//! Why an interview refuses a command.

use crate::aggregate::PublicCode;
use crate::values::{Invalid, Spelled};

use super::state::Status;

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such interview.
    #[error("there is no such interview")]
    Missing,
    /// The interview exists already.
    #[error("the interview exists already")]
    AlreadyPlanned,
    /// The transition table has no such move.
    #[error("an interview that is {} cannot {order}", from.as_str())]
    IllegalTransition {
        /// Status now.
        from: Status,
        /// What was asked, naming the status that it would need or make.
        order: &'static str,
    },
    /// It was completed before.
    #[error("the interview is completed already")]
    AlreadyCompleted,
    /// There is no such open application.
    #[error("there is no such open application")]
    NoSuchApplication,
    /// There is no such active candidate.
    #[error("there is no such active candidate")]
    NoSuchCandidate,
    /// The job is not there or not ready to interview for.
    #[error("there is no such published job")]
    NoSuchJob,
    /// The résumé is not the candidate's.
    #[error("the candidate has no such résumé")]
    NoSuchResume,
    /// The interviewer is no active member.
    #[error("there is no such active member to interview")]
    NoSuchInterviewer,
    /// A person must conduct the round.
    #[error("a round of this mode needs an interviewer")]
    NeedsInterviewer,
    /// No person conducts the round.
    #[error("a round conducted by AI has no interviewer")]
    NoInterviewerWanted,
    /// Only an abandoned round of the same application is started anew.
    #[error("only an abandoned round of the same application can be restarted")]
    NotRestartable,
    /// There is no such access.
    #[error("there is no such access")]
    NoSuchAccess,
    /// The access is over.
    #[error("the access has expired or was revoked")]
    AccessOver,
    /// No AI without consent.
    #[error("the candidate has not consented to AI")]
    NoConsent,
    /// The mode leaves no place for AI here.
    #[error("the round's mode has no place for AI here")]
    NoAi,
    /// The candidate must be there.
    #[error("the candidate has not joined")]
    CandidateAbsent,
    /// One question at a time.
    #[error("another question is open")]
    QuestionOpen,
    /// The id names another question.
    #[error("the question was asked already")]
    QuestionExists,
    /// There is no such question in this interview.
    #[error("there is no such question in this interview")]
    NoSuchQuestion,
    /// The question takes no answer any more.
    #[error("the question is not open")]
    QuestionClosed,
    /// The first accepted answer wins.
    #[error("the question was answered already")]
    AlreadyAnswered,
    /// The id names another answer.
    #[error("the answer's id is used already")]
    AnswerExists,
    /// At most one follow-up for a question.
    #[error("the question was followed up already, or is a follow-up itself")]
    AlreadyFollowedUp,
    /// There is no such answer in this interview.
    #[error("there is no such answer in this interview")]
    NoSuchAnswer,
    /// The time is not over.
    #[error("it is too early for that")]
    TooEarly,
    /// Breaking off needs a reason.
    #[error("breaking off an interview in progress needs a reason")]
    NeedsReason,
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::Missing => "INT_001",
            Self::AlreadyPlanned => "INT_ALREADY_PLANNED",
            Self::IllegalTransition { .. } => "INT_ILLEGAL_TRANSITION",
            Self::AlreadyCompleted => "INT_003",
            Self::NoSuchApplication => "APPLICATION_NOT_FOUND",
            Self::NoSuchCandidate => "CAND_001",
            Self::NoSuchJob => "JOB_001",
            Self::NoSuchResume => "RESUME_NOT_FOUND",
            Self::NoSuchInterviewer => "MEMBER_NOT_FOUND",
            Self::NeedsInterviewer => "INT_NEEDS_INTERVIEWER",
            Self::NoInterviewerWanted => "INT_NO_INTERVIEWER_WANTED",
            Self::NotRestartable => "INT_NOT_RESTARTABLE",
            Self::NoSuchAccess | Self::AccessOver => "INT_002",
            Self::NoConsent => "INT_NO_CONSENT",
            Self::NoAi => "INT_NO_AI",
            Self::CandidateAbsent => "INT_CANDIDATE_ABSENT",
            Self::QuestionOpen => "INT_QUESTION_OPEN",
            Self::QuestionExists => "INT_QUESTION_EXISTS",
            Self::NoSuchQuestion => "INT_QUESTION_NOT_FOUND",
            Self::QuestionClosed => "INT_QUESTION_CLOSED",
            Self::AlreadyAnswered => "INT_ALREADY_ANSWERED",
            Self::AnswerExists => "INT_ANSWER_EXISTS",
            Self::AlreadyFollowedUp => "INT_ALREADY_FOLLOWED_UP",
            Self::NoSuchAnswer => "INT_ANSWER_NOT_FOUND",
            Self::TooEarly => "INT_TOO_EARLY",
            Self::NeedsReason => "INT_NEEDS_REASON",
        }
    }
}
