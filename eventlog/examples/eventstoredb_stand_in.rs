//! Runs the stand-in for EventStoreDB until Ctrl-C, for trying out the log on it:
//!
//! `cargo run -p eventlog --features eventstoredb-stand-in --example eventstoredb_stand_in [ADDRESS]`
//!
//! It keeps nothing: a log in it is gone when it ends.

use std::net::SocketAddr;

use eventlog::stand_in::{Data, StandIn};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2113".to_owned());
    let address: SocketAddr = address
        .parse()
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
    let stand_in = StandIn::start_on(address, Data::default()).await?;
    println!("A stand-in for EventStoreDB, in memory, at {}", stand_in.url());
    tokio::signal::ctrl_c().await?;
    stand_in.stop().await;
    Ok(())
}
