//! The bare limit: one durable row a transaction, as wide as an event, and nothing else.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::database::Database;
use crate::system::System;

const TABLE: &str = "create table raw_event (
    position bigint generated always as identity primary key,
    stream_id uuid not null,
    version bigint not null,
    event_type text not null,
    payload bytea not null,
    recorded_at timestamptz not null default now())";
const INSERT: &str =
    "insert into raw_event (stream_id, version, event_type, payload) values ($1, $2, $3, $4)";
const EVENT_TYPE: &str = "candidate.note_added";

/// Makes the table and answers how long a payload makes a row of it as wide as `width` bytes.
///
/// # Errors
/// The server cannot be reached or refuses.
pub async fn prepare(database: &Database, width: f64) -> anyhow::Result<usize> {
    sqlx::query(TABLE).execute(&database.pool).await?;
    let empty = vec![];
    insert(Uuid::nil(), 0, &empty).execute(&database.pool).await?;
    let bare: f64 = row_width(&database.pool, "raw_event").await?;
    // A payload of more than 126 bytes has a header longer by three.
    Ok((width - bare - 3.0).max(0.0).round() as usize)
}

/// Mean width of a table's rows in bytes, their headers included.
///
/// # Errors
/// The server cannot be reached or refuses.
pub async fn row_width(pool: &PgPool, table: &str) -> anyhow::Result<f64> {
    let query = match table {
        "es_event" => "select avg(pg_column_size(t.*))::float8 from es_event t",
        _ => "select avg(pg_column_size(t.*))::float8 from raw_event t",
    };
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

/// Bytes that do not compress, as sealed ones do not.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

fn insert(
    stream: Uuid,
    nth: u32,
    payload: &[u8],
) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query(INSERT).bind(stream).bind(i64::from(nth)).bind(EVENT_TYPE).bind(payload.to_vec())
}

/// Each client inserts on a connection of its own: one round trip and one flush a row.
pub struct Own {
    connections: Vec<Mutex<PgConnection>>,
    payload: Vec<u8>,
}

impl Own {
    /// Connects once for each client and inserts a row on each connection, so that none has its plans
    /// and caches still to make.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn connect(
        database: &Database,
        clients: usize,
        payload: Vec<u8>,
    ) -> anyhow::Result<Self> {
        let mut connections = vec![];
        for _ in 0..clients {
            let mut connection = PgConnection::connect_with(&database.options).await?;
            insert(Uuid::nil(), 0, &payload).execute(&mut connection).await?;
            connections.push(Mutex::new(connection));
        }
        Ok(Self { connections, payload })
    }
}

#[async_trait]
impl System for Own {
    fn name(&self) -> &'static str {
        "raw INSERT, own connections"
    }

    async fn command(&self, client: usize, aggregate: Uuid, nth: u32) -> anyhow::Result<()> {
        let mut connection = self.connections[client].lock().await;
        insert(aggregate, nth, &self.payload).execute(&mut *connection).await?;
        Ok(())
    }
}

/// The clients share a pool with a connection for each, which tests a connection before and after it
/// is lent: what most programs do.
pub struct Pooled {
    pool: PgPool,
    payload: Vec<u8>,
}

impl Pooled {
    /// A pool of as many connections as there are clients, each used once already.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn connect(
        database: &Database,
        clients: usize,
        payload: Vec<u8>,
    ) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(u32::try_from(clients)?)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(database.options.clone())
            .await?;
        let mut lent = vec![];
        for _ in 0..clients {
            let mut connection = pool.acquire().await?;
            insert(Uuid::nil(), 0, &payload).execute(&mut *connection).await?;
            lent.push(connection);
        }
        Ok(Self { pool, payload })
    }
}

#[async_trait]
impl System for Pooled {
    fn name(&self) -> &'static str {
        "raw INSERT, sqlx's pool"
    }

    async fn command(&self, _: usize, aggregate: Uuid, nth: u32) -> anyhow::Result<()> {
        insert(aggregate, nth, &self.payload).execute(&self.pool).await?;
        Ok(())
    }
}
