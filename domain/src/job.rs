//! A job: description, questions and rubric. A rubric version is never changed, only followed.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::ids::{MemberId, QuestionId};
use crate::permission::{Action, Relation};
use crate::spelled;
use crate::values::{self, Invalid, MAX_DESCRIPTION_CHARS, MAX_NOTE_CHARS, Weight};

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// What a question is about.
    QuestionType {
        /// Knowledge of the field.
        Technical = "TECHNICAL",
        /// What the person did.
        Behavioral = "BEHAVIORAL",
        /// What the person would do.
        Situational = "SITUATIONAL",
    }
}

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// How hard a question is, and where an interview stands (LIV-10).
    Difficulty {
        /// To begin with.
        Warmup = "WARMUP",
        /// The bulk.
        Standard = "STANDARD",
        /// Until the candidate struggles.
        Advanced = "ADVANCED",
    }
}

/// One of the job's questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Question {
    /// Its id.
    pub question_id: QuestionId,
    /// What is asked.
    pub text: String,
    /// What it is about.
    pub question_type: QuestionType,
    /// How hard it is.
    pub difficulty: Difficulty,
    /// Orders and weighs coverage, 1 to 100.
    pub weight: u8,
    /// Keys of the rubric dimensions that it measures.
    pub dimensions: Vec<String>,
    /// What a good answer mentions; `a|b` means either.
    pub expected_keywords: Vec<String>,
}

/// One thing that a rubric scores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Dimension {
    /// Its key, such as `system_design`.
    pub key: String,
    /// Its name for people.
    pub label: String,
    /// Its weight; the sum of all need not be 1.
    pub weight: Weight,
}

/// How interviews for the job run. Times in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Conversation {
    /// Most warm-up questions asked (LIV-11: 2 to 3).
    pub n_warmup: u8,
    /// Most standard questions asked (LIV-11: 5 to 8).
    pub n_standard: u8,
    /// Most advanced questions asked (LIV-11: 3 to 5).
    pub n_advanced: u8,
    /// How long a question waits for its answer (LIV-15).
    pub answer_timeout_s: u32,
    /// Silence after which a round is abandoned (LIV-22).
    pub abandon_after_s: u32,
}

impl Default for Conversation {
    fn default() -> Self {
        Self {
            n_warmup: 3,
            n_standard: 8,
            n_advanced: 5,
            answer_timeout_s: 300,
            abandon_after_s: 1800,
        }
    }
}

/// Text and place of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Description {
    /// Title, at most 255 characters.
    pub title: String,
    /// Department, if any.
    pub department: Option<String>,
    /// Place of work, if any.
    pub location: Option<String>,
    /// BCP 47 language of the interviews, such as `en`.
    pub language: String,
    /// The job description, at most 20,000 characters.
    pub text: String,
}

/// What can be asked of a job.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make it.
    Open {
        /// Its description.
        description: Description,
        /// Who owns it.
        hiring_manager: MemberId,
    },
    /// Describe it anew.
    Describe {
        /// The new description.
        description: Description,
    },
    /// Add a question.
    AddQuestion {
        /// The question.
        question: Question,
    },
    /// Take a question away; rounds that asked it keep it.
    RemoveQuestion {
        /// Which.
        question_id: QuestionId,
    },
    /// Set the next version of the rubric.
    SetRubric {
        /// What is scored.
        dimensions: Vec<Dimension>,
    },
    /// Set how interviews run.
    ConfigureInterviewing {
        /// Counts and time-outs.
        conversation: Conversation,
    },
    /// Open it for candidates.
    Publish,
    /// Take no more candidates.
    Close,
}

/// What has happened to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The job was made.
    Opened {
        /// Its description.
        description: Description,
        /// Who owns it.
        hiring_manager: MemberId,
    },
    /// The description changed.
    Described {
        /// The new description.
        description: Description,
    },
    /// A question was added.
    QuestionAdded {
        /// The question.
        question: Question,
    },
    /// A question was taken away.
    QuestionRemoved {
        /// Which.
        question_id: QuestionId,
    },
    /// The next version of the rubric holds.
    RubricSet {
        /// 1, 2, 3 …
        version: u32,
        /// What is scored.
        dimensions: Vec<Dimension>,
    },
    /// How interviews run was set.
    InterviewingConfigured {
        /// Counts and time-outs.
        conversation: Conversation,
    },
    /// It is open for candidates.
    Published {},
    /// It takes no more candidates.
    Closed {},
}

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such job.
    #[error("there is no such job")]
    Missing,
    /// The job exists already.
    #[error("the job exists already")]
    AlreadyOpened,
    /// The job takes no changes any more.
    #[error("the job is closed")]
    Closed,
    /// The question exists with another content.
    #[error("the question exists already with another content")]
    QuestionExists,
    /// There is no such question.
    #[error("there is no such question")]
    NoSuchQuestion,
    /// A question names a dimension that the rubric has not.
    #[error("the rubric has no dimension {key}")]
    UnknownDimension {
        /// The key given.
        key: String,
    },
    /// The owner is no active member.
    #[error("the hiring manager is not an active member of the company")]
    NoSuchManager,
    /// It cannot be published yet.
    #[error("a job needs a rubric and at least one question before it is published")]
    NotReady,
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::Missing => "JOB_001",
            Self::AlreadyOpened => "JOB_ALREADY_OPENED",
            Self::Closed => "JOB_CLOSED",
            Self::QuestionExists => "JOB_QUESTION_EXISTS",
            Self::NoSuchQuestion => "JOB_QUESTION_NOT_FOUND",
            Self::UnknownDimension { .. } => "JOB_UNKNOWN_DIMENSION",
            Self::NoSuchManager => "JOB_NO_SUCH_MANAGER",
            Self::NotReady => "JOB_NOT_READY",
        }
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Draft,
    Published,
    Closed,
}

/// What decisions about a job, and about its interviews, read.
#[derive(Clone, Debug, Default)]
pub struct Job {
    status: Option<Status>,
    description: Option<Description>,
    manager: Option<MemberId>,
    questions: Vec<Question>,
    rubrics: BTreeMap<u32, Vec<Dimension>>,
    conversation: Conversation,
}

impl Job {
    /// Who owns the job.
    #[must_use]
    pub fn manager(&self) -> Option<MemberId> {
        self.manager
    }

    /// The job's questions in the order in which they were added.
    #[must_use]
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// The version of the rubric that holds now.
    #[must_use]
    pub fn rubric_version(&self) -> Option<u32> {
        self.rubrics.last_key_value().map(|(version, _)| *version)
    }

    /// A version of the rubric.
    #[must_use]
    pub fn rubric(&self, version: u32) -> Option<&[Dimension]> {
        self.rubrics.get(&version).map(Vec::as_slice)
    }

    /// How interviews run.
    #[must_use]
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// The job's description.
    #[must_use]
    pub fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// Whether candidates can be interviewed for it.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.status == Some(Status::Published)
    }
}

fn description(given: &Description) -> Result<Description, Invalid> {
    let optional = |field, text: &Option<String>| -> Result<Option<String>, Invalid> {
        text.as_ref().map(|text| values::line(field, text)).transpose()
    };
    Ok(Description {
        title: values::line("title", &given.title)?,
        department: optional("department", &given.department)?,
        location: optional("location", &given.location)?,
        language: language(&given.language)?,
        text: values::bounded("description", &given.text, MAX_DESCRIPTION_CHARS)?,
    })
}

fn language(text: &str) -> Result<String, Invalid> {
    let well_formed = (2..=35).contains(&text.len())
        && text.split('-').all(|part| {
            (1..=8).contains(&part.len()) && part.chars().all(|c| c.is_ascii_alphanumeric())
        });
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err(Invalid { field: "language", why: "is not a BCP 47 language tag".into() })
    }
}

fn question(given: &Question) -> Result<Question, Invalid> {
    if !(1..=100).contains(&given.weight) {
        return Err(Invalid { field: "weight", why: "must be between 1 and 100".into() });
    }
    if given.expected_keywords.len() > 50 || given.dimensions.len() > 20 {
        let why = "at most 50 keywords and 20 dimensions".to_owned();
        return Err(Invalid { field: "expectedKeywords", why });
    }
    let lines = |field, texts: &[String]| -> Result<Vec<String>, Invalid> {
        texts.iter().map(|text| values::line(field, text)).collect()
    };
    Ok(Question {
        text: values::bounded("text", &given.text, MAX_NOTE_CHARS)?,
        dimensions: lines("dimensions", &given.dimensions)?,
        expected_keywords: lines("expectedKeywords", &given.expected_keywords)?,
        ..given.clone()
    })
}

fn rubric(given: &[Dimension]) -> Result<Vec<Dimension>, Invalid> {
    let wrong = |why: &str| Invalid { field: "dimensions", why: why.to_owned() };
    if !(1..=20).contains(&given.len()) {
        return Err(wrong("a rubric has 1 to 20 dimensions"));
    }
    let mut keys = HashSet::new();
    for dimension in given {
        values::line("label", &dimension.label)?;
        let key = &dimension.key;
        let well_formed = (1..=64).contains(&key.len())
            && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !well_formed {
            return Err(wrong("a key has 1 to 64 of a-z, 0-9 and _"));
        }
        if !keys.insert(key) {
            return Err(wrong("each key stands once"));
        }
    }
    Ok(given.to_vec())
}

fn conversation(given: &Conversation) -> Result<(), Invalid> {
    let wrong = |field, why: &str| Err(Invalid { field, why: why.to_owned() });
    let n_all =
        u32::from(given.n_warmup) + u32::from(given.n_standard) + u32::from(given.n_advanced);
    if !(1..=60).contains(&n_all) {
        return wrong("questions", "between 1 and 60 in all");
    }
    if !(5..=3600).contains(&given.answer_timeout_s) {
        return wrong("answerTimeoutS", "must be between 5 and 3600 seconds");
    }
    if !(60..=86_400).contains(&given.abandon_after_s) {
        return wrong("abandonAfterS", "must be between 60 and 86400 seconds");
    }
    Ok(())
}

impl Aggregate for Job {
    const NAME: &'static str = "job";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Job(event) => Some(event),
            _ => None,
        }
    }

    fn action(_: &Command) -> Action {
        Action::WriteJob
    }

    fn relation(&self, caller: &Caller, command: &Command, _: &Facts) -> Relation {
        let manager = match command {
            Command::Open { hiring_manager, .. } => Some(*hiring_manager),
            _ => self.manager,
        };
        let own_job = manager.is_some() && manager == caller.member();
        Relation { own_job, ..Relation::default() }
    }

    fn references(&self, command: &Command) -> Vec<Reference> {
        match command {
            Command::Open { hiring_manager, .. } => vec![Reference::Member(*hiring_manager)],
            _ => vec![],
        }
    }

    fn decide(&self, command: Command, context: Context<'_>) -> Result<Vec<Event>, Refusal> {
        let Some(status) = self.status else {
            return match command {
                Command::Open { description: given, hiring_manager } => {
                    let manager = context.facts.members.get(&hiring_manager);
                    if !manager.is_some_and(crate::member::Member::is_active) {
                        return Err(Refusal::NoSuchManager);
                    }
                    Ok(vec![Event::Opened { description: description(&given)?, hiring_manager }])
                }
                _ => Err(Refusal::Missing),
            };
        };
        if status == Status::Closed && !matches!(command, Command::Close) {
            return Err(Refusal::Closed);
        }
        match command {
            Command::Open { .. } => Err(Refusal::AlreadyOpened),
            Command::Describe { description: given } => {
                let description = description(&given)?;
                if self.description.as_ref() == Some(&description) {
                    return Ok(vec![]);
                }
                Ok(vec![Event::Described { description }])
            }
            Command::AddQuestion { question: given } => self.add_question(&given),
            Command::RemoveQuestion { question_id } => {
                if self.questions.iter().any(|q| q.question_id == question_id) {
                    Ok(vec![Event::QuestionRemoved { question_id }])
                } else {
                    Err(Refusal::NoSuchQuestion)
                }
            }
            Command::SetRubric { dimensions } => {
                let dimensions = rubric(&dimensions)?;
                let (version, was) =
                    self.rubrics.last_key_value().map_or((0, None), |(v, d)| (*v, Some(d)));
                if was == Some(&dimensions) {
                    return Ok(vec![]);
                }
                Ok(vec![Event::RubricSet { version: version + 1, dimensions }])
            }
            Command::ConfigureInterviewing { conversation: given } => {
                conversation(&given)?;
                if self.conversation == given {
                    return Ok(vec![]);
                }
                Ok(vec![Event::InterviewingConfigured { conversation: given }])
            }
            Command::Publish if status == Status::Published => Ok(vec![]),
            Command::Publish if self.rubrics.is_empty() || self.questions.is_empty() => {
                Err(Refusal::NotReady)
            }
            Command::Publish => Ok(vec![Event::Published {}]),
            Command::Close if status == Status::Closed => Ok(vec![]),
            Command::Close => Ok(vec![Event::Closed {}]),
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Opened { description, hiring_manager } => {
                self.status = Some(Status::Draft);
                self.description = Some(description.clone());
                self.manager = Some(*hiring_manager);
            }
            Event::Described { description } => self.description = Some(description.clone()),
            Event::QuestionAdded { question } => self.questions.push(question.clone()),
            Event::QuestionRemoved { question_id } => {
                self.questions.retain(|q| q.question_id != *question_id);
            }
            Event::RubricSet { version, dimensions } => {
                self.rubrics.insert(*version, dimensions.clone());
            }
            Event::InterviewingConfigured { conversation } => {
                self.conversation = conversation.clone();
            }
            Event::Published {} => self.status = Some(Status::Published),
            Event::Closed {} => self.status = Some(Status::Closed),
        }
        self
    }
}

impl Job {
    fn add_question(&self, given: &Question) -> Result<Vec<Event>, Refusal> {
        let question = question(given)?;
        if let Some(was) = self.questions.iter().find(|q| q.question_id == question.question_id) {
            return if *was == question { Ok(vec![]) } else { Err(Refusal::QuestionExists) };
        }
        if self.questions.len() >= 200 {
            let why = "a job has at most 200 questions".to_owned();
            return Err(Invalid { field: "questions", why }.into());
        }
        let rubric = self.rubrics.last_key_value().map(|(_, d)| d.as_slice()).unwrap_or_default();
        let unknown = question.dimensions.iter().find(|key| !rubric.iter().any(|d| d.key == **key));
        if let Some(key) = unknown {
            return Err(Refusal::UnknownDimension { key: key.clone() });
        }
        Ok(vec![Event::QuestionAdded { question }])
    }
}
