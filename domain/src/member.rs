//! A member: a person of a company and what they may do there.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::{Actor, Caller, Role};
use crate::facts::{Facts, Reference};
use crate::ids::{AccountId, MemberId, RoleId};
use crate::permission::{Action, Relation};
use crate::personal::{Personal, Subject};
use crate::values::{self, Invalid};

/// Most characters of a department's name.
const MAX_DEPARTMENT_CHARS: usize = 100;

/// What can be asked of a member.
#[derive(Clone, Debug)]
pub enum Command {
    /// Ask a person to join.
    Invite {
        /// The member's id, whose key seals name and address.
        member_id: MemberId,
        /// Address to be invited at.
        email: String,
        /// The person's name.
        full_name: String,
        /// First role.
        role: Role,
        /// Department, if known.
        department: Option<String>,
    },
    /// Ask again: the invitation has ended, or its letter was lost. The one before is worth nothing
    /// any more.
    RenewInvitation,
    /// The person took the invitation up with a login.
    Join {
        /// The login.
        account_id: AccountId,
    },
    /// Change what the company knows of the person.
    ChangeProfile {
        /// The person's name.
        full_name: String,
        /// Department, if known.
        department: Option<String>,
        /// To whom the person reports, if known.
        manager_id: Option<MemberId>,
    },
    /// Give another role.
    AssignRole {
        /// The new role.
        role: Role,
    },
    /// Give a custom role beside the other one, instead of the custom role before, to who has joined.
    AssignCustomRole {
        /// The custom role; `None` takes the one before away.
        role_id: Option<RoleId>,
    },
    /// Take all rights away.
    Deactivate,
    /// Give the rights back.
    Reactivate,
}

/// What has happened to a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// A person was asked to join.
    Invited {
        /// Address of the invitation.
        email: Personal<String>,
        /// The person's name.
        full_name: Personal<String>,
        /// First role.
        role: Role,
        /// Department, if known.
        department: Option<String>,
    },
    /// The person was asked again, by an invitation that takes the place of the one before.
    InvitationRenewed {},
    /// The person joined.
    Joined {
        /// The login.
        account_id: AccountId,
    },
    /// What the company knows of the person changed.
    ProfileChanged {
        /// The person's name.
        full_name: Personal<String>,
        /// Department, if known.
        department: Option<String>,
        /// To whom the person reports, if known.
        manager_id: Option<MemberId>,
    },
    /// The role changed.
    RoleAssigned {
        /// Role before.
        from: Role,
        /// Role from now on.
        to: Role,
    },
    /// The custom role changed.
    CustomRoleAssigned {
        /// Custom role before, if there was one.
        from: Option<RoleId>,
        /// Custom role from now on, if there is one.
        to: Option<RoleId>,
    },
    /// All rights were taken away.
    Deactivated {},
    /// The rights were given back.
    Reactivated {},
}

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such member.
    #[error("there is no such member")]
    Missing,
    /// The invitation stands already.
    #[error("the person is invited already")]
    AlreadyInvited,
    /// Somebody joined with this invitation.
    #[error("the invitation was taken up already")]
    AlreadyJoined,
    /// The member has no rights at present.
    #[error("the member is deactivated")]
    Deactivated,
    /// The manager is nobody who joined the company and is active there, or the person in question.
    #[error("there is no such active member to report to")]
    NoSuchManager,
    /// The role belongs to the platform, not to a company.
    #[error("the role cannot be given in a company")]
    PlatformRole,
    /// An administrator keeps the own role, so that a company is never left without one.
    #[error("an administrator cannot give up the own role; another administrator can")]
    OwnAdministration,
    /// Nobody gives away a role above the own.
    #[error("only a company administrator may do this")]
    OnlyAdministrators,
    /// Nobody has taken the invitation up, so that nobody knows who will: whoever invited has seen it.
    #[error("the person has not joined")]
    NotJoined,
    /// The company has no such custom role.
    #[error("the company has no such role")]
    NoSuchRole,
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::Missing => "MEMBER_NOT_FOUND",
            Self::AlreadyInvited => "MEMBER_ALREADY_INVITED",
            Self::AlreadyJoined => "MEMBER_ALREADY_JOINED",
            Self::Deactivated => "MEMBER_DEACTIVATED",
            Self::NoSuchManager => "MEMBER_NO_SUCH_MANAGER",
            Self::PlatformRole => "MEMBER_PLATFORM_ROLE",
            Self::OwnAdministration => "MEMBER_OWN_ADMINISTRATION",
            Self::OnlyAdministrators => "AUTH_003",
            Self::NotJoined => "MEMBER_NOT_JOINED",
            Self::NoSuchRole => "ROLE_NOT_FOUND",
        }
    }
}

/// What the company knows of the person.
#[derive(Clone, Debug, PartialEq)]
struct Profile {
    full_name: Personal<String>,
    department: Option<String>,
    manager_id: Option<MemberId>,
}

/// What decisions about a member read.
#[derive(Clone, Debug, Default)]
pub struct Member {
    subject: Option<Subject>,
    profile: Option<Profile>,
    role: Option<Role>,
    custom_role: Option<RoleId>,
    account: Option<AccountId>,
    deactivated: bool,
}

impl Member {
    /// The role, if the person was invited at all.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// The custom role, which the company may have removed since.
    #[must_use]
    pub fn custom_role(&self) -> Option<RoleId> {
        self.custom_role
    }

    /// The login with which the person joined.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        self.account
    }

    /// Whether the person joined and has rights now.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.account.is_some() && !self.deactivated
    }
}

fn department(text: String) -> Result<String, Invalid> {
    values::short_line("department", &text, MAX_DEPARTMENT_CHARS)
}

/// A company administrator is made, changed or removed only by another one (or with the company).
fn may_touch(caller: &Caller, role: Role) -> Result<(), Refusal> {
    match (role, caller.actor) {
        (Role::SystemAdmin, _) => Err(Refusal::PlatformRole),
        (Role::CompanyAdmin, Actor::Member(_)) if !caller.has(Role::CompanyAdmin) => {
            Err(Refusal::OnlyAdministrators)
        }
        _ => Ok(()),
    }
}

impl Aggregate for Member {
    const NAME: &'static str = "member";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Member(event) => Some(event),
            _ => None,
        }
    }

    fn action(command: &Command) -> Action {
        match command {
            Command::Invite { .. }
            | Command::RenewInvitation
            | Command::ChangeProfile { .. }
            | Command::AssignRole { .. } => Action::ManageMembers,
            Command::AssignCustomRole { .. } => Action::ManageCompany,
            Command::Join { .. } => Action::JoinCompany,
            Command::Deactivate | Command::Reactivate => Action::DeactivateMember,
        }
    }

    fn relation(&self, _: &Caller, _: &Command, _: &Facts) -> Relation {
        Relation::default()
    }

    fn references(&self, command: &Command) -> Vec<Reference> {
        match command {
            Command::ChangeProfile { manager_id: Some(manager), .. } => {
                vec![Reference::Member(*manager)]
            }
            Command::AssignCustomRole { role_id: Some(_) } => vec![Reference::Company],
            _ => vec![],
        }
    }

    fn subject(&self) -> Option<Subject> {
        self.subject
    }

    fn decide(&self, command: Command, context: Context<'_>) -> Result<Vec<Event>, Refusal> {
        let Some(role) = self.role else {
            return match command {
                Command::Invite { member_id, email, full_name, role, department } => {
                    may_touch(context.caller, role)?;
                    let subject = Subject::Member(member_id);
                    let department = department.map(self::department).transpose()?;
                    Ok(vec![Event::Invited {
                        email: Personal::new(subject, values::email("email", &email)?),
                        full_name: Personal::new(subject, values::line("fullName", &full_name)?),
                        role,
                        department,
                    }])
                }
                _ => Err(Refusal::Missing),
            };
        };
        let is_own = self.subject == context.caller.member().map(Subject::Member);
        match command {
            Command::AssignRole { role: to }
                if is_own && role == Role::CompanyAdmin && to != role =>
            {
                Err(Refusal::OwnAdministration)
            }
            Command::Deactivate if is_own && role == Role::CompanyAdmin => {
                Err(Refusal::OwnAdministration)
            }
            Command::Invite { .. } => Err(Refusal::AlreadyInvited),
            Command::RenewInvitation if self.account.is_some() => Err(Refusal::AlreadyJoined),
            Command::RenewInvitation => {
                may_touch(context.caller, role)?;
                match self.deactivated {
                    true => Err(Refusal::Deactivated),
                    false => Ok(vec![Event::InvitationRenewed {}]),
                }
            }
            Command::Join { account_id } => match self.account {
                None => Ok(vec![Event::Joined { account_id }]),
                Some(was) if was == account_id => Ok(vec![]),
                Some(_) => Err(Refusal::AlreadyJoined),
            },
            Command::ChangeProfile { full_name, department, manager_id } => {
                may_touch(context.caller, role)?;
                let subject = self.subject.ok_or(Refusal::Missing)?;
                let full_name = values::line("fullName", &full_name)?;
                let department = department.map(self::department).transpose()?;
                let profile = Profile {
                    full_name: Personal::new(subject, full_name),
                    department,
                    manager_id,
                };
                if self.profile.as_ref() == Some(&profile) {
                    return Ok(vec![]);
                }
                let is_manager = |id: MemberId| {
                    Subject::Member(id) != subject
                        && context.facts.members.get(&id).is_some_and(Self::is_active)
                };
                if !manager_id.is_none_or(is_manager) {
                    return Err(Refusal::NoSuchManager);
                }
                let Profile { full_name, department, manager_id } = profile;
                Ok(vec![Event::ProfileChanged { full_name, department, manager_id }])
            }
            Command::AssignRole { role: to } => {
                may_touch(context.caller, role)?;
                may_touch(context.caller, to)?;
                if to == Role::CompanyAdmin && role != to && self.account.is_none() {
                    return Err(Refusal::NotJoined);
                }
                if self.deactivated {
                    return Err(Refusal::Deactivated);
                }
                Ok(if role == to { vec![] } else { vec![Event::RoleAssigned { from: role, to }] })
            }
            Command::AssignCustomRole { role_id: to } => {
                let company = context.facts.company.as_ref();
                let is_there = |id| company.is_some_and(|company| company.role(id).is_some());
                if to.is_some_and(|id| !is_there(id)) {
                    return Err(Refusal::NoSuchRole);
                }
                if self.deactivated {
                    return Err(Refusal::Deactivated);
                }
                if to.is_some() && self.account.is_none() {
                    return Err(Refusal::NotJoined);
                }
                let from = self.custom_role;
                Ok(if from == to { vec![] } else { vec![Event::CustomRoleAssigned { from, to }] })
            }
            Command::Deactivate if self.deactivated => Ok(vec![]),
            Command::Deactivate => Ok(vec![Event::Deactivated {}]),
            Command::Reactivate if !self.deactivated => Ok(vec![]),
            Command::Reactivate => Ok(vec![Event::Reactivated {}]),
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Invited { email, full_name, role, department } => {
                self.subject = Some(email.subject());
                self.role = Some(*role);
                self.profile = Some(Profile {
                    full_name: full_name.clone(),
                    department: department.clone(),
                    manager_id: None,
                });
            }
            Event::ProfileChanged { full_name, department, manager_id } => {
                self.profile = Some(Profile {
                    full_name: full_name.clone(),
                    department: department.clone(),
                    manager_id: *manager_id,
                });
            }
            Event::InvitationRenewed {} => {}
            Event::Joined { account_id } => self.account = Some(*account_id),
            Event::RoleAssigned { to, .. } => self.role = Some(*to),
            Event::CustomRoleAssigned { to, .. } => self.custom_role = *to,
            Event::Deactivated {} => self.deactivated = true,
            Event::Reactivated {} => self.deactivated = false,
        }
        self
    }
}
