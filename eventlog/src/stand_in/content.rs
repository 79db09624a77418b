//! What the stand-in keeps, and how it judges: streams, revisions, ids of events, commit positions.

use std::collections::HashMap;

use bytes::Bytes;

use super::messages::append_req::Expected;
use crate::clock::{Clock, SystemClock};

/// Something of the server's own comes in between so often.
const BETWEEN_STATISTICS: usize = 16;

/// One event.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) stream: String,
    pub(super) revision: u64,
    pub(super) position: u64,
    /// Tenths of microseconds since 1970 UTC.
    pub(super) created: i64,
    pub(super) kind: String,
    pub(super) content_type: String,
    pub(super) metadata: Bytes,
    pub(super) data: Bytes,
}

/// An event that is to be written.
#[derive(Clone, Debug)]
pub(super) struct New {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) content_type: String,
    pub(super) metadata: Bytes,
    pub(super) data: Bytes,
}

/// The server's log.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) all: Vec<Event>,
    pub(super) streams: HashMap<String, Vec<usize>>,
    n_appends: usize,
}

impl Content {
    fn len(&self, stream: &str) -> u64 {
        self.streams.get(stream).map_or(0, |at| at.len() as u64)
    }

    /// The last revision and its position, or how many events the stream has instead of those
    /// expected. Events that stand where they would go already are not written again.
    pub(super) fn append(
        &mut self,
        stream: &str,
        expected: Expected,
        events: Vec<New>,
    ) -> Result<(u64, u64), u64> {
        let found = self.len(stream);
        let from = match expected {
            Expected::Revision(revision) => revision + 1,
            Expected::NoStream(_) => 0,
            Expected::Any(_) | Expected::StreamExists(_) => found,
        };
        if from != found {
            let there = self.streams.get(stream).into_iter().flatten();
            let there: Vec<usize> =
                there.skip(usize::try_from(from).unwrap_or(usize::MAX)).copied().collect();
            let is_repeat = !events.is_empty()
                && there.len() >= events.len()
                && there.iter().zip(&events).all(|(at, new)| self.all[*at].id == new.id);
            return match there.get(events.len().wrapping_sub(1)) {
                Some(last) if is_repeat => Ok((self.all[*last].revision, self.all[*last].position)),
                _ => Err(found),
            };
        }
        if self.n_appends.is_multiple_of(BETWEEN_STATISTICS) {
            let data = Bytes::from_static(b"{}");
            let (id, kind) = (format!("{:032x}", self.all.len()), "$statsCollected".to_owned());
            let content_type = "application/json".to_owned();
            self.push("$stats-0", New { id, kind, content_type, metadata: data.clone(), data });
        }
        self.n_appends += 1;
        let mut last = (found.saturating_sub(1), 0);
        for new in events {
            last = self.push(stream, new);
        }
        Ok(last)
    }

    fn push(&mut self, stream: &str, new: New) -> (u64, u64) {
        let New { id, kind, content_type, metadata, data } = new;
        let (mut position, mut created) = (1_000, SystemClock.now().timestamp_micros() * 10);
        if let Some(last) = self.all.last() {
            // As the real one's, positions are places in a file.
            let size = 150 + last.stream.len() + last.metadata.len() + last.data.len();
            position = last.position + size as u64;
            created = created.max(last.created);
        }
        let at = self.streams.entry(stream.to_owned()).or_default();
        let revision = at.len() as u64;
        at.push(self.all.len());
        let stream = stream.to_owned();
        self.all.push(Event {
            id,
            stream,
            revision,
            position,
            created,
            kind,
            content_type,
            metadata,
            data,
        });
        (revision, position)
    }

    /// Where an event of this position stands; the real server begins nowhere else either.
    pub(super) fn at(&self, position: u64) -> Option<usize> {
        self.all.binary_search_by_key(&position, |event| event.position).ok()
    }
}
