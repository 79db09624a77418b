//! The JSON Schemas of stored events: one for the payload of each event, as it stands in the log and
//! on a topic. Taken from the event types, so that no schema can differ from what is written.

use std::collections::BTreeSet;

use schemars::Schema;
use serde_json::{Map, Value, json};

use crate::event::{Event, current_version, schemas};

/// Where the schemas are published; `ce_dataschema` of a topic's records begins with it.
pub const BASE: &str = "https://schemas.colloquy.dev/events";

/// Every stored event as (aggregate, type), by aggregate in the order of the stored names.
#[must_use]
pub fn names() -> Vec<(&'static str, String)> {
    let mut names = vec![];
    for (aggregate, schema) in schemas() {
        let kinds = variants(&schema).iter().filter_map(|v| kind(v)).map(str::to_owned);
        names.extend(kinds.map(|kind| (aggregate, kind)));
    }
    names
}

/// The stored name of an event, such as `interview.answer_recorded`.
#[must_use]
pub fn stored_name(event: &Event) -> String {
    let tagged = event.serialize_tagged(serde_json::value::Serializer).unwrap_or_default();
    let kind = tagged.get("type").and_then(Value::as_str).unwrap_or_default();
    format!("{}.{kind}", event.aggregate())
}

/// The file in which the schema of an event is published, such as `interview.started.v1.json`.
#[must_use]
pub fn file_name(name: &str) -> String {
    format!("{name}.v{}.json", current_version(name))
}

/// The JSON Schema (2020-12) of the payload of `<aggregate>.<kind>` in its current version; `None`
/// where there is no such event. Personal fields appear in their sealed form.
#[must_use]
pub fn stored_schema(aggregate: &str, kind: &str) -> Option<Value> {
    let (_, schema) = schemas().into_iter().find(|(name, _)| *name == aggregate)?;
    let variant = variants(&schema).iter().find(|v| self::kind(v) == Some(kind))?;
    let data = variant.pointer("/properties/data").cloned().unwrap_or_else(|| json!({}));
    let defs = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let Value::Object(data) = inline(data, &defs) else {
        return None;
    };
    let mut needed = BTreeSet::new();
    data.values().for_each(|value| references(value, &defs, &mut needed));
    let name = format!("{aggregate}.{kind}");
    let mut stored = Map::new();
    stored.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    stored.insert("$id".into(), json!(format!("{BASE}/{}", file_name(&name))));
    stored.insert("title".into(), json!(name));
    stored.extend(data);
    // What happened, not what the content is: that stands at the fields.
    if let Some(description) = variant.get("description") {
        stored.insert("description".into(), description.clone());
    }
    let defs: Map<_, _> = defs.into_iter().filter(|(name, _)| needed.contains(name)).collect();
    if !defs.is_empty() {
        stored.insert("$defs".into(), Value::Object(defs));
    }
    Some(Value::Object(stored))
}

/// The JSON Schema of an event as the public topics and exports show it: the stored one without every
/// member that is sealed. `None` for what is no stored schema.
#[must_use]
pub fn public_schema(stored: &Value) -> Option<Value> {
    let defs = stored.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let sealed = sealed_definitions(&defs);
    let open_defs: Map<String, Value> = defs
        .iter()
        .filter_map(|(name, definition)| Some((name.clone(), open(definition, &sealed)?)))
        .collect();
    let Value::Object(mut public) = open(stored, &sealed)? else {
        return None;
    };
    let id = stored.get("$id")?.as_str()?.rsplit_once('/')?;
    public.insert("$id".into(), json!(format!("{}/public/{}", id.0, id.1)));
    public.insert("title".into(), json!(format!("public {}", stored.get("title")?.as_str()?)));
    public.remove("$defs");
    let mut needed = BTreeSet::new();
    public.values().for_each(|value| references(value, &open_defs, &mut needed));
    let kept: Map<_, _> = open_defs.into_iter().filter(|(name, _)| needed.contains(name)).collect();
    if !kept.is_empty() {
        public.insert("$defs".into(), Value::Object(kept));
    }
    Some(Value::Object(public))
}

/// Name of the definition of every sealed member.
const SEALED: &str = "Sealed";

/// Names of the definitions that admit nothing but what is sealed.
fn sealed_definitions(defs: &Map<String, Value>) -> BTreeSet<String> {
    let mut sealed = BTreeSet::from([SEALED.to_owned()]);
    loop {
        let more: Vec<String> = defs
            .iter()
            .filter(|(name, value)| !sealed.contains(*name) && open(value, &sealed).is_none())
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            return sealed;
        }
        sealed.extend(more);
    }
}

/// The schema without what is sealed; `None` where nothing else is left.
fn open(schema: &Value, sealed: &BTreeSet<String>) -> Option<Value> {
    let Value::Object(schema) = schema else {
        return Some(schema.clone());
    };
    let mut left = schema.clone();
    let target = schema.get("$ref").and_then(Value::as_str);
    if target.and_then(|r| r.strip_prefix("#/$defs/")).is_some_and(|name| sealed.contains(name)) {
        return None;
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(branches) = schema.get(keyword).and_then(Value::as_array) {
            let kept: Vec<Value> = branches.iter().filter_map(|b| open(b, sealed)).collect();
            let is_null = |branch: &Value| branch.get("type") == Some(&json!("null"));
            if kept.len() < branches.len() && kept.iter().all(is_null) {
                return None;
            }
            left.insert(keyword.into(), Value::Array(kept));
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(keyword) {
            left.insert(keyword.into(), open(inner, sealed)?);
        }
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let kept: Map<String, Value> = properties
            .iter()
            .filter_map(|(name, property)| Some((name.clone(), open(property, sealed)?)))
            .collect();
        if let Some(required) = schema.get("required").and_then(Value::as_array) {
            let stays = |name: &&Value| name.as_str().is_some_and(|name| kept.contains_key(name));
            let required: Vec<Value> = required.iter().filter(stays).cloned().collect();
            left.insert("required".into(), Value::Array(required));
        }
        left.insert("properties".into(), Value::Object(kept));
    }
    Some(Value::Object(left))
}

fn variants(schema: &Schema) -> &[Value] {
    schema.get("oneOf").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn kind(variant: &Value) -> Option<&str> {
    variant.pointer("/properties/type/const").and_then(Value::as_str)
}

/// A payload that is nothing but a reference is replaced by what it refers to.
fn inline(data: Value, defs: &Map<String, Value>) -> Value {
    let target = data.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
    target.and_then(|name| defs.get(name).cloned()).unwrap_or(data)
}

/// Collects the names of all definitions that `value` needs, directly or through others.
fn references(value: &Value, defs: &Map<String, Value>, needed: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            let target = object.get("$ref").and_then(Value::as_str);
            if let Some(name) = target.and_then(|r| r.strip_prefix("#/$defs/"))
                && needed.insert(name.to_owned())
                && let Some(definition) = defs.get(name)
            {
                references(definition, defs, needed);
            }
            object.values().for_each(|child| references(child, defs, needed));
        }
        Value::Array(array) => array.iter().for_each(|child| references(child, defs, needed)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_says_where_it_lives_and_what_happened() {
        let schema = stored_schema("interview", "answer_recorded").expect("there is such an event");
        assert_eq!(
            schema["$id"],
            "https://schemas.colloquy.dev/events/interview.answer_recorded.v1.json"
        );
        assert_eq!(schema["title"], "interview.answer_recorded");
        assert_eq!(schema["description"], "The candidate answered.");
        assert_eq!(schema["properties"]["text"]["$ref"], "#/$defs/Sealed");
        let defs: Vec<_> =
            schema["$defs"].as_object().expect("definitions").keys().cloned().collect();
        assert_eq!(defs, ["AnswerId", "QuestionId", "Sealed"]);
    }

    #[test]
    fn a_payload_that_is_one_struct_is_described_in_place() {
        let schema = stored_schema("ai_call", "completed").expect("there is such an event");
        assert_eq!(schema["description"], "A model answered.");
        assert_eq!(schema["properties"]["prompt"]["$ref"], "#/$defs/Sealed");
        assert!(schema["$defs"].get("Call").is_none());
    }

    #[test]
    fn the_public_schema_lacks_what_is_sealed_and_keeps_the_rest() {
        let stored = stored_schema("interview", "question_asked").expect("there is such an event");
        let public = public_schema(&stored).expect("a schema");
        assert_eq!(
            public["$id"],
            "https://schemas.colloquy.dev/events/public/interview.question_asked.v1.json"
        );
        let texts = public["$defs"]["QuestionText"]["oneOf"].as_array().expect("two kinds");
        assert!(texts[0]["properties"].get("text").is_some(), "the job's text is public");
        assert!(texts[1]["properties"].get("text").is_none(), "the candidate's own is not");
        assert_eq!(texts[1]["required"], json!(["kind"]));
        let defs: Vec<_> =
            public["$defs"].as_object().expect("definitions").keys().cloned().collect();
        assert!(defs.contains(&"AskedBy".to_owned()) && !defs.contains(&"Sealed".to_owned()));
    }

    #[test]
    fn an_optional_sealed_member_is_not_left_as_a_null() {
        let stored = stored_schema("application", "withdrawn").expect("there is such an event");
        let public = public_schema(&stored).expect("a schema");
        assert_eq!(public["properties"], json!({}));
        assert!(!public.to_string().contains("Sealed"));
    }

    #[test]
    fn there_is_no_schema_of_what_never_happens() {
        assert_eq!(stored_schema("interview", "exploded"), None);
        assert_eq!(stored_schema("meeting", "started"), None);
    }
}
