//! All read models rebuilt from a long log of whole hiring steps, as the demo plays them.

pub mod log;
#[expect(dead_code, reason = "it tells more than is told here")]
#[path = "../../../projections/tests/it/world.rs"]
mod world;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use eventlog::codec::Codec;
use eventlog::fail_point::no_fail_point;
use eventlog::store::EventStore;
use projections::model::MODELS;
use projections::rebuild::{IfDifferent, Progress, Rebuilder, Stage};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::database::{Database, Parts};
use crate::report::thousands;
use crate::settings::Settings;

/// Measures a first rebuild from nothing, and one beside it, which is compared with the first.
///
/// # Errors
/// The database refuses, or the rows of both differ.
pub async fn run(settings: &Settings) -> anyhow::Result<String> {
    let database = Database::create_with_schema(&settings.server, "rebuild").await?;
    let parts = Parts::open(&database).await?;
    let codec = Codec::new(Arc::clone(&parts.vault) as _);
    let n_events = log::write(&database.pool, &codec, settings.rebuild_events).await?;
    let n_workers = std::thread::available_parallelism()?.get() + 1;
    let mut text = format!(
        "## Rebuild\n\nAll {} read models from {} events of whole hiring steps (34 events each, {} of \
         them interleaved), with at most {n_workers} tasks that write.\n\n\
         | rebuild | seconds | events/s | of which filling | indexing | comparing |\n\
         |---|---|---|---|---|---|\n",
        MODELS.len(),
        thousands(as_float(n_events)),
        log::AT_ONCE
    );
    for what in ["from nothing", "beside the first"] {
        let store = Arc::clone(&parts.store) as Arc<dyn EventStore>;
        let (pool, stop) = (database.pool.clone(), CancellationToken::new());
        let fail_point = no_fail_point();
        let rebuilder = Rebuilder::new(pool, store, codec.clone(), fail_point, n_workers, stop);
        let progress = watch::Sender::default();
        let began_at = Instant::now();
        let (stages, mut told) = (watch::Sender::new([0.0; 5]), progress.subscribe());
        let rebuilt = tokio::select! {
            rebuilt = rebuilder.rebuild(MODELS, IfDifferent::Switch, &progress) => rebuilt?,
            never = async {
                let mut entered = Instant::now();
                let mut stage = Stage::Filling;
                loop {
                    // The sender outlives this.
                    let _ = told.changed().await;
                    let Progress { stage: now, .. } = *told.borrow_and_update();
                    if now != stage {
                        stages.send_modify(|s| s[stage as usize] += entered.elapsed().as_secs_f64());
                        (stage, entered) = (now, Instant::now());
                    }
                }
            } => never,
        };
        let seconds = began_at.elapsed().as_secs_f64();
        let stages = *stages.borrow();
        writeln!(
            text,
            "| {what} | {seconds:.1} | {} | {:.1} | {:.1} | {:.1} |",
            thousands(as_float(n_events) / seconds),
            stages[Stage::Filling as usize],
            stages[Stage::Indexing as usize],
            stages[Stage::Comparing as usize],
        )?;
        let differs = rebuilt.iter().find(|r| r.compared.as_ref().is_some_and(|c| !c.is_equal()));
        let is_first = what == "from nothing";
        ensure!(is_first || differs.is_none(), "two rebuilds of one log differ: {differs:?}");
    }
    parts.close().await;
    database.drop().await?;
    Ok(text)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn as_float(number: u64) -> f64 {
    number as f64
}
