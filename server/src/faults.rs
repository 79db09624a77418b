//! Fail points: a process can be told to die at a named place, so that tests show what is left.

use std::sync::Arc;

use eventlog::fail_point::{FailPoint, no_fail_point};

/// The fail point that the environment asks for: `COLLOQUY_FAILPOINT=name` or `name:n` ends the
/// process by SIGKILL when the place is passed for the n-th time. Unset, nothing ever happens.
#[must_use]
pub fn from_environment() -> FailPoint {
    #[expect(clippy::disallowed_methods, reason = "a switch for tests, not a setting")]
    let wanted = std::env::var("COLLOQUY_FAILPOINT").unwrap_or_default();
    if wanted.is_empty() {
        return no_fail_point();
    }
    let (name, nth) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    let (name, nth) = (name.to_owned(), nth.parse::<u64>().unwrap_or(1));
    let passed = std::sync::atomic::AtomicU64::new(0);
    Arc::new(move |place| {
        let hit =
            place == name && passed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == nth;
        if hit {
            // SIGKILL, so that nothing is cleaned up: the same as a machine that goes away.
            let me = nix::unistd::Pid::this();
            let _ = nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGKILL);
        }
    })
}
