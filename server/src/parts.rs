//! Settings → adapters: what every role is put together from.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use commands::{Bus, BusSettings};
use eventlog::clock::{Clock, SystemClock};
use eventlog::codec::Codec;
use eventlog::fail_point::FailPoint;
use eventlog::files::Files;
use eventlog::kafka::KafkaSettings;
use eventlog::proof::builder::Prover;
use eventlog::store::EventStore;
use eventlog::vault::secrets::{self, Secrets};
use eventlog::vault::{KeyVault, MasterKey};
use identity::Identity;
use identity::rate_limits::RateLimits;
use identity::wall::Wall;
use object_store::local::LocalFileSystem;
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::store::{self, Opened, Place};
use crate::{secrets_file, wall};

/// Connections for counting: each for a statement of a row at a time.
const COUNTING: u32 = 4;

/// The adapters of one process.
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// Read models, consumers' progress, as who owns them.
    pub pool: PgPool,
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// Keys of persons.
    pub vault: Arc<dyn KeyVault>,
    /// Seals and opens events.
    pub codec: Codec,
    /// The door of the write side.
    pub bus: Arc<Bus>,
    /// Candidates' files.
    pub files: Files,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    opened: Opened,
    secrets: Secrets,
    master: MasterKey,
    fail_point: FailPoint,
    wall: OnceCell<Wall>,
}

impl Parts {
    /// Connects to the database, brings its schema up to date, and builds the rest.
    ///
    /// # Errors
    /// Says what is missing or wrong.
    pub async fn open(
        config: Config,
        url: SecretString,
        fail_point: FailPoint,
    ) -> anyhow::Result<Self> {
        let master = secrets_file::master_key(&config)?;
        let pool = PgPoolOptions::new()
            .max_connections(config.database.max_connections)
            .acquire_timeout(Duration::from_secs(10))
            .connect(url.expose_secret())
            .await
            .map_err(|error| anyhow::anyhow!("the database cannot be reached: {}", kind(&error)))?;
        eventlog::migrate::migrate(&pool).await.map_err(|error| not_up_to_date(&error))?;
        let secrets = secrets::load_or_create(&pool, &master).await.context(
            "the installation's keys cannot be opened; is secrets.master_key the right one?",
        )?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let place = Place {
            url,
            pool: &pool,
            fail_point: Arc::clone(&fail_point),
            clock: Arc::clone(&clock),
        };
        let opened = Opened::start(&config.event_store, place, master.clone())?;
        if let Err(refused) = store::belongs_to(&*opened.store(), &pool).await {
            opened.stop().await;
            return Err(refused.into());
        }
        let (store, vault) = (opened.store(), opened.vault());
        let codec = Codec::new(Arc::clone(&vault));
        let bus = Arc::new(Bus::new(
            Arc::clone(&store),
            codec.clone(),
            secrets.clone(),
            Arc::clone(&clock),
            BusSettings::default(),
        ));
        let directory = config.files_dir();
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("the folder {} cannot be made", directory.display()))?;
        let files =
            Files::new(Arc::new(LocalFileSystem::new_with_prefix(&directory)?), codec.clone());
        Ok(Self {
            config,
            pool,
            store,
            vault,
            codec,
            bus,
            files,
            clock,
            opened,
            secrets,
            master,
            fail_point,
            wall: OnceCell::new(),
        })
    }

    /// The log as a port.
    #[must_use]
    pub fn log(&self) -> Arc<dyn EventStore> {
        Arc::clone(&self.store)
    }

    /// What proves the log, with its name and key made if it has none. Only who signs asks for it.
    ///
    /// # Errors
    /// Says what is wrong with the name or the keys.
    pub async fn prover(&self) -> anyhow::Result<Prover> {
        let (master, fail_point) = (self.master.clone(), Arc::clone(&self.fail_point));
        let prover = Prover::new(self.log(), self.pool.clone(), master, fail_point);
        prover.prepare(&self.config.proof.origin).await?;
        Ok(prover)
    }

    /// The connections by which identity's tables are used: one pool, made when it is first asked for.
    ///
    /// # Errors
    /// See [`wall::identity`].
    pub async fn wall(&self) -> anyhow::Result<Wall> {
        self.wall.get_or_try_init(|| wall::identity(self)).await.cloned()
    }

    /// Who may enter, on its tables behind their wall.
    ///
    /// # Errors
    /// As [`Parts::wall`]; when the signing keys cannot be read or a lifetime is none.
    pub async fn identity(&self) -> anyhow::Result<Identity> {
        let lifetimes = self.config.sessions.lifetimes().context("[sessions]")?;
        let identity = Identity::start(self.wall().await?, Arc::clone(&self.bus)).await?;
        Ok(identity.with_lifetimes(lifetimes))
    }

    /// The password of a role of the database that is made here: the same for every process, and for
    /// nobody who has the database alone.
    #[must_use]
    pub fn role_password(&self, role: &str) -> SecretString {
        let bytes = self.secrets.shown_once("password of a database role", role.as_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }

    /// The buckets of what may be asked how often. Their connections are nobody else's: where all others
    /// are taken, counting is what lets them go again.
    ///
    /// # Errors
    /// As [`Parts::wall`].
    pub async fn rate_limits(&self) -> anyhow::Result<RateLimits> {
        let counting = self.wall().await?.apart(COUNTING);
        Ok(RateLimits::new(counting, Arc::clone(&self.bus), self.config.limits.rates()))
    }

    /// Kafka's settings; `None` where the product works without.
    #[must_use]
    pub fn kafka(&self) -> Option<KafkaSettings> {
        kafka(&self.config)
    }

    /// Lets go of everything in order: appends that wait are finished first.
    pub async fn close(&self) {
        self.opened.stop().await;
        self.pool.close().await;
    }
}

/// Kafka's settings; `None` where the product works without.
#[must_use]
pub fn kafka(config: &Config) -> Option<KafkaSettings> {
    let kafka = &config.kafka;
    if kafka.bootstrap.is_empty() {
        return None;
    }
    let mut settings = KafkaSettings::new(&kafka.bootstrap);
    settings.prefix.clone_from(&kafka.prefix);
    settings.schema_base.clone_from(&kafka.schema_base);
    settings.replication = (kafka.replication > 0).then_some(kafka.replication);
    Some(settings)
}

/// Why the schema is not the one of this build. A step that was applied in another form has been changed
/// since: there is no release yet whose data a later build must take.
fn not_up_to_date(error: &MigrateError) -> anyhow::Error {
    match error {
        MigrateError::VersionMismatch(step) => anyhow::anyhow!(
            "the data is of a build from before the first release (step {step} of its schema has changed \
             since), and there is no way up from it: name an empty folder or database"
        ),
        other => anyhow::anyhow!("the schema cannot be brought up to date: {other}"),
    }
}

/// What kind of fault it is, without the address, which may hold a password.
pub fn kind(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.kind().to_string(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::PoolTimedOut => "no answer within 10 seconds".to_owned(),
        sqlx::Error::Configuration(_) => "database.url is not the address of a database".to_owned(),
        _ => "connection failed".to_owned(),
    }
}
