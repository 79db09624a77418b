//! The log's signing keys: random, wrapped in the vault like all secrets, numbered. The newest signs.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::note::{self, PublicKey, SigningKey, is_name};
use super::shelf::{self, ProofError};
use super::statement;
use crate::vault::{MasterKey, secrets};

/// Whoever lets the tree grow, signs, or changes keys holds this lock of the database meanwhile.
const LOCK: i64 = 7_305_808_870_195_457_908;

/// What to do where somebody else has the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    Try,
    Wait,
}

/// Where the private keys are.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) pool: PgPool,
    pub(super) master: MasterKey,
}

/// Takes the lock until the transaction's end; whether it is ours. A process that stands still with it
/// loses it and its transaction after half a minute.
pub(super) async fn lock(connection: &mut PgConnection, how: Lock) -> Result<bool, ProofError> {
    sqlx::query("set local idle_in_transaction_session_timeout = '30s'")
        .execute(&mut *connection)
        .await?;
    let statement = match how {
        Lock::Try => "select pg_try_advisory_xact_lock($1)",
        Lock::Wait => "select true from pg_advisory_xact_lock($1)",
    };
    Ok(sqlx::query_scalar(statement).bind(LOCK).fetch_one(connection).await?)
}

impl Keys {
    /// Gives the log its name and its first key, if it has none yet. The name is `wanted`, or one
    /// that nobody else has where that is empty.
    pub(super) async fn prepare(&self, wanted: &str) -> Result<(), ProofError> {
        if !wanted.is_empty() && !is_name(wanted) {
            return Err(ProofError::BadName);
        }
        let mut tx = self.pool.begin().await?;
        // The usual start waits for nobody.
        let origin = match origin(&mut tx).await? {
            Some(origin) => origin,
            None => self.found(&mut tx, wanted).await?,
        };
        if !wanted.is_empty() && wanted != origin {
            return Err(ProofError::Named(origin));
        }
        tx.commit().await?;
        Ok(())
    }

    /// Name and first key at once, unless somebody else was faster. Answers the name.
    async fn found(
        &self,
        connection: &mut PgConnection,
        wanted: &str,
    ) -> Result<String, ProofError> {
        lock(connection, Lock::Wait).await?;
        if let Some(origin) = origin(connection).await? {
            return Ok(origin);
        }
        let name = match wanted {
            "" => format!("colloquy/{}", Uuid::from_bytes(rand::random()).simple()),
            name => name.to_owned(),
        };
        sqlx::query("insert into proof_log (origin) values ($1)")
            .bind(&name)
            .execute(&mut *connection)
            .await?;
        let key = self.private(connection, &name, 1).await?;
        insert(connection, 1, key.public(), None).await?;
        Ok(name)
    }

    /// The key that signs now.
    pub(super) async fn current(
        &self,
        connection: &mut PgConnection,
    ) -> Result<SigningKey, ProofError> {
        let keys = shelf::keys(connection).await?;
        let newest = keys.last().ok_or(ProofError::Broken("the log has no signing key"))?;
        let key = self.private(connection, newest.public.name(), newest.number).await?;
        match *key.public() == newest.public {
            true => Ok(key),
            false => Err(ProofError::Broken("the published key is not that of the vault")),
        }
    }

    /// Makes the next key: the newest so far introduces it, and both sign the statement. Answers the
    /// old and the new one.
    pub(super) async fn rotate(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(SigningKey, SigningKey), ProofError> {
        let old = self.current(connection).await?;
        let n_keys = shelf::keys(connection).await?.len();
        let number = i32::try_from(n_keys + 1).map_err(|_| ProofError::Unavailable)?;
        let new = self.private(connection, old.public().name(), number).await?;
        let now =
            sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut *connection).await?;
        let introduction = note::sign(&statement::new_key(new.public(), now), &[&old, &new]);
        insert(connection, number, new.public(), Some(&introduction)).await?;
        Ok((old, new))
    }

    async fn private(
        &self,
        connection: &mut PgConnection,
        origin: &str,
        number: i32,
    ) -> Result<SigningKey, ProofError> {
        let name = format!("proof_signing_key_{number}");
        let seed = secrets::named(connection, &self.master, &name).await?;
        SigningKey::from_seed(origin, &seed).map_err(|_| ProofError::BadName)
    }
}

async fn origin(connection: &mut PgConnection) -> Result<Option<String>, ProofError> {
    Ok(sqlx::query_scalar("select origin from proof_log").fetch_optional(connection).await?)
}

async fn insert(
    connection: &mut PgConnection,
    number: i32,
    key: &PublicKey,
    introduction: Option<&str>,
) -> Result<(), ProofError> {
    sqlx::query("insert into proof_key (key_number, public_key, introduction) values ($1, $2, $3)")
        .bind(number)
        .bind(key.bytes().as_slice())
        .bind(introduction)
        .execute(connection)
        .await?;
    Ok(())
}
