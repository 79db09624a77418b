//! What an analytics team has: topics without anybody's data, the worked example, exports, and a view.

use std::collections::BTreeMap;
use std::process::Command;

use domain::ids::CompanyId;
use serde_json::{Value, json};
use server::published::SCHEMAS;

use crate::client::Client;
use crate::distributed::{play, settings};
use crate::job::Company;
use crate::process::run;
use crate::published::shows_nobody;
use crate::topic;
use crate::world::{DEADLINE, World, root, until};

const PUBLIC: (&str, &str) = ("COLLOQUY_KAFKA__PUBLIC_TOPICS", "true");

/// What must not leave the product in clear.
const OF_PERSONS: [&str; 8] =
    ["Stone", "@", "Ada Admin", "Brzózkiewicz", "Pemberlow", "Ashbee", "Adewunmi", "zwieback"];

#[tokio::test(flavor = "multi_thread")]
async fn analytics_is_fed_by_topics_and_files_that_show_nobody() {
    let world = World::with_kafka().await;
    world.migrate().await;
    let _roles = ["relay", "project", "react"].map(|role| world.start_with(role, &[PUBLIC]));
    let mut serve = world.start_with("serve", &[PUBLIC]);
    let client = serve.client().await;
    play(settings(&world, client.base()), DEADLINE).await.expect("the demo passes");
    let company = Company::found(&world, &client, "northwind").await;
    hire(&company).await;
    until_published(&world).await;

    public_topics_fit_their_schemas_and_show_nobody(&world).await;
    the_example_counts_what_the_dashboard_counts(&world, &company).await;
    an_export_holds_the_whole_log(&world).await;
    the_view_has_the_columns_of_an_outbox(&world).await;
}

/// Five applications for two jobs, each at another place of the pipeline.
async fn hire(company: &Company) {
    let (first, second) = (company.open_job().await, company.open_job().await);
    let paths: [(&String, &[&str]); 5] = [
        (&first, &["SCREENING", "INTERVIEWING", "OFFERED", "HIRED"]),
        (&first, &["INTERVIEWING", "REJECTED"]),
        (&first, &[]),
        (&second, &["SCREENING"]),
        (&second, &["SCREENING", "INTERVIEWING", "OFFERED", "REJECTED"]),
    ];
    for (i, (job, path)) in paths.into_iter().enumerate() {
        let application = company.apply(job, &format!("Cand{i}")).await;
        for status in path {
            let input = json!({
                "applicationId": application, "status": status, "reason": "wants no zwieback",
            });
            let selection = "application { status }";
            company.hr.carry_out("changeApplicationStatus", input, selection).await;
        }
    }
}

/// Waits until `relay check` finds all topics complete and nothing left to publish.
async fn until_published(world: &World) {
    until("the topics hold the log", async || {
        let mut command = world.command(&["relay", "check"]);
        command.env(PUBLIC.0, PUBLIC.1);
        let (code, said) = run(command).await;
        assert!(code.success(), "{said}");
        assert!(said.contains(".public.interview.v1: complete"), "{said}");
        (!said.contains("pending")).then_some(())
    })
    .await;
}

async fn public_topics_fit_their_schemas_and_show_nobody(world: &World) {
    let schemas: BTreeMap<String, Value> = SCHEMAS
        .iter()
        .map(|(_, text)| serde_json::from_str::<Value>(text).expect("JSON"))
        .map(|schema| (schema["$id"].as_str().expect("an id").to_owned(), schema))
        .collect();
    let aggregates: Vec<String> = sqlx::query_scalar("select distinct category from es_stream")
        .fetch_all(&world.pool)
        .await
        .expect("the log can be read");
    let mut n_records = 0;
    for aggregate in aggregates {
        let stored = topic::records(world, &aggregate).await;
        let public = topic::records(world, &format!("public.{aggregate}")).await;
        assert_eq!(public.len(), stored.len(), "{aggregate}");
        for record in public.iter().chain(&stored) {
            let schema = &schemas[record.header("ce_dataschema")];
            let validator = jsonschema::validator_for(schema).expect("a schema");
            let value = serde_json::from_slice(&record.value).expect("JSON");
            assert!(validator.is_valid(&value), "{}", record.header("ce_type"));
        }
        for record in &public {
            let value = String::from_utf8(record.value.clone()).expect("UTF-8");
            shows_nobody(&format!("{:?} {value}", record.headers), &OF_PERSONS);
            let twin = stored.iter().find(|twin| twin.header("ce_id") == record.header("ce_id"));
            let twin = twin.expect("the same event");
            assert_eq!((record.partition, &record.key), (twin.partition, &twin.key));
            n_records += 1;
        }
    }
    assert!(n_records > 100, "the demo makes more than {n_records} events");
}

/// What the worked example prints for a topic.
async fn funnel(world: &World, aggregate: &str) -> Value {
    let mut command = Command::new("python3");
    command.arg(root().join("examples/analytics/funnel.py"));
    command.args(["--json", "--broker", world.bootstrap(), "--topic"]);
    command.arg(format!("{}.{aggregate}.v1", world.prefix()));
    let (code, said) = run(command).await;
    assert!(code.success(), "{said}");
    serde_json::from_str(&said).expect("JSON")
}

async fn the_example_counts_what_the_dashboard_counts(world: &World, company: &Company) {
    let counted = funnel(world, "application").await;
    assert_eq!(counted, funnel(world, "public.application").await);
    let n_logged = world.log_of("application").await.len();
    assert_eq!((&counted["events"], &counted["problems"]), (&json!(n_logged), &json!([])));

    let all = counted["funnels"].as_array().expect("funnels");
    let own = company_id(&company.admin).await;
    let own: Vec<&Value> = all.iter().filter(|funnel| funnel["company"] == own.as_str()).collect();
    assert_eq!(own.len(), 2, "two jobs: {counted:#}");
    assert!(all.len() > own.len(), "the demo's companies are there too");
    world.until_projected().await;
    let query = "{ hrDashboard { applications { status count } } }";
    let dashboard = company.admin.query(query, json!({})).await;
    let counts = dashboard["hrDashboard"]["applications"].as_array().expect("counts").clone();
    assert_eq!(counts.len(), 7);
    for count in counts {
        let status = count["status"].as_str().expect("a status");
        let n_now: u64 = own.iter().filter_map(|funnel| funnel["now"][status].as_u64()).sum();
        assert_eq!(json!(n_now), count["count"], "{status}");
    }
    let mut reached: Vec<&Value> = own.iter().map(|funnel| &funnel["reached"]).collect();
    reached.sort_by_key(|reached| reached["HIRED"].as_u64());
    assert_eq!(
        reached,
        [
            &json!({ "NEW": 2, "SCREENING": 2, "INTERVIEWING": 1, "OFFERED": 1, "HIRED": 0 }),
            &json!({ "NEW": 3, "SCREENING": 2, "INTERVIEWING": 2, "OFFERED": 1, "HIRED": 1 }),
        ]
    );
}

/// The company's id as it stands in the events.
async fn company_id(client: &Client) -> String {
    let me = client.query("{ company { id } }", json!({})).await;
    let id: CompanyId = me["company"]["id"].as_str().expect("an id").parse().expect("an id");
    id.0.to_string()
}

async fn an_export_holds_the_whole_log(world: &World) {
    world.until_told().await;
    let n_events: i64 = sqlx::query_scalar("select count(*) from es_event")
        .fetch_one(&world.pool)
        .await
        .expect("the log can be read");
    for format in ["ndjson", "parquet"] {
        let folder = world.data.path().join(format);
        let folder_name = folder.to_str().expect("a name");
        let arguments = ["events", "export", "--format", format, "--out", folder_name];
        let (code, said) =
            world.run(&[&arguments[..], &["--positions-per-file", "100"]].concat()).await;
        assert!(code.success() && said.contains(&format!("{n_events} events of")), "{said}");
        let manifest = std::fs::read_to_string(folder.join("manifest.json")).expect("a manifest");
        let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
        assert_eq!((&manifest["events"], &manifest["complete"]), (&json!(n_events), &json!(true)));
        let files = manifest["files"].as_array().expect("files");
        assert!(files.len() > 1);
        for file in files.iter().filter(|_| format == "ndjson") {
            let path = folder.join(file["name"].as_str().expect("a name"));
            let text = std::fs::read_to_string(path).expect("readable");
            shows_nobody(&text, &OF_PERSONS);
        }
    }
}

async fn the_view_has_the_columns_of_an_outbox(world: &World) {
    let columns: Vec<String> = sqlx::query_scalar(
        "select column_name::text from information_schema.columns
          where table_name = 'es_outbox' order by ordinal_position",
    )
    .fetch_all(&world.pool)
    .await
    .expect("the columns can be read");
    assert_eq!(
        columns,
        [
            "id",
            "aggregatetype",
            "aggregateid",
            "type",
            "payload",
            "timestamp",
            "tenant_id",
            "version",
            "position"
        ]
    );
    let (n_events, n_same): (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (
                where o.aggregatetype = e.category and o.aggregateid::uuid = e.stream_id
                  and o.type = 'colloquy.' || e.event_type || '.v1' and o.timestamp = e.recorded_at
                  and o.payload = convert_from(e.payload, 'UTF8')::jsonb
                  and o.tenant_id = e.tenant_id and o.version = e.version)
           from es_event e left join es_outbox o on o.id = e.event_id and o.position = e.position",
    )
    .fetch_one(&world.pool)
    .await
    .expect("the view can be read");
    assert!(n_events > 0);
    assert_eq!(n_events, n_same);
}
