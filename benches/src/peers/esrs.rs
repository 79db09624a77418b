//! esrs with its PostgreSQL store.

use async_trait::async_trait;
use esrs::AggregateState;
use esrs::manager::AggregateManager;
use esrs::store::postgres::{PgStore, PgStoreBuilder};
use serde::{Deserialize, Serialize};
use sqlx08::PgPool;
use uuid::Uuid;

use super::Note;
use crate::system::System;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    NoteAdded(Note),
}

#[derive(Debug, thiserror::Error)]
#[error("there are too many notes")]
struct Refused;

#[derive(Default)]
struct State {
    n_notes: u32,
}

struct Candidate;

impl esrs::Aggregate for Candidate {
    const NAME: &'static str = "candidate";
    type State = State;
    type Command = Note;
    type Event = Event;
    type Error = Refused;

    fn handle_command(state: &State, note: Note) -> Result<Vec<Event>, Refused> {
        if state.n_notes == u32::MAX {
            return Err(Refused);
        }
        Ok(vec![Event::NoteAdded(note)])
    }

    fn apply_event(state: State, _: Event) -> State {
        State { n_notes: state.n_notes + 1 }
    }
}

pub(super) async fn set_up(pool: &PgPool) -> anyhow::Result<()> {
    let _: PgStore<Candidate> = PgStoreBuilder::new(pool.clone()).try_build().await?;
    Ok(())
}

pub(super) struct Peer {
    manager: AggregateManager<PgStore<Candidate>>,
    width: usize,
}

impl Peer {
    pub(super) async fn new(pool: PgPool, width: usize) -> anyhow::Result<Self> {
        let store = PgStoreBuilder::new(pool).without_running_migrations().try_build().await?;
        Ok(Self { manager: AggregateManager::new(store), width })
    }
}

#[async_trait]
impl System for Peer {
    fn name(&self) -> &'static str {
        "esrs 0.18.0"
    }

    async fn command(&self, _: usize, aggregate: Uuid, nth: u32) -> anyhow::Result<()> {
        let state = self.manager.load(aggregate).await?;
        let state = state.unwrap_or_else(|| AggregateState::with_id(aggregate));
        self.manager.handle_command(state, Note::new(nth, self.width)).await??;
        Ok(())
    }
}
