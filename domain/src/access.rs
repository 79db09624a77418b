//! Reads of persons' data: who was shown what of whom, and what for.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::ids::CandidateId;
use crate::permission::{Action, Relation};
use crate::spelled;

/// Most views in one event; more become further events of the same append.
pub const MAX_VIEWS: usize = 100;

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// What was looked at.
    What {
        /// A candidate's record, applications included.
        Candidate = "CANDIDATE",
        /// An uploaded résumé.
        Resume = "RESUME",
        /// An interview with what was said in it and noted about it.
        Transcript = "TRANSCRIPT",
        /// The verdict on an interview.
        Report = "REPORT",
    }
}

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// A class of fields that hold a person's data.
    Fields {
        /// Name, e-mail address, phone number, source.
        Contact = "CONTACT",
        /// What people noted: notes and reasons.
        Notes = "NOTES",
        /// What a résumé says: its file's name, its text, the facts read out of it.
        ResumeText = "RESUME_TEXT",
        /// The résumé's file itself.
        ResumeFile = "RESUME_FILE",
        /// What was asked and answered.
        Transcript = "TRANSCRIPT",
        /// How answers were judged and scored, proposals and signed decisions.
        Scores = "SCORES",
        /// Insights and integrity flags.
        Observations = "OBSERVATIONS",
        /// Private notes on a verdict.
        PrivateNotes = "PRIVATE_NOTES",
        /// The whole history of an interview, event by event.
        History = "HISTORY",
    }
}

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// What the data were looked at for.
    Purpose {
        /// To decide whom to hire.
        Hiring = "HIRING",
        /// To check how others decided.
        Audit = "AUDIT",
        /// To help a user or mend a fault.
        Support = "SUPPORT",
        /// To answer what the person asks about the own data.
        DataSubjectRequest = "DATA_SUBJECT_REQUEST",
        /// For a dispute or an authority.
        Legal = "LEGAL",
    }
}

/// One thing that was shown. Nothing of what it says stands here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct View {
    /// What it is.
    pub what: What,
    /// Its id: of the candidate, the résumé, the interview or the verdict.
    pub subject_id: Uuid,
    /// Whom it is about.
    pub candidate_id: CandidateId,
    /// Which of its fields, each class once.
    pub fields: Vec<Fields>,
}

/// What can be asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// Record what the caller is about to be shown.
    Record {
        /// What for, as the caller says.
        purpose: Purpose,
        /// What.
        views: Vec<View>,
    },
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The actor was shown persons' data. It was recorded before they were shown.
    Viewed {
        /// What for, as the actor says.
        purpose: Purpose,
        /// What was shown; at least one, at most 100.
        views: Vec<View>,
    },
}

/// Why not: recording what is shown is never refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match *self {}
    }
}

/// What decisions about reads read: nothing. A stream of them holds what one viewer was shown in a day;
/// there are many and they may grow long, while their state stays as small as it began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access;

impl Aggregate for Access {
    const NAME: &'static str = "access";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Access(event) => Some(event),
            _ => None,
        }
    }

    fn action(_: &Command) -> Action {
        Action::RecordAccess
    }

    fn relation(&self, _: &Caller, _: &Command, _: &Facts) -> Relation {
        Relation::default()
    }

    fn references(&self, _: &Command) -> Vec<Reference> {
        vec![]
    }

    fn decide(&self, command: Command, _: Context<'_>) -> Result<Vec<Event>, Refusal> {
        let Command::Record { purpose, views } = command;
        let viewed = |views: &[View]| Event::Viewed { purpose, views: views.to_vec() };
        Ok(views.chunks(MAX_VIEWS).map(viewed).collect())
    }

    fn evolve(self, _: &Event, _: DateTime<Utc>) -> Self {
        self
    }
}
