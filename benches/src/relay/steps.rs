//! Where a relay's time goes, from the places that it passes. It tells only of one topic: a relay that
//! publishes several at once passes them in one another's time.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The places of a transaction, in order.
const PLACES: [&str; 4] =
    ["before_produce", "after_produce_before_mark", "after_mark_before_commit", "after_commit"];

/// When the relay passed each place of its transactions.
#[derive(Default)]
pub struct Watch(Mutex<Vec<[Option<Instant>; 4]>>);

/// Mean milliseconds of a transaction's steps.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// Transactions that were looked at.
    pub n_transactions: usize,
    /// From the commit before: waiting for events, reading them, making records.
    pub between: f64,
    /// Sending the records and waiting until the broker has them.
    pub records: f64,
    /// The same for the mark.
    pub mark: f64,
    /// Committing.
    pub commit: f64,
}

impl Watch {
    /// To be told of each place.
    pub fn passed(&self, place: &str) {
        let Some(nth) = PLACES.iter().position(|known| *known == place) else { return };
        let now = Some(Instant::now());
        let mut transactions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if nth == 0 {
            transactions.push([now, None, None, None]);
        } else if let Some(last) = transactions.last_mut() {
            last[nth] = now;
        }
    }

    /// The steps of those transactions that began after `since`.
    pub fn steps(&self, since: Instant) -> Steps {
        let transactions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let whole: Vec<[Instant; 4]> = transactions
            .iter()
            .filter_map(|&[a, b, c, d]| Some([a?, b?, c?, d?]))
            .filter(|[began_at, ..]| *began_at >= since)
            .collect();
        let millis = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e3;
        let mean = |sum: f64, n: usize| sum / n.max(1) as f64;
        let step = |nth: usize| {
            mean(whole.iter().map(|at| millis(at[nth], at[nth + 1])).sum(), whole.len())
        };
        let gaps = whole.windows(2).map(|pair| millis(pair[0][3], pair[1][0]));
        Steps {
            n_transactions: whole.len(),
            between: mean(gaps.sum(), whole.len().saturating_sub(1)),
            records: step(0),
            mark: step(1),
            commit: step(2),
        }
    }
}
