//! Access tokens: JWT (RFC 7519) signed with EdDSA. What stands behind one is asked for again at
//! each use, so that a role or an access that was taken away is gone within a second.

use chrono::{DateTime, TimeDelta, Utc};
use domain::caller::{Actor, Caller, Role};
use domain::ids::{AccountId, CandidateId, CompanyId, InterviewId, MemberId};
use domain::interview::Interview;
use domain::member::Member;
use jsonwebtoken::{Algorithm, Header, Validation};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Identity, IdentityError, Principal, Session};

const ISSUER: &str = "colloquy";
const AUDIENCE: &str = "colloquy-api";
/// Life of a person's access token (C01).
const ACCESS_LIFE: TimeDelta = TimeDelta::minutes(15);
/// Life of a token for one interview (C01); it is renewed with the interview's access token.
const INTERVIEW_LIFE: TimeDelta = TimeDelta::minutes(60);
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
}

/// Whom a token stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Kind {
    Access { company_id: Uuid, member_id: Uuid },
    Operator {},
    Interview { company_id: Uuid, interview_id: Uuid, access_id: Uuid },
}

impl Identity {
    /// A session of a member.
    pub(crate) fn member_session(
        &self,
        account: AccountId,
        company: CompanyId,
        member: MemberId,
        roles: Vec<Role>,
    ) -> Result<Session, IdentityError> {
        let kind = Kind::Access { company_id: company.0, member_id: member.0 };
        let caller = Caller { company, actor: Actor::Member(member), roles };
        self.session(account.0, Some(account), kind, caller, ACCESS_LIFE)
    }

    /// A session of an operator.
    pub(crate) fn operator_session(&self, account: AccountId) -> Result<Session, IdentityError> {
        let caller = operator(account);
        self.session(account.0, Some(account), Kind::Operator {}, caller, ACCESS_LIFE)
    }

    /// A session of whoever holds an interview's access token.
    pub(crate) fn guest_session(
        &self,
        company: CompanyId,
        interview: InterviewId,
        candidate: CandidateId,
        access_id: Uuid,
    ) -> Result<Session, IdentityError> {
        let kind = Kind::Interview { company_id: company.0, interview_id: interview.0, access_id };
        let actor = Actor::Guest { interview, candidate };
        let caller = Caller { company, actor, roles: vec![] };
        self.session(candidate.0, None, kind, caller, INTERVIEW_LIFE)
    }

    fn session(
        &self,
        sub: Uuid,
        account_id: Option<AccountId>,
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
        let (id, key) = self.keys.signing().ok_or(IdentityError::Unavailable)?;
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::EdDSA) };
        let token = jsonwebtoken::encode(&header, &claims, key).map_err(|error| {
            tracing::error!(%error, "a token cannot be signed");
            IdentityError::Unavailable
        })?;
        let principal = Principal { caller, account_id, expires_at };
        Ok(Session { access_token: SecretString::from(token), principal })
    }

    /// Who a token stands for now.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`] or [`IdentityError::ExpiredToken`];
    /// [`IdentityError::Command`] when what stands behind it cannot be read at present.
    pub async fn verify(&self, token: &str) -> Result<Principal, IdentityError> {
        let claims = self.running(token)?;
        match self.standing.get(&claims.jti) {
            Some(standing) => principal(&claims, standing),
            None => self.stands(&claims).await,
        }
    }

    /// Who a token stands for at this moment, past what was known within the last second.
    ///
    /// # Errors
    /// See [`Identity::verify`].
    pub async fn verify_anew(&self, token: &str) -> Result<Principal, IdentityError> {
        let claims = self.running(token)?;
        self.stands(&claims).await
    }

    async fn stands(&self, claims: &Claims) -> Result<Principal, IdentityError> {
        let standing = self.look_up(claims).await?;
        self.standing.insert(claims.jti, standing.clone());
        principal(claims, standing)
    }

    /// What an intact token of ours says that has not expired.
    fn running(&self, token: &str) -> Result<Claims, IdentityError> {
        let claims = self.claims(token)?;
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
    fn claims(&self, token: &str) -> Result<Claims, IdentityError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(IdentityError::InvalidToken);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| IdentityError::InvalidToken)?;
        // What must be understood (RFC 7515, 4.1.11): there is no such thing in tokens of ours.
        if header.crit.is_some() {
            return Err(IdentityError::InvalidToken);
        }
        let key = header.kid.as_deref().and_then(|id| self.keys.verifying(id));
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

    /// The caller behind a token, `None` if there is nobody any more.
    async fn look_up(&self, claims: &Claims) -> Result<Option<Caller>, IdentityError> {
        match claims.kind {
            Kind::Access { company_id, member_id } => {
                let company = CompanyId(company_id);
                let member = self.bus.state::<Member>(company, member_id).await?;
                let member = member.filter(|member| {
                    member.is_active() && member.account() == Some(AccountId(claims.sub))
                });
                let actor = Actor::Member(MemberId(member_id));
                let roles = member.map(|member| member.role().into_iter().collect());
                Ok(roles.map(|roles| Caller { company, actor, roles }))
            }
            Kind::Operator {} => {
                let known: Option<Uuid> = sqlx::query_scalar(
                    "select account_id from identity.operator where account_id = $1",
                )
                .bind(claims.sub)
                .fetch_optional(&self.pool)
                .await?;
                Ok(known.map(|id| operator(AccountId(id))))
            }
            Kind::Interview { company_id, interview_id, access_id } => {
                let company = CompanyId(company_id);
                let interview = self.bus.state::<Interview>(company, interview_id).await?;
                let interview = interview.filter(|i| !i.is_access_revoked(access_id));
                let candidate = interview.and_then(|i| i.candidate());
                let candidate = candidate.filter(|candidate| candidate.0 == claims.sub);
                Ok(candidate.map(|candidate| {
                    let actor = Actor::Guest { interview: InterviewId(interview_id), candidate };
                    Caller { company, actor, roles: vec![] }
                }))
            }
        }
    }
}

fn principal(claims: &Claims, standing: Option<Caller>) -> Result<Principal, IdentityError> {
    let caller = standing.ok_or(IdentityError::InvalidToken)?;
    let account_id = match claims.kind {
        Kind::Access { .. } | Kind::Operator {} => Some(AccountId(claims.sub)),
        Kind::Interview { .. } => None,
    };
    Ok(Principal { caller, account_id, expires_at: claims.expires_at()? })
}

fn operator(account: AccountId) -> Caller {
    Caller {
        company: CompanyId::NONE,
        actor: Actor::Operator(account),
        roles: vec![Role::SystemAdmin],
    }
}

fn seconds(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at)
}
