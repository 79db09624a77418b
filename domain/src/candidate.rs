//! A candidate: one person's record in one company.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::{Actor, Caller};
use crate::facts::{Facts, Reference};
use crate::ids::{AccountId, CandidateId, MemberId};
use crate::permission::{Action, Relation};
use crate::personal::{Personal, Subject};
use crate::values::{self, Invalid, MAX_NOTE_CHARS};

/// What a company knows of the person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Profile {
    /// Name in full.
    pub full_name: Personal<String>,
    /// E-mail address, unique among the company's active candidates.
    pub email: Personal<String>,
    /// Phone number as given.
    pub phone: Option<Personal<String>>,
    /// Where the person comes from, such as `referral`.
    pub source: Option<String>,
}

/// The profile as given by whoever registers the person.
#[derive(Clone, Debug)]
pub struct GivenProfile {
    /// Name in full.
    pub full_name: String,
    /// E-mail address.
    pub email: String,
    /// Phone number, if known.
    pub phone: Option<String>,
    /// Where the person comes from, if known.
    pub source: Option<String>,
}

/// What can be asked of a candidate's record.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make it.
    Register {
        /// Its id, whose key seals what is personal.
        candidate_id: CandidateId,
        /// The profile.
        profile: GivenProfile,
    },
    /// Change the profile.
    ChangeProfile {
        /// The new profile.
        profile: GivenProfile,
    },
    /// Give the candidate into a member's hands.
    Assign {
        /// Whose.
        member_id: MemberId,
    },
    /// Take the candidate out of all hands.
    Unassign,
    /// Put a note to the record.
    AddNote {
        /// The note.
        text: String,
    },
    /// Put the record away.
    Archive,
    /// Make the record of a person who registers, linked with their login.
    RegisterSelf {
        /// Its id, whose key seals what is personal.
        candidate_id: CandidateId,
        /// The profile.
        profile: GivenProfile,
        /// The login.
        account_id: AccountId,
    },
    /// The person whose record it is has a login.
    LinkAccount {
        /// The login.
        account_id: AccountId,
    },
}

/// What has happened to a candidate's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The record was made.
    Registered {
        /// The profile.
        profile: Profile,
    },
    /// The profile changed.
    ProfileChanged {
        /// The new profile.
        profile: Profile,
    },
    /// The candidate is in a member's hands.
    Assigned {
        /// Whose.
        member_id: MemberId,
    },
    /// The candidate is in nobody's hands.
    Unassigned {},
    /// A note was put to the record.
    NoteAdded {
        /// The note.
        text: Personal<String>,
    },
    /// The person whose record it is has this login, which has no other active record in the company.
    AccountLinked {
        /// The login.
        account_id: AccountId,
    },
    /// The person's login is linked no more: the record is of another address now.
    AccountUnlinked {},
    /// The record was put away; its e-mail is free again, and its login may have another record.
    Archived {},
}

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such candidate.
    #[error("there is no such candidate")]
    Missing,
    /// The record exists already.
    #[error("the candidate exists already")]
    AlreadyRegistered,
    /// The record was put away.
    #[error("the candidate is archived")]
    Archived,
    /// The member is not active in the company.
    #[error("there is no such active member")]
    NoSuchMember,
    /// The record has another login.
    #[error("the candidate has another login")]
    LinkedToAnother,
    /// A program may not say at which address the person is: whoever has it can register as the person.
    #[error("a person of the company must change the address")]
    AddressByProgram,
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::Missing => "CAND_001",
            Self::AlreadyRegistered => "CAND_002",
            Self::Archived => "CAND_ARCHIVED",
            Self::NoSuchMember => "MEMBER_NOT_FOUND",
            Self::LinkedToAnother => "CAND_ACCOUNT_LINKED",
            Self::AddressByProgram => "CAND_ADDRESS_BY_PROGRAM",
        }
    }
}

/// What decisions about a candidate read.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    subject: Option<CandidateId>,
    email: Option<Personal<String>>,
    assigned_to: Option<MemberId>,
    account: Option<AccountId>,
    archived: bool,
}

impl Candidate {
    /// Whether the record stands and was not put away.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.subject.is_some() && !self.archived
    }

    /// The person's login, if it is linked.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        self.account
    }

    /// In whose hands the candidate is.
    #[must_use]
    pub fn assigned_to(&self) -> Option<MemberId> {
        self.assigned_to
    }
}

fn profile(subject: Subject, given: &GivenProfile) -> Result<Profile, Invalid> {
    let phone = given.phone.as_ref().map(|phone| values::line("phone", phone)).transpose()?;
    if phone.as_ref().is_some_and(|phone| phone.chars().count() > 50) {
        return Err(Invalid { field: "phone", why: "has more than 50 characters".into() });
    }
    let source = given.source.as_ref().map(|source| values::line("source", source)).transpose()?;
    Ok(Profile {
        full_name: Personal::new(subject, values::line("fullName", &given.full_name)?),
        email: Personal::new(subject, values::email("email", &given.email)?),
        phone: phone.map(|phone| Personal::new(subject, phone)),
        source,
    })
}

impl Aggregate for Candidate {
    const NAME: &'static str = "candidate";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Candidate(event) => Some(event),
            _ => None,
        }
    }

    fn action(command: &Command) -> Action {
        match command {
            Command::Register { .. }
            | Command::ChangeProfile { .. }
            | Command::Assign { .. }
            | Command::Unassign
            | Command::AddNote { .. }
            | Command::Archive => Action::WriteCandidate,
            Command::RegisterSelf { .. } | Command::LinkAccount { .. } => {
                Action::RegisterAsCandidate
            }
        }
    }

    fn relation(&self, caller: &Caller, _: &Command, _: &Facts) -> Relation {
        let assigned = self.assigned_to.is_some() && self.assigned_to == caller.member();
        Relation { assigned, ..Relation::default() }
    }

    fn references(&self, command: &Command) -> Vec<Reference> {
        match command {
            Command::Assign { member_id } => vec![Reference::Member(*member_id)],
            _ => vec![],
        }
    }

    fn subject(&self) -> Option<Subject> {
        self.subject.map(Subject::Candidate)
    }

    fn decide(&self, command: Command, context: Context<'_>) -> Result<Vec<Event>, Refusal> {
        let Some(id) = self.subject else {
            return match command {
                Command::Register { candidate_id, profile: given } => {
                    let profile = profile(Subject::Candidate(candidate_id), &given)?;
                    Ok(vec![Event::Registered { profile }])
                }
                Command::RegisterSelf { candidate_id, profile: given, account_id } => {
                    let profile = profile(Subject::Candidate(candidate_id), &given)?;
                    Ok(vec![Event::Registered { profile }, Event::AccountLinked { account_id }])
                }
                _ => Err(Refusal::Missing),
            };
        };
        let is_for_archived = matches!(
            command,
            Command::Archive | Command::Register { .. } | Command::RegisterSelf { .. }
        );
        if self.archived && !is_for_archived {
            return Err(Refusal::Archived);
        }
        match command {
            Command::Register { .. } | Command::RegisterSelf { .. } => {
                Err(Refusal::AlreadyRegistered)
            }
            Command::LinkAccount { account_id } => match self.account {
                None => Ok(vec![Event::AccountLinked { account_id }]),
                Some(was) if was == account_id => Ok(vec![]),
                Some(_) => Err(Refusal::LinkedToAnother),
            },
            Command::ChangeProfile { profile: given } => {
                let profile = profile(Subject::Candidate(id), &given)?;
                let mut events = vec![];
                if self.email.as_ref() != Some(&profile.email) {
                    // Whoever has the address can register as this candidate.
                    if matches!(context.caller.actor, Actor::Service { .. }) {
                        return Err(Refusal::AddressByProgram);
                    }
                    events.extend(self.account.map(|_| Event::AccountUnlinked {}));
                }
                events.push(Event::ProfileChanged { profile });
                Ok(events)
            }
            Command::Assign { member_id } => {
                let member = context.facts.members.get(&member_id);
                if !member.is_some_and(crate::member::Member::is_active) {
                    return Err(Refusal::NoSuchMember);
                }
                let already = self.assigned_to == Some(member_id);
                Ok(if already { vec![] } else { vec![Event::Assigned { member_id }] })
            }
            Command::Unassign if self.assigned_to.is_none() => Ok(vec![]),
            Command::Unassign => Ok(vec![Event::Unassigned {}]),
            Command::AddNote { text } => {
                let text = values::bounded("text", &text, MAX_NOTE_CHARS)?;
                Ok(vec![Event::NoteAdded { text: Personal::new(Subject::Candidate(id), text) }])
            }
            Command::Archive if self.archived => Ok(vec![]),
            Command::Archive => Ok(vec![Event::Archived {}]),
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Registered { profile } => {
                self.email = Some(profile.email.clone());
                if let Subject::Candidate(id) = profile.full_name.subject() {
                    self.subject = Some(id);
                }
            }
            Event::Assigned { member_id } => self.assigned_to = Some(*member_id),
            Event::Unassigned {} => self.assigned_to = None,
            Event::AccountLinked { account_id } => self.account = Some(*account_id),
            Event::AccountUnlinked {} => self.account = None,
            Event::Archived {} => self.archived = true,
            Event::ProfileChanged { profile } => self.email = Some(profile.email.clone()),
            Event::NoteAdded { .. } => {}
        }
        self
    }
}
