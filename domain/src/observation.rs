//! Observations of one interview: insights and integrity flags. Apart from the interview, because
//! analysers write many and must never conflict with the conversation.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::{Actor, Caller};
use crate::facts::{Facts, Reference};
use crate::ids::{CandidateId, InterviewId};
use crate::interview::Interview;
use crate::permission::{Action, Relation};
use crate::personal::{Personal, Subject};
use crate::spelled;
use crate::values::{self, Invalid, MAX_NOTE_CHARS};

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// What an observation is about.
    InsightType {
        /// How long the answer took.
        ResponseTime = "RESPONSE_TIME",
        /// How much substance the answer had.
        AnswerQuality = "ANSWER_QUALITY",
        /// It contradicts the résumé's facts.
        ResumeContradiction = "RESUME_CONTRADICTION",
        /// The interview's page was left.
        TabSwitch = "TAB_SWITCH",
        /// Text was pasted.
        Paste = "PASTE",
    }
}

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// How much it matters.
    Severity {
        /// Worth knowing.
        Info = "INFO",
        /// Worth a look.
        Warning = "WARNING",
        /// Needs a person.
        Critical = "CRITICAL",
    }
}

/// One thing that was noticed.
#[derive(Clone, Debug)]
pub struct Noticed {
    /// What it is about.
    pub insight_type: InsightType,
    /// How much it matters.
    pub severity: Severity,
    /// Milliseconds since the interview's start.
    pub ms_from_start: u64,
    /// A measure, where there is one.
    pub value: Option<f64>,
    /// In words.
    pub explanation: String,
}

/// What can be asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// Record insights.
    RaiseInsights {
        /// Of which interview.
        interview_id: InterviewId,
        /// What was noticed.
        noticed: Vec<Noticed>,
    },
    /// Record a doubt about integrity; never an input of a score.
    FlagIntegrity {
        /// Of which interview.
        interview_id: InterviewId,
        /// What was noticed.
        noticed: Noticed,
    },
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// Something was noticed.
    InsightRaised {
        /// What it is about.
        insight_type: InsightType,
        /// How much it matters.
        severity: Severity,
        /// Milliseconds since the interview's start.
        ms_from_start: u64,
        /// A measure, where there is one.
        value: Option<f64>,
        /// In words.
        explanation: Personal<String>,
    },
    /// There is a doubt about integrity.
    IntegrityFlagged {
        /// What it is about.
        insight_type: InsightType,
        /// How much it matters.
        severity: Severity,
        /// Milliseconds since the interview's start.
        ms_from_start: u64,
        /// In words.
        explanation: Personal<String>,
    },
}

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such interview.
    #[error("there is no such interview")]
    NoSuchInterview,
    /// No analysis by a machine without the candidate's consent.
    #[error("the candidate has not consented to analysis")]
    NoConsent,
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::NoSuchInterview => "INT_001",
            Self::NoConsent => "INT_NO_CONSENT",
        }
    }
}

/// What decisions about observations read: nothing of its own, each stands for itself.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    subject: Option<Subject>,
}

impl Observation {
    fn candidate(interview_id: InterviewId, context: &Context<'_>) -> Result<CandidateId, Refusal> {
        let interview = context.facts.interviews.get(&interview_id);
        let interview = interview.ok_or(Refusal::NoSuchInterview)?;
        if matches!(context.caller.actor, Actor::Ai(_) | Actor::System(_))
            && !interview.ai_may_analyse()
        {
            return Err(Refusal::NoConsent);
        }
        interview.candidate().ok_or(Refusal::NoSuchInterview)
    }
}

impl Aggregate for Observation {
    const NAME: &'static str = "observation";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Observation(event) => Some(event),
            _ => None,
        }
    }

    fn action(_: &Command) -> Action {
        Action::Observe
    }

    fn relation(&self, caller: &Caller, command: &Command, facts: &Facts) -> Relation {
        let (Command::RaiseInsights { interview_id, .. }
        | Command::FlagIntegrity { interview_id, .. }) = command;
        facts
            .interviews
            .get(interview_id)
            .map(|i| Interview::stands_to(i, caller))
            .unwrap_or_default()
    }

    fn references(&self, command: &Command) -> Vec<Reference> {
        let (Command::RaiseInsights { interview_id, .. }
        | Command::FlagIntegrity { interview_id, .. }) = command;
        vec![Reference::Interview(*interview_id)]
    }

    fn subject(&self) -> Option<Subject> {
        self.subject
    }

    fn decide(&self, command: Command, context: Context<'_>) -> Result<Vec<Event>, Refusal> {
        let personal = |interview_id, text: &str| -> Result<Personal<String>, Refusal> {
            let candidate = Self::candidate(interview_id, &context)?;
            let text = values::bounded("explanation", text, MAX_NOTE_CHARS)?;
            Ok(Personal::new(Subject::Candidate(candidate), text))
        };
        match command {
            Command::RaiseInsights { interview_id, noticed } => noticed
                .into_iter()
                .map(|n| {
                    Ok(Event::InsightRaised {
                        explanation: personal(interview_id, &n.explanation)?,
                        insight_type: n.insight_type,
                        severity: n.severity,
                        ms_from_start: n.ms_from_start,
                        value: n.value.filter(|v| v.is_finite()),
                    })
                })
                .collect(),
            Command::FlagIntegrity { interview_id, noticed: n } => {
                Ok(vec![Event::IntegrityFlagged {
                    explanation: personal(interview_id, &n.explanation)?,
                    insight_type: n.insight_type,
                    severity: n.severity,
                    ms_from_start: n.ms_from_start,
                }])
            }
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        let (Event::InsightRaised { explanation, .. }
        | Event::IntegrityFlagged { explanation, .. }) = event;
        self.subject = Some(explanation.subject());
        self
    }
}
