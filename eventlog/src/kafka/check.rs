//! Compares a topic with the log: is everything there, once, in order, and byte for byte?

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use domain::ids::CompanyId;
use rdkafka::Message;
use rdkafka::error::KafkaError;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::mark::{MarkError, read_mark};
use super::message::{DecodeError, decode, place};
use super::scan::scan;
use super::topics::Topic;
use super::{KafkaSettings, blocking};
use crate::envelope::{EventHash, Position, StoredEvent, Version};
use crate::public::without_personal;
use crate::store::{EventStore, Filter, ReadError};

/// How many events one reading of the log asks for.
const PAGE: usize = 1000;

/// What a topic holds, compared with the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The topic's name.
    pub topic: String,
    /// Events of the aggregate in the log.
    pub events_in_log: u64,
    /// Committed records in the topic.
    pub in_topic: u64,
    /// Events in the log behind the topic's end: not published yet, which is no fault.
    pub pending: u64,
    /// Events before the topic's end that the topic lacks.
    pub missing: u64,
    /// Records that repeat a position.
    pub duplicates: u64,
    /// Records that come after a later one of their stream, or in another partition than it.
    pub out_of_order: u64,
    /// Records whose bytes or whose hash are not the log's.
    pub hash_mismatches: u64,
    /// Records at a position where the log has no event of the aggregate.
    pub foreign: u64,
    /// Records that are not events.
    pub undecodable: u64,
}

impl Report {
    /// Whether the topic holds the log up to its end, once and in order.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing == 0
            && self.duplicates == 0
            && self.out_of_order == 0
            && self.hash_mismatches == 0
            && self.foreign == 0
            && self.undecodable == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_complete() { "complete" } else { "INCOMPLETE" };
        write!(f, "{}: {verdict}, {} of {}", self.topic, self.in_topic, self.events_in_log)?;
        for (n, what) in [
            (self.pending, "pending"),
            (self.missing, "missing"),
            (self.duplicates, "repeated"),
            (self.out_of_order, "out of order"),
            (self.hash_mismatches, "with another hash"),
            (self.foreign, "foreign"),
            (self.undecodable, "undecodable"),
        ] {
            if n > 0 {
                write!(f, ", {n} {what}")?;
            }
        }
        Ok(())
    }
}

/// Why topic and log could not be compared; trying again is right.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The topic could not be read.
    #[error("the topic could not be read: {0}")]
    Topic(#[from] KafkaError),
    /// The topic's mark could not be read.
    #[error(transparent)]
    Mark(#[from] MarkError),
}

/// Reads a whole topic and then the log. Takes about 50 bytes of memory for each event.
///
/// # Errors
/// [`CheckError`].
pub async fn completeness(
    settings: &KafkaSettings,
    topic: Topic,
    store: Arc<dyn EventStore>,
) -> Result<Report, CheckError> {
    let name = topic.name(&settings.prefix);
    let mark = read_mark(settings, &name).await?;
    let settings = settings.clone();
    let mut seen = blocking(move || {
        let mut seen = Seen { is_public: topic.is_public, ..Seen::default() };
        seen.report.topic.clone_from(&name);
        scan(&settings, &name, topic.partitions, |record| {
            seen.note(record);
            ControlFlow::Continue(())
        })?;
        Ok::<_, KafkaError>(seen)
    })
    .await?;
    seen.events.sort_unstable_by_key(|(position, ..)| *position);
    let last = seen.events.last().map_or(Position(0), |(position, ..)| *position);
    let end = mark.map_or(last, |mark| mark.position.max(last));
    compare(seen, end, topic, &*store).await
}

/// Walks through the log and, beside it, through the records by position.
async fn compare(
    seen: Seen,
    end: Position,
    topic: Topic,
    store: &dyn EventStore,
) -> Result<Report, CheckError> {
    let mut report = seen.report;
    let mut records = seen.events.into_iter().peekable();
    let filter = Filter::of_aggregates([topic.aggregate]);
    let mut after = Position(0);
    loop {
        let page = store.read_log(after, &filter, PAGE).await?;
        for event in &page.events {
            report.events_in_log += 1;
            while records.next_if(|(position, ..)| *position < event.position).is_some() {
                report.foreign += 1;
            }
            let mut n_found = 0;
            while let Some((_, hash)) = records.next_if(|(at, _)| *at == event.position) {
                n_found += 1;
                report.hash_mismatches += u64::from(hash != Some(expected(event, topic)));
            }
            match n_found {
                0 if event.position > end => report.pending += 1,
                0 => report.missing += 1,
                more => report.duplicates += more - 1,
            }
        }
        if page.next >= page.head || page.next == after {
            break;
        }
        after = page.next;
    }
    report.foreign += records.count() as u64;
    Ok(report)
}

/// What is remembered of the records.
#[derive(Default)]
struct Seen {
    report: Report,
    is_public: bool,
    /// Position and hash; no hash if the bytes do not match it. Of a public record the hash binds the
    /// event's own and the record's value.
    events: Vec<(Position, Option<EventHash>)>,
    /// Partition and last version of each stream.
    streams: HashMap<(CompanyId, Uuid), (i32, Version)>,
}

impl Seen {
    fn note<M: Message>(&mut self, record: &M) {
        self.report.in_topic += 1;
        let Ok(noted) = self.read(record) else {
            self.report.undecodable += 1;
            return;
        };
        let (position, stream, version, hash) = noted;
        self.events.push((position, hash));
        let partition = record.partition();
        let (at, last) = self.streams.entry(stream).or_insert((partition, Version::default()));
        self.report.out_of_order += u64::from(*at != partition || version < *last);
        *last = version.max(*last);
    }

    fn read<M: Message>(&self, record: &M) -> Result<Noted, DecodeError> {
        if self.is_public {
            let place = place(record)?;
            let hash = public_hash(place.hash, record.payload().unwrap_or_default());
            let stream = (place.company, place.stream_id);
            return Ok((place.position, stream, place.version, Some(hash)));
        }
        let event = decode(record)?;
        let hash = event.is_intact().then_some(event.hash);
        Ok((event.position, (event.stream.company, event.stream.id), event.version, hash))
    }
}

/// Position, stream, version and hash of a record.
type Noted = (Position, (CompanyId, Uuid), Version, Option<EventHash>);

/// What a record of the event must hash to.
fn expected(event: &StoredEvent, topic: Topic) -> EventHash {
    match topic.is_public {
        true => public_hash(event.hash, &without_personal(&event.payload)),
        false => event.hash,
    }
}

fn public_hash(event: EventHash, value: &[u8]) -> EventHash {
    EventHash(Sha256::new().chain_update(event.0).chain_update(value).finalize().into())
}
