//! Custom roles: what a company may make of rights, who has one, and what it is worth.

use domain::company::{Command, Company, Event, Refusal};
use domain::custom_role::{CustomRights, Permission, Reach, Refusal as RoleRefusal};
use domain::ids::RoleId;
use domain::member::{self, Member};
use domain::permission::{Action, Grant, Relation, allows, grants, scope};
use domain::testing::{Given, given, state};
use domain::values::Spelled as _;
use domain::{Actor, Aggregate as _, Caller, Facts, Role};
use uuid::Uuid;

use crate::world::*;

const RAISER: RoleId = RoleId(Uuid::from_u128(70));
const OTHER: RoleId = RoleId(Uuid::from_u128(71));

fn permission(right: Action, reach: Reach) -> Permission {
    Permission { right, reach }
}

fn reads() -> Vec<Permission> {
    vec![permission(Action::ReadInterview, Reach::All)]
}

fn named(name: &str) -> String {
    name.to_owned()
}

fn defined(role_id: RoleId, name: &str) -> Event {
    Event::RoleDefined { role_id, name: named(name), permissions: reads() }
}

fn define(role_id: RoleId, name: &str, permissions: Vec<Permission>) -> Command {
    Command::DefineRole { role_id, name: named(name), permissions }
}

fn change(role_id: RoleId, name: &str, permissions: Vec<Permission>) -> Command {
    Command::ChangeRole { role_id, name: named(name), permissions }
}

fn company(more: impl IntoIterator<Item = Event>) -> Given<Company> {
    given::<Company>(noon(), &administrator(), registered().into_iter().chain(more))
}

fn registered() -> Vec<Event> {
    vec![Event::Registered { name: "Lights".into(), domain: None }]
}

fn refused(refusal: RoleRefusal) -> Refusal {
    Refusal::Role(refusal)
}

#[test]
fn a_role_is_made_changed_and_removed() {
    let given = [
        permission(Action::SignVerdict, Reach::Assigned),
        permission(Action::ReadJob, Reach::All),
        permission(Action::SignVerdict, Reach::OwnJobs),
        permission(Action::ReadJob, Reach::All),
    ];
    // Each once, in the order of the table.
    let permissions = vec![given[1], given[0], given[2]];
    company([]).when(define(RAISER, " Bar raiser ", given.to_vec())).then([Event::RoleDefined {
        role_id: RAISER,
        name: named("Bar raiser"),
        permissions: permissions.clone(),
    }]);
    let made = company([defined(RAISER, "Bar raiser")]);
    made.when(change(RAISER, "Bar raiser", reads())).nothing();
    made.when(change(RAISER, "BAR RAISER", permissions.clone())).then([Event::RoleChanged {
        role_id: RAISER,
        name: named("BAR RAISER"),
        permissions,
    }]);
    let remove = || Command::RemoveRole { role_id: RAISER };
    made.when(remove()).then([Event::RoleRemoved { role_id: RAISER }]);
    let gone = company([defined(RAISER, "Bar raiser"), Event::RoleRemoved { role_id: RAISER }]);
    for none in [company([]), gone] {
        none.when(remove()).refused(refused(RoleRefusal::Missing));
        none.when(change(RAISER, "a", reads())).refused(refused(RoleRefusal::Missing));
    }
    let nowhere = given_nothing();
    for command in [define(RAISER, "a", reads()), change(RAISER, "a", reads()), remove()] {
        nowhere.when(command).refused(Refusal::Missing);
    }
}

fn given_nothing() -> Given<Company> {
    given::<Company>(noon(), &administrator(), [])
}

#[test]
fn a_name_is_taken_once_in_a_company_whatever_its_case() {
    let made = company([defined(RAISER, "Bar raiser")]);
    made.when(define(OTHER, "bar RAISER", reads())).refused(refused(RoleRefusal::NameTaken));
    let two = company([defined(RAISER, "Bar raiser"), defined(OTHER, "Reader")]);
    two.when(change(OTHER, "BAR raiser", reads())).refused(refused(RoleRefusal::NameTaken));
    let removed = Event::RoleRemoved { role_id: RAISER };
    let free = company([defined(RAISER, "Bar raiser"), removed]);
    free.when(define(OTHER, "Bar raiser", reads())).then([defined(OTHER, "Bar raiser")]);
    // Whoever has the removed one must not come to have another.
    let again = free.when(define(RAISER, "Bar raiser", reads()));
    again.refused(refused(RoleRefusal::AlreadyDefined));
    company([]).when(define(RAISER, "a\nb", reads())).refused_with("VALIDATION_FAILED");
    company([]).when(define(RAISER, " ", reads())).refused_with("VALIDATION_FAILED");
}

#[test]
fn a_company_has_at_most_fifty_roles_and_none_without_rights() {
    let role = |n: u128| defined(RoleId(Uuid::from_u128(100 + n)), &format!("Role {n}"));
    let full = || (0..50).map(role);
    let more = || define(RAISER, "One more", reads());
    company(full()).when(more()).refused(refused(RoleRefusal::TooMany));
    let removed = Event::RoleRemoved { role_id: RoleId(Uuid::from_u128(100)) };
    company(full().chain([removed])).when(more()).then([defined(RAISER, "One more")]);
    company([]).when(define(RAISER, "a", vec![])).refused_with("VALIDATION_FAILED");
    let made = company([defined(RAISER, "a")]);
    made.when(change(RAISER, "a", vec![])).refused_with("VALIDATION_FAILED");
}

/// `ALL`, `ASSIGNED` and `OWN_JOBS` as far as a custom role can give the right.
#[test]
fn a_role_gives_what_the_table_of_custom_roles_says_and_nothing_else() {
    let mut table = String::new();
    for right in Action::ALL {
        let mut givable = vec![];
        for reach in Reach::ALL {
            let permissions = vec![permission(right, *reach)];
            match company([]).when(define(RAISER, "a", permissions.clone())).result() {
                Ok(_) => givable.push(reach.as_str()),
                Err(refusal) => {
                    let wrong = RoleRefusal::NotForCustomRoles(permissions[0]);
                    assert_eq!(refusal, refused(wrong));
                }
            }
            // What was recorded by rules that allowed more is worth nothing.
            let worth = CustomRights::of(&permissions).grants(right).count();
            assert_eq!(worth, usize::from(givable.contains(&reach.as_str())), "{right}");
        }
        if !givable.is_empty() {
            table.push_str(&format!("{:<26} {}\n", right.to_string(), givable.join(" ")));
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn nobody_can_give_a_right_that_administrators_lack() {
    for right in Action::ALL.into_iter().filter(|right| right.is_for_custom_roles()) {
        assert!(grants(&administrator(), right).any(|grant| grant == Grant::Always), "{right}");
    }
}

#[test]
fn rights_are_spelled_in_messages_as_everywhere() {
    for right in Action::ALL {
        assert_eq!(serde_json::json!(right), serde_json::json!(right.to_string()));
    }
    let wrong = vec![permission(Action::ManageMembers, Reach::OwnJobs)];
    let refusal = company([]).when(define(RAISER, "a", wrong)).result().expect_err("refused");
    let said = "MANAGE_MEMBERS cannot be given by a custom role with the reach OWN_JOBS";
    assert_eq!(refusal.to_string(), said);
}

#[test]
fn only_administrators_make_roles_and_say_who_has_one() {
    let makes = [
        Company::action(&define(RAISER, "a", reads())),
        Company::action(&change(RAISER, "a", reads())),
        Company::action(&Command::RemoveRole { role_id: RAISER }),
        Member::action(&member::Command::AssignCustomRole { role_id: None }),
    ];
    for action in makes {
        let may = |role: &Role| {
            let caller = Caller::new(COMPANY, Actor::Member(ADA), vec![*role]);
            allows(&caller, action, Relation::default())
        };
        let who: Vec<Role> = Role::ALL.into_iter().filter(may).collect();
        assert_eq!(who, [Role::SystemAdmin, Role::CompanyAdmin]);
        assert!(!action.is_for_custom_roles());
    }
}

fn with(events: Vec<Event>) -> Facts {
    let events = registered().into_iter().chain(events);
    Facts { company: Some(state::<Company>(noon(), events)), ..Facts::default() }
}

#[test]
fn a_member_has_one_custom_role_that_the_company_has() {
    let member = |more: Vec<member::Event>| {
        let joined = vec![invited(CY, Role::Viewer), joined()];
        let events: Vec<_> = joined.into_iter().chain(more).collect();
        let facts = with(vec![defined(RAISER, "a"), defined(OTHER, "b")]);
        given::<Member>(noon(), &administrator(), events).facts(facts)
    };
    let assign = |role_id| member::Command::AssignCustomRole { role_id };
    let assigned = |from, to| member::Event::CustomRoleAssigned { from, to };
    let has = || assigned(None, Some(RAISER));
    member(vec![]).when(assign(Some(RAISER))).then([has()]);
    member(vec![]).when(assign(None)).nothing();
    member(vec![has()]).when(assign(Some(RAISER))).nothing();
    member(vec![has()]).when(assign(Some(OTHER))).then([assigned(Some(RAISER), Some(OTHER))]);
    member(vec![has()]).when(assign(None)).then([assigned(Some(RAISER), None)]);
    let deactivated = member(vec![member::Event::Deactivated {}]);
    deactivated.when(assign(Some(RAISER))).refused(member::Refusal::Deactivated);

    // Whoever invited knows the invitation, and HR may invite: no rights above its own wait behind
    // one.
    let invited = given::<Member>(noon(), &administrator(), [invited(CY, Role::Viewer)]);
    let invited = invited.facts(with(vec![defined(RAISER, "a")]));
    invited.when(assign(Some(RAISER))).refused(member::Refusal::NotJoined);

    let unknown = RoleId(Uuid::from_u128(72));
    member(vec![]).when(assign(Some(unknown))).refused(member::Refusal::NoSuchRole);
    let removed = vec![defined(RAISER, "a"), Event::RoleRemoved { role_id: RAISER }];
    let after = member(vec![has()]).facts(with(removed));
    after.when(assign(Some(RAISER))).refused(member::Refusal::NoSuchRole);
    after.when(assign(None)).then([assigned(Some(RAISER), None)]);
    let nobody = given::<Member>(noon(), &administrator(), []);
    nobody.when(assign(None)).refused(member::Refusal::Missing);

    // The built-in role is another matter.
    let promoted =
        member(vec![has(), member::Event::RoleAssigned { from: Role::Viewer, to: Role::Employee }]);
    assert_eq!(promoted.state().custom_role(), Some(RAISER));
}

#[test]
fn a_company_says_what_a_role_is_worth_now() {
    let worth = |events: Vec<Event>| {
        let events = registered().into_iter().chain(events);
        state::<Company>(noon(), events).role(RAISER)
    };
    let signs = vec![permission(Action::SignVerdict, Reach::Assigned)];
    let changed =
        Event::RoleChanged { role_id: RAISER, name: named("a"), permissions: signs.clone() };
    let removed = Event::RoleRemoved { role_id: RAISER };
    assert_eq!(worth(vec![]), None);
    assert_eq!(worth(vec![defined(RAISER, "a")]), Some(CustomRights::of(&reads())));
    let history = vec![defined(RAISER, "a"), changed];
    assert_eq!(worth(history.clone()), Some(CustomRights::of(&signs)));
    assert_eq!(worth([history, vec![removed]].concat()), None);
}

#[test]
fn a_custom_role_adds_to_the_built_in_one_and_to_nothing_else() {
    let custom = CustomRights::of(&[
        permission(Action::SignVerdict, Reach::Assigned),
        permission(Action::SignVerdict, Reach::OwnJobs),
        permission(Action::WriteJob, Reach::OwnJobs),
        permission(Action::ReadHistory, Reach::All),
    ]);
    let plain = Caller::new(COMPANY, Actor::Member(ADA), vec![Role::Viewer]);
    let viewer = Caller { custom, ..plain.clone() };
    let assigned = Relation { assigned: true, ..Relation::default() };
    let own_job = Relation { own_job: true, ..Relation::default() };
    assert!(allows(&viewer, Action::SignVerdict, assigned));
    assert!(allows(&viewer, Action::SignVerdict, own_job));
    assert!(!allows(&viewer, Action::SignVerdict, Relation::default()));
    assert!(!allows(&viewer, Action::WriteJob, assigned));
    let signs = scope(&viewer, Action::SignVerdict);
    assert_eq!((signs.all, signs.assigned_to, signs.jobs_of), (false, Some(ADA), Some(ADA)));
    assert!(scope(&viewer, Action::ReadHistory).all);
    let added = |action: &Action| scope(&viewer, *action) != scope(&plain, *action);
    let added: Vec<_> = Action::ALL.into_iter().filter(added).collect();
    assert_eq!(added, [Action::WriteJob, Action::SignVerdict, Action::ReadHistory]);

    // Nobody but a member has one, whatever is said of the caller.
    for other in [mira(), machine(), Caller::system(COMPANY, "clock")] {
        let with = Caller { custom, ..other.clone() };
        for action in Action::ALL {
            assert_eq!(scope(&with, action), scope(&other, action));
        }
    }
}
