//! Reads of persons' data: all that is shown is recorded, and nothing grows by it.

use domain::Caller;
use domain::access::{Access, Command, Event, Fields, MAX_VIEWS, Purpose, View, What};
use domain::caller::{Actor, Role};
use domain::ids::{ApiKeyId, InterviewId};
use domain::permission::{Action, Relation, Rights, allows};
use domain::testing::given;
use uuid::Uuid;

use crate::world::*;

fn view(n: usize) -> View {
    View {
        what: What::Candidate,
        subject_id: Uuid::from_u128(n as u128),
        candidate_id: MIRA,
        fields: vec![Fields::Contact],
    }
}

fn record(views: Vec<View>) -> Command {
    Command::Record { purpose: Purpose::Audit, views }
}

#[test]
fn what_is_shown_is_recorded_with_its_purpose() {
    let none = given::<Access>(noon(), &machine(), []);
    let viewed = Event::Viewed { purpose: Purpose::Audit, views: vec![view(1), view(2)] };
    none.when(record(vec![view(1), view(2)])).then([viewed.clone()]);
    none.when(record(vec![])).nothing();
    let before = given::<Access>(noon(), &machine(), [viewed.clone()]);
    before.when(record(vec![view(1), view(2)])).then([viewed]);
}

#[test]
fn a_large_page_becomes_several_events_and_none_of_it_is_lost() {
    let views: Vec<View> = (0..2 * MAX_VIEWS + 1).map(view).collect();
    let none = given::<Access>(noon(), &machine(), []);
    let events = none.when(record(views.clone())).result().expect("never refused");
    let kept: Vec<Vec<View>> =
        events.into_iter().map(|Event::Viewed { views, .. }| views).collect();
    assert_eq!(kept.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_VIEWS, MAX_VIEWS, 1]);
    assert_eq!(kept.concat(), views);
}

#[test]
fn a_state_that_has_seen_thousands_of_reads_is_as_small_as_a_new_one() {
    assert_eq!(size_of::<Access>(), 0);
}

#[test]
fn whoever_may_be_shown_something_may_have_it_recorded_whatever_a_keys_rights_are() {
    let may = |actor, roles| {
        let caller = Caller::new(COMPANY, actor, roles);
        allows(&caller, Action::RecordAccess, Relation::default())
    };
    let member = ada().actor;
    for role in Role::ALL {
        assert!(may(member, vec![role]), "{role:?}");
    }
    let service = Actor::Service { id: ApiKeyId(Uuid::from_u128(5)), rights: Rights::of([]) };
    assert!(may(service, vec![]));
    // What a guest sees is the guest's own.
    let guest = Actor::Guest { interview: InterviewId(Uuid::from_u128(6)), candidate: MIRA };
    assert!(!may(guest, vec![]));
}
