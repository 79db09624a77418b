//! How far each read model is behind the log, from stream versions, which are exact.

use chrono::{DateTime, Utc};
use sqlx::Row as _;

use crate::lag_elsewhere;
use crate::model::{MODELS, Model};
use crate::query::{QueryError, Reads};

/// How far one read model is behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Lag {
    /// The model's name.
    pub model: &'static str,
    /// Its generation.
    pub version: u32,
    /// Events of the log that it has not applied and is going to.
    pub n_events: u64,
    /// Age of the oldest of them, in seconds; 0 where there is none.
    pub seconds: f64,
    /// Streams that are parked because of an event that cannot be dealt with.
    pub n_parked: u64,
}

/// The lag of every read model, also as the gauges `colloquy_projection_lag_events`,
/// `colloquy_projection_lag_seconds` and `colloquy_projection_parked_streams`.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn lag(reads: &Reads) -> Result<Vec<Lag>, QueryError> {
    let mut lags = vec![];
    for model in MODELS {
        let lag = of_model(reads, model).await?;
        let set = |name: &'static str, value: f64| {
            metrics::gauge!(name, "model" => model.name).set(value);
        };
        set("colloquy_projection_lag_events", to_float(lag.n_events));
        set("colloquy_projection_lag_seconds", lag.seconds);
        set("colloquy_projection_parked_streams", to_float(lag.n_parked));
        lags.push(lag);
    }
    Ok(lags)
}

async fn of_model(reads: &Reads, model: &Model) -> Result<Lag, QueryError> {
    if !reads.store.capabilities().in_database {
        let mut conn = reads.pool.acquire().await?;
        let consumer = model.consumer_name();
        let missing = lag_elsewhere::missing(reads, &mut conn, &consumer, model.aggregates).await?;
        return Ok(Lag {
            model: model.name,
            version: model.version,
            n_events: missing.n_events,
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
                    where p.consumer = $1 and p.company_id = s.tenant_id
                      and p.category = s.category and p.stream_id = s.stream_id))
         select coalesce(sum(n), 0)::bigint as n_events,
                (select min(e.recorded_at) from behind b
                   join es_event e on e.tenant_id = b.tenant_id and e.category = b.category
                    and e.stream_id = b.stream_id and e.version = b.applied + 1) as oldest,
                (select count(*) from consumer_parked p where p.consumer = $1) as n_parked
           from behind",
    )
    .bind(model.consumer_name())
    .bind(model.aggregates)
    .fetch_one(&reads.pool)
    .await?;
    let number = |column: &str| -> sqlx::Result<u64> {
        Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default())
    };
    let oldest: Option<DateTime<Utc>> = row.try_get("oldest")?;
    Ok(Lag {
        model: model.name,
        version: model.version,
        n_events: number("n_events")?,
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
