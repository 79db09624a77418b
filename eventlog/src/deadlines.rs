//! Deadlines: what is due later. Rows that survive a restart, claimed by one worker at a time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::envelope::StreamId;

/// Something that is due at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// Its id, derived from what caused it.
    pub id: Uuid,
    /// What is due, such as `answer`.
    pub kind: String,
    /// The stream it is about.
    pub stream: StreamId,
    /// What within the stream, such as a question.
    pub detail: Option<Uuid>,
    /// When.
    pub due_at: DateTime<Utc>,
    /// The event that set it.
    pub cause: Uuid,
}

/// The deadlines cannot be reached at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadlines cannot be reached")]
pub struct DeadlineError;

/// Where deadlines are kept. One stands for each (stream, kind, detail): setting it again moves it.
#[async_trait]
pub trait Deadlines: Send + Sync {
    /// Sets or moves a deadline.
    ///
    /// # Errors
    /// [`DeadlineError`].
    async fn set(&self, deadline: Deadline) -> Result<(), DeadlineError>;

    /// Drops the deadlines of a stream: of one kind and detail, or all of it.
    ///
    /// # Errors
    /// [`DeadlineError`].
    async fn clear(
        &self,
        stream: &StreamId,
        of: Option<(&str, Option<Uuid>)>,
    ) -> Result<(), DeadlineError>;

    /// What is due at `now`, soonest first, at most `limit`. They stay until they are dropped: acting
    /// on one twice must change nothing.
    ///
    /// # Errors
    /// [`DeadlineError`].
    async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<Deadline>, DeadlineError>;

    /// Drops one deadline if it still is due at that time.
    ///
    /// # Errors
    /// [`DeadlineError`].
    async fn done(&self, deadline: &Deadline) -> Result<(), DeadlineError>;
}

/// Deadlines in Postgres.
#[derive(Clone)]
pub struct PostgresDeadlines(PgPool);

impl PostgresDeadlines {
    /// Deadlines in this database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(pool)
    }
}

fn unreachable(error: sqlx::Error) -> DeadlineError {
    tracing::warn!(%error, "deadlines cannot be reached");
    DeadlineError
}

#[async_trait]
impl Deadlines for PostgresDeadlines {
    async fn set(&self, deadline: Deadline) -> Result<(), DeadlineError> {
        sqlx::query(
            "insert into deadline (deadline_id, kind, company_id, category, stream_id, detail, due_at, cause)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (company_id, category, stream_id, kind, detail)
             do update set deadline_id = excluded.deadline_id, due_at = excluded.due_at, cause = excluded.cause",
        )
        .bind(deadline.id)
        .bind(deadline.kind)
        .bind(deadline.stream.company.0)
        .bind(deadline.stream.aggregate.as_ref())
        .bind(deadline.stream.id)
        .bind(deadline.detail)
        .bind(deadline.due_at)
        .bind(deadline.cause)
        .execute(&self.0)
        .await
        .map_err(unreachable)
        .map(drop)
    }

    async fn clear(
        &self,
        stream: &StreamId,
        of: Option<(&str, Option<Uuid>)>,
    ) -> Result<(), DeadlineError> {
        sqlx::query(
            "delete from deadline where company_id = $1 and category = $2 and stream_id = $3
                and ($4::text is null or (kind = $4 and detail is not distinct from $5))",
        )
        .bind(stream.company.0)
        .bind(stream.aggregate.as_ref())
        .bind(stream.id)
        .bind(of.map(|(kind, _)| kind))
        .bind(of.and_then(|(_, detail)| detail))
        .execute(&self.0)
        .await
        .map_err(unreachable)
        .map(drop)
    }

    async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<Deadline>, DeadlineError> {
        let rows =
            sqlx::query("select * from deadline where due_at <= $1 order by due_at limit $2")
                .bind(now)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(&self.0)
                .await
                .map_err(unreachable)?;
        let read = |row: &sqlx::postgres::PgRow| -> sqlx::Result<Deadline> {
            Ok(Deadline {
                id: row.try_get("deadline_id")?,
                kind: row.try_get("kind")?,
                stream: crate::applied::stream_of(row)?,
                detail: row.try_get("detail")?,
                due_at: row.try_get("due_at")?,
                cause: row.try_get("cause")?,
            })
        };
        rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(unreachable)
    }

    async fn done(&self, deadline: &Deadline) -> Result<(), DeadlineError> {
        sqlx::query(
            "delete from deadline where company_id = $1 and category = $2 and stream_id = $3
                and kind = $4 and detail is not distinct from $5
                and deadline_id = $6 and due_at = $7",
        )
        .bind(deadline.stream.company.0)
        .bind(deadline.stream.aggregate.as_ref())
        .bind(deadline.stream.id)
        .bind(&deadline.kind)
        .bind(deadline.detail)
        .bind(deadline.id)
        .bind(deadline.due_at)
        .execute(&self.0)
        .await
        .map_err(unreachable)
        .map(drop)
    }
}

type Key = (StreamId, String, Option<Uuid>);

/// Deadlines in memory, for tests.
#[derive(Default)]
pub struct MemoryDeadlines(Mutex<BTreeMap<Key, Deadline>>);

impl MemoryDeadlines {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<Key, Deadline>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[async_trait]
impl Deadlines for MemoryDeadlines {
    async fn set(&self, deadline: Deadline) -> Result<(), DeadlineError> {
        let key = (deadline.stream.clone(), deadline.kind.clone(), deadline.detail);
        self.with(|all| all.insert(key, deadline));
        Ok(())
    }

    async fn clear(
        &self,
        stream: &StreamId,
        of: Option<(&str, Option<Uuid>)>,
    ) -> Result<(), DeadlineError> {
        self.with(|all| {
            all.retain(|(s, kind, detail), _| {
                s != stream || of.is_some_and(|of| of != (kind.as_str(), *detail))
            });
        });
        Ok(())
    }

    async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<Deadline>, DeadlineError> {
        let mut due: Vec<Deadline> =
            self.with(|all| all.values().filter(|d| d.due_at <= now).cloned().collect());
        due.sort_by_key(|deadline| deadline.due_at);
        due.truncate(limit);
        Ok(due)
    }

    async fn done(&self, deadline: &Deadline) -> Result<(), DeadlineError> {
        let key = (deadline.stream.clone(), deadline.kind.clone(), deadline.detail);
        self.with(|all| {
            if all.get(&key).is_some_and(|d| d.id == deadline.id && d.due_at == deadline.due_at) {
                all.remove(&key);
            }
        });
        Ok(())
    }
}
