//! Measures the log and the bus beside the bare limit of the same database, in the same run, and
//! writes `docs/benchmarks.md`.
//!
//! Absolute figures say little about another machine, so every figure stands beside one of the same
//! minute: systems take turns within each round, and what is reported is the median of the rounds'
//! own ratios.

mod breakdown;
mod bus;
mod database;
mod load;
mod machine;
mod peers;
mod project;
mod raw;
mod rebuild;
mod relay;
mod report;
mod settings;
mod snapshot;
mod system;
mod torture;

use anyhow::bail;
use tokio::task::JoinSet;

use crate::report::Report;
use crate::settings::{Part, Settings};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::read()?;
    // As a task, as a server handles a command: the thread that waits here has to be woken for each
    // answer by another one, which would be measured, too.
    JoinSet::from_iter([run(settings)]).join_all().await.into_iter().collect()
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut report = Report::new();
    report.add(machine::describe(&settings).await?);
    let mut violations = vec![];
    if settings.has(Part::Bus) {
        report.add(load::run(&settings).await?);
    }
    if settings.has(Part::Snapshot) {
        report.add(snapshot::run(&settings).await?);
    }
    if settings.has(Part::Torture) {
        let (text, found) = torture::run(&settings).await?;
        report.add(text);
        violations = found;
    }
    if settings.has(Part::Rebuild) {
        report.add(rebuild::run(&settings).await?);
    }
    if settings.has(Part::Project) {
        report.add(project::run(&settings).await?);
    }
    if settings.has(Part::Relay) {
        report.add(relay::run(&settings).await?);
    }
    if settings.is_whole() {
        report.write()?;
    }
    if !violations.is_empty() {
        bail!("the log broke its promises: {}", violations.join(", "));
    }
    Ok(())
}
