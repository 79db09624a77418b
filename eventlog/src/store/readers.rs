//! The connections that readers share.
//!
//! A connection that failed, or whose query was given up, is closed and never used again, so that
//! none needs to be tested before or after it is used, which would cost a round trip each.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Connection, Postgres};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{ReadError, connect};

/// How long one reading may take, waiting for a connection included.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
const BEFORE_RETRY: Duration = Duration::from_millis(100);
const FAREWELL: Duration = Duration::from_secs(1);

pub(crate) struct Readers {
    options: PgConnectOptions,
    allowed: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
}

impl Readers {
    pub(crate) fn new(options: PgConnectOptions, max_connections: usize) -> Self {
        let allowed = Semaphore::new(max_connections.max(1));
        Self { options, allowed, idle: Mutex::default() }
    }

    /// The rows of a query. It is sent again when its connection turns out to be lost, until it is
    /// time to give up, so it must only read or be harmless to repeat.
    pub(crate) async fn rows(
        &self,
        query: impl Fn() -> Query<'static, Postgres, PgArguments> + Send,
    ) -> Result<Vec<PgRow>, ReadError> {
        timeout(READ_TIMEOUT, self.rows_at_last(query)).await.unwrap_or_else(|_| {
            tracing::warn!("reading took too long");
            Err(ReadError)
        })
    }

    async fn rows_at_last(
        &self,
        query: impl Fn() -> Query<'static, Postgres, PgArguments> + Send,
    ) -> Result<Vec<PgRow>, ReadError> {
        let _allowed = self.allowed.acquire().await.map_err(|_| ReadError)?;
        loop {
            let idle = self.idle().pop();
            let was_idle = idle.is_some();
            let connection = match idle {
                Some(connection) => Ok(connection),
                None => connect::for_reading(&self.options).await,
            };
            let found = match connection {
                Ok(mut connection) => {
                    let found = query().fetch_all(&mut connection).await;
                    found.map(|rows| (rows, connection))
                }
                Err(error) => Err(error),
            };
            match found {
                Ok((rows, connection)) => {
                    self.idle().push(connection);
                    return Ok(rows);
                }
                Err(error) if connect::is_definite(&error) => {
                    tracing::warn!(
                        reason = connect::reason(&error),
                        "a statement that reads was refused"
                    );
                    return Err(ReadError);
                }
                // All idle connections may have been lost together; each is found out at once.
                Err(_) if was_idle => {}
                Err(_) => sleep(BEFORE_RETRY).await,
            }
        }
    }

    /// Says farewell to the server on connections that nobody uses.
    pub(crate) async fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.idle());
        let closing = join_all(idle.into_iter().map(PgConnection::close));
        // A server that is gone needs no farewell.
        let _ = timeout(FAREWELL, closing).await;
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was read, if it could be made sense of.
pub(crate) fn decoded<T>(read: sqlx::Result<T>) -> Result<T, ReadError> {
    read.map_err(|error| {
        tracing::error!(reason = connect::reason(&error), "the log holds what cannot be read");
        ReadError
    })
}
