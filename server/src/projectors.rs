//! Follows every generation of the read models that this program can, and fills those that it shows
//! but that nobody has filled yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use eventlog::fail_point::FailPoint;
use projections::generation;
use projections::model::ModelCheckpoints;
use projections::rebuild::{IfDifferent, RebuildError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::consumers;
use crate::operate::rebuilder;
use crate::parts::Parts;

/// How often generations are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it takes until what could not be filled is tried again.
const FILL_AGAIN: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Projectors {
    parts: Arc<Parts>,
    fail_point: FailPoint,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// What is followed, by the consumer's name, and how each is told to stop.
    followed: HashMap<String, CancellationToken>,
}

impl Projectors {
    pub(crate) fn new(
        parts: Arc<Parts>,
        fail_point: FailPoint,
        stop: CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let tasks = tasks.clone();
        Self { parts, fail_point, stop, tasks, followed: HashMap::new() }
    }

    /// Starts what there is to follow and stops what was dropped, again and again.
    pub(crate) async fn run(mut self) {
        while self.pause(LOOK_EVERY).await {
            if let Err(error) = self.follow().await {
                tracing::warn!(%error, "what to follow cannot be found out, trying again");
            }
        }
    }

    /// Starts what there is to follow and is not followed yet, and stops what was dropped.
    pub(crate) async fn follow(&mut self) -> anyhow::Result<()> {
        let Parts { pool, codec, .. } = &*self.parts;
        let wanted = generation::followed(pool).await?;
        self.followed.retain(|name, stop| {
            let is_wanted = wanted.iter().any(|(_, generation)| generation.consumer == *name);
            if !is_wanted {
                stop.cancel();
            }
            is_wanted
        });
        for (model, generation) in wanted {
            if self.followed.contains_key(&generation.consumer) {
                continue;
            }
            let fail_point = Arc::clone(&self.fail_point);
            let consumer = model.consumer(&generation, pool.clone(), codec.clone(), fail_point);
            let checkpoints = Arc::new(ModelCheckpoints::new(pool.clone(), &generation));
            let (stop, filter) = (self.stop.child_token(), model.filter());
            let (parts, tasks) = (&self.parts, &self.tasks);
            consumers::start(parts, tasks, stop.clone(), consumer, filter, checkpoints).await?;
            tracing::debug!(consumer = generation.consumer, "a read model is followed");
            self.followed.insert(generation.consumer, stop);
        }
        Ok(())
    }

    /// Fills models that are new or changed. Until that is done, queries of theirs are not answered.
    pub(crate) async fn fill_missing(self) {
        loop {
            let missing = generation::missing(&self.parts.pool).await;
            if missing.as_ref().is_ok_and(Vec::is_empty) {
                return;
            }
            for model in missing.unwrap_or_default() {
                let name = model.name;
                tracing::info!(model = name, "a read model is filled from the log");
                let fail_point = Arc::clone(&self.fail_point);
                let rebuilder = rebuilder(&self.parts, fail_point, self.stop.clone());
                let progress = watch::Sender::default();
                match rebuilder.rebuild(&[model], IfDifferent::Stay, &progress).await {
                    Ok(_) => tracing::info!(model = name, "a read model is filled"),
                    Err(RebuildError::Running { .. } | RebuildError::Stopped) => {}
                    Err(error) => tracing::error!(%error, "a read model is not filled"),
                }
            }
            if !self.pause(FILL_AGAIN).await {
                return;
            }
        }
    }

    /// `false` when it is time to stop.
    async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}
