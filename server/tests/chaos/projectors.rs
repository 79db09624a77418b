//! Rows P: a projector dies, or what it is fed is doubled, disordered, incomplete, poisoned or late.

use std::time::Duration;

use nix::sys::signal::Signal;
use projections::model::MODELS;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use uuid::Uuid;

use crate::load::Acknowledged;
use crate::process::Process;
use crate::product::Product;
use crate::relays::{admin, n_said, until_publishing};
use crate::row::{Length, Row};
use crate::topic::{self, Record};
use crate::world::{World, until};

pub const ROWS: &[Row] = &[
    Row {
        name: "P1",
        fault: "a projector dies after its poll",
        is_short: true,
        body: |length| Box::pin(dies_at("project.polled", length)),
    },
    Row {
        name: "P2",
        fault: "a projector dies inside its transaction",
        is_short: true,
        body: |length| Box::pin(dies_at("project.before_commit", length)),
    },
    Row {
        name: "P3",
        fault: "a projector dies after its commit, before it tells the group",
        is_short: true,
        body: |length| Box::pin(dies_at("project.after_commit", length)),
    },
    Row {
        name: "P4",
        fault: "a rebuild dies",
        is_short: false,
        body: |_| Box::pin(rebuild_dies(&["rebuild", "all"], REBUILDING)),
    },
    Row {
        name: "P5",
        fault: "a rebuild dies while it switches",
        is_short: true,
        body: |_| Box::pin(rebuild_dies(&["rebuild", "jobs"], SWITCHING)),
    },
    Row {
        name: "P6",
        fault: "the way back dies",
        is_short: false,
        body: |_| Box::pin(rebuild_dies(&["rebuild", "--back", "jobs"], SWITCHING)),
    },
    Row {
        name: "P7",
        fault: "every record three times",
        is_short: false,
        body: |_| Box::pin(every_record_three_times()),
    },
    Row {
        name: "P8",
        fault: "records in another order, in overlapping batches, with holes",
        is_short: true,
        body: |_| Box::pin(disordered()),
    },
    Row {
        name: "P9",
        fault: "six kinds of poison in the topic",
        is_short: true,
        body: |_| Box::pin(poisoned()),
    },
    Row {
        name: "P10",
        fault: "projectors come and go, and share the partitions anew each time",
        is_short: false,
        body: |length| Box::pin(rebalance_storm(length)),
    },
    Row {
        name: "P11",
        fault: "a slow projector",
        is_short: false,
        body: |length| Box::pin(slow(length)),
    },
];

/// A projector under load dies at a place, again and again.
async fn dies_at(place: &'static str, length: Length) -> String {
    let product = Product::with_kafka().await;
    let _relay = product.world.start("relay");
    let load = product.load(4);
    let n = length.of(2, 8);
    for i in 0..n {
        let nth = format!("{place}:{}", 3 + 5 * i);
        let mut project = product.world.start_failing("project", &nth);
        load.until_more(20).await;
        project.until_ended().await;
        project.was_killed();
    }
    let _project = product.world.start("project");
    load.until_more(20).await;
    let done = load.stop().await;
    product.holds(&done).await;
    product.is_published_and_projected().await;
    format!("SIGKILL at {place} {n} times, {} commands projected once", done.len())
}

const REBUILDING: &[&str] = &[
    "rebuild.created",
    "rebuild.before_checkpoint",
    "rebuild.after_checkpoint",
    "rebuild.filled",
    "rebuild.compared",
];
const SWITCHING: &[&str] = &["switch.caught_up", "switch.before_commit", "switch.after_commit"];

/// A change of generations dies at each of these places, beside writers, readers and projectors, and
/// is then done.
async fn rebuild_dies(verb: &'static [&'static str], places: &[&str]) -> String {
    let product = Product::api().await;
    let _project = product.world.start("project");
    let load = product.load(4);
    load.until_more(40).await;
    let run = async |arguments: &[&str]| {
        let (ended, said) = product.world.run(arguments).await;
        assert!(ended.success(), "{said}");
    };
    // The way back is the way to what was before.
    run(&["rebuild", "jobs"]).await;
    let readers = Readers::start(&product);
    for place in places {
        let mut command = product.world.command(verb);
        command.env("COLLOQUY_FAILPOINT", place);
        let mut dying = Process::start("rebuild", command, product.world.data.path());
        dying.until_ended().await;
        dying.was_killed();
        load.until_more(20).await;
        until_nobody_rebuilds(&product.world).await;
    }
    run(verb).await;
    load.until_more(20).await;
    let n_read = readers.stop().await;
    let done = load.stop().await;
    product.holds(&done).await;
    product.world.read_models_equal_their_rebuild().await;
    format!("SIGKILL at {}; then done; {n_read} reads meanwhile, none failed", places.join(", "))
}

/// Waits until the database has noticed that whoever rebuilt is gone: two at once are refused.
async fn until_nobody_rebuilds(world: &World) {
    let models: Vec<_> = MODELS.iter().map(|model| model.name).collect();
    until("nobody rebuilds", async || {
        let n_held: i64 = sqlx::query_scalar(
            "select count(*) from pg_locks l join pg_database d on d.oid = l.database
              where l.locktype = 'advisory' and d.datname = current_database()
                and (l.classid::bigint << 32 | l.objid::bigint)
                    in (select hashtextextended(model, 1) from unnest($1::text[]) model)",
        )
        .bind(&models)
        .fetch_one(&world.pool)
        .await
        .expect("the locks can be read");
        (n_held == 0).then_some(())
    })
    .await;
}

/// Queries that go on all the time and must never fail.
struct Readers {
    stop: tokio_util::sync::CancellationToken,
    tasks: tokio::task::JoinSet<usize>,
}

impl Readers {
    fn start(product: &Product) -> Self {
        let stop = tokio_util::sync::CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let (admin, stop) = (product.admin.clone(), stop.clone());
            tasks.spawn(async move {
                let document = "{ jobs(first: 5) { edges { node { id title } } } }";
                let mut n_read = 0;
                while !stop.is_cancelled() {
                    let answer = admin.try_ask(document, &serde_json::json!({})).await;
                    let answer = answer.expect("an answer").expect("data");
                    assert!(answer["jobs"]["edges"].is_array(), "{answer}");
                    n_read += 1;
                }
                n_read
            });
        }
        Self { stop, tasks }
    }

    async fn stop(self) -> usize {
        self.stop.cancel();
        self.tasks.join_all().await.into_iter().sum()
    }
}

/// Topics that the test fills itself with what it makes of the relay's records.
struct Forged {
    prefix: String,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Forged {
    async fn make(world: &World) -> Self {
        let prefix = format!("{}-forged", world.prefix());
        let admin = admin(world);
        let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(30)).expect("topics");
        let of = format!("{}.", world.prefix());
        let own = metadata.topics().iter().filter(|topic| topic.name().starts_with(&of));
        let names: Vec<(String, usize)> = own
            .map(|topic| (topic.name().replace(world.prefix(), &prefix), topic.partitions().len()))
            .collect();
        let large = "20000000";
        let topics: Vec<NewTopic<'_>> = names
            .iter()
            .map(|(name, n)| {
                let n = i32::try_from(*n).expect("few partitions");
                NewTopic::new(name, n, TopicReplication::Fixed(1)).set("max.message.bytes", large)
            })
            .collect();
        let made = admin.create_topics(&topics, &AdminOptions::new()).await.expect("an answer");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        let producer = ClientConfig::new()
            .set("bootstrap.servers", world.bootstrap())
            .set("message.max.bytes", large)
            // So that the topic holds what was sent and not more, whatever is sent again.
            .set("enable.idempotence", "true")
            .create()
            .expect("a producer");
        Self { prefix, producer }
    }

    /// Appends these records to an aggregate's topic, in this order.
    async fn send(&self, aggregate: &str, records: &[Record]) {
        let topic = format!("{}.{aggregate}.v1", self.prefix);
        for record in records {
            let headers =
                record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                    headers.insert(Header { key, value: Some(value) })
                });
            let message = BaseRecord::to(&topic)
                .partition(record.partition)
                .key(&record.key)
                .payload(&record.value)
                .headers(headers);
            self.producer.send(message).map_err(|(error, _)| error).expect("taken");
        }
        let producer = self.producer.clone();
        let flushed = tokio::task::spawn_blocking(move || producer.flush(Duration::from_secs(60)));
        flushed.await.expect("no panic").expect("flushed");
    }

    /// Waits until the read model of jobs has gone past every record of the jobs' topic.
    async fn until_read(&self, world: &World, n_records: usize) {
        let source = format!("{}.job.v1", self.prefix);
        let n_records = i64::try_from(n_records).expect("few records");
        until("the forged records are read", async || {
            let n_read: i64 = sqlx::query_scalar(
                "select coalesce(sum(next), 0)::bigint from consumer_checkpoint
                  where consumer = 'jobs.v1' and source = $1",
            )
            .bind(&source)
            .fetch_one(&world.pool)
            .await
            .expect("read");
            (n_read == n_records).then_some(())
        })
        .await;
    }

    /// Projectors that read these topics.
    fn project(&self, world: &World) -> Process {
        world.start_with("project", &[("COLLOQUY_KAFKA__PREFIX", &self.prefix)])
    }
}

/// A log that is published, by nobody projected yet, and what was acknowledged.
async fn published(n: usize) -> (Product, Vec<Acknowledged>, Vec<String>) {
    let product = Product::with_kafka().await;
    let relay = product.world.start("relay");
    let load = product.load(4);
    load.until_more(n).await;
    let done = load.stop().await;
    product.world.topics_equal_the_log().await;
    assert!(relay.terminate().await.success());
    let aggregates = sqlx::query_scalar("select distinct category from es_stream")
        .fetch_all(&product.world.pool)
        .await
        .expect("the log can be read");
    (product, done, aggregates)
}

async fn every_record_three_times() -> String {
    let (product, done, aggregates) = published(100).await;
    let forged = Forged::make(&product.world).await;
    let (mut n, mut n_of_jobs) = (0, 0);
    for aggregate in &aggregates {
        let records = topic::records(&product.world, aggregate).await;
        let twice: Vec<Record> = records.iter().flat_map(|r| [r.clone(), r.clone()]).collect();
        forged.send(aggregate, &twice).await;
        forged.send(aggregate, &records).await;
        n += records.len();
        if aggregate == "job" {
            n_of_jobs = 3 * records.len();
        }
    }
    let _project = forged.project(&product.world);
    forged.until_read(&product.world, n_of_jobs).await;
    product.world.read_models_equal_their_rebuild().await;
    product.holds(&done).await;
    format!("{} records for {n} events, each applied once", 3 * n)
}

async fn disordered() -> String {
    let (product, done, aggregates) = published(100).await;
    let forged = Forged::make(&product.world).await;
    let (mut n_moved, mut n_left_out, mut n_again, mut n_of_jobs) = (0, 0, 0, 0);
    for aggregate in &aggregates {
        let records = topic::records(&product.world, aggregate).await;
        let mut kept: Vec<Record> = records
            .iter()
            .enumerate()
            .filter(|(i, _)| i % 7 != 3)
            .map(|(_, record)| record.clone())
            .collect();
        n_left_out += records.len() - kept.len();
        for pair in kept.chunks_exact_mut(2) {
            pair.swap(0, 1);
            n_moved += 1;
        }
        for batch in kept.chunks(10) {
            forged.send(aggregate, batch).await;
            let overlap = &batch[batch.len() / 2..];
            n_again += overlap.len();
            forged.send(aggregate, overlap).await;
            if aggregate == "job" {
                n_of_jobs += batch.len() + overlap.len();
            }
        }
    }
    assert!(n_left_out > 10 && n_moved > 40, "{n_left_out} left out, {n_moved} moved");
    let _project = forged.project(&product.world);
    forged.until_read(&product.world, n_of_jobs).await;
    product.world.read_models_equal_their_rebuild().await;
    product.holds(&done).await;
    format!("{n_left_out} records left out, {n_moved} pairs swapped, {n_again} sent again")
}

async fn poisoned() -> String {
    let (product, done, aggregates) = published(60).await;
    let forged = Forged::make(&product.world).await;
    for aggregate in &aggregates {
        let records = topic::records(&product.world, aggregate).await;
        if aggregate == "job" {
            let first = records.first().expect("a record");
            forged.send(aggregate, &poisons(first)).await;
            // A projector that reads the log first has seen all of these. It cannot have seen what
            // the log does not hold.
            let ahead: Vec<Record> = (1001..).zip(poisons(first)).map(ahead).collect();
            forged.send(aggregate, &ahead).await;
        }
        forged.send(aggregate, &records).await;
    }
    let project = forged.project(&product.world);
    product.world.read_models_equal_their_rebuild().await;
    product.holds(&done).await;
    let (refused, damaged) =
        ("a record is not an event", "records without the hash of what they say");
    // All but the one without headers have the hash of something else.
    let n_damaged = until("the poison is noticed", async || {
        let lines = project.lines();
        let of_jobs = lines.iter().filter(|line| {
            let consumer = line["consumer"].as_str().unwrap_or_default();
            line["message"] == damaged && consumer.contains("jobs")
        });
        let n_damaged: u64 = of_jobs.filter_map(|line| line["n_damaged"].as_u64()).sum();
        (n_damaged >= 5 && n_said(&project, refused) >= 2).then_some(n_damaged)
    })
    .await;
    let n_parked: i64 = sqlx::query_scalar("select count(*) from consumer_parked")
        .fetch_one(&product.world.pool)
        .await
        .expect("read");
    assert_eq!(n_parked, 0, "what is not an event of ours parks no stream of ours");
    format!(
        "6 sent in place of an event and 6 beyond the log: {} times refused as no event, {n_damaged} \
         noticed by their hash and read from the log instead; nothing parked",
        n_said(&project, refused)
    )
}

/// The record as one of a version that the log does not hold.
fn ahead((version, mut record): (u32, Record)) -> Record {
    if let Some(held) = record.headers.get_mut("ce_streamversion") {
        *held = version.to_string();
    }
    record
}

/// Records that look like events and are none: none has the hash of what it says.
fn poisons(good: &Record) -> Vec<Record> {
    let with = |change: &dyn Fn(&mut Record)| {
        let mut record = good.clone();
        change(&mut record);
        record
    };
    let set = |name: &'static str, value: String| {
        move |record: &mut Record| {
            record.headers.insert(name.to_owned(), value.clone());
        }
    };
    vec![
        with(&|record| record.value = b"{\"title\":".to_vec()),
        with(&set("ce_type", "colloquy.job.invented.v1".to_owned())),
        with(&set("ce_type", "colloquy.job.opened.v99".to_owned())),
        with(&|record| record.value = vec![b'x'; 10_000_000]),
        with(&|record| record.headers.clear()),
        with(&set("ce_source", format!("/companies/{}/jobs", Uuid::new_v4()))),
    ]
}

async fn rebalance_storm(length: Length) -> String {
    const SHARED: &str = "partitions assigned";
    // At this level a projector tells of each share that it is given.
    let told = [("COLLOQUY_LOG__FILTER", "info,eventlog::kafka::feed=debug")];
    let product = Product::with_kafka().await;
    let relay = product.world.start("relay");
    until_publishing(&relay).await;
    let stays = product.world.start_with("project", &told);
    // Each read model has a group of its own.
    until("the first projector has all", async || {
        (n_said(&stays, SHARED) >= MODELS.len()).then_some(())
    })
    .await;
    let load = product.load(4);
    let n = length.of(3, 12);
    let first = n_said(&stays, SHARED);
    for i in 0..n {
        let before = n_said(&stays, SHARED);
        let mut comes = product.world.start_with("project", &told);
        until("the partitions are shared with the newcomer", async || {
            (n_said(&comes, SHARED) > 0 && n_said(&stays, SHARED) > before).then_some(())
        })
        .await;
        load.until_more(30).await;
        if i % 2 == 0 {
            comes.kill();
        } else {
            comes.signal(Signal::SIGTERM);
            assert!(comes.until_ended().await.success());
        }
    }
    let done = load.stop().await;
    product.holds(&done).await;
    product.is_published_and_projected().await;
    let n_shared = n_said(&stays, SHARED) - first;
    assert!(n_shared >= n, "{n_shared} new shares while {n} projectors came and went");
    format!(
        "{n} projectors came, had a share and went; the one that stayed was given another {n_shared} \
         times; {} commands projected once",
        done.len()
    )
}

async fn slow(length: Length) -> String {
    let product = Product::with_kafka().await;
    let (_relay, _project) = (product.world.start("relay"), product.world.start("project"));
    product.world.until_projected().await;
    let (email, password) = product.world.operator();
    let input = serde_json::json!({ "email": email, "password": password });
    let operator = product.admin.stranger().enter("signIn", input).await;
    let lag = async || {
        let query = "{ readModelLag { model eventsBehind } }";
        let answer = operator.query(query, serde_json::json!({})).await;
        let lags = answer["readModelLag"].as_array().expect("a list").clone();
        let jobs = lags.iter().find(|lag| lag["model"] == "jobs").expect("the jobs' lag");
        jobs["eventsBehind"].as_u64().expect("a number")
    };
    let load = product.load(8);
    load.until_more(20).await;
    let mut lock = product.world.pool.begin().await.expect("a transaction");
    sqlx::query("lock table rm_job_v1 in exclusive mode")
        .execute(&mut *lock)
        .await
        .expect("locked");
    // What was acknowledged before the lock may be projected, and what was about to be.
    let (n_before, n_waiting) = (load.n_done() + 8, length.of(300, 10_000));
    let began_at = std::time::Instant::now();
    while load.n_done() < n_waiting + n_before {
        load.until_more(100).await;
    }
    let seconds = began_at.elapsed().as_secs();
    let done = load.stop().await;
    let wanted = n_waiting as u64;
    let n_behind = until("the lag is told", async || {
        let n_behind = lag().await;
        (n_behind >= wanted).then_some(n_behind)
    })
    .await;
    lock.rollback().await.expect("given back");
    product.holds(&done).await;
    product.is_published_and_projected().await;
    until("the lag is over", async || (lag().await == 0).then_some(())).await;
    format!(
        "{n_waiting} events in {seconds} s while the projector stood still: {n_behind} events behind, \
         then 0"
    )
}
