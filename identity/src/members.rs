//! Members as callers: with all that their roles are worth at this moment.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::caller::{Actor, Caller};
use domain::company::Company;
use domain::custom_role::CustomRights;
use domain::ids::{AccountId, CompanyId, MemberId};
use domain::member::Member;
use uuid::Uuid;

use crate::wall::About;
use crate::{Identity, IdentityError};

impl Identity {
    /// The member that this login is in the company; `None` for who has no rights there now. A custom
    /// role gives what it is worth at present, and nothing once the company removed it.
    pub(crate) async fn member(
        &self,
        account: AccountId,
        company: CompanyId,
        id: MemberId,
    ) -> Result<Option<Caller>, IdentityError> {
        let member = self.bus.state::<Member>(company, id.0).await?;
        let is_theirs = |member: &Member| member.is_active() && member.account() == Some(account);
        let Some(member) = member.filter(is_theirs) else { return Ok(None) };
        let custom = match member.custom_role() {
            Some(role) => {
                let state = self.bus.state::<Company>(company, company.0).await?;
                state.and_then(|state| state.role(role)).unwrap_or_default()
            }
            None => CustomRights::default(),
        };
        let roles = member.role().into_iter().collect();
        Ok(Some(Caller { custom, ..Caller::new(company, Actor::Member(id), roles) }))
    }

    /// When these members of the company signed in last, UTC; who never did is left out.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn last_sign_ins(
        &self,
        company: CompanyId,
        members: &[MemberId],
    ) -> Result<HashMap<MemberId, DateTime<Utc>>, IdentityError> {
        let ids: Vec<Uuid> = members.iter().map(|member| member.0).collect();
        let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
            "select member_id, last_signed_in_at from identity.membership
              where company_id = $1 and member_id = any($2) and last_signed_in_at is not null",
        )
        .bind(company.0)
        .bind(ids)
        .fetch_all(&mut *self.wall.of(About::company(company)).await?)
        .await?;
        Ok(rows.into_iter().map(|(member, at)| (MemberId(member), at)).collect())
    }
}
