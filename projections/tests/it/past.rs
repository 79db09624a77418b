//! Replay: a stream's rows as they stood, and its exact history.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::personal::Subject;
use eventlog::clock::{Clock, SystemClock};
use eventlog::codec::Codec;
use eventlog::envelope::{Position, Version};
use eventlog::store::memory::MemoryStore;
use eventlog::vault::KeyVault;
use eventlog::vault::memory::MemoryVault;
use projections::as_of::{AsOf, AsOfError, rows_as_of};
use projections::history::{Content, history};
use projections::interviews::Interviews;
use projections::transcripts::Transcripts;
use projections::verdicts::Verdicts;
use projections::wall::Readers;
use projections::{Reads, as_of};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;

use crate::world::World;

/// A log in memory, whose clock is the machine's, and reads that never need the database.
fn past() -> (World, Reads, MemoryVault) {
    let vault = MemoryVault::new();
    let store = Arc::new(MemoryStore::new(Arc::new(SystemClock), vault.clone()));
    let codec = Codec::new(Arc::new(vault.clone()));
    let pool = PgPoolOptions::new().connect_lazy("postgres://nobody@localhost:1/none");
    let pool = pool.expect("an address");
    let readers = Readers::new(pool.connect_options().as_ref().clone(), 1);
    let reads = Reads::new(pool, readers, store.clone(), codec.clone(), Arc::new(SystemClock));
    (World::new(store, codec, 1), reads, vault)
}

#[tokio::test]
async fn an_interview_is_shown_as_it_stood_at_any_version() {
    let (world, reads, _) = past();
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    world
        .append(
            &world.stream("job", world.job(0).0),
            vec![]
                .into_iter()
                .chain([domain::Event::from(domain::job::Event::Published {})])
                .collect(),
        )
        .await;
    world.append(&stream, world.interview_events(&story)).await;
    let past = async |n| rows_as_of::<Interviews>(&reads, &stream, AsOf::Version(Version(n))).await;
    for (n, answers) in [(7, 0), (9, 1), (12, 2), (17, 2)] {
        let past = past(n).await.unwrap_or_else(|error| panic!("version {n}: {error}"));
        assert_eq!((past.rows[0].n_answers, past.rows[0].version), (answers, n));
        assert_eq!((past.version, past.position), (Version(n), Position(n + 1)));
        assert!(past.is_final);
    }
    for n in [0, 18, u64::MAX] {
        assert_eq!(past(n).await.map(|_| ()), Err(AsOfError::UnknownVersion), "{n}");
    }
    let turns = as_of::rows_at::<Transcripts>(&reads, &stream, Version(9)).await;
    assert_eq!(turns.map(|turns| turns.len()), Ok(2));
    let row = as_of::row_at::<Interviews>(&reads, &stream, Version(1)).await;
    let row = row.unwrap_or_else(|error| panic!("{error}")).expect("there");
    assert_eq!(row.scheduled_at, None);
}

#[tokio::test]
async fn an_interview_is_shown_as_it_stood_at_any_time() {
    let (world, reads, _) = past();
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    let events = world.interview_events(&story);
    world.append(&stream, events[..9].to_vec()).await;
    let between = SystemClock.now();
    // What follows is recorded later: the clock has moved on by then.
    while SystemClock.now() <= between {
        tokio::task::yield_now().await;
    }
    world.append(&stream, events[9..].to_vec()).await;
    let at = async |time| rows_as_of::<Interviews>(&reads, &stream, AsOf::Time(time)).await;

    let past = at(between).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((past.version, past.position, past.is_final), (Version(9), Position(9), true));
    assert_eq!(past.rows[0].n_answers, 1);
    let before = at(between - TimeDelta::days(1)).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((before.rows.len(), before.version, before.position), (0, Version(0), Position(0)));
    let future = at(SystemClock.now() + TimeDelta::minutes(1)).await.map(|_| ());
    assert_eq!(future, Err(AsOfError::InFuture));
    assert_eq!(AsOfError::InFuture.code(), "AS_OF_IN_FUTURE");
}

#[tokio::test]
async fn what_only_a_query_of_its_own_may_show_is_not_in_the_past_either() {
    let (world, reads, _) = past();
    let story = world.story(1);
    let stream = world.stream("verdict", story.verdict.0);
    world.append(&stream, world.verdict_events(&story)).await;
    let row = as_of::row_at::<Verdicts>(&reads, &stream, Version(6)).await;
    let row = row.unwrap_or_else(|error| panic!("{error}")).expect("there");
    assert!(row.private_notes.is_empty());
    assert!(row.signature.is_some());
}

#[tokio::test]
async fn a_history_is_exact() {
    let (world, reads, _) = past();
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    world.append(&stream, world.interview_events(&story)).await;
    world.append_raw(&stream, "interview.teleported", "{}").await;
    let page = history(&reads, &stream, Version(0), 10).await.expect("it can be read");
    assert!(page.has_more);
    let rest = history(&reads, &stream, Version(10), 100).await.expect("it can be read");
    assert!(!rest.has_more);
    let entries: Vec<_> = page.entries.iter().chain(&rest.entries).collect();
    let versions: Vec<u64> = entries.iter().map(|entry| entry.version.0).collect();
    assert_eq!(versions, (1..=18).collect::<Vec<_>>());
    assert!(entries.iter().all(|entry| entry.is_intact && entry.hash.len() == 64));
    let answer = entries[8];
    assert_eq!(answer.name, "interview.answer_recorded");
    let Content::Opened(data) = &answer.content else {
        panic!("it can be read");
    };
    assert_eq!(data["text"], "Answer 0.");
    assert_eq!(data["sequence"], 2);
    assert!(matches!(&entries[17].content, Content::Unreadable(_)));
    let nothing = history(&reads, &world.stream("interview", world.job(0).0), Version(0), 9).await;
    assert!(nothing.expect("it can be read").entries.is_empty());
}

#[tokio::test]
async fn who_was_erased_is_erased_in_the_past_too() {
    let (world, reads, vault) = past();
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    world.append(&stream, world.interview_events(&story)).await;
    vault.forget(world.company(), Subject::Candidate(story.candidate)).await.expect("forgotten");
    let turns = as_of::rows_at::<Transcripts>(&reads, &stream, Version(17)).await;
    let turns = turns.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(turns.len(), 5);
    assert!(turns.iter().all(|turn| turn.text.is_none()));
    let page = history(&reads, &stream, Version(8), 1).await.expect("it can be read");
    let Content::Opened(data) = &page.entries[0].content else {
        panic!("it can be read");
    };
    assert_eq!(data["text"], json!({ "$erased": true }));
    assert!(page.entries[0].is_intact, "the bytes are as they were");
}
