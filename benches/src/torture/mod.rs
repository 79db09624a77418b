//! Many writers against a reader that follows the log: nothing lost, nothing twice, no gap.
//!
//! The writers work through two logs with an append lane each, as two server processes would; the
//! reader has a third and hears of what is new by notification only. Some streams are written by all
//! writers at once, so that appends are refused all the time, which must leave no trace.

mod reader;
mod writers;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use eventlog::store::EventStore;

use self::reader::Seen;
use self::writers::{N_WRITERS, Written};
use crate::database::Database;
use crate::report::thousands;
use crate::settings::Settings;
use crate::system::{millis, quantile};

/// Runs it; answers the section and what was violated.
///
/// # Errors
/// The server cannot be reached, or an append failed for another reason than a conflict.
pub async fn run(settings: &Settings) -> anyhow::Result<(String, Vec<String>)> {
    let database = Database::create_with_schema(&settings.server, "torture").await?;
    let stores = [database.store()?, database.store()?];
    let tail = database.store()?;
    let began = Instant::now();
    let writing = writers::start(
        stores.each_ref().map(|store| Arc::clone(store) as Arc<dyn EventStore>),
        settings.torture_events,
    );
    let (written, seen) = tokio::try_join!(writing.finish(), reader::follow(&*tail, &writing))?;
    let elapsed = began.elapsed().as_secs_f64();
    for store in stores.iter().chain([&tail]) {
        store.stop().await;
    }
    database.drop().await?;
    let violations = seen.violations(&written);
    Ok((section(&written, &seen, elapsed, &violations), violations))
}

fn section(written: &[Written], seen: &Seen, elapsed: f64, violations: &[String]) -> String {
    let n_events: u64 = written.iter().map(|writer| writer.n_events).sum();
    let n_appends: usize = written.iter().map(|writer| writer.acknowledged.len()).sum();
    let n_refused: u64 = written.iter().map(|writer| writer.n_refused).sum();
    let mut lags = seen.lags.clone();
    lags.sort_unstable();
    let mut text = format!(
        "## A reader that follows {N_WRITERS} writers\n\n\
         {N_WRITERS} writers append 1 to 10 events at a time through two append lanes, as from two \
         processes, partly to the same streams; one reader follows with `read_log` and `wait_past` \
         through a third. The reader checks every event: position, order of its stream, order of \
         times, hash, and that its writer's receipt names the same position. A refused append must \
         leave nothing behind.\n\n\
         | | |\n|---|---|\n"
    );
    let lag = |percent| millis(quantile(&lags, percent));
    for (name, value) in [
        ("events acknowledged", thousands(n_events as f64)),
        ("events read", thousands(lags.len() as f64)),
        ("appends acknowledged", thousands(n_appends as f64)),
        ("appends refused, another was first", thousands(n_refused as f64)),
        ("events a second, written and read", thousands(n_events as f64 / elapsed)),
        (
            "lag from recorded to read: half, 99 in a hundred, worst",
            format!("{:.1} ms, {:.1} ms, {:.1} ms", lag(50), lag(99), lag(100)),
        ),
    ] {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    let verdict = if violations.is_empty() {
        "**None lost, none twice, positions consecutive, times never falling, all hashes right.**"
            .to_owned()
    } else {
        format!("**Violated: {}.**", violations.join(", "))
    };
    let _ = writeln!(text, "\n{verdict}");
    text
}
