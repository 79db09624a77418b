//! Signing in with e-mail and password.

use domain::ids::{AccountId, CompanyId, MemberId};
use domain::member::Member;
use domain::values;
use secrecy::SecretString;
use sqlx::Row;
use uuid::Uuid;

use crate::{Identity, IdentityError, Session, password};

impl Identity {
    /// A session for whoever knows the password. Of several companies the one joined last counts.
    ///
    /// # Errors
    /// [`IdentityError::BadCredentials`] without telling what is wrong.
    pub async fn sign_in(
        &self,
        email: &str,
        password: SecretString,
    ) -> Result<Session, IdentityError> {
        let email = values::email("email", email).map_err(|_| IdentityError::BadCredentials);
        let found = match &email {
            Ok(email) => {
                sqlx::query(
                    "select account_id, password_hash from identity.account where email = $1",
                )
                .bind(email)
                .fetch_optional(&self.pool)
                .await?
            }
            Err(_) => None,
        };
        let (account, hash): (Option<Uuid>, Option<String>) = match &found {
            Some(row) => (Some(row.try_get("account_id")?), Some(row.try_get("password_hash")?)),
            None => (None, None),
        };
        let fits = password::verify(password, hash).await;
        let account = account.filter(|_| fits).ok_or(IdentityError::BadCredentials)?;
        self.session_of(AccountId(account)).await
    }

    /// A session of an account whose holder has proved who they are.
    pub(crate) async fn session_of(&self, account: AccountId) -> Result<Session, IdentityError> {
        let memberships = sqlx::query(
            "select company_id, member_id from identity.membership
              where account_id = $1 order by member_id desc",
        )
        .bind(account.0)
        .fetch_all(&self.pool)
        .await?;
        for row in &memberships {
            let company = CompanyId(row.try_get("company_id")?);
            let member_id = MemberId(row.try_get("member_id")?);
            let member = self.bus.state::<Member>(company, member_id.0).await?;
            if let Some(member) = member.filter(Member::is_active) {
                let roles = member.role().into_iter().collect();
                return self.member_session(account, company, member_id, roles);
            }
        }
        let operator: Option<Uuid> =
            sqlx::query_scalar("select account_id from identity.operator where account_id = $1")
                .bind(account.0)
                .fetch_optional(&self.pool)
                .await?;
        match operator {
            Some(_) => self.operator_session(account),
            None => Err(IdentityError::BadCredentials),
        }
    }
}
