//! Writes many streams' events into a generation at once: what is new goes in by `COPY`.
//!
//! It knows only the ordinary case. What is parked, skipped, outrun, or refused by the database is
//! handed back for the ordinary way, which parks what nobody can deal with.

use std::collections::HashMap;
use std::marker::PhantomData;

use async_trait::async_trait;
use eventlog::applied::{self, Applied, Move};
use eventlog::codec::Recorded;
use eventlog::envelope::StreamId;
use sqlx::PgPool;
use tokio::sync::OnceCell;

use crate::generation::{self, Generation};
use crate::projector::Projector;
use crate::rows::{self, Column, Work};
use crate::runner::is_about_data;

/// Streams with their next events, each stream once.
pub(crate) type Streams = Vec<(StreamId, Vec<Recorded>)>;

/// Writes to one generation.
#[async_trait]
pub(crate) trait Bulk: Send + Sync {
    /// Applies the events of these of the streams as far as they are not applied yet, and answers
    /// which of the streams are left for the ordinary way.
    async fn write(&self, streams: &Streams, chosen: Vec<usize>) -> sqlx::Result<Vec<usize>>;
}

pub(crate) struct BulkWriter<P> {
    generation: Generation,
    pool: PgPool,
    columns: OnceCell<Vec<Column>>,
    model: PhantomData<fn() -> P>,
}

impl<P: Projector> BulkWriter<P> {
    pub(crate) fn new(generation: Generation, pool: PgPool) -> Self {
        Self { generation, pool, columns: OnceCell::new(), model: PhantomData }
    }

    async fn try_write(&self, streams: &Streams, chosen: &[usize]) -> sqlx::Result<Vec<usize>> {
        let Generation { table, consumer, .. } = &self.generation;
        let columns = self.columns.get_or_try_init(|| rows::columns(&self.pool, table)).await?;
        let mut tx = self.pool.begin().await?;
        // What is lost in a crash is filled again, because applied versions are lost with it.
        sqlx::query("set local synchronous_commit to off").execute(&mut *tx).await?;
        generation::share(&mut tx, consumer).await?;
        let ids: Vec<StreamId> = chosen.iter().map(|i| streams[*i].0.clone()).collect();
        let applied = applied::load(&mut tx, consumer, &ids).await?;
        let mut plan = Plan::default();
        for i in chosen {
            plan.add(*i, &streams[*i], &applied);
        }
        if !plan.moves.is_empty() {
            if !applied::advance(&mut tx, consumer, &plan.moves).await? {
                tx.rollback().await?;
                return Ok(chosen.to_vec());
            }
            rows::fill::<P>(&mut tx, table, columns, &plan.new, &plan.more).await?;
        }
        tx.commit().await?;
        Ok(plan.left)
    }
}

/// What is done about some streams.
#[derive(Default)]
struct Plan<'a> {
    moves: Vec<Move>,
    /// Streams from their first event on.
    new: Vec<Work<'a>>,
    /// Streams that may have rows.
    more: Vec<Work<'a>>,
    left: Vec<usize>,
}

impl<'a> Plan<'a> {
    fn add(
        &mut self,
        i: usize,
        (stream, events): &'a (StreamId, Vec<Recorded>),
        applied: &HashMap<StreamId, Applied>,
    ) {
        let Applied { version: from, parked, skipped } =
            applied.get(stream).cloned().unwrap_or_default();
        let seen = events.partition_point(|event| event.stored.version <= from);
        let (Some(first), Some(last)) = (events.get(seen), events.last()) else {
            return;
        };
        if parked || !skipped.is_empty() || first.stored.version != from.next() {
            self.left.push(i);
            return;
        }
        self.moves.push(Move { stream: stream.clone(), from, to: last.stored.version });
        let work = (stream, &events[seen..]);
        if from.0 == 0 {
            self.new.push(work);
        } else {
            self.more.push(work);
        }
    }
}

#[async_trait]
impl<P: Projector> Bulk for BulkWriter<P> {
    async fn write(&self, streams: &Streams, chosen: Vec<usize>) -> sqlx::Result<Vec<usize>> {
        let mut left = vec![];
        let mut parts = vec![chosen];
        while let Some(part) = parts.pop() {
            match self.try_write(streams, &part).await {
                Ok(not_done) => left.extend(not_done),
                // One row among thousands is refused: half by half it comes out which.
                Err(error) if is_about_data(&error) => {
                    let (one, other) = part.split_at(part.len() / 2);
                    if one.is_empty() {
                        left.extend(part);
                    } else {
                        parts.extend([one.to_vec(), other.to_vec()]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }
}
