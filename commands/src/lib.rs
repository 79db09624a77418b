//! The write side. One door, [`Bus`]: authorize, load, decide, append, answer with a [`Receipt`].

mod bus;
mod cache;
mod error;
mod ids;
mod turns;

pub use bus::{Bus, BusSettings, Order, Receipt};
pub use error::CommandError;
pub use eventlog::clock::Clock;
pub use eventlog::envelope::{Position, StreamId, Version};
pub use eventlog::files::{FileError, Files};
pub use ids::{derive_id, new_id};
