//! Another company's id looks like one that names nothing, wherever an id is taken; and no company is
//! shown an id of another, wherever one is given.

use std::collections::{BTreeSet, VecDeque};

use domain::codes::Kind;
use serde_json::{Value, json};

use super::schema::{Filling, Schema, Slot, base, text};
use super::{OF_NO_COMPANY, Things};
use crate::client::{Answer, Client};
use crate::letters::APP;
use crate::orders::n_stored;
use crate::socket::{Item, Socket};
use crate::world::World;

/// How deep lists are looked into; every type is reached within it.
const DEPTH: usize = 4;
/// Where nobody who is signed in gets as far as to the company: what is asked for before says so.
const REFUSED_BEFORE: &[(&str, &str)] = &[
    ("refreshSession input.companyId", "AUTH_REQUIRED"),
    // An address that has no account, so that no company is looked at.
    ("signIn input.companyId", "AUTH_001"),
];

/// Where anybody may name any company: its id is no secret, as it stands where applicants find it.
const OPEN_TO_ALL: &[&str] = &["registerCandidateAccount input.companyId"];

/// Where what is not there has a code of its own, of its rule and not of its kind.
const NOT_THERE: &[(&str, &str)] = &[
    ("createJob input.hiringManagerId", "JOB_NO_SUCH_MANAGER"),
    ("updateMember input.managerId", "MEMBER_NO_SUCH_MANAGER"),
    ("revokeInterviewAccess input.accessId", "INT_002"),
    ("signVerdict input.scores.grounds.answerId", "VERDICT_FOREIGN_EVIDENCE"),
];

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

/// Whether the tenant check was reached: it says that nothing is there.
fn is_not_found(said: &Value) -> bool {
    match said["code"].as_str() {
        Some(code) => domain::codes::find(code).is_some_and(|entry| entry.kind == Kind::NotFound),
        None => is_empty(said),
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
    let mut all = world.start_with("all", &[("COLLOQUY_MAIL__APP_URL", APP)]);
    let client = all.client().await;
    let ours = Things::make(&world, &client, "lights").await;
    let theirs = Things::make(&world, &client, "shades").await;
    world.until_projected().await;
    let schema = Schema::read(&ours.company.hr).await;
    let mut n_tried = 0;
    let mut unreached = vec![];
    let people = [
        &theirs.company.admin,
        &theirs.company.hr,
        &theirs.company.interviewer,
        &theirs.candidate,
        &theirs.round.guest,
    ];
    for (operation, root) in
        [("query", "Query"), ("mutation", "Mutation"), ("subscription", "Subscription")]
    {
        for field in schema.fields(root) {
            let name = text(field, "name");
            let slots = schema.slots(field).unwrap_or_else(|missing| panic!("{name}: {missing}"));
            for slot in slots.iter().filter(|slot| slot.names != OF_NO_COMPANY) {
                let foreign = &ours.ids[slot.names];
                let absent = Things::absent(foreign);
                let at = place(name, slot);
                if OPEN_TO_ALL.contains(&at.as_str()) {
                    continue;
                }
                let mut found = vec![];
                for who in people {
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
                    assert_eq!(foreign_said, absent_said, "{at}");
                    assert!(is_empty(&foreign_said), "{at}: {foreign_said}");
                    if let Some(command) = command {
                        let command = command.as_str().expect("a text").parse().expect("an id");
                        assert_eq!(n_stored(&world, command).await, 0, "{at} has written");
                    }
                    println!("{:<28} {at}", text_of(&foreign_said));
                    n_tried += 1;
                    found.push(foreign_said);
                }
                let before = REFUSED_BEFORE.iter().find(|rule| rule.0 == at).map(|rule| rule.1);
                let own = NOT_THERE.iter().find(|rule| rule.0 == at).map(|rule| rule.1);
                let is_reached = match before {
                    Some(code) => found.iter().all(|said| said["code"] == code),
                    None => found.iter().any(|said| {
                        is_not_found(said) || own.is_some_and(|own| said["code"] == own)
                    }),
                };
                if !is_reached {
                    let found: Vec<_> = found.iter().map(text_of).collect();
                    unreached.push(format!("{at}: {}", found.join(", ")));
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
    assert!(n_tried > 200, "{n_tried}");
    assert!(unreached.is_empty(), "nobody was told that it is not there: {unreached:#?}");
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
    let bare = |things: &Things| -> Vec<String> {
        let bare = |id: &String| id.rsplit('_').next().map(|id| id.replace('-', ""));
        things.ids.values().filter_map(bare).collect()
    };
    let (foreign, own) = (bare(other), bare(who));
    let people = [
        &company.admin,
        &company.hr,
        &company.interviewer,
        &company.auditor,
        &who.candidate,
        &who.round.guest,
        &company.operator,
    ];
    let (mut n_own, mut shown_fields) = (0, BTreeSet::new());
    for field in schema.fields("Query") {
        let name = text(field, "name");
        let filling = Filling { ids: &who.ids, at: None, expected_version: None };
        let (document, mut variables) = schema.ask("query", field, &filling);
        if name == "interviewAccess" {
            variables["token"] = json!(who.round.token);
        }
        let start = document.rfind(name).expect("its name") + name.len();
        let head = match document[start..].starts_with('(') {
            true => &document[..=start + document[start..].find(')').expect("an end")],
            false => &document[..start],
        };
        let parts = parts(schema, base(&field["type"]));
        for person in people {
            for part in &parts {
                let document = format!("{head} {} }}", part.selection);
                let answer = person.try_ask(&document, &variables).await.expect("an answer");
                let shown = match &answer {
                    Ok(data) => data.to_string().replace('-', ""),
                    Err(refused) => match refused.code.as_str() {
                        // Such a part is reached from another query.
                        "DOCUMENT_TOO_COSTLY" => continue,
                        "AUTH_003" | "INT_002" | "AUTH_REQUIRED" => break,
                        _ => panic!("{document}: {refused:?}"),
                    },
                };
                // All companies there are, for whoever runs the platform and nobody else.
                let hidden = if name == "companies" { &[][..] } else { &foreign };
                for id in hidden {
                    assert!(!shown.contains(id), "{name} shows {id} of another company");
                }
                n_own += usize::from(own.iter().any(|id| shown.contains(id)));
                shown_fields.extend(part.fields.iter().cloned());
            }
        }
    }
    assert!(n_own > 100, "the own ids are shown by {n_own} answers");
    let all: BTreeSet<_> = all_fields(schema).into_iter().collect();
    let missed: Vec<_> = all.difference(&shown_fields).collect();
    assert!(missed.is_empty(), "nobody was shown {missed:?}");
}

/// All that one type shows without arguments, at one place of an answer.
struct Part {
    selection: String,
    /// Type and field.
    fields: Vec<(String, String)>,
}

/// What can be selected of a type without arguments. What is on the edges is among the nodes.
fn selectable<'s>(schema: &'s Schema, of: &str) -> impl Iterator<Item = &'s Value> {
    let needs = |argument: &Value| {
        argument["type"]["kind"] == "NON_NULL" && argument["defaultValue"].is_null()
    };
    schema.fields(of).iter().filter(move |field| {
        let must_be_given = field["args"].as_array().is_some_and(|args| args.iter().any(needs));
        !must_be_given && !["edges", "pageInfo"].contains(&text(field, "name"))
    })
}

/// A type and the types below it, each where it is reached first, as deep as may be.
fn parts(schema: &Schema, root: &str) -> Vec<Part> {
    let (mut parts, mut known) = (vec![], BTreeSet::from([root.to_owned()]));
    let mut queue = VecDeque::from([(root.to_owned(), Vec::<String>::new())]);
    while let Some((of, path)) = queue.pop_front() {
        let mut selected = vec!["__typename".to_owned()];
        let mut fields = vec![];
        for possible in schema.possible(&of) {
            if known.insert(possible.to_owned()) {
                let path = [path.clone(), vec![format!("... on {possible}")]].concat();
                queue.push_back((possible.to_owned(), path));
            }
        }
        for field in selectable(schema, &of) {
            let (name, inner) = (text(field, "name"), base(&field["type"]));
            fields.push((of.clone(), name.to_owned()));
            if !schema.is_composite(inner) {
                selected.push(name.to_owned());
                continue;
            }
            selected.push(format!("{name} {{ __typename }}"));
            if path.len() < DEPTH && known.insert(inner.to_owned()) {
                queue.push_back((inner.to_owned(), [path.clone(), vec![name.to_owned()]].concat()));
            }
        }
        let selection = match schema.is_composite(&of) {
            true => format!("{{ {} }}", selected.join(" ")),
            false => String::new(),
        };
        let around = |inner, outer: &String| format!("{{ {outer} {inner} }}");
        parts.push(Part { selection: path.iter().rev().fold(selection, around), fields });
    }
    parts
}

/// Each field of each type that queries show.
fn all_fields(schema: &Schema) -> Vec<(String, String)> {
    let queries = schema.fields("Query").iter();
    let mut open: Vec<&str> = queries.map(|field| base(&field["type"])).collect();
    let (mut known, mut all) = (BTreeSet::new(), vec![]);
    while let Some(of) = open.pop() {
        if !known.insert(of) || !schema.is_composite(of) {
            continue;
        }
        open.extend(schema.possible(of));
        for field in selectable(schema, of) {
            all.push((of.to_owned(), text(field, "name").to_owned()));
            open.push(base(&field["type"]));
        }
    }
    all
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
