//! How far each read model is behind the log, from stream versions, which are exact.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row as _};

use crate::generation;
use crate::lag_elsewhere;
use crate::model::{MODELS, Model};
use crate::query::{QueryError, Reads};

/// How far one read model is behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Lag {
    /// The model's name.
    pub model: &'static str,
    /// The version of its fold.
    pub version: u32,
    /// Events of the log that it has not applied and is going to.
    pub n_events: u64,
    /// Positions of the log from the oldest of them to the head; 0 where there is none.
    pub n_positions: u64,
    /// Age of the oldest of them, in seconds; 0 where there is none.
    pub seconds: f64,
    /// Streams that are parked because of an event that cannot be dealt with.
    pub n_parked: u64,
}

/// How old an answer of [`recent`] may be: measuring compares all streams.
const RECENT: Duration = Duration::from_secs(1);

/// The lag of every read model as it was at most a second ago, however many ask for it.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn recent(reads: &Reads) -> Result<Vec<Lag>, QueryError> {
    reads.recent_lags.get(RECENT, lag(reads)).await
}

/// Whether every read model can be asked: a model that is new to this program is filled first.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn all_are_filled(reads: &Reads) -> Result<bool, QueryError> {
    Ok(generation::missing(&reads.platform).await?.is_empty())
}

/// The lag of every read model, also as the gauges `colloquy_projection_lag_events`,
/// `colloquy_projection_lag_positions`, `colloquy_projection_lag_seconds` and
/// `colloquy_projection_parked_streams`.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn lag(reads: &Reads) -> Result<Vec<Lag>, QueryError> {
    let mut conn = reads.platform.acquire().await?;
    let consumers = generation::live_consumers(&mut conn, MODELS).await?;
    let mut lags = vec![];
    for model in MODELS {
        // A model that is not filled yet is behind by all there is: no consumer has this name.
        let consumer = consumers.get(model.name).map_or("", String::as_str);
        let lag = of_model(reads, &mut conn, model, consumer).await?;
        let set = |name: &'static str, value: f64| {
            metrics::gauge!(name, "model" => model.name).set(value);
        };
        set("colloquy_projection_lag_events", to_float(lag.n_events));
        set("colloquy_projection_lag_positions", to_float(lag.n_positions));
        set("colloquy_projection_lag_seconds", lag.seconds);
        set("colloquy_projection_parked_streams", to_float(lag.n_parked));
        lags.push(lag);
    }
    Ok(lags)
}

async fn of_model(
    reads: &Reads,
    conn: &mut PgConnection,
    model: &Model,
    consumer: &str,
) -> Result<Lag, QueryError> {
    if !reads.store.capabilities().in_database {
        let missing = lag_elsewhere::missing(reads, conn, consumer, model.aggregates).await?;
        return Ok(Lag {
            model: model.name,
            version: model.version,
            n_events: missing.n_events,
            n_positions: missing.n_positions,
            seconds: age(reads, missing.oldest),
            n_parked: missing.n_parked,
        });
    }
    let row = sqlx::query(
        "with behind as materialized (
            select s.tenant_id, s.category, s.stream_id, coalesce(a.version, 0) as applied,
                   s.version - coalesce(a.version, 0) as n
              from es_stream s
              left join consumer_applied a
                on a.consumer = $1 and a.company_id = s.tenant_id
               and a.category = s.category and a.stream_id = s.stream_id
             where s.category = any($2) and s.version > coalesce(a.version, 0)
               and not exists (
                   select from consumer_parked p
                    where p.consumer = $1 and p.company_id = s.tenant_id and p.retry_by is null
                      and p.category = s.category and p.stream_id = s.stream_id)),
         oldest as materialized (
            select min(e.position) as position, min(e.recorded_at) as recorded_at from behind b
              join es_event e on e.tenant_id = b.tenant_id and e.category = b.category
               and e.stream_id = b.stream_id and e.version = b.applied + 1)
         select coalesce(sum(n), 0)::bigint as n_events,
                (select coalesce(es_head() - position + 1, 0) from oldest) as n_positions,
                (select recorded_at from oldest) as oldest,
                (select count(*) from consumer_parked p
                  where p.consumer = $1 and p.retry_by is null) as n_parked
           from behind",
    )
    .bind(consumer)
    .bind(model.aggregates)
    .fetch_one(conn)
    .await?;
    let number = |column: &str| -> sqlx::Result<u64> {
        Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default())
    };
    let oldest: Option<DateTime<Utc>> = row.try_get("oldest")?;
    Ok(Lag {
        model: model.name,
        version: model.version,
        n_events: number("n_events")?,
        n_positions: number("n_positions")?,
        seconds: age(reads, oldest),
        n_parked: number("n_parked")?,
    })
}

/// In seconds.
fn age(reads: &Reads, oldest: Option<DateTime<Utc>>) -> f64 {
    let millis = oldest.map_or(0, |oldest| (reads.clock.now() - oldest).num_milliseconds());
    to_float(u64::try_from(millis).unwrap_or_default()) / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a gauge need not be exact beyond 2^53")]
fn to_float(number: u64) -> f64 {
    number as f64
}
