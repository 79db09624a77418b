//! Counts for HR, counted from rows: an entity counts once, as it stands.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{DateTime, Utc};
use domain::application::Status as ApplicationStatus;
use domain::interview::Status as InterviewStatus;
use domain::values::Spelled;
use sqlx::{PgConnection, Row as _};

use crate::applications::Applications;
use crate::candidates::{Candidates, Status as CandidateStatus};
use crate::interviews::Interviews;
use crate::jobs::{Jobs, Status as JobStatus};
use crate::projector::Projector;
use crate::query::{QueryError, Reads, Sql, View};
use crate::scope;
use crate::verdicts::{Status as VerdictStatus, Verdicts};

/// Counts of what the view shows. Every status stands in its map, with 0 where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Interviews by status.
    pub interviews: BTreeMap<InterviewStatus, u64>,
    /// Applications by status.
    pub applications: BTreeMap<ApplicationStatus, u64>,
    /// Verdicts by status.
    pub verdicts: BTreeMap<VerdictStatus, u64>,
    /// Jobs by status.
    pub jobs: BTreeMap<JobStatus, u64>,
    /// Candidates by status.
    pub candidates: BTreeMap<CandidateStatus, u64>,
    /// What belongs to the day asked for.
    pub today: Today,
}

/// Counts of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Today {
    /// Interviews that are to begin on it, cancelled ones left out.
    pub n_scheduled: u64,
    /// Interviews that began on it.
    pub n_started: u64,
    /// Interviews completed on it.
    pub n_completed: u64,
    /// Verdicts signed on it.
    pub n_signed: u64,
}

/// Counts what the view shows; `today` is the day in the company's own time zone.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn counts(
    reads: &Reads,
    view: &View,
    today: Range<DateTime<Utc>>,
) -> Result<Counts, QueryError> {
    let conn = &mut *reads.of(view.company).await?;
    Ok(Counts {
        interviews: by_status(conn, view, Interviews::VIEW, scope::rounds).await?,
        applications: by_status(conn, view, Applications::VIEW, scope::applications).await?,
        verdicts: by_status(conn, view, Verdicts::VIEW, scope::rounds).await?,
        jobs: by_status(conn, view, Jobs::VIEW, scope::jobs).await?,
        candidates: by_status(conn, view, Candidates::VIEW, scope::candidates).await?,
        today: of_day(conn, view, today).await?,
    })
}

async fn by_status<S: Spelled + Ord>(
    conn: &mut PgConnection,
    view: &View,
    table: &'static str,
    restrict: fn(&mut Sql, &View, &str),
) -> Result<BTreeMap<S, u64>, QueryError> {
    let mut sql = Sql::new("select t.status, count(*) as n from ");
    sql.push(table).push(" t where ");
    restrict(&mut sql, view, "t");
    sql.push(" group by t.status");
    let mut counts: BTreeMap<S, u64> = S::ALL.iter().map(|status| (*status, 0)).collect();
    for row in sql.build().fetch_all(&mut *conn).await? {
        let n: i64 = row.try_get("n")?;
        if let Some(status) = S::parse(row.try_get("status")?) {
            counts.insert(status, u64::try_from(n).unwrap_or_default());
        }
    }
    Ok(counts)
}

async fn of_day(
    conn: &mut PgConnection,
    view: &View,
    day: Range<DateTime<Utc>>,
) -> Result<Today, QueryError> {
    let within = |sql: &mut Sql, column: &'static str| {
        sql.push(column).push(" >= ").push_bind(day.start);
        sql.push(" and ").push(column).push(" < ").push_bind(day.end);
    };
    let mut sql = Sql::new("select count(*) filter (where t.status <> 'CANCELLED' and ");
    within(&mut sql, "t.scheduled_at");
    sql.push(") as n_scheduled, count(*) filter (where ");
    within(&mut sql, "t.started_at");
    sql.push(") as n_started, count(*) filter (where t.status = 'COMPLETED' and ");
    within(&mut sql, "t.ended_at");
    sql.push(") as n_completed from ").push(Interviews::VIEW).push(" t where ");
    scope::rounds(&mut sql, view, "t");
    let row = sql.build().fetch_one(&mut *conn).await?;
    let number = |column: &str| -> sqlx::Result<u64> {
        Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default())
    };

    let mut sql = Sql::new("select count(*) from ");
    sql.push(Verdicts::VIEW).push(" t where ");
    scope::rounds(&mut sql, view, "t");
    sql.push(" and t.status = 'SIGNED' and ");
    within(&mut sql, "(t.signature ->> 'at')::timestamptz");
    let n_signed: i64 = sql.build_query_scalar().fetch_one(conn).await?;
    Ok(Today {
        n_scheduled: number("n_scheduled")?,
        n_started: number("n_started")?,
        n_completed: number("n_completed")?,
        n_signed: u64::try_from(n_signed).unwrap_or_default(),
    })
}
