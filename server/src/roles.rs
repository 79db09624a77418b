//! The roles: what a process does. `all` does everything in one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api::{browsers, health};
use eventlog::deadlines::{Deadlines, PostgresDeadlines};
use eventlog::fail_point::FailPoint;
use eventlog::kafka::lease::PgLeases;
use eventlog::kafka::relay;
use eventlog::kafka::topics::{Topic, ensure, published};
use eventlog::ledger::{CheckpointsOf, Ledger, PostgresLedger};
use eventlog::proof::builder;
use identity::Identity;
use identity::mail::PostOffice;
use metrics_exporter_prometheus::PrometheusHandle;
use reactors::ai::quota::Quota;
use reactors::resume::text::{Limits, TextReader};
use reactors::runner::RunnerSettings;
use reactors::timers;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::edge::Routes;
use crate::listen::{self, Patience};
use crate::parts::Parts;
use crate::projectors::Projectors;
use crate::{ai, consumers, edge, mail, published};

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
        let Routes { api, metrics } =
            edge::router(&self.parts, identity, metrics, &self.stop, &self.tasks).await?;
        let router = match self.measure_at(metrics.clone()).await? {
            true => api,
            false => api.merge(metrics),
        };
        let router = router.merge(published::serve::router(&self.parts.config.kafka)?);
        let router = browsers::guarded(router, &self.parts.config.http.cors_origins)
            .context("http.cors_origins")?;
        self.listen(listener, router);
        Ok(address)
    }

    /// Tells what was measured, where a role that serves nothing else is to.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn measure(&self, metrics: PrometheusHandle) -> anyhow::Result<()> {
        self.measure_at(health::metrics(edge::measured(metrics), None)).await.map(drop)
    }

    /// Serves these routes at an address of their own; `false` where the settings name none.
    async fn measure_at(&self, routes: axum::Router) -> anyhow::Result<bool> {
        let wanted = self.parts.config.http.metrics_listen.as_str();
        if wanted.is_empty() {
            return Ok(false);
        }
        let listener = TcpListener::bind(wanted)
            .await
            .with_context(|| format!("http.metrics_listen: {wanted} cannot be listened on"))?;
        self.listen(listener, routes);
        Ok(true)
    }

    fn listen(&self, listener: TcpListener, routes: axum::Router) {
        let http = &self.parts.config.http;
        let patience = Patience {
            head: Duration::from_secs(http.head_seconds),
            stall: Duration::from_secs(http.stall_seconds),
        };
        self.tasks.spawn(listen::serve(listener, routes, patience, self.stop.clone()));
    }

    /// The projectors: a loop for each generation of each read model that this program follows, also
    /// for those that come to be later. Models that are new or changed are filled meanwhile.
    ///
    /// # Errors
    /// When a feed refuses its settings, or the database cannot be reached.
    pub async fn project(&self) -> anyhow::Result<()> {
        let (parts, fail_point) = (Arc::clone(&self.parts), Arc::clone(&self.fail_point));
        let mut projectors = Projectors::new(parts, fail_point, self.stop.clone(), &self.tasks);
        projectors.follow().await?;
        self.tasks.spawn(projectors.clone().fill_missing());
        self.tasks.spawn(projectors.run());
        Ok(())
    }

    /// The reactors, the clock of their deadlines, what carries the record of logins into the log, and
    /// what sends letters.
    ///
    /// # Errors
    /// When a feed refuses its settings, an AI provider cannot be set up, or the tables of logins cannot
    /// be reached behind their wall.
    pub async fn react(&self) -> anyhow::Result<()> {
        let parts = &self.parts;
        let deadlines: Arc<dyn Deadlines> = Arc::new(PostgresDeadlines::new(parts.pool.clone()));
        let ledger: Arc<dyn Ledger> = Arc::new(PostgresLedger::new(parts.pool.clone()));
        let program = std::env::current_exe().context("the own program is not found")?;
        let calls: Arc<dyn Quota> = Arc::new(ai::Calls(parts.rate_limits().await?));
        let reactors = reactors::all(reactors::Deps {
            bus: Arc::clone(&parts.bus),
            store: parts.log(),
            codec: parts.codec.clone(),
            ledger: Arc::clone(&ledger),
            deadlines: Arc::clone(&deadlines),
            files: parts.files.clone(),
            reader: TextReader::isolated(Limits::default(), program),
            ai: Arc::new(ai::chain(&parts.config.ai, &calls)?),
            settings: RunnerSettings::default(),
            fail_point: Arc::clone(&self.fail_point),
            stop: self.stop.clone(),
        });
        for (consumer, filter) in reactors {
            let checkpoints = Arc::new(CheckpointsOf::new(Arc::clone(&ledger), consumer.name()));
            consumers::start(parts, &self.tasks, self.stop.clone(), consumer, filter, checkpoints)
                .await?;
        }
        let (bus, clock, stop) =
            (Arc::clone(&parts.bus), Arc::clone(&parts.clock), self.stop.clone());
        let (wall, told) = (parts.wall().await?, stop.clone());
        self.tasks.spawn(identity::outbox::run(wall.clone(), Arc::clone(&bus), told));
        let office = PostOffice {
            wall,
            bus: Arc::clone(&bus),
            mailer: mail::mailer(&parts.config, Arc::clone(&parts.clock))?,
            app_url: parts.config.mail.app_url.clone(),
        };
        self.tasks.spawn(office.run(stop.clone()));
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

    /// The tree over the log and its checkpoints. Of several processes one at a time is at it. Only a
    /// log in the database has one.
    ///
    /// # Errors
    /// When the log's name or keys are not right.
    pub async fn prove(&self) -> anyhow::Result<()> {
        if !self.parts.log().capabilities().in_database {
            tracing::warn!("the log is not in the database: nothing is proven");
            return Ok(());
        }
        let prover = self.parts.prover().await?;
        let every = Duration::from_secs(self.parts.config.proof.checkpoint_seconds.max(1));
        self.tasks.spawn(builder::run(prover, every, self.stop.clone()));
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
