//! What was measured, a line each, and the section of docs/benchmarks.md that holds it.

use std::fmt::Write;
use std::time::Duration;

use crate::Plan;
use crate::world::root;

const HEADING: &str = "## Load";

/// The lines so far.
#[derive(Default)]
pub struct Report(Vec<String>);

impl Report {
    /// Adds a line and prints it.
    pub fn add(&mut self, line: String) {
        println!("{line}");
        self.0.push(line);
    }

    /// Replaces the section in docs/benchmarks.md.
    pub fn write(&self, plan: &Plan) {
        let path = root().join("docs/benchmarks.md");
        let whole = std::fs::read_to_string(&path).expect("docs/benchmarks.md");
        let start = whole.find(HEADING).unwrap_or(whole.len());
        let behind = whole[start..].find("\n## ").map_or(whole.len(), |at| start + at + 1);
        let build = if cfg!(debug_assertions) { "without optimization" } else { "optimized" };
        let (rate, seconds) = (plan.rate, plan.seconds);
        let mut section = format!(
            "{HEADING}\n\nWritten by `make load`: server, database and clients on one machine of {} \
             cores, built {build}; {rate} requests a second for {seconds} s beside the rest.\n\n",
            std::thread::available_parallelism().map_or(0, usize::from)
        );
        for line in &self.0 {
            let _ = writeln!(section, "- {line}");
        }
        let before = whole[..start].trim_end();
        let mut text = format!("{before}\n\n{section}");
        if behind < whole.len() {
            let _ = write!(text, "\n{}", &whole[behind..]);
        }
        std::fs::write(&path, text).expect("docs/benchmarks.md can be written");
        println!("written to docs/benchmarks.md");
    }
}

/// Half and 99 in a hundred of these times are at most so long.
pub fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    format!("half within {:.1} ms, 99 in a hundred within {:.1} ms", ms(at(50)), ms(at(99)))
}
