use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use eventlog::envelope::{Position, StoredEvent};
use eventlog::feed::{Batch, Checkpoints, Feed, FeedError};
use eventlog::kafka::topics::Topic;
use eventlog::kafka::{KafkaFeed, KafkaSettings};
use eventlog::store::memory::MemoryStore;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::world::{
    DEADLINE, Switch, append_many, client, events_of, parts, relayed, report_of, soon, start,
};

const WAIT: Duration = Duration::from_millis(200);

/// Checkpoints as a consumer keeps them with its rows.
#[derive(Default)]
struct Kept {
    next: Mutex<HashMap<(String, i32), u64>>,
    is_down: AtomicBool,
}

impl Kept {
    fn save(&self, batch: &Batch) {
        let mut next = self.next.lock().expect("unpoisoned");
        for checkpoint in &batch.checkpoints {
            next.insert((checkpoint.source.clone(), checkpoint.partition), checkpoint.next);
        }
    }
}

#[async_trait]
impl Checkpoints for Kept {
    async fn load(&self, source: &str, partition: i32) -> Result<Option<u64>, FeedError> {
        if self.is_down.load(Ordering::Acquire) {
            return Err(FeedError);
        }
        let next = self.next.lock().expect("unpoisoned");
        Ok(next.get(&(source.to_owned(), partition)).copied())
    }
}

async fn publish(settings: &KafkaSettings, log: &Arc<MemoryStore>, topic: Topic) {
    let n = events_of(&**log, topic.aggregate).await.len() as u64;
    let relay = start(parts(settings, log, Switch::on()), topic);
    report_of(settings, topic, log, n).await;
    relay.stop().await;
}

fn feed(settings: &KafkaSettings, kept: &Arc<Kept>) -> KafkaFeed {
    let kept = Arc::clone(kept) as Arc<dyn Checkpoints>;
    KafkaFeed::start(settings, "board", &["job"], kept).expect("a feed")
}

/// Takes at least `n` events and saves the checkpoints of each batch.
async fn take(feed: &mut KafkaFeed, kept: &Kept, n: usize) -> Vec<StoredEvent> {
    let began_at = Instant::now();
    let mut events = Vec::new();
    while events.len() < n {
        assert!(began_at.elapsed() < DEADLINE, "{} of {n} events", events.len());
        let Ok(batch) = feed.next(7, WAIT).await else { continue };
        assert!(batch.events.len() <= 7);
        kept.save(&batch);
        events.extend(batch.events);
    }
    events
}

fn positions(events: &[StoredEvent]) -> Vec<Position> {
    let mut positions: Vec<_> = events.iter().map(|event| event.position).collect();
    positions.sort();
    positions
}

#[tokio::test]
async fn a_new_consumer_gets_every_event_from_the_first_in_order_per_stream() {
    let (settings, log, topic) = relayed("job").await;
    append_many(&*log, "job", 30).await;
    publish(&settings, &log, topic).await;
    let kept = Arc::new(Kept::default());
    let mut feed = feed(&settings, &kept);
    let events = take(&mut feed, &kept, 30).await;
    assert!(events.iter().all(StoredEvent::is_intact));
    assert_eq!(positions(&events), (1..=30).map(Position).collect::<Vec<_>>());
    let mut last = HashMap::new();
    for event in &events {
        let before = last.insert(event.stream.clone(), event.version);
        assert_eq!(event.version, before.unwrap_or_default().next());
    }
}

#[tokio::test]
async fn a_consumer_that_comes_back_goes_on_at_its_checkpoints() {
    let (settings, log, topic) = relayed("job").await;
    append_many(&*log, "job", 20).await;
    publish(&settings, &log, topic).await;
    let kept = Arc::new(Kept::default());
    let mut first = feed(&settings, &kept);
    take(&mut first, &kept, 20).await;
    drop(first);
    append_many(&*log, "job", 10).await;
    publish(&settings, &log, topic).await;
    let mut second = feed(&settings, &kept);
    let events = take(&mut second, &kept, 10).await;
    assert_eq!(positions(&events), (21..=30).map(Position).collect::<Vec<_>>());
}

#[tokio::test]
async fn work_that_was_not_saved_is_given_again() {
    let (settings, log, topic) = relayed("job").await;
    append_many(&*log, "job", 20).await;
    publish(&settings, &log, topic).await;
    let kept = Arc::new(Kept::default());
    let lost = Kept::default();
    let mut first = feed(&settings, &kept);
    take(&mut first, &lost, 20).await;
    drop(first);
    let mut second = feed(&settings, &kept);
    let events = take(&mut second, &kept, 20).await;
    assert_eq!(positions(&events), (1..=20).map(Position).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_processes_of_one_consumer_share_the_work_and_one_takes_over() {
    let (settings, log, topic) = relayed("job").await;
    append_many(&*log, "job", 20).await;
    publish(&settings, &log, topic).await;
    let kept = Arc::new(Kept::default());
    let (mut first, mut second) = (feed(&settings, &kept), feed(&settings, &kept));
    let mut seen = std::collections::BTreeSet::new();
    let began_at = Instant::now();
    while seen.len() < 20 {
        assert!(began_at.elapsed() < DEADLINE, "{} events", seen.len());
        let (one, other) = tokio::join!(first.next(7, WAIT), second.next(7, WAIT));
        for batch in [one, other].into_iter().flatten() {
            kept.save(&batch);
            seen.extend(positions(&batch.events));
        }
    }
    drop(first);
    append_many(&*log, "job", 10).await;
    publish(&settings, &log, topic).await;
    while seen.len() < 30 {
        assert!(began_at.elapsed() < DEADLINE, "{} events", seen.len());
        let Ok(batch) = second.next(7, WAIT).await else { continue };
        kept.save(&batch);
        seen.extend(positions(&batch.events));
    }
}

#[tokio::test]
async fn records_that_are_not_events_are_passed_over() {
    let (settings, log, topic) = relayed("job").await;
    append_many(&*log, "job", 5).await;
    publish(&settings, &log, topic).await;
    let name = topic.name(&settings.prefix);
    let stray: BaseProducer = client(&settings).create().expect("a producer");
    tokio::task::spawn_blocking(move || {
        for partition in 0..3 {
            let record = BaseRecord::to(&name).partition(partition).key("k").payload("not ours");
            stray.send(record).map_err(|(error, _)| error).expect("sent");
        }
        stray.flush(DEADLINE).expect("written");
    })
    .await
    .expect("stray records");
    append_many(&*log, "job", 5).await;
    publish(&settings, &log, topic).await;
    let kept = Arc::new(Kept::default());
    let events = take(&mut feed(&settings, &kept), &kept, 10).await;
    assert_eq!(positions(&events), (1..=10).map(Position).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_feed_waits_for_its_checkpoints_and_can_be_dropped_meanwhile() {
    let (settings, log, topic) = relayed("job").await;
    append_many(&*log, "job", 5).await;
    publish(&settings, &log, topic).await;
    let kept = Arc::new(Kept::default());
    kept.is_down.store(true, Ordering::Release);
    let mut waiting = feed(&settings, &kept);
    let began_at = Instant::now();
    while waiting.next(7, WAIT).await.is_ok() {
        assert!(began_at.elapsed() < DEADLINE, "no partition was assigned");
    }
    soon(tokio::task::spawn_blocking(move || drop(waiting))).await.expect("dropped");

    let mut other = feed(&settings, &kept);
    while other.next(7, WAIT).await.is_ok() {
        assert!(began_at.elapsed() < DEADLINE, "no partition was assigned");
    }
    kept.is_down.store(false, Ordering::Release);
    let events = take(&mut other, &kept, 5).await;
    assert_eq!(positions(&events), (1..=5).map(Position).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_consumer_of_an_unknown_aggregate_is_refused() {
    let settings = KafkaSettings::new("127.0.0.1:9");
    let kept = Arc::new(Kept::default());
    assert!(KafkaFeed::start(&settings, "board", &["unheard_of"], kept).is_err());
}
