//! The schemas over HTTP, each at the path of its `$id`, and the AsyncAPI document of this
//! installation.
//!
//! A schema's copy may be kept for ever: what is released changes only in ways that no consumer
//! notices, so an old copy never becomes wrong.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use api::etag;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{SCHEMAS, asyncapi};
use crate::config::Kafka;
use crate::contracts::pretty;

const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_EACH_TIME: &str = "public, no-cache";
const SCHEMA: &str = "application/schema+json";
const ASYNCAPI: &str = "application/vnd.aai.asyncapi+json;version=3.0.0";

struct Document {
    text: String,
    tag: String,
}

impl Document {
    fn new(text: String) -> Self {
        let digest = Sha256::digest(&text);
        let tag: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { text, tag: format!("\"{tag}\"") }
    }

    fn answer(&self, headers: &HeaderMap, kind: &'static str, caching: &'static str) -> Response {
        let named = [
            (header::ETAG, self.tag.as_str()),
            (header::CACHE_CONTROL, caching),
            // Contracts are no secret: pages of any origin may read them.
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        ];
        match etag::is_known(headers, &self.tag) {
            true => (StatusCode::NOT_MODIFIED, named).into_response(),
            false => (named, [(header::CONTENT_TYPE, kind)], self.text.clone()).into_response(),
        }
    }
}

struct Contracts {
    schemas: HashMap<String, Document>,
    asyncapi: Document,
}

/// `GET <path of schema_base>/<name>.v<n>.json`, the same under `public/`, and `GET /asyncapi.json`.
///
/// # Errors
/// When `schema_base` is no address under which something can be served.
pub fn router(kafka: &Kafka) -> anyhow::Result<Router> {
    let base = kafka.schema_base.as_str();
    let path = path_of(base).context(
        "kafka.schema_base must be http(s)://host/path, the path of letters, digits, - . _ ~ and \
         without a slash at the end",
    )?;
    let mut schemas = HashMap::new();
    for (file, text) in SCHEMAS {
        let mut schema: Value = serde_json::from_str(text)?;
        schema["$id"] = json!(format!("{base}/{file}"));
        schemas.insert((*file).to_owned(), Document::new(pretty(&schema)?));
    }
    let names = asyncapi::Names {
        prefix: kafka.prefix.clone(),
        schema_base: base.to_owned(),
        references: base.to_owned(),
        with_public: kafka.public_topics,
    };
    let asyncapi = Document::new(pretty(&asyncapi::document(&names))?);
    Ok(Router::new()
        .route(&format!("{path}/{{file}}"), get(stored))
        .route(&format!("{path}/public/{{file}}"), get(public))
        .route("/asyncapi.json", get(document))
        .with_state(Arc::new(Contracts { schemas, asyncapi })))
}

/// The path of an address; `None` where it cannot be a route.
fn path_of(base: &str) -> Option<&str> {
    let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"))?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let is_route = path.chars().all(is_plain) && !path.contains("//") && !path.ends_with('/');
    (!host.is_empty() && is_route).then_some(path)
}

async fn stored(
    State(contracts): State<Arc<Contracts>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    contracts.schema(&file, &headers)
}

async fn public(
    State(contracts): State<Arc<Contracts>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    contracts.schema(&format!("public/{file}"), &headers)
}

async fn document(State(contracts): State<Arc<Contracts>>, headers: HeaderMap) -> Response {
    contracts.asyncapi.answer(&headers, ASYNCAPI, ASK_EACH_TIME)
}

impl Contracts {
    fn schema(&self, file: &str, headers: &HeaderMap) -> Response {
        match self.schemas.get(file) {
            Some(schema) => schema.answer(headers, SCHEMA, FOR_EVER),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_with_a_plain_path_can_be_served() {
        assert_eq!(path_of("https://schemas.colloquy.dev/events"), Some("/events"));
        assert_eq!(path_of("http://localhost:8080/a/b-c"), Some("/a/b-c"));
        assert_eq!(path_of("https://schemas.example"), Some(""));
        for base in
            ["", "schemas/events", "https://", "https://x/", "https://x/{a}", "https://x/a?b"]
        {
            assert_eq!(path_of(base), None, "{base}");
        }
    }
}
