//! What `serve` serves: the API over this process's parts, with probes of its surroundings.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api::health::{self, Health, Measured, Probe};
use api::peer::Proxies;
use api::transport::SocketSettings;
use api::transport::documents::Trusted;
use api::{ApiState, explorer, transport};
use eventlog::kafka::{self, KafkaSettings};
use identity::Identity;
use metrics_exporter_prometheus::PrometheusHandle;
use projections::Reads;
use projections::live::LiveTail;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::parts::{self, Parts};
use crate::wall;

/// The routes of the API, and those of whoever looks after the process.
pub struct Routes {
    /// The API, with the page for trying it by hand where the settings want it.
    pub api: axum::Router,
    /// What was measured.
    pub metrics: axum::Router,
}

/// What is served.
///
/// # Errors
/// When the list of trusted documents cannot be read, that of trusted proxies has no addresses, or the
/// tables cannot be reached behind their wall.
pub async fn router(
    parts: &Parts,
    identity: Identity,
    metrics: PrometheusHandle,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<Routes> {
    let proxies = Proxies::parse(&parts.config.http.trusted_proxies);
    // Sooner than the connection itself is cut, so that a socket can be closed with a code.
    let stall = Duration::from_secs(parts.config.http.stall_seconds);
    let socket = SocketSettings { write_timeout: stall * 2 / 3, ..Default::default() };
    let settings = transport::Settings {
        socket,
        trusted: trusted(parts)?,
        proxies: proxies.context("http.trusted_proxies")?,
        ..Default::default()
    };
    let reads = Reads::new(
        parts.pool.clone(),
        wall::readers(parts).await?,
        parts.log(),
        parts.codec.clone(),
        Arc::clone(&parts.clock),
    );
    let live = LiveTail::start(parts.log(), parts.codec.clone(), stop.clone());
    let tail = live.clone();
    tasks.spawn(async move { tail.stopped().await });
    let metrics = health::metrics(measured(metrics), Some(reads.clone()));
    let api = api::router(ApiState {
        bus: Arc::clone(&parts.bus),
        access: api::Recorder::new(Arc::clone(&parts.bus)),
        identity,
        rate_limits: parts.rate_limits().await?,
        reads,
        live,
        files: parts.files.clone(),
        health: Health {
            database: database(parts.pool.clone()),
            kafka: parts.kafka().map(broker),
            version: env!("CARGO_PKG_VERSION"),
        },
        settings,
        tasks: tasks.clone(),
    });
    let api = if parts.config.http.explorer { api.merge(explorer::router()) } else { api };
    Ok(Routes { api, metrics })
}

/// What the handle renders, for the edge that tells it.
pub fn measured(metrics: PrometheusHandle) -> Measured {
    Arc::new(move || metrics.render())
}

/// The documents that the settings name; `None` is any.
fn trusted(parts: &Parts) -> anyhow::Result<Option<Trusted>> {
    let path = parts.config.http.trusted_documents.as_str();
    if path.is_empty() {
        return Ok(None);
    }
    let read = || format!("http.trusted_documents: {path}");
    let manifest = std::fs::read_to_string(path).with_context(read)?;
    Trusted::parse(&manifest).map(Some).map_err(anyhow::Error::msg).with_context(read)
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
