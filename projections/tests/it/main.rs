//! What the read side promises: the same rows however events arrive, pages and scopes that hold,
//! tokens that wait, and a live tail without a seam.

mod columns;
mod dashboard;
mod database;
mod delivery;
mod erasing;
mod folds;
mod live;
mod paging;
mod parking;
mod past;
mod rebuilding;
mod scopes;
mod tokens;
mod walls;
mod world;
