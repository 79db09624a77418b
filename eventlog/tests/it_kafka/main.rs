//! Relay, feed and check against a real Kafka broker. `KAFKA_BOOTSTRAP` says where it is.
#![expect(
    clippy::disallowed_methods,
    reason = "tests find their servers in the environment and wait for the tasks they spawn"
)]

mod check;
mod feed;
mod lease;
mod message;
mod outage;
mod relay;
mod topics;
mod world;
