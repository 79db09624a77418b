//! The main job, played from end to end through the public API alone: an interview from the job's
//! description to a signed verdict, and its replay. Whoever runs it sees what the product does, and
//! whether it does what it must.
//!
//! Nothing here uses a part of the product but its HTTP and WebSocket API, and Kafka's topics as
//! any consumer reads them.

mod cast;
mod checks;
mod client;
mod decision;
mod examples;
mod hiring;
mod probes;
mod replay;
mod report;
mod script;
mod socket;
mod talk;
mod topic;

use std::path::PathBuf;
use std::time::Duration;

use eventlog::kafka::KafkaSettings;

pub use checks::{Check, Checks};
pub use report::{Failed, Report};

/// What the demo plays with.
///
/// There is no `Debug` on purpose: it holds a password.
#[derive(Clone)]
pub struct DemoSettings {
    /// Where the API is, such as `http://127.0.0.1:8080`.
    pub base_url: String,
    /// The platform's operator, who makes companies for this run: address and password.
    pub operator: (String, String),
    /// The folder `examples/`.
    pub examples: PathBuf,
    /// Kafka, whose topic must hold the interview; not looked at without it.
    pub kafka: Option<KafkaSettings>,
}

/// How the demo plays.
#[derive(Clone, Debug)]
pub struct Manner {
    /// How long one step may take before a sentence says what did not happen.
    pub patience: Duration,
    /// How often the candidate's socket is cut during the first interview.
    pub cuts: u32,
    /// Prints nothing.
    pub quiet: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { patience: Duration::from_secs(30), cuts: 3, quiet: false }
    }
}

/// Plays the main job and lists what it asserted.
///
/// # Errors
/// See [`run_with`].
pub async fn run(settings: DemoSettings) -> anyhow::Result<Report> {
    run_with(settings, Manner::default()).await
}

/// The same in this manner.
///
/// # Errors
/// [`Failed`] with the whole report when anything does not hold; another error when the examples
/// cannot be read.
pub async fn run_with(settings: DemoSettings, manner: Manner) -> anyhow::Result<Report> {
    let quiet = manner.quiet;
    let stage = script::Stage::new(settings, manner)?;
    let report = script::play(stage).await;
    let n_failed = report.n_failed();
    if !quiet {
        println!("\nWhat was asserted");
        for (n, check) in report.checks.iter().enumerate() {
            println!("{:>4}  {check}", n + 1);
        }
        println!("\n{} things hold, {n_failed} do not.", report.checks.len() - n_failed);
    }
    match n_failed {
        0 => Ok(report),
        _ => Err(Failed { n_failed, report: Box::new(report) }.into()),
    }
}
