//! The list of all read models, so that a process can run one loop for each.

use std::sync::Arc;

use async_trait::async_trait;
use eventlog::applied;
use eventlog::codec::Codec;
use eventlog::consume::Consumer;
use eventlog::feed::{Checkpoints, FeedError};
use eventlog::store::{EventStore, Filter};
use futures::future::BoxFuture;
use sqlx::PgPool;

use crate::projector::Projector;
use crate::query::reason;
use crate::rebuild::{self, Comparison, RebuildError};
use crate::runner::{FailPoint, ModelConsumer};
use crate::{
    ai_calls, applications, candidates, companies, interviews, jobs, members, observations,
    resumes, transcripts, verdicts,
};

/// Every read model.
pub const MODELS: &[Model] = &[
    ai_calls::MODEL,
    applications::MODEL,
    candidates::MODEL,
    companies::MODEL,
    interviews::MODEL,
    jobs::MODEL,
    members::MODEL,
    observations::MODEL,
    resumes::MODEL,
    transcripts::MODEL,
    verdicts::MODEL,
];

/// The registration of one read model.
#[derive(Clone, Copy)]
pub struct Model {
    /// Its name, such as `interviews`.
    pub name: &'static str,
    /// Its generation.
    pub version: u32,
    /// Its table.
    pub table: &'static str,
    /// The aggregates it listens to.
    pub aggregates: &'static [&'static str],
    consumer: fn(PgPool, Codec, FailPoint) -> Arc<dyn Consumer>,
    rebuild: Rebuild,
}

type Rebuild = for<'a> fn(
    &'a PgPool,
    &'a dyn EventStore,
    &'a Codec,
) -> BoxFuture<'a, Result<Comparison, RebuildError>>;

impl Model {
    /// The registration of `P`.
    #[must_use]
    pub const fn of<P: Projector>() -> Self {
        Self {
            name: P::NAME,
            version: P::VERSION,
            table: P::TABLE,
            aggregates: P::AGGREGATES,
            consumer: |pool, codec, fail_point| {
                Arc::new(ModelConsumer::<P>::new(pool, codec, fail_point))
            },
            rebuild: |pool, store, codec| {
                Box::pin(rebuild::rebuild_equals_live::<P>(pool, store, codec))
            },
        }
    }

    /// The name under which it keeps its applied versions and checkpoints, such as `interviews.v1`.
    #[must_use]
    pub fn consumer_name(&self) -> String {
        format!("{}.v{}", self.name, self.version)
    }

    /// Whether events of this aggregate change its rows.
    #[must_use]
    pub fn listens_to(&self, aggregate: &str) -> bool {
        self.aggregates.contains(&aggregate)
    }

    /// What of the log it wants.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter { aggregates: self.aggregates.iter().map(|name| (*name).to_owned()).collect() }
    }

    /// What `eventlog::consume::run` drives.
    #[must_use]
    pub fn consumer(&self, pool: PgPool, codec: Codec, fail_point: FailPoint) -> Arc<dyn Consumer> {
        (self.consumer)(pool, codec, fail_point)
    }

    /// Where its feed is to go on.
    #[must_use]
    pub fn checkpoints(&self, pool: PgPool) -> ModelCheckpoints {
        ModelCheckpoints { pool, consumer: self.consumer_name() }
    }

    /// Folds the log afresh, as far as it is applied, and compares the rows with the live table.
    ///
    /// # Errors
    /// [`RebuildError`] when the log or the database cannot be read.
    pub async fn rebuild_equals_live(
        &self,
        pool: &PgPool,
        store: &dyn EventStore,
        codec: &Codec,
    ) -> Result<Comparison, RebuildError> {
        (self.rebuild)(pool, store, codec).await
    }
}

/// Checkpoints kept beside the rows.
#[derive(Clone, Debug)]
pub struct ModelCheckpoints {
    pool: PgPool,
    consumer: String,
}

#[async_trait]
impl Checkpoints for ModelCheckpoints {
    async fn load(&self, source: &str, partition: i32) -> Result<Option<u64>, FeedError> {
        let load = async {
            let mut conn = self.pool.acquire().await?;
            applied::load_checkpoint(&mut conn, &self.consumer, source, partition).await
        };
        load.await.map_err(|error| {
            let reason = reason(&error);
            tracing::warn!(consumer = %self.consumer, %reason, "a checkpoint cannot be read");
            FeedError
        })
    }
}
