//! Proves that a live table equals what the log says: folds the log afresh into a scratch table and
//! compares row for row.

use std::collections::{BTreeMap, HashMap};

use eventlog::applied::{self, Applied};
use eventlog::codec::{Codec, Recorded};
use eventlog::envelope::{Position, StoredEvent, StreamId};
use eventlog::store::{EventStore, Filter};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row as _};

use crate::generation::{self, Generation};
use crate::model::Model;
use crate::projector::Projector;
use crate::query::reason;
use crate::rows;

/// Events read from the log at once.
const PAGE: usize = 2000;

/// What comparing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Rows of the live table.
    pub n_live: u64,
    /// Rows of the rebuilt one.
    pub n_rebuilt: u64,
    /// Rows that only one of them has, or has so.
    pub n_different: u64,
    /// Digest of the live rows, whatever their order.
    pub live_digest: String,
    /// Digest of the rebuilt rows.
    pub rebuilt_digest: String,
}

impl Comparison {
    /// Whether the tables hold the same rows.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.n_different == 0
            && self.n_live == self.n_rebuilt
            && self.live_digest == self.rebuilt_digest
    }
}

/// Why the comparison could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The log, the vault or the database cannot be reached.
    #[error("the log or the read models cannot be reached")]
    Unavailable,
    /// There is nothing to compare: the model is new to this program and not filled yet.
    #[error("the read model is not filled yet")]
    NotFilled,
    /// An event that the live table has applied cannot be read by this program.
    #[error("version {version} of {stream} cannot be read: {reason}")]
    Unreadable {
        /// Its stream.
        stream: StreamId,
        /// Its version.
        version: u64,
        /// What kind of fault, without content.
        reason: String,
    },
}

impl From<sqlx::Error> for VerifyError {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(reason = %reason(&error), "a comparison's database cannot be used");
        Self::Unavailable
    }
}

/// Folds what the live table has applied afresh, and compares. Both are read in one snapshot, so
/// that consumers may go on meanwhile; nothing is left behind.
///
/// # Errors
/// See [`VerifyError`].
pub async fn rebuild_equals_live<P: Projector>(
    pool: &PgPool,
    store: &dyn EventStore,
    codec: &Codec,
) -> Result<Comparison, VerifyError> {
    let scratch = format!("pg_temp.rebuild_{}", P::TABLE);
    let mut tx = pool.begin().await?;
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *tx).await?;
    let live = generation::live(&mut tx, &Model::of::<P>()).await;
    let live = live.map_err(|_| VerifyError::Unavailable)?.ok_or(VerifyError::NotFilled)?;
    let statement = format!(
        "create temporary table rebuild_{table} (like {table} including all) on commit drop",
        table = P::TABLE
    );
    sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;

    let filter = Filter::of_aggregates(P::AGGREGATES.iter().copied());
    let mut after = Position(0);
    loop {
        let page = store.read_log(after, &filter, PAGE).await;
        let page = page.map_err(|_| VerifyError::Unavailable)?;
        if page.next == after {
            break;
        }
        after = page.next;
        let work = applied_part(&mut tx, &live.consumer, codec, page.events).await?;
        let work: Vec<_> = work.iter().map(|(s, events)| (s, events.as_slice())).collect();
        rows::project::<P>(&mut tx, &scratch, &work).await?;
    }
    let comparison = compare(&mut tx, &live.table, &scratch).await?;
    tx.rollback().await?;
    Ok(comparison)
}

/// Those of these events that the live table has applied, by stream.
async fn applied_part(
    conn: &mut PgConnection,
    consumer: &str,
    codec: &Codec,
    events: Vec<StoredEvent>,
) -> Result<Vec<(StreamId, Vec<Recorded>)>, VerifyError> {
    let streams: Vec<StreamId> = events
        .iter()
        .map(|event| (event.stream.clone(), ()))
        .collect::<BTreeMap<_, _>>()
        .into_keys()
        .collect();
    let applied: HashMap<StreamId, Applied> = applied::load(conn, consumer, &streams).await?;
    let is_applied = |event: &StoredEvent| {
        applied.get(&event.stream).is_some_and(|applied| {
            event.version <= applied.version && !applied.skipped.contains(&event.version)
        })
    };
    let events = events.into_iter().filter(is_applied).collect();
    let opened = codec.open_each(events).await.map_err(|_| VerifyError::Unavailable)?;
    let mut work: BTreeMap<StreamId, Vec<Recorded>> = BTreeMap::new();
    for result in opened {
        let recorded = result.map_err(|(stored, error)| VerifyError::Unreadable {
            stream: stored.stream,
            version: stored.version.0,
            reason: error.to_string(),
        })?;
        work.entry(recorded.stored.stream.clone()).or_default().push(recorded);
    }
    Ok(work.into_iter().collect())
}

async fn compare(conn: &mut PgConnection, live: &str, rebuilt: &str) -> sqlx::Result<Comparison> {
    let totals = |table: &str| {
        format!(
            "(select count(*) as n,
                     coalesce(sum(hashtextextended(to_jsonb(t)::text, 0)::numeric), 0)::text as digest
                from {table} t)"
        )
    };
    let statement = format!(
        "with live as (select to_jsonb(t) as row from {live} t),
              rebuilt as (select to_jsonb(t) as row from {rebuilt} t)
         select l.n as n_live, r.n as n_rebuilt, l.digest as live_digest, r.digest as rebuilt_digest,
                (select count(*) from (select row from live except all select row from rebuilt) x)
              + (select count(*) from (select row from rebuilt except all select row from live) y)
                as n_different
           from {} l, {} r",
        totals(live),
        totals(rebuilt)
    );
    comparison(&sqlx::query(AssertSqlSafe(statement)).fetch_one(conn).await?)
}

fn comparison(row: &PgRow) -> sqlx::Result<Comparison> {
    let number = |column: &str| -> sqlx::Result<u64> {
        Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default())
    };
    Ok(Comparison {
        n_live: number("n_live")?,
        n_rebuilt: number("n_rebuilt")?,
        n_different: number("n_different")?,
        live_digest: row.try_get("live_digest")?,
        rebuilt_digest: row.try_get("rebuilt_digest")?,
    })
}

/// Compares two generations as they stand, streams left out that only one of them has applied so far;
/// neither is held up. `n_different` is counted only where their digests differ.
pub(crate) async fn compare_generations(
    pool: &PgPool,
    stream: &str,
    live: &Generation,
    rebuilt: &Generation,
) -> sqlx::Result<Comparison> {
    let mut tx = pool.begin().await?;
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *tx).await?;
    let unequal = format!(
        "with unequal as materialized (
            select company_id, stream_id
              from (select company_id, category, stream_id, version
                      from consumer_applied where consumer = $1) a
              full join
                   (select company_id, category, stream_id, version
                      from consumer_applied where consumer = $2) b
             using (company_id, category, stream_id)
             where coalesce(a.version, 0) <> coalesce(b.version, 0)),
         live as (
            select t::text as row from {} t where not exists (
                select from unequal u
                 where u.company_id = t.company_id and u.stream_id = t.\"{stream}\")),
         rebuilt as (
            select t::text as row from {} t where not exists (
                select from unequal u
                 where u.company_id = t.company_id and u.stream_id = t.\"{stream}\"))",
        live.table, rebuilt.table
    );
    let digests = "(select count(*) as n,
                           coalesce(sum(hashtextextended(row, 0)::numeric), 0)::text as digest";
    let statement = format!(
        "{unequal}
         select l.n as n_live, r.n as n_rebuilt, l.digest as live_digest,
                r.digest as rebuilt_digest, 0::bigint as n_different
           from {digests} from live) l, {digests} from rebuilt) r"
    );
    let ask = |statement| {
        sqlx::query(AssertSqlSafe(statement)).bind(&live.consumer).bind(&rebuilt.consumer)
    };
    let mut found = comparison(&ask(statement).fetch_one(&mut *tx).await?)?;
    if !found.is_equal() {
        let statement = format!(
            "{unequal}
             select (select count(*) from
                        (select row from live except all select row from rebuilt) x)
                  + (select count(*) from
                        (select row from rebuilt except all select row from live) y)"
        );
        let row = ask(statement).fetch_one(&mut *tx).await?;
        found.n_different = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default();
    }
    tx.rollback().await?;
    Ok(found)
}
