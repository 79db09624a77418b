//! The edge under load: many connections, many subscribers, readers and senders that are slow, and a
//! steady stream of requests beside them. Prints what was measured.
//!
//! Called as a test it runs for seconds and asserts only. `make load` runs for minutes and writes the
//! section of docs/benchmarks.md. `--seconds N` and `--rate N` set the steady stream's length and rate.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment says where the servers are, and tasks end with their runtime"
)]

#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "../it/client.rs"]
mod client;
#[path = "../it/costly.rs"]
mod costly;
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "../it/job.rs"]
mod job;
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "../it/orders.rs"]
mod orders;
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "../it/process.rs"]
mod process;
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "../it/socket.rs"]
mod socket;
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "../it/topic.rs"]
mod topic;
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "../it/world.rs"]
mod world;

mod connections;
mod reads;
mod refusals;
mod report;
mod subscribers;

use std::time::Duration;

use job::Company;
use report::Report;
use world::World;

/// How much is done.
struct Plan {
    n_connections: usize,
    n_requests: usize,
    n_subscribers: usize,
    n_events: usize,
    n_slow: usize,
    rate: u32,
    seconds: u64,
    is_whole: bool,
}

impl Plan {
    fn of(arguments: &[String]) -> Self {
        let number = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            Some(arguments.get(at + 1)?.parse().unwrap_or_else(|_| panic!("{name} is a number")))
        };
        let is_whole = arguments.iter().any(|argument| argument == "--whole");
        let (n_connections, n_requests, n_subscribers) =
            if is_whole { (2_000, 10_000, 1_000) } else { (200, 1_000, 50) };
        Self {
            n_connections,
            n_requests,
            n_subscribers,
            n_events: 20,
            n_slow: 5,
            rate: number("--rate").map_or(if is_whole { 200 } else { 20 }, |n: u64| n as u32),
            seconds: number("--seconds").unwrap_or(if is_whole { 300 } else { 5 }),
            is_whole,
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plan = Plan::of(&arguments);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(load(&plan));
    runtime.shutdown_timeout(Duration::from_secs(10));
}

async fn load(plan: &Plan) {
    let world = World::without_kafka().await;
    let settings = [
        ("COLLOQUY_HTTP__HEAD_SECONDS", "5"),
        ("COLLOQUY_HTTP__STALL_SECONDS", "3"),
        // As many as a process has by default.
        ("COLLOQUY_DATABASE__MAX_CONNECTIONS", "20"),
    ];
    let mut all = world.start_with("all", &settings);
    let client = all.client().await;
    let company = Company::found(&world, &client, "lights").await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Mira").await;
    round.begin(&company).await;
    world.until_projected().await;
    let mut report = Report::default();
    report.add(refusals::costly_documents(&company.hr).await);
    report.add(reads::are_recorded(plan, &world, &company).await);
    report.add(connections::many(plan, &company.hr).await);
    let steady = connections::steady(plan, &company.hr);
    let beside = async {
        let subscribers = subscribers::all_hear_all(plan, &company, &round).await;
        let slow = subscribers::slow_readers_go_on(plan, &company, &round).await;
        let senders = connections::slow_senders(&company.hr).await;
        [subscribers, slow, senders]
    };
    let (steady, beside) = tokio::join!(steady, beside);
    beside.into_iter().for_each(|line| report.add(line));
    report.add(steady);
    let n_bytes = all.peak_bytes();
    report.add(format!("memory: at most {} MiB at once, everything in one process", n_bytes >> 20));
    assert!(n_bytes < 1 << 30, "{n_bytes} bytes");
    all.is_running();
    assert!(!all.said().contains("panicked"), "{}", all.said());
    if plan.is_whole {
        report.write(plan);
    }
}
