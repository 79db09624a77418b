//! Lets several threads go on at the same moment, once all have come so far.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whoever waits longer goes on alone, so that one that never comes does not hold up the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gate for so many threads, each of which comes once; who comes later finds it open.
pub struct Gate {
    state: Mutex<State>,
    opened: Condvar,
}

struct State {
    n_awaited: usize,
    opened_at: Option<Instant>,
}

impl Gate {
    /// A gate that opens once so many have come.
    pub fn new(n: usize) -> Self {
        let state = State { n_awaited: n, opened_at: None };
        Self { state: Mutex::new(state), opened: Condvar::new() }
    }

    /// Blocks until all are there.
    pub fn pass(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.opened_at.is_some() {
            return;
        }
        state.n_awaited = state.n_awaited.saturating_sub(1);
        if state.n_awaited == 0 {
            state.opened_at = Some(Instant::now());
            self.opened.notify_all();
            return;
        }
        let is_shut = |state: &mut State| state.opened_at.is_none();
        drop(self.opened.wait_timeout_while(state, PATIENCE, is_shut));
    }

    /// When it opened, if it did.
    pub fn opened_at(&self) -> Option<Instant> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).opened_at
    }
}
