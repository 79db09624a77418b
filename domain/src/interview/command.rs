//! What can be asked of an interview.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::event::{CompletionReason, ConsentPurpose, Mode, RoundType};
use crate::ids::{AnswerId, ApplicationId, InterviewId, MemberId, QuestionId, ResumeId};
use crate::job::{Difficulty, QuestionType};
use crate::spelled;
use crate::values::Provenance;

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// A side of the talk.
    Party {
        /// Who is interviewed.
        Candidate = "CANDIDATE",
        /// Who interviews.
        Interviewer = "INTERVIEWER",
    }
}

/// A round as it is asked for; the rest comes from application and job.
#[derive(Clone, Debug)]
pub struct PlanRound {
    /// The application it belongs to.
    pub application_id: ApplicationId,
    /// 1, 2, 3 … within the application.
    pub round_number: u16,
    /// Kind of round.
    pub round_type: RoundType,
    /// Who conducts it.
    pub mode: Mode,
    /// The interviewer, needed where a person conducts.
    pub interviewer_id: Option<MemberId>,
    /// The résumé it is tailored to.
    pub resume_id: Option<ResumeId>,
    /// The abandoned round that this one starts anew.
    pub restart_of: Option<InterviewId>,
    /// The candidate, the job: as the application has them, so that the bus can load their streams.
    pub candidate_id: crate::ids::CandidateId,
    /// See `candidate_id`.
    pub job_id: crate::ids::JobId,
}

/// A question to be asked.
#[derive(Clone, Debug)]
pub enum Ask {
    /// One of the job's.
    JobQuestion(QuestionId),
    /// One written for this candidate.
    Own {
        /// What to ask.
        text: String,
        /// What it is about.
        question_type: QuestionType,
        /// How hard it is.
        difficulty: Difficulty,
        /// Keys of the rubric dimensions it measures.
        dimensions: Vec<String>,
    },
}

/// What can be asked of an interview.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make the round, without a time.
    Plan {
        /// The round.
        round: PlanRound,
    },
    /// Give the round its time; makes it where it was not planned.
    Schedule {
        /// The round, where it was not planned before.
        round: Option<PlanRound>,
        /// Begin.
        at: DateTime<Utc>,
        /// Length in minutes, 5 to 480.
        duration_minutes: u16,
    },
    /// Give another time.
    Reschedule {
        /// Begin.
        at: DateTime<Utc>,
        /// Length in minutes, 5 to 480.
        duration_minutes: u16,
    },
    /// Say who conducts it.
    AssignInterviewer {
        /// Who.
        member_id: MemberId,
    },
    /// Make an access token for the candidate.
    IssueAccess {
        /// Names the access.
        access_id: Uuid,
        /// SHA-256 of the token, hex.
        token_hash: String,
        /// End of validity.
        expires_at: DateTime<Utc>,
    },
    /// Record the first use of an access.
    UseAccess {
        /// Which.
        access_id: Uuid,
    },
    /// Take an access back.
    RevokeAccess {
        /// Which.
        access_id: Uuid,
    },
    /// Consent.
    GiveConsent {
        /// To what.
        purposes: Vec<ConsentPurpose>,
    },
    /// Take the consent back.
    WithdrawConsent,
    /// Come.
    Join {
        /// As whom.
        party: Party,
    },
    /// Go.
    Leave {
        /// As whom.
        party: Party,
    },
    /// Begin the conversation.
    Start,
    /// Ask a question, as a person.
    Ask {
        /// Its id in this interview.
        question_id: QuestionId,
        /// What.
        ask: Ask,
    },
    /// Ask a question, as the AI.
    AskAsAi {
        /// Its id in this interview.
        question_id: QuestionId,
        /// What.
        ask: Ask,
        /// The recorded call.
        provenance: Provenance,
    },
    /// Ask back, as the AI.
    FollowUpAsAi {
        /// Its id in this interview.
        question_id: QuestionId,
        /// The question it follows up.
        follow_up_of: QuestionId,
        /// What.
        text: String,
        /// The recorded call.
        provenance: Provenance,
    },
    /// Answer.
    Answer {
        /// Its id.
        answer_id: AnswerId,
        /// The question it answers.
        question_id: QuestionId,
        /// What is said.
        text: String,
    },
    /// Judge an answer, as the AI.
    JudgeAsAi {
        /// Which.
        answer_id: AnswerId,
        /// 0 to 1.
        completeness: f64,
        /// 0 to 100.
        score: f64,
        /// In words.
        feedback: String,
        /// The recorded call.
        provenance: Provenance,
    },
    /// Let go of a question that was not answered in time.
    TimeOut {
        /// Which.
        question_id: QuestionId,
    },
    /// Make questions harder or easier, as the AI.
    ChangeDifficulty {
        /// From now on.
        to: Difficulty,
    },
    /// Put an interviewer's note to the round.
    AddNote {
        /// What.
        text: String,
    },
    /// End the conversation, as a person.
    Complete,
    /// End the conversation, as the AI.
    CompleteAsAi {
        /// Why.
        reason: CompletionReason,
    },
    /// End a conversation that fell silent.
    Abandon,
    /// Do not hold the round, or break it off.
    Cancel {
        /// Why; needed once it is in progress.
        reason: Option<String>,
    },
    /// Record that the candidate did not come.
    MarkNoShow,
}
