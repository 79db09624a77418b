//! The relay's lease: which process publishes a topic, on the database's time.
//!
//! It keeps standbys quiet and lets one take over. It is not what keeps two publishers apart: a
//! stopped process may wake up after its lease has run out. That is the broker's fence.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgPool;
use uuid::Uuid;

/// The place of the leases cannot be reached; asking again is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease cannot be taken or renewed")]
pub struct LeaseError;

/// Where leases are kept.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the lease or renews it for `period`; whether `holder` has it now.
    ///
    /// # Errors
    /// [`LeaseError`] when the place cannot be reached.
    async fn take(&self, name: &str, holder: Uuid, period: Duration) -> Result<bool, LeaseError>;

    /// Ends the lease at once if `holder` has it.
    ///
    /// # Errors
    /// [`LeaseError`] when the place cannot be reached.
    async fn give_back(&self, name: &str, holder: Uuid) -> Result<(), LeaseError>;
}

/// Leases in the table `relay_leases`.
#[derive(Clone)]
pub struct PgLeases {
    pool: PgPool,
}

impl PgLeases {
    /// Leases in this database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

fn unreachable(error: sqlx::Error) -> LeaseError {
    tracing::warn!(%error, "the relay's lease cannot be reached");
    LeaseError
}

#[async_trait]
impl Leases for PgLeases {
    async fn take(&self, name: &str, holder: Uuid, period: Duration) -> Result<bool, LeaseError> {
        let taken = sqlx::query(
            "INSERT INTO relay_leases AS held (name, holder, expires_at)
             VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
             ON CONFLICT (name) DO UPDATE
             SET holder = EXCLUDED.holder, expires_at = EXCLUDED.expires_at
             WHERE held.holder = EXCLUDED.holder OR held.expires_at <= clock_timestamp()",
        )
        .bind(name)
        .bind(holder)
        .bind(period.as_secs_f64())
        .execute(&self.pool)
        .await
        .map_err(unreachable)?;
        Ok(taken.rows_affected() == 1)
    }

    async fn give_back(&self, name: &str, holder: Uuid) -> Result<(), LeaseError> {
        sqlx::query("DELETE FROM relay_leases WHERE name = $1 AND holder = $2")
            .bind(name)
            .bind(holder)
            .execute(&self.pool)
            .await
            .map_err(unreachable)?;
        Ok(())
    }
}
