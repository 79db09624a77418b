//! Drives a projector as a consumer of events: rows, applied versions and checkpoints move in one
//! transaction, so that repeats, reordering and rivals cannot hurt.

use std::collections::HashMap;
use std::marker::PhantomData;

use async_trait::async_trait;
use eventlog::applied::{self, Applied, Move};
use eventlog::codec::{Codec, Recorded};
use eventlog::consume::{ConsumeError, Consumer, StreamWork};
use eventlog::envelope::{StreamId, Version};
use eventlog::fail_point::FailPoint;
use eventlog::feed::Checkpoint;
use sqlx::{PgConnection, PgPool};

use crate::generation::{self, Generation};
use crate::projector::Projector;
use crate::query::reason;
use crate::rows::{self, Work};

/// A generation of a read model as `eventlog::consume::run` sees it.
pub struct ModelConsumer<P> {
    name: String,
    table: String,
    pool: PgPool,
    codec: Codec,
    fail_point: FailPoint,
    model: PhantomData<fn() -> P>,
}

/// Some streams with their next events, decoded.
type Decoded = Vec<(StreamId, Vec<Recorded>)>;

impl<P: Projector> ModelConsumer<P> {
    /// Keeps the rows of this generation in this database.
    #[must_use]
    pub fn new(generation: &Generation, pool: PgPool, codec: Codec, fail_point: FailPoint) -> Self {
        let Generation { consumer, table, .. } = generation.clone();
        Self { name: consumer, table, pool, codec, fail_point, model: PhantomData }
    }

    fn unavailable(&self, error: &sqlx::Error) -> ConsumeError {
        let reason = reason(error);
        tracing::warn!(consumer = %self.name, %reason, "a read model's database cannot be used");
        ConsumeError::Unavailable
    }

    async fn decode(&self, work: Vec<StreamWork>) -> Result<Decoded, ConsumeError> {
        let mut decoded: Decoded = vec![];
        let mut stored = vec![];
        for item in work {
            decoded.push((item.stream, Vec::with_capacity(item.events.len())));
            let StreamWork { events, skipped, .. } = item;
            stored.extend(events.into_iter().filter(|event| !skipped.contains(&event.version)));
        }
        let by_stream: HashMap<StreamId, usize> =
            decoded.iter().enumerate().map(|(i, (stream, _))| (stream.clone(), i)).collect();
        let opened = self.codec.open_each(stored).await.map_err(|error| {
            tracing::warn!(consumer = %self.name, %error, "events cannot be opened at present");
            ConsumeError::Unavailable
        })?;
        for result in opened {
            match result {
                Ok(recorded) => {
                    if let Some(i) = by_stream.get(&recorded.stored.stream) {
                        decoded[*i].1.push(recorded);
                    }
                }
                Err((_, error)) if error.is_transient() => return Err(ConsumeError::Unavailable),
                Err((stored, error)) => {
                    return Err(ConsumeError::Poison {
                        stream: stored.stream,
                        version: stored.version,
                        reason: error.to_string(),
                    });
                }
            }
        }
        Ok(decoded)
    }

    /// Everything but the commit. `false` when another worker was faster.
    async fn write(
        &self,
        conn: &mut PgConnection,
        moves: &[Move],
        work: &Decoded,
        checkpoints: &[Checkpoint],
    ) -> sqlx::Result<bool> {
        generation::share(conn, &self.name).await?;
        // Before the rows, because it locks the streams: what is loaded afterwards stands at `from`.
        if !moves.is_empty() {
            if !applied::advance(conn, &self.name, moves).await? {
                return Ok(false);
            }
            rows::project::<P>(conn, &self.table, &borrowed(work)).await?;
        }
        if !checkpoints.is_empty() {
            applied::save_checkpoints(conn, &self.name, checkpoints).await?;
        }
        Ok(true)
    }

    /// The first event whose row the database refuses, found by trying without keeping anything.
    async fn find_poison(&self, work: &Decoded) -> sqlx::Result<Option<ConsumeError>> {
        for (stream, events) in work {
            for n in 1..=events.len() {
                let part = [(stream, &events[..n])];
                let mut tx = self.pool.begin().await?;
                let tried = rows::project::<P>(&mut tx, &self.table, &part).await;
                tx.rollback().await?;
                match tried {
                    Ok(()) => {}
                    Err(error) if is_about_data(&error) => {
                        return Ok(Some(ConsumeError::Poison {
                            stream: stream.clone(),
                            version: events[n - 1].stored.version,
                            reason: format!("its row is refused: {}", reason(&error)),
                        }));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(None)
    }
}

fn borrowed(work: &Decoded) -> Vec<Work<'_>> {
    work.iter().map(|(stream, events)| (stream, events.as_slice())).collect()
}

/// Whether the database refused the values themselves, so that trying again cannot help.
pub(crate) fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    // Data exception, integrity violation, program limit exceeded.
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

#[async_trait]
impl<P: Projector> Consumer for ModelConsumer<P> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn applied(
        &self,
        streams: &[StreamId],
    ) -> Result<HashMap<StreamId, Applied>, ConsumeError> {
        (self.fail_point)("project.polled");
        let load = async {
            let mut conn = self.pool.acquire().await?;
            applied::load(&mut conn, &self.name, streams).await
        };
        load.await.map_err(|error| self.unavailable(&error))
    }

    async fn apply(
        &self,
        work: Vec<StreamWork>,
        checkpoints: &[Checkpoint],
    ) -> Result<(), ConsumeError> {
        let moves: Vec<Move> = work
            .iter()
            .map(|item| Move { stream: item.stream.clone(), from: item.from, to: item.to() })
            .collect();
        let work = self.decode(work).await?;
        let unavailable = |error: sqlx::Error| self.unavailable(&error);
        let mut tx = self.pool.begin().await.map_err(unavailable)?;
        match self.write(&mut tx, &moves, &work, checkpoints).await {
            Ok(true) => {}
            Ok(false) => {
                tx.rollback().await.map_err(unavailable)?;
                return Err(ConsumeError::Moved);
            }
            Err(error) if is_about_data(&error) => {
                tx.rollback().await.map_err(unavailable)?;
                let poison = self.find_poison(&work).await.map_err(unavailable)?;
                return Err(poison.unwrap_or_else(|| self.unavailable(&error)));
            }
            Err(error) => return Err(self.unavailable(&error)),
        }
        (self.fail_point)("project.before_commit");
        tx.commit().await.map_err(unavailable)?;
        (self.fail_point)("project.after_commit");
        let n_events: usize = work.iter().map(|(_, events)| events.len()).sum();
        metrics::counter!("colloquy_projected_events_total", "consumer" => self.name.clone())
            .increment(n_events as u64);
        Ok(())
    }

    async fn park(
        &self,
        stream: &StreamId,
        version: Version,
        reason: &str,
    ) -> Result<(), ConsumeError> {
        let park = async {
            let mut conn = self.pool.acquire().await?;
            applied::park(&mut conn, &self.name, stream, version, reason).await
        };
        park.await.map_err(|error| self.unavailable(&error))
    }

    async fn retries(&self) -> Result<Vec<StreamId>, ConsumeError> {
        let load = async {
            let mut conn = self.pool.acquire().await?;
            applied::retries(&mut conn, &self.name).await
        };
        load.await.map_err(|error| self.unavailable(&error))
    }

    async fn retried(&self, stream: &StreamId) -> Result<(), ConsumeError> {
        let forget = async {
            let mut conn = self.pool.acquire().await?;
            applied::retried(&mut conn, &self.name, stream).await
        };
        forget.await.map_err(|error| self.unavailable(&error))
    }
}
