//! The log's proof: of one event in GraphQL, and what is published for everybody.

use async_graphql::Object;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use projections::proof::{self, Proof};
use serde_json::json;

use crate::ApiState;

/// Proof that an event is in the log's signed tree.
pub struct EventProof(pub Proof);

/// Proof that an event is in the log's signed tree (RFC 9162). The leaf is SHA-256 of a zero byte, the
/// position, `recordedAt` in microseconds since 1970 (8 bytes each, big-endian) and the event's `hash`.
#[Object]
impl EventProof {
    /// Index of the leaf, the event's position less one, as a decimal number.
    async fn leaf_index(&self) -> String {
        self.0.leaf_index.to_string()
    }

    /// Hash of the leaf, Base64.
    async fn leaf_hash(&self) -> String {
        STANDARD.encode(self.0.leaf_hash)
    }

    /// How many leaves the tree has, as a decimal number.
    async fn tree_size(&self) -> String {
        self.0.tree_size.to_string()
    }

    /// Hashes from the leaf's sibling up to below the root, Base64.
    async fn audit_path(&self) -> Vec<String> {
        self.0.path.iter().map(|hash| STANDARD.encode(hash)).collect()
    }

    /// The checkpoint with the tree's root, a signed note (C2SP tlog-checkpoint). `/proof/keys` has the
    /// public keys.
    async fn checkpoint(&self) -> &str {
        &self.0.checkpoint
    }
}

/// The edges `/proof/keys` and `/proof/checkpoint`. They are for everybody: the more people keep
/// checkpoints, the less anybody can rewrite. What is between the reader and this process may keep an
/// answer as long as this process does.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/proof/keys", get(keys))
        .route("/proof/checkpoint", get(checkpoint))
        .with_state(state)
}

async fn keys(State(state): State<ApiState>) -> Response {
    let Ok(published) = proof::published(&state.reads).await else { return unavailable() };
    let keys = published.keys.iter().map(|key| {
        json!({
            "key": key.public.to_string(),
            "introduction": key.introduction,
            "createdAt": key.created_at,
        })
    });
    let origin = published.keys.first().map(|key| key.public.name());
    recent(Json(json!({ "origin": origin, "keys": keys.collect::<Vec<_>>() })))
}

async fn checkpoint(State(state): State<ApiState>) -> Response {
    match proof::published(&state.reads).await.map(|published| published.checkpoint) {
        Ok(Some(note)) => recent(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note)),
        Ok(None) => recent(StatusCode::NOT_FOUND),
        Err(_) => unavailable(),
    }
}

/// An answer that is as good as a new one for some seconds.
fn recent(answer: impl IntoResponse) -> Response {
    let age = format!("public, max-age={}", proof::RECENT.as_secs());
    ([(header::CACHE_CONTROL, age)], answer).into_response()
}

fn unavailable() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], StatusCode::SERVICE_UNAVAILABLE).into_response()
}
