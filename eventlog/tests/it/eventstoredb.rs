//! What is particular to the log in EventStoreDB. The server is a stand-in in this process, or a real one
//! where `EVENTSTORE_URL` is set; what needs a server that misbehaves is always tested on the stand-in.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::ids::CompanyId;
use eventlog::clock::{Clock, ManualClock, SystemClock};
use eventlog::envelope::{Position, StreamId, Version};
use eventlog::stand_in::{Data, Fault, StandIn};
use eventlog::store::eventstoredb::{BadServerAddress, EventStoreDb, EventStoreDbSettings};
use eventlog::store::{Append, AppendError, ClaimChange, EventStore, Filter};
use eventlog::vault::gate::KeyGate;
use futures::future::join_all;

use crate::database::Database;
use crate::samples::{World, append, id, sibling, stream};

/// A server, a vault, and names of streams that nobody else uses.
pub struct Site {
    database: Database,
    url: String,
    prefix: String,
    stand_in: Option<StandIn>,
}

impl Site {
    pub async fn create() -> Self {
        match std::env::var("EVENTSTORE_URL") {
            Ok(url) => Self::on(url, None).await,
            Err(_) => Self::on_stand_in().await,
        }
    }

    async fn on_stand_in() -> Self {
        let stand_in = StandIn::start().await.expect("a port");
        Self::on(stand_in.url(), Some(stand_in)).await
    }

    async fn on(url: String, stand_in: Option<StandIn>) -> Self {
        let prefix = format!("it_{}_{}", std::process::id(), id().simple());
        Self { database: Database::create().await, url, prefix, stand_in }
    }

    fn stand_in(&self) -> &StandIn {
        self.stand_in.as_ref().expect("made with one")
    }

    pub fn world(&self) -> World {
        World { store: self.store(), vault: self.database.vault() }
    }

    fn store(&self) -> Arc<EventStoreDb> {
        self.store_with(Duration::from_secs(30), Arc::new(SystemClock))
    }

    fn store_with(&self, append_deadline: Duration, clock: Arc<dyn Clock>) -> Arc<EventStoreDb> {
        let settings = EventStoreDbSettings {
            prefix: self.prefix.clone(),
            append_deadline,
            ..EventStoreDbSettings::new(self.url.clone().into())
        };
        let gate = KeyGate::new(&self.database.pool);
        Arc::new(EventStoreDb::start(&settings, gate, clock).expect("the address is one"))
    }

    /// Events of ours on the stand-in: those of the log, not the reservations.
    fn n_events(&self) -> usize {
        self.stand_in().n_events(&format!("{}.", self.prefix))
    }
}

fn taking(stream: &StreamId, expected: u64, key: &[u8]) -> Append {
    let key = Some(key.to_vec());
    let claim = ClaimChange { scope: stream.company, kind: "email", key };
    Append { claims: vec![claim], ..append(stream, expected, 1) }
}

#[tokio::test]
async fn what_the_server_cannot_promise_is_stated() {
    let site = Site::create().await;
    let capabilities = site.store().capabilities();
    assert!(!capabilities.dense_positions && !capabilities.claims && !capabilities.guards);
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused_without_being_quoted() {
    let gate = KeyGate::new(&Database::create().await.pool);
    for address in ["", "postgres://u:secret@host/db", "esdb://", "esdb://host:port"] {
        let settings = EventStoreDbSettings::new(address.into());
        let refused = EventStoreDb::start(&settings, gate.clone(), Arc::new(SystemClock)).err();
        assert_eq!(refused, Some(BadServerAddress), "{address}");
    }
    for scheme in ["esdb", "kurrentdb", "esdb+discover", "kurrentdb+discover"] {
        let settings = EventStoreDbSettings::new(format!("{scheme}://host:2113?tls=false").into());
        EventStoreDb::start(&settings, gate.clone(), Arc::new(SystemClock)).expect(scheme);
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_refused_at_the_start() {
    let gate = KeyGate::new(&Database::create().await.pool);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    let start = || {
        let address = format!("esdb://host:2113?tlsCaFile={}", file.display());
        let settings = EventStoreDbSettings::new(address.into());
        EventStoreDb::start(&settings, gate.clone(), Arc::new(SystemClock)).err()
    };
    assert_eq!(start(), Some(BadServerAddress));
    let malformed = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    std::fs::write(&file, malformed).expect("writes");
    assert_eq!(start(), Some(BadServerAddress));
    std::fs::write(&file, malformed.replace('!', "AAAA")).expect("writes");
    assert_eq!(start(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_is_found_by_reading() {
    let site = Site::on_stand_in().await;
    let (store, stream) = (site.store(), stream());
    for (expected, fault) in
        [(0, Fault::LoseAnswer), (2, Fault::LoseRequest), (4, Fault::FailUnclear)]
    {
        site.stand_in().misbehave(fault);
        let appended = store.append(append(&stream, expected, 2)).await.expect("is stored");
        assert_eq!(appended.version, Version(expected + 2));
    }
    assert_eq!((site.stand_in().n_faults_left(), site.n_events()), (0, 6));
    // What another wrote meanwhile is not taken for one's own.
    site.stand_in().misbehave(Fault::FailUnclear);
    let rivals = [append(&stream, 6, 1), append(&stream, 6, 1)].map(|one| store.append(one));
    let answers = join_all(rivals).await;
    let refused = AppendError::Conflict { found: Version(7) };
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.as_ref().err() == Some(&refused)).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_ids_with_other_bytes_are_not_taken_for_a_repeat() {
    let site = Site::create().await;
    let (store, stream) = (site.store(), stream());
    let first = append(&stream, 0, 1);
    store.append(first.clone()).await.expect("appends");
    let mut other = first;
    other.events[0].payload = "{\"other\":true}".into();
    let refused = store.append(other).await;
    assert_eq!(refused, Err(AppendError::Conflict { found: Version(1) }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leader_is_turned_to() {
    let site = Site::on_stand_in().await;
    let (store, stream) = (site.store(), stream());
    store.append(append(&stream, 0, 1)).await.expect("appends");
    // Two nodes of one cluster hold the same.
    let data = site.stand_in().data();
    let leader = StandIn::start_on(([127, 0, 0, 1], 0).into(), data).await.expect("a port");
    site.stand_in().misbehave(Fault::NotLeader(leader.address()));
    store.append(append(&stream, 1, 1)).await.expect("the leader appends");
    site.stand_in().stop().await;
    let appended = store.append(append(&stream, 2, 1)).await.expect("the leader appends");
    assert_eq!(appended.version, Version(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_late_or_comes_back_is_used() {
    let site = Site::on_stand_in().await;
    let (address, data) = (site.stand_in().address(), site.stand_in().data());
    site.stand_in().stop().await;
    // Its client's connecting fails, and that client never recovers.
    let store = site.store_with(Duration::from_secs(1), Arc::new(SystemClock));
    let refused = store.append(append(&stream(), 0, 1)).await;
    assert_eq!(refused, Err(AppendError::Unavailable));
    for version in 0..2 {
        let again = StandIn::start_on(address, data.clone()).await.expect("the port is free");
        let store = site.store();
        let (one, other) = (stream(), stream());
        let appended = store.append(append(&one, 0, 1)).await.expect("appends");
        again.stop().await;
        let (back, late) = tokio::join!(
            async {
                // The next append is on its way meanwhile.
                tokio::task::yield_now().await;
                StandIn::start_on(address, data.clone()).await.expect("the port is free")
            },
            store.append(append(&other, 0, 1)),
        );
        assert!(late.expect("appends once it is back").position > appended.position);
        let read = store.read_stream(&one, Version(0), 10).await.expect("reads");
        assert_eq!(read.len(), 1, "round {version}");
        back.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_that_is_cut_is_made_again_whole() {
    let site = Site::on_stand_in().await;
    let (store, stream) = (site.store(), stream());
    store.append(append(&stream, 0, 20)).await.expect("appends");
    site.stand_in().misbehave(Fault::CutReading(7));
    let read = store.read_stream(&stream, Version(0), 100).await.expect("reads");
    assert!(read.iter().map(|event| event.version.0).eq(1..=20));
    for n_events in [0, 3, 19] {
        site.stand_in().misbehave(Fault::CutReading(n_events));
        let page = store.read_log(Position(0), &Filter::default(), 100).await.expect("reads");
        assert_eq!(page.events, read);
        site.stand_in().cut();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_processes_events_wake_readers_and_are_swept() {
    let site = Site::create().await;
    let (writer, reader) = (site.store(), site.store());
    let stream = stream();
    for expected in 0..5 {
        writer.append(append(&stream, expected * 30, 30)).await.expect("appends");
    }
    let (mut after, mut n_seen) = (Position(0), 0);
    while n_seen < 150 {
        reader.wait_past(after).await;
        let page = reader.read_log(after, &Filter::default(), 40).await.expect("reads");
        (after, n_seen) = (page.next, n_seen + page.events.len());
    }
    let versions = reader.stream_versions(&Filter::default(), None, 10).await;
    assert_eq!(versions, Ok(vec![(stream, Version(150))]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_events_of_an_append_have_one_time_wherever_reading_begins() {
    let site = Site::create().await;
    let (store, stream) = (site.store(), stream());
    store.append(append(&stream, 0, 2)).await.expect("appends");
    let appended = store.append(append(&stream, 2, 6)).await.expect("appends");
    for after in 2..8 {
        let read = store.read_stream(&stream, Version(after), 2).await.expect("reads");
        assert!(read.iter().all(|event| event.recorded_at == appended.recorded_at));
        let page = store.read_log(read[0].position, &Filter::default(), 3).await.expect("reads");
        assert!(page.events.iter().all(|event| event.recorded_at == appended.recorded_at));
    }
    // As of no time is a part of an append there.
    let (position, _) = store.position_at(appended.recorded_at).await.expect("reads");
    assert_eq!(position, appended.position);
    let before = appended.recorded_at - TimeDelta::microseconds(1);
    let (position, is_final) = store.position_at(before).await.expect("reads");
    let read = store.read_stream(&stream, Version(0), 2).await.expect("reads");
    assert_eq!((position, is_final), (read[1].position, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_of_an_append_that_was_refused_is_in_nobodys_way() {
    let site = Site::on_stand_in().await;
    let (store, one) = (site.store(), stream());
    let other = sibling(&one);
    // The key is reserved, and then the append turns out to be too late.
    store.append(append(&one, 0, 1)).await.expect("appends");
    let rivals = [taking(&one, 1, b"a"), append(&one, 1, 1)].map(|one| store.append(one));
    let answers = join_all(rivals).await;
    let has_won = answers[0].is_ok();
    let outcome = store.append(taking(&other, 0, b"a")).await;
    assert_eq!(outcome.is_ok(), !has_won, "{answers:?} {outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_stays_taken_when_two_appends_of_its_stream_came_at_once() {
    let site = Site::on_stand_in().await;
    let store = site.store();
    for key in 0..20_u8 {
        let one = stream();
        let both = [taking(&one, 0, &[key]), taking(&one, 0, &[key])].map(|it| store.append(it));
        let answers = join_all(both).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        let refused = store.append(taking(&sibling(&one), 0, &[key])).await;
        assert_eq!(refused, Err(AppendError::Claimed { kind: "email" }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_whose_writer_died_lapses() {
    let site = Site::on_stand_in().await;
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let patient = Duration::from_secs(2);
    let store = site.store_with(patient, Arc::clone(&clock) as Arc<dyn Clock>);
    let dead = stream();
    let heir = sibling(&dead);
    // The reservation is made; what follows it, the append, never arrives.
    site.stand_in().let_through(1);
    let writing = tokio::time::timeout(patient * 2, store.append(taking(&dead, 0, b"a"))).await;
    assert_eq!(writing.expect("gives up"), Err(AppendError::OutcomeUnknown));
    site.stand_in().let_all_through();
    assert_eq!((site.n_events(), site.stand_in().n_events(&site.prefix)), (0, 1));
    // It may still come, so the other is told to try again rather than that the key is taken.
    let refused = store.append(taking(&heir, 0, b"a")).await;
    assert_eq!(refused, Err(AppendError::Unavailable));
    clock.advance(TimeDelta::seconds(61));
    store.append(taking(&heir, 0, b"a")).await.expect("it has lapsed");
    let refused = store.append(taking(&dead, 0, b"a")).await;
    assert_eq!(refused, Err(AppendError::Claimed { kind: "email" }));
    // Its own writer takes a lapsed one up again at once.
    site.stand_in().let_through(1);
    let unclear = store.append(taking(&dead, 0, b"b")).await;
    assert_eq!(unclear, Err(AppendError::OutcomeUnknown));
    site.stand_in().let_all_through();
    store.append(taking(&dead, 0, b"b")).await.expect("the same command again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_is_worth_nothing_once_its_owner_has_moved_on() {
    let site = Site::on_stand_in().await;
    let store = site.store_with(Duration::from_secs(2), Arc::new(SystemClock));
    let dead = stream();
    site.stand_in().let_through(1);
    let unclear = store.append(taking(&dead, 0, b"a")).await;
    assert_eq!(unclear, Err(AppendError::OutcomeUnknown));
    site.stand_in().let_all_through();
    store.append(append(&dead, 0, 1)).await.expect("another command was faster");
    store.append(taking(&sibling(&dead), 0, b"a")).await.expect("nobody has it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_on_one_server_do_not_see_each_other() {
    let site = Site::create().await;
    let other = Site::on(site.url.clone(), None).await;
    let (ours, theirs) = (site.store(), other.store());
    let stream = StreamId::new(CompanyId(id()), "interview", id());
    ours.append(taking(&stream, 0, b"a")).await.expect("appends");
    assert_eq!(theirs.head().await, Ok(Position(0)));
    assert_eq!(theirs.stream_version(&stream).await, Ok(Version(0)));
    theirs.append(taking(&sibling(&stream), 0, b"a")).await.expect("nobody has it there");
    let page = ours.read_log(Position(0), &Filter::default(), 10).await.expect("reads");
    assert_eq!(page.events.len(), 1);
}

#[tokio::test]
async fn what_the_stand_in_holds_outlives_its_listening() {
    let data = Data::default();
    for n_events in 0..2 {
        let address = ([127, 0, 0, 1], 0).into();
        let stand_in = StandIn::start_on(address, data.clone()).await.expect("a port");
        assert_eq!(stand_in.n_events("it"), n_events);
        let site = Site::on(stand_in.url(), Some(stand_in)).await;
        site.store().append(append(&stream(), 0, 1)).await.expect("appends");
        site.stand_in().stop().await;
    }
}
