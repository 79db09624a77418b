//! Entering one interview: an access token shown once, kept as a hash, exchanged for a scoped one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use commands::{Order, Receipt, derive_id};
use domain::caller::{Actor, Caller};
use domain::ids::{CandidateId, CompanyId, InterviewId};
use domain::interview::{Command, Interview};
use secrecy::{ExposeSecret, SecretString};
use sqlx::Row;
use uuid::Uuid;

use crate::invitations::token_hash;
use crate::wall::{About, hex};
use crate::{Identity, IdentityError, Session};

/// Life of an interview's access token, unless another is asked for (C16).
const ACCESS_LIFE: TimeDelta = TimeDelta::days(7);

/// What giving access answers.
#[derive(Clone, Debug)]
pub struct IssuedAccess {
    /// Of the interview's stream.
    pub receipt: Receipt,
    /// Names the access, for taking it back.
    pub access_id: Uuid,
    /// Shown once; a repeat of the same command shows it again.
    pub token: SecretString,
}

/// What an access token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterviewAccess {
    /// The company.
    pub company_id: CompanyId,
    /// The interview.
    pub interview_id: InterviewId,
    /// Its candidate.
    pub candidate_id: CandidateId,
    /// Names the access.
    pub access_id: Uuid,
    /// End of the access.
    pub expires_at: DateTime<Utc>,
    /// When the interview is to begin.
    pub scheduled_at: Option<DateTime<Utc>>,
}

impl Identity {
    /// Makes an access token for an interview's candidate.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not, or a rule forbids it.
    pub async fn issue_interview_access(
        &self,
        caller: &Caller,
        order: Order,
        interview: InterviewId,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<IssuedAccess, IdentityError> {
        // The interview is part of both: one command id may be used on several.
        let kind = format!("interview-access/{}", interview.0);
        let secret = self.bus.shown_once(caller, &kind, order.command_id);
        let token = SecretString::from(URL_SAFE_NO_PAD.encode(secret));
        let access_id = derive_id(caller, order.command_id, &kind, 0);
        let issue = Command::IssueAccess {
            access_id,
            token_hash: hex(&token_hash(token.expose_secret())),
            expires_at: expires_at.unwrap_or_else(|| self.bus.now() + ACCESS_LIFE),
        };
        let receipt = self.bus.execute::<Interview>(caller, interview.0, issue, order).await?;
        sqlx::query(
            "insert into identity.interview_access (token_hash, company_id, interview_id)
             values ($1, $2, $3) on conflict do nothing",
        )
        .bind(token_hash(token.expose_secret()))
        .bind(caller.company.0)
        .bind(interview.0)
        .execute(&mut *self.wall.of(About::company(caller.company)).await?)
        .await?;
        Ok(IssuedAccess { receipt, access_id, token })
    }

    /// What an access token opens at present.
    ///
    /// # Errors
    /// [`IdentityError::InvalidAccess`] for a token that is unknown, expired, taken back, or of an
    /// interview that has ended.
    pub async fn interview_access(&self, token: &str) -> Result<InterviewAccess, IdentityError> {
        let hash = token_hash(token);
        let row = sqlx::query(
            "select company_id, interview_id from identity.interview_access where token_hash = $1",
        )
        .bind(&hash)
        .fetch_optional(&mut *self.wall.of(About::key(&hash)).await?)
        .await?
        .ok_or(IdentityError::InvalidAccess)?;
        let company_id = CompanyId(row.try_get("company_id")?);
        let interview_id = InterviewId(row.try_get("interview_id")?);
        let interview = self.bus.state::<Interview>(company_id, interview_id.0).await?;
        let interview = interview.ok_or(IdentityError::InvalidAccess)?;
        let access = interview.access(&hex(&hash), self.bus.now());
        let (access, candidate_id) =
            access.zip(interview.candidate()).ok_or(IdentityError::InvalidAccess)?;
        Ok(InterviewAccess {
            company_id,
            interview_id,
            candidate_id,
            access_id: access.access_id,
            expires_at: access.expires_at,
            scheduled_at: interview.scheduled_at(),
        })
    }

    /// Exchanges an access token for a session that reaches this one interview.
    ///
    /// # Errors
    /// See [`Identity::interview_access`].
    pub async fn open_interview_session(&self, token: &str) -> Result<Session, IdentityError> {
        let access = self.interview_access(token).await?;
        let InterviewAccess { company_id, interview_id, candidate_id, access_id, .. } = access;
        let actor = Actor::Guest { interview: interview_id, candidate: candidate_id };
        let guest = Caller::new(company_id, actor, vec![]);
        let order = Order::of_client(access_id, b"use".to_vec());
        let first_use = Command::UseAccess { access_id };
        self.bus.execute::<Interview>(&guest, interview_id.0, first_use, order).await?;
        self.guest_session(company_id, interview_id, candidate_id, access_id).await
    }
}
