//! Connections that break in the middle of appends: nothing is lost and nothing is stored twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use eventlog::envelope::{Position, Version};
use eventlog::store::postgres::PostgresStore;
use eventlog::store::{AppendError, EventStore, Filter};
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::database::Database;
use crate::samples::{append, stream};

/// Ends every server process of the log's writers, whatever it is doing.
const BREAK: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and application_name = 'colloquy log'";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn broken_connections_neither_lose_nor_double_an_append() {
    let database = Database::create().await;
    let store = database.store_with_deadline(Duration::from_secs(60));
    let done = Arc::new(AtomicBool::new(false));
    let breaker = tokio::spawn({
        let (done, pool) = (Arc::clone(&done), database.pool.clone());
        async move {
            let mut n_broken = 0;
            let mut ticks = tokio::time::interval(Duration::from_millis(60));
            while !done.load(Ordering::Acquire) {
                ticks.tick().await;
                let n: i64 =
                    sqlx::query_scalar(BREAK).fetch_one(&pool).await.expect("breaks connections");
                n_broken += n;
            }
            n_broken
        }
    });
    everything_is_stored_once(&store).await;
    done.store(true, Ordering::Release);
    assert!(breaker.await.expect("ends") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_lost_on_the_way_neither_lose_nor_double_an_append() {
    let mut database = Database::create().await;
    let n_cut = Arc::new(AtomicU64::new(0));
    let line = Line { lifetime: 40, n_cut: Arc::clone(&n_cut), cut: Arc::default() };
    database.url = line.to(&database.url).await;
    let store = database.store_with_deadline(Duration::from_secs(60));
    everything_is_stored_once(&store).await;
    assert!(n_cut.load(Ordering::Acquire) > 5);
}

/// Writers append one after the other and each append must be stored exactly once: with time enough
/// the lane finds out what became of every one.
async fn everything_is_stored_once(store: &Arc<PostgresStore>) {
    let writers = (0..16).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let (own, mut ids) = (stream(), Vec::new());
            for expected in 0..150 {
                let sent = append(&own, expected, 1);
                ids.push(sent.events[0].event_id);
                let appended = store.append(sent).await.expect("stored once in the end");
                assert_eq!(appended.version, Version(expected + 1));
            }
            ids
        })
    });
    let written = try_join_all(writers).await.expect("all writers end").concat();
    // Connections for reading break too, and whoever reads tries again.
    let read = async {
        loop {
            match store.read_log(Position(0), &Filter::default(), 10_000).await {
                Ok(page) => return page,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let page = tokio::time::timeout(Duration::from_secs(60), read).await.expect("reads");
    assert_eq!(page.events.len(), written.len());
    assert!(page.events.iter().map(|event| event.position.0).eq(1..=page.head.0));
    let stored: HashSet<_> = page.events.iter().map(|event| event.event_id).collect();
    assert_eq!(stored, written.into_iter().collect());
}

/// Lines to a database which break in the middle of things.
#[derive(Clone)]
struct Line {
    /// About this many answers go through one before it is cut.
    lifetime: u32,
    /// How many were cut.
    n_cut: Arc<AtomicU64>,
    /// Cuts all that there are.
    cut: Arc<Notify>,
}

impl Line {
    /// The address of the same database at the other end of such lines.
    async fn to(self, url: &str) -> String {
        let (start, server) = url.rsplit_once('@').expect("user and server");
        let (server, name) = server.split_once('/').expect("server and database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("bound");
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (line, server) = (self.clone(), server.clone());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(&server).await else { return };
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    // Whichever way is cut first takes the other with it.
                    tokio::select! {
                        () = carry(&mut from_client, &mut to_server, u32::MAX) => {}
                        () = carry(&mut from_server, &mut to_client, line.lifetime) => {}
                        () = line.cut.notified() => {}
                    }
                    line.n_cut.fetch_add(1, Ordering::AcqRel);
                });
            }
        });
        format!("{start}@{own}/{name}")
    }
}

/// Carries bytes until the line is cut, before its last piece arrives.
async fn carry(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, lifetime: u32) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n_bytes @ 1..) = from.read(&mut piece).await {
        if rand::random::<u32>().is_multiple_of(lifetime)
            || to.write_all(&piece[..n_bytes]).await.is_err()
        {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_process_that_lost_its_client_is_gone_before_an_append_is_sent_again() {
    let mut database = Database::create().await;
    let line = Line { lifetime: u32::MAX, n_cut: Arc::default(), cut: Arc::default() };
    let cut = Arc::clone(&line.cut);
    database.url = line.to(&database.url).await;
    let store = database.store();
    let own = stream();
    store.append(append(&own, 0, 1)).await.expect("appends");
    let mut holder = database.pool.begin().await.expect("begins");
    sqlx::query("select es_lock_order()").execute(&mut *holder).await.expect("locks");
    let held_up = tokio::spawn({
        let (store, sent) = (Arc::clone(&store), append(&own, 1, 1));
        async move { store.append(sent).await }
    });
    let first = one_that_waits(&database, 0).await;
    // The process does not notice: it waits for the lock, not for its client.
    cut.notify_waiters();
    one_that_waits(&database, first).await;
    holder.rollback().await.expect("lets go");
    assert_eq!(held_up.await.expect("ends").expect("stored once").version, Version(2));
}

/// The server process that waits for the order's lock, once it is another one than `not`.
async fn one_that_waits(database: &Database, not: i32) -> i32 {
    loop {
        let waiting: Option<i32> = sqlx::query_scalar(
            "select pid from pg_locks where locktype = 'advisory' and not granted and pid <> $1
                and database = (select oid from pg_database where datname = current_database())",
        )
        .bind(not)
        .fetch_optional(&database.pool)
        .await
        .expect("reads");
        if let Some(pid) = waiting {
            return pid;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_held_up_for_too_long_is_not_called_refused() {
    let database = Database::create().await;
    let store = database.store_with_deadline(Duration::from_secs(2));
    let own = stream();
    store.append(append(&own, 0, 1)).await.expect("appends");
    let mut holder = database.pool.begin().await.expect("begins");
    sqlx::query("select es_lock_order()").execute(&mut *holder).await.expect("locks");
    let sent = append(&own, 1, 1);
    assert_eq!(store.append(sent.clone()).await, Err(AppendError::OutcomeUnknown));
    holder.rollback().await.expect("lets go");
    // The caller asks again with the same decision, and whatever had become of it, it counts once.
    let again = loop {
        match store.append(sent.clone()).await {
            Err(AppendError::Unavailable | AppendError::OutcomeUnknown) => {}
            judged => break judged,
        }
    };
    let read = store.read_stream(&own, Version(0), 9).await.expect("reads");
    assert_eq!(read.len(), 2);
    assert_eq!(read[1].event_id, sent.events[0].event_id);
    assert!(matches!(again, Ok(_) | Err(AppendError::Conflict { found: Version(2) })));
}
