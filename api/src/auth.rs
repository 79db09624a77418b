//! Bearer token → caller. Who nobody vouches for is a stranger, who may do what needs no right.

use std::sync::{Arc, OnceLock};

use async_graphql::Request;
use domain::Caller;
use domain::codes::{self, Kind};
use identity::{Identity, IdentityError, Principal};
use secrecy::ExposeSecret;

use crate::ApiState;
use crate::error::ApiError;
use crate::loaders::Loaders;
use crate::transport::{Admission, AuthError, Authenticate, RequestId};

/// Who asks, for the time of one request or stream.
#[derive(Clone)]
pub struct Session {
    signed: Arc<OnceLock<Signed>>,
}

struct Signed {
    principal: Principal,
    /// Kept to ask again, while a stream runs, what it still stands for.
    token: String,
}

impl Session {
    /// Nobody.
    #[must_use]
    pub fn stranger() -> Self {
        Self { signed: Arc::default() }
    }

    fn of(principal: Principal, token: String) -> Self {
        Self { signed: Arc::new(OnceLock::from(Signed { principal, token })) }
    }

    /// A session of its own for one request: who signs in by it does so for no other one.
    fn of_request(&self) -> Self {
        match self.signed.get() {
            Some(_) => self.clone(),
            None => Self::stranger(),
        }
    }

    /// A stranger's request that has just signed in goes on as who it signed in as, so that the
    /// answer can show them. Who was signed in already stays who they were.
    pub fn sign_in(&self, session: &identity::Session) {
        let token = session.access_token.expose_secret().to_owned();
        let signed = Signed { principal: session.principal.clone(), token };
        // Refused for who was signed in already.
        let _ = self.signed.set(signed);
    }

    /// Who is signed in.
    ///
    /// # Errors
    /// `AUTH_REQUIRED`.
    pub fn principal(&self) -> Result<&Principal, ApiError> {
        let signed = self.signed.get().ok_or_else(ApiError::unauthenticated)?;
        Ok(&signed.principal)
    }

    /// Who is signed in, as the rules know them.
    ///
    /// # Errors
    /// `AUTH_REQUIRED`.
    pub fn caller(&self) -> Result<&Caller, ApiError> {
        Ok(&self.principal()?.caller)
    }

    /// What the token stands for now: rights that were taken away are gone within a second.
    ///
    /// # Errors
    /// `AUTH_REQUIRED`, or the code of why the token is no longer good.
    pub async fn again(&self, identity: &Identity) -> Result<Caller, ApiError> {
        let signed = self.signed.get().ok_or_else(ApiError::unauthenticated)?;
        Ok(identity.verify(&signed.token).await?.caller)
    }
}

/// Admits the holders of our tokens, and strangers.
#[derive(Clone)]
pub struct Auth(pub ApiState);

impl Auth {
    /// The session of a bearer token, or of its absence.
    ///
    /// # Errors
    /// The code of why the token is not good.
    pub async fn session(&self, bearer: Option<&str>) -> Result<Session, IdentityError> {
        let Some(token) = bearer else { return Ok(Session::stranger()) };
        let principal = self.0.identity.verify(token).await?;
        Ok(Session::of(principal, token.to_owned()))
    }
}

impl Authenticate for Auth {
    type Session = Session;

    async fn authenticate(&self, bearer: Option<&str>) -> Result<Admission<Session>, AuthError> {
        let session = self.session(bearer).await.map_err(refused)?;
        let Ok(principal) = session.principal() else {
            return Ok(Admission { session, may_introspect: false, valid_for: None });
        };
        let left = (principal.expires_at - self.0.bus.now()).to_std().unwrap_or_default();
        Ok(Admission { may_introspect: true, valid_for: Some(left), session })
    }

    fn scope(&self, session: &Session, request_id: &RequestId, request: Request) -> Request {
        let session = session.of_request();
        let loaders = Loaders::new(&self.0, &session);
        request.data(session).data(request_id.clone()).data(loaders)
    }
}

fn refused(error: IdentityError) -> AuthError {
    let code = error.code();
    match codes::find(code).map(|entry| entry.kind) {
        Some(Kind::Unavailable | Kind::InternalError) | None => {
            AuthError::Unavailable(error.into())
        }
        Some(_) => AuthError::Refused { code, message: error.to_string() },
    }
}
