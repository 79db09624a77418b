//! The product as a whole, from outside.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment says where the servers are, and tasks end with their test's runtime"
)]

mod analytics;
mod architecture;
mod authenticator;
mod bad_input;
mod candidates;
mod client;
mod clients;
mod config;
mod contracts;
mod costly;
mod distributed;
#[expect(dead_code, reason = "shared with the suite of faults, which uses all of it")]
mod door;
mod edge;
mod embedded;
mod events_export;
mod every_field;
mod faults;
mod job;
mod letters;
mod logins;
mod model_calls;
mod onboarding;
mod operating;
mod operators;
mod orders;
mod outages;
mod process;
mod proof;
mod provider;
mod published;
mod rate_limits;
mod reads;
mod reads_by_field;
mod rights;
#[expect(dead_code, reason = "shared with the suite of faults, which uses all of it")]
mod servers;
mod session;
mod sign_on;
mod socket;
mod statements;
mod stores;
mod subscriptions;
mod tampering;
mod topic;
mod uploads;
mod verifiers;
mod walls;
#[expect(dead_code, reason = "shared with the suite of faults, which uses all of it")]
mod world;
