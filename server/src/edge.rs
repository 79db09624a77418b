//! What `serve` serves: the API over this process's parts, with probes of its surroundings.

use std::sync::Arc;
use std::time::Duration;

use api::health::{Health, Probe};
use api::{ApiState, transport};
use eventlog::kafka::{self, KafkaSettings};
use identity::Identity;
use metrics_exporter_prometheus::PrometheusHandle;
use projections::Reads;
use projections::live::LiveTail;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::parts::{self, Parts};

/// The API's routes.
pub fn router(
    parts: &Parts,
    identity: Identity,
    metrics: PrometheusHandle,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> axum::Router {
    let reads =
        Reads::new(parts.pool.clone(), parts.log(), parts.codec.clone(), Arc::clone(&parts.clock));
    let live = LiveTail::start(parts.log(), parts.codec.clone(), stop.clone());
    let tail = live.clone();
    tasks.spawn(async move { tail.stopped().await });
    api::router(ApiState {
        bus: Arc::clone(&parts.bus),
        identity,
        reads,
        live,
        files: parts.files.clone(),
        health: Health {
            database: database(parts.pool.clone()),
            kafka: parts.kafka().map(broker),
            metrics: Arc::new(move || metrics.render()),
            version: env!("CARGO_PKG_VERSION"),
        },
        settings: transport::Settings::default(),
        tasks: tasks.clone(),
    })
}

fn database(pool: PgPool) -> Probe {
    Arc::new(move || {
        let pool = pool.clone();
        Box::pin(async move {
            let asked = sqlx::query("select 1").execute(&pool).await;
            asked.map(drop).map_err(|error| parts::kind(&error))
        })
    })
}

fn broker(settings: KafkaSettings) -> Probe {
    Arc::new(move || {
        let settings = settings.clone();
        Box::pin(async move { kafka::ping(&settings, Duration::from_millis(1500)).await })
    })
}
