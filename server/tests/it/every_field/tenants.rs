//! Another company's id looks like one that names nothing, wherever an id is taken; and no company is
//! shown an id of another, wherever one is given.

use serde_json::{Value, json};

use super::schema::{Filling, Schema, Slot, base, text};
use super::{PARKED, Things};
use crate::client::{Answer, Client};
use crate::orders::n_stored;
use crate::socket::{Item, Socket};
use crate::world::World;

/// How deep lists are looked into; every type is reached within it.
const DEPTH: usize = 4;
/// Selections that one document may have, see the edge's limits.
const FIELDS: usize = 300;

/// What an answer says, without the ids and the times in it.
fn said(answer: &Answer, field: &str, given: &str) -> Value {
    match answer {
        Ok(data) => {
            let shown = data.get(field).unwrap_or(data).clone();
            json!({ "data": shown })
        }
        Err(refused) => {
            json!({ "code": refused.code, "message": refused.message.replace(given, "…") })
        }
    }
}

/// Whether it shows nothing.
fn is_empty(said: &Value) -> bool {
    let Some(data) = said.get("data") else { return true };
    match data {
        Value::Null => true,
        Value::Array(items) => items.iter().all(Value::is_null),
        Value::Object(object) => object.get("nodes").is_some_and(|nodes| *nodes == json!([])),
        _ => false,
    }
}

async fn asked(who: &Client, operation: &str, document: &str, variables: Value) -> Answer {
    if operation != "subscription" {
        return who.try_ask(document, &variables).await.expect("an answer");
    }
    match Socket::subscribe(who, document, variables).await.expect("a connection").next().await {
        Item::End(Some(refused)) => Err(refused),
        Item::Next(item) => Ok(item),
        other => panic!("{document}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_of_another_company_looks_like_one_that_names_nothing() {
    let world = World::without_kafka().await;
    let mut all = world.start("all");
    let client = all.client().await;
    let ours = Things::make(&world, &client, "lights").await;
    let theirs = Things::make(&world, &client, "shades").await;
    world.until_projected().await;
    let schema = Schema::read(&ours.company.hr).await;
    let mut n_tried = 0;
    for (operation, root) in
        [("query", "Query"), ("mutation", "Mutation"), ("subscription", "Subscription")]
    {
        for field in schema.fields(root) {
            let name = text(field, "name");
            let slots = schema.slots(field).unwrap_or_else(|missing| panic!("{name}: {missing}"));
            for slot in slots.iter().filter(|slot| slot.names != PARKED) {
                let foreign = &ours.ids[slot.names];
                let absent = Things::absent(foreign);
                for who in [&theirs.company.admin, &theirs.company.hr] {
                    let [first, second] = [foreign, &absent].map(|id| {
                        let filling = Filling {
                            ids: &theirs.ids,
                            at: Some((slot, id)),
                            expected_version: None,
                        };
                        schema.ask(operation, field, &filling)
                    });
                    let command = first.1.pointer("/input/commandId").cloned();
                    let answer = asked(who, operation, &first.0, first.1).await;
                    let foreign_said = said(&answer, name, foreign);
                    let answer = asked(who, operation, &second.0, second.1).await;
                    let absent_said = said(&answer, name, &absent);
                    let at = place(name, slot);
                    assert_eq!(foreign_said, absent_said, "{at}");
                    assert!(is_empty(&foreign_said), "{at}: {foreign_said}");
                    if let Some(command) = command {
                        let command = command.as_str().expect("a text").parse().expect("an id");
                        assert_eq!(n_stored(&world, command).await, 0, "{at} has written");
                    }
                    println!("{:<28} {at}", text_of(&foreign_said));
                    n_tried += 1;
                }
            }
        }
    }
    // No nested field takes an id: one that does needs a rule here.
    for of in schema
        .types()
        .filter(|of| !["Query", "Mutation", "Subscription"].contains(&text(of, "name")))
    {
        for field in of["fields"].as_array().into_iter().flatten() {
            let slots = schema.slots(field);
            assert_eq!(slots, Ok(vec![]), "{}.{}", text(of, "name"), text(field, "name"));
        }
    }
    assert!(n_tried > 100, "{n_tried}");
    shows_nothing_of(&schema, &theirs, &ours).await;
    all.is_running();
}

fn place(name: &str, slot: &Slot) -> String {
    format!("{name} {}", slot.path.join("."))
}

fn text_of(said: &Value) -> &str {
    said["code"].as_str().unwrap_or("nothing")
}

/// Asks every query for all that it shows, as each of a company's people, and looks for another's ids.
async fn shows_nothing_of(schema: &Schema, who: &Things, other: &Things) {
    let company = &who.company;
    let foreign: Vec<String> = other
        .ids
        .values()
        .map(|id| id.split_once('_').map_or(id.as_str(), |(_, id)| id).replace('-', ""))
        .collect();
    let own: Vec<String> = who
        .ids
        .values()
        .map(|id| id.split_once('_').map_or(id.as_str(), |(_, id)| id).replace('-', ""))
        .collect();
    let mut n_own = 0;
    for field in schema.fields("Query") {
        let name = text(field, "name");
        let filling = Filling { ids: &who.ids, at: None, expected_version: None };
        let (document, variables) = schema.ask("query", field, &filling);
        let start = document.rfind(name).expect("its name") + name.len();
        let head = match document[start..].starts_with('(') {
            true => {
                let end = start + document[start..].find(')').expect("an end") + 1;
                document[..end].to_owned()
            }
            false => document[..start].to_owned(),
        };
        let selection = everything(schema, base(&field["type"]), DEPTH);
        let document = format!("{head} {selection} }}");
        for person in [&company.admin, &company.hr, &company.interviewer, &company.auditor] {
            let answer = person.try_ask(&document, &variables).await.expect("an answer");
            let shown = match &answer {
                Ok(data) => data.to_string(),
                Err(refused) => {
                    let known = ["AUTH_003", "INT_002", "AUTH_REQUIRED"];
                    assert!(known.contains(&refused.code.as_str()), "{document}: {refused:?}");
                    continue;
                }
            };
            let shown = shown.replace('-', "");
            for id in &foreign {
                assert!(!shown.contains(id), "{name} shows {id} of another company");
            }
            n_own += usize::from(own.iter().any(|id| shown.contains(id)));
        }
    }
    assert!(n_own > 20, "the own ids are shown by {n_own} answers");
}

/// All that a type shows without arguments, as deep as may be.
fn everything(schema: &Schema, of: &str, depth: usize) -> String {
    let mut n_left = FIELDS;
    let selection = selected(schema, of, depth, &mut n_left);
    if selection.is_empty() { String::new() } else { format!("{{ {selection} }}") }
}

fn selected(schema: &Schema, of: &str, depth: usize, n_left: &mut usize) -> String {
    let mut parts = vec![];
    for field in schema.fields(of) {
        let needs = |argument: &Value| {
            argument["type"]["kind"] == "NON_NULL" && argument["defaultValue"].is_null()
        };
        if field["args"].as_array().is_some_and(|args| args.iter().any(needs)) || *n_left == 0 {
            continue;
        }
        let inner = base(&field["type"]);
        let name = text(field, "name");
        // What is on the edges is among the nodes; a total is a number.
        if ["edges", "pageInfo"].contains(&name) {
            continue;
        }
        let is_leaf = schema.fields(inner).is_empty();
        if is_leaf && !schema.is_union(inner) {
            *n_left -= 1;
            parts.push(name.to_owned());
        } else if depth > 0 {
            let deeper = selected(schema, inner, depth - 1, n_left);
            if !deeper.is_empty() {
                parts.push(format!("{name} {{ {deeper} }}"));
            }
        }
    }
    parts.push("__typename".to_owned());
    parts.join(" ")
}

#[test]
fn a_field_whose_id_has_no_rule_is_found_out() {
    let id = json!({ "kind": "NON_NULL", "ofType": { "kind": "SCALAR", "name": "ID" } });
    let input = json!({ "kind": "INPUT_OBJECT", "name": "NewInput" });
    let types = json!([
        { "kind": "SCALAR", "name": "ID" },
        { "kind": "INPUT_OBJECT", "name": "NewInput", "inputFields": [
            { "name": "jobId", "defaultValue": null, "type": id },
            { "name": "lampId", "defaultValue": null, "type": id },
        ] },
    ]);
    let field = json!({ "name": "lightLamp", "args": [
        { "name": "input", "defaultValue": null, "type": input },
    ] });
    let missing = Schema::of(types).slots(&field).expect_err("a field without a rule");
    assert_eq!(missing, "there is no rule for the id NewInput.lampId");
}
