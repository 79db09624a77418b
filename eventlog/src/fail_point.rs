//! Named places where a process can be told to die, so that tests show what is left.

use std::sync::Arc;

/// Called with the name of the place that is being passed. It may block, or end the process.
pub type FailPoint = Arc<dyn Fn(&'static str) + Send + Sync>;

/// A fail point that never does anything.
#[must_use]
pub fn no_fail_point() -> FailPoint {
    Arc::new(|_| {})
}
