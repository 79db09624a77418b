//! Signing in with e-mail and password.

use std::time::Duration;

use domain::account::SignInMethod;
use domain::ids::AccountId;
use domain::values;
use secrecy::SecretString;
use sqlx::{PgConnection, Row};
use tokio::time::Instant;

use crate::wall::About;
use crate::{Entrance, Identity, IdentityError, Session, lockout, password};

/// While hashes by bcrypt are left, which take another time than ours, a failure takes so long whatever
/// was looked at. No hash that an import may bring takes longer.
const IMPORTED_TIME: Duration = Duration::from_secs(2);

/// Credentials as they lie in the table.
pub(crate) struct Credentials {
    /// Whose.
    pub account: AccountId,
    /// Hash of the password.
    pub hash: String,
    /// Which of its passwords that is.
    pub password_no: i32,
}

/// An account whose holder has proved who they are by a password. Another one that was set meanwhile
/// makes the proof worth nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proved {
    /// Whose.
    pub account: AccountId,
    /// Which of its passwords was known.
    pub password_no: i32,
}

impl Proved {
    /// Refuses what was proved by a password that is none any more. The account stays locked against
    /// another password until the transaction ends.
    ///
    /// # Errors
    /// [`IdentityError::BadCredentials`].
    pub(crate) async fn hold(self, tx: &mut PgConnection) -> Result<(), IdentityError> {
        let present: Option<i32> = sqlx::query_scalar(
            "select password_no from identity.account where account_id = $1 for share",
        )
        .bind(self.account.0)
        .fetch_optional(tx)
        .await?;
        match present == Some(self.password_no) {
            true => Ok(()),
            false => Err(IdentityError::BadCredentials),
        }
    }
}

impl Identity {
    /// A session for whoever knows the password.
    ///
    /// # Errors
    /// [`IdentityError::BadCredentials`] without telling what is wrong; [`IdentityError::Locked`] for
    /// an address that failed too often, known or not; [`IdentityError::SecondStepNeeded`].
    pub async fn sign_in(
        &self,
        email: &str,
        password: SecretString,
        entrance: &Entrance,
    ) -> Result<Session, IdentityError> {
        let proved = self.prove(email, password).await?;
        self.enter(proved, SignInMethod::Password, entrance).await
    }

    /// The account whose address and password these are. Failures count.
    pub(crate) async fn prove(
        &self,
        email: &str,
        password: SecretString,
    ) -> Result<Proved, IdentityError> {
        let key = lockout::key(&self.bus, email);
        lockout::check(&mut *self.wall.of(About::key(&key)).await?, &key, self.bus.now()).await?;
        let known = match values::email("email", email) {
            Ok(email) => self.credentials(&email).await?,
            Err(_) => None,
        };
        let turn = password::turn().await?;
        // Others have failed while this one waited: a locked address costs no more than looking.
        lockout::check(&mut *self.wall.of(About::key(&key)).await?, &key, self.bus.now()).await?;
        let since = Instant::now();
        let hash = known.as_ref().map(|known| known.hash.clone());
        let account = known.as_ref().map(|known| known.account);
        let fits = password::verify(turn, password.clone(), hash).await;
        // Whoever has only the password must not be able to forget what failed with codes.
        let is_enough = match account.filter(|_| fits) {
            Some(account) => !self.has_second_factor(account).await?,
            None => true,
        };
        let mut tx = self.wall.begin(About::key(&key).and_account(account)).await?;
        let Some(Credentials { account: proved, hash, password_no }) = known.filter(|_| fits)
        else {
            let was_locked = lockout::failed(&mut tx, &self.bus, &key, account).await?;
            tx.commit().await?;
            if self.has_imported_hashes().await? {
                tokio::time::sleep_until(since + IMPORTED_TIME).await;
            }
            // Wrong or right, once it is locked the answer is the same.
            if was_locked {
                return Err(IdentityError::Locked);
            }
            let known = if account.is_some() { "known" } else { "unknown" };
            metrics::counter!("colloquy_sign_ins_failed_total", "account" => known).increment(1);
            return Err(IdentityError::BadCredentials);
        };
        match is_enough {
            true => lockout::passed(&mut tx, &self.bus, &key, proved).await?,
            false => lockout::check(&mut tx, &key, self.bus.now()).await?,
        }
        tx.commit().await?;
        if password::is_outdated(&hash) {
            let renewed = password::hash(password).await?;
            sqlx::query(
                "update identity.account set password_hash = $3
                  where account_id = $1 and password_hash = $2",
            )
            .bind(proved.0)
            .bind(hash)
            .bind(renewed)
            .execute(&mut *self.wall.of(About::account(proved)).await?)
            .await?;
        }
        Ok(Proved { account: proved, password_no })
    }

    /// Whether some account has not signed in since it was brought along from another system.
    async fn has_imported_hashes(&self) -> Result<bool, IdentityError> {
        let has = "select identity.has_imported_hashes()";
        Ok(sqlx::query_scalar(has).fetch_one(&mut *self.wall.of(About::nobody()).await?).await?)
    }

    /// The account of an address in lower case, with the hash of its password.
    pub(crate) async fn credentials(
        &self,
        email: &str,
    ) -> Result<Option<Credentials>, IdentityError> {
        let found = sqlx::query(
            "select account_id, password_hash, password_no from identity.account where email = $1",
        )
        .bind(email)
        .fetch_optional(&mut *self.wall.of(About::email(email)).await?)
        .await?;
        let read = |row: sqlx::postgres::PgRow| -> sqlx::Result<_> {
            Ok(Credentials {
                account: AccountId(row.try_get("account_id")?),
                hash: row.try_get("password_hash")?,
                password_no: row.try_get("password_no")?,
            })
        };
        Ok(found.map(read).transpose()?)
    }
}
