//! Logs and metrics. No personal datum and no secret stands in either.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Libraries whose lines are noise, or could quote a file's content: ends of partitions told as
/// errors, schemas that exist already, readers of PDFs.
const QUIET: &str = "rdkafka=off,sqlx::postgres::notice=warn,pdf_extract=off,lopdf=off";

/// Starts logging to standard error.
///
/// # Errors
/// When the filter is not one, or logging was started before.
pub fn start_log(settings: &Log) -> anyhow::Result<()> {
    // What is given comes last and wins.
    let filter = EnvFilter::try_new(format!("{QUIET},{}", settings.filter))
        .map_err(|_| anyhow::anyhow!("log.filter: is not a filter, such as info,eventlog=debug"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}

/// Starts collecting metrics; the handle renders them as Prometheus text.
///
/// # Errors
/// When a collector was started before.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    Ok(PrometheusBuilder::new().install_recorder()?)
}
