use commands::{Bus, CommandError, Order, Receipt, Version, derive_id};
use domain::application::{self, Application};
use domain::caller::{Caller, Role};
use domain::candidate::{Candidate, Command};
use domain::ids::CompanyId;
use domain::personal::Subject;
use eventlog::envelope::Position;
use eventlog::store::{EventStore, Filter};
use eventlog::vault::KeyVault;

use crate::world::{World, id, member, note, order, register};

fn code<T: std::fmt::Debug>(result: Result<T, CommandError>) -> &'static str {
    result.expect_err("refused").code()
}

#[tokio::test]
async fn a_repeated_command_gets_its_first_answer_and_writes_nothing() {
    let w = World::new();
    let first = w.register(10, "ada@example.com").await.expect("registered");
    let again = w.register(10, "ada@example.com").await.expect("answered");
    assert_eq!(first, again);
    // A process that never saw it answers the same.
    let unseen = w.other.execute::<Candidate>(&w.hr, id(10), note("x"), order(11)).await;
    assert_eq!(unseen.expect("noted").version, Version(2));
    let late = w.register(10, "ada@example.com").await.expect("answered");
    assert_eq!(late, first);
    assert_eq!(w.store.head().await, Ok(Position(2)));
}

#[tokio::test]
async fn the_same_command_id_with_another_body_is_refused() {
    let w = World::new();
    w.register(10, "ada@example.com").await.expect("registered");
    let mut order = order(10);
    order.input = b"another".to_vec();
    let refused = w.one.execute::<Candidate>(&w.hr, id(10), note("x"), order.clone()).await;
    assert_eq!(code(refused), "COMMAND_ID_REUSED");
    // What derives from an event is taken as done: a model's words differ from call to call.
    order.derived = true;
    let done = w.one.execute::<Candidate>(&w.hr, id(10), note("x"), order).await.expect("done");
    assert_eq!(done.version, Version(1));
}

#[tokio::test]
async fn a_command_id_belongs_to_the_actor_who_gave_it() {
    let w = World::new();
    w.register(10, "ada@example.com").await.expect("registered");
    let colleague = member(w.hr.company, 3, Role::Hr);
    let mut same_id = order(10);
    same_id.input = b"another".to_vec();
    let noted = w.one.execute::<Candidate>(&colleague, id(10), note("x"), same_id).await;
    assert_eq!(noted.expect("noted").version, Version(2));
}

#[tokio::test]
async fn one_command_id_on_two_records_makes_two_events_with_ids_of_their_own() {
    let w = World::new();
    w.register(10, "ada@example.com").await.expect("registered");
    w.register(11, "bo@example.com").await.expect("registered");
    for record in [10, 11] {
        let noted = w.one.execute::<Candidate>(&w.hr, id(record), note("x"), order(1)).await;
        assert_eq!(noted.expect("noted").version, Version(2));
    }
    let log = w.store.read_log(Position(2), &Filter::default(), 10).await.expect("read");
    let [first, second] = &log.events[..] else { panic!("two events") };
    assert_eq!(first.cause.command_id, second.cause.command_id);
    assert_ne!(first.event_id, second.event_id);
}

#[tokio::test]
async fn nobody_writes_a_companys_records_without_a_company() {
    let w = World::new();
    let operator = member(CompanyId::NONE, 5, Role::Hr);
    let refused = w.one.execute::<Candidate>(&operator, id(10), note("x"), order(1)).await;
    assert_eq!(code(refused), "AUTH_003");
}

#[tokio::test]
async fn refusals_and_no_ops_are_not_remembered() {
    let w = World::new();
    assert_eq!(
        code(w.one.execute::<Candidate>(&w.hr, id(10), note("x"), order(1)).await),
        "CAND_001"
    );
    w.register(10, "ada@example.com").await.expect("registered");
    let noted = w.one.execute::<Candidate>(&w.hr, id(10), note("x"), order(1)).await;
    assert_eq!(noted.expect("noted").version, Version(2));
    let nothing = w.one.execute::<Candidate>(&w.hr, id(10), Command::Unassign, order(2)).await;
    assert!(!nothing.expect("already so").wrote);
    assert_eq!(w.store.head().await, Ok(Position(2)));
}

#[tokio::test]
async fn a_stale_cache_neither_refuses_nor_says_already_so() {
    let w = World::new();
    w.register(10, "ada@example.com").await.expect("registered");
    // The other process warms its cache, then this one archives.
    w.other.execute::<Candidate>(&w.hr, id(10), note("x"), order(1)).await.expect("noted");
    w.one.execute::<Candidate>(&w.hr, id(10), Command::Archive, order(2)).await.expect("archived");
    let refused = w.other.execute::<Candidate>(&w.hr, id(10), note("y"), order(3)).await;
    assert_eq!(code(refused), "CAND_ARCHIVED");
    // Its state says "not archived", so an archive there would append on a version that has moved.
    let nothing = w.other.execute::<Candidate>(&w.hr, id(10), Command::Archive, order(4)).await;
    assert!(!nothing.expect("already so").wrote);
}

#[tokio::test]
async fn an_expected_version_that_is_not_found_is_refused() {
    let w = World::new();
    w.register(10, "ada@example.com").await.expect("registered");
    let mut stale = order(1);
    stale.expected_version = Some(Version(7));
    let refused = w.one.execute::<Candidate>(&w.hr, id(10), note("x"), stale.clone()).await;
    assert_eq!(code(refused), "VERSION_CONFLICT");
    stale.expected_version = Some(Version(1));
    let noted = w.one.execute::<Candidate>(&w.hr, id(10), note("x"), stale.clone()).await;
    assert_eq!(noted.expect("noted").version, Version(2));
    // The repeat is recognised before its expected version is looked at.
    let again = w.one.execute::<Candidate>(&w.hr, id(10), note("x"), stale).await;
    assert_eq!(again.expect("answered").version, Version(2));
}

#[tokio::test]
async fn an_email_is_unique_among_a_companys_candidates_only() {
    let w = World::new();
    w.register(10, "ada@example.com").await.expect("registered");
    assert_eq!(code(w.register(11, "Ada@Example.com").await), "CAND_002");
    let other = World { hr: member(CompanyId(id(77)), 2, Role::Hr), ..w };
    other.register(12, "ada@example.com").await.expect("another company's");
}

#[tokio::test]
async fn who_has_no_right_is_refused_and_another_companys_record_looks_absent() {
    let w = World::new();
    w.register(10, "ada@example.com").await.expect("registered");
    let viewer = member(w.hr.company, 3, Role::Viewer);
    let refused = w.one.execute::<Candidate>(&viewer, id(10), note("x"), order(1)).await;
    assert_eq!(code(refused), "AUTH_003");
    let stranger = member(CompanyId(id(77)), 2, Role::Hr);
    let theirs = w.one.execute::<Candidate>(&stranger, id(10), note("x"), order(2)).await;
    let nobodys = w.one.execute::<Candidate>(&stranger, id(99), note("x"), order(2)).await;
    assert_eq!(code(theirs), code(nobodys));
}

#[tokio::test]
async fn a_repeat_is_answered_though_the_record_is_in_other_hands_now() {
    let w = World::new();
    let application = w.application(10, 30).await;
    let employee = w.join(20).await;
    let assign = |member_id| Command::Assign { member_id };
    w.one.execute::<Candidate>(&w.hr, id(10), assign(employee), order(1)).await.expect("assigned");
    let interviewer = member(w.hr.company, 20, Role::Employee);
    let change = |to, n| {
        let command = application::Command::ChangeStatus { to, reason: None };
        (command, order(n))
    };
    let (screen, once) = change(application::Status::Screening, 2);
    let first =
        w.one.execute::<Application>(&interviewer, application, screen.clone(), once.clone());
    let first = first.await.expect("moved");

    w.one.execute::<Candidate>(&w.hr, id(10), Command::Unassign, order(3)).await.expect("taken");
    let (invite, next) = change(application::Status::Interviewing, 4);
    let next = w.one.execute::<Application>(&interviewer, application, invite, next).await;
    assert_eq!(code(next), "AUTH_003", "what it may do next is judged by how it stands now");
    let again = |caller: Caller| {
        let (screen, once) = (screen.clone(), once.clone());
        let w = &w;
        async move { w.other.execute::<Application>(&caller, application, screen, once).await }
    };
    assert_eq!(again(interviewer).await.expect("answered"), first);

    // Neither without the role, nor in another company, nor to somebody else.
    assert_eq!(code(again(member(w.hr.company, 20, Role::Viewer)).await), "AUTH_003");
    let elsewhere = member(CompanyId(id(77)), 20, Role::Hr);
    assert_eq!(code(again(elsewhere).await), "APPLICATION_NOT_FOUND");
    let colleague = member(w.hr.company, 21, Role::Employee);
    assert_eq!(code(again(colleague).await), "AUTH_003");
}

#[tokio::test]
async fn what_a_decision_relied_on_is_guarded() {
    let w = World::new();
    w.register(10, "ada@example.com").await.expect("registered");
    let member_id = w.join(20).await;
    let assign = || Command::Assign { member_id };
    // The other process sees the member active, then the member is deactivated elsewhere.
    let warm = w.other.execute::<Candidate>(&w.hr, id(10), assign(), order(1)).await;
    warm.expect("assigned");
    w.one.execute::<Candidate>(&w.hr, id(10), Command::Unassign, order(2)).await.expect("taken");
    let admin = member(w.hr.company, 4, Role::CompanyAdmin);
    let deactivate = domain::member::Command::Deactivate;
    let gone = w.one.execute::<domain::member::Member>(&admin, member_id.0, deactivate, order(3));
    gone.await.expect("deactivated");
    let refused = w.other.execute::<Candidate>(&w.hr, id(10), assign(), order(4)).await;
    assert_eq!(code(refused), "MEMBER_NOT_FOUND");
}

/// A registration under the id that derives from its order, as the API gives it.
async fn register_derived(
    w: &World,
    bus: &Bus,
    n: u128,
    email: &str,
) -> Result<Receipt, CommandError> {
    let order = order(n);
    let id = derive_id(&w.hr, order.command_id, "candidate", 0);
    bus.execute::<Candidate>(&w.hr, id, register(id, email), order).await
}

#[tokio::test]
async fn what_an_order_makes_is_made_once_whoever_is_asked_again() {
    let w = World::new();
    let first = register_derived(&w, &w.one, 1, "ada@example.com").await.expect("registered");
    for bus in [&w.one, &w.other] {
        let again = register_derived(&w, bus, 1, "ada@example.com").await;
        assert_eq!(again.expect("answered"), first);
    }
    assert_eq!(w.store.head().await, Ok(Position(1)));
    let taken = register_derived(&w, &w.other, 2, "ada@example.com").await;
    assert_eq!(code(taken), "CAND_002");
    let id = first.stream.id;
    let other_body = Order { input: b"other".to_vec(), ..order(1) };
    let unseen = w.beside();
    let reused =
        unseen.execute::<Candidate>(&w.hr, id, register(id, "ada@example.com"), other_body);
    assert_eq!(code(reused.await), "COMMAND_ID_REUSED");
    let subject = Subject::Candidate(domain::ids::CandidateId(id));
    w.vault.forget(w.hr.company, subject).await.expect("forgotten");
    let unseen = w.beside();
    let again = register_derived(&w, &unseen, 1, "ada@example.com").await;
    assert_eq!(again.expect("answered"), first);
}

#[tokio::test]
async fn a_command_about_an_erased_person_is_refused() {
    let w = World::new();
    w.register(10, "ada@example.com").await.expect("registered");
    let subject = Subject::Candidate(domain::ids::CandidateId(id(10)));
    w.vault.forget(w.hr.company, subject).await.expect("forgotten");
    let refused = w.one.execute::<Candidate>(&w.hr, id(10), note("x"), order(1)).await;
    assert_eq!(code(refused), "SUBJECT_ERASED");
    let silent = w.one.execute::<Candidate>(&w.hr, id(10), Command::Archive, order(2)).await;
    assert_eq!(code(silent), "SUBJECT_ERASED");
}

#[tokio::test]
async fn a_key_that_was_lost_before_an_append_named_it_is_made_anew() {
    let w = World::with_lost_keys();
    w.register(10, "ada@example.com").await.expect("registered");
    let subject = Subject::Candidate(domain::ids::CandidateId(id(10)));
    let key = w.vault.key_for(w.hr.company, subject).await.expect("the one that was kept").id;
    let log = w.store.read_log(Position(0), &Filter::default(), 10).await.expect("read");
    let payload = String::from_utf8_lossy(&log.events[0].payload).into_owned();
    assert!(payload.contains(&key.to_string()), "sealed with a key that nobody has: {payload}");
}

#[tokio::test]
async fn no_personal_text_stands_in_the_log() {
    let w = World::new();
    w.register(10, "ada@example.com").await.expect("registered");
    w.one.execute::<Candidate>(&w.hr, id(10), note("knows Rust"), order(1)).await.expect("noted");
    let log = w.store.read_log(Position(0), &Filter::default(), 10).await.expect("read");
    for event in log.events {
        let text = String::from_utf8_lossy(&event.payload).into_owned();
        for personal in ["Ada", "ada@example.com", "knows Rust"] {
            assert!(!text.contains(personal), "{}", event.name);
        }
        assert!(event.is_intact());
    }
}

#[tokio::test]
async fn of_writers_at_once_each_gets_its_place() {
    let w = std::sync::Arc::new(World::new());
    w.register(10, "ada@example.com").await.expect("registered");
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..40 {
        let w = w.clone();
        writers.spawn(async move {
            let bus = if n % 2 == 0 { &w.one } else { &w.other };
            bus.execute::<Candidate>(&w.hr, id(10), note("x"), order(100 + n)).await
        });
    }
    let mut versions = vec![];
    while let Some(done) = writers.join_next().await {
        versions.push(done.expect("ran").expect("noted").version.0);
    }
    versions.sort_unstable();
    assert_eq!(versions, (2..42).collect::<Vec<_>>());
}
