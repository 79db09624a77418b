//! What decisions about an interview read, and how events change it. No text stands here.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::command::Party;
use super::event::{AskedBy, ConsentPurpose, Event, Mode, Round};
use crate::caller::Caller;
use crate::ids::{AnswerId, CandidateId, MemberId, QuestionId};
use crate::job::Difficulty;
use crate::permission::Relation;
use crate::spelled;

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// Where an interview stands (C11).
    Status {
        /// Made, without a time.
        Planned = "PLANNED",
        /// Has a time.
        Scheduled = "SCHEDULED",
        /// The interviewer is there.
        WaitingForCandidate = "WAITING_FOR_CANDIDATE",
        /// The candidate is there.
        WaitingForInterviewer = "WAITING_FOR_INTERVIEWER",
        /// The conversation goes on.
        InProgress = "IN_PROGRESS",
        /// Ended as it should.
        Completed = "COMPLETED",
        /// Not held, or broken off.
        Cancelled = "CANCELLED",
        /// The candidate did not come.
        NoShow = "NO_SHOW",
        /// Fell silent.
        Abandoned = "ABANDONED",
    }
}

impl Status {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Abandoned)
    }
}

/// Where one question stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionState {
    /// Its id in this interview.
    pub question_id: QuestionId,
    /// The job's question that it is, if one.
    pub job_question_id: Option<QuestionId>,
    /// The question it follows up, if it does.
    pub follow_up_of: Option<QuestionId>,
    /// How hard it is.
    pub difficulty: Difficulty,
    /// Keys of the rubric dimensions it measures.
    pub dimensions: Vec<String>,
    /// When it was asked.
    pub asked_at: DateTime<Utc>,
    /// Whether it was let go unanswered.
    pub timed_out: bool,
    /// Its answer, once there is one.
    pub answer: Option<AnswerState>,
}

/// Where one answer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerState {
    /// Its id.
    pub answer_id: AnswerId,
    /// Whether it was judged.
    pub judged: bool,
}

impl QuestionState {
    fn is_open(&self) -> bool {
        self.answer.is_none() && !self.timed_out
    }
}

/// An access token's standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Names the access.
    pub access_id: Uuid,
    /// SHA-256 of the token, hex.
    pub token_hash: String,
    /// End of validity.
    pub expires_at: DateTime<Utc>,
    /// Whether it was used.
    pub used: bool,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// What decisions about an interview read.
#[derive(Clone, Debug, Default)]
pub struct Interview {
    pub(super) status: Option<Status>,
    pub(super) round: Option<Round>,
    pub(super) scheduled_at: Option<DateTime<Utc>>,
    pub(super) duration_minutes: u16,
    pub(super) accesses: Vec<Access>,
    pub(super) consent: Vec<ConsentPurpose>,
    pub(super) candidate_present: bool,
    pub(super) interviewer_present: bool,
    pub(super) sequence: u32,
    pub(super) questions: Vec<QuestionState>,
    pub(super) difficulty: Option<Difficulty>,
    pub(super) last_activity: Option<DateTime<Utc>>,
}

impl Interview {
    /// Where it stands; `None` where it was never made.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Who and what it is about.
    #[must_use]
    pub fn round(&self) -> Option<&Round> {
        self.round.as_ref()
    }

    /// Its candidate.
    #[must_use]
    pub fn candidate(&self) -> Option<CandidateId> {
        self.round.as_ref().map(|round| round.candidate_id)
    }

    /// Whether the candidate consented to questions and analysis by AI, in a mode that has any.
    #[must_use]
    pub fn ai_may_analyse(&self) -> bool {
        self.consent.contains(&ConsentPurpose::AiAnalysis)
            && self.round.as_ref().is_some_and(|round| round.mode != Mode::HumanOnly)
    }

    /// All questions in the order in which they were asked.
    #[must_use]
    pub fn questions(&self) -> &[QuestionState] {
        &self.questions
    }

    /// The one question that waits for its answer.
    #[must_use]
    pub fn open_question(&self) -> Option<&QuestionState> {
        self.questions.iter().find(|question| question.is_open())
    }

    /// How hard questions are at present.
    #[must_use]
    pub fn difficulty(&self) -> Difficulty {
        self.difficulty.unwrap_or(Difficulty::Warmup)
    }

    /// When a person last did something.
    #[must_use]
    pub fn last_activity(&self) -> Option<DateTime<Utc>> {
        self.last_activity
    }

    /// When it is to begin.
    #[must_use]
    pub fn scheduled_at(&self) -> Option<DateTime<Utc>> {
        self.scheduled_at
    }

    /// The access that a token of this hash opens, if it is good at `now`. It stays good until the
    /// round ends, because recovery needs it again (C16).
    #[must_use]
    pub fn access(&self, token_hash: &str, now: DateTime<Utc>) -> Option<&Access> {
        if self.status.is_none_or(Status::is_end) {
            return None;
        }
        let access = self.accesses.iter().find(|access| access.token_hash == token_hash)?;
        (!access.revoked && now < access.expires_at).then_some(access)
    }

    /// Whether the access was taken back, or never made.
    #[must_use]
    pub fn is_access_revoked(&self, access_id: Uuid) -> bool {
        self.accesses.iter().find(|a| a.access_id == access_id).is_none_or(|a| a.revoked)
    }

    /// How a caller stands to the round.
    #[must_use]
    pub fn stands_to(&self, caller: &Caller) -> Relation {
        let Some(round) = &self.round else {
            return Relation::default();
        };
        let member: Option<MemberId> = caller.member();
        Relation {
            assigned: member.is_some() && round.interviewer_id == member,
            own_job: member == Some(round.hiring_manager),
            own: caller.candidate() == Some(round.candidate_id),
        }
    }

    pub(super) fn apply(mut self, event: &Event, at: DateTime<Utc>) -> Self {
        match event {
            Event::Planned { round } => {
                self.status = Some(Status::Planned);
                self.round = Some(round.clone());
            }
            Event::Scheduled { round, at, duration_minutes } => {
                self.status = Some(Status::Scheduled);
                if let Some(round) = round {
                    self.round = Some(round.clone());
                }
                self.scheduled_at = Some(*at);
                self.duration_minutes = *duration_minutes;
            }
            Event::Rescheduled { at, duration_minutes } => {
                self.status = Some(Status::Scheduled);
                self.scheduled_at = Some(*at);
                self.duration_minutes = *duration_minutes;
                self.candidate_present = false;
                self.interviewer_present = false;
            }
            Event::InterviewerAssigned { member_id } => {
                if let Some(round) = &mut self.round {
                    round.interviewer_id = Some(*member_id);
                }
                // Who was there is not who is awaited now.
                self.attend(Party::Interviewer, false);
            }
            Event::AccessIssued { access_id, token_hash, expires_at } => {
                self.accesses.push(Access {
                    access_id: *access_id,
                    token_hash: token_hash.clone(),
                    expires_at: *expires_at,
                    used: false,
                    revoked: false,
                });
            }
            Event::AccessFirstUsed { access_id } => self.touch(*access_id, |a| a.used = true),
            Event::AccessRevoked { access_id } => self.touch(*access_id, |a| a.revoked = true),
            Event::ConsentGiven { purposes } => self.consent.clone_from(purposes),
            Event::ConsentWithdrawn {} => self.consent.clear(),
            Event::Joined { party } => self.moved(*party, true, at),
            Event::Left { party } => self.moved(*party, false, at),
            Event::Started {} => {
                self.status = Some(Status::InProgress);
                self.last_activity = Some(at);
            }
            Event::QuestionAsked {
                question_id,
                sequence,
                job_question_id,
                difficulty,
                dimensions,
                asked_by,
                ..
            } => {
                self.sequence = *sequence;
                // What a machine asks is no sign of life: a silent candidate stays silent.
                if matches!(asked_by, AskedBy::Member { .. }) {
                    self.last_activity = Some(at);
                }
                self.questions.push(QuestionState {
                    question_id: *question_id,
                    job_question_id: *job_question_id,
                    follow_up_of: None,
                    difficulty: *difficulty,
                    dimensions: dimensions.clone(),
                    asked_at: at,
                    timed_out: false,
                    answer: None,
                });
            }
            Event::FollowUpAsked { question_id, sequence, follow_up_of, .. } => {
                self.sequence = *sequence;
                let of = self.questions.iter().find(|q| q.question_id == *follow_up_of);
                let (difficulty, dimensions) = of.map_or((Difficulty::Standard, vec![]), |q| {
                    (q.difficulty, q.dimensions.clone())
                });
                self.questions.push(QuestionState {
                    question_id: *question_id,
                    job_question_id: None,
                    follow_up_of: Some(*follow_up_of),
                    difficulty,
                    dimensions,
                    asked_at: at,
                    timed_out: false,
                    answer: None,
                });
            }
            Event::AnswerRecorded { answer_id, question_id, sequence, .. } => {
                self.sequence = *sequence;
                self.last_activity = Some(at);
                let answer = AnswerState { answer_id: *answer_id, judged: false };
                if let Some(q) = self.questions.iter_mut().find(|q| q.question_id == *question_id) {
                    q.answer = Some(answer);
                }
            }
            Event::AnswerJudged { answer_id, .. } => {
                let answers = self.questions.iter_mut().filter_map(|q| q.answer.as_mut());
                answers.filter(|a| a.answer_id == *answer_id).for_each(|a| a.judged = true);
            }
            Event::QuestionTimedOut { question_id } => {
                if let Some(q) = self.questions.iter_mut().find(|q| q.question_id == *question_id) {
                    q.timed_out = true;
                }
            }
            Event::DifficultyChanged { to, .. } => self.difficulty = Some(*to),
            Event::NoteAdded { .. } => self.last_activity = Some(at),
            Event::Completed { .. } => self.status = Some(Status::Completed),
            Event::Abandoned {} => self.status = Some(Status::Abandoned),
            Event::Cancelled { .. } => self.status = Some(Status::Cancelled),
            Event::MarkedNoShow {} => self.status = Some(Status::NoShow),
        }
        self
    }

    fn touch(&mut self, access_id: Uuid, change: impl FnOnce(&mut Access)) {
        if let Some(access) = self.accesses.iter_mut().find(|a| a.access_id == access_id) {
            change(access);
        }
    }

    fn moved(&mut self, party: Party, present: bool, at: DateTime<Utc>) {
        self.last_activity = Some(at);
        self.attend(party, present);
    }

    fn attend(&mut self, party: Party, present: bool) {
        match party {
            Party::Candidate => self.candidate_present = present,
            Party::Interviewer => self.interviewer_present = present,
        }
        let with_person = self.round.as_ref().is_some_and(|r| r.mode != Mode::AiConducted);
        let before_start = matches!(
            self.status,
            Some(Status::Scheduled | Status::WaitingForCandidate | Status::WaitingForInterviewer)
        );
        if with_person && before_start {
            self.status = Some(match (self.candidate_present, self.interviewer_present) {
                (true, false) => Status::WaitingForInterviewer,
                (false, true) => Status::WaitingForCandidate,
                // Both there: `started` follows in the same append.
                (true, true) => return,
                (false, false) => Status::Scheduled,
            });
        }
    }
}
