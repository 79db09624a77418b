//! The strict parse of a GraphQL request, from a JSON body, a socket message or a query string.

use async_graphql::{Value, Variables};
use domain::access::Purpose;
use serde_json::{Map, Value as Json};

use super::codes::{self, Refusal};
use super::documents::DocumentHash;
use super::{TraceParent, json, purpose};

/// The members of a GraphQL request, well-formed and without NUL.
#[derive(Clone, Debug)]
pub struct Params {
    /// The document; absent if it is named by its hash only.
    pub query: Option<String>,
    /// The hash that names the document, or under which it is to be kept.
    pub document_hash: Option<DocumentHash>,
    /// Which operation of the document is meant.
    pub operation_name: Option<String>,
    /// Values for the operation's variables.
    pub variables: Variables,
    /// Where the request belongs in a trace, if its `extensions` say so.
    pub trace_parent: Option<TraceParent>,
    /// What persons' data are read for, if its `extensions` say so.
    pub purpose: Option<Purpose>,
}

impl Params {
    /// Reads a request body.
    ///
    /// # Errors
    ///
    /// `INVALID_ENCODING`, `MALFORMED_JSON`, `BATCHING_NOT_SUPPORTED`, `MALFORMED_REQUEST`,
    /// `INVALID_TEXT`; each names what is wrong and where.
    pub fn from_body(body: &[u8]) -> Result<Self, Refusal> {
        let text = utf8(body, "the body")?;
        match json::read(text, "the body")? {
            Json::Object(members) => Self::from_members(members),
            Json::Array(_) => Err(Refusal::new(
                &codes::BATCHING_NOT_SUPPORTED,
                "the body is a list; send one request per call",
            )),
            _ => Err(malformed("the body must be a JSON object")),
        }
    }

    /// Reads the query string of a GET request; `None` is an absent one.
    ///
    /// # Errors
    ///
    /// As [`Params::from_body`].
    pub fn from_query_string(query_string: Option<&str>) -> Result<Self, Refusal> {
        let mut members = Map::new();
        for pair in query_string.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (unescape(name)?, unescape(value)?);
            let value = match name.as_str() {
                "query" | "operationName" => Json::String(value),
                "variables" | "extensions" if value.is_empty() => Json::Null,
                "variables" | "extensions" => json::read(&value, &format!("the parameter {name}"))?,
                _ => continue,
            };
            if members.contains_key(&name) {
                return Err(malformed(format!("the parameter {name} is given more than once")));
            }
            members.insert(name, value);
        }
        Self::from_members(members)
    }

    /// Reads the members of a request that is JSON already.
    ///
    /// # Errors
    ///
    /// `MALFORMED_REQUEST`, `INVALID_TEXT`.
    pub fn from_members(mut members: Map<String, Json>) -> Result<Self, Refusal> {
        let query = match members.remove("query") {
            Some(Json::String(query)) if !query.trim().is_empty() => Some(query),
            Some(Json::String(_)) => return Err(malformed("the member query is empty")),
            None | Some(Json::Null) => None,
            Some(_) => return Err(malformed("the member query must be text")),
        };
        let operation_name = match members.remove("operationName") {
            None | Some(Json::Null) => None,
            Some(Json::String(name)) => Some(name),
            Some(_) => return Err(malformed("the member operationName must be text or null")),
        };
        let variables = match members.remove("variables") {
            None | Some(Json::Null) => Map::new(),
            Some(Json::Object(variables)) => variables,
            Some(_) => return Err(malformed("the member variables must be an object or null")),
        };
        let (trace_parent, document_hash, purpose) = match members.get("extensions") {
            None | Some(Json::Null) => (None, None, None),
            Some(Json::Object(extensions)) => (
                TraceParent::from_member(Some(extensions)),
                DocumentHash::from_extensions(extensions)?,
                purpose::of_extensions(extensions)?,
            ),
            Some(_) => {
                return Err(malformed("the member extensions must be an object or null"));
            }
        };

        if query.is_none() && document_hash.is_none() {
            return Err(malformed("the member query is missing"));
        }
        no_nul(query.as_deref().unwrap_or_default(), "query")?;
        no_nul(operation_name.as_deref().unwrap_or_default(), "operationName")?;
        let variables = Json::Object(variables);
        if let Some(path) = find_nul(&variables) {
            return Err(nul_in(&format!("variables{path}")));
        }
        let variables = Value::from_json(variables)
            .map_err(|error| malformed(format!("the member variables cannot be read: {error}")))?;
        let variables = Variables::from_value(variables);
        Ok(Self { query, document_hash, operation_name, variables, trace_parent, purpose })
    }
}

fn utf8<'t>(bytes: &'t [u8], what: &str) -> Result<&'t str, Refusal> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Refusal::new(&codes::INVALID_ENCODING, format!("{what} is not UTF-8 at byte {at}"))
    })
}

fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new(&codes::MALFORMED_REQUEST, message)
}

fn nul_in(place: &str) -> Refusal {
    Refusal::new(&codes::INVALID_TEXT, format!("the text at {place} contains the character NUL"))
}

fn no_nul(text: &str, place: &str) -> Result<(), Refusal> {
    if text.contains('\0') { Err(nul_in(place)) } else { Ok(()) }
}

/// The path below `value` to the first text that contains NUL, put together only once it is found.
/// Recursion is bounded by the JSON parser's depth.
fn find_nul(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => text.contains('\0').then(String::new),
        Json::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| find_nul(item).map(|rest| format!(".{index}{rest}"))),
        Json::Object(members) => members.iter().find_map(|(name, member)| {
            if name.contains('\0') {
                return Some(" (a member name)".to_owned());
            }
            find_nul(member).map(|rest| format!(".{name}{rest}"))
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) => None,
    }
}

/// Decodes one part of a query string as forms write it. A stray `%` is refused, and so is anything
/// that is not UTF-8.
fn unescape(part: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return Err(malformed("the query string has a broken % escape")),
                }
            }
            plain => plain,
        });
    }
    utf8(&bytes, "the query string").map(str::to_owned)
}
