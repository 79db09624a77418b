//! Candidates with a login of their own: registering, confirming by a letter, and who they are then.

use async_graphql::{Context, ID, InputObject, Object};
use chrono::{DateTime, Utc};
use domain::ids::{CandidateId, CompanyId};
use identity::Applicant;
use secrecy::SecretString;

use crate::account::{LoginPayload, done};
use crate::candidate::Candidate;
use crate::company::{SessionPayload, company_name, session};
use crate::inputs::id;
use crate::loaders::one;
use crate::permission::Permission;
use crate::scope::Scoped;
use crate::visitor::Visitor;

/// A candidate of a company who is signed in, and reaches what is their own.
pub struct CandidateViewer {
    /// The record.
    pub candidate: CandidateId,
    /// The company.
    pub company: CompanyId,
    /// Rights at present.
    pub permissions: Vec<Permission>,
    /// End of the access token, UTC.
    pub expires_at: DateTime<Utc>,
}

/// A candidate of a company who is signed in, and reaches what is their own.
#[Object]
impl CandidateViewer {
    /// Global id of the candidate's record, `cand_…`.
    async fn id(&self) -> ID {
        self.candidate.to_string().into()
    }

    /// The record, as far as the candidate may see it; null for a moment after registering, until the
    /// read model has caught up.
    async fn candidate(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Candidate>> {
        Ok(one(&ctx.loaders()?.candidates, Some(self.candidate)).await?.map(Candidate))
    }

    /// What the candidate may do at present, and how far each right reaches.
    async fn permissions(&self) -> &[Permission] {
        &self.permissions
    }

    /// Global id of the company, `comp_…`.
    async fn company_id(&self) -> ID {
        self.company.to_string().into()
    }

    /// Name of the company.
    async fn company_name(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<String>> {
        Ok(company_name(ctx, self.company).await?)
    }

    /// End of the access token, UTC: sockets and streams end with it.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }
}

/// Registers as a candidate. Of several within a minute one counts, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct RegisterCandidateAccountInput {
    /// Global id of the company, `comp_…`.
    company_id: ID,
    /// E-mail address; a letter to it brings the token for `confirmCandidateAccount`.
    email: String,
    /// Password of the login that is to be made: 10 to 128 characters, among them an upper-case letter,
    /// a digit, and a character that is neither letter nor digit.
    #[graphql(secret)]
    password: String,
    /// Name in full, 2 to 255 characters.
    full_name: String,
}

/// Confirms a registration. Its token is good once, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct ConfirmCandidateAccountInput {
    /// The token of the letter.
    #[graphql(secret)]
    token: String,
    /// The password of the registration. If the address has a login already, its password.
    #[graphql(secret)]
    password: String,
}

/// Mutations of candidates' own accounts.
#[derive(Default)]
pub struct CandidateAccountMutation;

#[Object]
impl CandidateAccountMutation {
    /// Registers as a candidate of a company. Anybody may, without a token. There is no login before it
    /// is confirmed within 24 hours, by the token of the letter that is sent. The answer is the same
    /// for an address that has a login or a record already. An unknown company is the error
    /// `COMPANY_NOT_FOUND`.
    async fn register_candidate_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who registers, and of which company.")]
        input: RegisterCandidateAccountInput,
    ) -> async_graphql::Result<LoginPayload> {
        let applicant = Applicant {
            company: id("companyId", &input.company_id)?,
            email: input.email,
            password: input.password.into(),
            full_name: input.full_name,
        };
        done(ctx, ctx.state()?.identity.register_candidate(applicant).await)
    }

    /// Confirms a registration by the token of its letter and the password: makes the login, if the
    /// address has none, links it with the company's record of the address, which is made if there is
    /// none, and signs in. A record that has another login is refused with `CAND_ACCOUNT_LINKED`. Where the
    /// login has a second proof, `secondStepToken` asks for it as in `signIn`.
    async fn confirm_candidate_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token and the password.")] input: ConfirmCandidateAccountInput,
    ) -> async_graphql::Result<SessionPayload> {
        let password = SecretString::from(input.password);
        let (identity, device) = (&ctx.state()?.identity, Visitor::in_request(ctx).device);
        session(ctx, identity.confirm_candidate(&input.token, password, device).await)
    }
}
