//! What the read side promises: the same rows however events arrive, pages and scopes that hold,
//! tokens that wait, and a live tail without a seam.

#![expect(
    clippy::disallowed_methods,
    reason = "tests are told where the server is and name their databases by the machine's time"
)]

mod columns;
mod dashboard;
mod database;
mod delivery;
mod erasing;
mod folds;
mod live;
mod paging;
mod past;
mod scopes;
mod tokens;
mod world;
