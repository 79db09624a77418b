//! Who may enter: credentials, tokens and keys. State, not history: what happened is recorded
//! through `commands` like everyone else's deeds. The only SQL of the write side outside the log.

mod api_keys;
mod candidacy;
mod error;
mod id_token;
mod invitations;
pub mod keys;
mod lifetimes;
mod lockout;
pub mod mail;
mod members;
pub mod outbox;
mod password;
pub mod rate_limits;
mod recovery;
mod registration;
mod rooms;
mod second_factor;
mod session;
mod sessions;
pub mod sign_on;
mod tokens;
pub mod wall;

use std::sync::Arc;
use std::time::Duration;

use commands::Bus;
use domain::caller::Caller;
use moka::sync::Cache;
use secrecy::SecretString;
use uuid::Uuid;

pub use api_keys::{ApiKey, NewApiKey};
pub use candidacy::Applicant;
pub use error::IdentityError;
pub use invitations::{Invited, Invitee, RegisteredCompany};
pub use lifetimes::{LifetimeInvalid, Lifetimes};
pub use recovery::Login;
pub use registration::{Application, PendingRequest};
pub use rooms::{InterviewAccess, IssuedAccess};
pub use second_factor::{Enrolment, SecondStep};
pub use sessions::{Entrance, OpenSession, Place};

/// Longest life of a right that was taken away: states behind a token are asked for this often.
const FRESH: Duration = Duration::from_secs(1);

/// Who a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Actor, company and present roles.
    pub caller: Caller,
    /// The login, for people who have one.
    pub account_id: Option<domain::ids::AccountId>,
    /// The session, for people who have a login.
    pub session_id: Option<Uuid>,
    /// Whether a company's own provider vouches for the person: then in that company only, and not
    /// for the login itself.
    pub is_bound: bool,
    /// End of the token, UTC.
    pub expires_at: chrono::DateTime<chrono::Utc>,
}

/// What signing in answers.
#[derive(Clone, Debug)]
pub struct Session {
    /// Goes into the header `Authorization: Bearer …`.
    pub access_token: SecretString,
    /// Who it stands for, and until when.
    pub principal: Principal,
    /// Prolongs the session; who has no login has none.
    pub refresh_token: Option<RefreshToken>,
}

/// Prolongs a session, once. It travels in a cookie that no page can read.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// The token, kept nowhere but as a hash.
    pub token: SecretString,
    /// End of its life, UTC.
    pub expires_at: chrono::DateTime<chrono::Utc>,
}

/// What the edge may ask for.
#[derive(Clone)]
pub struct Identity {
    wall: wall::Wall,
    bus: Arc<Bus>,
    keys: keys::KeyRing,
    standing: Cache<tokens::Known, tokens::Standing>,
    keyed: Cache<Vec<u8>, Principal>,
    web: Arc<dyn sign_on::Web>,
    lifetimes: Lifetimes,
}

impl Identity {
    /// Identity on its tables, behind their wall.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`] when the signing keys cannot be read.
    pub async fn start(wall: wall::Wall, bus: Arc<Bus>) -> Result<Self, IdentityError> {
        let keys = keys::KeyRing::new(wall.clone(), Arc::clone(&bus));
        keys.keys().await?;
        let standing = Cache::builder().max_capacity(100_000).time_to_live(FRESH).build();
        let keyed = Cache::builder().max_capacity(10_000).time_to_live(FRESH).build();
        let (web, lifetimes) = (Arc::new(sign_on::NoWeb), Lifetimes::default());
        Ok(Self { wall, bus, keys, standing, keyed, web, lifetimes })
    }

    /// The same, where tokens and sessions live so long.
    #[must_use]
    pub fn with_lifetimes(self, lifetimes: Lifetimes) -> Self {
        Self { lifetimes, ..self }
    }

    /// The same, with providers to sign in by.
    #[must_use]
    pub fn with_web(self, web: Arc<dyn sign_on::Web>) -> Self {
        Self { web, ..self }
    }

    /// The public keys, as a JSON Web Key Set (RFC 7517).
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`]
    pub async fn jwks(&self) -> Result<serde_json::Value, IdentityError> {
        Ok(self.keys.keys().await?.jwks())
    }
}
