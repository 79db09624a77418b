//! Generations of read models: which there are, which is live, which are followed.
//!
//! A generation is a table with its own applied versions and checkpoints. Programs follow every
//! generation of their own version that was filled once, so that the way back is current, and queries
//! find the live one through the view [`Projector::VIEW`](crate::projector::Projector::VIEW).

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};

use crate::model::{MODELS, Model};
use crate::query::QueryError;

/// One generation of a read model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The model's name.
    pub model: String,
    /// Its number, higher than those of older ones.
    pub number: i32,
    /// The version of the fold that fills it.
    pub version: u32,
    /// Where its rows are.
    pub table: String,
    /// The name under which it keeps applied versions, checkpoints and parked streams.
    pub consumer: String,
    /// Whether it was filled, so that projectors follow it.
    pub is_filled: bool,
    /// Whether queries find it.
    pub is_live: bool,
    /// Whether they ever did.
    pub was_live: bool,
}

fn read(row: &PgRow) -> sqlx::Result<Generation> {
    Ok(Generation {
        model: row.try_get("model")?,
        number: row.try_get("generation")?,
        version: u32::try_from(row.try_get::<i32, _>("version")?).unwrap_or_default(),
        table: row.try_get("table_name")?,
        consumer: row.try_get("consumer")?,
        is_filled: row.try_get("filled")?,
        is_live: row.try_get("live")?,
        was_live: row.try_get("was_live")?,
    })
}

/// Every generation of every model, those that went live last at first.
async fn all(conn: &mut PgConnection) -> sqlx::Result<Vec<Generation>> {
    let rows = sqlx::query(
        "select model, generation, version, table_name, consumer, filled, live,
                went_live_at is not null as was_live
           from read_model_generation order by model, went_live_at desc nulls last, generation desc",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Every generation of a model, whatever its version, those that went live last at first.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn of_model(
    conn: &mut PgConnection,
    model: &Model,
) -> Result<Vec<Generation>, QueryError> {
    let mut generations = all(conn).await?;
    generations.retain(|generation| generation.model == model.name);
    Ok(generations)
}

/// The generation that this program's queries find; `None` until the first of its version is live.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn live(
    conn: &mut PgConnection,
    model: &Model,
) -> Result<Option<Generation>, QueryError> {
    let generations = of_model(conn, model).await?;
    Ok(generations.into_iter().find(|g| g.is_live && g.version == model.version))
}

/// The names under which the live generations of these models keep their applied versions.
pub(crate) async fn live_consumers(
    conn: &mut PgConnection,
    models: &[Model],
) -> sqlx::Result<HashMap<&'static str, String>> {
    let generations = all(conn).await?;
    let of = |model: &Model| {
        let live =
            |g: &&Generation| g.is_live && g.model == model.name && g.version == model.version;
        Some((model.name, generations.iter().find(live)?.consumer.clone()))
    };
    Ok(models.iter().filter_map(of).collect())
}

/// What this program's projectors follow.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn followed(pool: &PgPool) -> Result<Vec<(Model, Generation)>, QueryError> {
    let generations = all(&mut *pool.acquire().await?).await?;
    let of = |generation: Generation| {
        let fits = |m: &&Model| m.name == generation.model && m.version == generation.version;
        let model = MODELS.iter().find(fits).filter(|_| generation.is_filled)?;
        Some((*model, generation))
    };
    Ok(generations.into_iter().filter_map(of).collect())
}

/// Models that this program cannot show yet, because no generation of their version is live: they
/// are new or changed, and are to be filled from the log.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn missing(pool: &PgPool) -> Result<Vec<Model>, QueryError> {
    let live = live_consumers(&mut *pool.acquire().await?, MODELS).await?;
    Ok(MODELS.iter().filter(|model| !live.contains_key(model.name)).copied().collect())
}

/// Makes an empty generation and lets it go on where `before` is in its topics, whose earlier events
/// the log has.
pub(crate) async fn create(
    pool: &PgPool,
    model: &Model,
    before: Option<&Generation>,
) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    let number: i32 = sqlx::query_scalar("select rm_create_generation($1, $2, $3)")
        .bind(model.name)
        .bind(i32::try_from(model.version).unwrap_or(i32::MAX))
        .bind(model.table)
        .fetch_one(&mut *tx)
        .await?;
    if let Some(before) = before {
        sqlx::query(
            "insert into consumer_checkpoint (consumer, source, partition, next)
             select g.consumer, c.source, c.partition, c.next
               from consumer_checkpoint c, read_model_generation g
              where c.consumer = $1 and c.source <> $2 and g.model = $3 and g.generation = $4",
        )
        .bind(&before.consumer)
        .bind(eventlog::feed::LOG_SOURCE)
        .bind(model.name)
        .bind(number)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await
}

/// Builds the indexes and lets projectors follow.
pub(crate) async fn finish(conn: &mut PgConnection, made: &Generation) -> sqlx::Result<()> {
    act(conn, "select rm_finish_generation($1, $2)", made).await
}

/// Lets queries find it.
pub(crate) async fn go_live(conn: &mut PgConnection, chosen: &Generation) -> sqlx::Result<()> {
    act(conn, "select rm_go_live($1, $2)", chosen).await
}

/// Removes it with all that was kept about it.
pub(crate) async fn drop_one(conn: &mut PgConnection, gone: &Generation) -> sqlx::Result<()> {
    act(conn, "select rm_drop_generation($1, $2)", gone).await
}

async fn act(
    conn: &mut PgConnection,
    statement: &'static str,
    generation: &Generation,
) -> sqlx::Result<()> {
    let query = sqlx::query(statement).bind(&generation.model).bind(generation.number);
    query.execute(conn).await.map(drop)
}

/// Holds up a switch that is under way, and is held up by it: whoever writes to a generation takes
/// this first in its transaction.
pub(crate) async fn share(conn: &mut PgConnection, consumer: &str) -> sqlx::Result<()> {
    let shared = "select pg_advisory_xact_lock_shared(hashtextextended($1, 0))";
    lock(&mut *conn, shared, consumer).await?;
    // One that was dropped meanwhile is followed by nobody: rows in it would never be erased.
    let known = "select 1 from read_model_generation where consumer = $1";
    sqlx::query_scalar::<_, i32>(known).bind(consumer).fetch_one(conn).await.map(drop)
}

/// Waits until nobody writes to a generation, and lets nobody write until the transaction's end.
pub(crate) async fn pause(conn: &mut PgConnection, consumer: &str) -> sqlx::Result<()> {
    lock(conn, "select pg_advisory_xact_lock(hashtextextended($1, 0))", consumer).await
}

async fn lock(
    conn: &mut PgConnection,
    statement: &'static str,
    consumer: &str,
) -> sqlx::Result<()> {
    sqlx::query(statement).bind(consumer).execute(conn).await.map(drop)
}
