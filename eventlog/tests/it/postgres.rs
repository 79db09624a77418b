//! What only the log in Postgres can show: its tables, several processes, and many events.

use std::collections::HashSet;
use std::time::Duration;

use eventlog::envelope::{Position, Version};
use eventlog::migrate::migrate;
use eventlog::store::{AppendError, EventStore, Filter};
use futures::future::{join_all, try_join_all};
use sqlx::Row;

use crate::database::Database;
use crate::samples::{append, sibling, stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_may_migrate_at_once() {
    let server = std::env::var("TEST_DATABASE_URL").expect("`make test` sets it");
    let database = Database::create_empty_on(&server).await;
    for outcome in join_all((0..4).map(|_| migrate(&database.pool))).await {
        outcome.expect("migrates");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_change_what_was_appended() {
    let database = Database::create().await;
    let store = database.store();
    store.append(append(&stream(), 0, 2)).await.expect("appends");
    for attempt in [
        "update es_event set actor = 'x'",
        "delete from es_event",
        "truncate es_event",
        "truncate es_event_p0",
        "update es_event_p0 set actor = 'x'",
        "delete from es_event_p0",
    ] {
        let refused = database.run(attempt).await.expect_err("refused");
        assert!(refused.to_string().contains("append-only"), "{attempt}: {refused}");
    }
    store.stop().await;
    assert_eq!(store.append(append(&stream(), 0, 1)).await, Err(AppendError::Unavailable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_can_read_payloads_as_json() {
    let database = Database::create().await;
    let store = database.store();
    let mut sent = append(&stream(), 0, 3);
    sent.events[0].payload = "{\"a\": 1}".into();
    sent.events[1].payload = "not json".into();
    store.append(sent).await.expect("appends");
    let rows = sqlx::query("select payload ->> 'a' from es_event_json order by position")
        .fetch_all(&database.pool)
        .await
        .expect("reads");
    let shown: Vec<Option<String>> = rows.iter().map(|row| row.get(0)).collect();
    // Nor can jsonb hold a zero character, which is no reason to hide all other events.
    assert_eq!(shown, [Some("1".to_owned()), None, None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_grows_from_one_partition_into_the_next() {
    let database = Database::create().await;
    // As if ten million events less two had been appended.
    database
        .run(
            "insert into es_event select 9999998, now(), gen_random_uuid(), 'interview',
             gen_random_uuid(), 1, gen_random_uuid(), 'x', 1, gen_random_uuid(), '',
             gen_random_uuid(), null, 'x', null, now(), '', ''",
        )
        .await
        .expect("inserts");
    let store = database.store();
    let last = store.append(append(&stream(), 0, 5)).await.expect("appends");
    assert_eq!(last.position, Position(10_000_003));
    let page = store.read_log(Position(9_999_998), &Filter::default(), 9).await.expect("reads");
    assert!(page.events.iter().map(|event| event.position.0).eq(9_999_999..=10_000_003));
    let (_, refused) = tokio::join!(
        store.append(append(&stream(), 0, 1)),
        store.append(append(&page.events[0].stream, 4, 1)),
    );
    assert_eq!(refused, Err(AppendError::Conflict { found: Version(5) }));
    database.run("select es_ensure_partitions()").await.expect("makes room");
    assert!(store.positions_left().await.expect("reads") > 10_000_000);
    let truncated = database.run("truncate es_event_p2").await.expect_err("refused");
    assert!(truncated.to_string().contains("append-only"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_whose_events_lie_far_apart_is_read_piece_by_piece_to_the_end() {
    let database = Database::create().await;
    let company = stream().company;
    let at = [1, 90_000, 250_000, 900_000];
    for position in at {
        let insert = format!(
            "insert into es_event select {position}, now(), '{}', 'interview', gen_random_uuid(), 1,
             gen_random_uuid(), 'x', 1, gen_random_uuid(), '', gen_random_uuid(), null, 'x', null,
             now(), '', '\\x{}'",
            company.0,
            "00".repeat(32),
        );
        database.run(&insert).await.expect("inserts");
    }
    let store = database.store();
    let filter = Filter { company: Some(company), ..Filter::default() };
    let (mut after, mut found) = (Position(0), vec![]);
    loop {
        let page = store.read_log(after, &filter, 3).await.expect("reads");
        found.extend(page.events.iter().map(|event| event.position.0));
        if page.next >= page.head {
            break;
        }
        assert!(page.next > after, "a page that leads nowhere");
        after = page.next;
    }
    assert_eq!(found, at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_the_database_refuses_harms_no_neighbour() {
    let database = Database::create().await;
    database
        .run("alter table es_event add constraint no_poison check (actor <> 'poison')")
        .await
        .expect("alters");
    let store = database.store();
    let answers = join_all((0..30).map(|n| {
        let mut sent = append(&stream(), 0, 1);
        if n == 17 {
            sent.cause.actor = "poison".to_owned();
        }
        store.append(sent)
    }))
    .await;
    for (n, answer) in answers.into_iter().enumerate() {
        let refused = (n == 17).then_some(AppendError::Unavailable);
        assert_eq!(answer.err(), refused, "append {n}");
    }
    assert_eq!(store.head().await, Ok(Position(29)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_one_log() {
    let database = Database::create().await;
    let stores = [database.store(), database.store()];
    let shared = stream();
    for expected in 0..20 {
        let rivals = stores.iter().map(|store| store.append(append(&shared, expected, 1)));
        let answers = join_all(rivals).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    }
    // A reader at one is woken by an append at the other, sooner than it would look by itself.
    let mut was_woken = false;
    for _ in 0..20 {
        let head = stores[1].head().await.expect("reads");
        let own = sibling(&shared);
        let reader = async {
            let began = std::time::Instant::now();
            stores[1].wait_past(head).await;
            began.elapsed()
        };
        let (waited, appended) = tokio::join!(reader, stores[0].append(append(&own, 0, 1)));
        appended.expect("appends");
        was_woken |= waited < Duration::from_millis(200);
    }
    assert!(was_woken);
}

/// The events of the torture: `EVENTLOG_TORTURE_EVENTS`, else 20,000.
fn n_torture_events() -> u64 {
    std::env::var("EVENTLOG_TORTURE_EVENTS")
        .ok()
        .and_then(|n_events| n_events.parse().ok())
        .unwrap_or(20_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn torture_sixteen_writers_lose_nothing_under_a_tailing_reader() {
    const N_WRITERS: u64 = 16;
    let database = Database::create().await;
    let stores = [database.store(), database.store()];
    let per_writer = n_torture_events() / N_WRITERS;
    let total = per_writer * N_WRITERS;

    let writers = (0..N_WRITERS).map(|n| {
        let store = std::sync::Arc::clone(&stores[usize::try_from(n % 2).expect("fits")]);
        tokio::spawn(async move {
            let (mut own, mut version, mut ids) = (stream(), 0, Vec::new());
            let mut left = per_writer;
            while left > 0 {
                let n_events = (left % 3 + 1).min(left);
                let sent = append(&own, version, usize::try_from(n_events).expect("fits"));
                ids.extend(sent.events.iter().map(|event| event.event_id));
                version = store.append(sent).await.expect("nobody else writes here").version.0;
                left -= n_events;
                // A stale one now and then must neither be stored nor leave a gap.
                if left.is_multiple_of(7) {
                    let stale = store.append(append(&own, version + 1, 1)).await;
                    assert_eq!(stale, Err(AppendError::Conflict { found: Version(version) }));
                }
                if version > 20 {
                    (own, version) = (sibling(&own), 0);
                }
            }
            ids
        })
    });
    let reader = tokio::spawn({
        let store = database.store();
        async move {
            let (mut after, mut seen) = (Position(0), Vec::new());
            let mut last_time = chrono::DateTime::UNIX_EPOCH;
            while after < Position(total) {
                let page = store.read_log(after, &Filter::default(), 500).await.expect("reads");
                for event in &page.events {
                    assert_eq!(event.position.0, after.0 + 1, "a position is missing or repeated");
                    assert!(event.recorded_at >= last_time, "time fell at {}", event.position);
                    assert!(event.is_intact());
                    (after, last_time) = (event.position, event.recorded_at);
                    seen.push(event.event_id);
                }
                if page.events.is_empty() {
                    store.wait_past(after).await;
                }
            }
            seen
        }
    });
    let written = try_join_all(writers).await.expect("all writers end").concat();
    let seen = reader.await.expect("the reader ends");
    assert_eq!(seen.len(), written.len());
    assert_eq!(seen.into_iter().collect::<HashSet<_>>(), written.into_iter().collect());
    assert_eq!(stores[0].head().await, Ok(Position(total)));
}
