//! The product as a whole, from outside.

mod architecture;
mod bad_input;
mod client;
mod config;
mod contracts;
mod distributed;
mod door;
mod embedded;
mod faults;
mod job;
mod outages;
mod socket;
mod subscriptions;
mod topic;
mod world;
