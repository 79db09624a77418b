//! Which version of each stream a consumer has applied, in the tables that stand beside its work.
//! Everything here runs in the caller's transaction.

use std::collections::HashMap;

use domain::ids::CompanyId;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::envelope::{StreamId, Version};
use crate::feed::Checkpoint;

/// How far a consumer has come in one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The last version whose effect is in the consumer's tables.
    pub version: Version,
    /// Whether the stream is parked because of a poison event, and nobody asked to try it again.
    pub parked: bool,
    /// Versions of the stream that a person has decided to leave out, applied or not.
    pub skipped: Vec<Version>,
}

/// One stream's move from one applied version to another.
#[derive(Clone, Debug)]
pub struct Move {
    /// The stream.
    pub stream: StreamId,
    /// What must have been applied.
    pub from: Version,
    /// What is applied now.
    pub to: Version,
}

/// A consumer's name without version and generation: `jobs` of `jobs.v2.g7`. What a person decides
/// about an event holds for all of them.
#[must_use]
pub fn family(consumer: &str) -> &str {
    let without = |text: &str, mark: &str| match text.rsplit_once(mark) {
        Some((start, number)) if number.parse::<u32>().is_ok() => start.len(),
        _ => text.len(),
    };
    let consumer = &consumer[..without(consumer, ".g")];
    &consumer[..without(consumer, ".v")]
}

type Columns = (Vec<Uuid>, Vec<String>, Vec<Uuid>);

fn columns<'a>(streams: impl Iterator<Item = &'a StreamId>) -> Columns {
    let mut columns = Columns::default();
    for stream in streams {
        columns.0.push(stream.company.0);
        columns.1.push(stream.aggregate.clone().into_owned());
        columns.2.push(stream.id);
    }
    columns
}

/// How far the consumer has come in these streams; what is absent is at version 0.
///
/// # Errors
/// Those of the database.
pub async fn load(
    conn: &mut PgConnection,
    consumer: &str,
    streams: &[StreamId],
) -> sqlx::Result<HashMap<StreamId, Applied>> {
    let (companies, aggregates, ids) = columns(streams.iter());
    // A stream of which nothing is applied may have skipped versions all the same: of an older generation.
    let rows = sqlx::query(
        "select u.company_id, u.category, u.stream_id, coalesce(a.version, 0) as version,
                p.consumer is not null and p.retry_by is null as parked, s.skipped
           from unnest($2::uuid[], $3::text[], $4::uuid[]) as u(company_id, category, stream_id)
           left join consumer_applied a
             on a.consumer = $1 and a.company_id = u.company_id
            and a.category = u.category and a.stream_id = u.stream_id
           left join consumer_parked p
             on p.consumer = $1 and p.company_id = u.company_id
            and p.category = u.category and p.stream_id = u.stream_id
          cross join lateral (
                select array(select s.version from consumer_skip s
                              where s.family = $5 and s.company_id = u.company_id
                                and s.category = u.category and s.stream_id = u.stream_id) as skipped) s
          where a.consumer is not null or cardinality(s.skipped) > 0",
    )
    .bind(consumer)
    .bind(companies)
    .bind(aggregates)
    .bind(ids)
    .bind(family(consumer))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let version = to_version(row.try_get("version")?);
            let skipped: Vec<i64> = row.try_get("skipped")?;
            let skipped = skipped.into_iter().map(to_version).collect();
            let applied = Applied { version, parked: row.try_get("parked")?, skipped };
            Ok((stream_of(row)?, applied))
        })
        .collect()
}

pub(crate) fn to_version(version: i64) -> Version {
    Version(u64::try_from(version).unwrap_or_default())
}

fn from_version(version: Version) -> i64 {
    i64::try_from(version.0).unwrap_or(i64::MAX)
}

/// Reads the columns `company_id`, `category` and `stream_id` of a row.
///
/// # Errors
/// Those of the database.
pub fn stream_of(row: &sqlx::postgres::PgRow) -> sqlx::Result<StreamId> {
    let aggregate: String = row.try_get("category")?;
    let id = row.try_get("stream_id")?;
    Ok(StreamId { company: CompanyId(row.try_get("company_id")?), aggregate: aggregate.into(), id })
}

/// Moves applied versions by compare-and-set. `false` means that another worker moved one of them:
/// the caller must roll back, because its work rests on what is no longer so.
///
/// # Errors
/// Those of the database.
pub async fn advance(
    conn: &mut PgConnection,
    consumer: &str,
    moves: &[Move],
) -> sqlx::Result<bool> {
    let (companies, aggregates, ids) = columns(moves.iter().map(|m| &m.stream));
    let from: Vec<i64> = moves.iter().map(|m| from_version(m.from)).collect();
    let to: Vec<i64> = moves.iter().map(|m| from_version(m.to)).collect();
    let moved = sqlx::query(
        "insert into consumer_applied as a (consumer, company_id, category, stream_id, version, expected)
         select $1, u.company_id, u.category, u.stream_id, u.to_version, u.from_version
           from unnest($2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[])
             as u(company_id, category, stream_id, from_version, to_version)
          order by u.company_id, u.category, u.stream_id
         on conflict (consumer, company_id, category, stream_id) do update
            set version = excluded.version, expected = excluded.expected
          where a.version = excluded.expected",
    )
    .bind(consumer)
    .bind(companies)
    .bind(aggregates)
    .bind(ids)
    .bind(from)
    .bind(to)
    .execute(&mut *conn)
    .await?
    .rows_affected();
    Ok(moved == moves.len() as u64)
}

/// Remembers where to go on in each source.
///
/// # Errors
/// Those of the database.
pub async fn save_checkpoints(
    conn: &mut PgConnection,
    consumer: &str,
    checkpoints: &[Checkpoint],
) -> sqlx::Result<()> {
    let sources: Vec<&str> = checkpoints.iter().map(|c| c.source.as_str()).collect();
    let partitions: Vec<i32> = checkpoints.iter().map(|c| c.partition).collect();
    let next: Vec<i64> =
        checkpoints.iter().map(|c| i64::try_from(c.next).unwrap_or(i64::MAX)).collect();
    sqlx::query(
        "insert into consumer_checkpoint as c (consumer, source, partition, next)
         select $1, u.source, u.partition, u.next
           from unnest($2::text[], $3::int[], $4::bigint[]) as u(source, partition, next)
          order by u.source, u.partition
         on conflict (consumer, source, partition) do update set next = excluded.next",
    )
    .bind(consumer)
    .bind(sources)
    .bind(partitions)
    .bind(next)
    .execute(conn)
    .await
    .map(drop)
}

/// Where to go on in one source.
///
/// # Errors
/// Those of the database.
pub async fn load_checkpoint(
    conn: &mut PgConnection,
    consumer: &str,
    source: &str,
    partition: i32,
) -> sqlx::Result<Option<u64>> {
    let next: Option<i64> = sqlx::query_scalar(
        "select next from consumer_checkpoint where consumer = $1 and source = $2 and partition = $3",
    )
    .bind(consumer)
    .bind(source)
    .bind(partition)
    .fetch_optional(conn)
    .await?;
    Ok(next.and_then(|next| u64::try_from(next).ok()))
}

/// Parked streams of a consumer that are to be tried again.
///
/// # Errors
/// Those of the database.
pub async fn retries(conn: &mut PgConnection, consumer: &str) -> sqlx::Result<Vec<StreamId>> {
    let rows = sqlx::query(
        "select company_id, category, stream_id from consumer_parked
          where consumer = $1 and retry_by is not null",
    )
    .bind(consumer)
    .fetch_all(conn)
    .await?;
    rows.iter().map(stream_of).collect()
}

/// A stream was tried again: it is not parked any more, unless it has been parked anew meanwhile.
///
/// # Errors
/// Those of the database.
pub async fn retried(
    conn: &mut PgConnection,
    consumer: &str,
    stream: &StreamId,
) -> sqlx::Result<()> {
    sqlx::query(
        "delete from consumer_parked
          where consumer = $1 and company_id = $2 and category = $3 and stream_id = $4
            and retry_by is not null",
    )
    .bind(consumer)
    .bind(stream.company.0)
    .bind(stream.aggregate.as_ref())
    .bind(stream.id)
    .execute(conn)
    .await
    .map(drop)
}

/// Parks a stream: its later events wait in the log until a person has looked.
///
/// # Errors
/// Those of the database.
pub async fn park(
    conn: &mut PgConnection,
    consumer: &str,
    stream: &StreamId,
    version: Version,
    error: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "with known as (
            insert into consumer_applied (consumer, company_id, category, stream_id, version, expected)
            values ($1, $2, $3, $4, 0, 0) on conflict do nothing)
         insert into consumer_parked (consumer, company_id, category, stream_id, version, error)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (consumer, company_id, category, stream_id)
         do update set version = excluded.version, error = excluded.error,
                       parked_at = now(), retry_by = null",
    )
    .bind(consumer)
    .bind(stream.company.0)
    .bind(stream.aggregate.as_ref())
    .bind(stream.id)
    .bind(from_version(version))
    .bind(error)
    .execute(conn)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_consumer_whatever_its_version_and_generation() {
        for name in ["jobs", "jobs.v1", "jobs.v12.g7"] {
            assert_eq!(family(name), "jobs");
        }
        assert_eq!(family("reactor.verdict_opener"), "reactor.verdict_opener");
        assert_eq!(family("reactor.vault.g"), "reactor.vault.g");
    }
}
