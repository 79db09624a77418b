//! Signing in by a company's own provider (OpenID Connect).

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use domain::ids::CompanyId;
use identity::sign_on::{Provider, SignOn};
use secrecy::ExposeSecret;

use crate::account::{LoginPayload, done};
use crate::company::{SessionPayload, session};
use crate::error::{ApiError, UserError};
use crate::inputs::id;
use crate::payload::user_error;
use crate::scope::Scoped;
use crate::visitor::Visitor;

/// The provider by which people of the company sign in.
#[derive(SimpleObject)]
pub struct SignOnProvider {
    /// Its issuer identifier.
    issuer: String,
    /// The name under which it knows this installation.
    client_id: String,
    /// The page of the frontend that it sends people back to.
    redirect_uri: String,
}

/// Queries on providers.
#[derive(Default)]
pub struct SignOnQuery;

#[Object]
impl SignOnQuery {
    /// The provider of the caller's company; null without one. Administrators only.
    async fn sign_on_provider(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Option<SignOnProvider>> {
        let found = ctx.state()?.identity.sign_on_provider(&*ctx.caller()?).await;
        let shown = |provider: Provider| SignOnProvider {
            issuer: provider.issuer,
            client_id: provider.client_id,
            redirect_uri: provider.redirect_uri,
        };
        Ok(found.map_err(ApiError::from)?.map(shown))
    }
}

/// Names the company's provider. A repeat names the same, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct ConfigureSignOnInput {
    /// Issuer identifier, one of those that the installation allows, such as
    /// `https://login.example.com`.
    issuer: String,
    /// The name under which the provider knows this installation.
    client_id: String,
    /// The secret that goes with it; kept sealed and never shown.
    #[graphql(secret)]
    client_secret: String,
    /// The page of the frontend that the provider sends people back to, as registered there.
    redirect_uri: String,
}

/// Begins to sign on. It needs no `commandId`.
#[derive(InputObject)]
pub struct BeginSignOnInput {
    /// Global id of the company, `comp_…`.
    company_id: ID,
}

/// Ends signing on. An answer is good once, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct FinishSignOnInput {
    /// `token` of `beginSignOn`, which the page kept.
    #[graphql(secret)]
    token: String,
    /// `state` of the provider's answer.
    #[graphql(secret)]
    state: String,
    /// `code` of the provider's answer.
    #[graphql(secret)]
    code: String,
}

/// What beginning to sign on answers.
#[derive(SimpleObject, Default)]
pub struct SignOnPayload {
    /// Where the person goes.
    url: Option<String>,
    /// Keep it with the page, as in `sessionStorage`, for `finishSignOn` within ten minutes.
    token: Option<String>,
    /// Why it was not done, and then all other fields are null; empty if it was done.
    errors: Vec<UserError>,
}

/// Mutations of signing on.
#[derive(Default)]
pub struct SignOnMutation;

#[Object]
impl SignOnMutation {
    /// Lets people of the company sign in by its provider. Administrators only, and not who runs the
    /// platform: whom a provider names would outlast the visit.
    async fn configure_sign_on(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The provider.")] input: ConfigureSignOnInput,
    ) -> async_graphql::Result<LoginPayload> {
        let principal = ctx.session()?.principal()?;
        let ConfigureSignOnInput { issuer, client_id, client_secret, redirect_uri } = input;
        let provider = Provider { issuer, client_id, redirect_uri };
        let identity = &ctx.state()?.identity;
        done(ctx, identity.configure_sign_on(&principal, provider, client_secret.into()).await)
    }

    /// Begins to sign on by the company's provider: send the person to `url`.
    async fn begin_sign_on(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which company.")] input: BeginSignOnInput,
    ) -> async_graphql::Result<SignOnPayload> {
        let company: CompanyId = id("companyId", &input.company_id)?;
        match ctx.state()?.identity.begin_sign_on(company).await.map_err(ApiError::from) {
            Ok(SignOn { url, token }) => Ok(SignOnPayload {
                url: Some(url),
                token: Some(token.expose_secret().to_owned()),
                errors: vec![],
            }),
            Err(error) if error.is_of_input() => Ok(SignOnPayload {
                errors: vec![user_error(ctx, error)],
                ..SignOnPayload::default()
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a session for whom the provider sent back. Who enters for the first time must be invited
    /// by the address that the provider has verified. The session stays in this company.
    async fn finish_sign_on(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The provider's answer.")] input: FinishSignOnInput,
    ) -> async_graphql::Result<SessionPayload> {
        let FinishSignOnInput { token, state, code } = input;
        let (identity, device) = (&ctx.state()?.identity, Visitor::in_request(ctx).device);
        session(ctx, identity.finish_sign_on(&token, &state, &code, device).await)
    }
}
