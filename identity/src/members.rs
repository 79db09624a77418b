//! Members as callers: with all that their roles are worth at this moment.

use domain::caller::{Actor, Caller};
use domain::company::Company;
use domain::custom_role::CustomRights;
use domain::ids::{AccountId, CompanyId, MemberId};
use domain::member::Member;

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
}
