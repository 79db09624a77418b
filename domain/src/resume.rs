//! A résumé: one uploaded file, its text and the facts read out of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::ids::CandidateId;
use crate::permission::{Action, Relation};
use crate::personal::{Personal, Subject};
use crate::values::{self, Invalid, Provenance};

/// Largest résumé file, in bytes (C29).
pub const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;
/// Longest text kept of a résumé, in characters.
pub const MAX_TEXT_CHARS: usize = 50_000;

/// Facts read out of a résumé (RSM-02).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ParsedFacts {
    /// Skills named.
    pub skills: Vec<String>,
    /// Years of work, overlapping times counted once.
    pub experience_years: f64,
    /// Lines on education.
    pub education: Vec<String>,
    /// Earlier roles.
    pub previous_roles: Vec<String>,
    /// Technical domains, each with a level.
    pub technical_domains: std::collections::BTreeMap<String, String>,
}

/// The stored file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct File {
    /// SHA-256 of the sealed bytes, hex: names the file in the object store.
    pub hash: String,
    /// Name as uploaded.
    pub name: Personal<String>,
    /// Size in bytes before sealing.
    pub size_bytes: u64,
    /// Media type, sniffed from the bytes.
    pub media_type: String,
}

/// What can be asked of a résumé.
#[derive(Clone, Debug)]
pub enum Command {
    /// Record the upload of a stored file.
    Upload {
        /// Whose résumé it is.
        candidate_id: CandidateId,
        /// Hash, hex, of the sealed file in the object store.
        hash: String,
        /// File name as given.
        name: String,
        /// Size in bytes.
        size_bytes: u64,
        /// Media type, sniffed.
        media_type: String,
    },
    /// Record the text.
    RecordText {
        /// The text.
        text: String,
        /// Whether it was longer than what is kept.
        truncated: bool,
    },
    /// Record the facts.
    RecordFacts {
        /// The facts.
        facts: ParsedFacts,
        /// The recorded call that read them.
        provenance: Provenance,
    },
    /// Record that it cannot be read.
    RecordFailure {
        /// A public code, such as `RESUME_UNSUPPORTED_KIND`.
        code: String,
    },
}

/// What has happened to a résumé.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// A file was uploaded.
    Uploaded {
        /// Whose résumé it is.
        candidate_id: CandidateId,
        /// The file.
        file: File,
    },
    /// Its text was read.
    TextExtracted {
        /// The text.
        text: Personal<String>,
        /// Length of the text in characters.
        n_chars: u32,
        /// Whether it was longer than what is kept.
        truncated: bool,
    },
    /// Facts were read out of the text.
    Parsed {
        /// The facts.
        facts: Personal<ParsedFacts>,
        /// The recorded call that read them.
        provenance: Provenance,
    },
    /// It cannot be read.
    ParsingFailed {
        /// A public code.
        code: String,
    },
}

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such résumé.
    #[error("there is no such résumé")]
    Missing,
    /// The id names another file.
    #[error("the résumé exists already")]
    AlreadyUploaded,
    /// There is no such active candidate.
    #[error("there is no such active candidate")]
    NoSuchCandidate,
    /// Facts come after the text.
    #[error("the résumé has no text yet")]
    NoText,
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::Missing => "RESUME_NOT_FOUND",
            Self::AlreadyUploaded => "RESUME_ALREADY_UPLOADED",
            Self::NoSuchCandidate => "CAND_001",
            Self::NoText => "RESUME_NO_TEXT",
        }
    }
}

/// How far a résumé was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    Uploaded,
    HasText,
    Parsed,
    Failed,
}

/// What decisions about a résumé read.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    of: Option<CandidateId>,
    file_hash: String,
    progress: Progress,
}

impl Resume {
    /// Whose it is.
    #[must_use]
    pub fn candidate(&self) -> Option<CandidateId> {
        self.of
    }

    /// The hash by which its sealed file goes, once it was uploaded.
    #[must_use]
    pub fn file_hash(&self) -> Option<&str> {
        self.of.map(|_| self.file_hash.as_str())
    }
}

impl Aggregate for Resume {
    const NAME: &'static str = "resume";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Resume(event) => Some(event),
            _ => None,
        }
    }

    fn action(command: &Command) -> Action {
        match command {
            Command::Upload { .. } => Action::UploadResume,
            Command::RecordText { .. }
            | Command::RecordFacts { .. }
            | Command::RecordFailure { .. } => Action::ReadOutResume,
        }
    }

    fn relation(&self, caller: &Caller, command: &Command, _: &Facts) -> Relation {
        match command {
            Command::Upload { candidate_id, .. } => Relation::to_own(caller, *candidate_id),
            Command::RecordText { .. }
            | Command::RecordFacts { .. }
            | Command::RecordFailure { .. } => Relation::default(),
        }
    }

    fn references(&self, command: &Command) -> Vec<Reference> {
        match command {
            Command::Upload { candidate_id, .. } => vec![Reference::Candidate(*candidate_id)],
            Command::RecordText { .. }
            | Command::RecordFacts { .. }
            | Command::RecordFailure { .. } => vec![],
        }
    }

    fn subject(&self) -> Option<Subject> {
        self.of.map(Subject::Candidate)
    }

    fn decide(&self, command: Command, context: Context<'_>) -> Result<Vec<Event>, Refusal> {
        let Some(candidate_id) = self.of else {
            return match command {
                Command::Upload { candidate_id, hash, name, size_bytes, media_type } => {
                    let candidate = context.facts.candidates.get(&candidate_id);
                    if !candidate.is_some_and(crate::candidate::Candidate::is_active) {
                        return Err(Refusal::NoSuchCandidate);
                    }
                    if !(1..=MAX_FILE_BYTES).contains(&size_bytes) {
                        let why = format!("has {size_bytes} bytes, at most {MAX_FILE_BYTES}");
                        return Err(Invalid { field: "file", why }.into());
                    }
                    let subject = Subject::Candidate(candidate_id);
                    let name = Personal::new(subject, values::line("fileName", &name)?);
                    let file = File { hash, name, size_bytes, media_type };
                    Ok(vec![Event::Uploaded { candidate_id, file }])
                }
                _ => Err(Refusal::Missing),
            };
        };
        let subject = Subject::Candidate(candidate_id);
        match (command, self.progress) {
            (Command::Upload { .. }, _) => Err(Refusal::AlreadyUploaded),
            (Command::RecordText { text, truncated }, Progress::Uploaded) => {
                let text = values::bounded("text", &text, MAX_TEXT_CHARS)?;
                let n_chars = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
                Ok(vec![Event::TextExtracted {
                    text: Personal::new(subject, text),
                    n_chars,
                    truncated,
                }])
            }
            (Command::RecordFacts { facts, provenance }, Progress::HasText) => {
                Ok(vec![Event::Parsed { facts: Personal::new(subject, facts), provenance }])
            }
            (Command::RecordFacts { .. }, Progress::Uploaded) => Err(Refusal::NoText),
            (Command::RecordFailure { code }, Progress::Uploaded | Progress::HasText) => {
                Ok(vec![Event::ParsingFailed { code }])
            }
            // Read once: a repeat is not news.
            (Command::RecordText { .. }, _)
            | (Command::RecordFacts { .. } | Command::RecordFailure { .. }, _) => Ok(vec![]),
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Uploaded { candidate_id, file } => {
                self.of = Some(*candidate_id);
                self.file_hash.clone_from(&file.hash);
            }
            Event::TextExtracted { .. } => self.progress = Progress::HasText,
            Event::Parsed { .. } => self.progress = Progress::Parsed,
            Event::ParsingFailed { .. } => self.progress = Progress::Failed,
        }
        self
    }
}
