//! Members: the people of a company.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::Event;
use domain::caller::Role;
use domain::ids::{AccountId, CompanyId, MemberId, RoleId};
use domain::member::Event::{
    CustomRoleAssigned, Deactivated, InvitationRenewed, Invited, Joined, ProfileChanged,
    Reactivated, RoleAssigned,
};
use domain::spelled;
use domain::values::Spelled;
use eventlog::codec::Recorded;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::Model;
use crate::page::{self, List, Order, Page, PageRequest, SortKind};
use crate::projector::{Keys, Projector};
use crate::query::{QueryError, Reads, Sql, View};
use crate::scope;

/// The registration of this model.
pub const MODEL: Model = Model::of::<Members>();

/// The read model of members.
pub enum Members {}

spelled! {
    /// Where a member stands.
    Status {
        /// Asked to join.
        Invited = "INVITED",
        /// Joined with a login.
        Active = "ACTIVE",
        /// Without rights.
        Deactivated = "DEACTIVATED",
    }
}

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant.
    pub company_id: CompanyId,
    /// The member.
    pub member_id: MemberId,
}

/// A member.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tenant.
    pub company_id: CompanyId,
    /// The member.
    pub member_id: MemberId,
    /// Name in full; `None` once the person was erased.
    pub full_name: Option<String>,
    /// E-mail address; `None` once the person was erased.
    pub email: Option<String>,
    /// The role.
    pub role: Role,
    /// The custom role, which the company may have removed since.
    pub custom_role_id: Option<RoleId>,
    /// The department, if known.
    pub department: Option<String>,
    /// To whom the person reports, if known.
    pub manager_id: Option<MemberId>,
    /// The login, once the person joined.
    pub account_id: Option<AccountId>,
    /// Where the member stands.
    pub status: Status,
    /// Version of the stream.
    pub version: u64,
    /// When the person was invited.
    pub created_at: DateTime<Utc>,
    /// When something last changed.
    pub updated_at: DateTime<Utc>,
}

impl Projector for Members {
    const NAME: &'static str = "members";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_member";
    const KEY: &'static [&'static str] = &["company_id", "member_id"];
    const STREAM: &'static str = "member_id";
    const AGGREGATES: &'static [&'static str] = &["member"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        let stream = &recorded.stored.stream;
        Keys::one(Key { company_id: stream.company, member_id: MemberId(stream.id) })
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::Member(event) = &recorded.event else {
            return row;
        };
        let (version, at) = (recorded.stored.version.0, recorded.stored.occurred_at);
        if let Invited { email, full_name, role, department } = event {
            return Some(Row {
                company_id: key.company_id,
                member_id: key.member_id,
                full_name: full_name.get().cloned(),
                email: email.get().cloned(),
                role: *role,
                custom_role_id: None,
                department: department.clone(),
                manager_id: None,
                account_id: None,
                status: Status::Invited,
                version,
                created_at: at,
                updated_at: at,
            });
        }
        let mut row = row?;
        match event {
            Invited { .. } | InvitationRenewed {} => {}
            Joined { account_id } => {
                row.account_id = Some(*account_id);
                row.status = Status::Active;
            }
            ProfileChanged { full_name, department, manager_id } => {
                row.full_name = full_name.get().cloned();
                row.department.clone_from(department);
                row.manager_id = *manager_id;
            }
            RoleAssigned { to, .. } => row.role = *to,
            CustomRoleAssigned { to, .. } => row.custom_role_id = *to,
            Deactivated {} => row.status = Status::Deactivated,
            Reactivated {} => {
                let joined = row.account_id.is_some();
                row.status = if joined { Status::Active } else { Status::Invited };
            }
        }
        row.version = version;
        row.updated_at = at;
        Some(row)
    }
}

/// Which members a list shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only with these roles, if any is given.
    pub roles: Vec<Role>,
    /// Only with these custom roles, if any is given.
    pub custom_roles: Vec<RoleId>,
    /// Only those who stand so, if any is given.
    pub statuses: Vec<Status>,
}

impl Filter {
    fn restrict(&self, sql: &mut Sql, view: &View) {
        scope::whole_company(sql, view, "t");
        if !self.roles.is_empty() {
            let roles: Vec<&str> = self.roles.iter().map(|role| role.as_str()).collect();
            sql.push(" and t.role = any(").push_bind(roles).push(")");
        }
        if !self.custom_roles.is_empty() {
            let roles: Vec<Uuid> = self.custom_roles.iter().map(|role| role.0).collect();
            sql.push(" and t.custom_role_id = any(").push_bind(roles).push(")");
        }
        if !self.statuses.is_empty() {
            let statuses: Vec<&str> = self.statuses.iter().map(|s| s.as_str()).collect();
            sql.push(" and t.status = any(").push_bind(statuses).push(")");
        }
    }
}

const LIST: List = List {
    name: "members",
    table: Members::VIEW,
    row: "to_jsonb(t)",
    sort: "t.created_at",
    kind: SortKind::Time,
    id: "member_id",
    order: Order::Ascending,
};

/// A page of members, oldest first.
///
/// # Errors
/// See [`QueryError`].
pub async fn list(
    reads: &Reads,
    view: &View,
    filter: &Filter,
    request: &PageRequest,
) -> Result<Page<Row>, QueryError> {
    let restrict = |sql: &mut Sql| filter.restrict(sql, view);
    let request = request.clone().filtered(filter);
    page::page(reads, &LIST, view.company, &request, restrict).await
}

/// How many members [`list`] has.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count(reads: &Reads, view: &View, filter: &Filter) -> Result<u64, QueryError> {
    page::count(reads, &LIST, view.company, |sql| filter.restrict(sql, view)).await
}

/// One member, if the view shows it.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn get(reads: &Reads, view: &View, id: MemberId) -> Result<Option<Row>, QueryError> {
    Ok(by_ids(reads, view, &[id]).await?.remove(&id))
}

/// Those of these members that the view shows.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_ids(
    reads: &Reads,
    view: &View,
    ids: &[MemberId],
) -> Result<HashMap<MemberId, Row>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::whole_company(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, LIST.id, ids, restrict).await?;
    Ok(page::by_key(rows, |row: &Row| row.member_id))
}
