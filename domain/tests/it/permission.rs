//! The role matrix.

use domain::permission::{Action, Grant, grants};
use domain::{Actor, Caller, Role};

use crate::world::*;

fn letter(caller: &Caller, action: Action) -> char {
    match grants(caller, action).next() {
        Some(Grant::Always) => 'Y',
        Some(Grant::Assigned) => 'A',
        Some(Grant::OwnJobs) => 'J',
        Some(Grant::Own) => 'O',
        Some(Grant::Never) | None => '-',
    }
}

/// Y always, A where assigned, J for the own jobs, O what is the own, - never.
#[test]
fn each_role_may_do_what_the_matrix_says() {
    let member = |role| Caller::new(COMPANY, Actor::Member(ADA), vec![role]);
    let mut columns: Vec<(String, Caller)> =
        Role::ALL.into_iter().map(|role| (role.as_str().to_owned(), member(role))).collect();
    columns.push(("CANDIDATE".into(), signed_in_mira()));
    columns.push(("GUEST".into(), mira()));
    columns.push(("SYSTEM".into(), Caller::system(COMPANY, "clock")));
    columns.push(("AI".into(), machine()));
    let mut table = format!("{:<24}", "");
    columns.iter().for_each(|(name, _)| table.push_str(&format!(" {name}")));
    for action in Action::ALL {
        table.push_str(&format!("\n{:<24}", format!("{action:?}")));
        for (name, caller) in &columns {
            table.push_str(&format!(" {:^1$}", letter(caller, action), name.len()));
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn who_runs_the_platform_sees_nothing_of_a_company() {
    let operator = Caller::new(
        domain::ids::CompanyId::NONE,
        Actor::Operator(domain::ids::AccountId(uuid::Uuid::from_u128(60))),
        vec![],
    );
    let reachable: Vec<_> =
        Action::ALL.into_iter().filter(|action| letter(&operator, *action) != '-').collect();
    assert_eq!(
        reachable,
        [
            Action::RegisterCompany,
            Action::DecideCompanyRequest,
            Action::Operate,
            Action::EnterCompany
        ]
    );
}

#[test]
fn who_runs_the_platform_takes_no_part_in_talks_signs_no_verdict_and_makes_no_keys() {
    let actor = Actor::Operator(domain::ids::AccountId(uuid::Uuid::from_u128(60)));
    let [operator, admin] = [
        Caller::new(COMPANY, actor, vec![]),
        Caller { roles: vec![Role::CompanyAdmin], ..administrator() },
    ];
    let is_less =
        |action: &Action| letter(&operator, *action) == '-' && letter(&admin, *action) != '-';
    let less: Vec<_> = Action::ALL.into_iter().filter(is_less).collect();
    assert_eq!(
        less,
        [
            Action::ManageApiKeys,
            Action::TakePartAsInterviewer,
            Action::ConductInterview,
            Action::SignVerdict
        ]
    );
}

#[test]
fn a_member_without_a_role_may_do_nothing() {
    let nobody = Caller::new(COMPANY, Actor::Member(ADA), vec![]);
    assert!(Action::ALL.into_iter().all(|action| letter(&nobody, action) == '-'));
}
