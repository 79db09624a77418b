//! disintegrate with its store disintegrate-postgres, which refuses commands that the database could
//! not put in order; they are counted.

use anyhow::anyhow;
use async_trait::async_trait;
use disintegrate::serde::json::Json;
use disintegrate::{Decision, Event, NoSnapshot, StateMutate, StateQuery};
use disintegrate_postgres::{PgDecisionMaker, PgEventStore};
use serde::{Deserialize, Serialize};
use sqlx08::{Executor, PgPool};
use uuid::Uuid;

use super::Note;
use crate::system::System;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Event)]
#[stream(CandidateEvent, [NoteAdded])]
enum Domain {
    NoteAdded {
        #[id]
        interview_id: Uuid,
        note: Note,
    },
}

#[derive(Default, Clone, Debug, Serialize, Deserialize, StateQuery)]
#[state_query(CandidateEvent)]
struct Candidate {
    #[id]
    interview_id: Uuid,
    n_notes: u32,
}

impl StateMutate for Candidate {
    fn mutate(&mut self, _: Self::Event) {
        self.n_notes += 1;
    }
}

#[derive(Debug, thiserror::Error)]
#[error("there are too many notes")]
struct Refused;

struct AddNote {
    to: Uuid,
    note: Note,
}

impl Decision for AddNote {
    type Event = Domain;
    type StateQuery = Candidate;
    type Error = Refused;

    fn state_query(&self) -> Candidate {
        Candidate { interview_id: self.to, n_notes: 0 }
    }

    fn process(&self, candidate: &Candidate) -> Result<Vec<Domain>, Refused> {
        if candidate.n_notes == u32::MAX {
            return Err(Refused);
        }
        Ok(vec![Domain::NoteAdded { interview_id: self.to, note: self.note.clone() }])
    }
}

type Store = PgEventStore<Domain, Json<Domain>>;

pub(super) async fn set_up(pool: &PgPool) -> anyhow::Result<()> {
    if let Err(error) = Store::try_new(pool.clone(), Json::default()).await {
        eprintln!("disintegrate does not set itself up here ({error}), so it gets help");
        pool.execute(include_str!("../../sql/disintegrate_below_16.sql")).await?;
    }
    Ok(())
}

pub(super) struct Peer {
    decisions: PgDecisionMaker<Domain, Json<Domain>, NoSnapshot>,
    width: usize,
}

impl Peer {
    pub(super) fn new(pool: PgPool, width: usize) -> Self {
        let store = Store::new_uninitialized(pool, Json::default());
        Self { decisions: disintegrate_postgres::decision_maker(store, NoSnapshot), width }
    }
}

#[async_trait]
impl System for Peer {
    fn name(&self) -> &'static str {
        "disintegrate-postgres 4.0.1"
    }

    fn may_refuse(&self) -> bool {
        true
    }

    async fn command(&self, _: usize, aggregate: Uuid, nth: u32) -> anyhow::Result<()> {
        let command = AddNote { to: aggregate, note: Note::new(nth, self.width) };
        let made = self.decisions.make(command).await;
        made.map(|_| ()).map_err(|error| anyhow!("{error:?}"))
    }
}
