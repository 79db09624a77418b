//! The reader: follows the log and checks every event.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use eventlog::clock::{Clock, SystemClock};
use eventlog::envelope::{Position, StoredEvent, StreamId};
use eventlog::store::{EventStore, Filter};

use super::writers::{N_WRITERS, Writing, Written, from_event_id};

const PAGE: usize = 1000;
/// Nothing new for so long while something is missing: it will not come any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the reader saw.
#[derive(Default)]
pub struct Seen {
    /// For each writer the position of each of its events by number, 0 where not seen.
    positions: Vec<Vec<u64>>,
    versions: HashMap<StreamId, u64>,
    last: Option<StoredEvent>,
    /// Time from `recorded_at` until the event was read.
    pub lags: Vec<Duration>,
    n_twice: u64,
    n_strangers: u64,
    n_gaps: u64,
    n_out_of_order: u64,
    n_times_fallen: u64,
    n_damaged: u64,
}

/// Reads until everything acknowledged is there, or nothing more comes.
///
/// # Errors
/// The log cannot be read.
pub async fn follow(store: &dyn EventStore, writing: &Writing) -> anyhow::Result<Seen> {
    let mut seen = Seen { positions: vec![vec![]; N_WRITERS], ..Seen::default() };
    let (mut after, mut progress) = (Position(0), Instant::now());
    loop {
        // Asked before reading: what was acknowledged by then is in the page or before it.
        let end = writing.end();
        let page = store.read_log(after, &Filter::default(), PAGE).await?;
        let now = SystemClock.now();
        let is_empty = page.events.is_empty();
        for event in page.events {
            let lag = (now - event.recorded_at).to_std().unwrap_or_default();
            seen.take_in(event, lag);
        }
        after = page.next;
        if !is_empty {
            progress = Instant::now();
        } else if end.is_some_and(|end| after >= end) {
            return Ok(seen);
        } else if progress.elapsed() > PATIENCE {
            bail!("the reader stands at {after} and nothing comes, though more was acknowledged");
        } else {
            store.wait_past(after).await;
        }
    }
}

impl Seen {
    fn take_in(&mut self, event: StoredEvent, lag: Duration) {
        self.lags.push(lag);
        let before = self.last.as_ref().map_or(0, |last| last.position.0);
        self.n_gaps += u64::from(event.position.0 != before + 1);
        let is_earlier = |last: &StoredEvent| event.recorded_at < last.recorded_at;
        self.n_times_fallen += u64::from(self.last.as_ref().is_some_and(is_earlier));
        self.n_damaged += u64::from(!event.is_intact());
        let version = self.versions.entry(event.stream.clone()).or_insert(0);
        self.n_out_of_order += u64::from(event.version.0 != *version + 1);
        *version = event.version.0;
        match from_event_id(event.event_id) {
            Some((writer, nth)) => self.note(writer, nth, event.position),
            None => self.n_strangers += 1,
        }
        self.last = Some(event);
    }

    fn note(&mut self, writer: usize, nth: u64, position: Position) {
        let positions = &mut self.positions[writer];
        let Ok(nth) = usize::try_from(nth) else {
            self.n_strangers += 1;
            return;
        };
        if positions.len() <= nth {
            positions.resize(nth + 1, 0);
        }
        self.n_twice += u64::from(positions[nth] != 0);
        positions[nth] = position.0;
    }

    /// What does not agree with what the writers were told, in words; empty if all does.
    pub fn violations(&self, written: &[Written]) -> Vec<String> {
        let (mut n_lost, mut n_never_written, mut n_elsewhere) = (0, 0, 0);
        for (positions, writer) in self.positions.iter().zip(written) {
            let at = |nth: u64| usize::try_from(nth).ok().and_then(|nth| positions.get(nth));
            let is_seen = |nth: &u64| at(*nth).is_some_and(|position| *position != 0);
            n_lost += (0..writer.n_events).filter(|nth| !is_seen(nth)).count();
            n_never_written += (positions.len() as u64).saturating_sub(writer.n_events);
            let agrees = |(nth, said): &&(u64, Position)| at(*nth) == Some(&said.0);
            n_elsewhere += writer.acknowledged.iter().filter(|said| !agrees(said)).count();
        }
        [
            (n_lost as u64, "lost"),
            (self.n_twice, "read twice"),
            (n_never_written, "read though never acknowledged"),
            (self.n_strangers, "of no writer"),
            (self.n_gaps, "not at the next position"),
            (self.n_out_of_order, "not at the next version of their stream"),
            (self.n_times_fallen, "recorded before their predecessor"),
            (self.n_damaged, "not as they were hashed"),
            (n_elsewhere as u64, "not at the position acknowledged"),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::CompanyId;
    use eventlog::envelope::{Cause, NewEvent, Version, event_hash};
    use uuid::Uuid;

    use super::super::writers::event_id;
    use super::*;

    /// The `nth` event of the first writer, all in one stream, at its right place.
    fn event(nth: u64) -> StoredEvent {
        let stream = StreamId::new(CompanyId(Uuid::nil()), "candidate", Uuid::nil());
        let cause = Cause {
            command_id: Uuid::nil(),
            fingerprint: vec![],
            correlation_id: Uuid::nil(),
            causation_id: None,
            actor: "system:writer".to_owned(),
            trace_parent: None,
        };
        let new = NewEvent {
            event_id: event_id(0, nth),
            name: "candidate.note_added".into(),
            schema_version: 1,
            occurred_at: SystemClock.now(),
            payload: "{}".into(),
        };
        let version = Version(nth + 1);
        StoredEvent {
            position: Position(nth + 1),
            recorded_at: SystemClock.now(),
            hash: event_hash(&stream, version, &cause, &new),
            event_id: new.event_id,
            name: new.name.into_owned(),
            schema_version: new.schema_version,
            occurred_at: new.occurred_at,
            payload: new.payload,
            stream,
            version,
            cause,
        }
    }

    fn violations(events: impl IntoIterator<Item = StoredEvent>) -> Vec<String> {
        let mut seen = Seen { positions: vec![vec![]; N_WRITERS], ..Seen::default() };
        for event in events {
            seen.take_in(event, Duration::ZERO);
        }
        let mut written = vec![Written::default(); N_WRITERS];
        written[0].n_events = 3;
        written[0].acknowledged = vec![(1, Position(2)), (2, Position(3))];
        seen.violations(&written)
    }

    #[test]
    fn what_was_read_as_it_was_written_violates_nothing() {
        assert_eq!(violations((0..3).map(event)), Vec::<String>::new());
    }

    #[test]
    fn a_lost_and_a_repeated_event_are_found() {
        let lost = violations([event(0), event(2)]);
        assert!(lost.contains(&"1 lost".to_owned()), "{lost:?}");
        assert!(lost.contains(&"1 not at the next position".to_owned()), "{lost:?}");
        let twice = violations([event(0), event(1), event(1), event(2)]);
        assert!(twice.contains(&"1 read twice".to_owned()), "{twice:?}");
    }

    #[test]
    fn a_trace_of_what_was_refused_is_found() {
        let found = violations((0..4).map(event));
        assert_eq!(found, ["1 read though never acknowledged"]);
    }

    #[test]
    fn a_changed_event_and_a_falling_time_are_found() {
        let mut changed = event(2);
        changed.payload = "[]".into();
        changed.recorded_at -= chrono::TimeDelta::seconds(1);
        let found = violations([event(0), event(1), changed]);
        assert_eq!(found, ["1 recorded before their predecessor", "1 not as they were hashed"]);
    }

    #[test]
    fn an_event_elsewhere_than_its_writer_was_told_is_found() {
        let (mut second, mut third) = (event(1), event(2));
        std::mem::swap(&mut second.event_id, &mut third.event_id);
        let found = violations([event(0), second, third]);
        assert!(found.contains(&"2 not at the position acknowledged".to_owned()), "{found:?}");
    }
}
