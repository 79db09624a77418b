//! API keys: how programs of a company come in.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use domain::ids::ApiKeyId;
use identity::{IdentityError, NewApiKey};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::error::{ApiError, UserError};
use crate::inputs::id;
use crate::payload::user_error;
use crate::permission::Right;
use crate::scope::Scoped;

/// A key by which a program of the company comes in. The key itself is shown once.
#[derive(SimpleObject)]
pub struct ApiKey {
    /// Global id, `akey_…`, under which it acts.
    id: ID,
    /// What it is called.
    name: String,
    /// What it may do, everywhere in the company.
    rights: Vec<Right>,
    /// When it was made, UTC.
    created_at: DateTime<Utc>,
    /// When it ends, UTC.
    expires_at: DateTime<Utc>,
    /// When it was last used, UTC, to the minute; null if never.
    last_used_at: Option<DateTime<Utc>>,
    /// When it was taken back, UTC; null if it was not.
    revoked_at: Option<DateTime<Utc>>,
}

impl From<identity::ApiKey> for ApiKey {
    fn from(key: identity::ApiKey) -> Self {
        Self {
            id: key.key_id.to_string().into(),
            name: key.name,
            rights: key.rights.into_iter().map(Right::from).collect(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// Queries on API keys.
#[derive(Default)]
pub struct ApiKeyQuery;

#[Object]
impl ApiKeyQuery {
    /// The company's API keys, newest first, at most 1000, those that have ended too. Administrators
    /// only.
    async fn api_keys(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<ApiKey>> {
        let keys = ctx.state()?.identity.api_keys(&*ctx.caller()?).await.map_err(ApiError::from)?;
        Ok(keys.into_iter().map(ApiKey::from).collect())
    }
}

/// Makes an API key.
#[derive(InputObject)]
pub struct CreateApiKeyInput {
    /// Idempotency key: a repeat shows the same key again.
    command_id: Uuid,
    /// What it is called, at most 255 characters.
    name: String,
    /// What it may do. What a person must answer for, such as signing a verdict, cannot be given.
    rights: Vec<Right>,
    /// When it ends, UTC, within 366 days; in 90 days without it.
    expires_at: Option<DateTime<Utc>>,
}

/// Takes an API key back. A repeat is harmless, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct RevokeApiKeyInput {
    /// Which, `akey_…`.
    key_id: ID,
}

/// What mutations of API keys answer.
#[derive(SimpleObject, Default)]
pub struct ApiKeyPayload {
    /// The key after the command.
    api_key: Option<ApiKey>,
    /// The key itself, for `Authorization: Bearer …`. Shown by `createApiKey` only.
    secret: Option<String>,
    /// Why it was not done, and then all other fields are null; empty if it was done.
    errors: Vec<UserError>,
}

/// Mutations of API keys.
#[derive(Default)]
pub struct ApiKeyMutation;

#[Object]
impl ApiKeyMutation {
    /// Makes a key for a program, with rights of its own. Administrators only.
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What it is to be.")] input: CreateApiKeyInput,
    ) -> async_graphql::Result<ApiKeyPayload> {
        let principal = ctx.session()?.principal()?;
        let new = NewApiKey {
            name: input.name,
            rights: input.rights.into_iter().map(Into::into).collect(),
            expires_at: input.expires_at,
        };
        let made = ctx.state()?.identity.create_api_key(&principal, input.command_id, new).await;
        answer(ctx, made.map(|(key, secret)| (key, Some(secret))))
    }

    /// Takes a key back; it is refused within a second on every server. Administrators only.
    async fn revoke_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which key.")] input: RevokeApiKeyInput,
    ) -> async_graphql::Result<ApiKeyPayload> {
        let principal = ctx.session()?.principal()?;
        let key: ApiKeyId = id("keyId", &input.key_id)?;
        let revoked = ctx.state()?.identity.revoke_api_key(&principal, key).await;
        answer(ctx, revoked.map(|key| (key, None)))
    }
}

fn answer(
    ctx: &Context<'_>,
    result: Result<(identity::ApiKey, Option<SecretString>), IdentityError>,
) -> async_graphql::Result<ApiKeyPayload> {
    match result.map_err(ApiError::from) {
        Ok((key, secret)) => Ok(ApiKeyPayload {
            api_key: Some(key.into()),
            secret: secret.map(|secret| secret.expose_secret().to_owned()),
            errors: vec![],
        }),
        Err(error) if error.is_of_input() => {
            Ok(ApiKeyPayload { errors: vec![user_error(ctx, error)], ..ApiKeyPayload::default() })
        }
        Err(error) => Err(error.into()),
    }
}
