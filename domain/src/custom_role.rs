//! Custom roles: sets of rights that a company makes and names itself. A member can have one beside
//! the built-in role, and what both give adds up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::aggregate::PublicCode;
use crate::ids::RoleId;
use crate::permission::{Action, Grant, Rights};
use crate::spelled;
use crate::values::{self, Invalid, Spelled as _};

/// Most custom roles of a company.
const MAX_ROLES: usize = 50;

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// How far a right of a custom role reaches.
    Reach {
        /// Everything of the company.
        All = "ALL",
        /// Rounds and candidates that the member is assigned to.
        Assigned = "ASSIGNED",
        /// The member's own jobs and what belongs to them.
        OwnJobs = "OWN_JOBS",
    }
}

impl Reach {
    /// What a right with this reach is worth.
    #[must_use]
    pub fn grant(self) -> Grant {
        match self {
            Self::All => Grant::Always,
            Self::Assigned => Grant::Assigned,
            Self::OwnJobs => Grant::OwnJobs,
        }
    }
}

/// A right, and how far it reaches. Of several for one right each adds to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Permission {
    /// The right.
    pub right: Action,
    /// How far it reaches.
    pub reach: Reach,
}

/// What a custom role gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CustomRights {
    all: Rights,
    assigned: Rights,
    own_jobs: Rights,
}

impl CustomRights {
    /// Those of these permissions.
    #[must_use]
    pub fn of(permissions: &[Permission]) -> Self {
        let with = |reach| {
            let with = permissions.iter().filter(move |permission| permission.reach == reach);
            Rights::of(with.map(|permission| permission.right))
        };
        Self {
            all: with(Reach::All),
            assigned: with(Reach::Assigned),
            own_jobs: with(Reach::OwnJobs),
        }
    }

    /// What `action` is worth. What a custom role cannot give any more is worth nothing, whatever was
    /// recorded when it could.
    pub fn grants(self, action: Action) -> impl Iterator<Item = Grant> {
        let sets = [
            (self.all, Reach::All),
            (self.assigned, Reach::Assigned),
            (self.own_jobs, Reach::OwnJobs),
        ];
        let gives =
            move |(set, reach): &(Rights, Reach)| set.has(action) && action.can_reach(*reach);
        sets.into_iter().filter(gives).map(|(_, reach)| reach.grant())
    }
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The company has no such role.
    #[error("the company has no such role")]
    Missing,
    /// A role of this id was made before.
    #[error("the role was made already")]
    AlreadyDefined,
    /// Another role of the company has the name.
    #[error("another role of the company has this name")]
    NameTaken,
    /// The company has as many as it may.
    #[error("the company has {MAX_ROLES} roles of its own already")]
    TooMany,
    /// A right that no custom role can give, or not with this reach.
    #[error("{} cannot be given by a custom role with the reach {}", .0.right, .0.reach.as_str())]
    NotForCustomRoles(Permission),
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::Missing => "ROLE_NOT_FOUND",
            Self::AlreadyDefined => "ROLE_ALREADY_DEFINED",
            Self::NameTaken => "ROLE_NAME_TAKEN",
            Self::TooMany => "ROLE_TOO_MANY",
            Self::NotForCustomRoles(_) => "ROLE_RIGHT_NOT_GIVABLE",
        }
    }
}

/// A role as its company has it now.
#[derive(Clone, Debug)]
struct CustomRole {
    name: String,
    permissions: Vec<Permission>,
}

/// The custom roles of a company. One that was removed stays known as such, so that its id never
/// comes to mean another one.
#[derive(Clone, Debug, Default)]
pub(crate) struct CustomRoles(BTreeMap<RoleId, Option<CustomRole>>);

impl CustomRoles {
    fn get(&self, id: RoleId) -> Option<&CustomRole> {
        self.0.get(&id)?.as_ref()
    }

    /// What the role gives, if there is one and it was not removed.
    pub(crate) fn rights(&self, id: RoleId) -> Option<CustomRights> {
        self.get(id).map(|role| CustomRights::of(&role.permissions))
    }

    /// Name and permissions of a role that is made, in the form in which they are kept.
    pub(crate) fn define(
        &self,
        id: RoleId,
        name: &str,
        permissions: &[Permission],
    ) -> Result<(String, Vec<Permission>), Refusal> {
        if self.0.contains_key(&id) {
            return Err(Refusal::AlreadyDefined);
        }
        if self.0.values().flatten().count() >= MAX_ROLES {
            return Err(Refusal::TooMany);
        }
        Ok((self.name(id, name)?, sorted(permissions)?))
    }

    /// The same of a role that changes; `None` where nothing does.
    pub(crate) fn change(
        &self,
        id: RoleId,
        name: &str,
        permissions: &[Permission],
    ) -> Result<Option<(String, Vec<Permission>)>, Refusal> {
        let was = self.get(id).ok_or(Refusal::Missing)?;
        let (name, permissions) = (self.name(id, name)?, sorted(permissions)?);
        let changes = name != was.name || permissions != was.permissions;
        Ok(changes.then_some((name, permissions)))
    }

    fn name(&self, id: RoleId, name: &str) -> Result<String, Refusal> {
        let name = values::line("name", name)?;
        let lower = name.to_lowercase();
        let is_same = |(other, role): (&RoleId, &Option<CustomRole>)| {
            *other != id && role.as_ref().is_some_and(|role| role.name.to_lowercase() == lower)
        };
        match self.0.iter().any(is_same) {
            true => Err(Refusal::NameTaken),
            false => Ok(name),
        }
    }

    /// The role is so from now on.
    pub(crate) fn put(&mut self, id: RoleId, name: &str, permissions: &[Permission]) {
        let role = CustomRole { name: name.to_owned(), permissions: permissions.to_vec() };
        self.0.insert(id, Some(role));
    }

    /// The role is no more.
    pub(crate) fn remove(&mut self, id: RoleId) {
        self.0.insert(id, None);
    }
}

/// Each permission once, in the order of the table.
fn sorted(given: &[Permission]) -> Result<Vec<Permission>, Refusal> {
    if given.is_empty() {
        return Err(Invalid { field: "permissions", why: "must not be empty".into() }.into());
    }
    let wrong = given.iter().find(|permission| !permission.right.can_reach(permission.reach));
    if let Some(wrong) = wrong {
        return Err(Refusal::NotForCustomRoles(*wrong));
    }
    let mut permissions = given.to_vec();
    permissions.sort_unstable();
    permissions.dedup();
    Ok(permissions)
}
