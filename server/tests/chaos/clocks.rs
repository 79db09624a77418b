//! Rows T: clocks jump, processes stand still.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::load::Load;
use crate::process::Process;
use crate::product::Product;
use crate::relays::until_publishing;
use crate::row::{Length, Row};
use crate::topic;
use crate::world::{World, until};

pub const ROWS: &[Row] = &[
    Row {
        name: "T1",
        fault: "clocks jump two days ahead and back, and run at double speed",
        is_short: false,
        body: |_| Box::pin(clocks_jump()),
    },
    Row {
        name: "T2",
        fault: "each process stands still",
        is_short: false,
        body: |length| Box::pin(processes_stand_still(length)),
    },
];

/// The library that fakes the time of programs with several threads.
fn faked_time() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("libraries").flatten();
    let libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.into_iter().find(|library| library.exists()).expect("faketime is installed")
}

async fn clocks_jump() -> String {
    // librdkafka waits by clocks that the library does not fake, and a relay lives by the database's
    // time: the faked ones are the API and the projectors, on the log's own feed.
    let mut product = Product::api().await;
    let library = faked_time().display().to_string();
    let mut done = vec![];
    for clock in ["+2d", "-2d", "+0 x2"] {
        let faked = [("LD_PRELOAD", library.as_str()), ("FAKETIME", clock)];
        let start = |role| product.world.start_with(role, &faked);
        let (_project, serve) = (start("project"), start("serve"));
        product.turn_to(serve).await;
        // A token's time is the API's.
        let admin = product.sign_in().await;
        let load = Load::start(&admin, 4);
        load.until_more(40).await;
        done.extend(load.stop().await);
        product.world.until_projected().await;
    }
    let serve = product.world.start("serve");
    product.turn_to(serve).await;
    product.admin = product.sign_in().await;
    let _project = product.world.start("project");
    product.holds(&done).await;
    product.world.read_models_equal_their_rebuild().await;
    let (ahead, behind, n_back): (f64, f64, i64) = sqlx::query_as(
        "select extract(epoch from max(occurred_at - recorded_at))::float8 / 86400,
                extract(epoch from min(occurred_at - recorded_at))::float8 / 86400,
                count(*) filter (where recorded_at < before)
           from (select *, lag(recorded_at) over (order by position) as before from es_event) e",
    )
    .fetch_one(&product.world.pool)
    .await
    .expect("the log can be read");
    assert!(ahead > 1.9 && behind < -1.9, "clocks jumped from {behind} to {ahead} days");
    assert_eq!(n_back, 0, "the log's own time never falls");
    format!(
        "clocks of API and projectors from {behind:.1} to {ahead:.1} days off; the log's time never fell"
    )
}

async fn processes_stand_still(length: Length) -> String {
    const N_WRITERS: usize = 4;
    let product = Product::with_kafka().await;
    let (relay, project) = (product.world.start("relay"), product.world.start("project"));
    until_publishing(&relay).await;
    let world = &product.world;
    world.until_projected().await;
    let load = product.load(N_WRITERS);
    let lasting = Duration::from_secs(length.of(3, 20));
    let stand_still = async |process: &Process| {
        process.signal(Signal::SIGSTOP);
        tokio::time::sleep(lasting).await;
    };

    // Commands go on without relay and projector, which are behind meanwhile.
    load.until_more(30).await;
    stand_still(&relay).await;
    load.until_more(10).await;
    let n_logged = world.log_of("job").await.len();
    let n_unpublished = n_logged - topic::records(world, "job").await.len();
    relay.signal(Signal::SIGCONT);
    until("the relay goes on", async || {
        (topic::records(world, "job").await.len() >= n_logged).then_some(())
    })
    .await;

    load.until_more(30).await;
    let n_before = n_projected(world).await;
    stand_still(&project).await;
    load.until_more(10).await;
    let at_end = n_projected(world).await;
    let n_unprojected = i64::try_from(world.log_of("job").await.len()).expect("few") - at_end;
    project.signal(Signal::SIGCONT);
    until("the projector goes on", async || (n_projected(world).await > at_end).then_some(()))
        .await;

    load.until_more(30).await;
    product.serve.signal(Signal::SIGSTOP);
    let n_done = load.n_done();
    tokio::time::sleep(lasting).await;
    let n_answered = load.n_done() - n_done;
    product.serve.signal(Signal::SIGCONT);
    load.until_more(40).await;

    assert!(n_unpublished > 0, "the relay published while it stood still");
    assert!(n_unprojected > 0, "{n_before} events were projected, then {at_end}");
    // Answers that were on their way arrive.
    assert!(n_answered <= N_WRITERS, "{n_answered} commands were acknowledged by nobody");
    let told = load.told();
    let done = load.stop().await;
    product.holds(&done).await;
    product.is_published_and_projected().await;
    format!(
        "relay, projector and API stood still for {lasting:?} each: {n_unpublished} events unpublished, \
         {n_unprojected} unprojected, {n_answered} commands answered meanwhile; then all were ({told})"
    )
}

/// How many events of jobs the read model of jobs has applied.
async fn n_projected(world: &World) -> i64 {
    sqlx::query_scalar(
        "select coalesce(sum(version), 0)::bigint from consumer_applied
          where consumer = 'jobs.v1' and category = 'job'",
    )
    .fetch_one(&world.pool)
    .await
    .expect("the read models can be read")
}
