//! Waits, bounded, until read models have applied what a token names.

use std::collections::HashMap;
use std::time::Duration;

use domain::ids::CompanyId;
use eventlog::applied::{self, Applied};
use eventlog::envelope::{StreamId, Version};
use tokio::time::{Instant, sleep, timeout_at};

use crate::generation;
use crate::model::Model;
use crate::query::{QueryError, Reads};
use crate::token::{Token, TokenInvalid};

/// A read model that has not applied a token's version in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The model's name.
    pub model: &'static str,
    /// The stream asked for.
    pub stream: StreamId,
    /// How many of its versions are missing.
    pub n_versions: u64,
}

/// Why a query cannot be answered as of its tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// A token is no token, or names what the caller cannot have seen.
    #[error(transparent)]
    Token(#[from] TokenInvalid),
    /// The deadline came first; the same query later is right, or one without the token.
    #[error("{} of the read models are behind", behind_by.len())]
    Stale {
        /// What is behind, and by how much.
        behind_by: Vec<Behind>,
    },
    /// The log or the database cannot be reached.
    #[error("the read models cannot be reached")]
    Unavailable,
}

impl WaitError {
    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token(invalid) => invalid.code(),
            Self::Stale { .. } => "STALE_READ",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

impl From<sqlx::Error> for WaitError {
    fn from(error: sqlx::Error) -> Self {
        let _ = QueryError::from(error);
        Self::Unavailable
    }
}

/// What waiting found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caught {
    /// Models in which a stream asked for is parked: they answer, but without its later events.
    pub parked: Vec<&'static str>,
}

/// First pause between two looks; each is twice the one before, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Returns once each of `models` that listens to a token's aggregate has applied its version, or its
/// stream is parked there. Rows never go back, so what is read afterwards is at least as new.
///
/// # Errors
/// [`WaitError::Token`] at once for another company's stream or a version that is not in the log;
/// [`WaitError::Stale`] once `within` has passed; [`WaitError::Unavailable`].
pub async fn wait_for(
    reads: &Reads,
    tokens: &[Token],
    models: &[Model],
    company: CompanyId,
    within: Duration,
) -> Result<Caught, WaitError> {
    if tokens.is_empty() {
        return Ok(Caught::default());
    }
    let deadline = Instant::now() + within;
    let bounded = timeout_at(deadline + LONGEST_PAUSE, async {
        for token in tokens {
            check(reads, token, company).await?;
        }
        let mut pause = FIRST_PAUSE;
        loop {
            let (caught, behind_by) = look(reads, tokens, models).await?;
            if behind_by.is_empty() {
                return Ok(caught);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WaitError::Stale { behind_by });
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    });
    // A database that does not even answer within the bound is as good as none.
    bounded.await.unwrap_or(Err(WaitError::Unavailable))
}

async fn check(reads: &Reads, token: &Token, company: CompanyId) -> Result<(), WaitError> {
    if token.stream.company != company || token.version == Version(0) {
        return Err(TokenInvalid.into());
    }
    let version = reads.store.stream_version(&token.stream).await;
    if token.version > version.map_err(|_| WaitError::Unavailable)? {
        return Err(TokenInvalid.into());
    }
    Ok(())
}

async fn look(
    reads: &Reads,
    tokens: &[Token],
    models: &[Model],
) -> Result<(Caught, Vec<Behind>), WaitError> {
    let mut caught = Caught::default();
    let mut behind_by = vec![];
    let mut conn = reads.platform.acquire().await?;
    let consumers = generation::live_consumers(&mut conn, models).await?;
    for model in models {
        let wanted: Vec<&Token> =
            tokens.iter().filter(|token| model.listens_to(&token.stream.aggregate)).collect();
        if wanted.is_empty() {
            continue;
        }
        let streams: Vec<StreamId> = wanted.iter().map(|token| token.stream.clone()).collect();
        let found = match consumers.get(model.name) {
            Some(consumer) => applied::load(&mut conn, consumer, &streams).await?,
            // Not filled yet, so that nothing is applied.
            None => HashMap::new(),
        };
        for token in wanted {
            let Applied { version, parked, .. } =
                found.get(&token.stream).cloned().unwrap_or_default();
            if version >= token.version {
                continue;
            }
            if parked {
                caught.parked.push(model.name);
                continue;
            }
            behind_by.push(Behind {
                model: model.name,
                stream: token.stream.clone(),
                n_versions: token.version.0 - version.0,
            });
        }
    }
    Ok((caught, behind_by))
}
