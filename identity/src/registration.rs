//! Companies that ask to be let in: what is asked stands here until an operator decides, what happened
//! in the log.

use chrono::{DateTime, Utc};
use commands::{CommandError, Order, Receipt, derive_id};
use domain::caller::{Caller, Role};
use domain::company_request::{Command, CompanyRequest};
use domain::ids::{CompanyId, CompanyRequestId};
use domain::permission::{Action, Relation, allows};
use domain::values;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::mail::{self, Letter};
use crate::wall::About;
use crate::{Identity, IdentityError, Invitee, RegisteredCompany};

/// So many requests wait at most: anybody may ask, and the log keeps every one for ever.
const MAX_PENDING: i64 = 1_000;

/// What a company asks for.
#[derive(Clone, Debug)]
pub struct Application {
    /// Name of the company.
    pub company_name: String,
    /// Its mail domain.
    pub domain: Option<String>,
    /// Who asks, and is to be the first administrator.
    pub contact_full_name: String,
    /// Address of who asks.
    pub contact_email: String,
}

/// A request that is not decided yet.
#[derive(Clone, Debug)]
pub struct PendingRequest {
    /// Its id.
    pub request_id: CompanyRequestId,
    /// What is asked for.
    pub application: Application,
    /// When it was made, UTC.
    pub requested_at: DateTime<Utc>,
}

impl Identity {
    /// Asks for a company; anybody may.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] or [`IdentityError::Command`] when a field is wrong;
    /// [`IdentityError::TooManyRequests`] when a thousand wait to be decided.
    pub async fn request_company(
        &self,
        order: Order,
        application: Application,
    ) -> Result<(CompanyRequestId, Receipt), IdentityError> {
        let registrar = Caller::system(CompanyId::NONE, "registration");
        let id = derive_id(&registrar, order.command_id, "company-request", 0);
        let request_id = CompanyRequestId(id);
        let is_full: bool = sqlx::query_scalar(
            "select count(*) >= $1 and not coalesce(bool_or(request_id = $2), false)
               from identity.company_request",
        )
        .bind(MAX_PENDING)
        .bind(id)
        .fetch_one(&mut *self.wall.of(About::platform()).await?)
        .await?;
        if is_full {
            return Err(IdentityError::TooManyRequests);
        }
        let submit = Command::Submit {
            request_id,
            company_name: application.company_name.clone(),
            domain: application.domain.clone(),
            contact_name: application.contact_full_name.clone(),
            contact_email: application.contact_email.clone(),
        };
        let receipt = self.bus.execute::<CompanyRequest>(&registrar, id, submit, order).await?;
        // A repeat after the decision leaves nothing: what was decided is not pending any more.
        let is_decided = self
            .bus
            .state::<CompanyRequest>(CompanyId::NONE, id)
            .await?
            .is_some_and(|request| request.is_decided());
        if !is_decided {
            sqlx::query(
                "insert into identity.company_request
                   (request_id, company_name, domain, contact_name, contact_email, requested_at)
                 values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
            )
            .bind(id)
            .bind(values::line("companyName", &application.company_name)?)
            .bind(application.domain.map(|domain| domain.trim().to_lowercase()))
            .bind(values::line("contactFullName", &application.contact_full_name)?)
            .bind(values::email("contactEmail", &application.contact_email)?)
            .bind(receipt.recorded_at)
            .execute(&mut *self.wall.of(About::platform()).await?)
            .await?;
        }
        Ok((request_id, receipt))
    }

    /// Requests that are not decided, oldest first, from the one after `after`.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not see them; [`IdentityError::Invalid`] when
    /// `after` does not wait any more.
    pub async fn pending_requests(
        &self,
        operator: &Caller,
        after: Option<CompanyRequestId>,
        limit: u32,
    ) -> Result<Vec<PendingRequest>, IdentityError> {
        if !allows(operator, Action::DecideCompanyRequest, Relation::default()) {
            return Err(CommandError::Forbidden.into());
        }
        let after = match after {
            Some(after) => Some(self.place_of(after).await?),
            None => None,
        };
        let rows = sqlx::query(
            "select request_id, company_name, domain, contact_name, contact_email, requested_at
               from identity.company_request
              where $2::timestamptz is null or (requested_at, request_id) > ($2, $3)
              order by requested_at, request_id limit $1",
        )
        .bind(i64::from(limit))
        .bind(after.map(|(at, _)| at))
        .bind(after.map(|(_, id)| id))
        .fetch_all(&mut *self.wall.of(About::platform()).await?)
        .await?;
        Ok(rows.iter().map(pending).collect::<Result<_, _>>()?)
    }

    /// Where a request stands among those that wait.
    async fn place_of(
        &self,
        request: CompanyRequestId,
    ) -> Result<(DateTime<Utc>, Uuid), IdentityError> {
        let requested_at: Option<DateTime<Utc>> = sqlx::query_scalar(
            "select requested_at from identity.company_request where request_id = $1",
        )
        .bind(request.0)
        .fetch_optional(&mut *self.wall.of(About::platform()).await?)
        .await?;
        let why = "is no request that waits".to_owned();
        let requested_at = requested_at.ok_or(values::Invalid { field: "after", why })?;
        Ok((requested_at, request.0))
    }

    /// Lets a company in: makes it and invites its first administrator. A request whose company could
    /// not be made, because another has its domain, is approved again with another or without one.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not, or a rule forbids it.
    pub async fn approve_request(
        &self,
        operator: &Caller,
        order: Order,
        request_id: CompanyRequestId,
        domain: Option<String>,
    ) -> Result<(Receipt, Option<RegisteredCompany>), IdentityError> {
        // All that follows derives from the request, so that whoever goes on after a crash, and be it
        // another operator, finishes the same company.
        let registrar = Caller::system(CompanyId::NONE, "registration");
        let company = CompanyId(derive_id(&registrar, request_id.0, "company", 0));
        let approve = Command::Approve { company_id: company };
        let receipt =
            self.bus.execute::<CompanyRequest>(operator, request_id.0, approve, order).await?;
        let row = sqlx::query(
            "select request_id, company_name, domain, contact_name, contact_email, requested_at
               from identity.company_request where request_id = $1",
        )
        .bind(request_id.0)
        .fetch_optional(&mut *self.wall.of(About::platform()).await?)
        .await?;
        let Some(row) = row else { return Ok((receipt, None)) };
        let Application { company_name, domain: asked, contact_full_name, contact_email } =
            pending(&row)?.application;
        let domain = domain.or(asked).filter(|domain| !domain.trim().is_empty());
        let admin = Invitee {
            email: contact_email,
            full_name: contact_full_name,
            role: Role::CompanyAdmin,
            department: None,
        };
        let input = serde_json::to_vec(&domain).unwrap_or_default();
        let follows = Order { derived: true, ..Order::of_client(request_id.0, input) };
        let made = self.found(&registrar, company, follows, company_name, domain, admin).await?;
        settle(&mut *self.wall.of(About::platform()).await?, request_id).await?;
        Ok((receipt, Some(made)))
    }

    /// Turns a company away, which a letter tells who asked, with the reason.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not, or a rule forbids it.
    pub async fn reject_request(
        &self,
        operator: &Caller,
        order: Order,
        request_id: CompanyRequestId,
        reason: String,
    ) -> Result<Receipt, IdentityError> {
        let reject = Command::Reject { reason: reason.clone() };
        let receipt =
            self.bus.execute::<CompanyRequest>(operator, request_id.0, reject, order).await?;
        let mut tx = self.wall.begin(About::platform()).await?;
        // Who repeats this finds that it is settled and that the letter is ordered.
        if let Some(contact) = settle(&mut tx, request_id).await? {
            let letter = Letter::CompanyRejected;
            let (id, note) = (request_id.0, Some(reason.trim()));
            mail::order_with(&mut tx, &self.bus, letter, id, &contact, note).await?;
        }
        tx.commit().await?;
        Ok(receipt)
    }
}

/// Takes a request off the list that was decided, and answers the contact's address if it stood there.
async fn settle(
    connection: &mut PgConnection,
    request_id: CompanyRequestId,
) -> Result<Option<String>, IdentityError> {
    let contact = sqlx::query_scalar(
        "delete from identity.company_request where request_id = $1 returning contact_email",
    )
    .bind(request_id.0)
    .fetch_optional(connection)
    .await?;
    Ok(contact)
}

fn pending(row: &sqlx::postgres::PgRow) -> sqlx::Result<PendingRequest> {
    Ok(PendingRequest {
        request_id: CompanyRequestId(row.try_get::<Uuid, _>("request_id")?),
        application: Application {
            company_name: row.try_get("company_name")?,
            domain: row.try_get("domain")?,
            contact_full_name: row.try_get("contact_name")?,
            contact_email: row.try_get("contact_email")?,
        },
        requested_at: row.try_get("requested_at")?,
    })
}
