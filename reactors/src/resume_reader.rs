//! The résumé reader: an uploaded file becomes text, and the text becomes facts. Each step is a
//! fact of its own, so that a crash between them repeats only the second.

use async_trait::async_trait;
use domain::Aggregate;
use domain::caller::Caller;
use domain::ids::CandidateId;
use domain::personal::Subject;
use domain::resume::{Command, Event, ParsedFacts, Resume};
use eventlog::codec::Recorded;
use eventlog::envelope::StoredEvent;
use eventlog::files::FileError;

use crate::ai::{Brief, Level, ReadResume, ResumeFacts};
use crate::ai_log::{Asking, Recalled};
use crate::history::View;
use crate::reactor::{Fault, Reactor, Settled, Tools};
use crate::resume::text::Unreadable;

/// What all orders of one event share.
const PURPOSE: &str = "read";
/// The object store has no such file, or not the one that was uploaded.
const FILE_MISSING: &str = "RESUME_FILE_MISSING";
/// How often a file is read that took too long, which may be another file's fault.
const MOST_READS: u32 = 3;

/// Reads résumés.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResumeReader;

/// What follows from an event of a résumé.
#[derive(Clone, PartialEq)]
pub enum Action {
    /// Read the text of this file.
    ReadFile {
        /// Names the file.
        hash: String,
    },
    /// Read the facts out of this text.
    ReadText {
        /// Whose text it is.
        candidate_id: CandidateId,
        /// The text.
        text: String,
    },
}

#[async_trait]
impl Reactor for ResumeReader {
    const NAME: &'static str = "reactor.resume_reader";
    const AGGREGATE: &'static str = Resume::NAME;
    const EVENTS: &'static [&'static str] = &["resume.uploaded", "resume.text_extracted"];
    type Action = Action;

    fn react(&self, view: &View, event: &Recorded) -> Vec<Action> {
        let action = match Resume::event(&event.event) {
            Some(Event::Uploaded { file, .. }) => {
                Some(Action::ReadFile { hash: file.hash.clone() })
            }
            Some(Event::TextExtracted { text, .. }) => {
                let resume: Resume = view.state();
                let text = text.get().cloned();
                resume
                    .candidate()
                    .zip(text)
                    .map(|(candidate_id, text)| Action::ReadText { candidate_id, text })
            }
            Some(Event::Parsed { .. } | Event::ParsingFailed { .. }) | None => None,
        };
        action.into_iter().collect()
    }

    async fn act(
        &self,
        action: Action,
        _: &View,
        cause: &StoredEvent,
        tools: &Tools,
    ) -> Result<(), Fault> {
        match action {
            Action::ReadFile { hash } => read_file(&hash, cause, tools).await,
            Action::ReadText { candidate_id, text } => {
                read_text(candidate_id, text, cause, tools).await
            }
        }
    }
}

async fn order(
    caller: &Caller,
    command: Command,
    cause: &StoredEvent,
    tools: &Tools,
) -> Result<Settled, Fault> {
    tools.order::<Resume>(caller, cause.stream.id, command, cause, PURPOSE).await
}

async fn read_file(hash: &str, cause: &StoredEvent, tools: &Tools) -> Result<(), Fault> {
    let caller = Caller::system(cause.stream.company, "resume_reader");
    let fail = |code: &'static str| Command::RecordFailure { code: code.to_owned() };
    let bytes = match tools.files.get(cause.stream.company, hash).await {
        Ok(bytes) => bytes,
        Err(FileError::SubjectErased) => return Ok(()),
        Err(FileError::Missing) => {
            return order(&caller, fail(FILE_MISSING), cause, tools).await.map(drop);
        }
        Err(FileError::Unavailable) => return Err(Fault::Unavailable),
    };
    let mut read = tools.reader.read(bytes.clone()).await;
    for _ in 1..MOST_READS {
        if !matches!(read, Err(Unreadable::TookTooLong)) {
            break;
        }
        read = tools.reader.read(bytes.clone()).await;
    }
    let (mut text, mut truncated) = match read {
        Ok(extracted) => (extracted.text, extracted.truncated),
        Err(unreadable) => {
            return order(&caller, fail(unreadable.code()), cause, tools).await.map(drop);
        }
    };
    loop {
        let command = Command::RecordText { text: text.clone(), truncated };
        match order(&caller, command, cause, tools).await? {
            Settled::Done(_) | Settled::Refused("SUBJECT_ERASED") => return Ok(()),
            // Rare letters take more room than the limit in characters foresees.
            Settled::Refused("TOO_LARGE") if text.chars().count() > 1 => {
                let kept = text.chars().count() / 2;
                text = text.chars().take(kept).collect();
                truncated = true;
            }
            Settled::Refused(code) => {
                return order(&caller, fail(code), cause, tools).await.map(drop);
            }
        }
    }
}

async fn read_text(
    candidate_id: CandidateId,
    text: String,
    cause: &StoredEvent,
    tools: &Tools,
) -> Result<(), Fault> {
    let caller = Caller::ai(cause.stream.company, "resume_reader");
    // The day of the event and not of today, so that a repeat reads the same facts.
    let today = cause.occurred_at.date_naive();
    let request = ReadResume { brief: Brief::default(), text, today };
    let asking = Asking {
        caller: &caller,
        cause,
        about: cause.stream.id,
        subject: Subject::Candidate(candidate_id),
        attempt: 0,
    };
    let command = match tools.ai.ask(&asking, &request).await? {
        Recalled::Answered { value, provenance } => {
            Command::RecordFacts { facts: facts(value), provenance }
        }
        Recalled::Failed { code } => Command::RecordFailure { code },
    };
    if let Settled::Refused(code) = order(&caller, command, cause, tools).await? {
        let command = Command::RecordFailure { code: code.to_owned() };
        order(&caller, command, cause, tools).await?;
    }
    Ok(())
}

fn facts(read: ResumeFacts) -> ParsedFacts {
    let level = |level: Level| match level {
        Level::Beginner => "beginner",
        Level::Intermediate => "intermediate",
        Level::Advanced => "advanced",
    };
    let domains = read.technical_domains.into_iter();
    ParsedFacts {
        skills: read.skills,
        experience_years: read.experience_years,
        education: read.education,
        previous_roles: read.previous_roles,
        technical_domains: domains.map(|(name, l)| (name, level(l).to_owned())).collect(),
    }
}
