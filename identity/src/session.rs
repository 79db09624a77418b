//! Signing in with e-mail and password.

use domain::account::SignInMethod;
use domain::ids::AccountId;
use domain::values;
use secrecy::SecretString;
use sqlx::Row;

use crate::{Entrance, Identity, IdentityError, Session, lockout, password};

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
        let account = self.prove(email, password).await?;
        self.enter(account, SignInMethod::Password, entrance).await
    }

    /// The account whose address and password these are. Failures count.
    pub(crate) async fn prove(
        &self,
        email: &str,
        password: SecretString,
    ) -> Result<AccountId, IdentityError> {
        let key = lockout::key(&self.bus, email);
        lockout::check(&self.pool, &key, self.bus.now()).await?;
        let known = match values::email("email", email) {
            Ok(email) => self.credentials(&email).await?,
            Err(_) => None,
        };
        let (account, hash) = known.unzip();
        let fits = password::verify(password.clone(), hash.clone()).await;
        // Whoever has only the password must not be able to forget what failed with codes.
        let is_enough = match account.filter(|_| fits) {
            Some(account) => !self.has_second_factor(account).await?,
            None => true,
        };
        let mut tx = self.pool.begin().await?;
        let Some(proved) = account.filter(|_| fits) else {
            lockout::failed(&mut tx, &self.bus, &key, account).await?;
            tx.commit().await?;
            let known = if account.is_some() { "known" } else { "unknown" };
            metrics::counter!("colloquy_sign_ins_failed_total", "account" => known).increment(1);
            return Err(IdentityError::BadCredentials);
        };
        match is_enough {
            true => lockout::passed(&mut tx, &self.bus, &key, proved).await?,
            false => lockout::check(&mut *tx, &key, self.bus.now()).await?,
        }
        tx.commit().await?;
        if let Some(was) = hash.filter(|hash| password::is_outdated(hash)) {
            let renewed = password::hash(password).await?;
            sqlx::query(
                "update identity.account set password_hash = $3
                  where account_id = $1 and password_hash = $2",
            )
            .bind(proved.0)
            .bind(was)
            .bind(renewed)
            .execute(&self.pool)
            .await?;
        }
        Ok(proved)
    }

    /// The account of an address in lower case, with the hash of its password.
    pub(crate) async fn credentials(
        &self,
        email: &str,
    ) -> Result<Option<(AccountId, String)>, IdentityError> {
        let found =
            sqlx::query("select account_id, password_hash from identity.account where email = $1")
                .bind(email)
                .fetch_optional(&self.pool)
                .await?;
        let read = |row: sqlx::postgres::PgRow| -> sqlx::Result<_> {
            Ok((AccountId(row.try_get("account_id")?), row.try_get("password_hash")?))
        };
        Ok(found.map(read).transpose()?)
    }
}
