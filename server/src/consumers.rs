//! Runs a consumer on the feed that the settings give.

use std::sync::Arc;

use anyhow::Context;
use eventlog::consume::{self, Consumer, Pace};
use eventlog::feed::{Checkpoints, Feed, LogFeed};
use eventlog::kafka::KafkaFeed;
use eventlog::parked;
use eventlog::store::Filter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::parts::Parts;

/// Starts the loop of a consumer, which runs until `stop`. What it has parked is tried again: what was
/// poison to an older program may be ordinary to this one.
pub(crate) async fn start(
    parts: &Parts,
    tasks: &TaskTracker,
    stop: CancellationToken,
    consumer: Arc<dyn Consumer>,
    filter: Filter,
    checkpoints: Arc<dyn Checkpoints>,
) -> anyhow::Result<()> {
    let mut connection = parts.pool.acquire().await?;
    let n_parked = parked::retry_all(&mut connection, consumer.name(), "system:start").await?;
    drop(connection);
    if n_parked > 0 {
        tracing::info!(consumer = consumer.name(), n_parked, "parked streams are tried again");
    }
    let store = parts.log();
    let feed: Box<dyn Feed> = match parts.kafka() {
        Some(kafka) => {
            let aggregates: Vec<&str> = filter.aggregates.iter().map(String::as_str).collect();
            let feed = KafkaFeed::start(&kafka, consumer.name(), &aggregates, checkpoints);
            Box::new(feed.with_context(|| format!("the feed of {}", consumer.name()))?)
        }
        None => Box::new(
            LogFeed::start(Arc::clone(&store), filter.clone(), &*checkpoints)
                .await
                .with_context(|| format!("the feed of {}", consumer.name()))?,
        ),
    };
    tasks.spawn(consume::run(consumer, feed, store, filter, Pace::default(), stop));
    Ok(())
}
