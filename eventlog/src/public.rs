//! Events for everybody: what is left of one without the data of persons.
//!
//! The codec seals each personal field where it stands, so what is personal is known by its form, in
//! every event of every version, and needs no list of fields that somebody could forget to extend.
//! What is left holds ids, which are pseudonyms: only who can ask the product knows whose they are.

use bytes::Bytes;
use serde_json::{Map, Value};

/// Marks a sealed field; no field of an event has this name in clear.
const CIPHERTEXT: &str = "ciphertext";

/// Marks a personal field that was not sealed yet. It never reaches the log, and would not pass here.
const MARKER: &str = domain::Personal::<()>::MARKER;

/// The payload without its sealed fields, and without members that are null: whether an optional
/// personal field was given is nobody's business either. What is no JSON object becomes an empty one.
#[must_use]
pub fn without_personal(payload: &[u8]) -> Bytes {
    let value = serde_json::from_slice(payload).ok().and_then(open);
    let value = value.filter(Value::is_object).unwrap_or_else(|| Value::Object(Map::new()));
    value.to_string().into()
}

/// The value without what is personal; `None` where nothing else is in it.
fn open(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(object) if object.contains_key(CIPHERTEXT) || object.contains_key(MARKER) => {
            None
        }
        Value::Object(object) => Some(Value::Object(
            object.into_iter().filter_map(|(name, value)| Some((name, open(value)?))).collect(),
        )),
        Value::Array(items) => {
            let n_items = items.len();
            let left: Vec<Value> = items.into_iter().filter_map(open).collect();
            (n_items == 0 || !left.is_empty()).then_some(Value::Array(left))
        }
        clear => Some(clear),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(payload: Value, left: Value) {
        let found = without_personal(payload.to_string().as_bytes());
        assert_eq!(serde_json::from_slice::<Value>(&found).expect("JSON"), left);
    }

    fn sealed() -> Value {
        json!({ "key": "k", "nonce": "n", "commitment": "c", "ciphertext": "x" })
    }

    #[test]
    fn sealed_fields_are_left_out_wherever_they_stand() {
        check(
            json!({
                "score": 7,
                "text": sealed(),
                "none": null,
                "empty": [],
                "lists": [sealed(), { "dimension": "depth", "why": sealed() }],
                "only_sealed": [sealed(), sealed()],
                "deep": { "er": { "quote": sealed() } },
            }),
            json!({
                "score": 7,
                "empty": [],
                "lists": [{ "dimension": "depth" }],
                "deep": { "er": {} },
            }),
        );
    }

    #[test]
    fn a_box_with_members_more_or_less_is_no_way_through() {
        check(json!({ "a": { "ciphertext": "x", "v": 2 }, "b": 1 }), json!({ "b": 1 }));
        check(json!({ "a": { "$personal": { "value": "Mira" } }, "b": 1 }), json!({ "b": 1 }));
        check(sealed(), json!({}));
    }

    #[test]
    fn what_is_no_object_shows_nothing() {
        for payload in ["\"Mira\"", "[1]", "not json", ""] {
            assert_eq!(without_personal(payload.as_bytes()), "{}", "{payload}");
        }
    }
}
