//! cqrs-es with its store postgres-es.

use anyhow::anyhow;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx08::{Executor, PgPool};
use uuid::Uuid;

use super::Note;
use crate::system::System;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    NoteAdded(Note),
}

impl cqrs_es::DomainEvent for Event {
    fn event_type(&self) -> String {
        "candidate.note_added".to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("there are too many notes")]
struct Refused;

#[derive(Default, Serialize, Deserialize)]
struct Candidate {
    n_notes: u32,
}

impl cqrs_es::Aggregate for Candidate {
    const TYPE: &'static str = "candidate";
    type Command = Note;
    type Event = Event;
    type Error = Refused;
    type Services = ();

    async fn handle(
        &mut self,
        note: Note,
        (): &(),
        sink: &cqrs_es::event_sink::EventSink<Self>,
    ) -> Result<(), Refused> {
        if self.n_notes == u32::MAX {
            return Err(Refused);
        }
        sink.write(Event::NoteAdded(note), self).await;
        Ok(())
    }

    fn apply(&mut self, _: Event) {
        self.n_notes += 1;
    }
}

pub(super) async fn set_up(pool: &PgPool) -> anyhow::Result<()> {
    pool.execute(include_str!("../../sql/postgres_es.sql")).await?;
    Ok(())
}

pub(super) struct Peer {
    cqrs: postgres_es::PostgresCqrs<Candidate>,
    width: usize,
}

impl Peer {
    pub(super) fn new(pool: PgPool, width: usize) -> Self {
        Self { cqrs: postgres_es::postgres_cqrs(pool, vec![], ()), width }
    }
}

#[async_trait]
impl System for Peer {
    fn name(&self) -> &'static str {
        "postgres-es 0.5.0"
    }

    async fn command(&self, _: usize, aggregate: Uuid, nth: u32) -> anyhow::Result<()> {
        let note = Note::new(nth, self.width);
        let done = self.cqrs.execute(&aggregate.to_string(), note).await;
        done.map_err(|error| anyhow!("{error}"))
    }
}
