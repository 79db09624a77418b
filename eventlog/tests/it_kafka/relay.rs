use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use eventlog::envelope::{Position, StoredEvent};
use eventlog::fail_point::FailPoint;
use eventlog::kafka::KafkaSettings;
use eventlog::kafka::lease::PgLeases;
use eventlog::kafka::mark::read_mark;
use eventlog::kafka::relay::{Stopped, run_all};
use eventlog::kafka::topics::{TOPICS, Topic, ensure, marks_name};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::Headers;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, util::Timeout};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::lease::database;
use crate::world::{
    DEADLINE, Switch, append, append_many, check, client, complete, events_in, events_of,
    is_in_stream_order, log, parts, records, relayed, report_of, settings, soon, start, stream,
    topic,
};

/// A fail point that acts once, the first time the place is passed.
fn once(place: &'static str, act: impl FnOnce() + Send + 'static) -> FailPoint {
    let act = Mutex::new(Some(act));
    Arc::new(move |passed| {
        let act = (passed == place).then(|| act.lock().expect("unpoisoned").take()).flatten();
        if let Some(act) = act {
            act();
        }
    })
}

#[tokio::test]
async fn every_event_arrives_once_in_the_order_of_its_stream_as_a_cloud_event() {
    let (settings, log, topic) = relayed("interview").await;
    append_many(&*log, "interview", 1500).await;
    append_many(&*log, "job", 3).await;
    let relay = start(parts(&settings, &log, Switch::on()), topic);
    report_of(&settings, topic, &log, 1500).await;
    append_many(&*log, "interview", 20).await;
    let report = report_of(&settings, topic, &log, 1520).await;
    relay.stop().await;

    assert_eq!(report, complete(1520));
    let records =
        records(&settings, &topic.name(&settings.prefix), topic.partitions, "read_committed").await;
    assert!(is_in_stream_order(&records));
    let events = events_in(&records);
    assert_eq!(events, events_of(&*log, "interview").await);
    assert!(events.iter().all(StoredEvent::is_intact));
    for record in &records {
        let headers = record.headers().expect("headers");
        let header = |name: &str| {
            let found = headers.iter().find(|header| header.key == name)?;
            std::str::from_utf8(found.value?).ok()
        };
        assert_eq!(header("content-type"), Some("application/json"));
        assert_eq!(header("ce_specversion"), Some("1.0"));
        assert_eq!(header("ce_type"), Some("colloquy.interview.happened.v1"));
        assert_eq!(header("ce_subject").map(str::as_bytes), record.key());
    }
}

#[tokio::test]
async fn keys_are_placed_where_java_clients_place_them() {
    let (settings, log, topic) = relayed("interview").await;
    append_many(&*log, "interview", 5).await;
    let relay = start(parts(&settings, &log, Switch::on()), topic);
    report_of(&settings, topic, &log, 5).await;
    relay.stop().await;
    let name = topic.name(&settings.prefix);
    for record in records(&settings, &name, topic.partitions, "read_committed").await {
        let hash = murmur2(record.key().expect("a key")) & 0x7fff_ffff;
        assert_eq!(record.partition(), i32::try_from(hash % 12).expect("small"));
    }
}

/// The hash of Java's default partitioner.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ u32::try_from(data.len()).expect("short");
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let k = u32::from_le_bytes(*word).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ (k ^ k >> 24).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |last, byte| last << 8 | u32::from(*byte));
        h = (h ^ last).wrapping_mul(M);
    }
    h = (h ^ h >> 13).wrapping_mul(M);
    h ^ h >> 15
}

#[tokio::test]
async fn a_second_relay_takes_over_when_the_first_stops() {
    let (settings, log, topic) = relayed("job").await;
    let leases = Arc::new(PgLeases::new(database().await));
    append_many(&*log, "job", 10).await;
    let first = start(parts(&settings, &log, leases.clone()), topic);
    report_of(&settings, topic, &log, 10).await;
    let second = start(parts(&settings, &log, leases), topic);
    append_many(&*log, "job", 10).await;
    report_of(&settings, topic, &log, 20).await;
    first.stop().await;
    append_many(&*log, "job", 10).await;
    let report = report_of(&settings, topic, &log, 30).await;
    second.stop().await;
    assert_eq!(report, complete(30));
}

#[tokio::test]
async fn a_relay_that_wakes_up_after_another_took_over_publishes_nothing() {
    let (settings, log, topic) = relayed("job").await;
    append_many(&*log, "job", 10).await;

    let (reached, is_there) = oneshot::channel();
    let (wake, sleeping) = mpsc::channel::<()>();
    let leases = Switch::on();
    let mut asleep = parts(&settings, &log, leases.clone());
    asleep.fail_points = once("after_mark_before_commit", move || {
        reached.send(()).expect("the test waits");
        // Ends when the test drops its side.
        let _ = sleeping.recv();
    });
    let first = start(asleep, topic);
    soon(is_there).await.expect("the first relay got so far");

    let second = start(parts(&settings, &log, Switch::on()), topic);
    report_of(&settings, topic, &log, 10).await;
    leases.is_ours.store(false, Ordering::Release);
    drop(wake);
    let mut given_back = leases.n_given_back.subscribe();
    soon(given_back.wait_for(|n| *n > 0)).await.expect("the first relay stands by");

    append_many(&*log, "job", 10).await;
    let report = report_of(&settings, topic, &log, 20).await;
    first.stop().await;
    second.stop().await;
    assert_eq!(report, complete(20));
}

#[tokio::test]
async fn a_crash_at_any_point_of_a_transaction_repeats_and_loses_nothing() {
    let places =
        ["before_produce", "after_produce_before_mark", "after_mark_before_commit", "after_commit"];
    for place in places {
        let (settings, log, topic) = relayed("job").await;
        append_many(&*log, "job", 10).await;
        let mut crashing = parts(&settings, &log, Switch::on());
        crashing.fail_points = once(place, || panic!("a crash on purpose"));
        let crashed = soon(start(crashing, topic).task).await;
        assert!(crashed.is_err_and(|error| error.is_panic()), "{place}");

        append_many(&*log, "job", 10).await;
        let next = start(parts(&settings, &log, Switch::on()), topic);
        let report = report_of(&settings, topic, &log, 20).await;
        next.stop().await;
        assert_eq!(report, complete(20), "{place}");
        let name = topic.name(&settings.prefix);
        let written = records(&settings, &name, topic.partitions, "read_uncommitted").await.len();
        let is_seen_twice =
            place == "after_produce_before_mark" || place == "after_mark_before_commit";
        assert_eq!(written, if is_seen_twice { 30 } else { 20 }, "{place}: what was aborted");
    }
}

#[tokio::test]
async fn a_killed_relay_leaves_nothing_that_a_reader_sees_twice() {
    let (settings, log, topic) = relayed("job").await;
    append_many(&*log, "job", 10).await;
    let (reached, is_there) = oneshot::channel();
    let (wake, sleeping) = mpsc::channel::<()>();
    let mut killed = parts(&settings, &log, Switch::on());
    killed.fail_points = once("after_produce_before_mark", move || {
        reached.send(()).expect("the test waits");
        let _ = sleeping.recv();
    });
    let first = start(killed, topic);
    soon(is_there).await.expect("the first relay got so far");
    first.task.abort();

    let second = start(parts(&settings, &log, Switch::on()), topic);
    let report = report_of(&settings, topic, &log, 10).await;
    drop(wake);
    append(&*log, &stream("job", 1), "more").await;
    let later = report_of(&settings, topic, &log, 11).await;
    second.stop().await;
    assert_eq!((report, later), (complete(10), complete(11)));
}

#[tokio::test]
async fn a_mark_behind_another_topics_open_transaction_is_waited_for() {
    let (settings, log, topic) = relayed("job").await;
    append_many(&*log, "job", 5).await;
    let first = start(parts(&settings, &log, Switch::on()), topic);
    report_of(&settings, topic, &log, 5).await;

    let foreign: BaseProducer = client(&settings)
        .set("transactional.id", format!("{}.foreign", settings.prefix))
        .create()
        .expect("a producer");
    let marks = marks_name(&settings.prefix);
    let foreign = tokio::task::spawn_blocking(move || {
        foreign.init_transactions(DEADLINE).expect("ready");
        foreign.begin_transaction().expect("begun");
        let open = BaseRecord::to(&marks).key("foreign").payload("{}");
        foreign.send(open).map_err(|(error, _)| error).expect("sent");
        foreign.flush(DEADLINE).expect("written");
        foreign
    })
    .await
    .expect("an open transaction");
    append_many(&*log, "job", 5).await;
    let name = topic.name(&settings.prefix);
    while records(&settings, &name, topic.partitions, "read_committed").await.len() < 10 {}
    first.stop().await;

    let early = tokio::time::timeout(Duration::from_secs(1), read_mark(&settings, &name)).await;
    assert!(early.is_err(), "the mark before is not the last one: {early:?}");

    tokio::task::spawn_blocking(move || foreign.commit_transaction(Timeout::After(DEADLINE)))
        .await
        .expect("ended")
        .expect("committed");
    let mark = soon(read_mark(&settings, &name)).await.expect("readable").expect("a mark");
    assert_eq!(mark.position, Position(10));
    append_many(&*log, "job", 5).await;
    let second = start(parts(&settings, &log, Switch::on()), topic);
    let report = report_of(&settings, topic, &log, 15).await;
    second.stop().await;
    assert_eq!(report, complete(15));
}

async fn delete(settings: &KafkaSettings, topic: Topic) {
    let admin: AdminClient<DefaultClientContext> = client(settings).create().expect("a client");
    let name = topic.name(&settings.prefix);
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
    let answers = admin.delete_topics(&[&name], &options).await.expect("an answer");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn a_topic_that_is_ahead_of_a_restored_log_stops_until_it_is_made_anew() {
    let (settings, lost, topic) = relayed("job").await;
    append_many(&*lost, "job", 10).await;
    let relay = start(parts(&settings, &lost, Switch::on()), topic);
    report_of(&settings, topic, &lost, 10).await;
    relay.stop().await;

    let restored = log();
    let foreign =
        || Stopped::ForeignMark { topic: topic.name(&settings.prefix), position: Position(10) };
    append_many(&*restored, "job", 5).await;
    let shorter = start(parts(&settings, &restored, Switch::on()), topic).ended().await;
    assert_eq!(shorter, Err(foreign()));
    append_many(&*restored, "job", 7).await;
    let grown_past = start(parts(&settings, &restored, Switch::on()), topic).ended().await;
    assert_eq!(grown_past, Err(foreign()));
    let report = check(&settings, topic, &restored).await;
    assert_eq!((report.in_topic, report.hash_mismatches, report.pending), (10, 10, 2));
    assert!(!report.is_complete());

    delete(&settings, topic).await;
    ensure(&settings, &[topic]).await.expect("made anew");
    let relay = start(parts(&settings, &restored, Switch::on()), topic);
    let report = report_of(&settings, topic, &restored, 12).await;
    relay.stop().await;
    assert_eq!(report, complete(12));
}

#[tokio::test]
async fn a_topic_without_its_mark_stops_and_the_others_go_on() {
    let (settings, log, job) = relayed("job").await;
    let member = topic("member");
    ensure(&settings, &[job, member]).await.expect("made");
    append_many(&*log, "job", 5).await;
    append_many(&*log, "member", 5).await;
    let name = job.name(&settings.prefix);
    let stray: BaseProducer = client(&settings).create().expect("a producer");
    tokio::task::spawn_blocking({
        let name = name.clone();
        move || {
            let record = BaseRecord::to(&name).key("k").payload("{}");
            stray.send(record).map_err(|(error, _)| error).expect("sent");
            stray.flush(DEADLINE).expect("written");
        }
    })
    .await
    .expect("a stray record");

    let stop = CancellationToken::new();
    let leases = Switch::on();
    let relays = tokio::spawn({
        let (parts, stop) = (parts(&settings, &log, leases.clone()), stop.clone());
        async move { run_all(&parts, &[job, member], &stop).await }
    });
    assert_eq!(report_of(&settings, member, &log, 5).await, complete(5));
    append_many(&*log, "member", 5).await;
    assert_eq!(report_of(&settings, member, &log, 10).await, complete(10));
    let mut given_back = leases.n_given_back.subscribe();
    soon(given_back.wait_for(|n| *n == 1)).await.expect("the topic gives up its lease");
    stop.cancel();
    let stopped = soon(relays).await.expect("no panic");
    assert_eq!(stopped, [Stopped::MarkMissing { topic: name }]);
    let report = check(&settings, job, &log).await;
    assert_eq!((report.in_topic, report.undecodable, report.pending), (1, 1, 5));
}

#[tokio::test]
async fn the_mark_names_the_last_event() {
    let (settings, log, topic) = relayed("job").await;
    append_many(&*log, "job", 5).await;
    append_many(&*log, "member", 5).await;
    let relay = start(parts(&settings, &log, Switch::on()), topic);
    report_of(&settings, topic, &log, 5).await;
    relay.stop().await;
    let last = events_of(&*log, "job").await.pop().expect("an event");
    let name = topic.name(&settings.prefix);
    let mark = read_mark(&settings, &name).await.expect("readable").expect("a mark");
    assert_eq!((mark.position, mark.hash), (last.position, last.hash));
}

#[tokio::test]
async fn a_batch_closes_before_it_grows_too_large() {
    let (settings, log, topic) = relayed("job").await;
    let large = "x".repeat(250_000);
    for _ in 0..40 {
        append(&*log, &stream("job", 1), &large).await;
    }
    let n_batches = Arc::new(AtomicU32::new(0));
    let mut counting = parts(&settings, &log, Switch::on());
    counting.fail_points = Arc::new({
        let n_batches = Arc::clone(&n_batches);
        move |place| {
            if place == "after_commit" {
                n_batches.fetch_add(1, Ordering::AcqRel);
            }
        }
    });
    let relay = start(counting, topic);
    let report = report_of(&settings, topic, &log, 40).await;
    relay.stop().await;
    assert_eq!(report, complete(40));
    assert_eq!(n_batches.load(Ordering::Acquire), 3, "16 events of 250 kB fit into 4 MiB");
}

#[tokio::test]
async fn an_absent_broker_is_waited_for() {
    let settings = KafkaSettings::new("127.0.0.1:9");
    let relay = start(parts(&settings, &log(), Switch::on()), topic("job"));
    let early = tokio::time::timeout(Duration::from_millis(300), relay.ended()).await;
    assert!(early.is_err(), "the relay goes on waiting");
}

#[tokio::test]
async fn all_topics_are_published_side_by_side() {
    let (settings, log) = (settings(), log());
    ensure(&settings, TOPICS).await.expect("the topics are made");
    for _ in 0..3 {
        for topic in TOPICS {
            append_many(&*log, topic.aggregate, 7).await;
        }
    }
    let stop = CancellationToken::new();
    let relays = tokio::spawn({
        let (parts, stop) = (parts(&settings, &log, Switch::on()), stop.clone());
        async move { run_all(&parts, TOPICS, &stop).await }
    });
    for topic in TOPICS {
        assert_eq!(report_of(&settings, *topic, &log, 21).await, complete(21), "{topic:?}");
    }
    stop.cancel();
    assert_eq!(soon(relays).await.expect("no panic"), []);
}
