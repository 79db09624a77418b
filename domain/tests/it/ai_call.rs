//! Calls to models: each recorded once, never refused.

use domain::ai_call::{AiCalls, Call, Command, Event, Purpose};
use domain::personal::Subject;
use domain::testing::given;
use domain::{Aggregate, testing};

use crate::world::*;

fn call() -> Call {
    Call {
        purpose: Purpose::NextQuestion,
        provenance: provenance(),
        request_hash: "cd".repeat(32),
        tokens_in: 10,
        tokens_out: 5,
        cost_micro_usd: 1,
        latency_ms: 20,
        attempt: 1,
        prompt: personal("Ask."),
        answer: personal("Why?"),
    }
}

fn answered() -> Command {
    Command::RecordAnswered { call: Box::new(call()) }
}

fn failed() -> Command {
    Command::RecordFailed {
        call_id: provenance().call_id,
        purpose: Purpose::NextQuestion,
        code: "AI_001".into(),
        n_attempts: 3,
    }
}

#[test]
fn a_call_is_recorded_once() {
    let none = given::<AiCalls>(noon(), &machine(), []);
    none.when(answered()).then([Event::Completed(call())]);
    let recorded = given::<AiCalls>(noon(), &machine(), [Event::Completed(call())]);
    recorded.when(answered()).nothing();
    recorded.when(failed()).nothing();
}

#[test]
fn a_failure_is_recorded_once() {
    let none = given::<AiCalls>(noon(), &machine(), []);
    let events = none.when(failed()).result().expect("never refused");
    let failed_before = given::<AiCalls>(noon(), &machine(), events);
    failed_before.when(failed()).nothing();
    failed_before.when(answered()).nothing();
}

#[test]
fn a_call_is_about_whom_it_speaks_of() {
    let calls: AiCalls = testing::state(noon(), [Event::Completed(call())]);
    assert_eq!(calls.subject(), Some(Subject::Candidate(MIRA)));
}
