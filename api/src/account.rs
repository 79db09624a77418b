//! The own login: prolonging a session, ending sessions, listing them; letters and new passwords.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use domain::ids::{AccountId, CompanyId};
use identity::IdentityError;
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::company::{SessionPayload, session};
use crate::error::{ApiError, UserError};
use crate::inputs::optional_id;
use crate::payload::user_error;
use crate::scope::Scoped;
use crate::visitor;

/// An open session of the caller's own login.
#[derive(SimpleObject)]
pub struct AccountSession {
    /// Names it, for `signOut`.
    session_id: Uuid,
    /// Global id of the company entered, `comp_…`; null for the platform.
    company_id: Option<ID>,
    /// What the client called itself, if it did.
    device: Option<String>,
    /// When it began, UTC.
    created_at: DateTime<Utc>,
    /// When it was last prolonged, UTC.
    last_used_at: DateTime<Utc>,
    /// When it ends unless it is prolonged, UTC.
    expires_at: DateTime<Utc>,
    /// Whether this request belongs to it.
    is_present: bool,
}

/// The caller's own login.
#[derive(SimpleObject)]
pub struct Login {
    /// Global id of the account, `acct_…`.
    id: ID,
    /// E-mail address to sign in with.
    email: String,
    /// Whether its holder has shown that the address is theirs.
    is_email_verified: bool,
    /// Whether signing in asks for a second proof.
    has_second_factor: bool,
}

/// Queries on the own login.
#[derive(Default)]
pub struct AccountQuery;

#[Object]
impl AccountQuery {
    /// The caller's own login. For people who have one.
    async fn login(&self, ctx: &Context<'_>) -> async_graphql::Result<Login> {
        let (account, _) = own(ctx)?;
        let login = ctx.state()?.identity.login(account).await.map_err(ApiError::from)?;
        Ok(Login {
            id: login.account.to_string().into(),
            email: login.email,
            is_email_verified: login.is_verified,
            has_second_factor: login.has_second_factor,
        })
    }

    /// The caller's own open sessions, newest first, at most 100. For people who have a login.
    async fn sessions(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<AccountSession>> {
        let (account, present) = own(ctx)?;
        let open = ctx.state()?.identity.sessions(account).await.map_err(ApiError::from)?;
        let shown = |session: identity::OpenSession| AccountSession {
            is_present: session.session_id == present,
            session_id: session.session_id,
            company_id: session.company.map(|company| company.to_string().into()),
            device: session.device,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
        };
        Ok(open.into_iter().map(shown).collect())
    }
}

/// The account and the session that ask.
///
/// # Errors
/// `AUTH_REQUIRED`; `AUTH_003` for who has no login, or came in by a company's provider.
pub fn own(ctx: &Context<'_>) -> Result<(AccountId, Uuid), ApiError> {
    let principal = ctx.session()?.principal()?;
    if principal.is_bound {
        return Err(ApiError::forbidden());
    }
    principal.account_id.zip(principal.session_id).ok_or_else(ApiError::forbidden)
}

/// Prolongs a session. It needs no `commandId`.
#[derive(InputObject)]
pub struct RefreshSessionInput {
    /// Global id of a company, `comp_…`, to go on in; the session stays where it is without it. Who
    /// runs the platform may enter any, see `signIn`.
    company_id: Option<ID>,
}

/// Ends a session. A repeat is harmless, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct SignOutInput {
    /// Which; without it the one that asks.
    session_id: Option<Uuid>,
}

/// Ends all sessions of the login. A repeat is harmless, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct SignOutEverywhereInput {
    /// Whether the session that asks goes on.
    #[graphql(default = false)]
    keep_present: bool,
}

/// Asks for a letter. Of several within a minute one is sent, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct RequestEmailVerificationInput {
    /// Address of the account.
    email: String,
}

/// Shows that an address is one's own. The token is good once, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct VerifyEmailInput {
    /// The token of the letter.
    #[graphql(secret)]
    token: String,
}

/// Asks for a letter. Of several within a minute one is sent, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct RequestPasswordResetInput {
    /// Address of the account.
    email: String,
}

/// Sets a new password. The token is good once, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct ResetPasswordInput {
    /// The token of the letter.
    #[graphql(secret)]
    token: String,
    /// The new password: 10 to 128 characters, among them an upper-case letter, a digit, and a character
    /// that is neither letter nor digit.
    #[graphql(secret)]
    new_password: String,
}

/// Sets a new password. A repeat no longer knows the old one, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct ChangePasswordInput {
    /// The password at present.
    #[graphql(secret)]
    old_password: String,
    /// The new password: 10 to 128 characters, among them an upper-case letter, a digit, and a character
    /// that is neither letter nor digit.
    #[graphql(secret)]
    new_password: String,
}

/// What changes of the own login answer.
#[derive(SimpleObject)]
pub struct LoginPayload {
    /// True if it was done; of a letter, if it was sent as far as there is somebody to get it.
    is_done: Option<bool>,
    /// Why it was not done, and then all other fields are null; empty if it was done.
    errors: Vec<UserError>,
}

/// What ending sessions answers.
#[derive(SimpleObject)]
pub struct SignOutPayload {
    /// How many sessions were ended, as far as they were open.
    ended: Option<u32>,
    /// Why it was not done, and then all other fields are null; empty if it was done.
    errors: Vec<UserError>,
}

/// Mutations of the own login.
#[derive(Default)]
pub struct AccountMutation;

#[Object]
impl AccountMutation {
    /// Prolongs a session by its refresh token, which is the cookie that signing in set: answers a
    /// new access token and sets the next cookie. Send it without `Authorization`, over HTTP. Each
    /// token is good for one use; one that comes a second time, later than ten seconds, ends the
    /// session with `AUTH_004`.
    async fn refresh_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where to go on.")] input: RefreshSessionInput,
    ) -> async_graphql::Result<SessionPayload> {
        let company = optional_id::<CompanyId>("companyId", input.company_id.as_ref())?;
        let token = visitor::refresh_token(ctx)?;
        let identity = &ctx.state()?.identity;
        let refreshed = identity.refresh(token.expose_secret(), company).await;
        if let Err(
            IdentityError::InvalidToken | IdentityError::ExpiredToken | IdentityError::Revoked,
        ) = refreshed
        {
            visitor::forget(ctx);
        }
        session(ctx, refreshed)
    }

    /// Ends a session: its access token is refused within a second on every server, its refresh
    /// token at once. With the cookie alone it ends the session of the cookie.
    async fn sign_out(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which session.")] input: SignOutInput,
    ) -> async_graphql::Result<SignOutPayload> {
        let (account, present) = own_or_of_cookie(ctx).await?;
        let wanted = match input.session_id {
            Some(other) if other != present => own(ctx).map(|_| other)?,
            _ => present,
        };
        let signed_out = ctx.state()?.identity.sign_out(account, wanted).await;
        if signed_out.is_ok() && wanted == present {
            visitor::forget(ctx);
        }
        ended(ctx, signed_out.map(|()| 1))
    }

    /// Sends a letter by which the holder of an account shows that the address is theirs; its token is
    /// good for 24 hours. The answer is the same for an address that has no account.
    async fn request_email_verification(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of which address.")] input: RequestEmailVerificationInput,
    ) -> async_graphql::Result<LoginPayload> {
        done(ctx, ctx.state()?.identity.request_verification(&input.email).await)
    }

    /// Shows that the address of the present login is one's own, by the token of a letter.
    async fn verify_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token.")] input: VerifyEmailInput,
    ) -> async_graphql::Result<LoginPayload> {
        let (account, _) = own(ctx)?;
        done(ctx, ctx.state()?.identity.verify_email(account, &input.token).await)
    }

    /// Sends a letter for a new password; its token is good for one hour. The answer is the same for
    /// an address that has no account.
    async fn request_password_reset(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of which address.")] input: RequestPasswordResetInput,
    ) -> async_graphql::Result<LoginPayload> {
        done(ctx, ctx.state()?.identity.request_password_reset(&input.email).await)
    }

    /// Sets a new password by the token of a letter, which shows that the address is one's own. All
    /// sessions end. A lock is lifted where no second proof is asked for; the first time that the
    /// address is shown, a second proof is switched off.
    async fn reset_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token and the new password.")] input: ResetPasswordInput,
    ) -> async_graphql::Result<LoginPayload> {
        let new = input.new_password.into();
        done(ctx, ctx.state()?.identity.reset_password(&input.token, new).await)
    }

    /// Sets a new password for who knows the old one. All other sessions end.
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Both passwords.")] input: ChangePasswordInput,
    ) -> async_graphql::Result<LoginPayload> {
        let (account, present) = own(ctx)?;
        let (old, new) = (input.old_password.into(), input.new_password.into());
        let identity = &ctx.state()?.identity;
        done(ctx, identity.change_password(account, Some(present), old, new).await)
    }

    /// Ends all sessions of the login, everywhere.
    async fn sign_out_everywhere(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whether one goes on.")] input: SignOutEverywhereInput,
    ) -> async_graphql::Result<SignOutPayload> {
        let (account, present) = own(ctx)?;
        let except = input.keep_present.then_some(present);
        let n_ended = ctx.state()?.identity.sign_out_everywhere(account, except).await;
        if except.is_none() && n_ended.is_ok() {
            visitor::forget(ctx);
        }
        ended(ctx, n_ended)
    }
}

/// A page that was left open over night has a cookie and no access token that is good.
async fn own_or_of_cookie(ctx: &Context<'_>) -> Result<(AccountId, Uuid), ApiError> {
    if let Ok(principal) = ctx.session()?.principal() {
        let (account, session) = (principal.account_id, principal.session_id);
        return account.zip(session).ok_or_else(ApiError::forbidden);
    }
    let token = visitor::refresh_token(ctx)?;
    let behind = ctx.state()?.identity.session_behind(token.expose_secret()).await?;
    behind.ok_or_else(|| IdentityError::InvalidToken.into())
}

fn ended(
    ctx: &Context<'_>,
    result: Result<u32, IdentityError>,
) -> async_graphql::Result<SignOutPayload> {
    match result.map_err(ApiError::from) {
        Ok(n_ended) => Ok(SignOutPayload { ended: Some(n_ended), errors: vec![] }),
        Err(error) if error.is_of_input() => {
            Ok(SignOutPayload { ended: None, errors: vec![user_error(ctx, error)] })
        }
        Err(error) => Err(error.into()),
    }
}

/// The answer to a change of the own login.
pub fn done(
    ctx: &Context<'_>,
    result: Result<(), IdentityError>,
) -> async_graphql::Result<LoginPayload> {
    match result.map_err(ApiError::from) {
        Ok(()) => Ok(LoginPayload { is_done: Some(true), errors: vec![] }),
        Err(error) if error.is_of_input() => {
            Ok(LoginPayload { is_done: None, errors: vec![user_error(ctx, error)] })
        }
        Err(error) => Err(error.into()),
    }
}
