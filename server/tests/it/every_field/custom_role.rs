//! A custom role at each field: it opens what its rights open, and nothing once it is gone.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::Things;
use super::roles::{ENDS_SESSIONS, NO_VERSION, outcome};
use super::schema::{Filling, Schema, text};
use crate::client::{Client, text as at};
use crate::letters::APP;
use crate::world::{World, until};

/// The fields that take a password: asked so often with a wrong one, they are locked.
const TAKES_PASSWORD: [&str; 3] = ["beginSecondFactor", "changePassword", "removeSecondFactor"];

/// What each query and each mutation comes to for this person, without how many items a list has.
async fn outcomes(schema: &Schema, things: &Things, who: &Client) -> BTreeMap<String, String> {
    let mut outcomes = BTreeMap::new();
    for (operation, root) in [("query", "Query"), ("mutation", "Mutation")] {
        for field in schema.fields(root) {
            let name = text(field, "name");
            if ENDS_SESSIONS.contains(&name) || TAKES_PASSWORD.contains(&name) {
                continue;
            }
            let filling =
                Filling { ids: &things.ids, at: None, expected_version: Some(NO_VERSION) };
            let (document, variables) = schema.ask(operation, field, &filling);
            let answer = who.try_ask(&document, &variables).await.expect("an answer");
            let found = outcome(&answer, name);
            let found = found.split(' ').next().unwrap_or_default().to_owned();
            outcomes.insert(name.to_owned(), found);
        }
    }
    outcomes
}

/// The reaches of a right as the person's `viewer` has them.
async fn reaches(who: &Client, right: &str) -> Option<Value> {
    let document = "{ viewer { ... on MemberViewer { permissions { right reaches } } } }";
    let viewer = who.query(document, json!({})).await;
    let permissions = viewer["viewer"]["permissions"].as_array().expect("permissions");
    let found = permissions.iter().find(|permission| permission["right"] == right);
    found.map(|permission| permission["reaches"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_role_opens_the_fields_of_its_rights_and_closes_them_with_itself() {
    let world = World::without_kafka().await;
    let mut all = world.start_with("all", &[("COLLOQUY_MAIL__APP_URL", APP)]);
    let client = all.client().await;
    let things = Things::make(&world, &client, "lights").await;
    let company = &things.company;
    world.until_projected().await;
    let schema = Schema::read(&company.hr).await;
    let viewer = &company.viewer;
    let before = outcomes(&schema, &things, viewer).await;

    let permission = |right: &str, reaches: &[&str]| json!({ "right": right, "reaches": reaches });
    let input = json!({ "name": "Bar raiser", "permissions": [
        // Everywhere, of what a viewer has not.
        permission("READ_HISTORY", &["ALL"]),
        permission("SIGN_VERDICT", &["ALL"]),
        // Jobs of the own, and none of anybody else's, whose are all that there are.
        permission("WRITE_JOB", &["OWN_JOBS"]),
        permission("CHANGE_APPLICATION_STATUS", &["ASSIGNED"]),
        permission("SCHEDULE_INTERVIEW", &["OWN_JOBS"]),
        // What a viewer may do anyway.
        permission("READ_JOB", &["ALL"]),
        permission("READ_INTERVIEW", &["ASSIGNED", "OWN_JOBS"]),
    ] });
    let role = company.admin.carry_out("createRole", input, "role { id }").await;
    let role = at(&role, "/role/id");
    let id = viewer.query("{ viewer { ... on MemberViewer { id } } }", json!({})).await;
    let id = at(&id, "/viewer/id");
    let assign = json!({ "memberId": id, "roleId": role });
    let selection = "member { role customRole { id name permissions { right reaches } } }";
    let assigned = company.admin.carry_out("assignCustomRole", assign, selection).await;
    assert_eq!(assigned["member"]["role"], "VIEWER");
    assert_eq!(assigned["member"]["customRole"]["name"], "Bar raiser");
    let signs = json!({ "right": "SIGN_VERDICT", "reaches": ["ALL"] });
    let permissions = assigned["member"]["customRole"]["permissions"].as_array();
    assert!(permissions.is_some_and(|all| all.len() == 7 && all.contains(&signs)), "{assigned}");
    until("the role is in force", async || reaches(viewer, "SIGN_VERDICT").await).await;
    let both = reaches(viewer, "READ_INTERVIEW").await;
    assert_eq!(both, Some(json!(["ALL", "ASSIGNED", "OWN_JOBS"])));
    let list = "query($roles: [ID!], $cursor: [String!]) {
        members(filter: { customRoleIds: $roles }, consistentWith: $cursor) {
            totalCount nodes { id } } }";
    let variables = json!({ "roles": [role], "cursor": [assigned["cursor"]] });
    let who = company.hr.query(list, variables).await;
    assert_eq!(who["members"], json!({ "totalCount": 1, "nodes": [{ "id": id }] }));

    let with = outcomes(&schema, &things, viewer).await;
    let mut opened = String::new();
    for (field, outcome) in before.iter().filter(|(field, was)| with[*field] != **was) {
        let _ = writeln!(opened, "{field:<28} {outcome:<20} {}", with[field]);
    }
    insta::assert_snapshot!(opened);

    let removed = company.admin.carry_out("removeRole", json!({ "roleId": role }), "role { id }");
    assert_eq!(removed.await["role"], Value::Null);
    until("the role is gone", async || {
        reaches(viewer, "SIGN_VERDICT").await.is_none().then_some(())
    })
    .await;
    assert_eq!(outcomes(&schema, &things, viewer).await, before);
    world.until_projected().await;
    let member = "query($id: ID!) { member(id: $id) { customRole { id } } roles { name } }";
    let shown = company.hr.query(member, json!({ "id": id })).await;
    assert_eq!(
        shown,
        json!({ "member": { "customRole": null }, "roles": [{ "name": "Historian" }] })
    );
    // It cannot be given to anybody any more.
    let again = json!({ "memberId": id, "roleId": role });
    let again = company.admin.order("assignCustomRole", again, "member { id }").await;
    assert_eq!(again.expect_err("the role is gone").code, "ROLE_NOT_FOUND");
    all.is_running();
}
