//! What the server cannot tell when asked: which streams there are, and where in the log a time is. One
//! task per process follows the log from its beginning and keeps both; it wakes readers as well.
//!
//! It reads pages, from the last position on, and no subscription: see `client.rs` for why.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Found};
use super::names::Names;
use super::record::Record;
use crate::envelope::{Position, StreamId, Version};
use crate::store::{Filter, ReadError};

/// An idle log is looked at this often for what other processes wrote.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
const BEFORE_RETRY: Duration = Duration::from_millis(500);
/// Every so many idle looks, what others than us have written to the server is stepped over.
const IDLE_LOOKS: u32 = 50;
const PAGE: usize = 500;
/// One position in so many is kept, and so an event is found again behind at most as many.
pub(super) const BETWEEN_MARKS: usize = 64;
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(15);

/// An event's place and time. Times of later marks are no earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: u64,
    pub(super) recorded_at: DateTime<Utc>,
}

pub(super) struct Tail {
    prefixes: Vec<String>,
    known: Mutex<Known>,
    /// Up to where events are known to be there.
    head: watch::Sender<Position>,
    /// Up to where `known` has taken them in.
    followed: watch::Sender<Position>,
}

#[derive(Default)]
struct Known {
    streams: BTreeMap<StreamId, Version>,
    marks: Vec<Mark>,
    n_events: usize,
    /// The last event taken in.
    last: u64,
    /// A position at or behind `last` with nothing of ours in between.
    scanned: u64,
    /// Time of the append that the last event belongs to.
    recorded_at: Option<DateTime<Utc>>,
}

impl Tail {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            prefixes: names.prefixes(&Filter::default()),
            known: Mutex::default(),
            head: watch::Sender::new(Position(0)),
            followed: watch::Sender::new(Position(0)),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log reaches at least up to here.
    pub(super) fn seen(&self, position: Position) {
        self.head.send_if_modified(|head| {
            let is_news = position > *head;
            *head = position.max(*head);
            is_news
        });
    }

    /// Follows the log until it is stopped.
    pub(super) async fn run(&self, client: &Client, names: &Names, stop: &CancellationToken) {
        let _: Option<()> = stop.run_until_cancelled(self.follow(client, names)).await;
    }

    async fn follow(&self, client: &Client, names: &Names) {
        let mut n_idle = 0;
        loop {
            let from = self.known().scanned;
            match self.take_in_page(client, names, from, n_idle).await {
                Ok(n_events) if n_events > 0 => n_idle = 0,
                Ok(_) => {
                    n_idle = (n_idle + 1) % IDLE_LOOKS;
                    let mut head = self.head.subscribe();
                    // Both an elapsed wait and a closed channel only mean to look again.
                    let _ = timeout(BETWEEN_LOOKS, head.wait_for(|head| head.0 > from)).await;
                }
                Err(ReadError) => sleep(BEFORE_RETRY).await,
            }
        }
    }

    async fn take_in_page(
        &self,
        client: &Client,
        names: &Names,
        from: u64,
        n_idle: u32,
    ) -> Result<usize, ReadError> {
        // Asked before the page is read: up to there nothing of ours can be missing from it.
        let end = match n_idle + 1 == IDLE_LOOKS {
            true => client.last_of_all(&[]).await?.map_or(0, |last| last.position),
            false => 0,
        };
        let mut page = client.read_all(from, &self.prefixes, PAGE).await?;
        let is_last = page.len() < PAGE;
        let mut known = self.known();
        page.retain(|found| found.position > known.last);
        for found in &page {
            known.take_in(names, found);
        }
        known.scanned = if is_last { known.scanned.max(end) } else { known.scanned };
        let followed = Position(known.last);
        drop(known);
        self.seen(followed);
        self.followed.send_replace(followed);
        Ok(page.len())
    }

    /// Where to begin reading in order to find all that is behind `after`, and how many events up to
    /// there may come first.
    pub(super) fn start(&self, after: Position) -> (u64, usize) {
        let known = self.known();
        if after.0 >= known.last {
            return (after.0.max(known.scanned), 1);
        }
        // What stands at `after` may be no event, and the server begins at events only.
        let n_before = known.marks.partition_point(|mark| mark.position <= after.0);
        match n_before.checked_sub(1).and_then(|at| known.marks.get(at)) {
            Some(mark) => (mark.position, BETWEEN_MARKS),
            None => (0, BETWEEN_MARKS),
        }
    }

    /// The last mark that is no later than a time.
    pub(super) fn mark_at(&self, at: DateTime<Utc>) -> Option<Mark> {
        let known = self.known();
        let n_until = known.marks.partition_point(|mark| mark.recorded_at <= at);
        n_until.checked_sub(1).and_then(|at| known.marks.get(at)).copied()
    }

    /// Streams with their versions, see [`crate::store::EventStore::stream_versions`].
    pub(super) fn stream_versions(
        &self,
        filter: &Filter,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Vec<(StreamId, Version)> {
        let known = self.known();
        let rest = known.streams.range((
            after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded),
            std::ops::Bound::Unbounded,
        ));
        rest.filter(|(stream, _)| filter.lets(stream))
            .take(limit)
            .map(|(stream, version)| (stream.clone(), *version))
            .collect()
    }

    /// Returns once everything up to `position` has been taken in.
    pub(super) async fn followed(&self, position: Position) -> Result<(), ReadError> {
        self.seen(position);
        let mut followed = self.followed.subscribe();
        let waiting = followed.wait_for(|followed| *followed >= position);
        let in_time = timeout(CATCH_UP_TIMEOUT, waiting).await.is_ok_and(|found| found.is_ok());
        if in_time { Ok(()) } else { Err(ReadError) }
    }

    /// Returns when the log is known to reach past `position`, else when it is time to look.
    pub(super) async fn wait_past(&self, position: Position) {
        let mut head = self.head.subscribe();
        // Both an elapsed wait and a closed channel only mean that the caller looks again.
        let _ = timeout(LONGEST_WAIT, head.wait_for(|head| *head > position)).await;
    }
}

impl Known {
    fn take_in(&mut self, names: &Names, found: &Found) {
        let is_first = Record::of(found).is_none_or(|record| record.nth == 0);
        let recorded_at = match self.recorded_at {
            Some(recorded_at) if !is_first => recorded_at,
            // A clock that was set back must not hide what follows.
            Some(recorded_at) => found.created.max(recorded_at),
            None => found.created,
        };
        if self.n_events.is_multiple_of(BETWEEN_MARKS) {
            self.marks.push(Mark { position: found.position, recorded_at });
        }
        if let Some(stream) = names.stream(&found.stream) {
            self.streams.insert(stream, Version(found.revision + 1));
        }
        self.recorded_at = Some(recorded_at);
        self.n_events += 1;
        self.last = found.position;
        self.scanned = found.position;
    }
}
