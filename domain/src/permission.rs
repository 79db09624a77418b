//! Who may do and see what: one table, asked by the write side and by the read side.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::caller::{Actor, Caller, Role};
use crate::custom_role::{CustomRights, Reach};
use crate::ids::{CandidateId, CompanyId, InterviewId, MemberId};

/// A right: each command and each query names the one it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// Make a company with its first administrator.
    RegisterCompany,
    /// Ask for a company to be let in, for whoever asks.
    RequestCompany,
    /// See requests of companies, approve and reject them.
    DecideCompanyRequest,
    /// See the own company, and whose deeds those are that one may see.
    ReadCompany,
    /// See the company's people.
    ReadMembers,
    /// Change the own company: its name, the roles it makes, and who has one of them.
    ManageCompany,
    /// Invite people and assign roles.
    ManageMembers,
    /// Take up the membership one was invited to.
    JoinCompany,
    /// Make the record of who registers as a candidate, and link it with their login.
    RegisterAsCandidate,
    /// Keep logins, and what happens to them.
    KeepAccount,
    /// Make API keys for programs of the company, see them and take them back.
    ManageApiKeys,
    /// Deactivate and reactivate people, and take a second proof away that was lost.
    DeactivateMember,
    /// Write jobs, questions and rubrics.
    WriteJob,
    /// See jobs, questions and rubrics.
    ReadJob,
    /// Write candidates' records and applications.
    WriteCandidate,
    /// Move an application along the pipeline.
    ChangeApplicationStatus,
    /// See candidates, their applications and résumés.
    ReadCandidate,
    /// Put a résumé to a candidate's record; writing records does not include it.
    UploadResume,
    /// Record what was read out of a résumé.
    ReadOutResume,
    /// Plan, schedule, reschedule, cancel interviews and give access to them.
    ScheduleInterview,
    /// Record that the candidate did not come.
    MarkNoShow,
    /// End an interview that fell silent.
    AbandonInterview,
    /// Let go of a question that was not answered in time.
    TimeOutQuestion,
    /// Give or withdraw consent, and answer: the candidate's part of the talk.
    TakePartAsCandidate,
    /// Join, ask and note: the interviewer's part of the talk.
    TakePartAsInterviewer,
    /// Start and complete the talk: either side may.
    ConductInterview,
    /// Ask, follow up, judge answers and change difficulty as the AI.
    ConductAsAi,
    /// Raise insights and integrity flags.
    Observe,
    /// See insights and integrity flags.
    ReadObservations,
    /// See interviews and their transcripts.
    ReadInterview,
    /// Open the verdict of an interview that ended.
    OpenVerdict,
    /// Propose scores and a recommendation, as advice.
    ProposeVerdict,
    /// Sign a verdict.
    SignVerdict,
    /// Ask for the assessment to be made again.
    RestartAssessment,
    /// See verdicts.
    ReadVerdict,
    /// See private notes on verdicts.
    ReadPrivateNotes,
    /// Record calls to models.
    RecordAiCall,
    /// Have it recorded that one is shown the data of a person.
    RecordAccess,
    /// Replay histories, see who did what.
    ReadHistory,
    /// See counts over what one may see.
    ReadDashboard,
    /// Look after what runs: how far read models are, streams that are parked.
    Operate,
    /// Enter a company without being a member, which its history tells.
    EnterCompany,
}

impl Action {
    /// Every right, in the order of the table.
    pub const ALL: [Self; 42] = [
        Self::RegisterCompany,
        Self::RequestCompany,
        Self::DecideCompanyRequest,
        Self::ReadCompany,
        Self::ReadMembers,
        Self::ManageCompany,
        Self::ManageMembers,
        Self::JoinCompany,
        Self::RegisterAsCandidate,
        Self::KeepAccount,
        Self::ManageApiKeys,
        Self::DeactivateMember,
        Self::WriteJob,
        Self::ReadJob,
        Self::WriteCandidate,
        Self::ChangeApplicationStatus,
        Self::ReadCandidate,
        Self::UploadResume,
        Self::ReadOutResume,
        Self::ScheduleInterview,
        Self::MarkNoShow,
        Self::AbandonInterview,
        Self::TimeOutQuestion,
        Self::TakePartAsCandidate,
        Self::TakePartAsInterviewer,
        Self::ConductInterview,
        Self::ConductAsAi,
        Self::Observe,
        Self::ReadObservations,
        Self::ReadInterview,
        Self::OpenVerdict,
        Self::ProposeVerdict,
        Self::SignVerdict,
        Self::RestartAssessment,
        Self::ReadVerdict,
        Self::ReadPrivateNotes,
        Self::RecordAiCall,
        Self::RecordAccess,
        Self::ReadHistory,
        Self::ReadDashboard,
        Self::Operate,
        Self::EnterCompany,
    ];
}

impl Action {
    /// Whether it is about the platform rather than about one company's record.
    fn is_of_platform(self) -> bool {
        matches!(
            self,
            Self::RegisterCompany | Self::DecideCompanyRequest | Self::Operate | Self::EnterCompany
        )
    }

    /// Whether a program may be given this right by an API key: not what a person must answer for, nor
    /// what lets others in.
    #[must_use]
    pub fn is_for_programs(self) -> bool {
        matches!(
            self,
            Self::ReadCompany
                | Self::ReadMembers
                | Self::WriteJob
                | Self::ReadJob
                | Self::WriteCandidate
                | Self::ChangeApplicationStatus
                | Self::ReadCandidate
                | Self::UploadResume
                | Self::ScheduleInterview
                | Self::MarkNoShow
                | Self::ReadObservations
                | Self::ReadInterview
                | Self::ReadVerdict
                | Self::ReadHistory
                | Self::ReadDashboard
        )
    }

    /// Whether a company may give this right by a role that it makes itself: what programs can have,
    /// and what a person must answer for. Not what lets others in or changes what people may do, nor
    /// what is of the platform, of machines or of candidates.
    #[must_use]
    pub fn is_for_custom_roles(self) -> bool {
        self.is_for_programs()
            || matches!(
                self,
                Self::TakePartAsInterviewer
                    | Self::ConductInterview
                    | Self::SignVerdict
                    | Self::RestartAssessment
                    | Self::ReadPrivateNotes
            )
    }

    /// Whether a custom role can give it with this reach. One that no built-in role has it with means
    /// nothing: the rules do not look at it there.
    #[must_use]
    pub fn can_reach(self, reach: Reach) -> bool {
        let is_known = match reach {
            Reach::All => true,
            Reach::Assigned => row(self).contains(&Grant::Assigned),
            Reach::OwnJobs => row(self).contains(&Grant::OwnJobs),
        };
        is_known && self.is_for_custom_roles()
    }
}

/// The public spelling, such as `SIGN_VERDICT`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, letter) in format!("{self:?}").chars().enumerate() {
            let before = if n > 0 && letter.is_uppercase() { "_" } else { "" };
            write!(f, "{before}{}", letter.to_ascii_uppercase())?;
        }
        Ok(())
    }
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rights(u64);

impl Rights {
    /// The set of these.
    #[must_use]
    pub fn of(actions: impl IntoIterator<Item = Action>) -> Self {
        Self(actions.into_iter().fold(0, |set, action| set | bit(action)))
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn has(self, action: Action) -> bool {
        self.0 & bit(action) != 0
    }

    /// Those of the set, in the order of the table.
    pub fn actions(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |action| self.has(*action))
    }
}

fn bit(action: Action) -> u64 {
    1 << (action as u32)
}

/// What a right is worth to a kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// For every instance of the company.
    Always,
    /// For rounds and candidates the member is assigned to.
    Assigned,
    /// For the member's own jobs and what belongs to them.
    OwnJobs,
    /// For what is the candidate's own: all of it to who is signed in; to a guest the one interview
    /// that the token opens.
    Own,
    /// Not at all.
    Never,
}

/// How a caller stands to one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// A member who is assigned to it.
    pub assigned: bool,
    /// A member whose job it belongs to.
    pub own_job: bool,
    /// A candidate whose own it is.
    pub own: bool,
}

impl Relation {
    /// How the caller stands to what is this candidate's own.
    #[must_use]
    pub fn to_own(caller: &Caller, candidate: CandidateId) -> Self {
        Self { own: caller.candidate() == Some(candidate), ..Self::default() }
    }
}

/// Which instances of the caller's company a query may show. Fields add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// All of the company.
    pub all: bool,
    /// Those which this member is assigned to.
    pub assigned_to: Option<MemberId>,
    /// Those of this member's jobs.
    pub jobs_of: Option<MemberId>,
    /// What belongs to this one interview.
    pub interview: Option<InterviewId>,
    /// What is this candidate's own.
    pub candidate: Option<CandidateId>,
}

impl Scope {
    /// Whether nothing can be seen at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The table. Columns: SYSTEM_ADMIN (in the company that the person has entered), COMPANY_ADMIN, HR,
/// HIRING_MANAGER, EMPLOYEE, VIEWER, AUDITOR, then candidate (who is signed in), guest (holder of an
/// interview's access token), system and AI.
#[rustfmt::skip]
fn row(action: Action) -> [Grant; 11] {
    use Grant::{Always as Y, Assigned as A, Never as N, Own as O, OwnJobs as J};
    match action {
        //                               sys adm hr  mgr emp vwr aud cnd gst mch ai
        Action::RegisterCompany =>          [Y, N, N, N, N, N, N, N, N, Y, N],
        Action::RequestCompany =>           [N, N, N, N, N, N, N, N, N, Y, N],
        Action::DecideCompanyRequest =>     [Y, N, N, N, N, N, N, N, N, N, N],
        Action::ReadCompany =>              [Y, Y, Y, Y, Y, Y, Y, N, N, Y, N],
        Action::ReadMembers =>              [Y, Y, Y, Y, Y, Y, N, N, N, Y, N],
        Action::ManageCompany =>            [Y, Y, N, N, N, N, N, N, N, N, N],
        Action::ManageMembers =>            [Y, Y, Y, N, N, N, N, N, N, Y, N],
        Action::JoinCompany =>              [N, N, N, N, N, N, N, N, N, Y, N],
        Action::RegisterAsCandidate =>      [N, N, N, N, N, N, N, N, N, Y, N],
        Action::KeepAccount =>              [N, N, N, N, N, N, N, N, N, Y, N],
        Action::ManageApiKeys =>            [N, Y, N, N, N, N, N, N, N, N, N],
        Action::DeactivateMember =>         [Y, Y, N, N, N, N, N, N, N, N, N],
        Action::WriteJob =>                 [Y, Y, Y, J, N, N, N, N, N, N, N],
        Action::ReadJob =>                  [Y, Y, Y, Y, Y, Y, N, N, N, Y, Y],
        Action::WriteCandidate =>           [Y, Y, Y, N, N, N, N, N, N, N, N],
        Action::ChangeApplicationStatus =>  [Y, Y, Y, N, A, N, N, N, N, N, N],
        Action::ReadCandidate =>            [Y, Y, Y, J, A, Y, Y, O, N, Y, Y],
        Action::UploadResume =>             [Y, Y, Y, N, N, N, N, O, N, N, N],
        Action::ReadOutResume =>            [N, N, N, N, N, N, N, N, N, Y, Y],
        Action::ScheduleInterview =>        [Y, Y, Y, J, N, N, N, N, N, N, N],
        Action::MarkNoShow =>               [Y, Y, Y, J, N, N, N, N, N, Y, N],
        Action::AbandonInterview =>         [N, N, N, N, N, N, N, N, N, Y, N],
        Action::TimeOutQuestion =>          [N, N, N, N, N, N, N, N, N, Y, N],
        Action::TakePartAsCandidate =>      [N, N, N, N, N, N, N, O, O, N, N],
        Action::TakePartAsInterviewer =>    [N, Y, Y, J, A, N, N, N, N, N, N],
        Action::ConductInterview =>         [N, Y, Y, J, A, N, N, O, O, N, N],
        Action::ConductAsAi =>              [N, N, N, N, N, N, N, N, N, N, Y],
        Action::Observe =>                  [N, N, N, N, N, N, N, N, N, Y, Y],
        Action::ReadObservations =>         [Y, Y, Y, J, A, N, Y, N, N, Y, Y],
        Action::ReadInterview =>            [Y, Y, Y, J, A, Y, Y, O, O, Y, Y],
        Action::OpenVerdict =>              [N, N, N, N, N, N, N, N, N, Y, N],
        Action::ProposeVerdict =>           [N, N, N, N, N, N, N, N, N, N, Y],
        Action::SignVerdict =>              [N, Y, Y, J, A, N, N, N, N, N, N],
        Action::RestartAssessment =>        [Y, Y, Y, N, N, N, N, N, N, N, N],
        Action::ReadVerdict =>              [Y, Y, Y, J, A, Y, Y, N, N, Y, Y],
        Action::ReadPrivateNotes =>         [Y, Y, Y, N, N, N, N, N, N, N, N],
        Action::RecordAiCall =>             [N, N, N, N, N, N, N, N, N, N, Y],
        Action::RecordAccess =>             [Y, Y, Y, Y, Y, Y, Y, N, N, N, N],
        Action::ReadHistory =>              [Y, Y, N, N, N, N, Y, N, N, N, N],
        Action::ReadDashboard =>            [Y, Y, Y, J, N, Y, N, N, N, N, N],
        Action::Operate =>                  [Y, N, N, N, N, N, N, N, N, N, N],
        Action::EnterCompany =>             [Y, N, N, N, N, N, N, N, N, N, N],
    }
}

fn column(role: Role) -> usize {
    match role {
        Role::SystemAdmin => 0,
        Role::CompanyAdmin => 1,
        Role::Hr => 2,
        Role::HiringManager => 3,
        Role::Employee => 4,
        Role::Viewer => 5,
        Role::Auditor => 6,
    }
}

/// What `action` is worth to each of the caller's roles, or to the kind of caller; of a custom role
/// only what it gives.
pub fn grants(caller: &Caller, action: Action) -> impl Iterator<Item = Grant> {
    let row = row(action);
    let of_program = match caller.actor {
        Actor::Service { rights, .. } if rights.has(action) && action.is_for_programs() => {
            Some(Grant::Always)
        }
        // It is no right to see more: what a program is shown is recorded whatever its key may do.
        Actor::Service { .. } if action == Action::RecordAccess => Some(Grant::Always),
        _ => None,
    };
    let columns = match caller.actor {
        Actor::Member(_) => caller.roles.iter().map(|role| column(*role)).collect(),
        // Of companies, nothing but the one that they have entered.
        Actor::Operator(_) if caller.company == CompanyId::NONE && !action.is_of_platform() => {
            vec![]
        }
        Actor::Operator(_) => vec![column(Role::SystemAdmin)],
        Actor::Candidate(_) => vec![7],
        Actor::Guest { .. } => vec![8],
        Actor::Service { .. } => vec![],
        Actor::System(_) => vec![9],
        Actor::Ai(_) => vec![10],
    };
    let custom = match caller.actor {
        Actor::Member(_) => caller.custom,
        _ => CustomRights::default(),
    };
    let built_in = columns.into_iter().map(move |column| row[column]);
    built_in.chain(of_program).chain(custom.grants(action))
}

/// Whether the caller may do `action` to an instance to which it stands in `relation`.
#[must_use]
pub fn allows(caller: &Caller, action: Action, relation: Relation) -> bool {
    grants(caller, action).any(|grant| match grant {
        Grant::Always => true,
        Grant::Assigned => relation.assigned,
        Grant::OwnJobs => relation.own_job,
        Grant::Own => relation.own,
        Grant::Never => false,
    })
}

/// Which instances `action` reaches for this caller.
#[must_use]
pub fn scope(caller: &Caller, action: Action) -> Scope {
    let mut scope = Scope::default();
    for grant in grants(caller, action) {
        match grant {
            Grant::Always => scope.all = true,
            Grant::Assigned => scope.assigned_to = caller.member(),
            Grant::OwnJobs => scope.jobs_of = caller.member(),
            Grant::Own => match caller.actor {
                Actor::Candidate(candidate) => scope.candidate = Some(candidate),
                Actor::Guest { interview, .. } => scope.interview = Some(interview),
                Actor::Member(_)
                | Actor::Operator(_)
                | Actor::Service { .. }
                | Actor::System(_)
                | Actor::Ai(_) => {}
            },
            Grant::Never => {}
        }
    }
    scope
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn member(role: Role) -> Caller {
        let actor = Actor::Member(MemberId(Uuid::from_u128(1)));
        Caller::new(CompanyId(Uuid::from_u128(9)), actor, vec![role])
    }

    #[test]
    fn no_machine_may_sign_a_verdict() {
        let company = CompanyId(Uuid::from_u128(9));
        let any = Relation { assigned: true, own_job: true, own: true };
        for caller in [Caller::system(company, "clock"), Caller::ai(company, "assessor")] {
            assert!(!allows(&caller, Action::SignVerdict, any));
        }
    }

    #[test]
    fn an_employee_reaches_only_what_is_assigned() {
        let caller = member(Role::Employee);
        let assigned = Relation { assigned: true, ..Relation::default() };
        assert!(allows(&caller, Action::SignVerdict, assigned));
        assert!(!allows(&caller, Action::SignVerdict, Relation::default()));
        assert_eq!(scope(&caller, Action::ReadInterview).assigned_to, caller.member());
    }

    #[test]
    fn rights_of_several_roles_add_up() {
        let mut caller = member(Role::Auditor);
        assert!(!allows(&caller, Action::WriteJob, Relation::default()));
        caller.roles.push(Role::Hr);
        assert!(allows(&caller, Action::WriteJob, Relation::default()));
        assert!(allows(&caller, Action::ReadHistory, Relation::default()));
    }

    #[test]
    fn a_program_has_the_rights_of_its_key_and_never_what_a_person_must_answer_for() {
        let company = CompanyId(Uuid::from_u128(9));
        let any = Relation { assigned: true, own_job: true, own: true };
        let program = |rights| {
            let id = crate::ids::ApiKeyId(Uuid::from_u128(5));
            Caller::new(company, Actor::Service { id, rights }, vec![])
        };
        let reads = program(Rights::of([Action::ReadJob, Action::ReadCandidate]));
        let allowed: Vec<_> =
            Action::ALL.into_iter().filter(|action| allows(&reads, *action, any)).collect();
        // What it is shown is recorded, in whatever way it was let in.
        assert_eq!(allowed, [Action::ReadJob, Action::ReadCandidate, Action::RecordAccess]);
        assert!(scope(&reads, Action::ReadJob).all);
        let all = program(Rights::of(Action::ALL));
        assert!(
            !allows(&all, Action::SignVerdict, any) && !allows(&all, Action::ManageMembers, any)
        );
    }

    #[test]
    fn a_candidate_who_is_signed_in_reaches_what_is_their_own_and_nothing_else() {
        let candidate = CandidateId(Uuid::from_u128(4));
        let actor = Actor::Candidate(candidate);
        let caller = Caller::new(CompanyId(Uuid::from_u128(9)), actor, vec![]);
        let own = Scope { candidate: Some(candidate), ..Scope::default() };
        let reachable: Vec<_> =
            Action::ALL.into_iter().filter(|action| scope(&caller, *action) == own).collect();
        assert_eq!(
            reachable,
            [
                Action::ReadCandidate,
                Action::UploadResume,
                Action::TakePartAsCandidate,
                Action::ConductInterview,
                Action::ReadInterview,
            ]
        );
        let others = Relation { assigned: true, own_job: true, own: false };
        assert!(Action::ALL.into_iter().all(|action| !allows(&caller, action, others)));
    }

    #[test]
    fn a_guest_reaches_one_interview_and_nothing_else() {
        let interview = InterviewId(Uuid::from_u128(3));
        let candidate = CandidateId(Uuid::from_u128(4));
        let actor = Actor::Guest { interview, candidate };
        let guest = Caller::new(CompanyId(Uuid::from_u128(9)), actor, vec![]);
        let reachable: Vec<_> =
            Action::ALL.into_iter().filter(|action| !scope(&guest, *action).is_empty()).collect();
        assert_eq!(
            reachable,
            [Action::TakePartAsCandidate, Action::ConductInterview, Action::ReadInterview]
        );
    }
}
