//! What the product stands on goes away in the middle of everything and comes back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;
use serde_json::json;
use uuid::Uuid;

use crate::client::{Client, TRANSIENT, document};
use crate::orders::{administrator, n_stored, order};
use crate::servers::{Broker, Postgres};
use crate::world::{World, until};

/// What the writers have seen.
#[derive(Default)]
struct Seen {
    n_done: AtomicUsize,
    is_over: AtomicBool,
    codes: Mutex<BTreeSet<String>>,
    done: Mutex<Vec<Uuid>>,
}

/// Gives one order after the other, and each until there is a yes.
async fn write(admin: Client, seen: Arc<Seen>) {
    let document = document("createJob", "job { id }");
    while !seen.is_over.load(Ordering::SeqCst) {
        let (id, input) = order();
        let variables = json!({ "input": input });
        loop {
            match admin.try_ask(&document, &variables).await.expect("the API answers all along") {
                Ok(payload) => {
                    assert_eq!(payload["version"], 1, "{payload}");
                    break;
                }
                Err(refused) => {
                    assert!(TRANSIENT.contains(&refused.code.as_str()), "{refused:?}");
                    seen.codes.lock().expect("no panic").insert(refused.code);
                }
            }
        }
        seen.done.lock().expect("no panic").push(id);
        seen.n_done.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stops_and_comes_back_loses_no_order_and_doubles_none() {
    let mut server = Postgres::start().await;
    let world = World::on(server.url());
    let mut serve = world.start("serve");
    let admin = administrator(&world, &mut serve).await;

    let seen = Arc::new(Seen::default());
    let writers: Vec<_> =
        (0..8).map(|_| tokio::spawn(write(admin.clone(), Arc::clone(&seen)))).collect();
    let until_done = async |n: usize| {
        until("orders are carried out", async || {
            (seen.n_done.load(Ordering::SeqCst) >= n).then_some(())
        })
        .await;
    };
    until_done(100).await;
    server.end(Signal::SIGQUIT).await;
    until("the outage is told by a code", async || {
        (!seen.codes.lock().expect("no panic").is_empty()).then_some(())
    })
    .await;
    let (status, said) = admin.get("/health/db").await.expect("the API answers all along");
    assert_eq!(status, 503, "{said}");
    let (status, said) = admin.get("/health").await.expect("the API answers all along");
    assert_eq!(status, 200, "{said}");

    server.resume().await;
    until_done(seen.n_done.load(Ordering::SeqCst) + 100).await;
    seen.is_over.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("no panic");
    }
    println!("the outage was told by {:?}", seen.codes.lock().expect("no panic"));
    serve.is_running();
    let done = std::mem::take(&mut *seen.done.lock().expect("no panic"));
    for id in &done {
        assert_eq!(n_stored(&world, *id).await, 1);
    }
    let opened = world.log_of("job").await;
    assert_eq!(opened.len(), done.len());
    let positions: Vec<i64> = sqlx::query_scalar("select position from es_event order by position")
        .fetch_all(&world.pool)
        .await
        .expect("the log can be read");
    assert!(positions.iter().copied().eq((1..).take(positions.len())));
    drop(serve);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_orders_go_on_and_the_topics_are_complete_after_its_return() {
    let broker = Broker::start();
    let mut world = World::without_kafka().await;
    world.use_kafka(broker.bootstrap(), false);
    let (mut serve, mut relay) = (world.start("serve"), world.start("relay"));
    let admin = administrator(&world, &mut serve).await;
    let order_some = async |n: usize| {
        for _ in 0..n {
            admin.carry_out("createJob", order().1, "job { id }").await;
        }
    };
    order_some(20).await;
    world.topics_equal_the_log().await;
    broker.kill();
    order_some(50).await;
    let health = until("the lost broker is noticed", async || {
        let (status, said) = admin.get("/health/kafka").await?;
        (status == 503).then_some(said)
    })
    .await;
    assert!(!health.is_empty());
    broker.resume();
    order_some(10).await;
    world.topics_equal_the_log().await;
    assert_eq!(world.log_of("job").await.len(), 80);
    relay.is_running();
    serve.is_running();
}
