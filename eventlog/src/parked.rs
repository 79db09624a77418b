//! What people do about parked streams: look, try again, or leave an event out with a reason. What is
//! kept names stream, version and kind of fault, never content.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use domain::ids::CompanyId;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::applied::{family, stream_of, to_version};
use crate::envelope::{StreamId, Version};

/// Most characters of a reason.
pub const MAX_REASON_CHARS: usize = 500;

/// Where a stream waits. Printed as `interviews.v1/<company>/interview/<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The consumer, such as `interviews.v1` or `reactor.conductor`.
    pub consumer: String,
    /// The stream.
    pub stream: StreamId,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.consumer, self.stream)
    }
}

/// A text that names no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a parked stream is named <consumer>/<company>/<aggregate>/<id>")]
pub struct PlaceInvalid;

impl FromStr for Place {
    type Err = PlaceInvalid;

    fn from_str(text: &str) -> Result<Self, PlaceInvalid> {
        let mut parts = text.split('/');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(PlaceInvalid);
        let (consumer, company, aggregate, id) = (part()?, part()?, part()?, part()?);
        let uuid = |text: &str| Uuid::try_parse(text).map_err(|_| PlaceInvalid);
        let company = CompanyId(uuid(company)?);
        let stream = StreamId { company, aggregate: aggregate.to_owned().into(), id: uuid(id)? };
        match parts.next() {
            None => Ok(Self { consumer: consumer.to_owned(), stream }),
            Some(_) => Err(PlaceInvalid),
        }
    }
}

/// A stream that waits in one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Where.
    pub place: Place,
    /// The version that could not be dealt with; it and all later ones wait.
    pub version: Version,
    /// What kind of fault.
    pub error: String,
    /// Since when it waits.
    pub parked_at: DateTime<Utc>,
    /// Who asked for another try, where one is due.
    pub retry_by: Option<String>,
}

/// Why nothing was decided about a stream.
#[derive(Debug, thiserror::Error)]
pub enum ParkedError {
    /// The consumer has not parked it, or at another event.
    #[error("the stream is not parked there")]
    NotParked,
    /// Leaving an event out needs a reason that can be read later.
    #[error("a reason has 1 to {MAX_REASON_CHARS} characters")]
    Reason,
    /// The database cannot be reached.
    #[error("the parked streams cannot be reached")]
    Unavailable(#[from] sqlx::Error),
}

const SELECT: &str =
    "select consumer, company_id, category, stream_id, version, error, parked_at, retry_by
   from consumer_parked";

/// Parked streams, longest first, at most `limit`.
///
/// # Errors
/// [`ParkedError::Unavailable`].
pub async fn list(conn: &mut PgConnection, limit: u32) -> Result<Vec<Parked>, ParkedError> {
    let statement = joined(SELECT, " order by parked_at, consumer, stream_id limit $1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(i64::from(limit));
    let rows = rows.fetch_all(conn).await?;
    Ok(rows.iter().map(parked).collect::<sqlx::Result<_>>()?)
}

/// One parked stream.
///
/// # Errors
/// [`ParkedError::NotParked`], [`ParkedError::Unavailable`].
pub async fn find(
    conn: &mut PgConnection,
    Place { consumer, stream }: &Place,
) -> Result<Parked, ParkedError> {
    let condition = " where consumer = $1 and company_id = $2 and category = $3 and stream_id = $4";
    let row = sqlx::query(sqlx::AssertSqlSafe(joined(SELECT, condition)))
        .bind(consumer)
        .bind(stream.company.0)
        .bind(stream.aggregate.as_ref())
        .bind(stream.id)
        .fetch_optional(conn)
        .await?;
    Ok(parked(&row.ok_or(ParkedError::NotParked)?)?)
}

/// Asks for another try. Running workers notice within about a second; what still cannot be dealt
/// with is parked again.
///
/// # Errors
/// [`ParkedError::NotParked`], [`ParkedError::Unavailable`].
pub async fn retry(
    conn: &mut PgConnection,
    Place { consumer, stream }: &Place,
    by: &str,
) -> Result<(), ParkedError> {
    let marked = sqlx::query(
        "update consumer_parked set retry_by = $5
          where consumer = $1 and company_id = $2 and category = $3 and stream_id = $4",
    )
    .bind(consumer)
    .bind(stream.company.0)
    .bind(stream.aggregate.as_ref())
    .bind(stream.id)
    .bind(by)
    .execute(conn)
    .await?;
    match marked.rows_affected() {
        0 => Err(ParkedError::NotParked),
        _ => Ok(()),
    }
}

/// Asks for another try of all that a consumer has parked; answers how many streams that are.
///
/// # Errors
/// [`ParkedError::Unavailable`].
pub async fn retry_all(
    conn: &mut PgConnection,
    consumer: &str,
    by: &str,
) -> Result<u64, ParkedError> {
    let marked = sqlx::query("update consumer_parked set retry_by = $2 where consumer = $1")
        .bind(consumer)
        .bind(by)
        .execute(conn)
        .await?;
    Ok(marked.rows_affected())
}

/// Leaves the event of this version out, at which a stream is parked, for good and in every
/// generation of the consumer, and lets the stream go on behind it. Answers what was parked. A stream
/// that is parked elsewhere by now is not what was looked at, so nothing is left out.
///
/// # Errors
/// See [`ParkedError`]; nothing was changed.
pub async fn skip(
    conn: &mut PgConnection,
    Place { consumer, stream }: &Place,
    version: Version,
    reason: &str,
    by: &str,
) -> Result<Parked, ParkedError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON_CHARS {
        return Err(ParkedError::Reason);
    }
    let skipped = sqlx::query(
        "with found as (
            select * from consumer_parked
             where consumer = $1 and company_id = $2 and category = $3 and stream_id = $4
               and version = $8 for update),
         skipped as (
            insert into consumer_skip
                   (family, company_id, category, stream_id, version, error, reason, skipped_by)
            select $5, company_id, category, stream_id, version, error, $6, $7 from found
            on conflict do nothing),
         retried as (
            update consumer_parked p set retry_by = $7 from found f
             where regexp_replace(p.consumer, '\\.v[0-9]+(\\.g[0-9]+)?$', '') = $5
               and p.company_id = f.company_id and p.category = f.category
               and p.stream_id = f.stream_id and p.version = f.version)
         select consumer, company_id, category, stream_id, version, error, parked_at, retry_by
           from found",
    )
    .bind(consumer)
    .bind(stream.company.0)
    .bind(stream.aggregate.as_ref())
    .bind(stream.id)
    .bind(family(consumer))
    .bind(reason)
    .bind(by)
    .bind(i64::try_from(version.0).unwrap_or(i64::MAX))
    .fetch_optional(conn)
    .await?;
    Ok(parked(&skipped.ok_or(ParkedError::NotParked)?)?)
}

fn joined(start: &str, end: &str) -> String {
    [start, end].concat()
}

fn parked(row: &sqlx::postgres::PgRow) -> sqlx::Result<Parked> {
    Ok(Parked {
        place: Place { consumer: row.try_get("consumer")?, stream: stream_of(row)? },
        version: to_version(row.try_get("version")?),
        error: row.try_get("error")?,
        parked_at: row.try_get("parked_at")?,
        retry_by: row.try_get("retry_by")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_printed_and_read_back() {
        let id = Uuid::from_u128(7);
        let text = format!("reactor.conductor/{id}/interview/{id}");
        assert_eq!(text.parse::<Place>().expect("a place").to_string(), text);
        for bad in ["", "a", "a/b/c/d", &format!("/{id}/interview/{id}"), &format!("{text}/x")] {
            assert_eq!(bad.parse::<Place>(), Err(PlaceInvalid), "{bad}");
        }
    }
}
