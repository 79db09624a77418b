//! The mark: how far a topic holds the log, published in the same transaction as the events.

use std::ops::ControlFlow;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::scan::scan;
use super::topics::marks_name;
use super::{KafkaSettings, blocking};
use crate::envelope::{EventHash, Position};

/// The last event that a topic holds. Its hash tells the log it came from: a log that was restored
/// from a backup can grow past the position with other events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The event's position.
    pub position: Position,
    /// The event's hash.
    pub hash: EventHash,
}

#[derive(Deserialize)]
struct Stored {
    position: u64,
    hash: String,
}

impl Mark {
    /// As the value of a record in the topic of marks.
    #[must_use]
    pub fn encode(&self) -> String {
        format!(r#"{{"position":{},"hash":"{}"}}"#, self.position, self.hash)
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(value).ok()?;
        Some(Self { position: Position(stored.position), hash: stored.hash.parse().ok()? })
    }
}

/// Why no mark could be read.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// The last mark of the topic is not one of ours.
    #[error("the mark is malformed")]
    Malformed,
    /// A transaction, whosever it is, stays open in the partition of marks, and the broker does
    /// not end it: some versions forget to after a restart, see the README.
    #[error(
        "an open transaction holds back {topic}, though the broker should have ended it: \
         kafka-transactions.sh find-hanging tells whose it is"
    )]
    HeldBack {
        /// The topic of marks.
        topic: String,
    },
    /// The broker refused or could not be reached; trying again is right.
    #[error("the mark could not be read: {0}")]
    Kafka(#[from] KafkaError),
}

/// How long other topics' open transactions may hold back the reading of marks. The broker ends
/// each of them after its time-out, and looks for such ones every 10 s by default.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the broker may take for an answer, or refuse to give one.
const ANSWER: Duration = Duration::from_secs(5);

/// The topic's last committed mark, `None` if there never was one.
///
/// # Errors
/// [`MarkError`].
pub async fn read_mark(settings: &KafkaSettings, topic: &str) -> Result<Option<Mark>, MarkError> {
    wait_until_settled(settings).await?;
    let (settings, topic) = (settings.clone(), topic.to_owned());
    blocking(move || {
        let mut last = None;
        scan(&settings, &marks_name(&settings.prefix), 1, |record| {
            if record.key() == Some(topic.as_bytes()) {
                last = record.payload().map(Mark::decode);
            }
            ControlFlow::Continue(())
        })?;
        last.map(|mark| mark.ok_or(MarkError::Malformed)).transpose()
    })
    .await
}

/// Waits until every record that is there now can be read as committed.
///
/// All topics' publishers write into the one partition of marks. While another's transaction is
/// open, readers of committed records see the end of the partition where that transaction began,
/// although a mark of ours may be committed behind it. Taking the one before would publish twice.
async fn wait_until_settled(settings: &KafkaSettings) -> Result<(), MarkError> {
    let began_at = Instant::now();
    let written = high_watermark(settings, "read_uncommitted").await?;
    while high_watermark(settings, "read_committed").await? < written {
        if began_at.elapsed() > PATIENCE {
            return Err(MarkError::HeldBack { topic: marks_name(&settings.prefix) });
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The offset behind the last mark that a reader with this isolation can see.
async fn high_watermark(
    settings: &KafkaSettings,
    isolation: &'static str,
) -> Result<i64, KafkaError> {
    let began_at = Instant::now();
    loop {
        let settings = settings.clone();
        let asked = blocking(move || {
            let reader: BaseConsumer =
                settings.client().set("isolation.level", isolation).create()?;
            reader.fetch_watermarks(&marks_name(&settings.prefix), 0, ANSWER)
        });
        match asked.await {
            Ok((_, high)) => return Ok(high),
            Err(error) if began_at.elapsed() > ANSWER => return Err(error),
            // A partition that was just made has no leader for a moment.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_anything_else_is_refused() {
        let mark = Mark { position: Position(7), hash: EventHash([0xab; 32]) };
        assert_eq!(Mark::decode(mark.encode().as_bytes()), Some(mark));
        for other in ["", "{}", r#"{"position":7,"hash":"ab"}"#, r#"{"position":-1,"hash":""}"#] {
            assert_eq!(Mark::decode(other.as_bytes()), None, "{other}");
        }
    }
}
