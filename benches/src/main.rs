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
mod raw;
mod rebuild;
mod report;
mod settings;
mod snapshot;
mod system;
mod torture;

use anyhow::bail;

use crate::report::Report;
use crate::settings::{Part, Settings};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::read()?;
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
    if settings.is_whole() {
        report.write()?;
    }
    if !violations.is_empty() {
        bail!("the log broke its promises: {}", violations.join(", "));
    }
    Ok(())
}
