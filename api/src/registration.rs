//! Companies that ask to be let in: anybody asks, operators decide.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use domain::ids::CompanyRequestId;
use identity::{Application, PendingRequest};
use projections::companies;
use uuid::Uuid;

use crate::company::Company;
use crate::error::{ApiError, UserError};
use crate::inputs::{id, inputs, optional_id};
use crate::payload::{entity, order, token, user_error};
use crate::scope::Scoped;

/// A company that asks to be let in, not decided yet.
#[derive(SimpleObject)]
pub struct CompanyRequest {
    /// Global id, `creq_…`.
    id: ID,
    /// Name of the company.
    company_name: String,
    /// Its mail domain, if it has one.
    domain: Option<String>,
    /// Who asks, and is to be the first administrator.
    contact_full_name: String,
    /// Address of who asks; nobody has shown yet that it is theirs.
    contact_email: String,
    /// When it was asked for, UTC.
    requested_at: DateTime<Utc>,
}

impl From<PendingRequest> for CompanyRequest {
    fn from(pending: PendingRequest) -> Self {
        let PendingRequest { request_id, application, requested_at } = pending;
        Self {
            id: request_id.to_string().into(),
            company_name: application.company_name,
            domain: application.domain,
            contact_full_name: application.contact_full_name,
            contact_email: application.contact_email,
            requested_at,
        }
    }
}

/// How many requests are shown.
const SHOWN: u32 = 20;
const MOST_SHOWN: u32 = 100;

/// Queries on companies that ask to be let in.
#[derive(Default)]
pub struct RegistrationQuery;

#[Object]
impl RegistrationQuery {
    /// Requests of companies that are not decided, oldest first. Operators only.
    async fn company_requests(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<u32>,
        #[graphql(desc = "From the one after this request, which must still wait.")] after: Option<
            ID,
        >,
    ) -> async_graphql::Result<Vec<CompanyRequest>> {
        let limit = first.unwrap_or(SHOWN);
        if !(1..=MOST_SHOWN).contains(&limit) {
            return Err(ApiError::invalid("first", "is 1 to 100").into());
        }
        let caller = ctx.caller()?;
        let after = optional_id("after", after.as_ref())?;
        let pending = ctx.state()?.identity.pending_requests(&caller, after, limit).await;
        let pending = pending.map_err(ApiError::from)?;
        Ok(pending.into_iter().map(CompanyRequest::from).collect())
    }
}

/// Asks for a company.
#[derive(InputObject)]
pub struct RequestCompanyInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Name of the company, at most 255 characters.
    company_name: String,
    /// Its mail domain, if it has one.
    domain: Option<String>,
    /// Name in full of who asks, and is to be the first administrator.
    contact_full_name: String,
    /// Address of who asks.
    contact_email: String,
}

/// Lets a company in.
#[derive(InputObject)]
pub struct ApproveCompanyRequestInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Which request, `creq_…`.
    request_id: ID,
    /// Another mail domain than the one asked for; an empty text is none.
    domain: Option<String>,
}

/// Turns a company away.
#[derive(InputObject)]
pub struct RejectCompanyRequestInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Which request, `creq_…`.
    request_id: ID,
    /// Why, at most 5000 characters.
    reason: String,
}

inputs! {
    RequestCompanyInput => "requestCompany";
    ApproveCompanyRequestInput => "approveCompanyRequest";
    RejectCompanyRequestInput => "rejectCompanyRequest";
}

/// What mutations of requests of companies answer.
#[derive(SimpleObject, Default)]
pub struct CompanyRequestPayload {
    /// Global id of the request, `creq_…`.
    request_id: Option<ID>,
    /// The company that it became, with the approval that made it.
    company: Option<Company>,
    /// Consistency token: a query that presents it in `consistentWith` sees this change.
    cursor: Option<String>,
    /// Why it was not done, and then all other fields are null; empty if it was done.
    errors: Vec<UserError>,
}

/// Mutations of requests of companies.
#[derive(Default)]
pub struct RegistrationMutation;

#[Object]
impl RegistrationMutation {
    /// Asks for a company to be let in. Anybody may, without a token. Once an operator approves, the
    /// contact is sent the first administrator's invitation.
    async fn request_company(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company and who asks.")] input: RequestCompanyInput,
    ) -> async_graphql::Result<CompanyRequestPayload> {
        answer(ctx, request(ctx, &input).await)
    }

    /// Lets a company in: makes it, and sends its first administrator the invitation. If another
    /// company has the domain, approve again with another one or with none. Operators only.
    async fn approve_company_request(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which request.")] input: ApproveCompanyRequestInput,
    ) -> async_graphql::Result<CompanyRequestPayload> {
        answer(ctx, approve(ctx, &input).await)
    }

    /// Turns a company away, which a letter tells the contact, with the reason. Operators only.
    async fn reject_company_request(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which request, and why.")] input: RejectCompanyRequestInput,
    ) -> async_graphql::Result<CompanyRequestPayload> {
        answer(ctx, reject(ctx, &input).await)
    }
}

async fn request(
    ctx: &Context<'_>,
    input: &RequestCompanyInput,
) -> Result<CompanyRequestPayload, ApiError> {
    let application = Application {
        company_name: input.company_name.clone(),
        domain: input.domain.clone(),
        contact_full_name: input.contact_full_name.clone(),
        contact_email: input.contact_email.clone(),
    };
    let order = order(ctx, input)?;
    let (id, receipt) = ctx.state()?.identity.request_company(order, application).await?;
    Ok(CompanyRequestPayload {
        request_id: Some(id.to_string().into()),
        cursor: Some(token(&receipt).to_string()),
        ..CompanyRequestPayload::default()
    })
}

async fn approve(
    ctx: &Context<'_>,
    input: &ApproveCompanyRequestInput,
) -> Result<CompanyRequestPayload, ApiError> {
    let request: CompanyRequestId = id("requestId", &input.request_id)?;
    let (order, caller) = (order(ctx, input)?, ctx.caller()?);
    let identity = &ctx.state()?.identity;
    let (receipt, made) =
        identity.approve_request(&caller, order, request, input.domain.clone()).await?;
    let company = match &made {
        Some(made) => entity::<companies::Companies>(ctx, &made.receipt).await?.map(Company),
        None => None,
    };
    let newest = made.map_or(receipt, |made| made.receipt);
    Ok(CompanyRequestPayload {
        request_id: Some(request.to_string().into()),
        company,
        cursor: Some(token(&newest).to_string()),
        errors: vec![],
    })
}

async fn reject(
    ctx: &Context<'_>,
    input: &RejectCompanyRequestInput,
) -> Result<CompanyRequestPayload, ApiError> {
    let request: CompanyRequestId = id("requestId", &input.request_id)?;
    let (order, caller) = (order(ctx, input)?, ctx.caller()?);
    let identity = &ctx.state()?.identity;
    let receipt = identity.reject_request(&caller, order, request, input.reason.clone()).await?;
    Ok(CompanyRequestPayload {
        request_id: Some(request.to_string().into()),
        cursor: Some(token(&receipt).to_string()),
        ..CompanyRequestPayload::default()
    })
}

fn answer(
    ctx: &Context<'_>,
    result: Result<CompanyRequestPayload, ApiError>,
) -> async_graphql::Result<CompanyRequestPayload> {
    match result {
        Ok(payload) => Ok(payload),
        Err(error) if error.is_of_input() => Ok(CompanyRequestPayload {
            errors: vec![user_error(ctx, error)],
            ..CompanyRequestPayload::default()
        }),
        Err(error) => Err(error.into()),
    }
}
