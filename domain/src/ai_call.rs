//! Calls to models about one interview or résumé: each leaves its provenance, prompt and answer.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::permission::{Action, Relation};
use crate::personal::{Personal, Subject};
use crate::spelled;
use crate::values::Provenance;

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// What a model was asked for.
    Purpose {
        /// The next question.
        NextQuestion = "NEXT_QUESTION",
        /// How good an answer is, and what to ask back.
        JudgeAnswer = "JUDGE_ANSWER",
        /// Scores for the rubric's dimensions.
        ProposeScores = "PROPOSE_SCORES",
        /// Facts of a résumé.
        ReadResume = "READ_RESUME",
    }
}

/// A call that was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Call {
    /// What for.
    pub purpose: Purpose,
    /// Call id, provider, model, prompt version, and whether a fallback answered.
    pub provenance: Provenance,
    /// SHA-256 of the request, hex.
    pub request_hash: String,
    /// Tokens sent, as the provider counts them; 0 for the built-in rules.
    pub tokens_in: u32,
    /// Tokens received.
    pub tokens_out: u32,
    /// Cost in millionths of a US dollar.
    pub cost_micro_usd: u64,
    /// Time to the answer, in milliseconds.
    pub latency_ms: u64,
    /// Which attempt was answered, from 1.
    pub attempt: u16,
    /// What was sent.
    pub prompt: Personal<String>,
    /// What came back, as checked.
    pub answer: Personal<String>,
}

/// What can be asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// Record a call that was answered.
    RecordAnswered {
        /// The call.
        call: Box<Call>,
    },
    /// Record a call that finally failed.
    RecordFailed {
        /// Its id.
        call_id: Uuid,
        /// What for.
        purpose: Purpose,
        /// A public code, such as `AI_001`.
        code: String,
        /// Attempts made.
        n_attempts: u16,
    },
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly all of these events are the large one")]
pub enum Event {
    /// A model answered.
    Completed(Call),
    /// No model answered.
    Failed {
        /// The call's id.
        call_id: Uuid,
        /// What for.
        purpose: Purpose,
        /// A public code.
        code: String,
        /// Attempts made.
        n_attempts: u16,
    },
}

/// Why not: recording a call is never refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match *self {}
    }
}

/// What decisions about calls read: which are recorded. Their content is read from the log.
#[derive(Clone, Debug, Default)]
pub struct AiCalls {
    recorded: HashSet<Uuid>,
    subject: Option<Subject>,
}

impl Aggregate for AiCalls {
    const NAME: &'static str = "ai_call";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::AiCall(event) => Some(event),
            _ => None,
        }
    }

    fn action(_: &Command) -> Action {
        Action::RecordAiCall
    }

    fn relation(&self, _: &Caller, _: &Command, _: &Facts) -> Relation {
        Relation::default()
    }

    fn references(&self, _: &Command) -> Vec<Reference> {
        vec![]
    }

    fn subject(&self) -> Option<Subject> {
        self.subject
    }

    fn decide(&self, command: Command, _: Context<'_>) -> Result<Vec<Event>, Refusal> {
        Ok(match command {
            Command::RecordAnswered { call }
                if self.recorded.contains(&call.provenance.call_id) =>
            {
                vec![]
            }
            Command::RecordAnswered { call } => vec![Event::Completed(*call)],
            Command::RecordFailed { call_id, .. } if self.recorded.contains(&call_id) => vec![],
            Command::RecordFailed { call_id, purpose, code, n_attempts } => {
                vec![Event::Failed { call_id, purpose, code, n_attempts }]
            }
        })
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Completed(call) => {
                self.recorded.insert(call.provenance.call_id);
                self.subject = Some(call.answer.subject());
            }
            Event::Failed { call_id, .. } => {
                self.recorded.insert(*call_id);
            }
        }
        self
    }
}
