//! API keys: how programs of a company come in. Each has rights of its own, which are no role's, and
//! acts under its own name; the key itself is shown once and kept as a hash.

use chrono::{DateTime, TimeDelta, Utc};
use commands::CommandError;
use domain::account::Event;
use domain::caller::{Actor, Caller};
use domain::ids::{AccountId, ApiKeyId, CompanyId};
use domain::permission::{Action, Relation, Rights, allows};
use domain::values::{self, Invalid};
use secrecy::{ExposeSecret, SecretString};
use sqlx::Row;
use sqlx::types::Json;
use uuid::Uuid;

use crate::invitations::token_hash;
use crate::wall::About;
use crate::{Identity, IdentityError, Principal, outbox, tokens};

/// What keys begin with, so that tools find one that was left lying about.
pub(crate) const PREFIX: &str = "clq_";
/// Life of a key, unless another is asked for.
const LIFE: TimeDelta = TimeDelta::days(90);
/// Longest life that can be asked for.
const MAX_LIFE: TimeDelta = TimeDelta::days(366);
/// Most keys of a company that are good at once.
const MAX_KEYS: i64 = 100;
/// When a key was used is noted this often.
const NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// A key, as those who may manage keys are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id, under which it acts.
    pub key_id: ApiKeyId,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub rights: Vec<Action>,
    /// When it was made, UTC.
    pub created_at: DateTime<Utc>,
    /// When it ends, UTC.
    pub expires_at: DateTime<Utc>,
    /// When it was last used, UTC, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was taken back, UTC.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// What a key is to be.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub rights: Vec<Action>,
    /// When it ends, UTC; in 90 days without it.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Identity {
    /// Makes a key for a program of the caller's company. A repeat of the command shows it again.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not; [`IdentityError::Invalid`] for rights that
    /// programs cannot have, too many keys, or an end too far away.
    pub async fn create_api_key(
        &self,
        principal: &Principal,
        command_id: Uuid,
        new: NewApiKey,
    ) -> Result<(ApiKey, SecretString), IdentityError> {
        let (caller, account) = manager(principal)?;
        let invalid =
            |field, why: &str| IdentityError::from(Invalid { field, why: why.to_owned() });
        let name = values::line("name", &new.name)?;
        let rights = Rights::of(new.rights);
        if rights.actions().next().is_none() || !rights.actions().all(Action::is_for_programs) {
            return Err(invalid("rights", "must be rights that programs can have, at least one"));
        }
        let now = self.bus.now();
        let expires_at = new.expires_at.unwrap_or(now + LIFE);
        if expires_at <= now || expires_at > now + MAX_LIFE {
            return Err(invalid("expiresAt", "must be within the next 366 days"));
        }
        let key_id = ApiKeyId(commands::derive_id(caller, command_id, "api-key", 0));
        let key = tokens::opaque(&self.bus, "api-key", key_id.0.as_bytes());
        let key = SecretString::from(format!("{PREFIX}{}", key.expose_secret()));
        let rights: Vec<Action> = rights.actions().collect();
        let about = About::company(caller.company).and_account(Some(account));
        let mut tx = self.wall.begin(about).await?;
        let made = sqlx::query(
            "insert into identity.api_key
               (key_id, key_hash, company_id, name, rights, created_at, expires_at)
             select $1, $2, $3, $4, $5, $6, $7
              where (select count(*) from identity.api_key
                      where company_id = $3 and revoked_at is null and expires_at > $6) < $8
                 or exists (select from identity.api_key where key_id = $1)
             on conflict (key_id) do nothing",
        )
        .bind(key_id.0)
        .bind(token_hash(key.expose_secret()))
        .bind(caller.company.0)
        .bind(&name)
        .bind(Json(&rights))
        .bind(now)
        .bind(expires_at)
        .bind(MAX_KEYS)
        .execute(&mut *tx)
        .await?;
        if made.rows_affected() > 0 {
            let company_id = caller.company;
            let created = Event::ApiKeyCreated { key_id, company_id, rights, expires_at, at: now };
            outbox::tell(&mut tx, &self.bus, Some(account), &created).await?;
        }
        tx.commit().await?;
        let kept = self.keys_of(caller.company, Some(key_id)).await?.pop();
        let kept =
            kept.ok_or_else(|| invalid("name", "there are 100 keys already; take one back"))?;
        if kept.name != name {
            return Err(CommandError::CommandIdReused.into());
        }
        Ok((kept, key))
    }

    /// Takes a key back; it is refused within a second everywhere. A repeat is harmless.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not; [`IdentityError::NoKey`].
    pub async fn revoke_api_key(
        &self,
        principal: &Principal,
        key_id: ApiKeyId,
    ) -> Result<ApiKey, IdentityError> {
        let (caller, account) = manager(principal)?;
        let at = self.bus.now();
        let about = About::company(caller.company).and_account(Some(account));
        let mut tx = self.wall.begin(about).await?;
        let revoked = sqlx::query(
            "update identity.api_key set revoked_at = $3
              where key_id = $1 and company_id = $2 and revoked_at is null",
        )
        .bind(key_id.0)
        .bind(caller.company.0)
        .bind(at)
        .execute(&mut *tx)
        .await?;
        if revoked.rows_affected() > 0 {
            let revoked = Event::ApiKeyRevoked { key_id, company_id: caller.company, at };
            outbox::tell(&mut tx, &self.bus, Some(account), &revoked).await?;
        }
        tx.commit().await?;
        let kept = self.keys_of(caller.company, Some(key_id)).await?.pop();
        kept.ok_or(IdentityError::NoKey)
    }

    /// The keys of the caller's company, newest first, those that were taken back or have ended too.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not see them.
    pub async fn api_keys(&self, caller: &Caller) -> Result<Vec<ApiKey>, IdentityError> {
        if !allows(caller, Action::ManageApiKeys, Relation::default()) {
            return Err(CommandError::Forbidden.into());
        }
        self.keys_of(caller.company, None).await
    }

    async fn keys_of(
        &self,
        company: CompanyId,
        only: Option<ApiKeyId>,
    ) -> Result<Vec<ApiKey>, IdentityError> {
        let rows = sqlx::query(
            "select key_id, name, rights, created_at, expires_at, last_used_at, revoked_at
               from identity.api_key
              where company_id = $1 and ($2::uuid is null or key_id = $2)
              order by created_at desc, key_id limit 1000",
        )
        .bind(company.0)
        .bind(only.map(|key| key.0))
        .fetch_all(&mut *self.wall.of(About::company(company)).await?)
        .await?;
        let read = |row: &sqlx::postgres::PgRow| -> sqlx::Result<ApiKey> {
            let Json(rights): Json<Vec<Action>> = row.try_get("rights")?;
            Ok(ApiKey {
                key_id: ApiKeyId(row.try_get("key_id")?),
                name: row.try_get("name")?,
                rights,
                created_at: row.try_get("created_at")?,
                expires_at: row.try_get("expires_at")?,
                last_used_at: row.try_get("last_used_at")?,
                revoked_at: row.try_get("revoked_at")?,
            })
        };
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Who acts by a key at this moment.
    pub(crate) async fn holder_of_key(&self, key: &str) -> Result<Principal, IdentityError> {
        let (now, hash) = (self.bus.now(), token_hash(key));
        let row = sqlx::query(
            "select key_id, company_id, rights, expires_at, last_used_at, revoked_at
               from identity.api_key where key_hash = $1",
        )
        .bind(&hash)
        .fetch_optional(&mut *self.wall.of(About::key(&hash)).await?)
        .await?
        .ok_or(IdentityError::InvalidToken)?;
        if row.try_get::<Option<DateTime<Utc>>, _>("revoked_at")?.is_some() {
            return Err(IdentityError::Revoked);
        }
        let expires_at: DateTime<Utc> = row.try_get("expires_at")?;
        if now >= expires_at {
            return Err(IdentityError::ExpiredToken);
        }
        let last_used_at: Option<DateTime<Utc>> = row.try_get("last_used_at")?;
        if last_used_at.is_none_or(|at| now - at >= NOTED_EVERY) {
            sqlx::query("update identity.api_key set last_used_at = $2 where key_hash = $1")
                .bind(&hash)
                .bind(now)
                .execute(&mut *self.wall.of(About::key(&hash)).await?)
                .await?;
        }
        let Json(rights): Json<Vec<Action>> = row.try_get("rights")?;
        let id = ApiKeyId(row.try_get("key_id")?);
        let actor = Actor::Service { id, rights: Rights::of(rights) };
        let caller = Caller::new(CompanyId(row.try_get("company_id")?), actor, vec![]);
        Ok(Principal { caller, account_id: None, session_id: None, is_bound: false, expires_at })
    }
}

/// A person who may manage keys.
fn manager(principal: &Principal) -> Result<(&Caller, AccountId), IdentityError> {
    let caller = &principal.caller;
    match principal.account_id {
        Some(account) if allows(caller, Action::ManageApiKeys, Relation::default()) => {
            Ok((caller, account))
        }
        _ => Err(CommandError::Forbidden.into()),
    }
}
