//! Faults done to the real product, a row each: what was done, the proof that it happened, and that
//! nothing was lost by it.
//!
//! Called as a test it plays the rows that take seconds. `make chaos` plays all of them, longer;
//! `make chaos ROWS="A2 D6"` only those. Ends with 1 if a row failed; the other rows are played all
//! the same.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment says where the servers are, and tasks end with their row's runtime"
)]

#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "../it/client.rs"]
mod client;
#[path = "../it/door.rs"]
mod door;
#[path = "../it/orders.rs"]
mod orders;
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "../it/process.rs"]
mod process;
#[path = "../it/servers.rs"]
mod servers;
#[path = "../it/topic.rs"]
mod topic;
#[path = "../it/verifiers.rs"]
mod verifiers;
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "../it/world.rs"]
mod world;

mod api;
mod brokers;
mod clocks;
mod database;
mod load;
mod newer;
mod product;
mod projectors;
mod proofs;
mod relays;
mod row;

use std::process::ExitCode;

use row::{Length, Row};

/// The advisory lock that a row holds while its trigger waits for it.
const GATE: i64 = 4711;

/// All rows, in the order in which they are played.
fn rows() -> impl Iterator<Item = Row> {
    let all = [
        api::ROWS,
        relays::ROWS,
        projectors::ROWS,
        database::ROWS,
        brokers::ROWS,
        clocks::ROWS,
        newer::ROWS,
        proofs::ROWS,
    ];
    all.into_iter().flatten().copied()
}

fn main() -> ExitCode {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_whole = wanted.iter().any(|word| word == "--whole");
    wanted.retain(|word| !word.starts_with('-'));
    let length = if is_whole { Length::Whole } else { Length::Short };
    let is_played = |row: &Row| match &wanted[..] {
        [] => is_whole || row.is_short,
        names => names.iter().any(|name| name == row.name),
    };
    let mut n_failed = 0;
    let mut n_played = 0;
    for row in rows().filter(is_played) {
        n_played += 1;
        if !row.play(length) {
            n_failed += 1;
        }
    }
    println!("chaos: {n_played} rows played, {n_failed} failed");
    if n_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
