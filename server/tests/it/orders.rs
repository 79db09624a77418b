//! Small orders to an API: what a test gives when it matters that something is ordered, and not what.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Client, text};
use crate::process::Process;
use crate::world::World;

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
