//! What operators see and do while everything runs: lag, parked streams, rebuilds.

use serde_json::{Value, json};

use crate::client::{Client, text};
use crate::job::Company;
use crate::orders::{append_of_another_release, stream};
use crate::process::free_port;
use crate::world::{World, until};

const PARKED: &str = "{ parkedStreams { id consumer aggregate version error retryBy } }";
const LAG: &str =
    "{ readModelLag { model eventsBehind positionsBehind secondsBehind parkedStreams } }";

async fn parked(operator: &Client) -> Vec<Value> {
    let shown = operator.query(PARKED, json!({})).await;
    shown["parkedStreams"].as_array().expect("a list").clone()
}

/// Settles a parked stream; answers the code of the refusal, if it was one.
async fn settle(operator: &Client, mutation: &str, input: Value) -> Result<Value, String> {
    let (first, rest) = mutation.split_at(1);
    let document = format!(
        "mutation($input: {}{rest}Input!) {{ {mutation}(input: $input) \
         {{ parkedStream {{ id version }} errors {{ code message path }} }} }}",
        first.to_ascii_uppercase()
    );
    operator.ask(&document, json!({ "input": input })).await.map_err(|refused| refused.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_lag_and_settle_parked_streams_while_everything_runs() {
    let world = World::without_kafka().await;
    world.migrate().await;
    let mut all = world.start("all");
    let client = all.client().await;
    let company = Company::found(&world, &client, "lights").await;
    let job = company.open_job().await;
    world.until_projected().await;
    let operator = &company.operator;
    for document in [PARKED, LAG] {
        let refused = company.admin.ask(document, json!({})).await.expect_err("not theirs");
        assert_eq!(refused.code, "AUTH_003", "{document}");
    }
    assert_eq!(parked(operator).await, Vec::<Value>::new());

    append_of_another_release(&world, stream(&job), "job.teleported", 1).await;
    let found = until("the stream is parked", async || {
        parked(operator).await.into_iter().find(|parked| parked["consumer"] == "jobs.v1")
    })
    .await;
    assert_eq!((&found["aggregate"], &found["retryBy"]), (&json!("job"), &Value::Null));
    until("the lag counts it", async || {
        let lag = operator.query(LAG, json!({})).await;
        let jobs = lag["readModelLag"].as_array()?.iter().find(|lag| lag["model"] == "jobs")?;
        (jobs["parkedStreams"] == 1 && jobs["positionsBehind"] == 0).then_some(())
    })
    .await;
    let (_, metrics) = client.get("/metrics").await.expect("the API answers");
    for gauge in ["lag_positions", "lag_seconds", "parked_streams"] {
        let line = format!("colloquy_projection_{gauge}{{model=\"jobs\"}}");
        assert!(metrics.contains(&line), "{line}");
    }

    // Other streams go on; what comes after the event waits, and a retry does not help.
    company.open_job().await;
    let id = text(&found, "/id").to_owned();
    let tried = settle(operator, "retryParkedStream", json!({ "id": id })).await;
    assert_eq!(tried.expect("it is parked")["parkedStream"]["id"], id);
    until("it is parked again", async || {
        let again = parked(operator).await;
        again.iter().any(|parked| parked["id"] == id && parked["retryBy"].is_null()).then_some(())
    })
    .await;

    let (code, said) = world.run(&["parked", "list"]).await;
    assert!(code.success() && said.contains(&id), "{said}");
    let (code, said) = world.run(&["parked", "show", &id]).await;
    assert!(code.success() && said.contains("version"), "{said}");

    let version = found["version"].as_u64().expect("a version");
    let other = json!({ "id": id, "version": version + 1, "reason": "Another event." });
    let refused = settle(operator, "skipParkedEvent", other).await;
    assert_eq!(refused.expect_err("not what was looked at"), "PARKED_NOT_FOUND");
    let skip = |reason: &str| json!({ "id": id, "version": version, "reason": reason });
    let refused = settle(operator, "skipParkedEvent", skip(" ")).await;
    assert_eq!(refused.expect_err("no reason"), "VALIDATION_FAILED");
    settle(operator, "skipParkedEvent", skip("Of a prototype.")).await.expect("it is parked");
    until("the read model goes on", async || {
        let still = parked(operator).await;
        still.iter().all(|parked| parked["id"] != id).then_some(())
    })
    .await;
    let again = settle(operator, "skipParkedEvent", skip("Of a prototype.")).await;
    assert_eq!(again.expect_err("it is settled"), "PARKED_NOT_FOUND");

    // The same from the command line, for whoever else has parked it.
    for parked in parked(operator).await {
        let id = text(&parked, "/id");
        let at = parked["version"].to_string();
        let arguments = ["parked", "skip", id, "--at", &at, "--reason", "Of a prototype."];
        let (code, said) = world.run(&arguments).await;
        assert!(code.success(), "{said}");
    }
    until("nothing is parked", async || parked(operator).await.is_empty().then_some(())).await;
    world.read_models_equal_their_rebuild().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_models_are_rebuilt_by_command_beside_a_running_program() {
    let world = World::without_kafka().await;
    world.migrate().await;
    let mut all = world.start("all");
    let client = all.client().await;
    let company = Company::found(&world, &client, "lights").await;
    let job = company.open_job().await;
    world.until_projected().await;

    let (code, said) = world.run(&["rebuild", "all"]).await;
    assert!(code.success(), "{said}");
    let equal = said.lines().filter(|line| line.ends_with("equal")).count();
    assert_eq!(equal, projections::model::MODELS.len(), "{said}");
    let (code, said) = world.run(&["rebuild", "nothing"]).await;
    assert!(!code.success() && said.contains("no read model nothing"), "{said}");

    // The program follows the new generations and keeps the old ones up.
    let title = async || {
        let shown =
            company.hr.query("query($id: ID!) { job(id: $id) { title } }", json!({ "id": job }));
        text(&shown.await, "/job/title").to_owned()
    };
    let rename = async |to: &str| {
        let input = json!({ "jobId": job, "title": to, "description": "Keeps the light." });
        company.hr.carry_out("describeJob", input, "job { id }").await;
        world.until_projected().await;
        assert_eq!(title().await, to);
    };
    rename("Keeper of lights").await;
    let (code, said) = world.run(&["rebuild", "--back", "jobs"]).await;
    assert!(code.success() && said.contains("generation 1 is live"), "{said}");
    assert_eq!(title().await, "Keeper of lights");
    rename("Keeper of fog-horns").await;
    let (code, said) = world.run(&["rebuild", "--drop-old", "jobs"]).await;
    assert!(code.success() && said.contains("1 generations dropped"), "{said}");
    let (code, said) = world.run(&["rebuild", "--back", "jobs"]).await;
    assert!(!code.success() && said.contains("no earlier generation"), "{said}");
    world.read_models_equal_their_rebuild().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_measured_is_told_at_an_address_of_its_own_by_every_role() {
    let world = World::without_kafka().await;
    world.migrate().await;
    let (of_serve, of_project) = (address_of(free_port()), address_of(free_port()));
    let listens = "COLLOQUY_HTTP__METRICS_LISTEN";
    let settings = [(listens, of_serve.as_str()), ("COLLOQUY_HTTP__EXPLORER", "false")];
    let mut serve = world.start_with("serve", &settings);
    let _project = world.start_with("project", &[(listens, of_project.as_str())]);
    let client = serve.client().await;
    for path in ["/metrics", "/graphiql"] {
        assert_eq!(client.get(path).await.expect("an answer").0, 404, "{path}");
    }
    for (address, measured) in
        [(of_serve, "colloquy_projection_lag_positions"), (of_project, "colloquy_")]
    {
        until("it is told", async || {
            let answer = reqwest::get(format!("http://{address}/metrics")).await.ok()?;
            let text = answer.text().await.ok()?;
            text.contains(measured).then_some(())
        })
        .await;
    }
}

fn address_of(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
