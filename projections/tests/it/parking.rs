//! Poison parks its stream and no other, whatever kind it is of; people try again or leave it out.

use std::collections::VecDeque;
use std::time::Duration;

use domain::ids::CompanyId;
use eventlog::consume::{Pace, run};
use eventlog::envelope::{Position, StoredEvent, StreamId, Version};
use eventlog::fail_point::no_fail_point;
use eventlog::feed::{Batch, LogFeed};
use eventlog::store::EventStore;
use projections::model::Model;
use projections::parked::{self, Parked, ParkedError, Place};
use projections::{interviews, transcripts};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::Database;
use crate::delivery::Scripted;
use crate::world::World;

async fn parked(database: &Database) -> Vec<Parked> {
    parked::list(&database.reads, 100).await.expect("the parked streams can be read")
}

/// The interview's version in the read model.
async fn version(database: &Database, world: &World, n: u128) -> Option<u64> {
    let id = world.story(n).interview;
    let rows = interviews::by_ids(&database.reads, &world.all(), &[id]).await.expect("rows");
    rows.get(&id).map(|row| row.version)
}

/// An interview whose eighth event is this one, and which goes on after it.
async fn poisoned(
    world: &World,
    n: u128,
    name: &'static str,
    schema_version: u16,
    payload: &'static str,
) -> StreamId {
    let story = world.story(n);
    let stream = world.stream("interview", story.interview.0);
    world.append(&stream, world.opening(&story)).await;
    world.append_version(&stream, name, schema_version, payload).await;
    world.append(&stream, vec![world.asked(&story, 0, 1)]).await;
    stream
}

#[tokio::test]
async fn poison_in_the_log_parks_its_stream_in_order_and_keeps_nothing_of_it() {
    let database = Database::create().await;
    let world = database.world(1);
    poisoned(&world, 1, "interview.started", 1, "{\"secret\": ").await;
    poisoned(&world, 2, "interview.teleported", 1, "{\"secret\": 1}").await;
    poisoned(&world, 3, "interview.started", 999, "{\"secret\": 1}").await;
    let good = world.story(4);
    let stream = world.stream("interview", good.interview.0);
    world.append(&stream, world.interview_events(&good)).await;

    database.catch_up(&[interviews::MODEL, transcripts::MODEL]).await;
    let parked = parked(&database).await;
    assert_eq!(parked.len(), 6, "three streams in each of two models");
    assert!(parked.iter().all(|parked| parked.version == Version(8)));
    assert!(!format!("{parked:?}").contains("secret"));
    for n in 1..=3 {
        assert_eq!(version(&database, &world, n).await, Some(7), "up to the event before");
    }
    assert_eq!(version(&database, &world, 4).await, Some(17));
    // A rebuild parks the same streams at the same places, beside the live model.
    database.rebuild(&[interviews::MODEL], no_fail_point()).await.expect("it goes through");
    assert_eq!(version(&database, &world, 1).await, Some(7));
    assert_eq!(version(&database, &world, 4).await, Some(17));
}

#[tokio::test]
async fn poison_on_the_way_is_healed_from_the_log() {
    let database = Database::create().await;
    let world = database.world(1);
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    world.append(&stream, world.interview_events(&story)).await;
    let log = database.store.read_log(Position(0), &interviews::MODEL.filter(), 100).await;
    let log: Vec<StoredEvent> = log.expect("the log can be read").events;
    let mut huge = log[8].clone();
    huge.payload = vec![b'x'; 10 * 1024 * 1024].into();
    let mut foreign = log[9].clone();
    foreign.stream.company = CompanyId(Uuid::from_u128(666));
    let batch = |events: &[StoredEvent]| Batch { events: events.to_vec(), checkpoints: vec![] };
    let batches = [
        batch(&log[..8]),
        batch(&[huge, foreign.clone()]),
        // A record without its headers is left out by the feed: the next one finds the hole.
        batch(&log[11..12]),
        // The foreign one once more, alone.
        batch(&[foreign]),
        batch(&log[12..]),
    ];
    let feed = Box::new(Scripted(batches.into()));
    database.drive(vec![(interviews::MODEL, feed)]).await;
    assert_eq!(version(&database, &world, 1).await, Some(17));
    assert_eq!(parked(&database).await, []);
    assert_eq!(database.rows("rm_interview_v1").await.len(), 1, "no other company has a row");
    database.assert_rebuilds().await;
}

/// A worker that runs until it is let go of.
struct Worker {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Worker {
    async fn start(database: &Database, model: &Model) -> Self {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let checkpoints = database.checkpoints(model).await;
        let store = database.store.clone();
        let feed = LogFeed::start(store.clone(), model.filter(), &checkpoints).await;
        let feed = Box::new(feed.expect("a checkpoint"));
        let consumer = database.consumer(model, no_fail_point()).await;
        // It never sweeps: whatever it notices, it is told.
        let pace = Pace {
            batch: 50,
            wait: Duration::from_millis(10),
            sweep_every: Duration::from_secs(3600),
            retry_every: Duration::from_millis(20),
        };
        tasks.spawn(run(consumer, feed, store, model.filter(), pace, stop.clone()));
        Self { stop, tasks }
    }

    async fn end(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.expect("one runs").expect("no panic");
    }
}

async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} did not come true"));
}

#[tokio::test]
async fn a_running_worker_tries_again_when_asked_and_parks_what_still_is_poison() {
    let database = Database::create().await;
    let world = database.world(1);
    let stream = poisoned(&world, 1, "interview.teleported", 1, "{}").await;
    database.catch_up(&[interviews::MODEL]).await;
    let first = parked(&database).await.remove(0);
    let worker = Worker::start(&database, &interviews::MODEL).await;
    let asked = parked::retry(&database.reads, &first.place, "operator:7").await;
    assert_eq!(asked.expect("it is parked").place.stream, stream);
    until("a second try", async || {
        let again = parked(&database).await;
        again.len() == 1 && again[0].retry_by.is_none() && again[0].parked_at > first.parked_at
    })
    .await;
    assert_eq!(version(&database, &world, 1).await, Some(7));
    worker.end().await;
}

#[tokio::test]
async fn an_event_that_is_left_out_stays_out_in_every_rebuild() {
    let database = Database::create().await;
    let world = database.world(1);
    poisoned(&world, 1, "interview.teleported", 1, "{}").await;
    database.catch_up(&[interviews::MODEL]).await;
    let place = parked(&database).await.remove(0).place;
    let skip_at = async |place: &Place, version: u64, reason: &str| {
        parked::skip(&database.reads, place, version, reason, "operator:7").await
    };
    let skip = async |place: &Place, reason: &str| skip_at(place, 8, reason).await;
    let other = skip_at(&place, 9, "Another event.").await;
    assert!(matches!(other, Err(ParkedError::NotParked)), "what was looked at, or nothing");
    assert!(matches!(skip(&place, " ").await, Err(ParkedError::Reason)));
    assert!(matches!(skip(&place, &"x".repeat(501)).await, Err(ParkedError::Reason)));
    let elsewhere = Place { consumer: "jobs.v1".into(), ..place.clone() };
    assert!(matches!(skip(&elsewhere, "why").await, Err(ParkedError::NotParked)));

    let worker = Worker::start(&database, &interviews::MODEL).await;
    let skipped = skip(&place, "Written by a prototype.").await.expect("it is parked");
    assert_eq!(skipped.version, Version(8));
    until("the stream to go on", async || version(&database, &world, 1).await == Some(9)).await;
    until("nothing to be parked", async || parked(&database).await.is_empty()).await;
    worker.end().await;

    let rebuilt = database.rebuild(&[interviews::MODEL], no_fail_point()).await;
    let rebuilt = rebuilt.expect("it goes through").remove(0);
    assert!(rebuilt.compared.expect("the versions are the same").is_equal());
    assert_eq!(version(&database, &world, 1).await, Some(9));
    assert_eq!(parked(&database).await, []);
    database.assert_rebuilds().await;
    let record: (String, String, String) =
        sqlx::query_as("select family, reason, skipped_by from consumer_skip")
            .fetch_one(&database.pool)
            .await
            .expect("it was recorded");
    let expected = ("interviews", "Written by a prototype.", "operator:7");
    assert_eq!((&*record.0, &*record.1, &*record.2), expected);
}

#[tokio::test]
async fn a_lost_record_holds_up_one_stream_until_its_next_event() {
    let database = Database::create().await;
    let world = database.world(1);
    let mut batches = VecDeque::new();
    for n in 1..=2 {
        let story = world.story(n);
        let stream = world.stream("interview", story.interview.0);
        world.append(&stream, world.interview_events(&story)).await;
        let events = database.store.read_stream(&stream, Version(0), 100).await.expect("the log");
        let lost = |event: &&StoredEvent| n == 2 || event.version != Version(9);
        let events = events.iter().filter(lost).cloned().collect();
        batches.push_back(Batch { events, checkpoints: vec![] });
    }
    database.drive(vec![(interviews::MODEL, Box::new(Scripted(batches)))]).await;
    assert_eq!(version(&database, &world, 1).await, Some(17));
    assert_eq!(version(&database, &world, 2).await, Some(17));
    database.assert_rebuilds().await;
}
