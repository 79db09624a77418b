//! Connections of the log: what each needs set, and which server process stands behind one.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgSeverity};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::time::timeout;

/// How long making one connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The server process behind a connection, named so that no later one can be taken for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Backend {
    pub(super) pid: i32,
    pub(super) started_at: DateTime<Utc>,
    pub(super) server_started_at: DateTime<Utc>,
}

/// Reads the address of a database.
pub(super) fn options(url: &str) -> sqlx::Result<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url)?
        .application_name("colloquy log")
        .disable_statement_logging())
}

/// A connection for reading. Plans are made while tables may still be empty, and must not be made
/// anew for every call.
pub(super) async fn for_reading(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    bounded(async {
        let mut connection = PgConnection::connect_with(options).await?;
        sqlx::query(
            "select set_config('default_transaction_isolation', 'read committed', false),
                    set_config('plan_cache_mode', 'force_generic_plan', false),
                    set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false)",
        )
        .execute(&mut connection)
        .await?;
        Ok(connection)
    })
    .await
}

/// A connection for appending: every statement sees what is committed, and an answer means durable.
pub(super) async fn for_appending(
    options: &PgConnectOptions,
) -> sqlx::Result<(PgConnection, Backend)> {
    bounded(async {
        let mut connection = PgConnection::connect_with(options).await?;
        let row = sqlx::query(
            "select pg_backend_pid(), pg_postmaster_start_time(),
                    (select backend_start from pg_stat_get_activity(pg_backend_pid())),
                    set_config('default_transaction_isolation', 'read committed', false),
                    set_config('synchronous_commit',
                        case current_setting('synchronous_commit') when 'off' then 'on'
                        else current_setting('synchronous_commit') end, false)",
        )
        .fetch_one(&mut connection)
        .await?;
        let backend = Backend {
            pid: row.try_get(0)?,
            server_started_at: row.try_get(1)?,
            started_at: row.try_get(2)?,
        };
        Ok((connection, backend))
    })
    .await
}

/// A connection for wake-ups: losing one in a crash is no loss, so nothing waits for the disk.
pub(super) async fn for_notifying(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    bounded(async {
        let mut connection = PgConnection::connect_with(options).await?;
        sqlx::query("select set_config('synchronous_commit', 'off', false)")
            .execute(&mut connection)
            .await?;
        Ok(connection)
    })
    .await
}

/// Whether the server process is gone for good, so that what it has not committed by now it never
/// will. If it is still there it is told to end; then asking again is right.
pub(super) async fn is_gone(connection: &mut PgConnection, old: Backend) -> sqlx::Result<bool> {
    let n_left: i64 = sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
          where pid = $1 and backend_start = $2 and pg_postmaster_start_time() = $3",
    )
    .bind(old.pid)
    .bind(old.started_at)
    .bind(old.server_started_at)
    .fetch_one(connection)
    .await?;
    Ok(n_left == 0)
}

/// Whether the server refused the statement and has undone it. After anything else, a lost
/// connection or a process that was told to end, the statement may have been committed.
pub(super) fn is_definite(error: &sqlx::Error) -> bool {
    let severity = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .map(PgDatabaseError::severity);
    severity == Some(PgSeverity::Error)
}

/// What a log line may say of an error: neither statement nor values.
pub(super) fn reason(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(refused) => format!("sqlstate {}", refused.code().unwrap_or_default()),
        None => error.to_string(),
    }
}

async fn bounded<T>(making: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(CONNECT_TIMEOUT, making).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}
