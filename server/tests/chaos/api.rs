//! Rows A: the API dies.

use std::collections::BTreeSet;
use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::GATE;
use crate::client::{Client, document};
use crate::load::{Load, Seen, give};
use crate::orders::{LOG_ORDER, n_stored, order, until_lock_is_waited_for};
use crate::product::Product;
use crate::row::{Length, Row};
use crate::world::{World, until};

pub const ROWS: &[Row] = &[
    Row {
        name: "A1",
        fault: "the API dies before the transaction",
        is_short: true,
        body: |length| Box::pin(dies_at("append.before_send", length)),
    },
    Row {
        name: "A2",
        fault: "the API dies after the insert, before the commit",
        is_short: true,
        body: |_| Box::pin(dies_inside_the_transaction()),
    },
    Row {
        name: "A3",
        fault: "the API dies after the commit, before the answer",
        is_short: true,
        body: |length| Box::pin(dies_at("append.after_commit", length)),
    },
    Row {
        name: "A4",
        fault: "the API dies while it answers",
        is_short: true,
        body: |_| Box::pin(dies_while_answering()),
    },
    Row {
        name: "A5",
        fault: "the API dies with a batch of commands",
        is_short: true,
        body: |length| Box::pin(dies_in_a_batch(length)),
    },
    Row {
        name: "A6",
        fault: "the API dies while it shuts down",
        is_short: true,
        body: |_| Box::pin(dies_in_shutdown()),
    },
    Row {
        name: "A7",
        fault: "SIGTERM under load, one process after the other",
        is_short: true,
        body: |length| Box::pin(stops_under_load(length)),
    },
    Row {
        name: "A8",
        fault: "two API processes, one aggregate, 100 writers",
        is_short: true,
        body: |length| Box::pin(a_hundred_writers(length)),
    },
];

/// The API under load dies at a place, again and again, and is started again each time.
async fn dies_at(place: &'static str, length: Length) -> String {
    let mut product = Product::whole().await;
    let load = product.load(8);
    let n = length.of(2, 10);
    for i in 0..n {
        let nth = format!("{place}:{}", 10 + 7 * i);
        product.turn_to(product.world.start_failing("serve", &nth)).await;
        product.serve.until_ended().await;
        product.serve.was_killed();
        product.restart().await;
        load.until_more(20).await;
    }
    let told = load.told();
    let done = load.stop().await;
    product.holds(&done).await;
    format!("SIGKILL at {place} {n} times ({told}), {} commands acknowledged", done.len())
}

/// Lets no event of the log past its insert as long as somebody holds this lock.
async fn stop_after_insert(world: &World) -> PgConnection {
    let statements = "
        create function chaos_wait() returns trigger language plpgsql as
          'begin perform pg_advisory_xact_lock(4711); return null; end';
        create trigger chaos_wait after insert on es_event for each row execute function chaos_wait()";
    sqlx::raw_sql(statements).execute(&world.pool).await.expect("a trigger");
    let mut holder = world.connect().await;
    sqlx::query("select pg_advisory_lock(4711)").execute(&mut holder).await.expect("locked");
    holder
}

/// Gives an order that stands still in its transaction after the insert; answers its try.
async fn try_one(
    product: &Product,
    input: &Value,
) -> tokio::task::JoinHandle<Result<crate::client::Answer, String>> {
    let (admin, variables) = (product.admin_on_new_connections(), json!({ "input": input }));
    let text = document("createJob", "job { id }");
    let tried = tokio::spawn(async move { admin.try_ask(&text, &variables).await });
    until_lock_is_waited_for(&product.world, GATE).await;
    tried
}

async fn dies_inside_the_transaction() -> String {
    let mut product = Product::whole().await;
    let load = product.load(4);
    load.until_more(20).await;
    let done = load.stop().await;
    let mut stored = vec![];
    for is_rolled_back in [true, false] {
        let mut holder = stop_after_insert(&product.world).await;
        let (id, input) = order();
        let tried = try_one(&product, &input).await;
        product.serve.kill();
        assert!(tried.await.expect("no panic").is_err(), "a dead process has answered");
        let ending = if is_rolled_back {
            "select pg_terminate_backend(pid) from pg_locks where objid = 4711 and not granted"
        } else {
            "select pg_advisory_unlock(4711)"
        };
        sqlx::query(ending).execute(&mut holder).await.expect("the transaction ends");
        until("the transaction is over", async || {
            let n_open: i64 = sqlx::query_scalar(
                "select count(*) from pg_locks where objid = 4711 and not granted",
            )
            .fetch_one(&product.world.pool)
            .await
            .expect("the locks can be read");
            (n_open == 0).then_some(())
        })
        .await;
        let unlock = "drop trigger chaos_wait on es_event; drop function chaos_wait()";
        drop(holder);
        sqlx::raw_sql(unlock).execute(&product.world.pool).await.expect("no trigger");
        stored.push(n_stored(&product.world, id).await);
        product.restart().await;
        let receipt = product.admin.carry_out("createJob", input.clone(), "job { id }").await;
        assert_eq!(n_stored(&product.world, id).await, 1, "the repeat is stored once");
        let again = product.admin.carry_out("createJob", input, "job { id }").await;
        assert_eq!(receipt, again);
    }
    assert_eq!(stored, [0, 1], "rolled back, and committed without a client");
    product.holds(&done).await;
    "SIGKILL while the insert stood uncommitted: rolled back 0 stored, committed 1 stored, each \
     repeat gave 1"
        .to_owned()
}

async fn dies_while_answering() -> String {
    let mut product = Product::whole().await;
    let load = product.load(4);
    load.until_more(20).await;
    let done = load.stop().await;
    // Answers of new connections are swallowed; one kept from before would let its answer through.
    product.door.mute(true);
    let (id, input) = order();
    let (admin, variables) = (product.admin_on_new_connections(), json!({ "input": input }));
    let text = document("createJob", "job { id }");
    let tried = tokio::spawn(async move { admin.try_ask(&text, &variables).await });
    until("the order is stored", async || (n_stored(&product.world, id).await == 1).then_some(()))
        .await;
    product.serve.kill();
    product.door.mute(false);
    product.door.cut();
    assert!(tried.await.expect("no panic").is_err(), "the answer went through");
    product.restart().await;
    let receipt = product.admin.carry_out("createJob", input.clone(), "job { id }").await;
    assert_eq!(receipt["version"], 1);
    let again = product.admin.carry_out("createJob", input, "job { id }").await;
    assert_eq!(receipt, again);
    assert_eq!(n_stored(&product.world, id).await, 1);
    product.holds(&done).await;
    "SIGKILL with the command stored and its answer under way; the repeat was answered from the log"
        .to_owned()
}

async fn dies_in_a_batch(length: Length) -> String {
    let mut product = Product::whole().await;
    let mut sizes = vec![];
    let load = product.load(48);
    let (n_wanted, mut n_batches) = (length.of(1, 5), 0);
    // Where a machine is slow, a writer may be alone in what is committed; then it is done again.
    while n_batches < n_wanted {
        assert!(sizes.len() < 3 * n_wanted, "batches of several commands: {sizes:?}");
        product.turn_to(product.world.start_failing("serve", "append.after_commit:25")).await;
        product.serve.until_ended().await;
        product.serve.was_killed();
        let n_stored: i64 =
            sqlx::query_scalar("select count(*) from es_event where category = 'job'")
                .fetch_one(&product.world.pool)
                .await
                .expect("the log can be read");
        let n_done = i64::try_from(load.n_done()).expect("a small number");
        sizes.push(n_stored - n_done);
        n_batches += usize::from(n_stored - n_done >= 2);
        product.restart().await;
        load.until_more(100).await;
    }
    let done = load.stop().await;
    product.holds(&done).await;
    format!("SIGKILL {} times with {sizes:?} commands committed and not answered", sizes.len())
}

async fn dies_in_shutdown() -> String {
    let mut product = Product::whole().await;
    let load = product.load(8);
    load.until_more(40).await;
    // Whoever holds the order's lock keeps every append, and so the shutdown, from ending.
    let mut lock = product.world.pool.begin().await.expect("a transaction");
    sqlx::query("select es_lock_order()").execute(&mut *lock).await.expect("the order's lock");
    until_lock_is_waited_for(&product.world, LOG_ORDER).await;
    product.serve.signal(Signal::SIGTERM);
    until("the process says that it stops", async || {
        let lines = product.serve.lines();
        lines.iter().any(|line| line["message"] == "stopping").then_some(())
    })
    .await;
    assert!(!product.serve.has_ended(), "it waits for its commands");
    product.serve.kill();
    lock.rollback().await.expect("the lock is given back");
    product.restart().await;
    load.until_more(40).await;
    let told = load.told();
    let done = load.stop().await;
    product.holds(&done).await;
    format!("SIGKILL after SIGTERM, with commands waiting ({told})")
}

async fn stops_under_load(length: Length) -> String {
    let mut product = Product::whole().await;
    let load = product.load(16);
    let n = length.of(2, 10);
    for _ in 0..n {
        load.until_more(50).await;
        let mut next = product.world.start("serve");
        product.door.lead_to(next.address().await);
        let ended = std::mem::replace(&mut product.serve, next);
        let code = ended.terminate().await;
        assert!(code.success(), "SIGTERM ends with {code}");
    }
    load.until_more(50).await;
    let told = load.told();
    let done = load.stop().await;
    product.holds(&done).await;
    format!("{n} processes ended with code 0 ({told}), {} commands acknowledged", done.len())
}

async fn a_hundred_writers(length: Length) -> String {
    let product = Product::whole().await;
    let mut other = product.world.start("serve");
    let there = product.admin.at(other.address().await);
    let seen = Arc::new(Seen::default());
    let input = json!({ "title": "Keeper", "description": "Keeps the light." });
    let made = give(&product.admin, &seen, "createJob", input).await;
    let n_each = length.of(1, 10);
    let mut writers = JoinSet::new();
    for n in 0..100 {
        let client = if n % 2 == 0 { product.admin.clone() } else { there.clone() };
        let (seen, job) = (Arc::clone(&seen), made["job"]["id"].clone());
        writers.spawn(describe(client, seen, job, n_each));
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer without a complaint");
    }
    let load = Load::of(seen);
    let told = load.told();
    let done = load.stop().await;
    let versions: BTreeSet<_> = done.iter().map(|done| done.receipt["version"].as_i64()).collect();
    assert_eq!(versions.len(), 100 * n_each + 1, "each command has a version of its own");
    product.holds(&done).await;
    format!("{} versions of one stream, each once ({told})", versions.len())
}

/// One of many who describe the same job anew.
async fn describe(client: Client, seen: Arc<Seen>, job: Value, n: usize) {
    for _ in 0..n {
        let title = format!("Keeper {}", Uuid::new_v4());
        let input = json!({ "jobId": job, "title": title, "description": "Keeps the light." });
        give(&client, &seen, "describeJob", input).await;
    }
}
