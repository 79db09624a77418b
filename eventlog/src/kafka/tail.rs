//! The log's last events, read once for all topics of a process.
//!
//! Every append wakes every topic's relay. Were each to ask the log, most would ask in vain.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::envelope::{Position, StoredEvent};
use crate::store::{EventStore, Filter, LogPage, ReadError};

/// The tail keeps at most this many events.
const MAX_EVENTS: usize = 4000;

/// The tail keeps at most about this many bytes of payloads.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// How many events one reading of the log asks for.
const PAGE: usize = 1000;

/// A window on the log that moves with its readers.
pub struct Tail {
    store: Arc<dyn EventStore>,
    recent: Mutex<Recent>,
}

/// All events after `start`, up to `end`.
#[derive(Default)]
struct Recent {
    events: VecDeque<StoredEvent>,
    n_bytes: usize,
    start: Position,
    end: Position,
    head: Position,
}

impl Tail {
    /// The tail of this log, empty until somebody reads.
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self { store, recent: Mutex::default() }
    }

    /// Events of one aggregate after `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read.
    pub async fn read(
        &self,
        after: Position,
        aggregate: &str,
        limit: usize,
    ) -> Result<LogPage, ReadError> {
        let mut recent = self.recent.lock().await;
        if after < recent.start {
            drop(recent);
            let filter = Filter::of_aggregates([aggregate]);
            return self.store.read_log(after, &filter, limit).await;
        }
        if after > recent.end {
            *recent = Recent { start: after, end: after, ..Recent::default() };
        }
        if after == recent.end {
            let page = self.store.read_log(after, &Filter::default(), PAGE).await?;
            recent.extend(page);
        }
        let page = recent.page(after, aggregate, limit);
        // Only now, so that this reader sees also what is too much to be kept.
        recent.trim();
        Ok(page)
    }
}

impl Recent {
    fn extend(&mut self, page: LogPage) {
        self.n_bytes += page.events.iter().map(|event| event.payload.len()).sum::<usize>();
        self.events.extend(page.events);
        (self.end, self.head) = (page.next, page.head.max(page.next));
    }

    fn trim(&mut self) {
        while self.events.len() > MAX_EVENTS || self.n_bytes > MAX_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.n_bytes -= oldest.payload.len();
            self.start = oldest.position;
        }
    }

    fn page(&self, after: Position, aggregate: &str, limit: usize) -> LogPage {
        let first = self.events.partition_point(|event| event.position <= after);
        let events: Vec<_> = self
            .events
            .range(first..)
            .filter(|event| event.stream.aggregate == aggregate)
            .take(limit)
            .cloned()
            .collect();
        let next = match events.last() {
            Some(last) if events.len() == limit => last.position,
            _ => self.end,
        };
        LogPage { events, next, head: self.head }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use bytes::Bytes;
    use chrono::DateTime;
    use domain::ids::CompanyId;
    use uuid::Uuid;

    use super::*;
    use crate::clock::SystemClock;
    use crate::envelope::{Cause, NewEvent, StreamId, Version};
    use crate::store::Append;
    use crate::store::memory::MemoryStore;
    use crate::vault::memory::MemoryVault;

    /// Appends `n` events to a new stream.
    async fn append(store: &MemoryStore, aggregate: &'static str, n: usize, n_bytes: usize) {
        let id = || Uuid::from_bytes(rand::random());
        let event = || NewEvent {
            event_id: id(),
            name: Cow::Borrowed("x.happened"),
            schema_version: 1,
            occurred_at: DateTime::UNIX_EPOCH,
            payload: Bytes::from(vec![b' '; n_bytes]),
        };
        let cause = Cause {
            command_id: id(),
            fingerprint: Vec::new(),
            correlation_id: id(),
            causation_id: None,
            actor: "system:test".to_owned(),
            trace_parent: None,
        };
        let append = Append {
            stream: StreamId::new(CompanyId::NONE, aggregate, id()),
            expected: Version(0),
            guards: Vec::new(),
            claims: Vec::new(),
            keys: Vec::new(),
            cause,
            events: (0..n).map(|_| event()).collect(),
        };
        store.append(append).await.expect("stored");
    }

    struct Reader {
        aggregate: &'static str,
        after: Position,
        seen: Vec<Position>,
    }

    impl Reader {
        fn of(aggregate: &'static str) -> Self {
            Self { aggregate, after: Position(0), seen: Vec::new() }
        }

        /// Reads one page; whether it was the last one.
        async fn read(&mut self, tail: &Tail, limit: usize) -> bool {
            let page = tail.read(self.after, self.aggregate, limit).await.expect("readable");
            self.seen.extend(page.events.iter().map(|event| event.position));
            self.after = page.next;
            page.next == page.head
        }

        async fn read_all(&mut self, tail: &Tail) {
            while !self.read(tail, 700).await {}
        }
    }

    async fn check(store: &Arc<MemoryStore>, readers: &[&Reader]) {
        for reader in readers {
            let filter = Filter::of_aggregates([reader.aggregate]);
            let page = store.read_log(Position(0), &filter, usize::MAX).await.expect("readable");
            let all: Vec<_> = page.events.iter().map(|event| event.position).collect();
            assert_eq!(reader.seen, all, "{}", reader.aggregate);
        }
    }

    #[tokio::test]
    async fn readers_at_any_distance_see_each_event_once() {
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock), MemoryVault::new()));
        let tail = Tail::new(store.clone());
        let (mut fast, mut slow, mut late) =
            (Reader::of("job"), Reader::of("interview"), Reader::of("job"));
        for round in 0..90 {
            append(&store, "interview", 1 + round % 60, 10).await;
            append(&store, "job", 1 + round % 90, 10).await;
            fast.read_all(&tail).await;
            slow.read(&tail, 1 + round % 20).await;
        }
        late.read_all(&tail).await;
        slow.read_all(&tail).await;
        append(&store, "member", 5, 10).await;
        append(&store, "job", 5, 10).await;
        for reader in [&mut late, &mut slow, &mut fast] {
            reader.read_all(&tail).await;
        }
        check(&store, &[&fast, &slow, &late]).await;
    }

    #[tokio::test]
    async fn a_page_that_is_too_much_to_keep_is_still_read_whole() {
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock), MemoryVault::new()));
        let tail = Tail::new(store.clone());
        for _ in 0..10 {
            append(&store, "job", 10, 250_000).await;
        }
        let (mut first, mut second) = (Reader::of("job"), Reader::of("job"));
        first.read_all(&tail).await;
        second.read_all(&tail).await;
        check(&store, &[&first, &second]).await;
        assert!(tail.recent.lock().await.n_bytes <= MAX_BYTES);
    }
}
