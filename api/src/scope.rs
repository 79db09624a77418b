//! What a resolver finds around it: who asks, what of the company can be seen, loaders and freshness.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_graphql::Context;
use domain::Caller;
use domain::caller::Actor;
use domain::ids::{CompanyId, InterviewId};
use domain::permission::{self, Action};
use projections::model::MODELS;
use projections::{Reads, Token, View, applied};

use crate::ApiState;
use crate::auth::Session;
use crate::error::ApiError;
use crate::loaders::Loaders;

/// Typed access to what the transports put into each request.
pub trait Scoped {
    /// The parts that resolvers call.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` if the schema was built without them.
    fn state(&self) -> Result<&ApiState, ApiError>;

    /// Who asks, signed in or not.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` if no transport admitted the request.
    fn session(&self) -> Result<&Session, ApiError>;

    /// The request's loaders.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` if no transport admitted the request.
    fn loaders(&self) -> Result<&Loaders, ApiError>;

    /// Who is signed in.
    ///
    /// # Errors
    /// `AUTH_REQUIRED`.
    fn caller(&self) -> Result<Arc<Caller>, ApiError> {
        self.session()?.caller()
    }

    /// What of the company the caller's right to `action` reaches.
    ///
    /// # Errors
    /// `AUTH_REQUIRED`; `AUTH_003` where it reaches nothing.
    fn view(&self, action: Action) -> Result<View, ApiError> {
        view(&*self.caller()?, action).ok_or_else(ApiError::forbidden)
    }

    /// Waits, at most five seconds, until the read models have applied what these tokens name.
    ///
    /// # Errors
    /// `STALE_READ` with how far behind they are; `CONSISTENCY_TOKEN_INVALID` for what is no token of the
    /// company's.
    fn consistent(
        &self,
        tokens: Option<Vec<String>>,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// The same for fields that stay empty, without an error, for those who have no right to them.
    fn view_if_any(&self, action: Action) -> Option<View> {
        view(&*self.caller().ok()?, action)
    }
}

impl Scoped for Context<'_> {
    fn state(&self) -> Result<&ApiState, ApiError> {
        self.data_opt().ok_or_else(|| ApiError::internal("the schema has no state"))
    }

    fn session(&self) -> Result<&Session, ApiError> {
        self.data_opt().ok_or_else(|| ApiError::internal("the request has no session"))
    }

    fn loaders(&self) -> Result<&Loaders, ApiError> {
        self.data_opt().ok_or_else(|| ApiError::internal("the request has no loaders"))
    }

    async fn consistent(&self, tokens: Option<Vec<String>>) -> Result<(), ApiError> {
        let tokens = tokens.unwrap_or_default();
        if tokens.is_empty() {
            return Ok(());
        }
        if tokens.len() > MAX_TOKENS {
            let why = format!("has more than {MAX_TOKENS} tokens");
            return Err(ApiError::invalid("consistentWith", why));
        }
        let tokens: Result<Vec<Token>, _> = tokens.iter().map(|token| token.parse()).collect();
        let tokens = tokens?;
        caught_up(&self.state()?.reads, &tokens, self.caller()?.company).await
    }
}

/// Most tokens that one query may present.
const MAX_TOKENS: usize = 20;
/// How long a query waits for the read models.
const PATIENCE: Duration = Duration::from_secs(5);

async fn caught_up(reads: &Reads, tokens: &[Token], company: CompanyId) -> Result<(), ApiError> {
    applied::wait_for(reads, tokens, MODELS, company, PATIENCE).await?;
    Ok(())
}

/// What this request has written or told as live events: nested reads wait for it, so that no part of
/// an answer is older than its entity.
pub struct Written {
    reads: Reads,
    /// What the read models may not show yet.
    tokens: Mutex<Vec<Token>>,
}

impl Written {
    /// Nothing so far.
    #[must_use]
    pub fn new(reads: Reads) -> Self {
        Self { reads, tokens: Mutex::default() }
    }

    /// Notes what a mutation has written.
    pub fn add(&self, token: Token) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(token);
    }

    /// Notes the live event that is told next; the ones before are of no interest any more.
    pub fn only(&self, token: Token) {
        *self.tokens.lock().unwrap_or_else(PoisonError::into_inner) = vec![token];
    }

    /// Waits until the read models show it.
    ///
    /// # Errors
    /// `STALE_READ` with how far behind they are.
    pub async fn is_shown(&self) -> Result<(), ApiError> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // All that one request writes belongs to one company.
        let Some(first) = tokens.first() else { return Ok(()) };
        caught_up(&self.reads, &tokens, first.stream.company).await?;
        // Read models never go back, so that what was shown once need not be asked for again.
        let mut waiting = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|token| !tokens.contains(token));
        Ok(())
    }
}

/// What of the caller's company the right to `action` reaches; `None` is nothing.
#[must_use]
pub fn view(caller: &Caller, action: Action) -> Option<View> {
    let scope = permission::scope(caller, action);
    (!scope.is_empty()).then_some(View { company: caller.company, scope })
}

/// Whether the caller is a candidate: signed in, or the guest of one interview.
#[must_use]
pub fn is_candidate(caller: &Caller) -> bool {
    caller.candidate().is_some()
}

/// A guest's token opens one interview; every other one looks as if it were not there.
///
/// # Errors
/// `INT_001`.
pub fn reachable(caller: &Caller, id: InterviewId) -> Result<(), ApiError> {
    match caller.actor {
        Actor::Guest { interview, .. } if interview != id => Err(ApiError::not_found("INT_001")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::{CandidateId, CompanyId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_guest_reaches_no_other_interview_of_the_same_candidate() {
        let [own, other] = [1, 2].map(|n| InterviewId(Uuid::from_u128(n)));
        let candidate = CandidateId(Uuid::from_u128(3));
        let actor = Actor::Guest { interview: own, candidate };
        let guest = Caller::new(CompanyId(Uuid::from_u128(4)), actor, vec![]);
        assert_eq!(reachable(&guest, own), Ok(()));
        assert_eq!(reachable(&guest, other).expect_err("another").code(), "INT_001");
    }

    #[test]
    fn who_has_no_right_sees_nothing() {
        let actor = Actor::Guest {
            interview: InterviewId(Uuid::from_u128(1)),
            candidate: CandidateId(Uuid::from_u128(2)),
        };
        let guest = Caller::new(CompanyId(Uuid::from_u128(4)), actor, vec![]);
        assert!(view(&guest, Action::ReadCandidate).is_none());
        assert!(view(&guest, Action::ReadInterview).is_some());
    }
}
