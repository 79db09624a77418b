//! An answer on its way out: whatever happened, every error has a public code and the request id.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use async_graphql::{ErrorExtensionValues, Response, ServerError, Value, value};
use axum::http::HeaderMap;
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use super::{
    RequestId,
    codes::{self, Refusal},
};

/// How many errors a refused document is answered with; one mistake can cause thousands.
const VALIDATION_ERRORS: usize = 20;

/// A GraphQL response as the specification writes it.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Absent if the request failed before it was executed; null if execution left nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// What went wrong; each with `extensions.code` and `extensions.requestId`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ServerError>,
    /// What else is told, such as the cost.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, Value>,
    /// HTTP headers that resolvers set.
    #[serde(skip)]
    pub headers: HeaderMap,
}

impl Answer {
    /// The engine's response. Errors without a code are classified if they are the engine's own,
    /// and otherwise told as `INTERNAL_ERROR`, their text in the log only.
    pub fn of(response: Response, request_id: &RequestId) -> Self {
        let Response { data, mut errors, extensions, http_headers, .. } = response;
        // Only what is executed has a path, so a response of errors without one never was.
        let executed = errors.is_empty()
            || data != Value::Null
            || errors.iter().any(|error| !error.path.is_empty());
        if !executed {
            errors.truncate(VALIDATION_ERRORS);
        }
        for error in &mut errors {
            finish(error, executed, request_id);
        }
        Self { data: executed.then_some(data), errors, extensions, headers: http_headers }
    }

    /// An answer that is one refusal.
    pub fn refused(refusal: &Refusal, request_id: &RequestId) -> Self {
        let mut error = ServerError::new(refusal.message.clone(), None);
        error.locations.clone_from(&refusal.locations);
        let extensions = error.extensions.get_or_insert_default();
        extensions.set("code", refusal.code_name());
        extensions.set("status", refusal.code.status);
        if let Some(seconds) = refusal.retry_after_s {
            extensions.set("retryAfter", seconds);
        }
        stamp(extensions, refusal.code, request_id);
        Self {
            data: None,
            errors: vec![error],
            extensions: BTreeMap::new(),
            headers: HeaderMap::new(),
        }
    }

    /// Whether there are no data because the operation's own field failed, and not one within it.
    pub fn failed_at_root(&self) -> bool {
        let nothing = self.data.as_ref().is_none_or(|data| *data == Value::Null);
        nothing && !self.errors.is_empty() && self.errors.iter().all(|error| error.path.len() <= 1)
    }

    /// Tells what the operation was priced at, in objects.
    pub fn cost(&mut self, requested: u64, allowed: u64) {
        let cost = value!({ "requested": requested, "allowed": allowed });
        self.extensions.insert("cost".to_owned(), cost);
    }

    /// The answer as JSON text, on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            // Values of the engine are JSON already, so this is a mistake of ours and no input's.
            tracing::error!(%error, "an answer could not be written");
            r#"{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL_ERROR","status":500}}]}"#
                .to_owned()
        })
    }

    /// The HTTP status for the response media type: that of the first error's code if nothing was
    /// executed, otherwise 200.
    pub fn status(&self) -> u16 {
        if self.data.is_some() {
            return 200;
        }
        let code = self.errors.first().and_then(|error| text(error, "code"));
        let of_transport = |code| codes::by_name(code).map(|code| code.status);
        let of_rules = |code| domain::codes::find(code).map(|entry| entry.status);
        code.and_then(|code| of_transport(code).or_else(|| of_rules(code))).unwrap_or(400)
    }
}

fn text<'e>(error: &'e ServerError, name: &str) -> Option<&'e str> {
    match error.extensions.as_ref()?.get(name)? {
        Value::String(text) => Some(text),
        Value::Enum(name) => Some(name.as_str()),
        _ => None,
    }
}

fn finish(error: &mut ServerError, executed: bool, request_id: &RequestId) {
    let mut class = &codes::INTERNAL_ERROR;
    if text(error, "code").is_none() {
        let code = engine_code(error, executed).unwrap_or_else(|| {
            let path = serde_json::to_string(&error.path).unwrap_or_default();
            let cause = error.message.as_str();
            tracing::error!(request.id = %request_id, graphql.path = path, cause, "a resolver failed");
            error.message = "internal error".to_owned();
            &codes::INTERNAL_ERROR
        });
        let extensions = error.extensions.get_or_insert_default();
        extensions.set("code", code.name);
        extensions.set("status", code.status);
        class = code;
    }
    stamp(error.extensions.get_or_insert_default(), class, request_id);
}

/// What every error tells beside its code: its class, unless a resolver set it, and which request it
/// belongs to, and when.
fn stamp(extensions: &mut ErrorExtensionValues, class: &codes::Code, request_id: &RequestId) {
    if extensions.get("kind").is_none() {
        extensions.set("kind", class.kind());
    }
    extensions.set("requestId", request_id.as_str());
    extensions.set("timestamp", now());
}

/// The machine's time, UTC.
fn now() -> String {
    #[expect(clippy::disallowed_methods, reason = "it only helps to find the request in the log")]
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since_1970.as_millis()).unwrap_or_default();
    let now = DateTime::from_timestamp_millis(millis).unwrap_or_default();
    now.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The code of an error that the engine itself made; it sets none, so its texts are what there is.
fn engine_code(error: &ServerError, executed: bool) -> Option<&'static codes::Code> {
    const INPUT: [&str; 3] =
        ["Invalid value for argument", "Failed to parse \"", "Expected input type \""];
    let message = error.message.as_str();
    let is_input = INPUT.iter().any(|start| message.starts_with(start))
        || (message.starts_with("Variable ") && message.ends_with(" is not defined."));
    // An error that wraps a cause came out of a resolver, whatever its text says.
    if is_input && error.source.is_none() {
        Some(&codes::BAD_USER_INPUT)
    } else if !executed {
        Some(&codes::GRAPHQL_VALIDATION_FAILED)
    } else {
        None
    }
}
