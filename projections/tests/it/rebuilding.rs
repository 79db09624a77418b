//! Read models are rebuilt beside the live ones: the same rows, no failed read, and no harm from a
//! death at any place.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use eventlog::fail_point::no_fail_point;
use futures::FutureExt;
use projections::generation;
use projections::model::{MODELS, Model};
use projections::page::PageRequest;
use projections::rebuild::{IfDifferent, RebuildError};
use projections::{Reads, candidates, interviews, jobs, transcripts};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::world::World;

async fn some_interviews(world: &World, n: u128) {
    world.found().await;
    for n in 1..=n {
        world.tell(&world.story(n)).await;
    }
}

#[tokio::test]
async fn a_rebuilt_model_equals_the_live_one_row_for_row() {
    let database = Database::create().await;
    some_interviews(&database.world(1), 4).await;
    database.catch_up(MODELS).await;
    let mut before = vec![];
    for model in MODELS {
        before.push(database.rows(&database.live(model).await.table).await);
    }
    let rebuilt = database.rebuild(MODELS, no_fail_point()).await.expect("it goes through");
    assert_eq!(rebuilt.len(), MODELS.len());
    for ((model, rebuilt), before) in MODELS.iter().zip(&rebuilt).zip(before) {
        let live = database.live(model).await;
        assert_eq!((rebuilt.before, rebuilt.generation), (Some(1), live.number));
        let compared = rebuilt.compared.as_ref().expect("the versions are the same");
        assert!(compared.is_equal() && compared.n_live == before.len() as u64, "{compared:?}");
        assert_ne!(live.table, model.table);
        assert_eq!(database.rows(&live.table).await, before, "{}", model.name);
        assert_eq!(database.rows(&format!("{}_v1", model.table)).await, before, "{}", model.name);
    }
    // What follows goes on in the new generation.
    let world = database.world(1);
    world.tell(&world.story(9)).await;
    database.catch_up(MODELS).await;
    database.assert_rebuilds().await;
}

#[tokio::test]
async fn a_generation_has_the_indexes_and_settings_of_its_shape() {
    let database = Database::create().await;
    let rebuilt = database.rebuild(MODELS, no_fail_point()).await.expect("it goes through");
    for (model, rebuilt) in MODELS.iter().zip(rebuilt) {
        let of = async |table: String| -> (Vec<String>, Option<Vec<String>>) {
            let indexes = "select substring(indexdef from ' USING .*') from pg_indexes
                            where tablename = $1 order by 1";
            let indexes = sqlx::query_scalar(indexes).bind(&table);
            let options = sqlx::query_scalar("select reloptions from pg_class where relname = $1");
            (
                indexes.fetch_all(&database.pool).await.expect("the catalogue"),
                options.bind(&table).fetch_one(&database.pool).await.expect("the catalogue"),
            )
        };
        let made = of(format!("{}_g{}", model.table, rebuilt.generation)).await;
        assert_eq!(made, of(model.table.to_owned()).await, "{}", model.name);
        assert!(!made.0.is_empty());
    }
}

#[tokio::test]
async fn a_damaged_live_model_stays_until_somebody_says_otherwise() {
    let database = Database::create().await;
    some_interviews(&database.world(1), 2).await;
    database.catch_up(MODELS).await;
    let meddle = "update rm_job set title = title || '!' where title is not null";
    sqlx::query(meddle).execute(&database.pool).await.expect("the owner may");
    let refused = database.rebuild(&[jobs::MODEL], no_fail_point()).await;
    let expected = RebuildError::Different { model: "jobs", n_different: 4 };
    assert_eq!(refused.expect_err("it differs"), expected);
    assert_eq!(database.live(&jobs::MODEL).await.number, 1);

    let progress = watch::Sender::default();
    let rebuilder = database.rebuilder(no_fail_point());
    let rebuilt = rebuilder.rebuild(&[jobs::MODEL], IfDifferent::Switch, &progress).await;
    assert_eq!(rebuilt.expect("it goes through")[0].before, Some(1));
    database.assert_rebuilds().await;
}

#[tokio::test]
async fn whoever_rebuilds_may_die_anywhere_and_the_next_one_goes_on() {
    let database = Database::create().await;
    let world = database.world(1);
    some_interviews(&world, 3).await;
    database.catch_up(MODELS).await;
    let mut generation = 1;
    for place in [
        "rebuild.created",
        "rebuild.before_checkpoint",
        "rebuild.after_checkpoint",
        "rebuild.filled",
        "rebuild.compared",
        "switch.caught_up",
        "switch.before_commit",
        "switch.after_commit",
    ] {
        let fired = Arc::new(AtomicBool::new(false));
        let dying = Arc::new({
            let fired = Arc::clone(&fired);
            move |passed: &'static str| {
                if passed == place {
                    fired.store(true, Ordering::SeqCst);
                    panic!("killed at {place}");
                }
            }
        });
        let models = [interviews::MODEL, transcripts::MODEL];
        let died = AssertUnwindSafe(database.rebuild(&models, dying)).catch_unwind().await;
        assert!(died.is_err() && fired.load(Ordering::SeqCst), "{place}");
        let half_way = database.live(&interviews::MODEL).await.number;
        assert_eq!(half_way == generation, place != "switch.after_commit", "{place}");
        let rows = database.rows("rm_interview_v1").await.len();
        assert_eq!(rows, 3, "{place}: readers see one generation or the other, whole");
        let rebuilt = loop {
            match database.rebuild(&models, no_fail_point()).await {
                // The server has not noticed the death yet.
                Err(RebuildError::Running { .. }) => tokio::task::yield_now().await,
                rebuilt => break rebuilt.unwrap_or_else(|error| panic!("{place}: {error}")),
            }
        };
        assert!(rebuilt.iter().all(|r| r.compared.as_ref().is_none_or(|c| c.is_equal())));
        assert!(database.live(&interviews::MODEL).await.number > generation, "{place}");
        generation = database.live(&interviews::MODEL).await.number;
        database.assert_rebuilds().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_one_rebuilds_a_model_at_a_time() {
    let database = Database::create().await;
    let (inside, entered) = std::sync::mpsc::sync_channel(0);
    let (leave, left) = std::sync::mpsc::sync_channel::<()>(0);
    let left = std::sync::Mutex::new(left);
    let waiting = Arc::new(move |place: &'static str| {
        if place == "rebuild.created" {
            tokio::task::block_in_place(|| {
                inside.send(()).expect("somebody waits");
                left.lock().expect("one at a time").recv().expect("somebody lets go");
            });
        }
    });
    let slow = database.rebuilder(waiting);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let progress = watch::Sender::default();
        slow.rebuild(&[jobs::MODEL], IfDifferent::Stay, &progress).await
    });
    tokio::task::spawn_blocking(move || entered.recv()).await.expect("joined").expect("entered");
    let second = database.rebuild(&[jobs::MODEL], no_fail_point()).await;
    assert_eq!(second.expect_err("one runs"), RebuildError::Running { model: "jobs" });
    leave.send(()).expect("it waits");
    let first = tasks.join_next().await.expect("one runs");
    first.expect("no panic").expect("it goes through");
}

/// Reads all the time, pages and batches, until told to stop; answers how often.
async fn read_on(
    reads: Reads,
    world_ids: Vec<domain::ids::InterviewId>,
    view: projections::View,
    stop: CancellationToken,
) -> u64 {
    let mut n_reads = 0;
    while !stop.is_cancelled() {
        let rows = interviews::by_ids(&reads, &view, &world_ids).await.expect("no read fails");
        assert_eq!(rows.len(), world_ids.len(), "nobody sees a half model");
        let (all, first) = (candidates::Filter::default(), PageRequest::default());
        let page = candidates::list(&reads, &view, &all, &first).await;
        assert!(page.expect("no read fails").edges.len() >= world_ids.len());
        n_reads += 2;
    }
    n_reads
}

/// What a program's projectors do: every generation that was filled is brought to the log's end.
async fn follow(database: &Database, models: &[Model]) {
    let followed = generation::followed(&database.pool).await.expect("generations");
    for (model, generation) in followed {
        if models.iter().any(|wanted| wanted.name == model.name) {
            database.follow(&model, &generation).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_fails_while_twenty_switches_happen_under_load() {
    let database = Database::create().await;
    let world = database.world(1);
    some_interviews(&world, 3).await;
    database.catch_up(MODELS).await;
    let models = [interviews::MODEL, candidates::MODEL];
    let stop = CancellationToken::new();
    let mut readers = JoinSet::new();
    let ids: Vec<_> = (1..=3).map(|n| world.story(n).interview).collect();
    for _ in 0..3 {
        let stop = stop.clone();
        readers.spawn(read_on(database.reads.clone(), ids.clone(), world.all(), stop));
    }
    let n_written = AtomicU64::new(3);
    let n_switches = {
        let write = async {
            while !stop.is_cancelled() {
                let n = n_written.fetch_add(1, Ordering::SeqCst) + 1;
                world.tell(&world.story(u128::from(n))).await;
                follow(&database, &models).await;
            }
        };
        let switch = async {
            let mut n_switches = 0;
            let progress = watch::Sender::default();
            let rebuilder = database.rebuilder(no_fail_point());
            for _ in 0..5 {
                let there = database.rebuild(&models, no_fail_point()).await;
                n_switches += there.expect("it switches").len();
                for model in &models {
                    rebuilder.back(model, &progress).await.expect("it goes back");
                    n_switches += 1;
                }
            }
            stop.cancel();
            n_switches
        };
        tokio::join!(write, switch).1
    };
    assert_eq!(n_switches, 20);
    let mut n_reads = 0;
    while let Some(read) = readers.join_next().await {
        n_reads += read.expect("no reader fails");
    }
    assert!(n_reads > 200, "{n_reads} reads are no load");
    database.catch_up(MODELS).await;
    database.assert_rebuilds().await;
}

#[tokio::test]
async fn the_way_back_is_current_and_what_is_old_can_be_dropped() {
    let database = Database::create().await;
    let world = database.world(1);
    some_interviews(&world, 1).await;
    database.catch_up(MODELS).await;
    let progress = watch::Sender::default();
    let rebuilder = database.rebuilder(no_fail_point());
    let nowhere = rebuilder.back(&jobs::MODEL, &progress).await;
    assert_eq!(nowhere.expect_err("none"), RebuildError::NoWayBack { model: "jobs" });

    database.rebuild(&[interviews::MODEL], no_fail_point()).await.expect("it goes through");
    world.tell(&world.story(2)).await;
    database.catch_up(&[interviews::MODEL]).await;
    let back = rebuilder.back(&interviews::MODEL, &progress).await.expect("it goes back");
    assert_eq!(back.generation, 1);
    assert_eq!(
        database.rows("rm_interview_v1").await.len(),
        2,
        "what was appended meanwhile is there"
    );
    database.assert_rebuilds().await;

    let dropped = rebuilder.drop_old(&interviews::MODEL).await.expect("it can be dropped");
    assert_eq!(dropped, [back.before.expect("there was one")]);
    let gone = format!("rm_interview_g{}", dropped[0]);
    let left: i64 = sqlx::query_scalar("select count(*) from pg_class where relname = $1")
        .bind(&gone)
        .fetch_one(&database.pool)
        .await
        .expect("the catalogue");
    assert_eq!(left, 0);
    let nowhere = rebuilder.back(&interviews::MODEL, &progress).await;
    assert_eq!(nowhere.expect_err("none"), RebuildError::NoWayBack { model: "interviews" });
    let followed = generation::followed(&database.pool).await.expect("generations");
    assert_eq!(followed.len(), MODELS.len());
}

#[tokio::test]
async fn a_later_migration_changes_every_generation_and_what_queries_find() {
    let database = Database::create().await;
    let world = database.world(1);
    some_interviews(&world, 1).await;
    database.catch_up(MODELS).await;
    let rebuilt = database.rebuild(&[jobs::MODEL], no_fail_point()).await.expect("it goes through");
    let alter = "select rm_alter('rm_job', 'add column pinned boolean not null default true')";
    sqlx::query(alter).execute(&database.pool).await.expect("the owner may");
    for table in ["rm_job", &format!("rm_job_g{}", rebuilt[0].generation), "rm_job_v1"] {
        let rows = database.rows(table).await;
        assert_eq!(rows.len(), 2, "{table}");
        assert!(rows.iter().all(|row| format!("{row:?}").contains("pinned")), "{table}");
    }
}
