//! How long it takes to refuse a document that costs more than it looks.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::costly;
use crate::report::percentiles;

/// Within which a refusal is to be told.
const GOAL: Duration = Duration::from_millis(50);

/// Times for each document, of which the shortest counts: it is the work that is measured, not what else
/// the machine does.
const N_TIMES: usize = 5;

/// Sends each document that is refused, and says how long the answers took.
pub async fn costly_documents(who: &Client) -> String {
    let mut times = vec![];
    for (what, document, code) in costly::all() {
        let mut best = Duration::MAX;
        for _ in 0..N_TIMES {
            let began_at = Instant::now();
            let answer = who.try_ask(&document, &json!({})).await.expect("an answer");
            best = best.min(began_at.elapsed());
            assert_eq!(answer.expect_err(what).code, code, "{what}");
        }
        times.push((best, what));
    }
    times.sort_unstable();
    let n_late = times.iter().filter(|(time, _)| *time > GOAL).count();
    let (slowest, what) = times.last().copied().unwrap_or_default();
    format!(
        "{} documents that cost more than they look, refused: {}, the slowest {:.1} ms ({what}); {n_late} \
         of them later than {} ms",
        times.len(),
        percentiles(times.iter().map(|(time, _)| *time).collect()),
        slowest.as_secs_f64() * 1000.0,
        GOAL.as_millis(),
    )
}
