//! The promises of the port, each a function; every store runs all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta};
use domain::ids::{CandidateId, CompanyId};
use domain::personal::Subject;
use eventlog::clock::SystemClock;
use eventlog::envelope::{MAX_PAYLOAD_BYTES, Position, StreamId, Version};
use eventlog::store::memory::MemoryStore;
use eventlog::store::{Append, AppendError, ClaimChange, EventStore, Filter, Guard};
use eventlog::vault::memory::MemoryVault;
use eventlog::vault::{KeyState, VaultError};
use futures::future::join_all;

use crate::database::Database;
use crate::samples::{World, append, id, sibling, stream};

macro_rules! contract {
    ($($promise:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&super::memory_world()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise(&super::Database::create().await.world()).await;
            })*
        }
        #[cfg(all(feature = "eventstoredb", feature = "eventstoredb-stand-in"))]
        mod eventstoredb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let site = crate::eventstoredb::Site::create().await;
                super::$promise(&site.world()).await;
            })*
        }
    };
}

contract! {
    what_is_appended_is_read_back_exactly
    a_stale_version_is_told_which_one_was_found
    each_version_has_exactly_one_winner
    the_same_append_sent_twice_is_stored_once
    positions_rise_and_times_never_fall
    histories_read_at_once_are_each_whole
    pages_leave_nothing_out
    a_filter_looks_past_what_it_leaves_out
    a_claimed_key_belongs_to_one_stream
    a_claim_is_replaced_and_released_by_its_owner
    claims_are_unique_within_their_scope_only
    who_holds_a_claim_is_found_until_it_is_given_up
    rivals_for_a_claim_have_one_winner
    a_moved_guard_refuses
    a_forgotten_key_refuses
    forgetting_names_the_streams_that_hold_the_subjects_data
    forgetting_misses_no_stream_that_is_being_written
    forgetting_bars_subjects_that_never_had_a_key
    an_event_that_is_too_large_is_refused
    a_malformed_append_is_refused
    a_refused_append_harms_no_neighbour
    reasons_for_refusal_have_a_rank
    a_sweep_sees_every_stream_once
    a_time_has_a_position
    a_reader_is_woken_by_an_append
    a_reader_does_not_wait_for_ever
}

fn memory_world() -> World {
    let vault = MemoryVault::new();
    let store = MemoryStore::new(Arc::new(SystemClock), vault.clone());
    World { store: Arc::new(store), vault: Arc::new(vault) }
}

fn take(kind: &'static str, scope: CompanyId, key: &[u8]) -> ClaimChange {
    ClaimChange { scope, kind, key: Some(key.to_vec()) }
}

fn release(kind: &'static str, scope: CompanyId) -> ClaimChange {
    ClaimChange { scope, kind, key: None }
}

fn with_claim(mut append: Append, claim: ClaimChange) -> Append {
    append.claims.push(claim);
    append
}

fn with_guard(mut append: Append, stream: &StreamId, version: u64) -> Append {
    append.guards.push(Guard { stream: stream.clone(), version: Version(version) });
    append
}

/// Which of the log's events stands at a position, from 1: the position itself where that is promised.
async fn nth(world: &World, position: Position) -> u64 {
    if world.store.capabilities().dense_positions {
        return position.0;
    }
    let all = world.store.read_log(Position(0), &Filter::default(), 10_000).await.expect("reads");
    all.events.iter().filter(|event| event.position <= position).count() as u64
}

/// Where the nth event of the log stands.
async fn place(world: &World, nth: u64) -> Position {
    if world.store.capabilities().dense_positions || nth == 0 {
        return Position(nth);
    }
    let all = world.store.read_log(Position(0), &Filter::default(), 10_000).await.expect("reads");
    all.events[usize::try_from(nth).expect("fits") - 1].position
}

async fn n_events(world: &World) -> u64 {
    nth(world, world.store.head().await.expect("reads")).await
}

async fn version(store: &dyn EventStore, stream: &StreamId) -> u64 {
    store.stream_version(stream).await.expect("reads").0
}

async fn what_is_appended_is_read_back_exactly(world: &World) {
    let stream = stream();
    let sent = append(&stream, 0, 3);
    let appended = world.store.append(sent.clone()).await.expect("appends");
    assert_eq!(appended.version, Version(3));
    let read = world.store.read_stream(&stream, Version(0), 10).await.expect("reads");
    assert_eq!(read.len(), 3);
    for (event, (new, version)) in read.iter().zip(sent.events.iter().zip(1..)) {
        assert!(event.is_intact());
        assert_eq!((&event.stream, event.version), (&stream, Version(version)));
        assert_eq!((event.event_id, &*event.name), (new.event_id, &*new.name));
        assert_eq!((event.schema_version, event.occurred_at), (1, new.occurred_at));
        assert_eq!((&event.payload, &event.cause), (&new.payload, &sent.cause));
        assert_eq!(event.recorded_at, appended.recorded_at);
        assert_eq!(nth(world, event.position).await, version);
    }
    let rest = world.store.read_stream(&stream, Version(1), 1).await.expect("reads");
    assert_eq!(rest, read[1..2]);
    let page = world.store.read_log(Position(0), &Filter::default(), 10).await.expect("reads");
    let last = appended.position;
    assert_eq!((page.events, page.next, page.head), (read, last, last));
    assert_eq!(nth(world, last).await, 3);
}

async fn a_stale_version_is_told_which_one_was_found(world: &World) {
    let stream = stream();
    world.store.append(append(&stream, 0, 2)).await.expect("appends");
    for stale in [0, 1, 3, 900] {
        let refused = world.store.append(append(&stream, stale, 1)).await;
        assert_eq!(refused, Err(AppendError::Conflict { found: Version(2) }));
    }
    let nowhere = world.store.append(append(&sibling(&stream), 1, 1)).await;
    assert_eq!(nowhere, Err(AppendError::Conflict { found: Version(0) }));
    assert_eq!(n_events(world).await, 2);
}

async fn each_version_has_exactly_one_winner(world: &World) {
    let stream = stream();
    for expected in 0..10 {
        let rivals = (0..16).map(|_| world.store.append(append(&stream, expected, 1)));
        let answers = join_all(rivals).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        let found = Version(expected + 1);
        let n_refused = answers.iter().filter(|&a| *a == Err(AppendError::Conflict { found }));
        assert_eq!(n_refused.count(), 15);
    }
    let read = world.store.read_stream(&stream, Version(0), 100).await.expect("reads");
    assert!(read.iter().map(|event| event.version.0).eq(1..=10));
}

async fn the_same_append_sent_twice_is_stored_once(world: &World) {
    let stream = stream();
    let sent = append(&stream, 0, 2);
    world.store.append(sent.clone()).await.expect("appends");
    let again = world.store.append(sent).await;
    assert_eq!(again, Err(AppendError::Conflict { found: Version(2) }));
    assert_eq!(n_events(world).await, 2);
}

async fn positions_rise_and_times_never_fall(world: &World) {
    let appends = (1..=60).map(|n| {
        // Every third is refused and must leave no gap.
        let expected = u64::from(n % 3 == 0);
        world.store.append(append(&stream(), expected, n % 4 + 1))
    });
    let answers = join_all(appends).await;
    let page = world.store.read_log(Position(0), &Filter::default(), 1000).await.expect("reads");
    let positions: Vec<Position> = page.events.iter().map(|event| event.position).collect();
    assert!(positions.is_sorted_by(|one, next| one < next));
    assert_eq!(positions.last(), Some(&page.head));
    if world.store.capabilities().dense_positions {
        assert!(positions.iter().map(|position| position.0).eq(1..=page.head.0));
    }
    assert!(page.events.is_sorted_by_key(|event| event.recorded_at));
    for appended in answers.into_iter().flatten() {
        let at = positions.binary_search(&appended.position).expect("is there");
        assert_eq!(page.events[at].version, appended.version);
        assert_eq!(page.events[at].recorded_at, appended.recorded_at);
    }
}

async fn pages_leave_nothing_out(world: &World) {
    for _ in 0..5 {
        world.store.append(append(&stream(), 0, 3)).await.expect("appends");
    }
    let head = world.store.head().await.expect("reads");
    let (mut after, mut seen) = (Position(0), Vec::new());
    while after < head {
        let page = world.store.read_log(after, &Filter::default(), 4).await.expect("reads");
        assert_eq!(page.head, head);
        assert_eq!(page.next, page.events.last().expect("not at the end").position);
        seen.extend(page.events);
        after = page.next;
    }
    assert!(seen.is_sorted_by(|one, next| one.position < next.position));
    assert_eq!(seen.len(), 15);
    let end = world.store.read_log(after, &Filter::default(), 4).await.expect("reads");
    assert_eq!((end.events.len(), end.next), (0, head));
    let beyond = Position(head.0 + 84);
    let nothing = world.store.read_log(beyond, &Filter::default(), 4).await.expect("reads");
    assert_eq!((nothing.events.len(), nothing.next), (0, beyond));
    // A place between two events, or at one, is as good as another to go on from.
    let before = Position(seen[9].position.0 - 1);
    let page = world.store.read_log(before, &Filter::default(), 1).await.expect("reads");
    assert_eq!(page.events, seen[9..10]);
}

async fn histories_read_at_once_are_each_whole(world: &World) {
    const N_STREAMS: usize = 100;
    // Of all lengths, one of them longer than others would wait for.
    let streams: Vec<StreamId> = (0..N_STREAMS).map(|_| stream()).collect();
    let length = |nth: usize| if nth == 7 { 150 } else { nth as u64 % 5 };
    join_all(streams.iter().enumerate().map(async |(nth, stream)| {
        for before in (0..length(nth)).step_by(50) {
            let n = (length(nth) - before).min(50) as usize;
            world.store.append(append(stream, before, n)).await.expect("appends");
        }
    }))
    .await;
    let read = |nth: usize| world.store.read_stream(&streams[nth], Version(0), 140);
    // Some are given up on the way, which must not keep the others from their answers.
    let mut given_up: Vec<_> = (0..N_STREAMS).map(read).collect();
    for reading in &mut given_up {
        let _ = futures::poll!(reading);
    }
    let all = join_all((0..N_STREAMS).map(read));
    drop(given_up);
    for (nth, events) in all.await.into_iter().enumerate() {
        let events = events.expect("reads");
        let versions: Vec<u64> = events.iter().map(|event| event.version.0).collect();
        assert_eq!(versions, (1..=length(nth).min(140)).collect::<Vec<_>>());
        assert!(events.iter().all(|event| event.stream == streams[nth]));
    }
}

async fn a_filter_looks_past_what_it_leaves_out(world: &World) {
    let interview = stream();
    let verdict = StreamId::new(interview.company, "verdict", id());
    let candidate = StreamId::new(interview.company, "candidate", id());
    for stream in [&interview, &verdict, &candidate, &sibling(&verdict), &sibling(&interview)] {
        world.store.append(append(stream, 0, 2)).await.expect("appends");
    }
    let of = |aggregates: &[&str]| Filter::of_aggregates(aggregates.iter().copied());
    let read = async |after, filter, limit| {
        let after = place(world, after).await;
        let page = world.store.read_log(after, &filter, limit).await.expect("reads");
        let mut found = Vec::new();
        for event in &page.events {
            found.push(nth(world, event.position).await);
        }
        (found, nth(world, page.next).await, nth(world, page.head).await)
    };
    assert_eq!(read(0, of(&["verdict"]), 10).await, (vec![3, 4, 7, 8], 10, 10));
    assert_eq!(read(0, of(&["verdict"]), 3).await, (vec![3, 4, 7], 7, 10));
    assert_eq!(read(3, of(&["candidate", "verdict"]), 3).await, (vec![4, 5, 6], 6, 10));
    assert_eq!(read(6, of(&["candidate", "candidate"]), 3).await, (vec![], 10, 10));
    assert_eq!(read(0, of(&["nothing"]), 3).await, (vec![], 10, 10));

    let theirs = StreamId::new(stream().company, "verdict", id());
    world.store.append(append(&theirs, 0, 2)).await.expect("appends");
    let tenants = |company, aggregates| Filter { company: Some(company), ..of(aggregates) };
    assert_eq!(read(4, tenants(interview.company, &["verdict"]), 9).await, (vec![7, 8], 12, 12));
    assert_eq!(read(0, tenants(theirs.company, &["verdict"]), 1).await, (vec![11], 11, 12));
    assert_eq!(read(0, tenants(theirs.company, &[]), 9).await, (vec![11, 12], 12, 12));
    assert_eq!(read(0, tenants(theirs.company, &["interview"]), 9).await, (vec![], 12, 12));
    let streams = tenants(theirs.company, &[]);
    let streams = world.store.stream_versions(&streams, None, 9).await.expect("reads");
    assert_eq!(streams, [(theirs, Version(2))]);
}

async fn a_claimed_key_belongs_to_one_stream(world: &World) {
    let (owner, store) = (stream(), &world.store);
    let claim = || take("candidate_email", owner.company, b"a");
    store.append(with_claim(append(&owner, 0, 1), claim())).await.expect("free");
    let other = sibling(&owner);
    let refused = store.append(with_claim(append(&other, 0, 1), claim())).await;
    assert_eq!(refused, Err(AppendError::Claimed { kind: "candidate_email" }));
    assert_eq!(version(store.as_ref(), &other).await, 0);
    store.append(with_claim(append(&owner, 1, 1), claim())).await.expect("has it already");
    let mut both = with_claim(append(&other, 0, 1), take("phone", owner.company, b"a"));
    both.claims.push(claim());
    let refused = store.append(both).await;
    assert_eq!(refused, Err(AppendError::Claimed { kind: "candidate_email" }));
    let phone = take("phone", owner.company, b"a");
    store.append(with_claim(append(&other, 0, 1), phone)).await.expect("another kind, not taken");
}

async fn a_claim_is_replaced_and_released_by_its_owner(world: &World) {
    let (owner, store) = (stream(), &world.store);
    let (other, third) = (sibling(&owner), sibling(&owner));
    let email = |key: &[u8]| take("email", owner.company, key);
    let release = || release("email", owner.company);
    store.append(with_claim(append(&owner, 0, 1), email(b"a"))).await.expect("free");
    store.append(with_claim(append(&owner, 1, 1), email(b"b"))).await.expect("replaces");
    store.append(with_claim(append(&other, 0, 1), email(b"a"))).await.expect("free again");
    store.append(with_claim(append(&third, 0, 1), release())).await.expect("had none");
    let refused = store.append(with_claim(append(&third, 1, 1), email(b"b"))).await;
    assert_eq!(refused, Err(AppendError::Claimed { kind: "email" }));
    store.append(with_claim(append(&owner, 2, 1), release())).await.expect("releases");
    store.append(with_claim(append(&third, 1, 1), email(b"b"))).await.expect("free again");
    let refused = store.append(with_claim(append(&owner, 3, 1), email(b"a"))).await;
    assert_eq!(refused, Err(AppendError::Claimed { kind: "email" }));
}

async fn claims_are_unique_within_their_scope_only(world: &World) {
    let (one, other) = (stream(), stream());
    for stream in [&one, &other] {
        let email = take("email", stream.company, b"a");
        world.store.append(with_claim(append(stream, 0, 1), email)).await.expect("own company");
    }
    let login = || take("login", CompanyId::NONE, b"a");
    world.store.append(with_claim(append(&one, 1, 1), login())).await.expect("free");
    let refused = world.store.append(with_claim(append(&other, 1, 1), login())).await;
    assert_eq!(refused, Err(AppendError::Claimed { kind: "login" }));
}

async fn who_holds_a_claim_is_found_until_it_is_given_up(world: &World) {
    let (owner, store) = (stream(), &world.store);
    let other = sibling(&owner);
    let holder = async |key: &[u8]| store.holder(owner.company, "email", key).await.expect("read");
    assert_eq!(holder(b"a").await, None);
    let email = |key: &[u8]| take("email", owner.company, key);
    store.append(with_claim(append(&owner, 0, 1), email(b"a"))).await.expect("free");
    store.append(append(&owner, 1, 1)).await.expect("claims stay");
    assert_eq!(holder(b"a").await.as_ref(), Some(&owner));
    let refused = store.append(with_claim(append(&other, 0, 1), email(b"a"))).await;
    assert!(refused.is_err());
    assert_eq!(holder(b"a").await.as_ref(), Some(&owner), "whoever was refused holds nothing");
    let elsewhere = store.holder(CompanyId::NONE, "email", b"a").await;
    assert_eq!(elsewhere, Ok(None));
    store.append(with_claim(append(&owner, 2, 1), email(b"b"))).await.expect("replaces");
    assert_eq!((holder(b"a").await, holder(b"b").await.as_ref()), (None, Some(&owner)));
    let release = release("email", owner.company);
    store.append(with_claim(append(&owner, 3, 1), release)).await.expect("releases");
    assert_eq!(holder(b"b").await, None);
    store.append(with_claim(append(&other, 0, 1), email(b"b"))).await.expect("free again");
    assert_eq!(holder(b"b").await.as_ref(), Some(&other));
}

async fn rivals_for_a_claim_have_one_winner(world: &World) {
    let company = CompanyId(id());
    let rivals = (0..32).map(|_| {
        let stream = StreamId::new(company, "candidate", id());
        world.store.append(with_claim(append(&stream, 0, 1), take("email", company, b"a")))
    });
    let answers = join_all(rivals).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(n_events(world).await, 1);
}

async fn a_moved_guard_refuses(world: &World) {
    let (store, job) = (&world.store, stream());
    let interview = sibling(&job);
    store.append(append(&job, 0, 2)).await.expect("appends");
    let refused = store.append(with_guard(append(&interview, 0, 1), &job, 1)).await;
    assert_eq!(refused, Err(AppendError::GuardMoved));
    store.append(with_guard(append(&interview, 0, 1), &job, 2)).await.expect("still there");
    let never = sibling(&job);
    store.append(with_guard(append(&interview, 1, 1), &never, 0)).await.expect("still absent");
    let refused = store.append(with_guard(append(&interview, 2, 1), &never, 1)).await;
    assert_eq!(refused, Err(AppendError::GuardMoved));
    if !world.store.capabilities().guards {
        return;
    }
    // One writes what the other relies on: whichever comes first, both cannot be right.
    for version in 2..12 {
        let reader = append(&sibling(&job), 0, 1);
        let (wrote, relied) = tokio::join!(
            store.append(append(&job, version, 1)),
            store.append(with_guard(reader, &job, version)),
        );
        let wrote = wrote.expect("the version is right");
        match relied {
            Ok(relied) => assert!(relied.position < wrote.position),
            Err(refused) => assert_eq!(refused, AppendError::GuardMoved),
        }
    }
}

async fn a_forgotten_key_refuses(world: &World) {
    let (store, vault) = (&world.store, &world.vault);
    let (stream, subject) = (stream(), Subject::Candidate(CandidateId(id())));
    let key = vault.key_for(stream.company, subject).await.expect("makes one");
    let again = vault.key_for(stream.company, subject).await.expect("has one");
    assert_eq!((again.id, &again.key), (key.id, &key.key));
    let elsewhere = vault.key_for(CompanyId(id()), subject).await.expect("another company");
    assert_ne!(elsewhere.id, key.id);

    let sealed = |expected| Append { keys: vec![key.id], ..append(&stream, expected, 1) };
    store.append(sealed(0)).await.expect("the key lives");
    store.append(sealed(1)).await.expect("the key still lives");
    assert_eq!(vault.is_erased(stream.company, subject).await, Ok(false));
    vault.forget(stream.company, subject).await.expect("forgets");
    assert_eq!(store.append(sealed(2)).await, Err(AppendError::SubjectErased));
    let both = Append { keys: vec![elsewhere.id, key.id], ..append(&stream, 2, 1) };
    assert_eq!(store.append(both).await, Err(AppendError::SubjectErased));
    let other = Append { keys: vec![elsewhere.id], ..append(&stream, 2, 1) };
    store.append(other).await.expect("another company's key lives");
    let unknown = Append { keys: vec![id()], ..append(&stream, 3, 1) };
    assert_eq!(store.append(unknown).await, Err(AppendError::SubjectErased));

    assert_eq!(vault.is_erased(stream.company, subject).await, Ok(true));
    let made = vault.key_for(stream.company, subject).await;
    assert_eq!(made.err(), Some(VaultError::SubjectErased));
    let states = vault.keys(&[key.id, elsewhere.id, id()]).await.expect("reads");
    assert_eq!(states.len(), 2);
    assert!(matches!(states[&key.id], KeyState::Forgotten(whose) if whose == subject));
    assert!(matches!(&states[&elsewhere.id], KeyState::Alive(key) if key.subject == subject));
}

async fn forgetting_names_the_streams_that_hold_the_subjects_data(world: &World) {
    let (one, subject) = (stream(), Subject::Candidate(CandidateId(id())));
    let two = StreamId { aggregate: "verdict".into(), ..sibling(&one) };
    let key = world.vault.key_for(one.company, subject).await.expect("makes one").id;
    let sealed =
        |stream: &StreamId, expected| Append { keys: vec![key], ..append(stream, expected, 1) };
    for (stream, expected) in [(&two, 0), (&one, 0), (&one, 1)] {
        world.store.append(sealed(stream, expected)).await.expect("appends");
    }
    let refused = world.store.append(sealed(&sibling(&one), 5)).await;
    assert!(matches!(refused, Err(AppendError::Conflict { .. })));
    let many = (0..10).map(|_| sibling(&one)).collect::<Vec<_>>();
    for answer in join_all(many.iter().map(|stream| world.store.append(sealed(stream, 0)))).await {
        answer.expect("appends");
    }
    let mut streams = vec![one.clone(), two];
    streams.extend(many);
    streams.sort();
    assert_eq!(world.vault.forget(one.company, subject).await, Ok(streams.clone()));
    assert_eq!(world.vault.forget(one.company, subject).await, Ok(streams));
}

async fn forgetting_misses_no_stream_that_is_being_written(world: &World) {
    let (company, subject) = (CompanyId(id()), Subject::Candidate(CandidateId(id())));
    let key = world.vault.key_for(company, subject).await.expect("makes one").id;
    let n_written = AtomicUsize::new(0);
    let writers = (0..8).map(async |_| {
        let mut written = Vec::new();
        loop {
            let stream = StreamId::new(company, "interview", id());
            let sealed = Append { keys: vec![key], ..append(&stream, 0, 1) };
            match world.store.append(sealed).await {
                Ok(_) => {
                    written.push(stream);
                    n_written.fetch_add(1, Ordering::Relaxed);
                }
                Err(refused) => {
                    assert_eq!(refused, AppendError::SubjectErased);
                    return written;
                }
            }
            tokio::task::yield_now().await;
        }
    });
    let forgetter = async {
        while n_written.load(Ordering::Relaxed) < 40 {
            tokio::task::yield_now().await;
        }
        world.vault.forget(company, subject).await.expect("forgets")
    };
    let (written, forgotten) = tokio::join!(join_all(writers), forgetter);
    let mut written = written.concat();
    written.sort();
    assert_eq!(forgotten, written);
}

async fn forgetting_bars_subjects_that_never_had_a_key(world: &World) {
    let (company, subject) = (CompanyId(id()), Subject::Candidate(CandidateId(id())));
    assert_eq!(world.vault.forget(company, subject).await, Ok(Vec::new()));
    let made = world.vault.key_for(company, subject).await;
    assert_eq!(made.err(), Some(VaultError::SubjectErased));
}

async fn an_event_that_is_too_large_is_refused(world: &World) {
    let stream = stream();
    let mut large = append(&stream, 0, 2);
    large.events[1].payload = vec![b' '; MAX_PAYLOAD_BYTES + 1].into();
    assert_eq!(world.store.append(large.clone()).await, Err(AppendError::TooLarge));
    large.events[1].payload = vec![b' '; MAX_PAYLOAD_BYTES].into();
    world.store.append(large).await.expect("as large as may be");
}

async fn a_malformed_append_is_refused(world: &World) {
    let good = append(&stream(), 0, 1);
    let twice = vec![release("email", CompanyId::NONE), take("email", CompanyId::NONE, b"a")];
    let mut zero_byte = good.clone();
    zero_byte.cause.actor = "a\0b".to_owned();
    for bad in [
        Append { events: Vec::new(), ..good.clone() },
        Append { expected: Version(u64::MAX), ..good.clone() },
        Append { claims: twice, ..good.clone() },
        zero_byte,
    ] {
        let refused = world.store.append(bad).await;
        assert!(matches!(refused, Err(AppendError::Malformed(_))), "{refused:?}");
    }
    assert_eq!(world.store.head().await, Ok(Position(0)));
}

async fn a_refused_append_harms_no_neighbour(world: &World) {
    let taken = stream();
    let email = || take("email", taken.company, b"a");
    world.store.append(with_claim(append(&taken, 0, 1), email())).await.expect("free");
    let answers = join_all((0..40).map(|n| {
        let ordinary = append(&sibling(&taken), 0, 1);
        world.store.append(match n % 8 {
            1 => append(&taken, 7, 1),
            3 => with_claim(ordinary, email()),
            5 => with_guard(ordinary, &taken, 9),
            7 => Append { keys: vec![id()], ..ordinary },
            _ => ordinary,
        })
    }))
    .await;
    for (n, answer) in answers.into_iter().enumerate() {
        let refused = match n % 8 {
            1 => Some(AppendError::Conflict { found: Version(1) }),
            3 => Some(AppendError::Claimed { kind: "email" }),
            5 => Some(AppendError::GuardMoved),
            7 => Some(AppendError::SubjectErased),
            _ => None,
        };
        assert_eq!(answer.err(), refused);
    }
    assert_eq!(n_events(world).await, 21);
}

async fn reasons_for_refusal_have_a_rank(world: &World) {
    let (owner, store) = (stream(), &world.store);
    let email = || take("email", owner.company, b"a");
    store.append(with_claim(append(&owner, 0, 1), email())).await.expect("free");
    let mut all = with_guard(with_claim(append(&sibling(&owner), 3, 1), email()), &owner, 9);
    all.keys.push(id());
    // Alone, and then in company, where another way through the log is taken.
    for n_neighbours in [0, 10] {
        let judge = async |append: Append| {
            let neighbours = (0..n_neighbours).map(|_| store.append(self::append(&stream(), 0, 1)));
            let (answer, _) = tokio::join!(store.append(append), join_all(neighbours));
            answer.err()
        };
        let mut all = all.clone();
        assert_eq!(judge(all.clone()).await, Some(AppendError::Conflict { found: Version(0) }));
        all.expected = Version(0);
        assert_eq!(judge(all.clone()).await, Some(AppendError::SubjectErased));
        all.keys.clear();
        assert_eq!(judge(all.clone()).await, Some(AppendError::GuardMoved));
        all.guards.clear();
        assert_eq!(judge(all.clone()).await, Some(AppendError::Claimed { kind: "email" }));
    }
}

async fn a_sweep_sees_every_stream_once(world: &World) {
    let company = CompanyId(id());
    let mut streams = Vec::new();
    for aggregate in ["verdict", "Verdict", "ai_call", "aicall"] {
        for n_events in 1..4 {
            let stream = StreamId::new(company, aggregate, id());
            world.store.append(append(&stream, 0, n_events)).await.expect("appends");
            streams.push((stream, Version(n_events as u64)));
        }
    }
    streams.sort();
    let sweep = async |filter: &Filter| {
        let mut seen: Vec<(StreamId, Version)> = Vec::new();
        loop {
            let after = seen.last().map(|(stream, _)| stream);
            let page = world.store.stream_versions(filter, after, 5).await.expect("reads");
            if page.is_empty() {
                return seen;
            }
            seen.extend(page);
        }
    };
    assert_eq!(sweep(&Filter::default()).await, streams);
    let filter = Filter::of_aggregates(["ai_call", "verdict"]);
    streams.retain(|(stream, _)| filter.aggregates.contains(&stream.aggregate.to_string()));
    assert_eq!(sweep(&filter).await, streams);
}

async fn a_time_has_a_position(world: &World) {
    let store = &world.store;
    let long_ago = DateTime::UNIX_EPOCH;
    assert_eq!(store.position_at(long_ago).await, Ok((Position(0), true)));
    let mut appended = Vec::new();
    for _ in 0..5 {
        appended.push(store.append(append(&stream(), 0, 3)).await.expect("appends"));
    }
    assert_eq!(store.position_at(long_ago).await, Ok((Position(0), true)));
    for one in &appended {
        let (position, is_final) = store.position_at(one.recorded_at).await.expect("reads");
        assert!(position >= one.position && is_final);
        let before = one.recorded_at - TimeDelta::microseconds(1);
        let (position, is_final) = store.position_at(before).await.expect("reads");
        assert!(position < one.position && is_final);
    }
    let last = appended.last().expect("five");
    let future = last.recorded_at + TimeDelta::days(1);
    assert_eq!(store.position_at(future).await, Ok((last.position, false)));
    assert_eq!(nth(world, last.position).await, 15);
}

async fn a_reader_is_woken_by_an_append(world: &World) {
    let store = Arc::clone(&world.store);
    let first = store.append(append(&stream(), 0, 1)).await.expect("appends").position;
    // What is there already is not waited for.
    store.wait_past(Position(0)).await;
    let reader = async {
        while store.head().await.expect("reads") <= first {
            store.wait_past(first).await;
        }
    };
    let (_, appended) = tokio::join!(reader, store.append(append(&stream(), 0, 1)));
    assert_eq!(nth(world, appended.expect("appends").position).await, 2);
}

async fn a_reader_does_not_wait_for_ever(world: &World) {
    let began = Instant::now();
    world.store.wait_past(Position(10)).await;
    assert!(began.elapsed() < Duration::from_secs(3));
}
