//! The log in Postgres: keeps every promise.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::event::AGGREGATES;
use domain::ids::CompanyId;
use secrecy::{ExposeSecret, SecretString};
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::batch::Ready;
use super::gather::Gather;
use super::lane::{Entrance, Lane};
use super::readers::{Readers, decoded};
use super::rows::{self, columns};
use super::wake::Wake;
use super::{
    Append, AppendError, Appended, Capabilities, EventStore, Filter, LogPage, ReadError, check,
    connect, room,
};
use crate::envelope::{Position, StoredEvent, StreamId, Version, event_hash};
use crate::fail_point::{FailPoint, no_fail_point};

/// Where the log is and how to use it.
#[derive(Clone)]
pub struct PostgresSettings {
    /// Address of the database, `postgres://user:password@host:port/name`. The schema must be
    /// there, see [`crate::migrate`].
    pub url: SecretString,
    /// At most this many connections for reading; three more append, notify and listen.
    pub max_connections: usize,
    /// How long an append may wait for the database before its caller is told.
    pub append_deadline: Duration,
    /// Passed at `append.before_send` and `append.after_commit`.
    pub fail_point: FailPoint,
}

impl PostgresSettings {
    /// The usual settings: 16 connections for reading, and 10 seconds for an append.
    #[must_use]
    pub fn new(url: SecretString) -> Self {
        let append_deadline = Duration::from_secs(10);
        Self { url, max_connections: 16, append_deadline, fail_point: no_fail_point() }
    }
}

/// The settings name no database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log's address is not one of a database")]
pub struct BadAddress;

/// The log in Postgres. One is enough for a process: all its appends share one lane.
pub struct PostgresStore {
    readers: Arc<Readers>,
    gather: Gather,
    entrance: Entrance,
    wake: Arc<Wake>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl PostgresStore {
    /// Starts the store and its tasks, which connect when they can: the database may come later.
    /// Must be called within the runtime that the tasks are to run on.
    ///
    /// # Errors
    /// [`BadAddress`] when the address cannot be read.
    pub fn start(settings: &PostgresSettings) -> Result<Self, BadAddress> {
        let options = connect::options(settings.url.expose_secret()).map_err(|_| BadAddress)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let readers = Arc::new(Readers::new(options.clone(), settings.max_connections));
        let wake = Arc::new(Wake::new());
        let (entrance, lane) = Lane::new(
            options.clone(),
            settings.append_deadline,
            Arc::clone(&wake),
            Arc::clone(&settings.fail_point),
            stop.clone(),
        );
        tasks.spawn(lane.run());
        tasks.spawn({
            let (wake, options, stop) = (Arc::clone(&wake), options.clone(), stop.clone());
            async move { wake.tell(&options, &stop).await }
        });
        tasks.spawn({
            let (wake, stop) = (Arc::clone(&wake), stop.clone());
            async move { wake.listen(&options, &stop).await }
        });
        tasks.spawn({
            let (readers, stop) = (Arc::clone(&readers), stop.clone());
            async move { room::keep(&readers, &stop).await }
        });
        tasks.close();
        let gather = Gather::new(Arc::clone(&readers));
        Ok(Self { readers, gather, entrance, wake, stop, tasks })
    }

    /// Stops the tasks: what is queued is still appended, what comes later is `Unavailable`.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
        self.readers.close_idle().await;
    }

    /// How many more events have a place before another partition is needed. Partitions are made
    /// well ahead, so less than a few million is an alarm.
    ///
    /// # Errors
    /// [`ReadError`] when the database cannot be reached.
    pub async fn positions_left(&self) -> Result<u64, ReadError> {
        room::positions_left(&self.readers).await
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How many positions are looked at for one page of a company's events.
const WINDOW: u64 = 100_000;

/// Begins a statement that reads events with the head of the log (`h`): both come from one snapshot, so
/// that nothing lies between them unseen. Left to itself the server would look for the head again for
/// every event.
macro_rules! with_head {
    () => {
        "with h as materialized (select es_head() as head) select "
    };
}

#[async_trait]
impl EventStore for PostgresStore {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        check::check(&append)?;
        let Append { stream, expected, cause, events, .. } = &append;
        let hashes = (expected.0 + 1..)
            .zip(events)
            .map(|(version, event)| event_hash(stream, Version(version), cause, event))
            .collect();
        self.entrance.append(Ready { append, hashes }).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        self.gather.read_stream(stream, after, limit).await
    }

    async fn read_log(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<LogPage, ReadError> {
        let everything = concat!(
            with_head!(),
            columns!(),
            ", h.head from h left join lateral (
                 select * from es_event where position > $1 order by position limit $2
             ) e on true"
        );
        let filtered = concat!(
            with_head!(),
            columns!(),
            ", h.head from h left join lateral (
                 select one.* from unnest($3::text[]) as wanted(category)
                  cross join lateral (
                     select * from es_event f where f.category = wanted.category
                        and f.position > $1 order by f.position limit $2) one
                  order by one.position limit $2
             ) e on true"
        );
        // No index has tenant, category and position: every event would pay for it, and those who read
        // so are subscribers that go on where they were cut. A piece of the log is gone through, however
        // few of its events are the tenant's.
        let of_tenant = concat!(
            with_head!(),
            columns!(),
            ", h.head from h left join lateral (
                 select one.* from unnest($3::text[]) as wanted(category)
                  cross join lateral (
                     select * from es_event f where f.category = wanted.category
                        and f.tenant_id = $4 and f.position > $1 and f.position <= $5
                      order by f.position limit $2) one
                  order by one.position limit $2
             ) e on true"
        );
        let mut wanted = filter.aggregates.clone();
        if wanted.is_empty() && filter.company.is_some() {
            wanted = AGGREGATES.iter().map(|&name| name.to_owned()).collect();
        }
        wanted.sort_unstable();
        wanted.dedup();
        let found = self
            .readers
            .rows(|| {
                let statement = match (filter.company, wanted.is_empty()) {
                    (Some(_), _) => of_tenant,
                    (None, true) => everything,
                    (None, false) => filtered,
                };
                let query =
                    sqlx::query(statement).bind(rows::place(after.0)).bind(rows::limit(limit));
                match (filter.company, wanted.is_empty()) {
                    (Some(company), _) => {
                        let end = rows::place(after.0.saturating_add(WINDOW));
                        query.bind(wanted.clone()).bind(company.0).bind(end)
                    }
                    (None, true) => query,
                    (None, false) => query.bind(wanted.clone()),
                }
            })
            .await?;
        let (events, head) = decoded(page(&found))?;
        self.wake.seen(head);
        let next = match events.last() {
            Some(last) if events.len() == limit => last.position,
            _ if limit == 0 => after,
            _ if filter.company.is_some() => {
                head.min(Position(after.0.saturating_add(WINDOW))).max(after)
            }
            _ => head.max(after),
        };
        Ok(LogPage { events, next, head })
    }

    async fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        let found = self
            .readers
            .rows(|| {
                sqlx::query(
                    "select version from es_stream
                      where tenant_id = $1 and category = $2 and stream_id = $3",
                )
                .bind(stream.company.0)
                .bind(stream.aggregate.as_ref())
                .bind(stream.id)
            })
            .await?;
        decoded(found.first().map_or(Ok(0), |row| rows::number(row, 0))).map(Version)
    }

    async fn holder(
        &self,
        scope: CompanyId,
        kind: &'static str,
        key: &[u8],
    ) -> Result<Option<StreamId>, ReadError> {
        let found = self
            .readers
            .rows(|| {
                sqlx::query(
                    "select tenant_id, category, stream_id from es_claim
                      where scope_id = $1 and kind = $2 and key = $3",
                )
                .bind(scope.0)
                .bind(kind)
                .bind(key.to_vec())
            })
            .await?;
        decoded(found.first().map(rows::stream).transpose())
    }

    async fn stream_versions(
        &self,
        filter: &Filter,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, Version)>, ReadError> {
        // No stream is before this one: every aggregate has a longer name.
        let first = StreamId::new(CompanyId::NONE, "", Uuid::nil());
        let after = after.unwrap_or(&first);
        let found = self
            .readers
            .rows(|| {
                sqlx::query(
                    "select tenant_id, category, stream_id, version from es_stream
                      where (tenant_id, category, stream_id) > ($1, $2, $3)
                        and (cardinality($4::text[]) = 0 or category = any($4))
                        and ($6::uuid is null or tenant_id = $6)
                      order by tenant_id, category, stream_id limit $5",
                )
                .bind(after.company.0)
                .bind(after.aggregate.as_ref())
                .bind(after.id)
                .bind(&filter.aggregates)
                .bind(rows::limit(limit))
                .bind(filter.company.map(|company| company.0))
            })
            .await?;
        decoded(found.iter().map(rows::stream_version).collect())
    }

    async fn head(&self) -> Result<Position, ReadError> {
        let found = self.readers.rows(|| sqlx::query("select es_head()")).await?;
        let head =
            decoded(found.first().map_or(Ok(0), |row| rows::number(row, 0))).map(Position)?;
        self.wake.seen(head);
        Ok(head)
    }

    async fn position_at(&self, at: DateTime<Utc>) -> Result<(Position, bool), ReadError> {
        let found = self
            .readers
            .rows(|| sqlx::query("select reached, final from es_position_at($1)").bind(at))
            .await?;
        let row = found.first().ok_or(ReadError)?;
        decoded(rows::number(row, 0).and_then(|found| Ok((Position(found), row.try_get(1)?))))
    }

    async fn wait_past(&self, position: Position) {
        self.wake.wait_past(position).await;
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { dense_positions: true, claims: true, guards: true, in_database: true }
    }
}

/// The events of a page and the head, which stands in every row, also in the only one of an empty
/// page.
fn page(found: &[PgRow]) -> sqlx::Result<(Vec<StoredEvent>, Position)> {
    let mut head = 0;
    let mut events = Vec::with_capacity(found.len());
    for row in found {
        head = rows::number(row, rows::N_COLUMNS)?;
        if row.try_get::<Option<i64>, _>(0)?.is_some() {
            events.push(rows::event(row)?);
        }
    }
    // They come in order, but a join does not promise it; the server, told to see to it, would write the
    // whole page to a file of its own to sort it once more.
    events.sort_by_key(|event| event.position);
    Ok((events, Position(head)))
}
