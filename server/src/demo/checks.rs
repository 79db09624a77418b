//! What the demo asserts: named sentences, each found true or not.

use std::sync::{Arc, Mutex, PoisonError};

/// One sentence about the product, and whether it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What must hold.
    pub sentence: String,
    /// Whether it held.
    pub passed: bool,
    /// What was seen instead; empty if it held.
    pub detail: String,
}

/// All sentences of one run in the order in which they were tried. Clones share them.
#[derive(Clone, Debug)]
pub struct Checks {
    tried: Arc<Mutex<Vec<Check>>>,
    quiet: bool,
}

impl Checks {
    /// None yet. `quiet` prints nothing as they are tried.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self { tried: Arc::default(), quiet }
    }

    /// Notes whether a sentence holds. `detail` says what was seen, and is asked only if it does not.
    pub fn check(
        &self,
        sentence: impl Into<String>,
        passed: bool,
        detail: impl FnOnce() -> String,
    ) {
        let detail = if passed { String::new() } else { detail() };
        let check = Check { sentence: sentence.into(), passed, detail };
        if !self.quiet {
            println!("      {check}");
        }
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).push(check);
    }

    /// The same for two things that must be equal.
    pub fn equal<T: PartialEq + std::fmt::Debug>(
        &self,
        sentence: impl Into<String>,
        found: &T,
        expected: &T,
    ) {
        let detail = || format!("found {found:?}, expected {expected:?}");
        self.check(sentence, found == expected, detail);
    }

    /// Everything tried up to now.
    #[must_use]
    pub fn all(&self) -> Vec<Check> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.passed {
            write!(f, "ok      {}", self.sentence)
        } else {
            write!(f, "FAILED  {}: {}", self.sentence, self.detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_says_what_was_seen() {
        let checks = Checks::new(true);
        checks.equal("two and two make four", &(2 + 2), &4);
        checks.equal("the sky is green", &"blue", &"green");
        let lines: Vec<_> = checks.all().iter().map(ToString::to_string).collect();
        assert_eq!(lines[0], "ok      two and two make four");
        assert_eq!(lines[1], "FAILED  the sky is green: found \"blue\", expected \"green\"");
    }
}
