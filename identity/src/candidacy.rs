//! Candidates who register themselves: what they give stands here until they show by a letter that the
//! address is theirs. Then they have a login, linked with their record in the company.

use chrono::{DateTime, Utc};
use commands::{CommandError, Order, derive_id};
use domain::Aggregate as _;
use domain::account::SignInMethod;
use domain::caller::{Actor, Caller};
use domain::candidate::{Candidate, Command, GivenProfile};
use domain::claims::Kind;
use domain::company::Company;
use domain::ids::{AccountId, CandidateId, CompanyId};
use domain::values;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::invitations::token_hash;
use crate::mail::{self, Letter};
use crate::session::Proved;
use crate::wall::{About, about_key};
use crate::{Entrance, Identity, IdentityError, Place, Session, password, recovery};

/// Fewest characters of a name (TEN-13).
const MIN_NAME_CHARS: usize = 2;
/// How often a record is looked for again, when others were faster with the address or the login.
const MAX_ATTEMPTS: u32 = 5;
/// Where a record comes from that nobody of the company has made.
const SOURCE: &str = "self-registration";

/// Who registers as a candidate.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// Of which company.
    pub company: CompanyId,
    /// Address.
    pub email: String,
    /// Password of the login that is to be made.
    pub password: SecretString,
    /// Name in full.
    pub full_name: String,
}

/// A registration that waits for its letter.
struct Registration {
    id: Uuid,
    company: CompanyId,
    email: String,
    full_name: String,
    password_hash: String,
}

impl Identity {
    /// Keeps what somebody gives who registers as a candidate, and sends a letter to the address. The
    /// answer and its time are the same whether or not the address has a login or a record; of several
    /// registrations of an address within a minute, one counts.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] when a field is wrong; [`IdentityError::NoCompany`].
    pub async fn register_candidate(&self, applicant: Applicant) -> Result<(), IdentityError> {
        let Applicant { company, email, password, full_name } = applicant;
        let email = values::email("email", &email)?;
        let full_name = values::line("fullName", &full_name)?;
        if full_name.chars().count() < MIN_NAME_CHARS {
            let why = format!("has fewer than {MIN_NAME_CHARS} characters");
            return Err(values::Invalid { field: "fullName", why }.into());
        }
        password::check_rules(&password)?;
        self.bus.state::<Company>(company, company.0).await?.ok_or(IdentityError::NoCompany)?;
        let hash = password::hash(password).await?;
        let letter = Letter::CandidateRegistration;
        let id = mail::letter_id(&self.bus);
        let token = mail::token(&self.bus, letter, id);
        let mut tx = self.wall.begin(About::company(company)).await?;
        if self.may_send(&mut tx, letter, &email).await? {
            sqlx::query(
                "insert into identity.candidate_registration
                   (registration_id, token_hash, company_id, email, full_name, password_hash,
                    expires_at)
                 values ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(id)
            .bind(token_hash(token.expose_secret()))
            .bind(company.0)
            .bind(&email)
            .bind(full_name)
            .bind(hash)
            .bind(self.bus.now() + recovery::life(letter))
            .execute(&mut *tx)
            .await?;
            mail::order(&mut tx, &self.bus, letter, id, &email).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Makes the login of who has the letter and knows the password of the registration, links it with
    /// the company's record of the address, which is made if there is none, and opens a session. If the
    /// address has a login already, its password is wanted instead, so that nobody links another's.
    /// Whoever has the letter alone might take over what another has prepared with the address.
    ///
    /// # Errors
    /// [`IdentityError::InvalidLetter`] for a token that is unknown, expired or used;
    /// [`IdentityError::BadCredentials`], [`IdentityError::Locked`] and
    /// [`IdentityError::SecondStepNeeded`] as in signing in; [`IdentityError::Command`] when the record
    /// has another login.
    pub async fn confirm_candidate(
        &self,
        token: &str,
        password: SecretString,
        device: Option<String>,
    ) -> Result<Session, IdentityError> {
        let token = token_hash(token);
        let registration = self.registration(&token).await?;
        let proved = self.prove_applicant(&registration, password).await?;
        let account = proved.account;
        self.record_account(account, &registration.email).await?;
        let candidate = self.link(&registration, account).await?;
        let company = registration.company;
        let about = About::company(company).and_account(Some(account));
        let mut tx = self.wall.begin(about).await?;
        about_key(&mut tx, &token).await?;
        self.verified(&mut tx, account).await?;
        keep_candidacy(&mut tx, account, company, candidate, self.bus.now()).await?;
        let used =
            sqlx::query("delete from identity.candidate_registration where registration_id = $1")
                .bind(registration.id)
                .execute(&mut *tx)
                .await?;
        // Of two who confirm at once one was faster.
        if used.rows_affected() == 0 {
            return Err(IdentityError::InvalidLetter);
        }
        tx.commit().await?;
        let entrance = Entrance { place: Place::Company(company), device };
        self.enter(proved, SignInMethod::Registration, &entrance).await
    }

    async fn registration(&self, token: &[u8]) -> Result<Registration, IdentityError> {
        let row = sqlx::query(
            "select registration_id, company_id, email, full_name, password_hash
               from identity.candidate_registration where token_hash = $1 and expires_at > $2",
        )
        .bind(token)
        .bind(self.bus.now())
        .fetch_optional(&mut *self.wall.of(About::key(token)).await?)
        .await?
        .ok_or(IdentityError::InvalidLetter)?;
        Ok(Registration {
            id: row.try_get("registration_id")?,
            company: CompanyId(row.try_get("company_id")?),
            email: row.try_get("email")?,
            full_name: row.try_get("full_name")?,
            password_hash: row.try_get("password_hash")?,
        })
    }

    /// The login of who registered, which is made if the address has none.
    async fn prove_applicant(
        &self,
        registration: &Registration,
        password: SecretString,
    ) -> Result<Proved, IdentityError> {
        let Registration { id, email, password_hash, .. } = registration;
        if self.credentials(email).await?.is_some() {
            return self.prove(email, password).await;
        }
        let (turn, hash) = (password::turn().await?, password_hash.clone());
        if !password::verify(turn, password.clone(), Some(hash)).await {
            return Err(IdentityError::BadCredentials);
        }
        let kept = self.keep_account(email, password_hash, *id).await?;
        let kept = kept.ok_or(IdentityError::Unavailable)?;
        match kept.hash == *password_hash {
            true => Ok(Proved { account: kept.account, password_no: kept.password_no }),
            // Another login was made with the address meanwhile.
            false => self.prove(email, password).await,
        }
    }

    /// The company's active record of a login: the one that it has already, else the one of the
    /// address, else a new one. Doing it again is harmless.
    async fn link(
        &self,
        registration: &Registration,
        account_id: AccountId,
    ) -> Result<CandidateId, IdentityError> {
        let Registration { id, company, email, full_name, .. } = registration;
        let system = Caller::system(*company, "identity");
        let login = account_id.0.to_string();
        for _ in 0..MAX_ATTEMPTS {
            let linked = self.bus.holder(*company, Kind::CandidateAccount, &login).await?;
            if let Some(linked) = linked {
                return Ok(CandidateId(linked));
            }
            let (record, command, order) =
                match self.bus.holder(*company, Kind::CandidateEmail, email).await? {
                    Some(known) => {
                        let order = Order::of_client(*id, b"link".to_vec());
                        (known, Command::LinkAccount { account_id }, order)
                    }
                    None => {
                        let new = derive_id(&system, *id, Candidate::NAME, 0);
                        let profile = GivenProfile {
                            full_name: full_name.clone(),
                            email: email.clone(),
                            phone: None,
                            source: Some(SOURCE.to_owned()),
                        };
                        let candidate_id = CandidateId(new);
                        let command = Command::RegisterSelf { candidate_id, profile, account_id };
                        (new, command, Order::of_client(*id, b"register".to_vec()))
                    }
                };
            match self.bus.execute::<Candidate>(&system, record, command, order).await {
                Ok(_) => return Ok(CandidateId(record)),
                // The address, the login or the record went elsewhere since it was looked for.
                Err(CommandError::Taken { .. }) => {}
                Err(CommandError::Refused(refusal)) if refusal.code() == "CAND_ARCHIVED" => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommandError::Contended.into())
    }

    /// The candidate that an account is in that place at present; of several the one linked last.
    pub(crate) async fn candidate_at(
        &self,
        account: AccountId,
        place: Place,
    ) -> Result<Option<Caller>, IdentityError> {
        let rows = sqlx::query(
            "select company_id, candidate_id from identity.candidacy
              where account_id = $1 order by linked_at desc, candidate_id",
        )
        .bind(account.0)
        .fetch_all(&mut *self.wall.of(About::account(account)).await?)
        .await?;
        for row in rows {
            let company = CompanyId(row.try_get("company_id")?);
            if place != Place::Any && place != Place::Company(company) {
                continue;
            }
            let candidate = CandidateId(row.try_get("candidate_id")?);
            if let Some(caller) = self.candidate(account, company, candidate).await? {
                return Ok(Some(caller));
            }
        }
        Ok(None)
    }

    /// The candidate of this record, if it is in use and the account's.
    pub(crate) async fn candidate(
        &self,
        account: AccountId,
        company: CompanyId,
        candidate: CandidateId,
    ) -> Result<Option<Caller>, IdentityError> {
        let record = self.bus.state::<Candidate>(company, candidate.0).await?;
        let is_own =
            record.is_some_and(|record| record.is_active() && record.account() == Some(account));
        let caller = Caller::new(company, Actor::Candidate(candidate), vec![]);
        Ok(is_own.then_some(caller))
    }
}

async fn keep_candidacy(
    tx: &mut PgConnection,
    account: AccountId,
    company: CompanyId,
    candidate: CandidateId,
    at: DateTime<Utc>,
) -> Result<(), IdentityError> {
    sqlx::query(
        "insert into identity.candidacy (account_id, company_id, candidate_id, linked_at)
         values ($1, $2, $3, $4) on conflict do nothing",
    )
    .bind(account.0)
    .bind(company.0)
    .bind(candidate.0)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}
