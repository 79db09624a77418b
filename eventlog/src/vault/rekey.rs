//! Wraps everything in the vault with another master key, while no process uses it.

use sqlx::{PgPool, Row};

use super::postgres::{opened, unavailable};
use super::{KeyState, MasterKey, VaultError, secrets, wrap};

/// Changes the master key: all keys and secrets, or none, are wrapped with `new` instead of `old`.
/// They themselves stay the same, so nothing that they sealed or marked changes. Processes that
/// still have the old master key can open nothing afterwards.
///
/// # Errors
/// [`VaultError::Unreadable`] when `old` is not the master key, [`VaultError::Unavailable`] when the
/// database cannot be reached; then nothing is changed.
pub async fn rekey(pool: &PgPool, old: &MasterKey, new: &MasterKey) -> Result<(), VaultError> {
    let mut tx = pool.begin().await.map_err(unavailable)?;
    sqlx::query("lock table vault.subject_key, vault.secret in exclusive mode")
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    let keys = sqlx::query(
        "select key_id, company_id, subject_kind, subject_id, wrapped from vault.subject_key
          where forgotten_at is null",
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(unavailable)?;
    for row in &keys {
        let (company, id, KeyState::Alive(key)) = opened(old, row)? else { continue };
        let context = wrap::subject_key_context(id, company, key.subject);
        sqlx::query("update vault.subject_key set wrapped = $2 where key_id = $1")
            .bind(id)
            .bind(wrap::wrap(new, &context, &key.key)?)
            .execute(&mut *tx)
            .await
            .map_err(unavailable)?;
    }
    let secrets = sqlx::query("select name, wrapped from vault.secret")
        .fetch_all(&mut *tx)
        .await
        .map_err(unavailable)?;
    for row in &secrets {
        let name: String = row.try_get(0).map_err(unavailable)?;
        let wrapped: Vec<u8> = row.try_get(1).map_err(unavailable)?;
        let context = secrets::context(&name);
        let secret = wrap::unwrap(old, &context, &wrapped)?;
        sqlx::query("update vault.secret set wrapped = $2 where name = $1")
            .bind(name)
            .bind(wrap::wrap(new, &context, &secret)?)
            .execute(&mut *tx)
            .await
            .map_err(unavailable)?;
    }
    tx.commit().await.map_err(unavailable)
}
