//! Whether a schema may take another's place under the same name and version.
//!
//! It may when every event that fits the one fits the other, as far as consumers can tell: events of
//! yesterday are read with today's schema, and events of today by consumers that keep yesterday's.
//! The one change that holds both ways is a further optional member of an object that is open to
//! further members. As the rule is transitive, comparing with every released schema covers all pairs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use serde_json::{Map, Value};

/// A difference that some consumer would notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Where in the payload, such as `/round/mode`.
    pub path: String,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        write!(f, "{path}: {}", self.what)
    }
}

/// Keywords that describe and do not decide what fits.
const SAID_ONLY: [&str; 9] = [
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "default",
    "deprecated",
    "description",
    "examples",
    "title",
];

/// What is broken where `new` takes the place of `old`.
#[must_use]
pub fn breaks(old: &Value, new: &Value) -> Vec<Break> {
    let mut comparison = Comparison { old, new, seen: HashSet::new(), breaks: vec![] };
    comparison.compare(old, new, "");
    comparison.breaks
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    /// Pairs of definitions that were compared, so that a recursive one ends.
    seen: HashSet<(String, String)>,
    breaks: Vec<Break>,
}

impl Comparison<'_> {
    fn compare(&mut self, old: &Value, new: &Value, path: &str) {
        let names = (reference(old), reference(new));
        if let (Some(old), Some(new)) = names
            && !self.seen.insert((old.to_owned(), new.to_owned()))
        {
            return;
        }
        let (Some(old), Some(new)) = (resolve(old, self.old), resolve(new, self.new)) else {
            if old != new {
                self.note(path, "the schema is of another kind".to_owned());
            }
            return;
        };
        let keywords: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for keyword in keywords {
            if SAID_ONLY.contains(&keyword.as_str()) {
                continue;
            }
            let values = (old.get(keyword), new.get(keyword));
            match (keyword.as_str(), values) {
                ("properties", _) => self.properties(&old, &new, path),
                ("required", _) => self.required(&old, &new, path),
                ("oneOf" | "anyOf", (Some(old), Some(new))) => {
                    self.branches(keyword, old, new, path);
                }
                ("items", (Some(old), Some(new))) => self.compare(old, new, &format!("{path}/*")),
                ("additionalProperties", (Some(old), Some(new))) if old.is_object() => {
                    self.compare(old, new, &format!("{path}/*"));
                }
                ("type" | "enum", (Some(old), Some(new))) if set(old) == set(new) => {}
                (_, (old, new)) if old == new => {}
                (_, (old, new)) => {
                    let said =
                        |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
                    let (old, new) = (said(old), said(new));
                    self.note(path, format!("`{keyword}` was {old} and is {new}"));
                }
            }
        }
    }

    fn properties(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let (before, after) = (members(old), members(new));
        for (name, property) in &before {
            match after.get(name) {
                Some(changed) => self.compare(property, changed, &format!("{path}/{name}")),
                None => self.note(path, format!("member `{name}` is gone")),
            }
        }
        let is_open = matches!(old.get("additionalProperties"), None | Some(Value::Bool(true)));
        for name in after.keys().filter(|name| !before.contains_key(*name) && !is_open) {
            self.note(path, format!("member `{name}` is new where no further ones may be"));
        }
    }

    fn required(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let names =
            |schema: &Map<String, Value>| set(schema.get("required").unwrap_or(&Value::Null));
        let (before, after) = (names(old), names(new));
        for name in after.difference(&before) {
            self.note(path, format!("member {name} is required now"));
        }
        for name in before.difference(&after) {
            self.note(path, format!("member {name} is not required any more"));
        }
    }

    /// Branches belong together by the constants that tell them apart, else by their place.
    fn branches(&mut self, keyword: &str, old: &Value, new: &Value, path: &str) {
        let (old, new) = (named(old, self.old), named(new, self.new));
        for (name, branch) in &old {
            match new.get(name) {
                Some(changed) => self.compare(branch, changed, path),
                None => self.note(path, format!("`{keyword}` has no {name} any more")),
            }
        }
        for name in new.keys().filter(|name| !old.contains_key(*name)) {
            self.note(path, format!("`{keyword}` has {name}, which is new"));
        }
    }

    fn note(&mut self, path: &str, what: String) {
        self.breaks.push(Break { path: path.to_owned(), what });
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str)
}

/// The keywords of a schema, with those of what it refers to.
fn resolve(schema: &Value, root: &Value) -> Option<Map<String, Value>> {
    let mut keywords = schema.as_object()?.clone();
    if let Some(Value::String(target)) = keywords.remove("$ref") {
        let target = resolve(root.pointer(target.trim_start_matches('#'))?, root)?;
        for (keyword, value) in target {
            keywords.entry(keyword).or_insert(value);
        }
    }
    Some(keywords)
}

fn members(schema: &Map<String, Value>) -> BTreeMap<&String, &Value> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten().collect()
}

/// An array as a set of texts; anything else as a set of one.
fn set(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Null => BTreeSet::new(),
        Value::Array(items) => items.iter().map(Value::to_string).collect(),
        one => BTreeSet::from([one.to_string()]),
    }
}

/// Branches by what tells each from the others.
fn named<'a>(branches: &'a Value, root: &Value) -> BTreeMap<String, &'a Value> {
    let branches = branches.as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |(i, branch): (usize, &'a Value)| {
        let keywords = resolve(branch, root).unwrap_or_default();
        let constants: Vec<String> = members(&keywords)
            .into_iter()
            .filter_map(|(name, property)| Some(format!("{name} {}", property.get("const")?)))
            .collect();
        let name = match (keywords.get("const"), keywords.get("type")) {
            (Some(constant), _) => constant.to_string(),
            _ if !constants.is_empty() => constants.join(", "),
            (_, Some(Value::String(kind))) if kind == "null" => "null".to_owned(),
            _ => format!("branch {}", i + 1),
        };
        (name, branch)
    };
    branches.iter().enumerate().map(name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn base() -> Value {
        json!({
            "$id": "https://schemas.example/x.v1.json",
            "type": "object",
            "required": ["n", "status"],
            "properties": {
                "n": { "type": "integer", "minimum": 0, "maximum": 10 },
                "status": { "$ref": "#/$defs/Status" },
                "text": { "anyOf": [{ "$ref": "#/$defs/Sealed" }, { "type": "null" }] },
                "by": { "oneOf": [
                    { "type": "object", "required": ["kind"],
                      "properties": { "kind": { "const": "ai" } } },
                    { "type": "object", "required": ["kind", "id"],
                      "properties": { "kind": { "const": "member" }, "id": { "type": "string" } } },
                ] },
                "items": { "type": "array", "items": { "type": "string", "format": "uuid" } },
            },
            "$defs": {
                "Status": { "oneOf": [
                    { "const": "NEW", "type": "string" }, { "const": "OLD", "type": "string" },
                ] },
                "Sealed": { "type": "object", "additionalProperties": false, "required": ["key"],
                    "properties": { "key": { "type": "string" } } },
            },
        })
    }

    /// Changes a copy of the schema at a pointer and answers what breaks.
    fn after(pointer: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut new = base();
        change(new.pointer_mut(pointer).expect("there is such a place"));
        breaks(&base(), &new).iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn refused(pointer: &str, change: impl FnOnce(&mut Value), said: &str) {
        let found = after(pointer, change);
        assert!(found.iter().any(|found| found == said), "{found:?}");
    }

    #[track_caller]
    fn allowed(pointer: &str, change: impl FnOnce(&mut Value)) {
        assert_eq!(after(pointer, change), Vec::<String>::new());
    }

    fn remove(name: &'static str) -> impl FnOnce(&mut Value) {
        move |value| {
            value.as_object_mut().expect("an object").remove(name).expect("a member");
        }
    }

    #[test]
    fn what_nobody_notices_is_allowed() {
        allowed("", |_| {});
        allowed("", |schema| schema["description"] = json!("Said better."));
        allowed("/properties", |all| all["extra"] = json!({ "type": "string" }));
        allowed("/$defs/Status/oneOf", |all| all.as_array_mut().expect("an array").reverse());
        allowed("/required", |all| all.as_array_mut().expect("an array").reverse());
        allowed("/properties/by/oneOf", |all| all.as_array_mut().expect("an array").reverse());
        allowed("/properties/by/oneOf/1/properties", |all| all["more"] = json!({}));
    }

    #[test]
    fn members_neither_go_nor_become_required_or_optional() {
        refused("/properties", remove("n"), "/: member `n` is gone");
        let push = |name: &'static str| {
            move |all: &mut Value| all.as_array_mut().expect("an array").push(json!(name))
        };
        refused("/required", push("text"), "/: member \"text\" is required now");
        refused(
            "/required",
            |all| *all = json!(["n"]),
            "/: member \"status\" is not required any more",
        );
        refused(
            "/properties/by/oneOf/0/required",
            push("why"),
            "/by: member \"why\" is required now",
        );
        refused(
            "/$defs/Sealed/properties",
            |all| all["tag"] = json!({ "type": "string" }),
            "/text: member `tag` is new where no further ones may be",
        );
    }

    #[test]
    fn types_bounds_and_formats_are_neither_narrowed_nor_widened() {
        let n = "/properties/n";
        refused(n, |n| n["maximum"] = json!(5), "/n: `maximum` was 10 and is 5");
        refused(n, |n| n["maximum"] = json!(20), "/n: `maximum` was 10 and is 20");
        refused(n, remove("minimum"), "/n: `minimum` was 0 and is nothing");
        refused(n, |n| n["multipleOf"] = json!(2), "/n: `multipleOf` was nothing and is 2");
        refused(n, |n| n["type"] = json!("number"), "/n: `type` was \"integer\" and is \"number\"");
        refused(
            n,
            |n| n["type"] = json!(["integer", "null"]),
            "/n: `type` was \"integer\" and is [\"integer\",\"null\"]",
        );
        refused(
            "/properties/items/items",
            remove("format"),
            "/items/*: `format` was \"uuid\" and is nothing",
        );
    }

    #[test]
    fn values_of_an_enumeration_neither_come_nor_go() {
        let status = "/$defs/Status/oneOf";
        refused(
            status,
            |all| all[1]["const"] = json!("GONE"),
            "/status: `oneOf` has no \"OLD\" any more",
        );
        refused(
            status,
            |all| all[1]["const"] = json!("GONE"),
            "/status: `oneOf` has \"GONE\", which is new",
        );
        refused(
            "/properties/text/anyOf",
            |all| *all = json!([all[0]]),
            "/text: `anyOf` has no null any more",
        );
    }

    #[test]
    fn what_is_sealed_stays_sealed_and_what_is_clear_stays_clear() {
        assert!(!after("/properties", |all| all["text"] = json!({ "type": "string" })).is_empty());
        assert!(
            !after("/properties", |all| all["n"] = json!({ "$ref": "#/$defs/Sealed" })).is_empty()
        );
    }
}
