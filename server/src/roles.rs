//! The roles: what a process does. `all` does everything in one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use eventlog::applied;
use eventlog::consume::{self, Consumer, Pace};
use eventlog::deadlines::{Deadlines, PostgresDeadlines};
use eventlog::fail_point::FailPoint;
use eventlog::feed::{Checkpoints, Feed, LogFeed};
use eventlog::kafka::KafkaFeed;
use eventlog::kafka::lease::PgLeases;
use eventlog::kafka::relay;
use eventlog::kafka::topics::{Topic, ensure, published};
use eventlog::ledger::{CheckpointsOf, Ledger, PostgresLedger};
use eventlog::store::Filter;
use identity::Identity;
use metrics_exporter_prometheus::PrometheusHandle;
use projections::model::MODELS;
use reactors::resume::text::{Limits, TextReader};
use reactors::runner::RunnerSettings;
use reactors::timers;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::parts::Parts;
use crate::{ai, edge, published};

/// How often deadlines are looked at.
const CLOCK_INTERVAL: Duration = Duration::from_millis(250);

/// What runs in this process, and how it is told to stop.
pub struct Roles {
    parts: Arc<Parts>,
    fail_point: FailPoint,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Roles {
    /// No role yet.
    #[must_use]
    pub fn new(parts: Arc<Parts>, fail_point: FailPoint, stop: CancellationToken) -> Self {
        Self { parts, fail_point, stop, tasks: TaskTracker::new() }
    }

    /// The API. Answers the address that it listens on.
    ///
    /// # Errors
    /// When the address is taken or identity cannot start.
    pub async fn serve(
        &self,
        identity: Identity,
        metrics: PrometheusHandle,
    ) -> anyhow::Result<SocketAddr> {
        let wanted = self.parts.config.http.listen;
        let listener = TcpListener::bind(wanted)
            .await
            .with_context(|| format!("http.listen: {wanted} cannot be listened on"))?;
        let address = listener.local_addr()?;
        let router = edge::router(&self.parts, identity, metrics, &self.stop, &self.tasks)
            .merge(published::serve::router(&self.parts.config.kafka)?);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let served =
                axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
            if let Err(error) = served.await {
                tracing::error!(%error, "the API ended");
            }
        });
        Ok(address)
    }

    /// The projectors: one loop for each read model.
    ///
    /// # Errors
    /// When a feed refuses its settings.
    pub async fn project(&self) -> anyhow::Result<()> {
        for model in MODELS {
            let pool = self.parts.pool.clone();
            let fail_point = Arc::clone(&self.fail_point);
            let consumer = model.consumer(pool.clone(), self.parts.codec.clone(), fail_point);
            self.consume(consumer, model.filter(), Arc::new(model.checkpoints(pool))).await?;
        }
        Ok(())
    }

    /// The reactors, and the clock of their deadlines.
    ///
    /// # Errors
    /// When a feed refuses its settings, or an AI provider cannot be set up.
    pub async fn react(&self) -> anyhow::Result<()> {
        let parts = &self.parts;
        let deadlines: Arc<dyn Deadlines> = Arc::new(PostgresDeadlines::new(parts.pool.clone()));
        let ledger: Arc<dyn Ledger> = Arc::new(PostgresLedger::new(parts.pool.clone()));
        let program = std::env::current_exe().context("the own program is not found")?;
        let reactors = reactors::all(reactors::Deps {
            bus: Arc::clone(&parts.bus),
            store: parts.log(),
            codec: parts.codec.clone(),
            ledger: Arc::clone(&ledger),
            deadlines: Arc::clone(&deadlines),
            files: parts.files.clone(),
            reader: TextReader::isolated(Limits::default(), program),
            ai: Arc::new(ai::chain(&parts.config.ai)?),
            settings: RunnerSettings::default(),
            fail_point: Arc::clone(&self.fail_point),
            stop: self.stop.clone(),
        });
        for (consumer, filter) in reactors {
            let checkpoints = Arc::new(CheckpointsOf::new(Arc::clone(&ledger), consumer.name()));
            self.consume(consumer, filter, checkpoints).await?;
        }
        let (bus, clock, stop) =
            (Arc::clone(&parts.bus), Arc::clone(&parts.clock), self.stop.clone());
        self.tasks.spawn(timers::run_clock(deadlines, bus, clock, CLOCK_INTERVAL, stop));
        Ok(())
    }

    /// The relay of the log to Kafka. A topic that has to stop is reported and keeps the others going.
    ///
    /// # Errors
    /// When no Kafka is configured.
    pub fn relay(&self) -> anyhow::Result<()> {
        let settings = self.parts.kafka().context("the relay needs kafka.bootstrap")?;
        let leases = Arc::new(PgLeases::new(self.parts.pool.clone()));
        let mut parts = relay::Parts::new(settings.clone(), self.parts.log(), leases);
        parts.lease_period = Duration::from_secs(self.parts.config.kafka.lease_seconds.max(1));
        parts.fail_points = Arc::clone(&self.fail_point);
        let topics = published(self.parts.config.kafka.public_topics);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if !wait_for_topics(&settings, &topics, &stop).await {
                return;
            }
            for stopped in relay::run_all(&parts, &topics, &stop).await {
                tracing::error!(%stopped, "a topic is not published any more");
            }
        });
        Ok(())
    }

    /// Runs a consumer on the feed that the settings give.
    async fn consume(
        &self,
        consumer: Arc<dyn Consumer>,
        filter: Filter,
        checkpoints: Arc<dyn Checkpoints>,
    ) -> anyhow::Result<()> {
        let mut connection = self.parts.pool.acquire().await?;
        let n_unparked = applied::unpark_all(&mut connection, consumer.name()).await?;
        drop(connection);
        if n_unparked > 0 {
            tracing::info!(
                consumer = consumer.name(),
                n_unparked,
                "parked streams are tried again"
            );
        }
        let store = self.parts.log();
        let feed: Box<dyn Feed> = match self.parts.kafka() {
            Some(kafka) => {
                let aggregates: Vec<&str> = filter.aggregates.iter().map(String::as_str).collect();
                let feed = KafkaFeed::start(&kafka, consumer.name(), &aggregates, checkpoints);
                Box::new(feed.with_context(|| format!("the feed of {}", consumer.name()))?)
            }
            None => Box::new(
                LogFeed::start(Arc::clone(&store), filter.clone(), &*checkpoints)
                    .await
                    .with_context(|| format!("the feed of {}", consumer.name()))?,
            ),
        };
        let pace = Pace::default();
        let stop = self.stop.clone();
        self.tasks.spawn(consume::run(consumer, feed, store, filter, pace, stop));
        Ok(())
    }

    /// Stops everything and waits until it has.
    pub async fn finish(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(20), self.tasks.wait()).await.is_err() {
            tracing::warn!("something did not stop within 20 seconds");
        }
        self.parts.close().await;
    }
}

/// Makes and checks the topics as soon as the broker is there; `false` when told to stop before.
async fn wait_for_topics(
    settings: &eventlog::kafka::KafkaSettings,
    topics: &[Topic],
    stop: &CancellationToken,
) -> bool {
    loop {
        match ensure(settings, topics).await {
            Ok(()) => return true,
            Err(error) => tracing::warn!(%error, "topics cannot be made yet, trying again"),
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
    }
}
