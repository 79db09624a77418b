//! Companies: the tenants' names and domains, and the roles that they make themselves.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::Event;
use domain::company::Event::{
    DomainChanged, OperatorEntered, Registered, Renamed, RoleChanged, RoleDefined, RoleRemoved,
};
use domain::custom_role::Permission;
use domain::ids::{CompanyId, RoleId};
use eventlog::codec::Recorded;
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::page::{self, List, Order, Page, PageRequest, SortKind};
use crate::projector::{Keys, Projector};
use crate::query::{QueryError, Reads, Sql, View};
use crate::scope;

/// The registration of this model.
pub const MODEL: Model = Model::of::<Companies>();

/// The read model of companies.
pub enum Companies {}

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The company.
    pub company_id: CompanyId,
}

/// A custom role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomRole {
    /// The role.
    pub role_id: RoleId,
    /// Its name.
    pub name: String,
    /// What it gives, in the order of the table.
    pub permissions: Vec<Permission>,
}

/// A company.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The company.
    pub company_id: CompanyId,
    /// Its name.
    pub name: String,
    /// Its mail domain, if it has one.
    pub domain: Option<String>,
    /// Its custom roles, oldest first.
    pub roles: Vec<CustomRole>,
    /// Version of the stream.
    pub version: u64,
    /// When it became a tenant.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl Row {
    /// The custom role, if the company has it.
    #[must_use]
    pub fn role(&self, id: RoleId) -> Option<&CustomRole> {
        self.roles.iter().find(|role| role.role_id == id)
    }
}

impl Projector for Companies {
    const NAME: &'static str = "companies";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_company";
    const KEY: &'static [&'static str] = &["company_id"];
    const STREAM: &'static str = "company_id";
    const AGGREGATES: &'static [&'static str] = &["company"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        // A company's stream is named by the company, whichever tenant it is filed under.
        Keys::one(Key { company_id: CompanyId(recorded.stored.stream.id) })
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::Company(event) = &recorded.event else {
            return row;
        };
        let (version, at) = (recorded.stored.version.0, recorded.stored.occurred_at);
        if let Registered { name, domain } = event {
            return Some(Row {
                company_id: key.company_id,
                name: name.clone(),
                domain: domain.clone(),
                roles: vec![],
                version,
                created_at: at,
                updated_at: at,
            });
        }
        let mut row = row?;
        match event {
            Registered { .. } => {}
            Renamed { name } => {
                row.name.clone_from(name);
                row.updated_at = at;
            }
            DomainChanged { to, .. } => {
                row.domain.clone_from(to);
                row.updated_at = at;
            }
            RoleDefined { role_id, name, permissions } => {
                row.roles.push(CustomRole {
                    role_id: *role_id,
                    name: name.clone(),
                    permissions: permissions.clone(),
                });
                row.updated_at = at;
            }
            RoleChanged { role_id, name, permissions } => {
                if let Some(role) = row.roles.iter_mut().find(|role| role.role_id == *role_id) {
                    role.name.clone_from(name);
                    role.permissions.clone_from(permissions);
                }
                row.updated_at = at;
            }
            RoleRemoved { role_id } => {
                row.roles.retain(|role| role.role_id != *role_id);
                row.updated_at = at;
            }
            // It is a fact about the company, and changes nothing of it.
            OperatorEntered { .. } => {}
        }
        row.version = version;
        Some(row)
    }
}

const LIST: List = List {
    name: "companies",
    table: Companies::VIEW,
    row: "to_jsonb(t)",
    sort: "t.created_at",
    kind: SortKind::Time,
    id: "company_id",
    order: Order::Descending,
};

/// The company of the view.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn get(reads: &Reads, view: &View) -> Result<Option<Row>, QueryError> {
    Ok(by_ids(reads, view, &[view.company]).await?.remove(&view.company))
}

/// Those of these companies that the view shows: at most its own.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_ids(
    reads: &Reads,
    view: &View,
    ids: &[CompanyId],
) -> Result<HashMap<CompanyId, Row>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::whole_company(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, LIST.id, ids, restrict).await?;
    Ok(page::by_key(rows, |row: &Row| row.company_id))
}

/// A page of all companies there are, newest first: for whoever runs the platform.
///
/// # Errors
/// See [`QueryError`].
pub async fn all(reads: &Reads, request: &PageRequest) -> Result<Page<Row>, QueryError> {
    let conn = reads.platform.acquire().await?;
    page::page_by(conn, &LIST, CompanyId::NONE, request, every).await
}

/// How many companies there are.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count_all(reads: &Reads) -> Result<u64, QueryError> {
    page::count_by(reads.platform.acquire().await?, &LIST, every).await
}

fn every(sql: &mut Sql) {
    sql.push("true");
}
