//! What a run leaves behind: the checks, the ids of what it made, and the final states.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::checks::Check;

/// A run of the demo.
#[derive(Clone, Debug)]
pub struct Report {
    /// Global ids of the interviews held, the good one first.
    pub interviews: Vec<String>,
    /// Every sentence tried.
    pub checks: Vec<Check>,
    /// What the auditor and HR see at the end: interviews with transcripts and histories, verdicts,
    /// applications, as the API answers them.
    pub final_states: Value,
    /// What stands in this run's names and addresses alone.
    run: String,
}

/// The demo ended with something that does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{n_failed} of {} things do not hold", report.checks.len())]
pub struct Failed {
    /// How many.
    pub n_failed: usize,
    /// The whole run.
    pub report: Box<Report>,
}

/// Members that differ from run to run: places in the log, and how long something took.
const LEFT_OUT: [&str; 6] =
    ["position", "cursor", "hash", "responseTimeMs", "latencyMs", "requestHash"];

impl Report {
    /// A report of the run with this mark.
    #[must_use]
    pub fn new(run: &str, interviews: Vec<String>, checks: Vec<Check>, states: Value) -> Self {
        Self { interviews, checks, final_states: states, run: run.to_owned() }
    }

    /// How many sentences did not hold.
    #[must_use]
    pub fn n_failed(&self) -> usize {
        self.checks.iter().filter(|check| !check.passed).count()
    }

    /// The final states such that two runs that did the same are equal: each id by its kind and the
    /// order of its first appearance, so that what refers to the same thing still does; times, places
    /// in the log and durations left out; the run's mark taken out of names.
    #[must_use]
    pub fn normalized(&self) -> Value {
        let mut names = Names { run: &self.run, seen: HashMap::new(), counts: HashMap::new() };
        names.of(&self.final_states)
    }
}

struct Names<'a> {
    run: &'a str,
    seen: HashMap<String, String>,
    counts: HashMap<String, usize>,
}

impl Names<'_> {
    fn of(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let kept = members.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
                let mut named = Map::new();
                for (name, value) in kept {
                    named.insert(name.clone(), self.of(value));
                }
                Value::Object(named)
            }
            Value::Array(items) => Value::Array(items.iter().map(|item| self.of(item)).collect()),
            Value::String(text) => Value::String(self.text(text)),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        if is_time(text) {
            return "(time)".to_owned();
        }
        let Some(kind) = kind_of_id(text) else {
            return text.replace(self.run, "(run)");
        };
        if let Some(name) = self.seen.get(text) {
            return name.clone();
        }
        let count = self.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        let name = format!("{kind} {count}");
        self.seen.insert(text.to_owned(), name.clone());
        name
    }
}

/// The kind of a global id such as `intv_…`, or of a plain UUID.
fn kind_of_id(text: &str) -> Option<&str> {
    if uuid::Uuid::try_parse(text).is_ok() {
        return Some("uuid");
    }
    let (kind, rest) = text.split_once('_')?;
    (rest.len() == 32 && uuid::Uuid::try_parse(rest).is_ok()).then_some(kind)
}

fn is_time(text: &str) -> bool {
    text.as_bytes().get(10) == Some(&b'T') && chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(run: &str, first: u8, cited: u8, at: &str) -> Report {
        let id = |digit: u8| format!("answ_{}", digit.to_string().repeat(32));
        let states = json!({
            "mail": format!("hr-{run}@acme.example"),
            "answers": [{ "id": id(first), "responseTimeMs": 7 * u32::from(first), "at": at }],
            "cited": id(cited),
            "text": "took_2026-01-01T00:00:00Z",
        });
        Report::new(run, vec![], vec![], states)
    }

    #[test]
    fn two_runs_that_did_the_same_are_equal_and_others_are_not() {
        let one = report("0a1b", 1, 1, "2026-11-21T09:00:00.123Z").normalized();
        let two = report("77ff", 2, 2, "2027-01-02T10:00:00Z").normalized();
        assert_eq!(one, two);
        assert_eq!(one["cited"], "answ 1");
        assert_eq!(one["mail"], "hr-(run)@acme.example");
        let other = report("77ff", 2, 3, "2027-01-02T10:00:00Z").normalized();
        assert_ne!(one, other);
    }
}
