//! Addresses shown to be one's own, and new passwords: by the old one, or by a letter.

use chrono::{DateTime, TimeDelta, Utc};
use domain::account::{Event, RevocationReason};
use domain::ids::AccountId;
use domain::values::{self, Spelled};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::invitations::token_hash;
use crate::mail::{self, Letter};
use crate::wall::{About, about_account, about_key};
use crate::{Identity, IdentityError, lockout, outbox, password, second_factor};

/// Life of a token that shows that an address is one's own (TEN-12).
const VERIFICATION_LIFE: TimeDelta = TimeDelta::hours(24);
/// Life of a token for a new password.
const RESET_LIFE: TimeDelta = TimeDelta::hours(1);
/// Between two letters of a kind to one address.
const LETTER_PAUSE: TimeDelta = TimeDelta::minutes(1);

/// A login, as its holder is shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The account.
    pub account: AccountId,
    /// Its address.
    pub email: String,
    /// Whether its holder has shown that the address is theirs.
    pub is_verified: bool,
    /// Whether signing in asks for a second proof.
    pub has_second_factor: bool,
}

/// Whose a token is that came by letter.
struct Lettered {
    account: AccountId,
    email: String,
    is_verified: bool,
}

impl Identity {
    /// The login itself.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`] when it is gone.
    pub async fn login(&self, account: AccountId) -> Result<Login, IdentityError> {
        let row = sqlx::query(
            "select email, verified_at is not null as is_verified
               from identity.account where account_id = $1",
        )
        .bind(account.0)
        .fetch_optional(&mut *self.wall.of(About::account(account)).await?)
        .await?
        .ok_or(IdentityError::InvalidToken)?;
        Ok(Login {
            account,
            email: row.try_get("email")?,
            is_verified: row.try_get("is_verified")?,
            has_second_factor: self.has_second_factor(account).await?,
        })
    }

    /// Sends a letter by which the holder of an account shows that its address is theirs, if there is
    /// one that has not shown it. The answer and its time are the same if there is not; of several
    /// letters within a minute one is sent.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn request_verification(&self, email: &str) -> Result<(), IdentityError> {
        let Ok(email) = values::email("email", email) else { return Ok(()) };
        let unverified: Option<Uuid> = sqlx::query_scalar(
            "select account_id from identity.account where email = $1 and verified_at is null",
        )
        .bind(&email)
        .fetch_optional(&mut *self.wall.of(About::email(&email)).await?)
        .await?;
        let account = unverified.map(AccountId);
        let mut tx = self.wall.begin(About::nobody().and_account(account)).await?;
        self.send_letter(&mut tx, Letter::Verification, account, &email).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes the address of a verification letter as shown by who is signed in to the account. Whoever
    /// has the letter alone might vouch for a login that another made with their address.
    ///
    /// # Errors
    /// [`IdentityError::InvalidLetter`] for a token that is unknown, expired or used, and for one of
    /// another account, which stays good.
    pub async fn verify_email(&self, account: AccountId, token: &str) -> Result<(), IdentityError> {
        let token = token_hash(token);
        let mut tx = self.wall.begin(About::key(&token)).await?;
        let lettered = self.redeem(&mut tx, Letter::Verification, &token).await?;
        if lettered.account != account {
            return Err(IdentityError::InvalidLetter);
        }
        self.mark_verified(&mut tx, &lettered).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Sends a letter for a new password, if the address has an account. The answer and its time are
    /// the same if it has none.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn request_password_reset(&self, email: &str) -> Result<(), IdentityError> {
        let Ok(email) = values::email("email", email) else { return Ok(()) };
        let account = self.credentials(&email).await?.map(|known| known.account);
        let mut tx = self.wall.begin(About::nobody().and_account(account)).await?;
        let is_sent = self.send_letter(&mut tx, Letter::PasswordReset, account, &email).await?;
        if is_sent {
            let at = self.bus.now();
            let requested = Event::PasswordResetRequested { at };
            outbox::tell(&mut tx, &self.bus, account, &requested).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Sets a new password by the token of a letter, which shows the address too. All sessions end.
    /// Where the address was not shown before, somebody else may have made the login: a second proof
    /// that it asks for is dropped with its recovery codes. A lock is lifted unless signing in asks
    /// for a second proof: the letter must not clear what failed with codes.
    ///
    /// # Errors
    /// [`IdentityError::InvalidLetter`]; [`IdentityError::Invalid`] for a weak password, which leaves
    /// the token good.
    pub async fn reset_password(
        &self,
        token: &str,
        new: SecretString,
    ) -> Result<(), IdentityError> {
        password::check_rules(&new)?;
        let token = token_hash(token);
        // Hashing costs, and is not for strangers.
        let known: Option<i32> =
            sqlx::query_scalar("select 1 from identity.letter_token where token_hash = $1")
                .bind(&token)
                .fetch_optional(&mut *self.wall.of(About::key(&token)).await?)
                .await?;
        known.ok_or(IdentityError::InvalidLetter)?;
        let hash = password::hash(new).await?;
        let mut tx = self.wall.begin(About::key(&token)).await?;
        let lettered = self.redeem(&mut tx, Letter::PasswordReset, &token).await?;
        let account = lettered.account;
        self.set_password(&mut tx, account, None, &hash).await?;
        self.mark_verified(&mut tx, &lettered).await?;
        if !lettered.is_verified {
            self.drop_second_factor(&mut tx, account).await?;
        }
        self.end_all(&mut tx, account, None, RevocationReason::PasswordReset).await?;
        if !second_factor::is_asked_for(&mut *tx, account).await? {
            let key = lockout::key(&self.bus, &lettered.email);
            about_key(&mut tx, &key).await?;
            lockout::lift(&mut tx, &self.bus, &key, account).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Sets a new password for who knows the old one. The other sessions end.
    ///
    /// # Errors
    /// [`IdentityError::BadCredentials`] and [`IdentityError::Locked`] as in signing in;
    /// [`IdentityError::Invalid`] for a weak password.
    pub async fn change_password(
        &self,
        account: AccountId,
        present: Option<Uuid>,
        old: SecretString,
        new: SecretString,
    ) -> Result<(), IdentityError> {
        password::check_rules(&new)?;
        let login = self.login(account).await?;
        let proved = self.prove(&login.email, old).await?;
        if proved.account != account {
            return Err(IdentityError::BadCredentials);
        }
        let hash = password::hash(new).await?;
        let mut tx = self.wall.begin(About::account(account)).await?;
        self.set_password(&mut tx, account, Some(proved.password_no), &hash).await?;
        self.end_all(&mut tx, account, present, RevocationReason::PasswordChanged).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Sets a password, if told so only in the place of this one.
    async fn set_password(
        &self,
        tx: &mut PgConnection,
        account: AccountId,
        instead_of: Option<i32>,
        hash: &str,
    ) -> Result<(), IdentityError> {
        let set = sqlx::query(
            "update identity.account set password_hash = $2, password_no = password_no + 1
              where account_id = $1 and password_no = coalesce($3, password_no)",
        )
        .bind(account.0)
        .bind(hash)
        .bind(instead_of)
        .execute(&mut *tx)
        .await?;
        if set.rows_affected() == 0 {
            return Err(IdentityError::BadCredentials);
        }
        // Letters that were sent before are worth nothing any more, nor is a step that was taken by
        // the password before.
        sqlx::query("delete from identity.letter_token where account_id = $1 and letter = $2")
            .bind(account.0)
            .bind(Letter::PasswordReset.as_str())
            .execute(&mut *tx)
            .await?;
        sqlx::query("delete from identity.second_step where account_id = $1")
            .bind(account.0)
            .execute(&mut *tx)
            .await?;
        let changed = Event::PasswordChanged { at: self.bus.now() };
        outbox::tell(tx, &self.bus, Some(account), &changed).await
    }

    async fn mark_verified(
        &self,
        tx: &mut PgConnection,
        lettered: &Lettered,
    ) -> Result<(), IdentityError> {
        if lettered.is_verified {
            return Ok(());
        }
        self.verified(tx, lettered.account).await
    }

    /// Notes that the holder of an account has shown that its address is theirs.
    pub(crate) async fn verified(
        &self,
        tx: &mut PgConnection,
        account: AccountId,
    ) -> Result<(), IdentityError> {
        let at = self.bus.now();
        let marked = sqlx::query(
            "update identity.account set verified_at = $2
              where account_id = $1 and verified_at is null",
        )
        .bind(account.0)
        .bind(at)
        .execute(&mut *tx)
        .await?;
        match marked.rows_affected() {
            0 => Ok(()),
            _ => outbox::tell(tx, &self.bus, Some(account), &Event::EmailVerified { at }).await,
        }
    }

    /// Whether a letter of this kind may go to an address now; then no other one may for a minute.
    pub(crate) async fn may_send(
        &self,
        tx: &mut PgConnection,
        letter: Letter,
        email: &str,
    ) -> Result<bool, IdentityError> {
        let now = self.bus.now();
        let key = self.bus.derived_secret(letter.as_str(), email.as_bytes());
        about_key(tx, &key).await?;
        let is_due: Option<bool> = sqlx::query_scalar(
            "insert into identity.letter_pause (email_key, until) values ($1, $2)
             on conflict (email_key) do update set until = excluded.until
               where identity.letter_pause.until <= $3
             returning true",
        )
        .bind(key.as_slice())
        .bind(now + LETTER_PAUSE)
        .bind(now)
        .fetch_optional(&mut *tx)
        .await?;
        Ok(is_due.is_some())
    }

    /// Orders a letter with a token of its own; `false` if one was ordered just now. For an address
    /// without an account the same is done, but for the letter.
    pub(crate) async fn send_letter(
        &self,
        tx: &mut PgConnection,
        letter: Letter,
        account: Option<AccountId>,
        email: &str,
    ) -> Result<bool, IdentityError> {
        if !self.may_send(tx, letter, email).await? {
            return Ok(false);
        }
        let now = self.bus.now();
        let kind = letter.as_str();
        let (mail_id, life) = (mail::letter_id(&self.bus), life(letter));
        let token = mail::token(&self.bus, letter, mail_id);
        sqlx::query(
            "insert into identity.letter_token (token_hash, letter, account_id, expires_at)
             select $1, $2, $3, $4 where $3 is not null",
        )
        .bind(token_hash(token.expose_secret()))
        .bind(kind)
        .bind(account.map(|account| account.0))
        .bind(now + life)
        .execute(&mut *tx)
        .await?;
        if account.is_some() {
            mail::order(tx, &self.bus, letter, mail_id, email).await?;
        }
        Ok(true)
    }

    /// Takes the token of a letter, by its hash; it is good once. The transaction is about its account from
    /// now on.
    async fn redeem(
        &self,
        tx: &mut PgConnection,
        letter: Letter,
        token: &[u8],
    ) -> Result<Lettered, IdentityError> {
        let row = sqlx::query(
            "delete from identity.letter_token where token_hash = $1 and letter = $2
             returning expires_at, account_id",
        )
        .bind(token)
        .bind(letter.as_str())
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(IdentityError::InvalidLetter)?;
        let expires_at: DateTime<Utc> = row.try_get("expires_at")?;
        if self.bus.now() >= expires_at {
            return Err(IdentityError::InvalidLetter);
        }
        let account = AccountId(row.try_get("account_id")?);
        about_account(tx, Some(account)).await?;
        let login = sqlx::query(
            "select email, verified_at is not null as is_verified
               from identity.account where account_id = $1",
        )
        .bind(account.0)
        .fetch_one(tx)
        .await?;
        Ok(Lettered {
            account,
            email: login.try_get("email")?,
            is_verified: login.try_get("is_verified")?,
        })
    }
}

/// Forgets what is over: tokens and pauses of letters, registrations, first steps, attempts to sign on.
pub(crate) async fn forget(tx: &mut PgConnection, now: DateTime<Utc>) -> Result<(), IdentityError> {
    for over in [
        "delete from identity.letter_token where expires_at <= $1",
        "delete from identity.letter_pause where until <= $1",
        "delete from identity.candidate_registration where expires_at <= $1",
        "delete from identity.second_step where expires_at <= $1",
        "delete from identity.sign_on_attempt where expires_at <= $1",
    ] {
        sqlx::query(over).bind(now).execute(&mut *tx).await?;
    }
    Ok(())
}

/// How long the token of a letter is good.
pub(crate) fn life(letter: Letter) -> TimeDelta {
    match letter {
        Letter::Verification | Letter::CandidateRegistration => VERIFICATION_LIFE,
        Letter::PasswordReset
        | Letter::Invitation
        | Letter::CompanyRejected
        | Letter::SecondFactorEnrolled
        | Letter::SecondFactorTakenAway => RESET_LIFE,
    }
}
