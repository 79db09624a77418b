//! What a request reads persons' data for, as its sender says: the header `x-purpose`, or `purpose`
//! among a GraphQL request's `extensions`, which goes before it. A request that says nothing is for
//! hiring, which is what the product is for.

use axum::http::HeaderMap;
use domain::access::Purpose;
use domain::values::Spelled;
use serde_json::{Map, Value as Json};

use super::codes::{self, Refusal};

/// The header that says it.
pub(crate) const HEADER: &str = "x-purpose";
/// The member of `extensions` that says it.
const MEMBER: &str = "purpose";

/// That of a request's headers, if they say one.
///
/// # Errors
/// `BAD_USER_INPUT` for what is no purpose, or more than one.
pub(crate) fn of_headers(headers: &HeaderMap) -> Result<Option<Purpose>, Refusal> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    read(HEADER, text).map(Some)
}

/// That of a request's `extensions`, if they say one.
///
/// # Errors
/// `BAD_USER_INPUT` for what is no purpose.
pub(super) fn of_extensions(extensions: &Map<String, Json>) -> Result<Option<Purpose>, Refusal> {
    match extensions.get(MEMBER) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => read("extensions.purpose", value.as_str()).map(Some),
    }
}

fn read(place: &str, text: Option<&str>) -> Result<Purpose, Refusal> {
    text.and_then(Purpose::parse).ok_or_else(|| {
        let known: Vec<_> = Purpose::ALL.iter().map(|purpose| purpose.as_str()).collect();
        let message = format!("{place} must be one of {}", known.join(", "));
        Refusal::new(&codes::BAD_USER_INPUT, message)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn extensions(value: Json) -> Result<Option<Purpose>, Refusal> {
        of_extensions(value.as_object().expect("an object"))
    }

    #[test]
    fn a_purpose_is_one_of_a_few_and_nothing_else() {
        assert_eq!(extensions(json!({ "purpose": "AUDIT" })).ok(), Some(Some(Purpose::Audit)));
        assert_eq!(extensions(json!({ "purpose": null })).ok(), Some(None));
        assert_eq!(extensions(json!({})).ok(), Some(None));
        for bad in [json!("audit"), json!(""), json!(7), json!(["AUDIT"])] {
            let refusal = extensions(json!({ "purpose": bad })).expect_err("no purpose");
            assert_eq!(refusal.code.name, "BAD_USER_INPUT");
            assert!(refusal.message.contains("HIRING, AUDIT"), "{}", refusal.message);
        }
        let mut headers = HeaderMap::new();
        assert_eq!(of_headers(&headers).ok(), Some(None));
        headers.insert(HEADER, HeaderValue::from_static("LEGAL"));
        assert_eq!(of_headers(&headers).ok(), Some(Some(Purpose::Legal)));
        headers.append(HEADER, HeaderValue::from_static("AUDIT"));
        assert!(of_headers(&headers).is_err());
    }
}
