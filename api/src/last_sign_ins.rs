//! When members signed in last, for who looks after them: loaded at once for all of a level.

use std::collections::HashMap;

use async_graphql::dataloader::Loader;
use chrono::{DateTime, Utc};
use domain::ids::MemberId;
use domain::permission::{self, Action};
use identity::Identity;

use crate::auth::Session;
use crate::error::ApiError;

/// Loads it for members of the own company.
pub struct LastSignIns {
    identity: Identity,
    session: Session,
}

impl LastSignIns {
    /// For who asks.
    #[must_use]
    pub fn new(identity: Identity, session: Session) -> Self {
        Self { identity, session }
    }
}

impl Loader<MemberId> for LastSignIns {
    type Value = DateTime<Utc>;
    type Error = ApiError;

    async fn load(&self, members: &[MemberId]) -> Result<HashMap<MemberId, Self::Value>, ApiError> {
        let caller = self.session.caller()?;
        if !permission::scope(&caller, Action::ManageMembers).all {
            return Ok(HashMap::new());
        }
        Ok(self.identity.last_sign_ins(caller.company, members).await?)
    }
}
