//! What every query of a read model needs: where to read, for whom, and what can go wrong.

use std::sync::Arc;

use domain::ids::CompanyId;
use domain::permission::Scope;
use eventlog::clock::Clock;
use eventlog::codec::Codec;
use eventlog::store::EventStore;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres, QueryBuilder};

use crate::lag::Lag;
use crate::page::PageError;
use crate::proof::Published;
use crate::recent::Recent;
use crate::wall::Readers;

/// A query under construction: fragments are constants, values are bound.
pub(crate) type Sql = QueryBuilder<Postgres>;

/// Where the read side reads: the read models' database, and the log for replay and "as of".
#[derive(Clone)]
pub struct Reads {
    /// Connections of the owner, for what is of no company: progress, parked streams, the proof.
    pub(crate) platform: PgPool,
    readers: Readers,
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) codec: Codec,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recent_lags: Recent<Vec<Lag>>,
    pub(crate) recent_proof: Recent<Published>,
}

impl Reads {
    /// Reads rows by `readers`, what is of no company by `platform`, and this log.
    #[must_use]
    pub fn new(
        platform: PgPool,
        readers: Readers,
        store: Arc<dyn EventStore>,
        codec: Codec,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (recent_lags, recent_proof) = (Recent::default(), Recent::default());
        Self { platform, readers, store, codec, clock, recent_lags, recent_proof }
    }

    /// A connection that sees this company's rows alone. Who holds one asks for no second one: holders
    /// who wait for each other would stand still.
    pub(crate) async fn of(&self, company: CompanyId) -> sqlx::Result<PoolConnection<Postgres>> {
        self.readers.of(company).await
    }
}

/// For whom a query is answered: one company, and within it what the caller's right reaches, see
/// `domain::permission::scope`. Every query is restricted by both in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The tenant.
    pub company: CompanyId,
    /// What of it can be seen.
    pub scope: Scope,
}

impl View {
    /// All of a company.
    #[must_use]
    pub fn all(company: CompanyId) -> Self {
        Self { company, scope: Scope { all: true, ..Scope::default() } }
    }
}

/// Why a query was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The page asked for makes no sense.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The database cannot be reached or did not answer; trying again is right.
    #[error("the read models cannot be reached")]
    Unavailable,
}

impl QueryError {
    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Page(error) => error.code(),
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(reason = %reason(&error), "a read model cannot be read");
        Self::Unavailable
    }
}

/// What a log line may say of a database error: neither statement nor values.
pub(crate) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(refused) => {
            format!("sqlstate {}", refused.code().unwrap_or_default())
        }
        sqlx::Error::ColumnDecode { index, .. } => format!("column {index} does not decode"),
        sqlx::Error::Decode(_) => "a value does not decode".to_owned(),
        sqlx::Error::Io(error) => format!("connection: {}", error.kind()),
        sqlx::Error::PoolTimedOut => "no connection in time".to_owned(),
        sqlx::Error::PoolClosed => "the pool is closed".to_owned(),
        _ => "the database client failed".to_owned(),
    }
}
