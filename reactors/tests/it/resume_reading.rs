//! An uploaded résumé becomes text and facts, or says why not.

use domain::resume::Event;
use eventlog::envelope::StreamId;
use eventlog::vault::KeyVault;

use crate::world::{COMPANY, World, example};

async fn read(world: &World, bytes: &[u8]) -> Vec<Event> {
    let candidate = world.register().await;
    let resume = world.upload(candidate, bytes).await;
    world.settle().await;
    events(world, resume.0).await
}

async fn events(world: &World, resume: uuid::Uuid) -> Vec<Event> {
    let stream = StreamId::new(COMPANY, "resume", resume);
    let history = world.history(&stream).await;
    let events = history.into_iter().filter_map(|recorded| match recorded.event {
        domain::Event::Resume(event) => Some(event),
        _ => None,
    });
    events.collect()
}

#[tokio::test]
async fn the_example_resumes_are_read() {
    let world = World::with_job("intensive-care-nurse").await;
    for name in ["zaneta-brzozkiewicz.pdf", "grace-adewunmi-clarke.docx", "ingrid-halvorstad.txt"] {
        let events = read(&world, &example(&format!("resumes/{name}"))).await;
        let [
            Event::Uploaded { .. },
            Event::TextExtracted { .. },
            Event::Parsed { facts, provenance },
        ] = &events[..]
        else {
            panic!("{name}: {events:?}");
        };
        let facts = facts.get().unwrap();
        assert!(!facts.skills.is_empty() && facts.experience_years > 1.0, "{name}");
        assert_eq!(provenance.provider, "rules");
    }
}

#[tokio::test]
async fn a_file_that_gives_no_text_says_why() {
    let world = World::with_job("intensive-care-nurse").await;
    for (bytes, expected) in [
        (&b"%PDF-1.7 and nothing more"[..], "RESUME_DAMAGED"),
        (b"\x89PNG\r\n\x1a\n\0\0", "RESUME_UNSUPPORTED_KIND"),
        (b" \n ", "RESUME_NO_TEXT"),
    ] {
        let events = read(&world, bytes).await;
        let [Event::Uploaded { .. }, Event::ParsingFailed { code }] = &events[..] else {
            panic!("{expected}: {events:?}");
        };
        assert_eq!(code, expected);
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_a_failure_and_not_an_endless_try() {
    let world = World::with_job("intensive-care-nurse").await;
    let candidate = world.register().await;
    let resume = world.upload_as(candidate, "ab".repeat(32), 10).await;
    world.settle().await;
    let events = events(&world, resume.0).await;
    assert!(
        matches!(&events[1..], [Event::ParsingFailed { code }] if code == "RESUME_FILE_MISSING")
    );
}

#[tokio::test]
async fn who_was_forgotten_is_not_read() {
    let world = World::with_job("intensive-care-nurse").await;
    let candidate = world.register().await;
    let resume = world.upload(candidate, b"Nurse, 2018 - 2021").await;
    world.vault.forget(COMPANY, domain::Subject::Candidate(candidate)).await.unwrap();
    world.settle().await;
    assert_eq!(world.names("resume", resume.0).await, ["resume.uploaded"]);
    assert!(world.names("ai_call", resume.0).await.is_empty());
}
