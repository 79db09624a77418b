//! What a browser brings along and takes with it: the cookie of the refresh token, which no page can
//! read. It is sent to its own host alone, and only over TLS or to this machine.

use async_graphql::Context;
use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use identity::RefreshToken;
use secrecy::{ExposeSecret, SecretString};

use crate::error::ApiError;

/// Name of the cookie. By its prefix browsers take it from this host only: no neighbour under the same
/// domain can slip one in.
const COOKIE: &str = "__Host-colloquy_refresh";
/// Where it is sent, and by what it is protected (RFC 6265bis).
const ATTRIBUTES: &str = "Path=/; HttpOnly; Secure; SameSite=Strict";

/// What the headers of an HTTP request say about who sent it.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// The refresh token, if the cookie came along once.
    pub refresh_token: Option<SecretString>,
    /// What the client calls itself.
    pub device: Option<String>,
}

impl Visitor {
    /// That of a request's headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let cookies =
            headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut tokens = cookies
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(name, _)| *name == COOKIE)
            .map(|(_, token)| token.to_owned());
        // Of two, one was slipped in by somebody else.
        let refresh_token = tokens.next().filter(|_| tokens.next().is_none());
        let device = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Self {
            refresh_token: refresh_token.map(SecretString::from),
            device: device.map(str::to_owned),
        }
    }

    /// That of the request that is resolved; over a socket nothing is known.
    #[must_use]
    pub fn in_request(ctx: &Context<'_>) -> Self {
        ctx.data_opt::<Self>().cloned().unwrap_or_default()
    }
}

/// Gives the token to the browser, for as long as it is good.
pub fn keep(ctx: &Context<'_>, refresh: &RefreshToken, now: DateTime<Utc>) {
    let token = refresh.token.expose_secret();
    let max_age_s = (refresh.expires_at - now).num_seconds().max(0);
    ctx.insert_http_header(
        header::SET_COOKIE,
        format!("{COOKIE}={token}; {ATTRIBUTES}; Max-Age={max_age_s}"),
    );
}

/// Takes the token from the browser.
pub fn forget(ctx: &Context<'_>) {
    ctx.insert_http_header(header::SET_COOKIE, format!("{COOKIE}=; {ATTRIBUTES}; Max-Age=0"));
}

/// The refresh token that came along.
///
/// # Errors
/// `AUTH_REQUIRED` without one.
pub fn refresh_token(ctx: &Context<'_>) -> Result<SecretString, ApiError> {
    Visitor::in_request(ctx).refresh_token.ok_or_else(ApiError::unauthenticated)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn token(cookies: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_static(cookie));
        }
        Visitor::of(&headers).refresh_token.map(|token| token.expose_secret().to_owned())
    }

    #[test]
    fn the_token_is_found_among_other_cookies_and_never_of_two() {
        assert_eq!(token(&["a=b; __Host-colloquy_refresh=x-1_; c=d"]).as_deref(), Some("x-1_"));
        assert_eq!(token(&["a=b", "__Host-colloquy_refresh=x"]).as_deref(), Some("x"));
        assert_eq!(token(&["__Host-colloquy_refresh=x; __Host-colloquy_refresh=y"]), None);
        assert_eq!(token(&["colloquy_refresh=x", "__Host-colloquy_refresh"]), None);
        assert_eq!(token(&[]), None);
    }
}
