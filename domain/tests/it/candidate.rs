//! A candidate's record.

use domain::candidate::{Candidate, Command, Event, GivenProfile, Profile, Refusal};
use domain::ids::{AccountId, ApiKeyId};
use domain::permission::{Action, Rights};
use domain::testing::{Given, given, state};
use domain::{Actor, Caller};
use uuid::Uuid;

use crate::world::*;

fn candidate(more: Vec<Event>) -> Given<Candidate> {
    let mut events = vec![registered()];
    events.extend(more);
    given::<Candidate>(noon(), &ada(), events).facts(facts())
}

fn profile() -> GivenProfile {
    GivenProfile {
        full_name: "Mira Okafor".into(),
        email: " Mira@Example.com ".into(),
        phone: None,
        source: None,
    }
}

fn register(profile: GivenProfile) -> Command {
    Command::Register { candidate_id: MIRA, profile }
}

#[test]
fn a_record_is_made_once() {
    given::<Candidate>(noon(), &ada(), []).when(register(profile())).then([registered()]);
    candidate(vec![]).when(register(profile())).refused(Refusal::AlreadyRegistered);
    candidate(vec![Event::Archived {}])
        .when(register(profile()))
        .refused(Refusal::AlreadyRegistered);
}

fn login(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(n))
}

fn linked(n: u128) -> Event {
    Event::AccountLinked { account_id: login(n) }
}

fn identity() -> Caller {
    Caller::system(COMPANY, "identity")
}

#[test]
fn who_registers_themselves_has_a_record_with_their_login() {
    let register =
        || Command::RegisterSelf { candidate_id: MIRA, profile: profile(), account_id: login(60) };
    let nothing = given::<Candidate>(noon(), &identity(), []);
    nothing.when(register()).then([registered(), linked(60)]);
    let known = given::<Candidate>(noon(), &identity(), [registered()]);
    known.when(register()).refused(Refusal::AlreadyRegistered);
}

#[test]
fn a_record_has_one_login() {
    let link = |n| Command::LinkAccount { account_id: login(n) };
    let of = |events: Vec<Event>| given::<Candidate>(noon(), &identity(), events);
    of(vec![registered()]).when(link(60)).then([linked(60)]);
    of(vec![registered(), linked(60)]).when(link(60)).nothing();
    of(vec![registered(), linked(60)]).when(link(61)).refused(Refusal::LinkedToAnother);
    of(vec![registered(), Event::Archived {}]).when(link(60)).refused(Refusal::Archived);
    of(vec![]).when(link(60)).refused(Refusal::Missing);
    assert_eq!(
        state::<Candidate>(noon(), vec![registered(), linked(60)]).account(),
        Some(login(60))
    );
}

#[test]
fn a_profile_has_a_name_and_an_address() {
    let check = |change: fn(&mut GivenProfile)| {
        let mut profile = profile();
        change(&mut profile);
        let nothing = given::<Candidate>(noon(), &ada(), []);
        nothing.when(register(profile.clone())).refused_with("VALIDATION_FAILED");
        candidate(vec![])
            .when(Command::ChangeProfile { profile })
            .refused_with("VALIDATION_FAILED");
    };
    check(|p| p.full_name = " ".into());
    check(|p| p.full_name = "a\u{7}b".into());
    check(|p| p.email = "mira".into());
    check(|p| p.email = format!("{}@example.com", "m".repeat(256)));
    check(|p| p.phone = Some("1".repeat(51)));
    check(|p| p.source = Some(String::new()));
}

#[test]
fn a_new_profile_replaces_the_old_one() {
    let given = GivenProfile { phone: Some("+46 70 1".into()), ..profile() };
    candidate(vec![]).when(Command::ChangeProfile { profile: given }).then([
        Event::ProfileChanged {
            profile: Profile {
                full_name: personal("Mira Okafor"),
                email: personal("mira@example.com"),
                phone: Some(personal("+46 70 1")),
                source: None,
            },
        },
    ]);
}

#[test]
fn a_candidate_is_in_the_hands_of_one_active_member_or_nobodys() {
    let assign = |member_id| Command::Assign { member_id };
    let assigned = || Event::Assigned { member_id: BO };
    candidate(vec![]).when(assign(BO)).then([assigned()]);
    candidate(vec![assigned()]).when(assign(BO)).nothing();
    candidate(vec![assigned()]).when(assign(ADA)).then([Event::Assigned { member_id: ADA }]);
    candidate(vec![]).when(assign(CY)).refused(Refusal::NoSuchMember);
    candidate(vec![assigned()]).when(Command::Unassign).then([Event::Unassigned {}]);
    candidate(vec![]).when(Command::Unassign).nothing();
}

#[test]
fn a_note_belongs_to_the_candidate() {
    candidate(vec![])
        .when(Command::AddNote { text: "Afternoons.".into() })
        .then([Event::NoteAdded { text: personal("Afternoons.") }]);
}

#[test]
fn an_archived_record_takes_no_changes() {
    candidate(vec![]).when(Command::Archive).then([Event::Archived {}]);
    let archived = candidate(vec![Event::Archived {}]);
    archived.when(Command::Archive).nothing();
    archived.when(Command::Unassign).refused(Refusal::Archived);
    archived.when(Command::ChangeProfile { profile: profile() }).refused(Refusal::Archived);
    archived.when(Command::AddNote { text: "Late.".into() }).refused(Refusal::Archived);
    archived.when(Command::Assign { member_id: BO }).refused(Refusal::Archived);
}

#[test]
fn nothing_is_changed_that_was_not_registered() {
    let nothing = given::<Candidate>(noon(), &ada(), []);
    nothing.when(Command::Archive).refused(Refusal::Missing);
    nothing.when(Command::Unassign).refused(Refusal::Missing);
}

#[test]
fn whoever_registered_by_an_address_is_out_once_the_record_has_another() {
    let moved = || GivenProfile { email: "mira.new@mail.example".into(), ..profile() };
    let change = |profile| Command::ChangeProfile { profile };
    let changed = |record: Given<Candidate>, profile| record.when(change(profile)).result();
    let events = changed(candidate(vec![linked(60)]), moved()).expect("changed");
    assert_eq!(events[0], Event::AccountUnlinked {});
    assert!(matches!(events[1], Event::ProfileChanged { .. }) && events.len() == 2);
    let again = [vec![linked(60)], events].concat();
    candidate(again)
        .by(&identity())
        .when(Command::LinkAccount { account_id: login(61) })
        .then([linked(61)]);
    let phone = GivenProfile { phone: None, ..profile() };
    assert_eq!(changed(candidate(vec![linked(60)]), phone).expect("changed").len(), 1);
}

#[test]
fn a_program_does_not_say_at_which_address_a_person_is() {
    let key = ApiKeyId(Uuid::from_u128(70));
    let rights = Rights::of([Action::WriteCandidate]);
    let program = Caller::new(COMPANY, Actor::Service { id: key, rights }, vec![]);
    let change = |profile| Command::ChangeProfile { profile };
    let moved = GivenProfile { email: "mira.new@mail.example".into(), ..profile() };
    let record = || candidate(vec![]).by(&program);
    record().when(change(moved)).refused(Refusal::AddressByProgram);
    let phone = GivenProfile { phone: None, ..profile() };
    assert_eq!(record().when(change(phone)).result().expect("changed").len(), 1);
}
