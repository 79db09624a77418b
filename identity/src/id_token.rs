//! What a provider's ID token must be to be believed (OpenID Connect Core 1.0, section 3.1.3.7).

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

/// By what tokens may be signed: nothing that a public key could be mistaken for a secret of.
const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];
/// How far the provider's clock may differ.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);
/// Oldest token that is taken.
const MAX_AGE: TimeDelta = TimeDelta::minutes(10);
/// Longest token looked at, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// What was asked for.
pub(crate) struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub now: DateTime<Utc>,
}

/// Who somebody is, as the provider says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stated {
    /// The provider's name for the person.
    pub subject: String,
    /// Address, only if the provider has verified it.
    pub email: Option<String>,
}

/// Why a token is not believed. The log's reader is told which; the caller is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disbelief {
    #[error("it is no token")]
    Malformed,
    #[error("it is signed by an algorithm that is not allowed")]
    Algorithm,
    #[error("the provider has no key of its name")]
    UnknownKey,
    #[error("signature, issuer or audience is wrong")]
    Claims,
    #[error("the nonce is another one")]
    Nonce,
    #[error("it has expired, or is too old or too new")]
    Time,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nonce: Option<String>,
    email: Option<String>,
    email_verified: Option<Verified>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Some providers write it as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Verified {
    Flag(bool),
    Text(String),
}

/// Who a token says somebody is, if it is to be believed.
///
/// # Errors
/// [`Disbelief`].
pub(crate) fn believe(
    token: &str,
    keys: &JwkSet,
    expected: &Expected<'_>,
) -> Result<Stated, Disbelief> {
    if token.len() > MAX_BYTES {
        return Err(Disbelief::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        // `none` is an algorithm that the library does not even know.
        jsonwebtoken::errors::ErrorKind::InvalidAlgorithmName
        | jsonwebtoken::errors::ErrorKind::Json(_) => Disbelief::Algorithm,
        _ => Disbelief::Malformed,
    })?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Disbelief::Algorithm);
    }
    // A key is one of the provider's set and never one that the token brings along.
    let key = match (&header.kid, keys.keys.as_slice()) {
        (Some(id), _) => keys.find(id),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let key = key.ok_or(Disbelief::UnknownKey)?;
    let key = DecodingKey::from_jwk(key).map_err(|_| Disbelief::UnknownKey)?;
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[expected.client_id]);
    validation.set_issuer(&[expected.issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Times are judged by the product's own clock.
    validation.validate_exp = false;
    let claims: Claims =
        jsonwebtoken::decode(token, &key, &validation).map_err(|_| Disbelief::Claims)?.claims;
    let is_ours = match (&claims.aud, &claims.azp) {
        (_, Some(azp)) => azp == expected.client_id,
        (Audience::One(one), None) => one == expected.client_id,
        // For several, somebody must be named to whom it was given.
        (Audience::Several(several), None) => several.len() == 1,
    };
    if !is_ours {
        return Err(Disbelief::Claims);
    }
    if claims.nonce.as_deref() != Some(expected.nonce) {
        return Err(Disbelief::Nonce);
    }
    let time = |seconds| DateTime::from_timestamp(seconds, 0).ok_or(Disbelief::Time);
    let (expires_at, issued_at) = (time(claims.exp)?, time(claims.iat)?);
    if expected.now >= expires_at + LEEWAY
        || issued_at > expected.now + LEEWAY
        || issued_at < expected.now - MAX_AGE
    {
        return Err(Disbelief::Time);
    }
    if claims.sub.is_empty() || claims.sub.len() > 255 {
        return Err(Disbelief::Claims);
    }
    let is_verified = match claims.email_verified {
        Some(Verified::Flag(flag)) => flag,
        Some(Verified::Text(text)) => text == "true",
        None => false,
    };
    Ok(Stated { subject: claims.sub, email: claims.email.filter(|_| is_verified) })
}
