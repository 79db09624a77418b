//! Which log and which vault the settings mean, and whether the database belongs to that log.

use std::sync::Arc;

use eventlog::clock::Clock;
use eventlog::fail_point::FailPoint;
use eventlog::store::memory::MemoryStore;
use eventlog::store::postgres::{BadAddress, PostgresSettings, PostgresStore};
use eventlog::store::{EventStore, ReadError};
use eventlog::vault::memory::MemoryVault;
use eventlog::vault::postgres::PostgresVault;
use eventlog::vault::{KeyVault, MasterKey};
use secrecy::SecretString;
use sqlx::PgPool;

use crate::config;

/// Why there is no log to work with.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// `event_store.url` is none of the kinds that there are.
    #[error(
        "event_store.url: neither empty, nor memory, nor the address of an EventStoreDB whose \
         tlsCaFile, if it names one, can be read"
    )]
    UnknownKind,
    /// The database's address cannot be read.
    #[error(transparent)]
    BadAddress(#[from] BadAddress),
    /// The adapter is a feature that this program was built without.
    #[error(
        "event_store.url names an EventStoreDB, and this program was built without: \
         build it with --features eventstoredb"
    )]
    NotBuiltIn,
    /// Other processes could not see the log.
    #[error("event_store.url: a log in memory is for `all` and `demo` only, which are one process")]
    OneProcessOnly,
    /// The log cannot be read.
    #[error("the log cannot be reached; is event_store.url right?")]
    Unreachable,
    /// The database cannot be asked.
    #[error("the database cannot be asked which log it belongs to")]
    Database(#[source] sqlx::Error),
    /// The database has a log of its own, with events in it.
    #[error("the database has events of its own, and event_store.url names another log")]
    TwoLogs,
    /// What is in the database came from another log, or from more of this one than is left.
    #[error(
        "the read models know more of the log than there is: the log is another one than they were \
         built from, or has lost its end"
    )]
    OtherLog,
}

/// Where a log and a vault are put together.
pub struct Place<'a> {
    /// Address of the database.
    pub url: SecretString,
    /// A pool of its connections.
    pub pool: &'a PgPool,
    /// Passed where appends can be made to fail.
    pub fail_point: FailPoint,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// A log and the vault whose keys its appends are checked against.
pub enum Opened {
    /// Both in the database.
    Postgres(Arc<PostgresStore>, Arc<PostgresVault>),
    /// Both in this process, and gone with it.
    Memory(Arc<MemoryStore>, MemoryVault),
    /// The log in a server of its own, the vault in the database.
    #[cfg(feature = "eventstoredb")]
    EventStoreDb(Arc<eventlog::store::eventstoredb::EventStoreDb>, Arc<PostgresVault>),
}

impl Opened {
    /// Starts what the settings mean. It connects when it can.
    ///
    /// # Errors
    /// [`StoreError`] when the settings mean nothing that there is.
    pub fn start(
        settings: &config::EventStore,
        place: Place<'_>,
        master: MasterKey,
    ) -> Result<Self, StoreError> {
        let Place { url, pool, fail_point, clock } = place;
        let address = settings.url.expose();
        let scheme =
            address.split_once("://").map(|(scheme, _)| scheme.trim_end_matches("+discover"));
        match (address, scheme) {
            ("", _) => {
                let settings = PostgresSettings { fail_point, ..PostgresSettings::new(url) };
                let store = Arc::new(PostgresStore::start(&settings)?);
                Ok(Self::Postgres(store, Arc::new(PostgresVault::start(pool.clone(), master))))
            }
            ("memory", _) => {
                let vault = MemoryVault::new();
                Ok(Self::Memory(Arc::new(MemoryStore::new(clock, vault.clone())), vault))
            }
            (_, Some("esdb" | "kurrentdb" | "kurrent" | "kdb")) => {
                Self::start_eventstoredb(settings, pool, clock, master)
            }
            _ => Err(StoreError::UnknownKind),
        }
    }

    #[cfg(feature = "eventstoredb")]
    fn start_eventstoredb(
        settings: &config::EventStore,
        pool: &PgPool,
        clock: Arc<dyn Clock>,
        master: MasterKey,
    ) -> Result<Self, StoreError> {
        use eventlog::store::eventstoredb::{EventStoreDb, EventStoreDbSettings};
        use eventlog::vault::gate::KeyGate;
        let settings = EventStoreDbSettings {
            prefix: settings.prefix.clone(),
            ..EventStoreDbSettings::new(settings.url.expose().into())
        };
        let store = EventStoreDb::start(&settings, KeyGate::new(pool), clock)
            .map_err(|_| StoreError::UnknownKind)?;
        let vault = PostgresVault::start(pool.clone(), master);
        Ok(Self::EventStoreDb(Arc::new(store), Arc::new(vault)))
    }

    #[cfg(not(feature = "eventstoredb"))]
    fn start_eventstoredb(
        _: &config::EventStore,
        _: &PgPool,
        _: Arc<dyn Clock>,
        _: MasterKey,
    ) -> Result<Self, StoreError> {
        Err(StoreError::NotBuiltIn)
    }

    /// The log.
    #[must_use]
    pub fn store(&self) -> Arc<dyn EventStore> {
        match self {
            Self::Postgres(store, _) => Arc::clone(store) as Arc<dyn EventStore>,
            Self::Memory(store, _) => Arc::clone(store) as Arc<dyn EventStore>,
            #[cfg(feature = "eventstoredb")]
            Self::EventStoreDb(store, _) => Arc::clone(store) as Arc<dyn EventStore>,
        }
    }

    /// The vault.
    #[must_use]
    pub fn vault(&self) -> Arc<dyn KeyVault> {
        match self {
            Self::Postgres(_, vault) => Arc::clone(vault) as Arc<dyn KeyVault>,
            Self::Memory(_, vault) => Arc::new(vault.clone()),
            #[cfg(feature = "eventstoredb")]
            Self::EventStoreDb(_, vault) => Arc::clone(vault) as Arc<dyn KeyVault>,
        }
    }

    /// Lets go of both: appends that wait are finished first.
    pub async fn stop(&self) {
        match self {
            Self::Postgres(store, vault) => {
                store.stop().await;
                vault.stop().await;
            }
            Self::Memory(..) => {}
            #[cfg(feature = "eventstoredb")]
            Self::EventStoreDb(store, vault) => {
                store.stop().await;
                vault.stop().await;
            }
        }
    }
}

/// Whether what the database holds was made from this log: read models, reactors' progress and
/// identity of one log are nonsense beside another.
///
/// # Errors
/// [`StoreError::TwoLogs`] and [`StoreError::OtherLog`] if not.
pub async fn belongs_to(store: &dyn EventStore, pool: &PgPool) -> Result<(), StoreError> {
    let found = sqlx::query_as::<_, (bool, bool, i64)>(
        "select exists (select from es_stream),
                exists (select from consumer_applied),
                (select coalesce(max(next), 0) from consumer_checkpoint where source = $1)",
    )
    .bind(eventlog::feed::LOG_SOURCE)
    .fetch_one(pool);
    let (has_events, has_applied, read_up_to) = found.await.map_err(StoreError::Database)?;
    if has_events && !store.capabilities().in_database {
        return Err(StoreError::TwoLogs);
    }
    let head = store.head().await.map_err(|ReadError| StoreError::Unreachable)?;
    let is_shorter = u64::try_from(read_up_to).is_ok_and(|read_up_to| read_up_to > head.0);
    if is_shorter || (has_applied && head.0 == 0) {
        return Err(StoreError::OtherLog);
    }
    Ok(())
}
