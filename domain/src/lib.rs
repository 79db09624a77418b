//! The rules of Colloquy: pure, without IO, clock or randomness. In reading order.

pub mod ids;
pub mod personal;
pub mod values;

pub mod aggregate;
pub mod caller;
pub mod claims;
pub mod custom_role;
pub mod event;
pub mod facts;
pub mod file_kind;
pub mod permission;

pub mod access;
pub mod account;
pub mod ai_call;
pub mod application;
pub mod candidate;
pub mod company;
pub mod company_request;
pub mod interview;
pub mod job;
pub mod member;
pub mod observation;
pub mod resume;
pub mod verdict;

pub mod codes;
#[cfg(feature = "schema")]
pub mod samples;
#[cfg(feature = "schema")]
pub mod schema;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use aggregate::{Aggregate, Context, PublicCode};
pub use caller::{Actor, Caller, Role};
pub use event::Event;
pub use facts::{Facts, Reference};
pub use personal::{Personal, Subject};
