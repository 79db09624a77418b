//! A résumé: read once, step by step.

use domain::Caller;
use domain::personal::{Personal, Subject};
use domain::resume::{Command, Event, MAX_FILE_BYTES, ParsedFacts, Refusal, Resume};
use domain::testing::{Given, given};

use crate::world::*;

fn resume(more: Vec<Event>) -> Given<Resume> {
    let mut events = vec![uploaded()];
    events.extend(more);
    given::<Resume>(noon(), &Caller::system(COMPANY, "reader"), events).facts(facts())
}

fn upload(size_bytes: u64) -> Command {
    Command::Upload {
        candidate_id: MIRA,
        hash: "ab".repeat(32),
        name: "mira.pdf".into(),
        size_bytes,
        media_type: "application/pdf".into(),
    }
}

fn record_text() -> Command {
    Command::RecordText { text: "Mira.".into(), truncated: false }
}

fn text_extracted() -> Event {
    Event::TextExtracted { text: personal("Mira."), n_chars: 5, truncated: false }
}

fn record_facts() -> Command {
    Command::RecordFacts { facts: ParsedFacts::default(), provenance: provenance() }
}

fn parsed() -> Event {
    let facts = Personal::new(Subject::Candidate(MIRA), ParsedFacts::default());
    Event::Parsed { facts, provenance: provenance() }
}

fn fail() -> Command {
    Command::RecordFailure { code: "RESUME_DAMAGED".into() }
}

fn failed() -> Event {
    Event::ParsingFailed { code: "RESUME_DAMAGED".into() }
}

#[test]
fn an_active_candidates_file_is_uploaded_once() {
    let nothing = || given::<Resume>(noon(), &ada(), []);
    nothing().facts(facts()).when(upload(1_000)).then([uploaded()]);
    nothing().when(upload(1_000)).refused(Refusal::NoSuchCandidate);
    resume(vec![]).when(upload(1_000)).refused(Refusal::AlreadyUploaded);
    nothing().when(record_text()).refused(Refusal::Missing);
}

#[test]
fn a_file_has_at_most_10_mb() {
    let nothing = || given::<Resume>(noon(), &ada(), []).facts(facts());
    nothing().when(upload(0)).refused_with("VALIDATION_FAILED");
    nothing().when(upload(MAX_FILE_BYTES + 1)).refused_with("VALIDATION_FAILED");
    assert!(nothing().when(upload(MAX_FILE_BYTES)).result().is_ok());
}

#[test]
fn text_comes_before_facts_and_each_once() {
    resume(vec![]).when(record_text()).then([text_extracted()]);
    resume(vec![]).when(record_facts()).refused(Refusal::NoText);
    resume(vec![text_extracted()]).when(record_text()).nothing();
    resume(vec![text_extracted()]).when(record_facts()).then([parsed()]);
    resume(vec![text_extracted(), parsed()]).when(record_facts()).nothing();
}

#[test]
fn reading_fails_once_and_never_after_it_went_well() {
    resume(vec![]).when(fail()).then([failed()]);
    resume(vec![text_extracted()]).when(fail()).then([failed()]);
    resume(vec![failed()]).when(fail()).nothing();
    resume(vec![failed()]).when(record_text()).nothing();
    resume(vec![text_extracted(), parsed()]).when(fail()).nothing();
}
