//! Row U: releases of the product side by side, of which one writes what the other does not know.
//!
//! The older program is today's with one event's name put out of its mind, as it was before there was
//! such an event. No event has a second version yet, so that there is nothing that a newer program would
//! bring from an older version to its own; that every sample of every version is read is a test beside
//! the contracts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use projections::model::MODELS;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Client, TRANSIENT, text};
use crate::load::Load;
use crate::orders::{append_of_another_release, stream};
use crate::process::Process;
use crate::product::Product;
use crate::row::Row;
use crate::world::{World, until};

pub const ROWS: &[Row] = &[Row {
    name: "U1",
    fault: "a program beside one that knows an event more; an event of a newer version than any knows",
    is_short: true,
    body: |_| Box::pin(newer_than_known()),
}];

async fn newer_than_known() -> String {
    let product = Product::api().await;
    let rolled_out = is_rolled_out(&product).await;
    let refused = version_is_newer(&product).await;
    product.world.read_models_equal_their_rebuild().await;
    format!("{rolled_out}; an event of version 99: {refused}, until it was left out")
}

/// The event that the older program has never heard of, and as what it stands in that program instead.
const NEW_EVENT: (&str, &str) = ("rubric_set", "rubric_xxx");

/// The older program.
fn older_program(folder: &Path) -> PathBuf {
    let (name, instead) = NEW_EVENT;
    let newer = Path::new(env!("CARGO_BIN_EXE_colloquy"));
    let older = folder.join("older-colloquy");
    let mut replace = Command::new("sed");
    replace.arg(format!("s/{name}/{instead}/g")).arg(newer).env("LC_ALL", "C");
    let replaced = replace.stdout(fs::File::create(&older).expect("a file")).status();
    assert!(replaced.is_ok_and(|ended| ended.success()), "the name is replaced");
    let compared = Command::new("cmp").arg("-s").arg(newer).arg(&older).status();
    let differ = compared.expect("cmp runs").code();
    assert_eq!(differ, Some(1), "the program has no event {name}");
    fs::set_permissions(&older, fs::Permissions::from_mode(0o755)).expect("may be run");
    older
}

/// Starts a role of another program.
fn start(program: &Path, world: &World, role: &str) -> Process {
    let newer = world.command(&[role]);
    let mut older = Command::new(program);
    older.args(newer.get_args()).stdin(Stdio::null());
    for (name, value) in newer.get_envs() {
        match value {
            Some(value) => older.env(name, value),
            None => older.env_remove(name),
        };
    }
    if let Some(folder) = newer.get_current_dir() {
        older.current_dir(folder);
    }
    Process::start(role, older, world.data.path())
}

/// The older program's API and projector, then today's beside them, then today's alone; commands are
/// given to both all the time.
async fn is_rolled_out(product: &Product) -> String {
    let world = &product.world;
    let program = older_program(world.data.path());
    let (mut serve, project) = (start(&program, world, "serve"), start(&program, world, "project"));
    let there = product.admin.with_base(&serve.client().await);
    let (load, load_there) = (product.load(2), Load::start(&there, 2));
    load.until_more(10).await;
    load_there.until_more(10).await;

    // The newer program sets a rubric for what the older one has made.
    let made = there.carry_out("createJob", described("Keeper"), "job { id }").await;
    let job = text(&made, "/job/id").to_owned();
    let dimension = json!({ "key": "watch", "label": "Keeping watch", "weight": 1.0 });
    let input = json!({ "jobId": job, "dimensions": [dimension] });
    product.admin.carry_out("setRubric", input, "job { id }").await;
    let n_parked = until_parked(world, stream(&job)).await;
    let refused = is_refused(world, &there, &job).await;
    // Who knows the event goes on with it.
    let mut change = described("Keeper of lights");
    change["jobId"] = json!(job);
    let receipt = product.admin.carry_out("describeJob", change, "job { id }").await;
    assert_eq!(receipt["version"], 3);
    other_streams_go_on(&there).await;

    let _newer_project = world.start("project");
    load.until_more(20).await;
    load_there.until_more(20).await;
    other_streams_go_on(&there).await;
    assert!(project.terminate().await.success());
    let done_there = load_there.stop().await;
    assert!(serve.terminate().await.success());
    // The newer one tries again what it finds parked when it starts. Where the older one was faster
    // with that, somebody asks once more.
    until("the newer program takes it up", async || {
        let places = parked(world, stream(&job)).await;
        for place in &places {
            world.run(&["parked", "retry", place]).await;
        }
        places.is_empty().then_some(())
    })
    .await;
    until_job_is(&product.admin, &job, "Keeper of lights").await;
    let mut done = load.stop().await;
    let (n, n_there) = (done.len(), done_there.len());
    done.extend(done_there);
    product.holds(&done).await;
    world.read_models_equal_their_rebuild().await;
    format!(
        "{n_there} commands to the older program and {n} to the newer beside it; at the new event the \
         older one refused with {refused} and parked the stream in {n_parked} read models, others went on; \
         the newer one took it up"
    )
}

/// An event of a version that nobody knows: refused, parked, left out. Answers how it was refused.
async fn version_is_newer(product: &Product) -> String {
    let world = &product.world;
    let _project = world.start("project");
    let made = product.admin.carry_out("createJob", described("Keeper"), "job { id }").await;
    let job = text(&made, "/job/id").to_owned();
    world.until_projected().await;
    let version = append_of_another_release(world, stream(&job), "job.described", 99).await;
    let refused = is_refused(world, &product.admin, &job).await;
    until_parked(world, stream(&job)).await;
    other_streams_go_on(&product.admin).await;
    let at = version.to_string();
    // Left out in one read model it is left out in all generations of it, not in the others.
    until("every read model has gone on without it", async || {
        let places = parked(world, stream(&job)).await;
        for place in &places {
            let why = ["--at", &at, "--reason", "Of a prototype."];
            // One that is about to be tried again is settled already.
            world.run(&[&["parked", "skip", place], &why[..]].concat()).await;
        }
        places.is_empty().then_some(())
    })
    .await;
    world.read_models_equal_their_rebuild().await;
    refused
}

fn described(title: &str) -> Value {
    json!({ "title": title, "description": "Keeps the light." })
}

/// Asserts that nobody decides on what they cannot read, and that nothing is written; answers the code.
async fn is_refused(world: &World, client: &Client, job: &str) -> String {
    let version = || async {
        let version: i64 = sqlx::query_scalar("select version from es_stream where stream_id = $1")
            .bind(stream(job))
            .fetch_one(&world.pool)
            .await
            .expect("the log can be read");
        version
    };
    let before = version().await;
    let mut change = described("Another");
    change["jobId"] = json!(job);
    let refused = client.order("describeJob", change, "job { id }").await;
    let refused = refused.expect_err("the state is not known");
    assert!(!TRANSIENT.contains(&refused.code.as_str()), "{refused:?}");
    assert_eq!(version().await, before, "nothing was written");
    refused.code
}

/// Asserts that a job made now through this client is shown.
async fn other_streams_go_on(client: &Client) {
    let made = client.carry_out("createJob", described("Bell-ringer"), "job { id }").await;
    until_job_is(client, text(&made, "/job/id"), "Bell-ringer").await;
}

/// Waits until the job is shown under this title.
async fn until_job_is(client: &Client, job: &str, title: &str) {
    let query = "query($id: ID!) { job(id: $id) { title } }";
    until("the job is shown as it is", async || {
        let shown = client.ask(query, json!({ "id": job })).await.ok()?;
        (shown["job"]["title"] == title).then_some(())
    })
    .await;
}

/// Where a stream is parked, as listed.
async fn parked(world: &World, stream: Uuid) -> Vec<String> {
    let (ended, said) = world.run(&["parked", "list"]).await;
    assert!(ended.success(), "{said}");
    let end = format!("/job/{stream}");
    let words = said.split_whitespace().filter(|word| word.ends_with(&end));
    words.map(str::to_owned).collect()
}

/// Waits until every read model that is made of jobs has parked the stream; answers how many these are.
async fn until_parked(world: &World, stream: Uuid) -> usize {
    let of_jobs = MODELS.iter().filter(|model| model.aggregates.contains(&"job"));
    let n_models = of_jobs.count();
    until("the stream is parked in every read model", async || {
        (parked(world, stream).await.len() == n_models).then_some(n_models)
    })
    .await
}
