//! What a caller may do, so that a frontend can leave out what would be refused. The rules ask the
//! same table again for each command and each query.

use async_graphql::{Enum, InputObject, SimpleObject};
use domain::Caller;
use domain::custom_role;
use domain::permission::{self, Action, Grant};

use crate::error::ApiError;

/// A right: what a command or a query needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Action")]
pub enum Right {
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

/// How far a right reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enum)]
pub enum Reach {
    /// Everything of the company.
    All,
    /// Rounds and candidates that the member is assigned to.
    Assigned,
    /// The member's own jobs and what belongs to them.
    OwnJobs,
    /// What is the candidate's own: all of it to who is signed in; to a guest the one interview that
    /// the token opens.
    Own,
}

/// A right that the caller has or a custom role gives, and how far it reaches.
#[derive(Clone, Debug, PartialEq, Eq, SimpleObject)]
pub struct Permission {
    /// The right.
    right: Right,
    /// How far it reaches; of several, each adds to the others.
    reaches: Vec<Reach>,
}

/// All that the caller may do at present, in the order of the table.
#[must_use]
pub fn permissions(caller: &Caller) -> Vec<Permission> {
    listed(|action| permission::grants(caller, action).filter_map(reach).collect())
}

/// All that a custom role gives, in the order of the table.
#[must_use]
pub fn given(permissions: &[custom_role::Permission]) -> Vec<Permission> {
    listed(|action| {
        let of = permissions.iter().filter(|permission| permission.right == action);
        of.filter_map(|permission| reach(permission.reach.grant())).collect()
    })
}

fn listed(reaches: impl Fn(Action) -> Vec<Reach>) -> Vec<Permission> {
    let of = |action: Action| {
        let mut reaches = reaches(action);
        reaches.sort_unstable();
        reaches.dedup();
        (!reaches.is_empty()).then(|| Permission { right: action.into(), reaches })
    };
    Action::ALL.into_iter().filter_map(of).collect()
}

/// A right that a custom role is to give, and how far it reaches.
#[derive(InputObject)]
pub struct PermissionInput {
    /// The right. What lets others in or changes what people may do cannot be given, nor what is of
    /// the platform, of machines or of candidates: `ROLE_RIGHT_NOT_GIVABLE`.
    right: Right,
    /// How far it reaches, at least one; each adds to the others. `ASSIGNED` and `OWN_JOBS` can be
    /// given of rights that a built-in role has with that reach, `OWN` never.
    reaches: Vec<Reach>,
}

/// The permissions that an input names.
///
/// # Errors
/// `VALIDATION_FAILED` for a right without a reach, and for `OWN`.
pub fn read(permissions: &[PermissionInput]) -> Result<Vec<custom_role::Permission>, ApiError> {
    let mut read = vec![];
    for given in permissions {
        if given.reaches.is_empty() {
            return Err(ApiError::invalid("reaches", "must not be empty"));
        }
        for reach in &given.reaches {
            let reach = match reach {
                Reach::All => custom_role::Reach::All,
                Reach::Assigned => custom_role::Reach::Assigned,
                Reach::OwnJobs => custom_role::Reach::OwnJobs,
                Reach::Own => {
                    return Err(ApiError::invalid("reaches", "OWN is of candidates only"));
                }
            };
            read.push(custom_role::Permission { right: given.right.into(), reach });
        }
    }
    Ok(read)
}

fn reach(grant: Grant) -> Option<Reach> {
    match grant {
        Grant::Always => Some(Reach::All),
        Grant::Assigned => Some(Reach::Assigned),
        Grant::OwnJobs => Some(Reach::OwnJobs),
        Grant::Own => Some(Reach::Own),
        Grant::Never => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::caller::{Actor, Role};
    use domain::ids::{CandidateId, CompanyId, InterviewId, MemberId};
    use uuid::Uuid;

    use super::*;

    fn caller(actor: Actor, roles: Vec<Role>) -> Caller {
        Caller::new(CompanyId(Uuid::from_u128(9)), actor, roles)
    }

    fn found(caller: &Caller, right: Right) -> Vec<Reach> {
        let all = permissions(caller);
        all.into_iter().find(|has| has.right == right).map(|has| has.reaches).unwrap_or_default()
    }

    #[test]
    fn what_is_listed_is_what_the_rules_allow() {
        let member = |roles| caller(Actor::Member(MemberId(Uuid::from_u128(1))), roles);
        for role in Role::ALL {
            let caller = member(vec![role]);
            for action in Action::ALL {
                let listed = !found(&caller, action.into()).is_empty();
                let allowed = !permission::scope(&caller, action).is_empty();
                assert_eq!(listed, allowed, "{role:?} {action:?}");
            }
        }
        let both = member(vec![Role::HiringManager, Role::Employee]);
        assert_eq!(found(&both, Right::SignVerdict), [Reach::Assigned, Reach::OwnJobs]);
        assert_eq!(found(&member(vec![Role::Hr]), Right::SignVerdict), [Reach::All]);
    }

    #[test]
    fn a_candidate_may_take_part_in_the_own_interview_and_nothing_else() {
        let interview = InterviewId(Uuid::from_u128(2));
        let guest = Actor::Guest { interview, candidate: CandidateId(Uuid::from_u128(3)) };
        let own = |right| Permission { right, reaches: vec![Reach::Own] };
        let rights = [Right::TakePartAsCandidate, Right::ConductInterview, Right::ReadInterview];
        assert_eq!(permissions(&caller(guest, vec![])), rights.map(own));
    }
}
