//! The log both sides share: envelope, codec, vault, stores, feeds, and the consumer loop.
//!
//! The write side appends through [`store::EventStore`], the read side and the reactors consume
//! through [`feed::Feed`]. Nothing here knows a command, a read model or a transport for clients.

pub mod clock;
pub mod envelope;
pub mod fail_point;
pub mod feed;
pub mod files;
pub mod kafka;
pub mod migrate;
pub mod store;
pub mod vault;
pub mod applied;
pub mod codec;
pub mod consume;
pub mod deadlines;
pub mod ledger;
pub mod upcast;
#[cfg(feature = "testing")]
pub mod testing;
