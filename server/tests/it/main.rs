//! The product as a whole, from outside.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment says where the servers are, and tasks end with their test's runtime"
)]

mod analytics;
mod architecture;
mod bad_input;
mod client;
mod config;
mod contracts;
mod distributed;
mod door;
mod embedded;
mod events_export;
mod faults;
mod job;
mod orders;
mod outages;
mod process;
mod published;
mod rights;
mod servers;
mod socket;
mod stores;
mod subscriptions;
mod topic;
mod world;
