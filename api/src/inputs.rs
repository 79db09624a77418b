//! What all inputs of mutations have in common: the command's id, the version expected, and the
//! canonical form by which a repeat is told from another command under the same id.

use std::collections::BTreeMap;
use std::str::FromStr;

use async_graphql::{ID, InputType, Value};
use commands::{Order, Version};
use domain::ids::InvalidId;
use uuid::Uuid;

use crate::error::ApiError;

/// The input of a mutation that carries out one command.
pub trait Input: InputType {
    /// The mutation's name, such as `createJob`.
    const MUTATION: &'static str;

    /// The client's idempotency key.
    fn command_id(&self) -> Uuid;

    /// The version that the client saw, where it wants no other.
    fn expected_version(&self) -> Option<i32>;
}

/// Says of input objects which mutation they belong to; those that edit an aggregate
/// have an `expected_version`.
macro_rules! inputs {
    ($($type:ty => $mutation:literal $(, $expected:ident)?;)*) => {$(
        impl $crate::inputs::Input for $type {
            const MUTATION: &'static str = $mutation;

            fn command_id(&self) -> uuid::Uuid {
                self.command_id
            }

            fn expected_version(&self) -> Option<i32> {
                inputs!(@expected self $($expected)?)
            }
        }
    )*};
    (@expected $self:ident $expected:ident) => { $self.$expected };
    (@expected $self:ident) => { None };
}
pub(crate) use inputs;

/// The order that an input makes.
///
/// # Errors
/// `VALIDATION_FAILED` for a version that no stream can have.
pub fn order<I: Input>(input: &I) -> Result<Order, ApiError> {
    let mut order = Order::of_client(input.command_id(), canonical(input));
    order.expected_version = match input.expected_version() {
        None => None,
        Some(version) => Some(Version(
            u64::try_from(version)
                .map_err(|_| ApiError::invalid("expectedVersion", "must not be negative"))?,
        )),
    };
    Ok(order)
}

/// The input without its command id as JSON: keys sorted, no white space, and no member that is
/// null, so that a field left out equals one that is null, and a field added to the schema later
/// changes nothing for those who do not send it. The mutation's name stands in it, because two
/// mutations can have the same fields.
#[must_use]
pub fn canonical<I: Input>(input: &I) -> Vec<u8> {
    let mut fields = match sorted(&input.to_value()) {
        serde_json::Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    fields.remove("commandId");
    let whole = BTreeMap::from([(I::MUTATION, serde_json::Value::Object(fields))]);
    serde_json::to_vec(&whole).unwrap_or_default()
}

/// The value as JSON with sorted keys, whatever map serde_json was built with.
fn sorted(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Null => Json::Null,
        Value::Number(number) => Json::Number(number.clone()),
        Value::String(text) => Json::String(text.clone()),
        Value::Boolean(flag) => Json::Bool(*flag),
        Value::Binary(bytes) => Json::from(bytes.to_vec()),
        Value::Enum(name) => Json::String(name.to_string()),
        Value::List(items) => Json::Array(items.iter().map(sorted).collect()),
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members
                .iter()
                .filter(|(_, value)| !matches!(value, Value::Null))
                .map(|(name, value)| (name.to_string(), sorted(value)))
                .collect();
            Json::Object(members.into_iter().collect())
        }
    }
}

/// Reads an id of one kind. What is no id, or one of another kind, names nothing, and is answered like
/// an id that names nothing: it becomes the nil id, which no record has.
///
/// # Errors
/// `VALIDATION_FAILED` for a kind of which there is no nil id.
pub fn id<T: FromStr<Err = InvalidId>>(field: &'static str, id: &ID) -> Result<T, ApiError> {
    read_id(id.as_str()).map_err(|error| ApiError::invalid(field, error.to_string()))
}

/// See [`id`].
///
/// # Errors
/// For a kind of which there is no nil id.
pub fn read_id<T: FromStr<Err = InvalidId>>(text: &str) -> Result<T, InvalidId> {
    let nil = |InvalidId { prefix }| format!("{prefix}_{}", Uuid::nil().simple()).parse();
    text.parse().or_else(nil)
}

/// Reads an id that may be left out.
///
/// # Errors
/// See [`id`].
pub fn optional_id<T: FromStr<Err = InvalidId>>(
    field: &'static str,
    given: Option<&ID>,
) -> Result<Option<T>, ApiError> {
    given.map(|given| id(field, given)).transpose()
}

/// Reads a whole number into the type that holds it.
///
/// # Errors
/// `VALIDATION_FAILED` for a number out of range.
pub fn number<T: TryFrom<i32>>(field: &'static str, given: i32) -> Result<T, ApiError> {
    T::try_from(given).map_err(|_| ApiError::invalid(field, "is out of range"))
}

#[cfg(test)]
mod tests {
    use async_graphql::InputObject;

    use super::*;

    #[derive(InputObject)]
    struct Inner {
        zeta: Option<i32>,
        alpha: f64,
    }

    #[derive(InputObject)]
    struct Example {
        command_id: Uuid,
        expected_version: Option<i32>,
        title: String,
        inner: Vec<Inner>,
        note: Option<String>,
    }

    #[derive(InputObject)]
    struct Other {
        command_id: Uuid,
        title: String,
    }

    inputs! {
        Example => "example", expected_version;
        Other => "other";
    }

    fn example(command_id: u128) -> Example {
        Example {
            command_id: Uuid::from_u128(command_id),
            expected_version: Some(3),
            title: "ünïcödé \"quoted\"".into(),
            inner: vec![Inner { zeta: Some(1), alpha: 0.5 }, Inner { zeta: None, alpha: 2.0 }],
            note: None,
        }
    }

    #[test]
    fn the_canonical_input_has_sorted_keys_no_nulls_and_no_command_id() {
        let text = String::from_utf8(canonical(&example(1))).expect("UTF-8");
        assert_eq!(
            text,
            r#"{"example":{"expectedVersion":3,"inner":[{"alpha":0.5,"zeta":1},{"alpha":2.0}],"title":"ünïcödé \"quoted\""}}"#
        );
    }

    #[test]
    fn a_repeat_is_the_same_under_any_command_id_and_another_body_is_not() {
        assert_eq!(canonical(&example(1)), canonical(&example(2)));
        let mut other = example(1);
        other.note = Some(String::new());
        assert_ne!(canonical(&example(1)), canonical(&other));
    }

    #[test]
    fn two_mutations_with_the_same_fields_differ() {
        let title = "a".to_owned();
        let other = Other { command_id: Uuid::nil(), title: title.clone() };
        let example = Example {
            command_id: Uuid::nil(),
            expected_version: None,
            title,
            inner: vec![],
            note: None,
        };
        assert_ne!(canonical(&other), canonical(&example));
        assert_eq!(order(&other).expect("an order").expected_version, None);
    }

    #[test]
    fn what_is_no_id_names_nothing() {
        let nil = domain::ids::JobId(Uuid::nil());
        for text in ["", "7", "jobd_7", "intv_00000000000000000000000000000007"] {
            assert_eq!(read_id(text), Ok(nil), "{text}");
        }
        let seven = domain::ids::JobId(Uuid::from_u128(7));
        assert_eq!(read_id(&seven.to_string()), Ok(seven));
    }

    #[test]
    fn a_negative_version_is_refused() {
        let mut example = example(1);
        example.expected_version = Some(-1);
        assert_eq!(order(&example).expect_err("negative").code(), "VALIDATION_FAILED");
    }
}
