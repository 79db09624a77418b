//! Members: invitations, roles, and who may touch administrators.

use domain::ids::{AccountId, MemberId};
use domain::member::{Command, Event, Member, Refusal};
use domain::personal::{Personal, Subject};
use domain::testing::{Given, given};
use domain::{Caller, Role};
use uuid::Uuid;

use crate::world::*;

fn member(more: Vec<Event>) -> Given<Member> {
    let mut events = vec![invited(CY, Role::Employee)];
    events.extend(more);
    given::<Member>(noon(), &administrator(), events)
}

fn invite(role: Role) -> Command {
    Command::Invite {
        member_id: CY,
        email: "Person@Example.com".into(),
        full_name: "A Person".into(),
        role,
        department: None,
    }
}

fn assign(role: Role) -> Command {
    Command::AssignRole { role }
}

#[test]
fn a_person_is_invited_once() {
    given::<Member>(noon(), &ada(), [])
        .when(invite(Role::Employee))
        .then([invited(CY, Role::Employee)]);
    member(vec![]).when(invite(Role::Employee)).refused(Refusal::AlreadyInvited);
}

#[test]
fn who_has_not_joined_is_invited_once_more_and_nobody_else() {
    let renew = || Command::RenewInvitation;
    member(vec![]).when(renew()).then([Event::InvitationRenewed {}]);
    let joined = Event::Joined { account_id: AccountId(Uuid::from_u128(7)) };
    member(vec![joined]).when(renew()).refused(Refusal::AlreadyJoined);
    member(vec![Event::Deactivated {}]).when(renew()).refused(Refusal::Deactivated);
    given::<Member>(noon(), &administrator(), []).when(renew()).refused(Refusal::Missing);
    let administrator = given::<Member>(noon(), &ada(), [invited(CY, Role::CompanyAdmin)]);
    administrator.when(renew()).refused(Refusal::OnlyAdministrators);
}

#[test]
fn an_administrator_is_made_only_by_one_or_with_the_company() {
    let nothing = |caller: &Caller| given::<Member>(noon(), caller, []);
    let make = || invite(Role::CompanyAdmin);
    nothing(&ada()).when(make()).refused(Refusal::OnlyAdministrators);
    assert!(nothing(&administrator()).when(make()).result().is_ok());
    assert!(nothing(&Caller::system(COMPANY, "founding")).when(make()).result().is_ok());
    member(vec![]).by(&ada()).when(assign(Role::CompanyAdmin)).refused(Refusal::OnlyAdministrators);
    // Whoever invited has seen the invitation, and might take it up themselves.
    member(vec![]).when(assign(Role::CompanyAdmin)).refused(Refusal::NotJoined);
    assert!(member(vec![joined()]).when(assign(Role::CompanyAdmin)).result().is_ok());
    let administrator = given::<Member>(noon(), &ada(), [invited(CY, Role::CompanyAdmin)]);
    administrator.when(assign(Role::Hr)).refused(Refusal::OnlyAdministrators);
}

#[test]
fn a_role_of_the_platform_is_not_given_in_a_company() {
    for caller in [ada(), administrator(), Caller::system(COMPANY, "founding")] {
        given::<Member>(noon(), &caller, [])
            .when(invite(Role::SystemAdmin))
            .refused(Refusal::PlatformRole);
        member(vec![]).by(&caller).when(assign(Role::SystemAdmin)).refused(Refusal::PlatformRole);
    }
}

#[test]
fn an_invitation_is_taken_up_with_one_login() {
    let join = |n| Command::Join { account_id: AccountId(Uuid::from_u128(n)) };
    member(vec![]).when(join(60)).then([joined()]);
    member(vec![joined()]).when(join(60)).nothing();
    member(vec![joined()]).when(join(61)).refused(Refusal::AlreadyJoined);
}

#[test]
fn a_role_changes_once() {
    member(vec![])
        .when(assign(Role::Auditor))
        .then([Event::RoleAssigned { from: Role::Employee, to: Role::Auditor }]);
    member(vec![]).when(assign(Role::Employee)).nothing();
    member(vec![Event::Deactivated {}]).when(assign(Role::Hr)).refused(Refusal::Deactivated);
}

#[test]
fn a_deactivated_member_is_not_active_until_reactivated() {
    let is_active = |more| member(more).state().is_active();
    assert!(!is_active(vec![]), "invited, but not joined");
    assert!(is_active(vec![joined()]));
    assert!(!is_active(vec![joined(), Event::Deactivated {}]));
    assert!(is_active(vec![joined(), Event::Deactivated {}, Event::Reactivated {}]));
    member(vec![]).when(Command::Deactivate).then([Event::Deactivated {}]);
    member(vec![Event::Deactivated {}]).when(Command::Deactivate).nothing();
    member(vec![Event::Deactivated {}]).when(Command::Reactivate).then([Event::Reactivated {}]);
    member(vec![]).when(Command::Reactivate).nothing();
}

#[test]
fn nothing_is_done_to_who_was_not_invited() {
    let nothing = given::<Member>(noon(), &administrator(), []);
    nothing.when(Command::Deactivate).refused(Refusal::Missing);
    nothing.when(assign(Role::Hr)).refused(Refusal::Missing);
}

#[test]
fn what_is_known_of_a_person_changes_and_the_manager_is_another_active_member() {
    let change = |full_name: &str, manager_id| Command::ChangeProfile {
        full_name: full_name.into(),
        department: Some(" People ".into()),
        manager_id,
    };
    let changed = |manager_id| Event::ProfileChanged {
        full_name: Personal::new(Subject::Member(CY), "Cy Young".to_owned()),
        department: Some("People".into()),
        manager_id,
    };
    let member = |more| member(more).by(&ada()).facts(facts());
    member(vec![]).when(change("Cy Young", None)).then([changed(None)]);
    member(vec![]).when(change("Cy Young", Some(BO))).then([changed(Some(BO))]);
    member(vec![changed(Some(BO))]).when(change("Cy Young", Some(BO))).nothing();
    member(vec![changed(Some(BO))]).when(change("Cy Young", None)).then([changed(None)]);
    member(vec![Event::Deactivated {}]).when(change("Cy Young", None)).then([changed(None)]);
    member(vec![]).when(change(" ", None)).refused_with("VALIDATION_FAILED");
    for nobody in [CY, MemberId(Uuid::from_u128(77))] {
        member(vec![]).when(change("Cy Young", Some(nobody))).refused(Refusal::NoSuchManager);
    }
    let administrator = given::<Member>(noon(), &ada(), [invited(CY, Role::CompanyAdmin)]);
    administrator.when(change("Cy Young", None)).refused(Refusal::OnlyAdministrators);
    given::<Member>(noon(), &ada(), []).when(change("Cy", None)).refused(Refusal::Missing);
}
