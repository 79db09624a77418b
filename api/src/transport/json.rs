//! JSON in which no name stands twice in one object. Readers disagree about which of two counts
//! (RFC 8259, 4), so what one of them has checked another might not carry out.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

use super::codes::{self, Refusal};

/// Reads one JSON value; `what` names it in the refusal.
///
/// # Errors
///
/// `MALFORMED_JSON`.
pub(super) fn read(text: &str, what: &str) -> Result<Json, Refusal> {
    let read: Result<Unique, _> = serde_json::from_str(text);
    read.map(|Unique(json)| json).map_err(|error| {
        let mut error = error.to_string();
        // The parser's own words for half of a pair of escapes do not say so.
        if error.contains("hex escape") {
            error.push_str(" (a lone surrogate or a broken escape)");
        }
        Refusal::new(&codes::MALFORMED_JSON, format!("{what} is not valid JSON: {error}"))
    })
}

/// A value in whose objects each name stands once.
struct Unique(Json);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole).map(Unique)
    }
}

struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = vec![];
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom("a name stands twice in one object"));
            }
            let Unique(member) = members.next_value()?;
            object.insert(name, member);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_read_as_it_is() {
        let text = r#"{"a":[null,true,-7,7,1.5,18446744073709551615,"b"],"c":{"d":{}},"e":""}"#;
        let read = read(text, "the text").expect("JSON");
        assert_eq!(read, serde_json::from_str::<Json>(text).expect("JSON"));
    }

    #[test]
    fn a_name_may_stand_in_two_objects_and_not_twice_in_one() {
        assert!(read(r#"[{"a":1},{"a":{"a":2}}]"#, "the text").is_ok());
        for text in [r#"{"a":1,"a":1}"#, r#"{"b":[{"a":1,"a":2}]}"#, r#"{"a":1,"\u0061":2}"#] {
            let refused = read(text, "the text").expect_err(text);
            assert_eq!(refused.code, &codes::MALFORMED_JSON);
        }
    }
}
