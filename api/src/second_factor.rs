//! The second proof of the own login: told to an authenticator, confirmed, asked for, switched off.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use identity::IdentityError;
use secrecy::ExposeSecret;

use crate::account::{LoginPayload, done, own};
use crate::company::{SessionPayload, session};
use crate::error::{ApiError, UserError};
use crate::inputs::id;
use crate::payload::user_error;
use crate::scope::Scoped;
use crate::visitor::Visitor;

/// The second step of signing in. A code is good once, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct FinishSignInInput {
    /// `secondStepToken` of the first step.
    #[graphql(secret)]
    token: String,
    /// The authenticator's six digits, or a recovery code.
    #[graphql(secret)]
    code: String,
}

/// Begins to ask for a second proof. A repeat makes another secret, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct BeginSecondFactorInput {
    /// The password.
    #[graphql(secret)]
    password: String,
}

/// Confirms that the authenticator was told. It needs no `commandId`.
#[derive(InputObject)]
pub struct ConfirmSecondFactorInput {
    /// The authenticator's six digits.
    #[graphql(secret)]
    code: String,
}

/// Switches the second proof off. It needs no `commandId`.
#[derive(InputObject)]
pub struct RemoveSecondFactorInput {
    /// The password.
    #[graphql(secret)]
    password: String,
    /// The authenticator's six digits, or a recovery code.
    #[graphql(secret)]
    code: String,
}

/// Takes a member's second proof away. A repeat finds none, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct RemoveMemberSecondFactorInput {
    /// Whose.
    member_id: ID,
}

/// What mutations of the second proof answer.
#[derive(SimpleObject, Default)]
pub struct SecondFactorPayload {
    /// The secret in base 32, for typing it into an authenticator. Shown by `beginSecondFactor` only.
    secret: Option<String>,
    /// The same as an `otpauth:` URL, for a QR code. Shown by `beginSecondFactor` only.
    url: Option<String>,
    /// Ten codes that stand in for the authenticator, each once. Shown by `confirmSecondFactor` only,
    /// and never again.
    recovery_codes: Option<Vec<String>>,
    /// Why it was not done, and then all other fields are null; empty if it was done.
    errors: Vec<UserError>,
}

/// Mutations of the second proof.
#[derive(Default)]
pub struct SecondFactorMutation;

#[Object]
impl SecondFactorMutation {
    /// The second step of signing in, within five minutes of the first. A wrong code is the top-level
    /// error `SECOND_FACTOR_WRONG` and counts as a failure to sign in.
    async fn finish_sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The step and the code.")] input: FinishSignInInput,
    ) -> async_graphql::Result<SessionPayload> {
        let (identity, device) = (&ctx.state()?.identity, Visitor::in_request(ctx).device);
        session(ctx, identity.finish_sign_in(&input.token, &input.code, device).await)
    }

    /// Makes a secret for an authenticator (TOTP, RFC 6238: SHA-1, six digits, 30 seconds). Nothing
    /// changes until it is confirmed.
    async fn begin_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The password.")] input: BeginSecondFactorInput,
    ) -> async_graphql::Result<SecondFactorPayload> {
        let (account, _) = own(ctx)?;
        let identity = &ctx.state()?.identity;
        let begun = identity.begin_second_factor(account, input.password.into()).await;
        answer(
            ctx,
            begun.map(|enrolment| SecondFactorPayload {
                secret: Some(enrolment.secret.expose_secret().to_owned()),
                url: Some(enrolment.url.expose_secret().to_owned()),
                ..SecondFactorPayload::default()
            }),
        )
    }

    /// Confirms by a code that the authenticator was told. From now on signing in asks for one,
    /// and a letter tells the holder. The session that asks stays one of one proof.
    async fn confirm_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A code.")] input: ConfirmSecondFactorInput,
    ) -> async_graphql::Result<SecondFactorPayload> {
        let (account, _) = own(ctx)?;
        let confirmed = ctx.state()?.identity.confirm_second_factor(account, &input.code).await;
        let shown = |codes: Vec<secrecy::SecretString>| {
            codes.iter().map(|code| code.expose_secret().to_owned()).collect()
        };
        answer(
            ctx,
            confirmed.map(|codes| SecondFactorPayload {
                recovery_codes: Some(shown(codes)),
                ..SecondFactorPayload::default()
            }),
        )
    }

    /// Switches the second proof off, by both proofs.
    async fn remove_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Both proofs.")] input: RemoveSecondFactorInput,
    ) -> async_graphql::Result<LoginPayload> {
        let (account, _) = own(ctx)?;
        let identity = &ctx.state()?.identity;
        let password = input.password.into();
        done(ctx, identity.remove_second_factor(account, password, &input.code).await)
    }

    /// Takes away the second proof of a member who has lost it: all sessions of the login end, and a
    /// letter tells the person. Company administrators may, for who is in no other company and does not
    /// run the platform; for others, whoever runs the platform. Nobody may for themselves.
    async fn remove_member_second_factor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose.")] input: RemoveMemberSecondFactorInput,
    ) -> async_graphql::Result<LoginPayload> {
        let principal = ctx.session()?.principal()?;
        let member = id("memberId", &input.member_id)?;
        let identity = &ctx.state()?.identity;
        done(ctx, identity.take_second_factor_away(&principal, member).await)
    }
}

fn answer(
    ctx: &Context<'_>,
    result: Result<SecondFactorPayload, IdentityError>,
) -> async_graphql::Result<SecondFactorPayload> {
    match result.map_err(ApiError::from) {
        Ok(payload) => Ok(payload),
        Err(error) if error.is_of_input() => Ok(SecondFactorPayload {
            errors: vec![user_error(ctx, error)],
            ..SecondFactorPayload::default()
        }),
        Err(error) => Err(error.into()),
    }
}
