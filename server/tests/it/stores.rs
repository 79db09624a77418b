//! The product on other logs than the database's.

use std::process::Command;

use tempfile::TempDir;

use crate::process::{colloquy, run};
use crate::world::World;

/// The program on a private database in this folder, and on this log.
fn on(log: &str, folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = colloquy();
    command.args(arguments).env("COLLOQUY_DATA_DIR", folder.path()).env("EVENTSTORE_URL", log);
    command
}

async fn the_demo_passes_on(log: &str, folder: &TempDir) {
    let (code, said) = run(on(log, folder, &["demo"])).await;
    assert!(code.success(), "{said}");
    let n_asserted = said.lines().filter(|line| line.contains("ok  ")).count();
    assert!(n_asserted >= 30, "the demo lists {n_asserted} things:\n{said}");
}

async fn is_refused(command: Command, why: &str) {
    let (code, said) = run(command).await;
    assert!(!code.success() && said.contains(why), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_passes_on_a_log_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    the_demo_passes_on("memory", &folder).await;
    // The log is gone, and what was made from it is refused beside any other.
    is_refused(on("memory", &folder, &["demo"]), "the read models know more of the log").await;
    is_refused(on("", &folder, &["models", "check"]), "the read models know more of the log").await;
    is_refused(on("memory", &folder, &["serve"]), "for `all` and `demo` only").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_a_log_of_its_own_is_not_used_beside_another() {
    let world = World::without_kafka().await;
    let mut serving = world.start("serve");
    serving.address().await;
    assert!(serving.terminate().await.success());
    let mut command = world.command(&["all"]);
    command.env("EVENTSTORE_URL", "memory");
    is_refused(command, "the database has events of its own").await;
    let mut command = world.command(&["migrate"]);
    command.env("EVENTSTORE_URL", "mongodb://user:secret@host");
    is_refused(command, "neither empty, nor memory, nor the address of an EventStoreDB").await;
}

#[cfg(feature = "eventstoredb")]
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_passes_on_a_stand_in_for_eventstoredb() {
    let stand_in = eventlog::stand_in::StandIn::start().await.expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    the_demo_passes_on(&stand_in.url(), &folder).await;
    assert!(stand_in.n_events("colloquy.interview-") > 20);
    // The log outlives the process: its read models are equal to ones folded afresh.
    let (code, said) = run(on(&stand_in.url(), &folder, &["models", "check"])).await;
    assert!(code.success() && said.contains("equal     interviews"), "{said}");
    let (code, said) = run(on(&stand_in.url(), &folder, &["doctor"])).await;
    assert!(code.success() && said.contains("event store: reached"), "{said}");
    stand_in.stop().await;
    let other = eventlog::stand_in::StandIn::start().await.expect("a port");
    is_refused(on(&other.url(), &folder, &["models", "check"]), "the read models know more").await;
}

#[cfg(not(feature = "eventstoredb"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_the_adapter_says_how_to_get_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = "esdb://127.0.0.1:2113?tls=false";
    is_refused(on(log, &folder, &["models", "check"]), "build it with --features eventstoredb")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_a_build_whose_schema_was_changed_since_is_refused_with_what_to_do() {
    let world = World::without_kafka().await;
    world.migrate().await;
    sqlx::query("update _sqlx_migrations set checksum = '\\x00' where version = 3")
        .execute(&world.pool)
        .await
        .expect("as of another build");
    let (code, said) = world.run(&["migrate"]).await;
    assert!(!code.success() && said.contains("name an empty folder or database"), "{said}");
}
