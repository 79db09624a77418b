//! How consumers get events: from the log in process, or from Kafka. Both only hint at what is next;
//! consumers trust stream versions, nothing else.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::envelope::{Position, StoredEvent};
use crate::store::{EventStore, Filter};

/// Where a consumer is to go on in one source, kept with its work in one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Checkpoint {
    /// `log`, or the topic's name.
    pub source: String,
    /// Partition of the topic; 0 for the log.
    pub partition: i32,
    /// The log: last position handed out. A topic: next offset to read.
    pub next: u64,
}

/// Some events, each in the order of its stream as far as the source knows, and where to go on
/// once they are dealt with.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The events, possibly none; repeats and holes are possible.
    pub events: Vec<StoredEvent>,
    /// To be saved with the work.
    pub checkpoints: Vec<Checkpoint>,
}

/// Where a consumer's checkpoints are kept.
#[async_trait]
pub trait Checkpoints: Send + Sync {
    /// The saved checkpoint of one partition; `None` means from the earliest.
    ///
    /// # Errors
    /// [`FeedError`] when the place cannot be reached.
    async fn load(&self, source: &str, partition: i32) -> Result<Option<u64>, FeedError>;
}

/// The feed cannot deliver at the moment; asking again is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event feed cannot be read")]
pub struct FeedError;

/// A source of events for one consumer.
#[async_trait]
pub trait Feed: Send {
    /// At most about `max` events, waiting at most `wait` for the first; an empty batch is ordinary.
    ///
    /// # Errors
    /// [`FeedError`]; the feed stays usable.
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, FeedError>;
}

/// Reads the log itself: the embedded mode, rebuilds, and whoever has no Kafka.
pub struct LogFeed {
    store: Arc<dyn EventStore>,
    filter: Filter,
    after: Position,
}

/// The name of the log as a source of checkpoints.
pub const LOG_SOURCE: &str = "log";

impl LogFeed {
    /// A feed of what follows the consumer's checkpoint.
    ///
    /// # Errors
    /// [`FeedError`] when the checkpoint cannot be loaded.
    pub async fn start(
        store: Arc<dyn EventStore>,
        filter: Filter,
        checkpoints: &dyn Checkpoints,
    ) -> Result<Self, FeedError> {
        let after = Position(checkpoints.load(LOG_SOURCE, 0).await?.unwrap_or(0));
        Ok(Self { store, filter, after })
    }
}

#[async_trait]
impl Feed for LogFeed {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, FeedError> {
        let mut page =
            self.store.read_log(self.after, &self.filter, max).await.map_err(|_| FeedError)?;
        if page.events.is_empty() && page.next == self.after {
            // A wake-up is only a hint, so an elapsed wait is as good as one.
            let _ = tokio::time::timeout(wait, self.store.wait_past(self.after)).await;
            page =
                self.store.read_log(self.after, &self.filter, max).await.map_err(|_| FeedError)?;
        }
        if page.next == self.after {
            return Ok(Batch::default());
        }
        self.after = page.next;
        let checkpoint =
            Checkpoint { source: LOG_SOURCE.to_owned(), partition: 0, next: page.next.0 };
        Ok(Batch { events: page.events, checkpoints: vec![checkpoint] })
    }
}
