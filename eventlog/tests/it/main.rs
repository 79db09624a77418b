//! What the log and the vault promise, on every store and on a real Postgres.

#![expect(
    clippy::disallowed_methods,
    reason = "tests are told where the server is, and wait for their own tasks"
)]

mod chaos;
mod contract;
mod database;
mod deadlines;
#[cfg(all(feature = "eventstoredb", feature = "eventstoredb-stand-in"))]
mod eventstoredb;
mod ledger;
mod outage;
mod postgres;
mod proof;
mod same_answers;
mod samples;
mod vault;
