//! Access tokens: JWT (RFC 7519) signed with EdDSA. What stands behind one is asked for again at
//! each use, so that a role or an access that was taken away is gone within a second.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use commands::Bus;
use domain::caller::{Actor, Caller, Role};
use domain::ids::{AccountId, CandidateId, CompanyId, InterviewId, MemberId};
use domain::interview::Interview;
use jsonwebtoken::{Algorithm, Header, Validation};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::invitations::token_hash;
use crate::wall::About;
use crate::{Identity, IdentityError, Principal, Session, api_keys};

const ISSUER: &str = "colloquy";
const AUDIENCE: &str = "colloquy-api";
/// How far the clocks of replicas may stand apart.
const CLOCKS_APART: TimeDelta = TimeDelta::seconds(60);
/// Longest token looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    /// Account, or the candidate of an interview.
    sub: Uuid,
    /// Seconds since 1970.
    iat: i64,
    exp: i64,
    jti: Uuid,
    #[serde(flatten)]
    kind: Kind,
}

impl Claims {
    fn expires_at(&self) -> Result<DateTime<Utc>, IdentityError> {
        DateTime::from_timestamp(self.exp, 0).ok_or(IdentityError::InvalidToken)
    }

    fn known(&self) -> Known {
        Known { jti: self.jti, sub: self.sub, kind: self.kind }
    }

    /// The session it belongs to, for people who have a login.
    fn session_id(&self) -> Option<Uuid> {
        match self.kind {
            Kind::Access { session_id, .. }
            | Kind::Operator { session_id, .. }
            | Kind::Candidate { session_id, .. } => Some(session_id),
            Kind::Interview { .. } => None,
        }
    }
}

/// What stands behind a token.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// Somebody.
    For(Caller),
    /// Nobody any more.
    Nobody,
    /// A session that was ended.
    Revoked,
}

/// What is known of a token within the second: its number alone would let a token of another kind, or
/// of somebody else, find what stands behind this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    jti: Uuid,
    sub: Uuid,
    kind: Kind,
}

/// Whom a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Kind {
    Access {
        company_id: Uuid,
        member_id: Uuid,
        session_id: Uuid,
        /// Whether a company's own provider vouches for the person.
        #[serde(default)]
        bound: bool,
    },
    Operator {
        session_id: Uuid,
        /// The company entered, if one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        company_id: Option<Uuid>,
    },
    Candidate {
        company_id: Uuid,
        candidate_id: Uuid,
        session_id: Uuid,
    },
    Interview {
        company_id: Uuid,
        interview_id: Uuid,
        access_id: Uuid,
    },
}

impl Identity {
    /// A session of a person with a login, without its refresh token.
    pub(crate) async fn person_session(
        &self,
        account: AccountId,
        session_id: Uuid,
        caller: Caller,
        bound: bool,
    ) -> Result<Session, IdentityError> {
        let kind = match caller.actor {
            Actor::Member(member) => {
                let (company_id, member_id) = (caller.company.0, member.0);
                Kind::Access { company_id, member_id, session_id, bound }
            }
            Actor::Operator(_) => {
                let company = Some(caller.company).filter(|company| *company != CompanyId::NONE);
                Kind::Operator { session_id, company_id: company.map(|company| company.0) }
            }
            Actor::Candidate(candidate) => {
                let (company_id, candidate_id) = (caller.company.0, candidate.0);
                Kind::Candidate { company_id, candidate_id, session_id }
            }
            Actor::Guest { .. } | Actor::Service { .. } | Actor::System(_) | Actor::Ai(_) => {
                return Err(IdentityError::InvalidToken);
            }
        };
        self.session(account.0, kind, caller, self.lifetimes.access).await
    }

    /// A session of whoever holds an interview's access token.
    pub(crate) async fn guest_session(
        &self,
        company: CompanyId,
        interview: InterviewId,
        candidate: CandidateId,
        access_id: Uuid,
    ) -> Result<Session, IdentityError> {
        let kind = Kind::Interview { company_id: company.0, interview_id: interview.0, access_id };
        let actor = Actor::Guest { interview, candidate };
        let caller = Caller::new(company, actor, vec![]);
        self.session(candidate.0, kind, caller, self.lifetimes.interview).await
    }

    async fn session(
        &self,
        sub: Uuid,
        kind: Kind,
        caller: Caller,
        life: TimeDelta,
    ) -> Result<Session, IdentityError> {
        let now = self.bus.now();
        let expires_at = seconds(now + life);
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub,
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
            jti: commands::new_id(self.bus.clock()),
            kind,
        };
        let keys = self.keys.keys().await?;
        let (id, key) = keys.signing().ok_or(IdentityError::Unavailable)?;
        let header = Header { kid: Some(id), ..Header::new(Algorithm::EdDSA) };
        let token = jsonwebtoken::encode(&header, &claims, key).map_err(|error| {
            tracing::error!(%error, "a token cannot be signed");
            IdentityError::Unavailable
        })?;
        let principal = principal(&claims, Standing::For(caller))?;
        Ok(Session { access_token: SecretString::from(token), principal, refresh_token: None })
    }

    /// Who a token stands for now.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`] or [`IdentityError::ExpiredToken`];
    /// [`IdentityError::Command`] when what stands behind it cannot be read at present.
    pub async fn verify(&self, token: &str) -> Result<Principal, IdentityError> {
        if token.starts_with(api_keys::PREFIX) {
            let hash = token_hash(token);
            return match self.keyed.get(&hash) {
                Some(principal) => Ok(principal),
                None => self.keyed_anew(token, hash).await,
            };
        }
        let claims = self.running(token).await?;
        match self.standing.get(&claims.known()) {
            Some(standing) => principal(&claims, standing),
            None => self.stands(&claims).await,
        }
    }

    /// Who a token stands for at this moment, past what was known within the last second.
    ///
    /// # Errors
    /// See [`Identity::verify`].
    pub async fn verify_anew(&self, token: &str) -> Result<Principal, IdentityError> {
        if token.starts_with(api_keys::PREFIX) {
            return self.keyed_anew(token, token_hash(token)).await;
        }
        let claims = self.running(token).await?;
        self.stands(&claims).await
    }

    async fn keyed_anew(&self, key: &str, hash: Vec<u8>) -> Result<Principal, IdentityError> {
        self.keyed.invalidate(&hash);
        let principal = self.holder_of_key(key).await?;
        self.keyed.insert(hash, principal.clone());
        Ok(principal)
    }

    async fn stands(&self, claims: &Claims) -> Result<Principal, IdentityError> {
        let standing = self.look_up(claims).await?;
        self.standing.insert(claims.known(), standing.clone());
        principal(claims, standing)
    }

    /// What an intact token of ours says that has not expired.
    async fn running(&self, token: &str) -> Result<Claims, IdentityError> {
        let claims = self.claims(token).await?;
        let now = self.bus.now();
        // Another replica's clock may be a little ahead, and none by more.
        if claims.iat > (now + CLOCKS_APART).timestamp() {
            return Err(IdentityError::InvalidToken);
        }
        match now < claims.expires_at()? {
            true => Ok(claims),
            false => Err(IdentityError::ExpiredToken),
        }
    }

    /// What an intact token of ours says, expired or not.
    async fn claims(&self, token: &str) -> Result<Claims, IdentityError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(IdentityError::InvalidToken);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| IdentityError::InvalidToken)?;
        // What must be understood (RFC 7515, 4.1.11): there is no such thing in tokens of ours.
        if header.crit.is_some() {
            return Err(IdentityError::InvalidToken);
        }
        let keys = self.keys.keys().await?;
        let key = header.kid.as_deref().and_then(|id| keys.verifying(id));
        let key = key.ok_or(IdentityError::InvalidToken)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        // The end is judged by the product's own clock, without leeway.
        validation.validate_exp = false;
        validation.validate_nbf = true;
        let data = jsonwebtoken::decode::<Claims>(token, key, &validation);
        data.map(|data| data.claims).map_err(|_| IdentityError::InvalidToken)
    }

    /// The caller behind a token.
    async fn look_up(&self, claims: &Claims) -> Result<Standing, IdentityError> {
        let account = AccountId(claims.sub);
        if let Some(session_id) = claims.session_id()
            && !self.is_open(account, session_id).await?
        {
            return Ok(Standing::Revoked);
        }
        let caller = match claims.kind {
            Kind::Access { company_id, member_id, .. } => {
                self.member(account, CompanyId(company_id), MemberId(member_id)).await?
            }
            Kind::Operator { company_id: None, .. } => self.operator(account).await?,
            Kind::Operator { company_id: Some(company), .. } => {
                let operator = match self.has_second_factor(account).await? {
                    true => self.operator(account).await?,
                    false => None,
                };
                operator.map(|operator| Caller { company: CompanyId(company), ..operator })
            }
            Kind::Candidate { company_id, candidate_id, .. } => {
                let (company, candidate) = (CompanyId(company_id), CandidateId(candidate_id));
                self.candidate(account, company, candidate).await?
            }
            Kind::Interview { company_id, interview_id, access_id } => {
                let company = CompanyId(company_id);
                let interview = self.bus.state::<Interview>(company, interview_id).await?;
                let interview = interview.filter(|i| !i.is_access_revoked(access_id));
                let candidate = interview.and_then(|i| i.candidate());
                let candidate = candidate.filter(|candidate| candidate.0 == claims.sub);
                candidate.map(|candidate| {
                    let actor = Actor::Guest { interview: InterviewId(interview_id), candidate };
                    Caller::new(company, actor, vec![])
                })
            }
        };
        Ok(caller.map_or(Standing::Nobody, Standing::For))
    }

    async fn is_open(&self, account: AccountId, session_id: Uuid) -> Result<bool, IdentityError> {
        let open: Option<bool> = sqlx::query_scalar(
            "select ended_at is null from identity.session
              where session_id = $1 and account_id = $2",
        )
        .bind(session_id)
        .bind(account.0)
        .fetch_optional(&mut *self.wall.of(About::account(account)).await?)
        .await?;
        Ok(open == Some(true))
    }

    /// The operator whose account this is, if it is one's.
    pub(crate) async fn operator(
        &self,
        account: AccountId,
    ) -> Result<Option<Caller>, IdentityError> {
        let known: Option<Uuid> =
            sqlx::query_scalar("select account_id from identity.operator where account_id = $1")
                .bind(account.0)
                .fetch_optional(&mut *self.wall.of(About::account(account)).await?)
                .await?;
        Ok(known.map(|id| operator(AccountId(id))))
    }
}

fn principal(claims: &Claims, standing: Standing) -> Result<Principal, IdentityError> {
    let caller = match standing {
        Standing::For(caller) => caller,
        Standing::Nobody => return Err(IdentityError::InvalidToken),
        Standing::Revoked => return Err(IdentityError::Revoked),
    };
    let session_id = claims.session_id();
    let account_id = session_id.map(|_| AccountId(claims.sub));
    let is_bound = matches!(claims.kind, Kind::Access { bound: true, .. });
    Ok(Principal { caller, account_id, session_id, is_bound, expires_at: claims.expires_at()? })
}

/// The operator of this account.
pub(crate) fn operator(account: AccountId) -> Caller {
    Caller::new(CompanyId::NONE, Actor::Operator(account), vec![Role::SystemAdmin])
}

/// A token that says nothing and stands for what it derives from, so that it need not lie anywhere.
pub(crate) fn opaque(bus: &Bus, purpose: &str, seed: &[u8]) -> SecretString {
    URL_SAFE_NO_PAD.encode(bus.derived_secret(purpose, seed)).into()
}

fn seconds(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at)
}
