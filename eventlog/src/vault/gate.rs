//! Keys and a log that is not in the vault's database: an append that seals with a key must be
//! known to the vault before it is written, and forgetting must wait until it is.

use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::VaultError;
use super::postgres::unavailable;
use crate::envelope::StreamId;

/// Most appends of one process that hold up forgetting at the same time; further ones wait.
const MAX_HOLDERS: u32 = 8;
const MAX_NOTERS: u32 = 2;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where appends show their keys. Clones share their connections.
#[derive(Clone, Debug)]
pub struct KeyGate {
    holders: PgPool,
    /// Others than the holders', so that no holder waits for another.
    noters: PgPool,
}

/// Holds up forgetting for as long as it lives.
#[derive(Debug)]
pub struct Admission {
    _keys: Option<Transaction<'static, Postgres>>,
}

impl KeyGate {
    /// A gate to the vault in the database that `pool` leads to, with connections of its own.
    #[must_use]
    pub fn new(pool: &PgPool) -> Self {
        let options = pool.connect_options();
        let own = |max_connections| {
            PgPoolOptions::new()
                .max_connections(max_connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_lazy_with(options.as_ref().clone())
        };
        Self { holders: own(MAX_HOLDERS), noters: own(MAX_NOTERS) }
    }

    /// Whether all of these keys live now.
    ///
    /// # Errors
    /// [`VaultError::SubjectErased`] if not, [`VaultError::Unavailable`].
    pub async fn check(&self, keys: &[Uuid]) -> Result<(), VaultError> {
        if keys.is_empty() {
            return Ok(());
        }
        let n_alive: i64 = sqlx::query_scalar(
            "select count(*) from vault.subject_key
              where key_id = any($1) and forgotten_at is null",
        )
        .bind(keys)
        .fetch_one(&self.noters)
        .await
        .map_err(unavailable)?;
        all_alive(keys, usize::try_from(n_alive).unwrap_or(0))
    }

    /// Notes durably that the stream holds what these keys sealed, and holds up forgetting them until
    /// the admission is dropped. A note stays even if the append is not written then: forgetting
    /// names a stream too many rather than one too few.
    ///
    /// # Errors
    /// [`VaultError::SubjectErased`] if one was forgotten, [`VaultError::Unavailable`].
    pub async fn admit(&self, keys: &[Uuid], stream: &StreamId) -> Result<Admission, VaultError> {
        if keys.is_empty() {
            return Ok(Admission { _keys: None });
        }
        let mut transaction = self.holders.begin().await.map_err(unavailable)?;
        let alive: Vec<Uuid> = sqlx::query_scalar(
            "select key_id from vault.subject_key
              where key_id = any($1) and forgotten_at is null order by key_id for share",
        )
        .bind(keys)
        .fetch_all(&mut *transaction)
        .await
        .map_err(unavailable)?;
        all_alive(keys, alive.len())?;
        sqlx::query(
            "insert into vault.subject_stream (key_id, company_id, category, stream_id)
             select key_id, $2, $3, $4 from unnest($1::uuid[]) as k(key_id)
                 on conflict do nothing",
        )
        .bind(keys)
        .bind(stream.company.0)
        .bind(stream.aggregate.as_ref())
        .bind(stream.id)
        .execute(&self.noters)
        .await
        .map_err(unavailable)?;
        Ok(Admission { _keys: Some(transaction) })
    }

    /// Closes the connections once nobody uses them.
    pub async fn close(&self) {
        self.holders.close().await;
        self.noters.close().await;
    }
}

fn all_alive(keys: &[Uuid], n_alive: usize) -> Result<(), VaultError> {
    if n_alive == keys.len() { Ok(()) } else { Err(VaultError::SubjectErased) }
}
