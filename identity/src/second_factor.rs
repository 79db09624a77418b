//! The second proof: a code of six digits that changes every 30 seconds (TOTP, RFC 6238), or one of
//! ten recovery codes. Each is good once. Secrets derive from the installation's, so that none lies
//! in a table.

use chrono::{DateTime, TimeDelta, Utc};
use commands::{CommandError, new_id};
use domain::account::{Event, RevocationReason, SignInMethod};
use domain::caller::Actor;
use domain::ids::{AccountId, CompanyId, MemberId};
use domain::member::{self, Member};
use domain::permission::{Action, Relation, allows};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgConnection, Row};
use totp_rs::{Builder, Totp};
use uuid::Uuid;

use crate::invitations::token_hash;
use crate::mail::{self, Letter};
use crate::session::Proved;
use crate::wall::{About, about_account, about_key};
use crate::{
    Entrance, Identity, IdentityError, Place, Principal, Session, lockout, outbox, tokens,
};

/// Time between the first step and the second.
const STEP_LIFE: TimeDelta = TimeDelta::minutes(5);
/// How many recovery codes there are.
const N_RECOVERY_CODES: u8 = 10;
/// Digits of recovery codes, without those that look like others.
const DIGITS: &[u8; 30] = b"abcdefghjkmnpqrstvwxyz23456789";
/// Name under which authenticators list the code.
const ISSUER: &str = "Colloquy";

/// The password was right, and a code is wanted.
#[derive(Clone, Debug)]
pub struct SecondStep {
    /// Goes with the code.
    pub token: SecretString,
    /// Until when, UTC.
    pub expires_at: DateTime<Utc>,
}

/// What an authenticator is to be told. Shown until it is confirmed.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The secret in base 32, for typing.
    pub secret: SecretString,
    /// The same as an `otpauth:` URL, for a QR code.
    pub url: SecretString,
}

/// A factor as its row has it.
struct Factor {
    id: Uuid,
    is_confirmed: bool,
    last_step: i64,
}

impl Identity {
    /// Begins to ask for a second proof: answers what an authenticator is to be told. Until it is
    /// confirmed by a code, nothing changes; beginning again makes another secret.
    ///
    /// # Errors
    /// As [`Identity::sign_in`] for the password; [`IdentityError::SecondFactorOn`].
    pub async fn begin_second_factor(
        &self,
        account: AccountId,
        password: SecretString,
    ) -> Result<Enrolment, IdentityError> {
        let login = self.login(account).await?;
        self.prove(&login.email, password).await?;
        let factor_id = new_id(self.bus.clock());
        let begun = sqlx::query(
            "insert into identity.second_factor (account_id, factor_id) values ($1, $2)
             on conflict (account_id) do update set factor_id = excluded.factor_id, last_step = 0
               where identity.second_factor.confirmed_at is null",
        )
        .bind(account.0)
        .bind(factor_id)
        .execute(&mut *self.wall.of(About::account(account)).await?)
        .await?;
        if begun.rows_affected() == 0 {
            return Err(IdentityError::SecondFactorOn);
        }
        let totp = self.totp(factor_id, &login.email)?;
        let url = totp.to_url().map_err(|_| IdentityError::Unavailable)?;
        let secret = totp.secret().to_base32();
        Ok(Enrolment { secret: secret.into(), url: url.into() })
    }

    /// Confirms by a code that the authenticator was told; from now on signing in asks for one, of
    /// which a letter tells the holder. Sessions that are open stay those of one proof. Answers the
    /// recovery codes, which are not shown again.
    ///
    /// # Errors
    /// [`IdentityError::WrongCode`]; [`IdentityError::SecondFactorOn`] when it was confirmed before.
    pub async fn confirm_second_factor(
        &self,
        account: AccountId,
        code: &str,
    ) -> Result<Vec<SecretString>, IdentityError> {
        let login = self.login(account).await?;
        let mut tx = self.wall.begin(About::account(account)).await?;
        let factor = factor(&mut tx, account).await?.ok_or(IdentityError::WrongCode)?;
        if factor.is_confirmed {
            return Err(IdentityError::SecondFactorOn);
        }
        let step = self.matching_step(&factor, code)?.ok_or(IdentityError::WrongCode)?;
        let at = self.bus.now();
        sqlx::query(
            "update identity.second_factor set confirmed_at = $2, last_step = $3
              where account_id = $1",
        )
        .bind(account.0)
        .bind(at)
        .bind(step)
        .execute(&mut *tx)
        .await?;
        let codes: Vec<String> =
            (0..N_RECOVERY_CODES).map(|n| self.recovery_code(factor.id, n)).collect();
        let hashes: Vec<Vec<u8>> = codes.iter().map(|code| token_hash(code)).collect();
        sqlx::query("delete from identity.recovery_code where account_id = $1")
            .bind(account.0)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "insert into identity.recovery_code (account_id, code_hash)
             select $1, hash from unnest($2::bytea[]) as hash",
        )
        .bind(account.0)
        .bind(hashes)
        .execute(&mut *tx)
        .await?;
        let enrolled = Event::SecondFactorEnrolled { at };
        outbox::tell(&mut tx, &self.bus, Some(account), &enrolled).await?;
        let (letter, id) = (Letter::SecondFactorEnrolled, mail::letter_id(&self.bus));
        mail::order(&mut tx, &self.bus, letter, id, &login.email).await?;
        tx.commit().await?;
        Ok(codes.into_iter().map(SecretString::from).collect())
    }

    /// Switches the second proof off, by both proofs.
    ///
    /// # Errors
    /// As [`Identity::sign_in`] for the password; [`IdentityError::WrongCode`], which counts too.
    pub async fn remove_second_factor(
        &self,
        account: AccountId,
        password: SecretString,
        code: &str,
    ) -> Result<(), IdentityError> {
        let login = self.login(account).await?;
        self.prove(&login.email, password).await?;
        let mut tx = self.wall.begin(About::account(account)).await?;
        if self.take_code(&mut tx, account, &login.email, code).await?.is_none() {
            tx.commit().await?;
            return Err(IdentityError::WrongCode);
        }
        self.drop_second_factor(&mut tx, account).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Switches the second proof off, and forgets one that was only begun.
    pub(crate) async fn drop_second_factor(
        &self,
        tx: &mut PgConnection,
        account: AccountId,
    ) -> Result<(), IdentityError> {
        if forget(tx, account).await? {
            let removed = Event::SecondFactorRemoved { at: self.bus.now() };
            outbox::tell(tx, &self.bus, Some(account), &removed).await?;
        }
        Ok(())
    }

    /// Takes away the second proof of a member who has lost it: signing in asks for none, all sessions
    /// of the login end, and a letter tells its holder. Where none is asked for, nothing happens.
    ///
    /// An administrator does it for who is in no other company and does not run the platform; for
    /// others, somebody who runs the platform does. Nobody does it for themselves.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not, or the company has no such member.
    pub async fn take_second_factor_away(
        &self,
        principal: &Principal,
        member_id: MemberId,
    ) -> Result<(), IdentityError> {
        let Principal { caller, account_id, .. } = principal;
        if !allows(caller, Action::DeactivateMember, Relation::default()) {
            return Err(CommandError::Forbidden.into());
        }
        let missing = || CommandError::Refused(Box::new(member::Refusal::Missing));
        let member = self.bus.state::<Member>(caller.company, member_id.0).await?;
        let account = member.as_ref().and_then(Member::account).ok_or_else(missing)?;
        if *account_id == Some(account) {
            return Err(CommandError::Forbidden.into());
        }
        let is_of_others: bool = sqlx::query_scalar(
            "select exists (select 1 from identity.operator where account_id = $1)
                 or exists (select 1 from identity.membership
                             where account_id = $1 and company_id <> $2)",
        )
        .bind(account.0)
        .bind(caller.company.0)
        .fetch_one(&mut *self.wall.of(About::account(account)).await?)
        .await?;
        if is_of_others && !matches!(caller.actor, Actor::Operator(_)) {
            return Err(CommandError::Forbidden.into());
        }
        let login = self.login(account).await?;
        let mut tx = self.wall.begin(About::account(account)).await?;
        if forget(&mut tx, account).await? {
            let (company_id, by, at) = (caller.company, caller.actor.to_string(), self.bus.now());
            let taken = Event::SecondFactorTakenAway { company_id, by, at };
            outbox::tell(&mut tx, &self.bus, Some(account), &taken).await?;
            let reason = RevocationReason::SecondFactorTakenAway;
            self.end_all(&mut tx, account, None, reason).await?;
            sqlx::query("delete from identity.second_step where account_id = $1")
                .bind(account.0)
                .execute(&mut *tx)
                .await?;
            let (letter, id) = (Letter::SecondFactorTakenAway, mail::letter_id(&self.bus));
            mail::order(&mut tx, &self.bus, letter, id, &login.email).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Opens a session for an account whose holder has proved one thing, or asks for the other.
    pub(crate) async fn enter(
        &self,
        proved: Proved,
        method: SignInMethod,
        entrance: &Entrance,
    ) -> Result<Session, IdentityError> {
        let account = proved.account;
        if !self.has_second_factor(account).await? {
            return self.open_session(account, Some(proved), method, entrance).await;
        }
        let (now, step_id) = (self.bus.now(), new_id(self.bus.clock()));
        let token = tokens::opaque(&self.bus, "second-step", step_id.as_bytes());
        let expires_at = now + STEP_LIFE;
        let (is_platform, company) = match entrance.place {
            Place::Any => (false, None),
            Place::Company(company) => (false, Some(company.0)),
            Place::Platform => (true, None),
        };
        let mut tx = self.wall.begin(About::account(account)).await?;
        proved.hold(&mut tx).await?;
        sqlx::query(
            "insert into identity.second_step
               (token_hash, account_id, company_id, is_platform, expires_at)
             values ($1, $2, $3, $4, $5)",
        )
        .bind(token_hash(token.expose_secret()))
        .bind(account.0)
        .bind(company)
        .bind(is_platform)
        .bind(expires_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Err(IdentityError::SecondStepNeeded(Box::new(SecondStep { token, expires_at })))
    }

    /// The second step of signing in: a code of the authenticator, or a recovery code. Wrong ones
    /// count as failures to sign in.
    ///
    /// # Errors
    /// [`IdentityError::WrongCode`], also for a step that is over; [`IdentityError::Locked`].
    pub async fn finish_sign_in(
        &self,
        token: &str,
        code: &str,
        device: Option<String>,
    ) -> Result<Session, IdentityError> {
        let hash = token_hash(token);
        let mut tx = self.wall.begin(About::key(&hash)).await?;
        let row = sqlx::query(
            "select account_id, company_id, is_platform, expires_at from identity.second_step
              where token_hash = $1 for update",
        )
        .bind(&hash)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(IdentityError::WrongCode)?;
        let expires_at: DateTime<Utc> = row.try_get("expires_at")?;
        if self.bus.now() >= expires_at {
            return Err(IdentityError::WrongCode);
        }
        let account = AccountId(row.try_get("account_id")?);
        about_account(&mut tx, Some(account)).await?;
        let login =
            sqlx::query("select email, password_no from identity.account where account_id = $1")
                .bind(account.0)
                .fetch_one(&mut *tx)
                .await?;
        // Another password takes the step away, so that this one is the one it was made by.
        let proved = Proved { account, password_no: login.try_get("password_no")? };
        let email: String = login.try_get("email")?;
        let Some(method) = self.take_code(&mut tx, account, &email, code).await? else {
            tx.commit().await?;
            return Err(IdentityError::WrongCode);
        };
        sqlx::query("delete from identity.second_step where token_hash = $1")
            .bind(&hash)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        let company: Option<Uuid> = row.try_get("company_id")?;
        let place = match (company, row.try_get("is_platform")?) {
            (Some(company), _) => Place::Company(CompanyId(company)),
            (None, true) => Place::Platform,
            (None, false) => Place::Any,
        };
        self.open_session(account, Some(proved), method, &Entrance { place, device }).await
    }

    /// Whether signing in asks for a second proof.
    pub(crate) async fn has_second_factor(
        &self,
        account: AccountId,
    ) -> Result<bool, IdentityError> {
        is_asked_for(&mut *self.wall.of(About::account(account)).await?, account).await
    }

    /// Takes a code, which is good once, or counts a failure; `None` for a wrong one.
    async fn take_code(
        &self,
        tx: &mut PgConnection,
        account: AccountId,
        email: &str,
        code: &str,
    ) -> Result<Option<SignInMethod>, IdentityError> {
        let key = lockout::key(&self.bus, email);
        about_key(tx, &key).await?;
        lockout::check(&mut *tx, &key, self.bus.now()).await?;
        let factor = factor(tx, account).await?.filter(|factor| factor.is_confirmed);
        let Some(factor) = factor else { return Ok(None) };
        let step = self.matching_step(&factor, code)?;
        let method = if let Some(step) = step.filter(|step| *step > factor.last_step) {
            sqlx::query("update identity.second_factor set last_step = $2 where account_id = $1")
                .bind(account.0)
                .bind(step)
                .execute(&mut *tx)
                .await?;
            Some(SignInMethod::PasswordAndCode)
        } else {
            let taken = sqlx::query(
                "delete from identity.recovery_code where account_id = $1 and code_hash = $2",
            )
            .bind(account.0)
            .bind(token_hash(&code.trim().to_lowercase()))
            .execute(&mut *tx)
            .await?;
            (taken.rows_affected() > 0).then_some(SignInMethod::PasswordAndRecoveryCode)
        };
        match method {
            Some(_) => lockout::passed(tx, &self.bus, &key, account).await?,
            // Wrong or right, once it is locked the answer is the same.
            None => {
                if lockout::failed(tx, &self.bus, &key, Some(account)).await? {
                    return Err(IdentityError::Locked);
                }
            }
        }
        Ok(method)
    }

    fn matching_step(&self, factor: &Factor, code: &str) -> Result<Option<i64>, IdentityError> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(None);
        }
        let now = u64::try_from(self.bus.now().timestamp()).unwrap_or_default();
        let step = self.totp(factor.id, "login")?.check(&code, now);
        Ok(step.and_then(|step| i64::try_from(step).ok()))
    }

    fn totp(&self, factor_id: Uuid, account_name: &str) -> Result<Totp, IdentityError> {
        let secret = self.bus.derived_secret("second-factor", factor_id.as_bytes());
        let mut builder = Builder::new()
            .with_account_name(account_name.replace(':', " "))
            .with_issuer(Some(ISSUER));
        builder = builder.with_secret(secret[..20].to_vec());
        builder.build().map_err(|_| IdentityError::Unavailable)
    }

    /// Four groups of four digits, 78 bits by chance.
    fn recovery_code(&self, factor_id: Uuid, n: u8) -> String {
        let seed = [factor_id.as_bytes().as_slice(), &[n]].concat();
        let secret = self.bus.derived_secret("recovery-code", &seed);
        // Bytes beyond the last multiple of 30 would make some digits likelier than others.
        let digits = secret.iter().filter(|byte| **byte < 240);
        let digits: Vec<char> =
            digits.map(|byte| char::from(DIGITS[usize::from(byte % 30)])).take(16).collect();
        let groups: Vec<String> = digits.chunks(4).map(|group| group.iter().collect()).collect();
        groups.join("-")
    }
}

/// Forgets the factor of an account and its recovery codes; whether signing in asked for it.
async fn forget(tx: &mut PgConnection, account: AccountId) -> Result<bool, IdentityError> {
    sqlx::query("delete from identity.recovery_code where account_id = $1")
        .bind(account.0)
        .execute(&mut *tx)
        .await?;
    let was_asked_for: Option<bool> = sqlx::query_scalar(
        "delete from identity.second_factor where account_id = $1
         returning confirmed_at is not null",
    )
    .bind(account.0)
    .fetch_optional(tx)
    .await?;
    Ok(was_asked_for == Some(true))
}

/// Whether signing in asks for a second proof, as seen there.
pub(crate) async fn is_asked_for(
    executor: impl sqlx::PgExecutor<'_>,
    account: AccountId,
) -> Result<bool, IdentityError> {
    let confirmed: Option<bool> = sqlx::query_scalar(
        "select confirmed_at is not null from identity.second_factor where account_id = $1",
    )
    .bind(account.0)
    .fetch_optional(executor)
    .await?;
    Ok(confirmed == Some(true))
}

/// The factor of an account, locked until the transaction ends.
async fn factor(
    tx: &mut PgConnection,
    account: AccountId,
) -> Result<Option<Factor>, IdentityError> {
    let row = sqlx::query(
        "select factor_id, confirmed_at is not null as is_confirmed, last_step
           from identity.second_factor where account_id = $1 for update",
    )
    .bind(account.0)
    .fetch_optional(tx)
    .await?;
    let read = |row: sqlx::postgres::PgRow| -> sqlx::Result<Factor> {
        Ok(Factor {
            id: row.try_get("factor_id")?,
            is_confirmed: row.try_get("is_confirmed")?,
            last_step: row.try_get("last_step")?,
        })
    };
    Ok(row.map(read).transpose()?)
}
