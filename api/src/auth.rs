//! Bearer token → caller. Who nobody vouches for is a stranger, who may do what needs no right.

use std::sync::{Arc, PoisonError, RwLock};

use async_graphql::Request;
use domain::Caller;
use domain::codes::{self, Kind};
use identity::rate_limits::{Class, Limited, Subject};
use identity::{Identity, IdentityError, Principal};
use secrecy::ExposeSecret;

use crate::ApiState;
use crate::access::Shown;
use crate::error::ApiError;
use crate::loaders::Loaders;
use crate::peer::Peer;
use crate::rate_limits::{self, Asker};
use crate::transport::codes::Refusal;
use crate::transport::{Admission, AuthError, Authenticate, Charge, Quota, RequestId};

/// Who asks, for the time of one request or stream. A stream learns while it runs what the token
/// stands for now; whatever is resolved from then on, nested fields included, goes by that.
#[derive(Clone)]
pub struct Session {
    signed: Arc<RwLock<Option<Signed>>>,
}

#[derive(Clone)]
struct Signed {
    principal: Principal,
    /// What the rules know of the principal, shared with whatever is resolved at present.
    caller: Arc<Caller>,
    /// Kept to ask again, while a stream runs, what it still stands for.
    token: Arc<str>,
}

impl Signed {
    fn new(principal: Principal, token: &str) -> Self {
        let caller = Arc::new(principal.caller.clone());
        Self { principal, caller, token: token.into() }
    }
}

impl Session {
    /// Nobody.
    #[must_use]
    pub fn stranger() -> Self {
        Self::holding(None)
    }

    fn of(principal: Principal, token: &str) -> Self {
        Self::holding(Some(Signed::new(principal, token)))
    }

    fn holding(signed: Option<Signed>) -> Self {
        Self { signed: Arc::new(RwLock::new(signed)) }
    }

    fn signed(&self) -> Option<Signed> {
        self.signed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A session of its own for one request: what one learns or signs in as concerns no other one.
    fn of_request(&self) -> Self {
        Self::holding(self.signed())
    }

    /// A stranger's request that has just signed in goes on as who it signed in as, so that the
    /// answer can show them. Who was signed in already stays who they were.
    pub fn sign_in(&self, session: &identity::Session) {
        let token = session.access_token.expose_secret();
        let mut signed = self.signed.write().unwrap_or_else(PoisonError::into_inner);
        signed.get_or_insert_with(|| Signed::new(session.principal.clone(), token));
    }

    /// Who is signed in.
    ///
    /// # Errors
    /// `AUTH_REQUIRED`.
    pub fn principal(&self) -> Result<Principal, ApiError> {
        Ok(self.signed().ok_or_else(ApiError::unauthenticated)?.principal)
    }

    /// Who is signed in, as the rules know them.
    ///
    /// # Errors
    /// `AUTH_REQUIRED`.
    pub fn caller(&self) -> Result<Arc<Caller>, ApiError> {
        let signed = self.signed.read().unwrap_or_else(PoisonError::into_inner);
        let signed = signed.as_ref().ok_or_else(ApiError::unauthenticated)?;
        Ok(Arc::clone(&signed.caller))
    }

    /// What the token stands for: rights that were taken away are gone within a second.
    ///
    /// # Errors
    /// `AUTH_REQUIRED`, or the code of why the token is no longer good.
    pub async fn again(&self, identity: &Identity) -> Result<Arc<Caller>, ApiError> {
        let signed = self.signed().ok_or_else(ApiError::unauthenticated)?;
        let principal = identity.verify(&signed.token).await?;
        Ok(self.renew(principal, &signed.token))
    }

    /// What the token stands for at this moment.
    ///
    /// # Errors
    /// See [`Session::again`].
    pub async fn anew(&self, identity: &Identity) -> Result<Arc<Caller>, ApiError> {
        let signed = self.signed().ok_or_else(ApiError::unauthenticated)?;
        let principal = identity.verify_anew(&signed.token).await?;
        Ok(self.renew(principal, &signed.token))
    }

    fn renew(&self, principal: Principal, token: &str) -> Arc<Caller> {
        let signed = Signed::new(principal, token);
        let caller = Arc::clone(&signed.caller);
        *self.signed.write().unwrap_or_else(PoisonError::into_inner) = Some(signed);
        caller
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
        Ok(Session::of(principal, token))
    }

    /// The same, where a token that is not good is taken from the bucket of its network address, so that
    /// nobody tries tokens, or keeps their check busy, without end.
    ///
    /// # Errors
    /// See [`Auth::session`], and `RATE_LIMITED`.
    pub async fn counted(&self, bearer: Option<&str>, peer: Peer) -> Result<Session, ApiError> {
        let session = self.session(bearer).await;
        if session.as_ref().is_err_and(|error| !is_outage(error)) {
            self.take_refused(peer).await?;
        }
        Ok(session?)
    }

    async fn take_refused(&self, peer: Peer) -> Result<(), Limited> {
        let asker = Asker { principal: None, address: peer.0 };
        rate_limits::charge(&self.0.rate_limits, asker, Charge::Request).await.map(drop)
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

    async fn charge(
        &self,
        session: &Session,
        peer: Peer,
        what: Charge<'_>,
    ) -> Result<Option<Quota>, Refusal> {
        let principal = session.principal().ok();
        // Many renew their sessions behind one address: who has one is no stranger there.
        if let (None, Charge::Renewal(token)) = (&principal, what)
            && let Ok(Some((account, _))) =
                self.0.identity.session_behind(token.expose_secret()).await
        {
            let account = Subject::Account(account);
            let standing = self.0.rate_limits.take(Class::User, account, 1).await?;
            return Ok(standing.map(Quota::from));
        }
        let asker = Asker { principal: principal.as_ref(), address: peer.0 };
        let standing = rate_limits::charge(&self.0.rate_limits, asker, what).await?;
        Ok(standing.map(Quota::from))
    }

    async fn charge_refused(&self, peer: Peer) -> Result<(), Refusal> {
        Ok(self.take_refused(peer).await?)
    }

    fn scope(&self, session: &Session, request_id: &RequestId, request: Request) -> Request {
        let session = session.of_request();
        let loaders = Loaders::new(&self.0, &session);
        let shown = Arc::new(Shown::new(&self.0.access, &session, &request));
        request.data(session).data(request_id.clone()).data(loaders).data(shown)
    }
}

fn refused(error: IdentityError) -> AuthError {
    if is_outage(&error) {
        return AuthError::Unavailable(error.into());
    }
    AuthError::Refused { code: error.code(), message: error.to_string() }
}

/// Whether nothing was decided about a token.
fn is_outage(error: &IdentityError) -> bool {
    let kind = codes::find(error.code()).map(|entry| entry.kind);
    matches!(kind, Some(Kind::Unavailable | Kind::InternalError) | None)
}
