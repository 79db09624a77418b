//! From the moment when a command is acknowledged until its event is seen in the topic, at a steady
//! rate.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use commands::new_id;
use eventlog::clock::SystemClock;
use eventlog::kafka::lease::PgLeases;
use eventlog::kafka::message::decode;
use eventlog::kafka::relay;
use eventlog::kafka::topics::{Topic, published};
use eventlog::store::EventStore;
use rdkafka::consumer::BaseConsumer;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant as At, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::broker::Topics;
use super::steps::{Steps, Watch};
use crate::bus::BusSystem;
use crate::database::{Database, Parts};
use crate::settings::Settings;
use crate::system::COMMANDS_PER_AGGREGATE;

/// Commands a second.
pub const RATE: u32 = 200;
/// Clients that share them, each with one command out at a time.
pub const CLIENTS: u32 = 20;
const WARM: u64 = 256 * 1024 * 1024;
/// What is acknowledged so soon after the start is not counted.
const WARM_UP: Duration = Duration::from_secs(2);
/// Everything acknowledged is in the topic after so long, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was acknowledged and what was seen, by position.
type Moments = Vec<(u64, Instant)>;

/// What it came to.
pub struct Steady {
    /// How long each event took, the least first; none where it was in the topic before the client
    /// had its answer.
    pub lags: Vec<Duration>,
    /// Commands a second that were acknowledged.
    pub rate: f64,
    /// Where the relay was meanwhile.
    pub steps: Steps,
}

/// Measures it in a database and topics of its own. Every event that is acknowledged must be in the
/// topic once.
///
/// # Errors
/// The server or the broker cannot be reached, a command failed, or an event is missing or there
/// twice.
pub async fn run(settings: &Settings, bootstrap: &str) -> anyhow::Result<Steady> {
    let topics = Topics::create(bootstrap, "steady", published(false)).await?;
    let database = Database::create_with_schema(&settings.server, "relay_steady").await?;
    let opened = Parts::open(&database).await?;
    let stop = CancellationToken::new();
    let leases = Arc::new(PgLeases::new(database.pool.clone()));
    let store = Arc::clone(&opened.store) as Arc<dyn EventStore>;
    let watch = Arc::new(Watch::default());
    let mut parts = relay::Parts::new(topics.settings.clone(), store, leases);
    parts.fail_points = {
        let watch = Arc::clone(&watch);
        Arc::new(move |place| watch.passed(place))
    };
    let relaying = relay::run_all(&parts, &topics.topics, &stop);
    let (stopped, measured) = tokio::join!(relaying, async {
        let measured = measure(&opened, &topics, &watch, settings.relay_steady).await;
        stop.cancel();
        measured
    });
    opened.close().await;
    database.drop().await?;
    topics.remove().await?;
    ensure!(stopped.is_empty(), "a topic stopped: {stopped:?}");
    measured
}

async fn measure(
    parts: &Parts,
    topics: &Topics,
    watch: &Watch,
    time: Duration,
) -> anyhow::Result<Steady> {
    let topic = Topic::of("candidate").context("candidates have a topic")?;
    let consumer = topics.consumer(&topic.name(&topics.settings.prefix), topic.partitions)?;
    // Not known before all is acknowledged.
    let n_wanted = Arc::new(AtomicUsize::new(usize::MAX));
    let (n_seen, mut seen_so_far) = watch::channel(0);
    let watching = {
        let n_wanted = Arc::clone(&n_wanted);
        spawn_blocking(move || follow(&consumer, &n_wanted, &n_seen))
    };
    let system = Arc::new(BusSystem::new("bus, warm", parts.bus(WARM)));
    let first = system.give(new_id(&SystemClock), 0).await?;
    let acknowledged = async {
        // The relay's start is not measured.
        timeout(PATIENCE, seen_so_far.wait_for(|n| *n > 0))
            .await
            .context("nothing is relayed")??;
        give(&system, time + WARM_UP).await
    };
    let acknowledged = acknowledged.await;
    let n_acknowledged = acknowledged.as_ref().map_or(0, Vec::len);
    n_wanted.store(n_acknowledged + 1, Ordering::Release);
    let seen = watching.await??;
    let acknowledged = acknowledged?;

    let n_seen = seen.len();
    let seen: HashMap<u64, Instant> = seen.into_iter().collect();
    ensure!(seen.contains_key(&first.position.0), "the first event is not in the topic");
    ensure!(seen.len() == n_seen, "events are in the topic twice");
    let began_at = acknowledged.iter().map(|(_, at)| *at).min().context("nothing was measured")?;
    let counted = acknowledged.iter().filter(|(_, at)| *at - began_at >= WARM_UP);
    let mut lags = vec![];
    for (position, at) in counted {
        let seen_at = seen.get(position).context("an event is not in the topic")?;
        lags.push(seen_at.saturating_duration_since(*at));
    }
    lags.sort_unstable();
    let steps = watch.steps(began_at + WARM_UP);
    Ok(Steady { rate: lags.len() as f64 / time.as_secs_f64(), lags, steps })
}

/// Gives commands at the rate for that long.
async fn give(system: &Arc<BusSystem>, time: Duration) -> anyhow::Result<Moments> {
    let (began_at, period) = (At::now(), Duration::from_secs(1) * CLIENTS / RATE);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let system = Arc::clone(system);
        clients.spawn(async move {
            let mut ticks = interval_at(began_at + period * client / CLIENTS, period);
            let mut acknowledged = vec![];
            loop {
                let aggregate = new_id(&SystemClock);
                for nth in 0..COMMANDS_PER_AGGREGATE {
                    if ticks.tick().await >= began_at + time {
                        return anyhow::Ok(acknowledged);
                    }
                    let receipt = system.give(aggregate, nth).await?;
                    acknowledged.push((receipt.position.0, Instant::now()));
                }
            }
        });
    }
    let mut all = vec![];
    while let Some(acknowledged) = clients.join_next().await {
        all.extend(acknowledged??);
    }
    Ok(all)
}

/// Notes when each event is seen, until there are as many as are wanted.
fn follow(
    consumer: &BaseConsumer,
    n_wanted: &AtomicUsize,
    n_seen: &watch::Sender<usize>,
) -> anyhow::Result<Moments> {
    let mut seen: Moments = vec![];
    let mut heard_at = Instant::now();
    while seen.len() < n_wanted.load(Ordering::Acquire) {
        ensure!(heard_at.elapsed() < PATIENCE, "the topic stays behind");
        let Some(record) = consumer.poll(Duration::from_millis(50)) else { continue };
        let record = record?;
        heard_at = Instant::now();
        seen.push((decode(&record)?.position.0, heard_at));
        n_seen.send_replace(seen.len());
    }
    Ok(seen)
}
