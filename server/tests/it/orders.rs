//! Small orders to an API: what a test gives when it matters that something is ordered, and not what.

use domain::ids::CompanyId;
use eventlog::clock::{Clock, SystemClock};
use eventlog::envelope::{Cause, NewEvent, StreamId, Version};
use eventlog::store::postgres::{PostgresSettings, PostgresStore};
use eventlog::store::{Append, EventStore};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Client, text};
use crate::process::Process;
use crate::world::{World, until};

/// Address and password of the administrator.
pub const ADMINISTRATOR: (&str, &str) = ("ada@lights.example", "Lights-on-7!");

/// An administrator who can give orders, and nothing but the API running.
pub async fn administrator(world: &World, serve: &mut Process) -> Client {
    let client = serve.client().await;
    let (email, password) = world.operator();
    let operator = client.enter("signIn", json!({ "email": email, "password": password })).await;
    let input = json!({
        "name": "Lighthouses", "adminEmail": ADMINISTRATOR.0, "adminFullName": "Ada Admin",
    });
    let made = operator.carry_out("registerCompany", input, "invitationToken").await;
    let token = text(&made, "/invitationToken");
    client.enter("acceptInvitation", json!({ "token": token, "password": ADMINISTRATOR.1 })).await
}

/// An order with its id, for whoever repeats it.
pub fn order() -> (Uuid, Value) {
    let id = Uuid::new_v4();
    (id, json!({ "commandId": id, "title": "Keeper", "description": "Keeps the light." }))
}

/// How many events an order has in the log.
pub async fn n_stored(world: &World, command: Uuid) -> i64 {
    let count = sqlx::query_scalar("select count(*) from es_event where command_id = $1");
    count.bind(command).fetch_one(&world.pool).await.expect("the log can be read")
}

/// The id of the stream behind an id of the API, such as `job_…`.
pub fn stream(id: &str) -> Uuid {
    let (_, id) = id.split_once('_').expect("a global id");
    id.parse().expect("an id")
}

/// The lock that every append takes, see `es_lock_order`.
pub const LOG_ORDER: i64 = 7_305_808_870_195_457_906;

/// Waits until a transaction stands still for an advisory lock of this number, which the test has.
pub async fn until_lock_is_waited_for(world: &World, number: i64) {
    until("a transaction waits for a lock", async || {
        let n_waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_locks l join pg_stat_activity a using (pid)
              where l.locktype = 'advisory' and not l.granted and a.datname = current_database()
                and (l.classid::bigint << 32 | l.objid::bigint) = $1",
        )
        .bind(number)
        .fetch_one(&world.pool)
        .await
        .expect("the locks can be read");
        (n_waiting > 0).then_some(())
    })
    .await;
}

/// Appends an event to a job's stream as another release would that has more events or more versions
/// of them; answers the event's version in the stream.
pub async fn append_of_another_release(
    world: &World,
    job: Uuid,
    name: &'static str,
    schema_version: u16,
) -> i64 {
    let store = PostgresStore::start(&PostgresSettings::new(world.url.clone().into()));
    let store = store.expect("the address is one");
    let (company, version): (Uuid, i64) = sqlx::query_as(
        "select tenant_id, version from es_stream where category = 'job' and stream_id = $1",
    )
    .bind(job)
    .fetch_one(&world.pool)
    .await
    .expect("the log can be read");
    let event_id = Uuid::new_v4();
    let event = NewEvent {
        event_id,
        name: name.into(),
        schema_version,
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
        stream: StreamId { company: CompanyId(company), aggregate: "job".into(), id: job },
        expected: Version(version.unsigned_abs()),
        guards: vec![],
        claims: vec![],
        keys: vec![],
        cause,
        events: vec![event],
    };
    store.append(append).await.expect("the append is stored");
    version + 1
}
