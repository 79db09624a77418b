//! What has happened to an interview.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{
    AnswerId, ApplicationId, CandidateId, InterviewId, JobId, MemberId, QuestionId, ResumeId,
};
use crate::job::{Conversation, Difficulty, QuestionType};
use crate::personal::Personal;
use crate::spelled;
use crate::values::{Provenance, Score, Share};

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// Kind of round (SCH-13).
    RoundType {
        /// Technical, by AI.
        TechnicalAi = "TECHNICAL_AI",
        /// Screening, by a person.
        ScreeningHuman = "SCREENING_HUMAN",
        /// Personnel, by a person.
        HrHuman = "HR_HUMAN",
        /// By the future manager.
        ManagerialHuman = "MANAGERIAL_HUMAN",
        /// On working together, by a person.
        CulturalFitHuman = "CULTURAL_FIT_HUMAN",
    }
}

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// Who conducts the round (SCH-14).
    Mode {
        /// AI asks; no interviewer.
        AiConducted = "AI_CONDUCTED",
        /// A person asks, AI advises.
        HumanAiAssisted = "HUMAN_AI_ASSISTED",
        /// No AI at all.
        HumanOnly = "HUMAN_ONLY",
    }
}

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// What a consent covers.
    ConsentPurpose {
        /// Questions and analysis by AI.
        AiAnalysis = "AI_ANALYSIS",
        /// Recording of sound or picture.
        Recording = "RECORDING",
    }
}

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// Why a round was completed.
    CompletionReason {
        /// All that was planned was asked.
        AllAsked = "ALL_ASKED",
        /// A participant closed it.
        ClosedByPerson = "CLOSED_BY_PERSON",
        /// The candidate stopped answering well; more would tell nothing new.
        BoundaryReached = "BOUNDARY_REACHED",
    }
}

/// Who and what a round is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Round {
    /// The candidate.
    pub candidate_id: CandidateId,
    /// The job.
    pub job_id: JobId,
    /// The application that rounds are grouped by (C10).
    pub application_id: ApplicationId,
    /// 1, 2, 3 … within the application.
    pub round_number: u16,
    /// Kind of round.
    pub round_type: RoundType,
    /// Who conducts it.
    pub mode: Mode,
    /// The interviewer, where a person conducts.
    pub interviewer_id: Option<MemberId>,
    /// Owner of the job when the round was made.
    pub hiring_manager: MemberId,
    /// The résumé it is tailored to.
    pub resume_id: Option<ResumeId>,
    /// Version of the job's rubric that scores it.
    pub rubric_version: u32,
    /// Counts and time-outs.
    pub conversation: Conversation,
    /// The abandoned round that this one starts anew.
    pub restart_of: Option<InterviewId>,
}

/// Who asked a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AskedBy {
    /// The AI; the recorded call that chose or wrote it.
    Ai {
        /// The call.
        provenance: Provenance,
    },
    /// A person.
    Member {
        /// Who.
        member_id: MemberId,
    },
}

/// How good an answer is, as advice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Judgement {
    /// 0 to 1: whether the question was dealt with.
    pub completeness: Share,
    /// 0 to 100.
    pub score: Score,
    /// In words.
    pub feedback: Personal<String>,
    /// The recorded call that judged.
    pub provenance: Provenance,
}

/// What has happened to an interview.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The round was made, without a time.
    Planned {
        /// Who and what it is about.
        round: Round,
    },
    /// The round got its time.
    Scheduled {
        /// Who and what it is about, where it was not planned before.
        round: Option<Round>,
        /// Begin.
        at: DateTime<Utc>,
        /// Length in minutes.
        duration_minutes: u16,
    },
    /// The round got another time.
    Rescheduled {
        /// Begin.
        at: DateTime<Utc>,
        /// Length in minutes.
        duration_minutes: u16,
    },
    /// A person is to conduct it.
    InterviewerAssigned {
        /// Who.
        member_id: MemberId,
    },
    /// An access token was made for the candidate; only its hash is kept.
    AccessIssued {
        /// Names the access.
        access_id: Uuid,
        /// SHA-256 of the token, hex.
        token_hash: String,
        /// End of validity.
        expires_at: DateTime<Utc>,
    },
    /// The access was used for the first time.
    AccessFirstUsed {
        /// Which.
        access_id: Uuid,
    },
    /// The access was taken back.
    AccessRevoked {
        /// Which.
        access_id: Uuid,
    },
    /// The candidate consented.
    ConsentGiven {
        /// To what.
        purposes: Vec<ConsentPurpose>,
    },
    /// The candidate took the consent back.
    ConsentWithdrawn {},
    /// Somebody came.
    Joined {
        /// Who.
        party: super::Party,
    },
    /// Somebody went.
    Left {
        /// Who.
        party: super::Party,
    },
    /// The conversation began.
    Started {},
    /// A question was asked.
    QuestionAsked {
        /// Its id in this interview.
        question_id: QuestionId,
        /// 1, 2, 3 … over all questions and answers.
        sequence: u32,
        /// The job's question that it is, if one.
        job_question_id: Option<QuestionId>,
        /// Its text: personal unless it is the job's own.
        text: QuestionText,
        /// What it is about.
        question_type: QuestionType,
        /// How hard it is.
        difficulty: Difficulty,
        /// Keys of the rubric dimensions it measures.
        dimensions: Vec<String>,
        /// Who asked.
        asked_by: AskedBy,
    },
    /// Something was asked back, at most once for a question.
    FollowUpAsked {
        /// Its id in this interview.
        question_id: QuestionId,
        /// 1, 2, 3 … over all questions and answers.
        sequence: u32,
        /// The question it follows up.
        follow_up_of: QuestionId,
        /// Its text.
        text: Personal<String>,
        /// Who asked.
        asked_by: AskedBy,
    },
    /// The candidate answered.
    AnswerRecorded {
        /// Its id.
        answer_id: AnswerId,
        /// The question it answers.
        question_id: QuestionId,
        /// 1, 2, 3 … over all questions and answers.
        sequence: u32,
        /// What was said.
        text: Personal<String>,
        /// From the question to the answer, in milliseconds.
        response_time_ms: u64,
    },
    /// An answer was judged, as advice.
    AnswerJudged {
        /// Which.
        answer_id: AnswerId,
        /// How good it is.
        judgement: Judgement,
    },
    /// A question was not answered in time; the talk goes on.
    QuestionTimedOut {
        /// Which.
        question_id: QuestionId,
    },
    /// Questions get harder or easier.
    DifficultyChanged {
        /// Before.
        from: Difficulty,
        /// From now on.
        to: Difficulty,
    },
    /// An interviewer's note.
    NoteAdded {
        /// Who wrote it.
        member_id: MemberId,
        /// What.
        text: Personal<String>,
    },
    /// The conversation ended as it should.
    Completed {
        /// Why.
        reason: CompletionReason,
    },
    /// The conversation fell silent.
    Abandoned {},
    /// The round will not be held, or was broken off.
    Cancelled {
        /// Why.
        reason: Option<Personal<String>>,
    },
    /// The candidate did not come.
    MarkedNoShow {},
}

/// The text of a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum QuestionText {
    /// The job's own text, the same for every candidate.
    Job {
        /// As the job has it.
        text: String,
    },
    /// Written for this candidate.
    Own {
        /// What was asked.
        text: Personal<String>,
    },
}

impl QuestionText {
    /// The text, unless it was personal and its subject was forgotten.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        match self {
            Self::Job { text } => Some(text),
            Self::Own { text } => text.get().map(String::as_str),
        }
    }
}
