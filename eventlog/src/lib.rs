//! The log both sides share: envelope, codec, vault, stores, feeds, and the consumer loop.
//!
//! The write side appends through [`store::EventStore`], the read side and the reactors consume
//! through [`feed::Feed`]. Nothing here knows a command, a read model or a transport for clients.

pub mod applied;
pub mod clock;
pub mod codec;
pub mod consume;
pub mod deadlines;
pub mod envelope;
pub mod fail_point;
pub mod feed;
pub mod files;
pub mod kafka;
pub mod ledger;
pub mod migrate;
pub mod parked;
pub mod proof;
pub mod public;
#[cfg(feature = "eventstoredb-stand-in")]
pub mod stand_in;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod upcast;
pub mod vault;
pub mod wall;
