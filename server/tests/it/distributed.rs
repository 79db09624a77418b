//! The roles as processes of their own, over Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use eventlog::kafka::KafkaSettings;
use server::demo::{self, DemoSettings, Manner, Report};
use uuid::Uuid;

use crate::process::{Process, free_port, run};
use crate::topic::{self, Record};
use crate::world::{World, root, until};

/// The demo against the API at this address.
pub fn settings(world: &World, base_url: &str) -> DemoSettings {
    let mut kafka = KafkaSettings::new(world.bootstrap());
    kafka.prefix = world.prefix().to_owned();
    DemoSettings {
        base_url: base_url.to_owned(),
        operator: world.operator(),
        examples: root().join("examples"),
        kafka: Some(kafka),
    }
}

/// Plays the demo without a word; a step may take so long.
pub async fn play(settings: DemoSettings, patience: Duration) -> Result<Report, String> {
    let manner = Manner { patience, quiet: true, ..Manner::default() };
    demo::run_with(settings, manner).await.map_err(|error| failures(&error))
}

/// What of a demo did not hold.
fn failures(error: &anyhow::Error) -> String {
    match error.downcast_ref::<demo::Failed>() {
        Some(failed) => {
            let failed = failed.report.checks.iter().filter(|check| !check.passed);
            failed.map(|check| format!("{check}\n")).collect()
        }
        None => format!("{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_over_kafka_do_the_whole_job() {
    let world = World::with_kafka().await;
    world.migrate().await;
    let roles = ["relay", "project", "react"].map(|role| world.start(role));
    let mut serve = world.start("serve");
    let base_url = serve.client().await.base().to_owned();

    let mut demo = world.command(&["demo", "--url", &base_url, "--operator", &world.operator().0]);
    demo.args(["--password", &world.operator().1]);
    let (code, said) = run(demo).await;
    assert!(code.success(), "{said}");
    let n_asserted = said.lines().filter(|line| line.contains("ok  ")).count();
    assert!(n_asserted >= 30, "the demo lists {n_asserted} things:\n{said}");

    interviews_are_in_their_topic(&world).await;
    world.topics_equal_the_log().await;
    world.read_models_equal_their_rebuild().await;
    for process in roles.into_iter().chain([serve]) {
        let role = process.role.clone();
        let code = process.terminate().await;
        assert!(code.success(), "{role} stops with {code}");
    }
}

/// Asserts that the topic holds each interview's events as CloudEvents, in the order of the log.
async fn interviews_are_in_their_topic(world: &World) {
    let records = topic::complete(world, "interview").await;
    let mut streams: BTreeMap<Uuid, Vec<&Record>> = BTreeMap::new();
    for record in &records {
        let stream = record.key.parse().expect("a stream's id");
        streams.entry(stream).or_default().push(record);
    }
    let logged = world.log_of("interview").await;
    assert_eq!(records.len(), logged.len());
    assert!(streams.len() >= 2, "the demo holds two interviews");
    for (stream, records) in streams {
        let in_log: Vec<_> = logged.iter().filter(|event| event.stream_id == stream).collect();
        let seen: Vec<_> = records
            .iter()
            .map(|r| (r.number("ce_streamversion"), r.number("ce_position"), r.header("ce_hash")))
            .collect();
        let expected: Vec<_> =
            in_log.iter().map(|e| (e.version, e.position, e.hash.as_str())).collect();
        assert_eq!(seen, expected);
        let partition = records[0].partition;
        for (record, event) in records.iter().zip(in_log) {
            assert_eq!(record.partition, partition);
            is_cloud_event(record, &event.event_type);
        }
    }
}

fn is_cloud_event(record: &Record, name: &str) {
    assert_eq!(record.header("content-type"), "application/json");
    assert_eq!(record.header("ce_specversion"), "1.0");
    assert_eq!(record.header("ce_type"), format!("colloquy.{name}.v1"));
    assert_eq!(record.header("ce_subject"), record.key);
    let source = record.header("ce_source");
    assert!(source.starts_with("/companies/") && source.ends_with("/interviews"), "{source}");
    let schema = record.header("ce_dataschema");
    assert!(schema.ends_with(&format!("/{name}.v1.json")), "{schema}");
    for id in ["ce_id", "ce_correlationid"] {
        assert!(Uuid::try_parse(record.header(id)).is_ok(), "{id}");
    }
    assert!(record.header("ce_time").ends_with('Z'));
    assert!(!record.header("ce_actor").is_empty());
    let value: serde_json::Value = serde_json::from_slice(&record.value).expect("JSON");
    assert!(value.is_object());
}

/// Long enough for a step where every role runs, and shorter than any repair that could hide that one
/// is missing.
const SHORT: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_red_when_any_one_role_is_left_out() {
    for left_out in ["serve", "relay", "project", "react"] {
        let world = World::with_kafka().await;
        world.migrate().await;
        let mut running: Vec<Process> = ["relay", "project", "react"]
            .into_iter()
            .filter(|role| *role != left_out)
            .map(|role| world.start(role))
            .collect();
        let base_url = if left_out == "serve" {
            format!("http://127.0.0.1:{}", free_port())
        } else {
            let mut serve = world.start("serve");
            let base_url = serve.client().await.base().to_owned();
            running.push(serve);
            base_url
        };
        topics_are_made(&world, left_out).await;
        let outcome = play(settings(&world, &base_url), SHORT).await;
        let failures = outcome.err().unwrap_or_else(|| panic!("green without {left_out}"));
        println!("without {left_out}: {}", failures.trim_end());
        running.iter_mut().for_each(Process::is_running);
    }
}

/// So that what is missing is the role and not the time to start.
async fn topics_are_made(world: &World, left_out: &str) {
    if left_out != "relay" {
        until("the relay makes the topics", async || {
            let (code, said) = world.run(&["doctor"]).await;
            (code.success() && said.contains("topics as they should be")).then_some(())
        })
        .await;
    }
}
