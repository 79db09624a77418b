//! How people get in: companies with their first administrator, invitations, and the first operator.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use commands::{CommandError, Order, Receipt, derive_id};
use domain::account::SignInMethod;
use domain::caller::{Actor, Caller, Role};
use domain::company::{self, Company};
use domain::ids::{AccountId, CompanyId, MemberId};
use domain::member::{self, Member};
use domain::permission::{Action, Relation, allows};
use domain::values;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::Row;
use uuid::Uuid;

use crate::mail::{self, Letter};
use crate::session::{Credentials, Proved};
use crate::wall::About;
use crate::{Entrance, Identity, IdentityError, Place, Session, outbox, password, tokens};

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

impl Invited {
    /// The token for who invites. Who runs the platform and has entered the company is not shown it:
    /// by it they could make a login there that outlasts the visit. The letter alone brings it.
    #[must_use]
    pub fn token_for(&self, caller: &Caller) -> Option<&SecretString> {
        (!matches!(caller.actor, Actor::Operator(_))).then_some(&self.token)
    }
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
        self.found(operator, company_id, order, name, domain, admin).await
    }

    /// Makes a company under this id and invites its first administrator.
    pub(crate) async fn found(
        &self,
        founder: &Caller,
        company_id: CompanyId,
        order: Order,
        name: String,
        domain: Option<String>,
        admin: Invitee,
    ) -> Result<RegisteredCompany, IdentityError> {
        let within = Caller { company: company_id, ..founder.clone() };
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
        // Whoever invites is shown another token than the address is sent: only who has that one has
        // shown that the address is theirs.
        let mailed = mail::token(&self.bus, Letter::Invitation, member_id.0);
        let mut tx = self.wall.begin(About::company(caller.company)).await?;
        let kept = sqlx::query(
            "insert into identity.invitation
               (token_hash, mailed_hash, company_id, member_id, email, expires_at, version)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        )
        .bind(token_hash(token.expose_secret()))
        .bind(token_hash(mailed.expose_secret()))
        .bind(caller.company.0)
        .bind(member_id.0)
        .bind(&email)
        .bind(self.bus.now() + INVITATION_LIFE)
        .bind(version(&receipt))
        .execute(&mut *tx)
        .await?;
        if kept.rows_affected() > 0 {
            mail::order(&mut tx, &self.bus, Letter::Invitation, member_id.0, &email).await?;
        }
        tx.commit().await?;
        Ok(Invited { receipt, member_id, token })
    }

    /// Invites a person once more, whose invitation has ended or was lost: what was sent and shown
    /// before is worth nothing any more.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not, and for who has joined;
    /// [`IdentityError::InvalidInvitation`] where inviting was cut off before it was done.
    pub async fn renew_invitation(
        &self,
        caller: &Caller,
        order: Order,
        member_id: MemberId,
    ) -> Result<Invited, IdentityError> {
        let secret = self.bus.shown_once(caller, "invitation", order.command_id);
        let token = SecretString::from(URL_SAFE_NO_PAD.encode(secret));
        let mail_id = derive_id(caller, order.command_id, "invitation-letter", 0);
        let is_kept: bool = sqlx::query_scalar(
            "select exists (select 1 from identity.invitation
                             where company_id = $1 and member_id = $2)",
        )
        .bind(caller.company.0)
        .bind(member_id.0)
        .fetch_one(&mut *self.wall.of(About::company(caller.company)).await?)
        .await?;
        // Who invited was cut off before there was anything to send: inviting again goes on with it.
        if !is_kept && self.bus.state::<Member>(caller.company, member_id.0).await?.is_some() {
            return Err(IdentityError::InvalidInvitation);
        }
        let renew = member::Command::RenewInvitation;
        let receipt = self.bus.execute::<Member>(caller, member_id.0, renew, order).await?;
        let mailed = mail::token(&self.bus, Letter::Invitation, mail_id);
        let mut tx = self.wall.begin(About::company(caller.company)).await?;
        // The repeat of an older renewal changes nothing, nor does one after the person has joined.
        let renewed: Option<String> = sqlx::query_scalar(
            "update identity.invitation
                set token_hash = $1, mailed_hash = $2, expires_at = $5, version = $6
              where company_id = $3 and member_id = $4 and used_by is null and version < $6
              returning email",
        )
        .bind(token_hash(token.expose_secret()))
        .bind(token_hash(mailed.expose_secret()))
        .bind(caller.company.0)
        .bind(member_id.0)
        .bind(self.bus.now() + INVITATION_LIFE)
        .bind(version(&receipt))
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(email) = renewed {
            mail::order(&mut tx, &self.bus, Letter::Invitation, mail_id, &email).await?;
        }
        tx.commit().await?;
        Ok(Invited { receipt, member_id, token })
    }

    /// Takes an invitation up and opens a session in its company.
    ///
    /// # Errors
    /// See [`Identity::take_up`].
    pub async fn accept_invitation(
        &self,
        token: &str,
        password: SecretString,
        device: Option<String>,
    ) -> Result<Session, IdentityError> {
        let (proved, company) = self.take_up_proved(token, password).await?;
        let entrance = Entrance { place: Place::Company(company), device };
        self.enter(proved, SignInMethod::Invitation, &entrance).await
    }

    /// Whether an invitation was taken up by somebody.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn is_taken_up(&self, token: &str) -> Result<bool, IdentityError> {
        let hash = token_hash(token);
        let taken_up: Option<bool> = sqlx::query_scalar(
            "select used_by is not null from identity.invitation where token_hash = $1",
        )
        .bind(&hash)
        .fetch_optional(&mut *self.wall.of(About::key(&hash)).await?)
        .await?;
        Ok(taken_up == Some(true))
    }

    /// Takes an invitation up: with a new login, or with the one of its address, whose password it
    /// must be then. Doing it again with the same password is harmless.
    ///
    /// # Errors
    /// [`IdentityError::InvalidInvitation`]; [`IdentityError::Invalid`] for a weak password;
    /// [`IdentityError::BadCredentials`] when the address has a login with another password.
    pub async fn take_up(
        &self,
        token: &str,
        password: SecretString,
    ) -> Result<(AccountId, CompanyId), IdentityError> {
        let (proved, company) = self.take_up_proved(token, password).await?;
        Ok((proved.account, company))
    }

    async fn take_up_proved(
        &self,
        token: &str,
        password: SecretString,
    ) -> Result<(Proved, CompanyId), IdentityError> {
        let hash = token_hash(token);
        let row = sqlx::query(
            "select company_id, member_id, email, expires_at, used_by, mailed_hash = $1 as is_mailed
               from identity.invitation where token_hash = $1 or mailed_hash = $1",
        )
        .bind(&hash)
        .fetch_optional(&mut *self.wall.of(About::key(&hash)).await?)
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
        let proved = match self.credentials(&email).await? {
            Some(_) => self.prove(&email, password).await?,
            None => self.make_account(&email, password, member_id.0).await?,
        };
        let account = proved.account;
        self.record_account(account, &email).await?;
        if used_by.is_some_and(|by| by != account.0) {
            return Err(IdentityError::InvalidInvitation);
        }
        self.join(company, member_id, account, false).await?;
        let mut tx = self.wall.begin(About::account(account)).await?;
        if row.try_get("is_mailed")? {
            self.verified(&mut tx, account).await?;
        } else if !self.login(account).await?.is_verified {
            self.send_letter(&mut tx, Letter::Verification, Some(account), &email).await?;
        }
        tx.commit().await?;
        Ok((proved, company))
    }

    /// Makes a login the member that it was invited to be. Doing it again is harmless.
    pub(crate) async fn join(
        &self,
        company: CompanyId,
        member_id: MemberId,
        account: AccountId,
        by_provider: bool,
    ) -> Result<(), IdentityError> {
        let system = Caller::system(company, "identity");
        let join = member::Command::Join { account_id: account };
        let order = Order::of_client(account.0, b"join".to_vec());
        self.bus.execute::<Member>(&system, member_id.0, join, order).await?;
        let about = About::company(company).and_account(Some(account));
        sqlx::query(
            "with used as (update identity.invitation set used_by = $1
                            where company_id = $2 and member_id = $3)
             insert into identity.membership (account_id, company_id, member_id, by_provider)
             values ($1, $2, $3, $4) on conflict do nothing",
        )
        .bind(account.0)
        .bind(company.0)
        .bind(member_id.0)
        .bind(by_provider)
        .execute(&mut *self.wall.of(about).await?)
        .await?;
        Ok(())
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
        // Starting is no attempt to sign in, and counts as none.
        let account = match self.credentials(&email).await? {
            Some(known) => fitting(known, password).await?.account,
            None => self.make_account(&email, password, seed).await?.account,
        };
        self.record_account(account, &email).await?;
        sqlx::query(
            "insert into identity.operator (account_id) values ($1) on conflict do nothing",
        )
        .bind(account.0)
        .execute(&mut *self.wall.of(About::platform().and_account(Some(account))).await?)
        .await?;
        Ok(tokens::operator(account))
    }

    /// Makes the login of an address that has none. Of several who do so at once one is first, and
    /// the others' password must be the same.
    async fn make_account(
        &self,
        email: &str,
        password: SecretString,
        seed: Uuid,
    ) -> Result<Proved, IdentityError> {
        password::check_rules(&password)?;
        let hash = password::hash(password.clone()).await?;
        let kept = self.keep_account(email, &hash, seed).await?;
        fitting(kept.ok_or(IdentityError::Unavailable)?, password).await
    }

    /// Makes the login of an address that has none, to which no password fits until its holder sets
    /// one by a letter.
    pub(crate) async fn make_account_without_password(
        &self,
        email: &str,
        seed: Uuid,
    ) -> Result<AccountId, IdentityError> {
        let kept = self.keep_account(email, password::NONE, seed).await?;
        kept.map(|kept| kept.account).ok_or(IdentityError::Unavailable)
    }

    /// Brings a login of another system along, by the hash of its password. An address that has a
    /// login keeps that; answers whether it was new.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] for what is no address or no hash of bcrypt or Argon2id.
    pub async fn import_account(&self, email: &str, hash: &str) -> Result<bool, IdentityError> {
        let email = values::email("email", email)?;
        if !password::is_importable(hash) {
            let why = "is no hash of bcrypt (cost 10 to 14) or Argon2id".to_owned();
            return Err(values::Invalid { field: "passwordHash", why }.into());
        }
        let is_new = self.credentials(&email).await?.is_none();
        let seed = commands::new_id(self.bus.clock());
        let kept = self.keep_account(&email, hash, seed).await?;
        let kept = kept.ok_or(IdentityError::Unavailable)?;
        self.record_account(kept.account, &email).await?;
        Ok(is_new)
    }

    /// Keeps the login of an address unless it has one, and answers which it has.
    pub(crate) async fn keep_account(
        &self,
        email: &str,
        hash: &str,
        seed: Uuid,
    ) -> Result<Option<Credentials>, IdentityError> {
        let system = Caller::system(CompanyId::NONE, "identity");
        let account = AccountId(derive_id(&system, seed, "account", 0));
        let about = About::email(email).and_account(Some(account));
        // That it was made is told by whoever carries what happened into the log, also if this process
        // dies here.
        sqlx::query(
            "with made as (
               insert into identity.account (account_id, email, password_hash)
               values ($1, $2, $3) on conflict do nothing returning account_id
             )
             insert into identity.outbox (command_id, account_id)
             select $4, account_id from made",
        )
        .bind(account.0)
        .bind(email)
        .bind(hash)
        .bind(commands::new_id(self.bus.clock()))
        .execute(&mut *self.wall.of(about).await?)
        .await?;
        self.credentials(email).await
    }

    /// Records that a login was made, for whoever goes on with its stream at once. What carries the
    /// outbox does it again under the same id, and makes up for who was cut off.
    pub(crate) async fn record_account(
        &self,
        account: AccountId,
        email: &str,
    ) -> Result<(), IdentityError> {
        outbox::register(&self.bus, account, email.to_owned()).await
    }
}

/// Whose these credentials are, if the password is theirs. Counts nothing.
async fn fitting(known: Credentials, password: SecretString) -> Result<Proved, IdentityError> {
    let Credentials { account, hash, password_no } = known;
    match password::verify(password::turn().await?, password, Some(hash)).await {
        true => Ok(Proved { account, password_no }),
        false => Err(IdentityError::BadCredentials),
    }
}

/// A stream's version after a command, as a column has it.
fn version(receipt: &Receipt) -> i64 {
    i64::try_from(receipt.version.0).unwrap_or(i64::MAX)
}

pub(crate) fn token_hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}
