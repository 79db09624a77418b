//! The live tail: replay and live without a seam.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::Event;
use domain::ids::CompanyId;
use eventlog::codec::Recorded;
use eventlog::envelope::{Position, StoredEvent, StreamId, Version};
use eventlog::store::{
    Append, AppendError, Appended, Capabilities, EventStore, Filter, LogPage, ReadError,
};
use futures::{Stream, StreamExt};
use projections::live::{LiveError, LiveTail, Topic};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::world::{World, memory};

fn tail(world: &World) -> (LiveTail, CancellationToken) {
    let stop = CancellationToken::new();
    (LiveTail::start(world.store.clone(), world.codec.clone(), stop.clone()), stop)
}

/// A long conversation of one interview.
fn talk(world: &World, n_questions: u128) -> (StreamId, Vec<Event>) {
    let story = world.story(1);
    let mut events = world.opening(&story);
    for n in 0..n_questions {
        let sequence = u32::try_from(n).expect("small") * 2 + 1;
        events.push(world.asked(&story, n, sequence));
        events.push(world.answered(&story, n, sequence + 1));
    }
    (world.stream("interview", story.interview.0), events)
}

async fn take(
    stream: &mut (impl Stream<Item = Result<Arc<Recorded>, LiveError>> + Unpin),
    n: usize,
) -> Vec<(Position, Version)> {
    let mut taken = vec![];
    while taken.len() < n {
        let item = stream.next().await.expect("the stream goes on");
        let recorded = item.unwrap_or_else(|error| panic!("{error}"));
        taken.push((recorded.stored.position, recorded.stored.version));
    }
    taken
}

/// Reads on from `after` until version `last`, cut and resumed after every few items.
async fn cut_and_resume(
    tail: &LiveTail,
    topic: &Topic,
    last: Version,
    every: usize,
) -> Vec<Version> {
    let (mut after, mut versions) = (Position(0), vec![]);
    while versions.last() != Some(&last) {
        let stream = tail.subscribe(topic.clone(), after).await;
        let mut stream = Box::pin(stream.unwrap_or_else(|error| panic!("{error}")));
        let left = usize::try_from(last.0).expect("small") - versions.len();
        for (position, version) in take(&mut stream, every.min(left)).await {
            after = position;
            versions.push(version);
        }
    }
    versions
}

async fn check_seam(world: World, n_subscribers: usize) {
    let (tail, stop) = tail(&world);
    let (stream, events) = talk(&world, 100);
    let last = Version(events.len() as u64);
    let expected: Vec<Version> = (1..=last.0).map(Version).collect();
    let noise = world.stream("job", world.job(0).0);
    let published = || Event::from(domain::job::Event::Published {});
    let mut subscribers = JoinSet::new();
    for n in 0..n_subscribers {
        let (tail, world, stream) = (tail.clone(), world.clone(), stream.clone());
        let topic = if n % 2 == 0 {
            Topic::Stream(stream)
        } else {
            Topic::Company { company: world.company(), aggregates: vec!["interview"] }
        };
        subscribers.spawn(async move { cut_and_resume(&tail, &topic, last, 1 + n * 3).await });
    }
    for event in events {
        world.append(&stream, vec![event]).await;
        world.append(&noise, vec![published()]).await;
    }
    while let Some(versions) = subscribers.join_next().await {
        assert_eq!(versions.expect("no panic"), expected);
    }
    stop.cancel();
    tail.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_cut_and_resumed_misses_nothing_and_doubles_nothing() {
    check_seam(memory(), 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_on_postgres() {
    let database = Database::create().await;
    check_seam(database.world(1), 6).await;
}

#[tokio::test]
async fn a_reader_that_falls_behind_reads_the_log_again() {
    let world = memory();
    let (tail, stop) = tail(&world);
    let (stream, events) = talk(&world, 1500);
    let n = events.len();
    let topics = [
        Topic::Stream(stream.clone()),
        Topic::Company { company: world.company(), aggregates: vec!["interview"] },
    ];
    let mut slow = vec![];
    for topic in topics {
        let mut subscription =
            Box::pin(tail.subscribe(topic, Position(0)).await.expect("it begins"));
        // It is live once it has taken something that came after it began.
        world.append(&stream, vec![events[slow.len()].clone()]).await;
        take(&mut subscription, slow.len() + 1).await;
        slow.push(subscription);
    }
    world.append(&stream, events[2..].to_vec()).await;
    let follower = tail.follow(Topic::Stream(stream.clone())).await.expect("it begins");
    let last: Vec<Version> = (1..=n as u64).map(Version).collect();
    for (i, subscription) in slow.iter_mut().enumerate() {
        let versions: Vec<Version> =
            take(subscription, n - i - 1).await.into_iter().map(|(_, v)| v).collect();
        assert_eq!(versions, last[i + 1..]);
    }
    stop.cancel();
    tail.stopped().await;
    for mut subscription in slow {
        assert!(subscription.next().await.is_none(), "a tail that stopped ends what follows it");
    }
    drop(follower);
}

#[tokio::test]
async fn a_replay_that_is_outrun_before_it_is_read_loses_nothing() {
    let world = memory();
    let (tail, _stop) = tail(&world);
    let (stream, events) = talk(&world, 1500);
    let n = events.len();
    let topics = [
        Topic::Stream(stream.clone()),
        Topic::Company { company: world.company(), aggregates: vec!["interview"] },
    ];
    let mut watcher = tail.subscribe(topics[0].clone(), Position(0)).await.expect("it begins");
    world.append(&stream, events[..5].to_vec()).await;
    take(&mut watcher, 5).await;
    let mut unread = vec![];
    for topic in topics {
        unread.push(tail.subscribe(topic, Position(0)).await.expect("it begins"));
    }
    world.append(&stream, events[5..].to_vec()).await;
    take(&mut watcher, n - 5).await;
    let expected: Vec<Version> = (1..=n as u64).map(Version).collect();
    for mut subscription in unread {
        let versions: Vec<Version> =
            take(&mut subscription, n).await.into_iter().map(|(_, version)| version).collect();
        assert_eq!(versions, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_made_in_the_middle_of_a_burst_is_whole() {
    let world = memory();
    let (tail, _stop) = tail(&world);
    let stream = world.stream("job", world.job(0).0);
    for _ in 0..5 {
        let after = world.store.head().await.expect("the head");
        let burst = vec![Event::from(domain::job::Event::Published {}); 200];
        let over = Arc::new(AtomicBool::new(false));
        let subscribing = JoinSet::from_iter([{
            let (tail, stream, over) = (tail.clone(), stream.clone(), Arc::clone(&over));
            async move {
                let mut subscriptions = vec![];
                while !over.load(Ordering::SeqCst) && subscriptions.len() < 300 {
                    let topic = Topic::Stream(stream.clone());
                    subscriptions.push(tail.subscribe(topic, after).await.expect("it begins"));
                    tokio::task::yield_now().await;
                }
                subscriptions
            }
        }]);
        let mut watcher =
            tail.subscribe(Topic::Stream(stream.clone()), after).await.expect("it begins");
        world.append_at_once(&stream, burst).await;
        let expected = take(&mut watcher, 200).await;
        over.store(true, Ordering::SeqCst);
        for subscriptions in subscribing.join_all().await {
            for mut subscription in subscriptions {
                let whole = timeout(Duration::from_secs(20), take(&mut subscription, 200)).await;
                assert_eq!(whole.as_ref(), Ok(&expected));
            }
        }
    }
}

#[tokio::test]
async fn a_cursor_ahead_of_the_log_is_refused() {
    let world = memory();
    let (tail, _stop) = tail(&world);
    let (stream, events) = talk(&world, 1);
    world.append(&stream, events).await;
    for ahead in [10, u64::MAX] {
        let refused = tail.subscribe(Topic::Stream(stream.clone()), Position(ahead)).await;
        assert_eq!(refused.err(), Some(LiveError::CursorAhead));
    }
    assert!(tail.subscribe(Topic::Stream(stream), Position(9)).await.is_ok());
}

#[tokio::test]
async fn a_company_hears_only_its_own() {
    let world = memory();
    let foreign = World::new(world.store.clone(), world.codec.clone(), 2);
    let (tail, _stop) = tail(&world);
    let topic =
        Topic::Company { company: world.company(), aggregates: vec!["interview", "verdict"] };
    let mut before = Box::pin(tail.subscribe(topic.clone(), Position(0)).await.expect("it begins"));
    for world in [&foreign, &world] {
        world.found().await;
        world.tell(&world.story(1)).await;
    }
    let mut after = Box::pin(tail.subscribe(topic, Position(0)).await.expect("it begins"));
    let heard = take(&mut before, 23).await;
    assert_eq!(take(&mut after, 23).await, heard);
    let n_foreign = world.store.head().await.expect("the head").0 / 2;
    assert!(heard.iter().all(|(position, _)| position.0 > n_foreign));
}

#[tokio::test]
async fn an_event_that_cannot_be_read_ends_the_subscriptions_that_cover_it() {
    let world = memory();
    let (tail, _stop) = tail(&world);
    let (stream, events) = talk(&world, 1);
    let other = world.stream("job", world.job(0).0);
    let mut live = Box::pin(tail.follow(Topic::Stream(stream.clone())).await.expect("it begins"));
    let mut apart = Box::pin(tail.follow(Topic::Stream(other.clone())).await.expect("it begins"));
    world.append(&stream, events).await;
    world.append_raw(&stream, "interview.teleported", "{}").await;
    world.append(&other, vec![domain::job::Event::Published {}.into()]).await;
    let mut replayed =
        Box::pin(tail.subscribe(Topic::Stream(stream), Position(0)).await.expect("it begins"));
    for subscription in [&mut live, &mut replayed] {
        take(subscription, 9).await;
        let end = subscription.next().await.map(|item| item.map(|_| ()));
        assert_eq!(end, Some(Err(LiveError::Unreadable)));
        assert!(subscription.next().await.is_none());
    }
    take(&mut apart, 1).await;
}

/// A store that can be cut off.
struct Fragile {
    inner: Arc<dyn EventStore>,
    broken: AtomicBool,
}

impl Fragile {
    fn check(&self) -> Result<(), ReadError> {
        if self.broken.load(Ordering::SeqCst) { Err(ReadError) } else { Ok(()) }
    }
}

#[async_trait]
impl EventStore for Fragile {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.inner.append(append).await
    }
    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        self.check()?;
        self.inner.read_stream(stream, after, limit).await
    }
    async fn read_log(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<LogPage, ReadError> {
        self.check()?;
        self.inner.read_log(after, filter, limit).await
    }
    async fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        self.inner.stream_version(stream).await
    }
    async fn holder(
        &self,
        scope: CompanyId,
        kind: &'static str,
        key: &[u8],
    ) -> Result<Option<StreamId>, ReadError> {
        self.inner.holder(scope, kind, key).await
    }
    async fn stream_versions(
        &self,
        filter: &Filter,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, Version)>, ReadError> {
        self.inner.stream_versions(filter, after, limit).await
    }
    async fn head(&self) -> Result<Position, ReadError> {
        self.check()?;
        self.inner.head().await
    }
    async fn position_at(&self, at: DateTime<Utc>) -> Result<(Position, bool), ReadError> {
        self.inner.position_at(at).await
    }
    async fn wait_past(&self, position: Position) {
        self.inner.wait_past(position).await;
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

#[tokio::test]
async fn a_tail_outlives_a_log_that_was_away() {
    let calm = memory();
    let fragile = Arc::new(Fragile { inner: calm.store.clone(), broken: AtomicBool::new(true) });
    let world = World::new(fragile.clone(), calm.codec.clone(), 1);
    let (tail, _stop) = tail(&world);
    let (stream, events) = talk(&world, 3);
    let topic = Topic::Stream(stream.clone());
    let refused = tail.subscribe(topic.clone(), Position(0)).await;
    assert_eq!(refused.err(), Some(LiveError::Unavailable));
    calm.append(&stream, events[..5].to_vec()).await;
    fragile.broken.store(false, Ordering::SeqCst);
    let mut subscription = Box::pin(tail.subscribe(topic, Position(0)).await.expect("it begins"));
    take(&mut subscription, 2).await;
    fragile.broken.store(true, Ordering::SeqCst);
    calm.append(&stream, events[5..].to_vec()).await;
    fragile.broken.store(false, Ordering::SeqCst);
    let rest = take(&mut subscription, events.len() - 2).await;
    assert_eq!(rest.last().map(|(_, version)| version.0), Some(events.len() as u64));
}
