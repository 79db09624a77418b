//! Event stores for Rust on PostgreSQL, each used as its documentation shows: a command reads the
//! aggregate's history and appends one event. None of them claims, hashes or seals anything.

mod cqrs_es;
mod disintegrate;
mod esrs;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx08::postgres::{PgConnectOptions, PgPoolOptions};

use crate::database::Database;
use crate::system::System;

/// What an event of a peer holds: as many characters as make its row about as wide as ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    text: String,
}

impl Note {
    fn new(nth: u32, width: usize) -> Self {
        Self { text: format!("{nth:>width$}") }
    }
}

/// The peers with the databases that they were given.
pub struct Peers {
    databases: Vec<Database>,
    server: String,
    width: usize,
}

/// How many there are.
pub const N_PEERS: usize = 3;

impl Peers {
    /// Makes a database for each and lets it set itself up.
    ///
    /// # Errors
    /// The server cannot be reached, or a peer does not install.
    pub async fn prepare(server: &str, width: usize) -> anyhow::Result<Self> {
        let mut databases = vec![];
        for label in ["cqrs_es", "disintegrate", "esrs"] {
            databases.push(Database::create(server, label).await?);
        }
        let peers = Self { databases, server: server.to_owned(), width };
        cqrs_es::set_up(&peers.pool(0, 1).await?).await?;
        disintegrate::set_up(&peers.pool(1, 1).await?).await?;
        esrs::set_up(&peers.pool(2, 1).await?).await?;
        Ok(peers)
    }

    /// The peer of this number with a pool of as many connections as there are clients.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn system(&self, nth: usize, clients: usize) -> anyhow::Result<Arc<dyn System>> {
        let pool = self.pool(nth, clients).await?;
        Ok(match nth {
            0 => Arc::new(cqrs_es::Peer::new(pool, self.width)),
            1 => Arc::new(disintegrate::Peer::new(pool, self.width)),
            _ => Arc::new(esrs::Peer::new(pool, self.width).await?),
        })
    }

    async fn pool(&self, nth: usize, connections: usize) -> anyhow::Result<sqlx08::PgPool> {
        let options = PgConnectOptions::from_str(&self.server)?.database(&self.databases[nth].name);
        let connections = u32::try_from(connections)?;
        Ok(PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(connections)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(options)
            .await?)
    }

    /// Removes their databases.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn drop(self) -> anyhow::Result<()> {
        for database in self.databases {
            database.drop().await?;
        }
        Ok(())
    }
}
