//! Reactors against the outside world: model endpoints that behave and misbehave, files of all
//! kinds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ai_contract;
mod ai_openai;
mod ai_rules;
mod failing_ai;
mod fake_provider;
mod live;
mod redelivery;
mod resume;
mod resume_reading;
mod time;
mod whole_interview;
mod world;
