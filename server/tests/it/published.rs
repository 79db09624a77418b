//! What consumers of the events rely on: golden samples, schemas that only grow, the AsyncAPI document,
//! and all of it over HTTP.

use std::collections::BTreeMap;

use domain::schema;
use eventlog::kafka::message::Record;
use eventlog::kafka::topics;
use reqwest::header;
use serde_json::{Map, Value, json};
use server::contracts;
use server::published::asyncapi::{Names, document};
use server::published::{SCHEMAS, released};

use crate::contracts::{event_files, files_in, schema_file};
use crate::world::{World, root};

fn is_sample(file: &str) -> bool {
    file.ends_with(".sample.json")
}

/// What a schema refers to, or the schema itself.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(target) => {
            let target = root.pointer(target.trim_start_matches('#'));
            resolve(target.expect("a definition"), root)
        }
        None => schema,
    }
}

/// Calls `see` with each member that the schema names, and the values that the samples have there.
fn members(
    schema: &Value,
    root: &Value,
    values: &[&Value],
    path: &str,
    see: &mut impl FnMut(&str, bool, &[&Value]),
) {
    let schema = resolve(schema, root);
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let found: Vec<&Value> =
            values.iter().map(|value| &value[name]).filter(|value| !value.is_null()).collect();
        let path = format!("{path}/{name}");
        see(&path, required.contains(&json!(name)), &found);
        members(property, root, &found, &path, see);
    }
    if schema["items"].is_object() {
        let items: Vec<&Value> =
            values.iter().filter_map(|value| value.as_array()).flatten().collect();
        members(&schema["items"], root, &items, &format!("{path}/*"), see);
    }
    for keyword in ["anyOf", "oneOf"] {
        for branch in schema[keyword].as_array().into_iter().flatten() {
            // Values that say by a constant that they are of another branch are not of this one.
            let shape = resolve(branch, root);
            let fits = |value: &&&Value| {
                shape["properties"].as_object().into_iter().flatten().all(|(name, property)| {
                    property.get("const").is_none_or(|constant| value[name] == *constant)
                })
            };
            let of_branch: Vec<&Value> = values.iter().filter(fits).copied().collect();
            members(branch, root, &of_branch, path, see);
        }
    }
}

#[test]
fn the_samples_of_each_version_show_every_member_and_the_least_there_is() {
    let files = event_files();
    let mut n_members = 0;
    for (file, schema) in files.iter().filter(|(file, _)| !is_sample(file)) {
        let samples: BTreeMap<&String, &Value> = files
            .iter()
            .filter(|(sample, _)| is_sample(sample) && schema_file(sample) == *file)
            .map(|(sample, record)| (sample, &record["value"]))
            .collect();
        assert!(!samples.is_empty(), "{file} has no sample");
        let values: Vec<&Value> = samples.values().copied().collect();
        let mut is_least = true;
        members(schema, schema, &values, "", &mut |path, _, found| {
            n_members += 1;
            assert!(!found.is_empty(), "no sample of {file} shows {path}");
        });
        let least = file.replace(".json", ".minimal.sample.json");
        let least = samples.get(&least).copied().unwrap_or(values[0]);
        members(schema, schema, &[least], "", &mut |_, is_required, found| {
            is_least &= is_required || found.is_empty();
        });
        assert!(is_least, "no sample of {file} has only what is required");
    }
    assert!(n_members > 150, "the schemas were not walked through: {n_members}");
}

/// Closes every object, so that a member that no schema names does not fit.
fn closed(schema: &Value) -> Value {
    match schema {
        Value::Object(object) => {
            let mut closed: Map<String, Value> = object
                .iter()
                .map(|(name, child)| (name.clone(), closed_child(name, child)))
                .collect();
            if object.get("type") == Some(&json!("object")) {
                closed.entry("additionalProperties").or_insert(json!(false));
            }
            Value::Object(closed)
        }
        Value::Array(items) => items.iter().map(closed).collect(),
        other => other.clone(),
    }
}

fn closed_child(name: &str, child: &Value) -> Value {
    match (name, child) {
        // Names of members, and not keywords.
        ("properties" | "$defs", Value::Object(members)) => {
            members.iter().map(|(name, schema)| (name.clone(), closed(schema))).collect()
        }
        _ => closed(child),
    }
}

/// Asserts that nothing of a person, sealed or clear, stands in the text of a public record.
pub fn shows_nobody(record: &str, names: &[&str]) {
    for part in
        ["ciphertext", "\"commitment\"", "\"nonce\"", "$personal", "ce_fingerprint", "traceparent"]
    {
        assert!(!record.contains(part), "{part} in {record}");
    }
    for name in names {
        assert!(!record.contains(name), "{name} in {record}");
    }
}

#[test]
fn public_samples_hold_what_their_schema_names_and_nothing_of_a_person() {
    let files = files_in("public");
    let stored = event_files();
    let mut n_samples = 0;
    for (file, sample) in files.iter().filter(|(file, _)| is_sample(file)) {
        n_samples += 1;
        let schema = &files[&schema_file(file)];
        let validator = jsonschema::validator_for(&closed(schema)).expect("a schema");
        let problems: Vec<_> =
            validator.iter_errors(&sample["value"]).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{file}: {problems:?}");
        assert_eq!(sample["headers"]["ce_dataschema"], schema["$id"], "{file}");
        shows_nobody(
            &sample.to_string(),
            &["Mira", "Okafor", "Lindqvist", "ada.", "idempotent", "@"],
        );
        assert_eq!(sample["headers"]["ce_hash"], stored[file]["headers"]["ce_hash"], "{file}");
    }
    assert_eq!(n_samples, stored.keys().filter(|file| is_sample(file)).count());
}

/// Every stored schema that seals something, by file, with the number of places.
#[test]
fn no_public_schema_knows_of_anything_sealed() {
    let sealed =
        event_files().iter().filter(|(_, schema)| schema["$defs"].get("Sealed").is_some()).count();
    assert!(sealed > 15, "the stored schemas seal too little: {sealed}");
    for (file, schema) in files_in("public").iter().filter(|(file, _)| !is_sample(file)) {
        assert!(!schema.to_string().contains("\"#/$defs/Sealed\""), "{file}");
        assert!(schema["$defs"].get("Sealed").is_none(), "{file}");
    }
}

#[test]
fn no_event_breaks_a_consumer_of_a_released_schema() {
    let folder = root().join("schemas");
    let history = released::history(&folder).expect("readable");
    assert!(!history.is_empty(), "nothing was released");
    let broken = released::broken(&folder, &contracts::files().expect("generated"));
    assert_eq!(broken.expect("readable"), Vec::<String>::new());
}

#[test]
fn samples_of_every_release_fit_the_schemas_of_every_other() {
    let history = released::history(&root().join("schemas")).expect("readable");
    let mut schemas: Vec<(String, Value)> =
        history.into_iter().flat_map(|release| release.schemas).collect();
    let mut n_fitted = 0;
    for part in ["", "public/"] {
        let files = files_in(part);
        schemas
            .extend(files.iter().map(|(file, schema)| (format!("{part}{file}"), schema.clone())));
        for (file, sample) in files.iter().filter(|(file, _)| is_sample(file)) {
            let wanted = format!("{part}{}", schema_file(file));
            for (_, schema) in schemas.iter().filter(|(file, _)| *file == wanted) {
                let validator = jsonschema::validator_for(schema).expect("a schema");
                assert!(validator.is_valid(&sample["value"]), "{file} does not fit {wanted}");
                n_fitted += 1;
            }
        }
    }
    assert!(n_fitted > 300, "too few were compared: {n_fitted}");
}

#[tokio::test]
async fn a_breaking_change_cannot_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = async || {
        let mut command = crate::process::colloquy();
        command.args(["schema", "--release", "9.0.0", "--folder"]).arg(folder.path());
        crate::process::run(command).await
    };
    std::fs::create_dir_all(folder.path().join("released")).expect("a folder");
    let (file, mut schema) =
        ("interview.started.v1.json", event_files()["interview.started.v1.json"].clone());
    schema["properties"]["weather"] = json!({ "type": "string" });
    let release = json!({ "release": "1.0.0", "schemas": { file: schema }, "samples": {} });
    let path = folder.path().join("released/1.0.0.json");
    std::fs::write(&path, release.to_string()).expect("written");
    let (code, said) = run().await;
    assert!(
        !code.success() && said.contains(&format!("{file} /: member `weather` is gone")),
        "{said}"
    );
    assert!(!folder.path().join("events").exists(), "something was written");

    std::fs::remove_file(path).expect("removed");
    let (code, said) = run().await;
    assert!(code.success(), "{said}");
    let released = released::history(folder.path()).expect("readable");
    assert_eq!(released[0].schemas.len(), SCHEMAS.len());
}

/// Every reference in a document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|child| references(child, found));
        }
        Value::Array(items) => items.iter().for_each(|child| references(child, found)),
        _ => {}
    }
}

#[test]
fn the_document_names_every_topic_and_each_of_its_references_leads_somewhere() {
    let document = document(&Names::committed());
    let mut found = vec![];
    references(&document, &mut found);
    for reference in found {
        let leads = match reference.strip_prefix('#') {
            Some(pointer) => document.pointer(pointer).is_some(),
            None => root().join("schemas").join(reference).is_file(),
        };
        assert!(leads, "{reference} leads nowhere");
    }
    let channels = document["channels"].as_object().expect("channels");
    let mut addresses: Vec<&str> =
        channels.values().map(|channel| channel["address"].as_str().expect("an address")).collect();
    let mut names: Vec<String> =
        topics::published(true).iter().map(|topic| topic.name("colloquy")).collect();
    addresses.sort_unstable();
    names.sort_unstable();
    assert_eq!(addresses, names);
    let messages = document["components"]["messages"].as_object().expect("messages");
    assert_eq!(messages.len(), SCHEMAS.len());
}

#[test]
fn headers_of_every_sample_fit_the_document() {
    let document = document(&Names::committed());
    let messages = document["components"]["messages"].as_object().expect("messages");
    let mut n_samples = 0;
    for part in ["", "public"] {
        for (file, sample) in files_in(part).iter().filter(|(file, _)| is_sample(file)) {
            let name = &sample["headers"]["ce_type"];
            let message = messages.values().find(|message| message["name"] == *name);
            let mut schema =
                message.unwrap_or_else(|| panic!("{name} is no message"))["headers"].clone();
            schema["components"] = document["components"].clone();
            let validator = jsonschema::draft7::new(&schema).expect("a schema");
            let problems: Vec<_> =
                validator.iter_errors(&sample["headers"]).map(|error| error.to_string()).collect();
            assert!(problems.is_empty(), "{file}: {problems:?}");
            let mut lacking = sample["headers"].clone();
            lacking.as_object_mut().expect("headers").remove("ce_position");
            assert!(!validator.is_valid(&lacking), "{file} needs no position");
            n_samples += 1;
        }
    }
    assert!(n_samples > 120, "{n_samples}");
}

fn etag(answer: &reqwest::Response) -> &str {
    answer.headers()[header::ETAG].to_str().expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_schema_is_served_at_its_id_and_may_be_kept_for_ever() {
    let world = World::without_kafka().await;
    let base = "https://contracts.northwind.example/a/events";
    let settings = [("COLLOQUY_KAFKA__SCHEMA_BASE", base), ("COLLOQUY_KAFKA__PREFIX", "north")];
    let mut serve = world.start_with("serve", &settings);
    let here = serve.client().await.base().to_owned();
    let http = reqwest::Client::new();
    let at_home = |id: &str| id.replace("https://contracts.northwind.example", &here);

    for (file, committed) in SCHEMAS {
        let id = format!("{base}/{file}");
        let answer = http.get(at_home(&id)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{id}");
        let header = |name| answer.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(header(header::CONTENT_TYPE), "application/schema+json");
        assert_eq!(header(header::CACHE_CONTROL), "public, max-age=31536000, immutable");
        let tag = header(header::ETAG);
        let schema: Value = answer.json().await.expect("JSON");
        let mut expected: Value = serde_json::from_str(committed).expect("JSON");
        expected["$id"] = json!(id);
        assert_eq!(schema, expected);
        let again = http.get(at_home(&id)).header(header::IF_NONE_MATCH, &tag);
        let again = again.send().await.expect("an answer");
        assert_eq!((again.status().as_u16(), &*tag), (304, etag(&again)));
        let other = http.get(at_home(&id)).header(header::IF_NONE_MATCH, "\"other\"");
        assert_eq!(other.send().await.expect("an answer").status(), 200);
    }
    for sample in contracts::samples().expect("samples") {
        for record in [Record::of(&sample.stored, base), Record::public(&sample.stored, base)] {
            let id = record.header("ce_dataschema").expect("a schema");
            let schema: Value =
                http.get(at_home(id)).send().await.expect("an answer").json().await.expect("JSON");
            assert_eq!(schema["$id"], id);
        }
    }
    for nothing in ["x.v1.json", "interview.started.v9.json", "public/x", "..%2Fasyncapi.json"] {
        let answer = http.get(format!("{here}/a/events/{nothing}")).send().await;
        assert_eq!(answer.expect("an answer").status(), 404, "{nothing}");
    }
    let answer = http.get(format!("{here}/asyncapi.json")).send().await.expect("an answer");
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "public, no-cache");
    let document: Value = answer.json().await.expect("JSON");
    assert_eq!(document["channels"]["interview"]["address"], "north.interview.v1");
    assert!(document["channels"].get("public.interview").is_none(), "there are no public topics");
    let mut found = vec![];
    references(&document, &mut found);
    let remote: Vec<_> = found.iter().filter(|reference| !reference.starts_with('#')).collect();
    assert_eq!(remote.len(), schema::names().len());
    for id in remote {
        assert_eq!(http.get(at_home(id)).send().await.expect("an answer").status(), 200, "{id}");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_served_stops_the_start() {
    let world = World::without_kafka().await;
    let mut command = world.command(&["serve"]);
    command.env("COLLOQUY_KAFKA__SCHEMA_BASE", "schemas/{events}");
    let (code, said) = crate::process::run(command).await;
    assert!(!code.success() && said.contains("kafka.schema_base"), "{said}");
}
