//! An interview as it was talked: its history read as turns, with texts. What the conductor, the
//! assessor and the observer look at.

use chrono::{DateTime, Utc};
use domain::ids::{AnswerId, CandidateId, QuestionId};
use domain::interview::{Event, Interview, Mode, Party, Round, Status};
use domain::job::{Difficulty, Job, Question, QuestionType};
use uuid::Uuid;

use crate::ai;
use crate::history::View;

/// The talk by the end of a view.
pub struct Talk {
    /// What decisions read.
    pub state: Interview,
    /// Who and what it is about.
    pub round: Round,
    /// When the conversation began.
    pub started_at: Option<DateTime<Utc>>,
    /// Whether the candidate is there.
    pub candidate_present: bool,
    /// Questions with what became of them, in the order in which they were asked.
    pub turns: Vec<Turn>,
}

/// One question and its answer.
pub struct Turn {
    /// Its id in this interview.
    pub question_id: QuestionId,
    /// The job's question that it is, if one; a follow-up has that of the question it follows.
    pub job_question_id: Option<QuestionId>,
    /// The question it follows up, if it does.
    pub follow_up_of: Option<QuestionId>,
    /// What was asked; none once its subject was forgotten.
    pub text: Option<String>,
    /// What it is about.
    pub question_type: QuestionType,
    /// How hard it is.
    pub difficulty: Difficulty,
    /// Whether it was let go unanswered.
    pub timed_out: bool,
    /// What was answered.
    pub answer: Option<Said>,
}

/// An answer.
pub struct Said {
    /// Its id.
    pub answer_id: AnswerId,
    /// What was said; none once its subject was forgotten.
    pub text: Option<String>,
    /// How it was judged, if it was.
    pub judged: Option<Judged>,
}

/// A judgement, as far as the talk depends on it.
#[derive(Clone, Copy)]
pub struct Judged {
    /// 0 to 1.
    pub completeness: f64,
    /// 0 to 100.
    pub score: f64,
    /// The recorded call that judged.
    pub call_id: Uuid,
}

impl Turn {
    /// Whether it still waits for its answer.
    pub fn is_open(&self) -> bool {
        self.answer.is_none() && !self.timed_out
    }

    /// Its answer's score, if it was judged.
    pub fn score(&self) -> Option<f64> {
        self.answer.as_ref()?.judged.map(|judged| judged.score)
    }
}

impl Talk {
    /// Reads an interview's history; none if no round was made by then.
    #[must_use]
    pub fn of(view: &View) -> Option<Self> {
        let state: Interview = view.state();
        let round = state.round()?.clone();
        let mut talk =
            Self { state, round, started_at: None, candidate_present: false, turns: vec![] };
        for (event, recorded) in view.of::<Interview>() {
            talk.take_in(event, recorded.stored.occurred_at);
        }
        Some(talk)
    }

    fn take_in(&mut self, event: &Event, at: DateTime<Utc>) {
        match event {
            Event::Started {} => self.started_at = Some(at),
            Event::Joined { party: Party::Candidate } => self.candidate_present = true,
            Event::Left { party: Party::Candidate } => self.candidate_present = false,
            Event::Rescheduled { .. } => self.candidate_present = false,
            Event::QuestionAsked {
                question_id,
                job_question_id,
                text,
                question_type,
                difficulty,
                ..
            } => self.turns.push(Turn {
                question_id: *question_id,
                job_question_id: *job_question_id,
                follow_up_of: None,
                text: text.get().map(str::to_owned),
                question_type: *question_type,
                difficulty: *difficulty,
                timed_out: false,
                answer: None,
            }),
            Event::FollowUpAsked { question_id, follow_up_of, text, .. } => {
                let Some(of) = self.turn(*follow_up_of) else { return };
                let turn = Turn {
                    question_id: *question_id,
                    job_question_id: of.job_question_id,
                    follow_up_of: Some(*follow_up_of),
                    text: text.get().cloned(),
                    question_type: of.question_type,
                    difficulty: of.difficulty,
                    timed_out: false,
                    answer: None,
                };
                self.turns.push(turn);
            }
            Event::AnswerRecorded { answer_id, question_id, text, .. } => {
                let said = Said { answer_id: *answer_id, text: text.get().cloned(), judged: None };
                if let Some(turn) = self.turns.iter_mut().find(|t| t.question_id == *question_id) {
                    turn.answer = Some(said);
                }
            }
            Event::AnswerJudged { answer_id, judgement } => {
                let mut answers = self.turns.iter_mut().filter_map(|turn| turn.answer.as_mut());
                if let Some(said) = answers.find(|said| said.answer_id == *answer_id) {
                    said.judged = Some(Judged {
                        completeness: judgement.completeness.get(),
                        score: judgement.score.get(),
                        call_id: judgement.provenance.call_id,
                    });
                }
            }
            Event::QuestionTimedOut { question_id } => {
                if let Some(turn) = self.turns.iter_mut().find(|t| t.question_id == *question_id) {
                    turn.timed_out = true;
                }
            }
            Event::ConsentGiven { .. }
            | Event::ConsentWithdrawn {}
            | Event::Planned { .. }
            | Event::Scheduled { .. }
            | Event::InterviewerAssigned { .. }
            | Event::AccessIssued { .. }
            | Event::AccessFirstUsed { .. }
            | Event::AccessRevoked { .. }
            | Event::Joined { party: Party::Interviewer }
            | Event::Left { party: Party::Interviewer }
            | Event::DifficultyChanged { .. }
            | Event::NoteAdded { .. }
            | Event::Completed { .. }
            | Event::Abandoned {}
            | Event::Cancelled { .. }
            | Event::MarkedNoShow {} => {}
        }
    }

    /// The candidate.
    #[must_use]
    pub fn candidate_id(&self) -> CandidateId {
        self.round.candidate_id
    }

    /// Whether AI leads it now: in its mode, while it goes on, under consent.
    #[must_use]
    pub fn is_led_by_ai(&self) -> bool {
        self.round.mode == Mode::AiConducted
            && self.state.status() == Some(Status::InProgress)
            && self.state.ai_may_analyse()
    }

    /// Whether a question waits for its answer.
    #[must_use]
    pub fn has_open_question(&self) -> bool {
        self.turns.iter().any(Turn::is_open)
    }

    /// One question.
    #[must_use]
    pub fn turn(&self, question_id: QuestionId) -> Option<&Turn> {
        self.turns.iter().find(|turn| turn.question_id == question_id)
    }

    /// The question that an answer answers.
    #[must_use]
    pub fn turn_of(&self, answer_id: AnswerId) -> Option<&Turn> {
        let answers = |turn: &&Turn| turn.answer.as_ref().is_some_and(|a| a.answer_id == answer_id);
        self.turns.iter().find(answers)
    }

    /// What asks back after a question, if anything did.
    #[must_use]
    pub fn follow_up_to(&self, question_id: QuestionId) -> Option<&Turn> {
        self.turns.iter().find(|turn| turn.follow_up_of == Some(question_id))
    }
}

/// A question as the job's history has it last: it may have been removed since it was asked.
#[must_use]
pub fn question_of(job: &View, question_id: QuestionId) -> Option<&Question> {
    let mut found = None;
    for (event, _) in job.of::<Job>() {
        if let domain::job::Event::QuestionAdded { question } = event
            && question.question_id == question_id
        {
            found = Some(question);
        }
    }
    found
}

/// How the job wants its interviews held, as the AI port takes it.
#[must_use]
pub fn brief(job: &Job) -> ai::Brief {
    ai::Brief {
        job_title: job.description().map(|description| description.title.clone()),
        language: job.description().map(|description| description.language.clone()),
        instructions: None,
        model: None,
    }
}

/// The port's word for a difficulty.
#[must_use]
pub fn difficulty(of: Difficulty) -> ai::Difficulty {
    match of {
        Difficulty::Warmup => ai::Difficulty::Warmup,
        Difficulty::Standard => ai::Difficulty::Standard,
        Difficulty::Advanced => ai::Difficulty::Advanced,
    }
}
