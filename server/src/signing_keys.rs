//! The keys that access tokens are signed with, from the command line.

use anyhow::Context;
use clap::Subcommand;
use identity::keys::{self, PUBLISHED_BEFORE};
use identity::wall::Wall;

/// What `colloquy keys` does.
#[derive(Subcommand)]
pub enum KeysVerb {
    /// Lists them, oldest first.
    List,
    /// Makes another one. It is published at once and signs five minutes later.
    Rotate,
    /// Lets one verify no more, on every replica within a second.
    Retire {
        /// Its number, as listed.
        number: i32,
        /// Also cuts off tokens that it signed and that may still run: for a key that others may know.
        #[arg(long)]
        now: bool,
    },
}

/// Carries out a verb and prints what it did.
///
/// # Errors
/// Says why a key stays as it is.
pub async fn administer(wall: &Wall, verb: &KeysVerb) -> anyhow::Result<()> {
    match verb {
        KeysVerb::List => {
            for key in keys::listed(wall).await.context("the keys cannot be read")? {
                let standing = match (key.signs, key.retired_at) {
                    (true, _) => "signs".to_owned(),
                    (false, Some(at)) => format!("retired {at:.0?}"),
                    (false, None) => "verifies".to_owned(),
                };
                println!("{:>4}  published {:.0?}  {standing}", key.number, key.published_at);
            }
        }
        KeysVerb::Rotate => {
            let made = keys::rotate(wall).await.context("no key can be made")?;
            let from = made.published_at + PUBLISHED_BEFORE;
            println!("key {} is published, and signs from {from:.0?} on", made.number);
        }
        KeysVerb::Retire { number, now } => {
            keys::retire(wall, *number, *now).await?;
            println!("key {number} is retired");
        }
    }
    Ok(())
}
