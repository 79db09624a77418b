//! How people get in: companies with their first administrator, invitations, and the first operator.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use commands::{CommandError, Order, Receipt, derive_id};
use domain::account::{self, Account};
use domain::caller::{Caller, Role};
use domain::company::{self, Company};
use domain::ids::{AccountId, CompanyId, MemberId};
use domain::member::{self, Member};
use domain::permission::{Action, Relation, allows};
use domain::values;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::Row;
use uuid::Uuid;

use crate::{Identity, IdentityError, Session, password};

/// Life of an invitation.
const INVITATION_LIFE: TimeDelta = TimeDelta::days(7);

/// Who is to be invited.
#[derive(Clone, Debug)]
pub struct Invitee {
    /// Address.
    pub email: String,
    /// Name.
    pub full_name: String,
    /// First role.
    pub role: Role,
    /// Department, if known.
    pub department: Option<String>,
}

/// What inviting answers.
#[derive(Clone, Debug)]
pub struct Invited {
    /// Of the member's stream.
    pub receipt: Receipt,
    /// The member.
    pub member_id: MemberId,
    /// Shown once; a repeat of the same command shows it again.
    pub token: SecretString,
}

/// What registering a company answers.
#[derive(Clone, Debug)]
pub struct RegisteredCompany {
    /// The company.
    pub company_id: CompanyId,
    /// Of the company's stream.
    pub receipt: Receipt,
    /// Its first administrator, who is to take the invitation up.
    pub admin: Invited,
}

impl Identity {
    /// Makes a company and invites its first administrator.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not, or a rule forbids it.
    pub async fn register_company(
        &self,
        operator: &Caller,
        order: Order,
        name: String,
        domain: Option<String>,
        admin: Invitee,
    ) -> Result<RegisteredCompany, IdentityError> {
        if !allows(operator, Action::RegisterCompany, Relation::default()) {
            return Err(CommandError::Forbidden.into());
        }
        // Looked at before anything is written: a company without an administrator helps nobody.
        values::email("adminEmail", &admin.email)?;
        values::line("adminFullName", &admin.full_name)?;
        let company_id = CompanyId(derive_id(operator, order.command_id, "company", 0));
        let within = Caller { company: company_id, ..operator.clone() };
        let register = company::Command::Register { name, domain };
        let receipt =
            self.bus.execute::<Company>(&within, company_id.0, register, order.clone()).await?;
        let admin = self.invite(&within, order, admin).await?;
        Ok(RegisteredCompany { company_id, receipt, admin })
    }

    /// Invites a person to the caller's company.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not, or a rule forbids it.
    pub async fn invite(
        &self,
        caller: &Caller,
        order: Order,
        invitee: Invitee,
    ) -> Result<Invited, IdentityError> {
        let member_id = MemberId(derive_id(caller, order.command_id, "member", 0));
        let secret = self.bus.shown_once(caller, "invitation", order.command_id);
        let token = SecretString::from(URL_SAFE_NO_PAD.encode(secret));
        let email = values::email("email", &invitee.email)?;
        let invite = member::Command::Invite {
            member_id,
            email: invitee.email,
            full_name: invitee.full_name,
            role: invitee.role,
            department: invitee.department,
        };
        let receipt = self.bus.execute::<Member>(caller, member_id.0, invite, order).await?;
        sqlx::query(
            "insert into identity.invitation (token_hash, company_id, member_id, email, expires_at)
             values ($1, $2, $3, $4, $5) on conflict do nothing",
        )
        .bind(token_hash(token.expose_secret()))
        .bind(caller.company.0)
        .bind(member_id.0)
        .bind(email)
        .bind(self.bus.now() + INVITATION_LIFE)
        .execute(&self.pool)
        .await?;
        Ok(Invited { receipt, member_id, token })
    }

    /// Takes an invitation up: with a new login, or with the one of its address, whose password it
    /// must be then. Doing it again with the same password is harmless.
    ///
    /// # Errors
    /// [`IdentityError::InvalidInvitation`]; [`IdentityError::Invalid`] for a weak password;
    /// [`IdentityError::BadCredentials`] when the address has a login with another password.
    pub async fn accept_invitation(
        &self,
        token: &str,
        password: SecretString,
    ) -> Result<Session, IdentityError> {
        let row = sqlx::query(
            "select company_id, member_id, email, expires_at, used_by
               from identity.invitation where token_hash = $1",
        )
        .bind(token_hash(token))
        .fetch_optional(&self.pool)
        .await?
        .ok_or(IdentityError::InvalidInvitation)?;
        let used_by: Option<Uuid> = row.try_get("used_by")?;
        let expires_at: chrono::DateTime<chrono::Utc> = row.try_get("expires_at")?;
        if used_by.is_none() && self.bus.now() >= expires_at {
            return Err(IdentityError::InvalidInvitation);
        }
        let company = CompanyId(row.try_get("company_id")?);
        let member_id = MemberId(row.try_get("member_id")?);
        let email: String = row.try_get("email")?;
        let account = self.account(&email, password, member_id.0).await?;
        if used_by.is_some_and(|by| by != account.0) {
            return Err(IdentityError::InvalidInvitation);
        }
        let system = Caller::system(company, "identity");
        let join = member::Command::Join { account_id: account };
        let order = Order::of_client(account.0, b"join".to_vec());
        self.bus.execute::<Member>(&system, member_id.0, join, order).await?;
        sqlx::query(
            "with used as (update identity.invitation set used_by = $1 where token_hash = $4)
             insert into identity.membership (account_id, company_id, member_id)
             values ($1, $2, $3) on conflict do nothing",
        )
        .bind(account.0)
        .bind(company.0)
        .bind(member_id.0)
        .bind(token_hash(token))
        .execute(&self.pool)
        .await?;
        self.session_of(account).await
    }

    /// Makes the platform's operator, if there is none with this address yet.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] for a weak password or a wrong address.
    pub async fn ensure_operator(
        &self,
        email: &str,
        password: SecretString,
    ) -> Result<Caller, IdentityError> {
        let email = values::email("email", email)?;
        // Derived from the address, so that processes that start at once make the same account.
        let secret = self.bus.derived_secret("operator-account", email.as_bytes());
        let seed = Uuid::from_slice(&secret[..16]).map_err(|_| IdentityError::Unavailable)?;
        let account = self.account(&email, password, seed).await?;
        sqlx::query(
            "insert into identity.operator (account_id) values ($1) on conflict do nothing",
        )
        .bind(account.0)
        .execute(&self.pool)
        .await?;
        Ok(self.operator_session(account)?.principal.caller)
    }

    /// The login of an address: made if there is none, else the password must fit.
    async fn account(
        &self,
        email: &str,
        password: SecretString,
        seed: Uuid,
    ) -> Result<AccountId, IdentityError> {
        let system = Caller::system(CompanyId::NONE, "identity");
        let known = self.credentials(email).await?;
        let (account_id, hash) = match known {
            Some(known) => known,
            None => {
                password::check_rules(&password)?;
                let account_id = derive_id(&system, seed, "account", 0);
                sqlx::query(
                    "insert into identity.account (account_id, email, password_hash)
                     values ($1, $2, $3) on conflict do nothing",
                )
                .bind(account_id)
                .bind(email)
                .bind(password::hash(password.clone()).await?)
                .execute(&self.pool)
                .await?;
                // Somebody may have been faster: one row stands for the address, and it decides.
                self.credentials(email).await?.ok_or(IdentityError::Unavailable)?
            }
        };
        if !password::verify(password, Some(hash)).await {
            return Err(IdentityError::BadCredentials);
        }
        // After the row, so that whoever was cut off in between is made up for under the same id.
        let register = account::Command::Register { account_id, email: email.to_owned() };
        let order = Order::of_client(account_id.0, b"register".to_vec());
        self.bus.execute::<Account>(&system, account_id.0, register, order).await?;
        Ok(account_id)
    }

    async fn credentials(&self, email: &str) -> Result<Option<(AccountId, String)>, IdentityError> {
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

pub(crate) fn token_hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}
