//! The read side: read models folded from the log, their queries, replay, and the live tail.
//!
//! Nothing here can issue an order, and nothing is decided here. The list of read models is
//! [`model::MODELS`]; each has its rows, its fold and its queries in one file. How
//! their tables come about is told in [`generation`] and [`rebuild`].

pub mod access_log;
pub mod ai_calls;
pub mod applications;
pub mod applied;
pub mod as_of;
mod bulk;
pub mod candidates;
pub mod companies;
mod copy;
pub mod dashboard;
mod fill;
pub mod generation;
pub mod history;
pub mod interviews;
pub mod jobs;
pub mod lag;
mod lag_elsewhere;
pub mod live;
pub mod members;
pub mod model;
pub mod observations;
pub mod page;
pub mod parked;
pub mod projector;
pub mod proof;
pub mod query;
pub mod rebuild;
mod recent;
pub mod resumes;
mod rows;
pub mod runner;
mod scope;
mod switch;
pub mod token;
pub mod transcripts;
pub mod verdicts;
pub mod verify;
pub mod wall;

// Whoever stands above the read side needs the log's places and events, but not the log.
pub use eventlog::codec::Recorded;
pub use eventlog::envelope::{Position, StreamId, Version};
pub use query::{QueryError, Reads, View};
pub use token::Token;
