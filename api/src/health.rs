//! Health, readiness and metrics: plain HTTP edges for whoever runs the product.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use futures::future::BoxFuture;
use projections::{Reads, lag};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::ApiState;

/// Asks one part whether it answers. The reason of a failure is for the log only.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Tells everything measured, in the text format of Prometheus.
pub type Measured = Arc<dyn Fn() -> String + Send + Sync>;

/// What the process that serves knows of its surroundings.
#[derive(Clone)]
pub struct Health {
    /// Asks the database.
    pub database: Probe,
    /// Asks the Kafka brokers; `None` where the product runs without.
    pub kafka: Option<Probe>,
    /// Version of the product.
    pub version: &'static str,
}

/// What a read model may be behind without anybody being told.
const TOLERATED_LAG_SECONDS: f64 = 5.0;
/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Up,
    Down,
    NotUsed,
}

impl Standing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::NotUsed => "not_used",
        }
    }
}

/// The edges `/health`, `/health/db`, `/health/kafka`, `/health/projections`, `/ready`.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/health/db", get(database))
        .route("/health/kafka", get(kafka))
        .route("/health/projections", get(projections))
        .route("/ready", get(ready))
        .with_state(state)
}

async fn ask(part: &'static str, probe: Option<&Probe>) -> Standing {
    let Some(probe) = probe else { return Standing::NotUsed };
    match timeout(PATIENCE, probe()).await {
        Ok(Ok(())) => Standing::Up,
        Ok(Err(reason)) => {
            tracing::warn!(part, reason, "a part does not answer");
            Standing::Down
        }
        Err(_elapsed) => {
            tracing::warn!(part, "a part does not answer in time");
            Standing::Down
        }
    }
}

async fn all(state: &ApiState) -> (Standing, Standing) {
    let health = &state.health;
    tokio::join!(ask("database", Some(&health.database)), ask("kafka", health.kafka.as_ref()))
}

fn body(state: &ApiState, (database, kafka): (Standing, Standing)) -> Value {
    let degraded = [database, kafka].contains(&Standing::Down);
    json!({
        "status": if degraded { "degraded" } else { "healthy" },
        "timestamp": state.bus.now(),
        "version": state.health.version,
        "services": { "database": database.as_str(), "kafka": kafka.as_str() },
    })
}

/// Whether the process lives: always 200, with what it misses in the body.
async fn health(State(state): State<ApiState>) -> Response {
    let standing = all(&state).await;
    Json(body(&state, standing)).into_response()
}

/// Whether requests can be served: 503 without a part that is needed.
async fn ready(State(state): State<ApiState>) -> Response {
    let standing = all(&state).await;
    let (database, kafka) = standing;
    // A read model that is new to this program and not filled yet cannot be asked.
    let is_filled = timeout(PATIENCE, lag::all_are_filled(&state.reads)).await;
    let is_filled = matches!(is_filled, Ok(Ok(true)));
    let status = match [database, kafka].contains(&Standing::Down) || !is_filled {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    };
    (status, Json(body(&state, standing))).into_response()
}

async fn database(State(state): State<ApiState>) -> Response {
    one(ask("database", Some(&state.health.database)).await)
}

async fn kafka(State(state): State<ApiState>) -> Response {
    one(ask("kafka", state.health.kafka.as_ref()).await)
}

fn one(standing: Standing) -> Response {
    let status = match standing {
        Standing::Up | Standing::NotUsed => StatusCode::OK,
        Standing::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(json!({ "status": standing.as_str() }))).into_response()
}

/// Whether the read models follow the log. How far each is behind is for operators: the query
/// `readModelLag`, and `/metrics`.
async fn projections(State(state): State<ApiState>) -> Response {
    match timeout(PATIENCE, lag::recent(&state.reads)).await {
        Ok(Ok(lags)) => {
            let is_behind = lags.iter().any(|lag| lag.seconds > TOLERATED_LAG_SECONDS);
            let is_parked = lags.iter().any(|lag| lag.n_parked > 0);
            let status = match (is_behind, is_parked) {
                (true, _) => "behind",
                (false, true) => "parked",
                (false, false) => "current",
            };
            Json(json!({ "status": status, "models": lags.len() })).into_response()
        }
        Ok(Err(_)) | Err(_) => one(Standing::Down),
    }
}

/// The edge `/metrics`. Where the read models can be asked, how far they are behind is measured first.
pub fn metrics(measured: Measured, reads: Option<Reads>) -> Router {
    Router::new().route("/metrics", get(told)).with_state((measured, reads))
}

async fn told(State((measured, reads)): State<(Measured, Option<Reads>)>) -> Response {
    if let Some(reads) = &reads
        && !matches!(timeout(PATIENCE, lag::recent(reads)).await, Ok(Ok(_)))
    {
        tracing::debug!("the lag of read models is as it was measured last");
    }
    let media = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    ([media], measured()).into_response()
}
