//! Row U: an event of a version that this program does not know yet.

use domain::ids::CompanyId;
use eventlog::clock::{Clock, SystemClock};
use eventlog::envelope::{Cause, NewEvent, StreamId, Version};
use eventlog::store::postgres::{PostgresSettings, PostgresStore};
use eventlog::store::{Append, EventStore};
use serde_json::json;
use uuid::Uuid;

use crate::client::{TRANSIENT, text};
use crate::product::Product;
use crate::row::Row;
use crate::world::{World, until};

pub const ROWS: &[Row] = &[Row {
    name: "U1",
    fault: "an event of a newer version than known",
    is_short: true,
    body: |_| Box::pin(newer_than_known()),
}];

async fn newer_than_known() -> String {
    let product = Product::api().await;
    let _project = product.world.start("project");
    let load = product.load(4);
    load.until_more(20).await;
    let done = load.stop().await;
    let input = json!({ "title": "Keeper", "description": "Keeps the light." });
    let made = product.admin.carry_out("createJob", input.clone(), "job { id }").await;
    product.world.until_projected().await;
    let stream = append_newer(&product.world, &made).await;

    // Nobody decides on what they cannot read, and nothing is written.
    let mut change = input.clone();
    change["jobId"] = json!(text(&made, "/job/id"));
    let refused = product.admin.order("describeJob", change, "job { id }").await;
    let refused = refused.expect_err("the state is not known");
    let last: i64 = sqlx::query_scalar("select version from es_stream where stream_id = $1")
        .bind(stream)
        .fetch_one(&product.world.pool)
        .await
        .expect("the log can be read");
    assert_eq!(last, 2, "nothing was written");
    assert!(!TRANSIENT.contains(&refused.code.as_str()), "{refused:?}");
    let other = product.admin.carry_out("createJob", input, "job { id }").await;
    assert_eq!(other["version"], 1, "other streams go on");
    let parked = until("the stream is parked", async || {
        let (ended, said) = product.world.run(&["parked", "list"]).await;
        let line = said.lines().find(|line| line.contains("jobs.v1/"))?.to_owned();
        (ended.success() && line.contains(&stream.to_string())).then_some(line)
    })
    .await;
    let place = parked.split_whitespace().find(|word| word.starts_with("jobs.v1/"));
    let place = place.expect("a place").to_owned();
    let (ended, said) = product
        .world
        .run(&["parked", "skip", &place, "--at", "2", "--reason", "Of a prototype."])
        .await;
    assert!(ended.success(), "{said}");
    product.holds(&done).await;
    product.world.read_models_equal_their_rebuild().await;
    format!("the command was refused with {}, the stream parked, others went on", refused.code)
}

/// Appends an event of version 99 to a job's stream, as a later release would; answers the stream.
async fn append_newer(world: &World, made: &serde_json::Value) -> Uuid {
    let store = PostgresStore::start(&PostgresSettings::new(world.url.clone().into()));
    let store = store.expect("the address is one");
    let streams = "select tenant_id, stream_id, version from es_stream
                    where category = 'job' and version = $1
                    order by (select max(position) from es_event e
                               where e.stream_id = es_stream.stream_id) desc limit 1";
    let (company, id, version): (Uuid, Uuid, i64) = sqlx::query_as(streams)
        .bind(made["version"].as_i64())
        .fetch_one(&world.pool)
        .await
        .expect("the log can be read");
    let event_id = Uuid::new_v4();
    let event = NewEvent {
        event_id,
        name: "job.described".into(),
        schema_version: 99,
        occurred_at: SystemClock.now(),
        payload: b"{}".as_slice().into(),
    };
    let cause = Cause {
        command_id: event_id,
        fingerprint: vec![1; 32],
        correlation_id: event_id,
        causation_id: None,
        actor: "system:prototype".into(),
        trace_parent: None,
    };
    let append = Append {
        stream: StreamId { company: CompanyId(company), aggregate: "job".into(), id },
        expected: Version(version.unsigned_abs()),
        guards: vec![],
        claims: vec![],
        keys: vec![],
        cause,
        events: vec![event],
    };
    store.append(append).await.expect("the append is stored");
    id
}
