//! However events arrive, whoever is killed or outrun, the tables hold what the log says.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Event, interview};
use eventlog::consume::{ConsumeError, Consumer, StreamWork};
use eventlog::envelope::{Position, StoredEvent, Version};
use eventlog::fail_point::no_fail_point;
use eventlog::feed::{Batch, Checkpoint, Checkpoints, Feed, FeedError};
use eventlog::store::EventStore;
use futures::FutureExt;
use projections::model::{MODELS, Model};
use projections::{candidates, interviews, jobs, lag, resumes, transcripts, verdicts};

use crate::database::Database;
use crate::world::World;

/// Hands out prepared batches, then nothing.
pub struct Scripted(pub VecDeque<Batch>);

#[async_trait]
impl Feed for Scripted {
    async fn next(&mut self, _: usize, wait: Duration) -> Result<Batch, FeedError> {
        if self.0.is_empty() {
            tokio::time::sleep(wait).await;
        }
        Ok(self.0.pop_front().unwrap_or_default())
    }
}

async fn whole_log(store: &dyn EventStore, model: &Model) -> Vec<StoredEvent> {
    let page = store.read_log(Position(0), &model.filter(), 100_000).await;
    page.expect("the log can be read").events
}

/// Pseudo-random, the same each time.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for i in (1..items.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let j = usize::try_from(state >> 33).expect("fits") % (i + 1);
        items.swap(i, j);
    }
}

async fn some_interviews(world: &World) {
    world.found().await;
    for n in 1..=4 {
        let story = world.story(n);
        let interviewer = (n == 2).then(|| world.member(2));
        world.tell(&crate::world::Story { interviewer, ..story }).await;
    }
}

const EXPECTED: &[(&str, u64)] = &[
    ("access_log", 8),
    ("ai_calls", 8),
    ("applications", 4),
    ("candidates", 4),
    ("companies", 1),
    ("interviews", 4),
    ("jobs", 2),
    ("members", 3),
    ("observations", 8),
    ("resumes", 4),
    ("transcripts", 20),
    ("verdicts", 4),
];

#[tokio::test]
async fn models_fed_from_the_log_equal_their_rebuild() {
    let database = Database::create().await;
    some_interviews(&database.world(1)).await;
    database.catch_up(MODELS).await;
    assert_eq!(database.assert_rebuilds().await, EXPECTED);
    // Again from the checkpoint: nothing is left to do, nothing changes.
    let before = database.rows("rm_interview").await;
    database.catch_up(MODELS).await;
    assert_eq!(database.rows("rm_interview").await, before);
}

#[tokio::test]
async fn a_rebuild_finds_a_row_that_differs() {
    let database = Database::create().await;
    some_interviews(&database.world(1)).await;
    database.catch_up(&[jobs::MODEL, candidates::MODEL]).await;
    let meddle = "update rm_job set title = title || '!'";
    sqlx::query(meddle).execute(&database.pool).await.expect("the owner may");
    let compared =
        jobs::MODEL.rebuild_equals_live(&database.pool, &*database.store, &database.codec).await;
    let compared = compared.expect("the rebuild runs");
    assert!(!compared.is_equal());
    assert_eq!(compared.n_different, 4);
    let remove = "delete from rm_candidate where email like 'mira1%'";
    sqlx::query(remove).execute(&database.pool).await.expect("the owner may");
    let compared = candidates::MODEL
        .rebuild_equals_live(&database.pool, &*database.store, &database.codec)
        .await;
    let compared = compared.expect("the rebuild runs");
    assert_eq!((compared.n_live, compared.n_rebuilt, compared.n_different), (3, 4, 1));
}

#[tokio::test]
async fn redelivery_reordering_and_holes_change_nothing() {
    let database = Database::create().await;
    some_interviews(&database.world(1)).await;
    let mut feeds: Vec<(Model, Box<dyn Feed>)> = vec![];
    for (n, model) in (1..).zip(MODELS) {
        let log = whole_log(&*database.store, model).await;
        // Three times each, in any order, and some never.
        let mut events: Vec<StoredEvent> =
            log.iter().filter(|event| event.position.0 % 7 != n % 7).cloned().collect();
        events = [events.clone(), events.clone(), events].concat();
        shuffle(&mut events, n);
        let batch = |events: &[StoredEvent]| Batch { events: events.to_vec(), checkpoints: vec![] };
        let batches = events.chunks(11).map(batch).collect();
        feeds.push((*model, Box::new(Scripted(batches))));
    }
    database.drive(feeds).await;
    assert_eq!(database.assert_rebuilds().await, EXPECTED);
}

#[tokio::test]
async fn a_record_that_was_damaged_on_its_way_is_read_from_the_log() {
    let database = Database::create().await;
    some_interviews(&database.world(1)).await;
    let mut events = whole_log(&*database.store, &jobs::MODEL).await;
    for event in &mut events {
        event.payload = bytes::Bytes::from_static(b"{}");
    }
    let batches = [Batch { events, checkpoints: vec![] }].into();
    database.drive(vec![(jobs::MODEL, Box::new(Scripted(batches)))]).await;
    assert_eq!(database.assert_rebuilds().await.iter().find(|m| m.0 == "jobs"), Some(&("jobs", 2)));
}

#[tokio::test]
async fn workers_that_race_make_equal_tables() {
    let database = Database::create().await;
    let world = database.world(1);
    world.found().await;
    let mut feeds = vec![];
    for _ in 0..3 {
        feeds.push((interviews::MODEL, database.log_feed(&interviews::MODEL).await));
        feeds.push((transcripts::MODEL, database.log_feed(&transcripts::MODEL).await));
    }
    let write = async {
        for n in 1..=6 {
            let story = world.story(n);
            let stream = world.stream("interview", story.interview.0);
            world.append(&stream, world.interview_events(&story)).await;
        }
    };
    tokio::join!(write, database.drive(feeds));
    database.catch_up(&[interviews::MODEL, transcripts::MODEL]).await;
    let rows = database.assert_rebuilds().await;
    assert!(rows.contains(&("interviews", 6)) && rows.contains(&("transcripts", 30)), "{rows:?}");
}

/// The first events of one interview as work, and the consumer for it.
async fn work(database: &Database, world: &World) -> (StreamWork, Arc<dyn Consumer>) {
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    world.append(&stream, world.interview_events(&story)).await;
    let events = database.store.read_stream(&stream, Version(0), 5).await.expect("the log");
    let work = StreamWork { stream, from: Version(0), events, skipped: vec![] };
    (work, database.consumer(&interviews::MODEL, no_fail_point()).await)
}

#[tokio::test]
async fn a_worker_that_was_outrun_changes_nothing() {
    let database = Database::create().await;
    let world = database.world(1);
    let (work, consumer) = work(&database, &world).await;
    let checkpoint = |next| Checkpoint { source: "log".into(), partition: 0, next };
    let first = consumer.apply(vec![work.clone()], &[checkpoint(5)]).await;
    assert_eq!(first, Ok(()));
    let rows = database.rows("rm_interview").await;
    let again = consumer.apply(vec![work.clone()], &[checkpoint(9)]).await;
    assert_eq!(again, Err(ConsumeError::Moved));
    assert_eq!(database.rows("rm_interview").await, rows);
    let kept = database.checkpoints(&interviews::MODEL).await.load("log", 0).await;
    assert_eq!(kept, Ok(Some(5)), "the checkpoint went back with the rest");

    // Two at once: one wins.
    let next = database.store.read_stream(&work.stream, Version(5), 5).await.expect("the log");
    let next =
        StreamWork { stream: work.stream.clone(), from: Version(5), events: next, skipped: vec![] };
    let (one, other) =
        tokio::join!(consumer.apply(vec![next.clone()], &[]), consumer.apply(vec![next], &[]));
    let moved = [one, other].into_iter().filter(|r| *r == Err(ConsumeError::Moved)).count();
    assert_eq!(moved, 1);
    database.assert_rebuilds().await;
}

#[tokio::test]
async fn a_worker_killed_before_the_commit_leaves_nothing_and_after_it_everything() {
    let database = Database::create().await;
    let world = database.world(1);
    let (work, consumer) = work(&database, &world).await;
    let dying = async |place: &'static str| {
        let fail_point = Arc::new(move |name: &'static str| {
            assert!(name != place, "killed at {place}");
        });
        database.consumer(&interviews::MODEL, fail_point).await
    };
    let checkpoint = Checkpoint { source: "log".into(), partition: 0, next: 5 };
    for (place, n_rows) in [("project.before_commit", 0), ("project.after_commit", 1)] {
        let dying = dying(place).await;
        let apply = dying.apply(vec![work.clone()], std::slice::from_ref(&checkpoint));
        assert!(AssertUnwindSafe(apply).catch_unwind().await.is_err(), "{place}");
        assert_eq!(database.rows("rm_interview").await.len(), n_rows, "{place}");
        let kept = database.checkpoints(&interviews::MODEL).await.load("log", 0).await;
        assert_eq!(kept, Ok((n_rows == 1).then_some(5)), "{place}");
    }
    assert_eq!(consumer.apply(vec![work], &[]).await, Err(ConsumeError::Moved));
    database.catch_up(&[interviews::MODEL]).await;
    database.assert_rebuilds().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_parks_its_stream_and_no_other() {
    let database = Database::create().await;
    let world = database.world(1);
    let (good, bad) = (world.story(1), world.story(2));
    let stream = world.stream("interview", bad.interview.0);
    world.append(&stream, world.opening(&bad)).await;
    world.append_raw(&stream, "interview.teleported", "{}").await;
    world.append(&stream, vec![world.asked(&bad, 0, 1)]).await;
    let other = world.stream("interview", good.interview.0);
    world.append(&other, world.interview_events(&good)).await;

    database.catch_up(&[interviews::MODEL]).await;
    let lags = lag::lag(&database.reads).await.expect("lag can be read");
    let lag = lags.iter().find(|lag| lag.model == "interviews").expect("it is listed");
    assert_eq!((lag.n_events, lag.n_parked), (0, 1));
    let (view, ids) = (world.all(), [good.interview, bad.interview]);
    let rows = interviews::by_ids(&database.reads, &view, &ids).await.expect("rows");
    assert_eq!(rows[&good.interview].version, 17);
    assert_eq!(rows[&bad.interview].version, 7, "up to the event before");
    database.assert_rebuilds().await;
}

#[tokio::test]
async fn a_row_that_the_database_refuses_parks_its_stream_and_no_other() {
    let database = Database::create().await;
    let world = database.world(1);
    let (good, bad) = (world.story(1), world.story(2));
    let stream = world.stream("interview", bad.interview.0);
    world.append(&stream, world.opening(&bad)).await;
    world.append(&stream, vec![world.asked(&bad, 0, 1)]).await;
    let Event::Interview(interview::Event::AnswerRecorded {
        answer_id,
        question_id,
        sequence,
        text,
        ..
    }) = world.answered(&bad, 0, 2)
    else {
        panic!("an answer");
    };
    let response_time_ms = u64::MAX;
    let monstrous = interview::Event::AnswerRecorded {
        answer_id,
        question_id,
        sequence,
        text,
        response_time_ms,
    };
    world.append(&stream, vec![monstrous.into()]).await;
    let other = world.stream("interview", good.interview.0);
    world.append(&other, world.interview_events(&good)).await;

    database.catch_up(&[transcripts::MODEL]).await;
    let parked: Vec<(i64, String)> = sqlx::query_as("select version, error from consumer_parked")
        .fetch_all(&database.pool)
        .await
        .expect("the table can be read");
    assert_eq!(parked, [(9, "its row is refused: sqlstate 22003".to_owned())]);
    let rows = database.rows("rm_transcript_turn").await;
    assert_eq!(rows.len(), 6, "five turns of the good one, and the question before");
    database.assert_rebuilds().await;
}

#[tokio::test]
async fn what_a_machine_wrote_with_nul_is_kept_with_a_mark() {
    let database = Database::create().await;
    let world = database.world(1);
    world.found().await;
    let story = world.story(1);
    world.tell(&story).await;
    database.catch_up(&[resumes::MODEL, verdicts::MODEL]).await;
    let row = resumes::get(&database.reads, &world.all(), story.resume).await.expect("read");
    let facts = row.expect("the résumé is there").facts.expect("its facts were read");
    assert_eq!(facts.skills, ["rust", "a\u{fffd}b"]);
    assert!(facts.technical_domains.contains_key("pay\u{fffd}ments"));
    assert_eq!(facts.experience_years, 7.3);
}

#[tokio::test]
async fn a_consumer_without_a_database_says_so_and_goes_on_when_it_is_back() {
    let database = Database::create().await;
    let world = database.world(1);
    let (work, consumer) = work(&database, &world).await;
    let rename = "alter table rm_interview rename to rm_interview_away";
    sqlx::query(rename).execute(&database.pool).await.expect("the owner may");
    let refused = consumer.apply(vec![work.clone()], &[]).await;
    assert_eq!(refused, Err(ConsumeError::Unavailable));
    let rename = "alter table rm_interview_away rename to rm_interview";
    sqlx::query(rename).execute(&database.pool).await.expect("the owner may");
    assert_eq!(consumer.apply(vec![work], &[]).await, Ok(()));
}
