//! The list of all read models, so that a process can run one loop for each.

use std::sync::Arc;

use async_trait::async_trait;
use eventlog::applied;
use eventlog::codec::Codec;
use eventlog::consume::Consumer;
use eventlog::fail_point::FailPoint;
use eventlog::feed::{Checkpoints, FeedError};
use eventlog::store::{EventStore, Filter};
use futures::future::BoxFuture;
use sqlx::PgPool;

use crate::bulk::{Bulk, BulkWriter};
use crate::generation::Generation;
use crate::projector::Projector;
use crate::query::reason;
use crate::runner::ModelConsumer;
use crate::verify::{self, Comparison, VerifyError};
use crate::{
    access_log, ai_calls, applications, candidates, companies, interviews, jobs, members,
    observations, resumes, transcripts, verdicts,
};

/// Every read model.
pub const MODELS: &[Model] = &[
    access_log::MODEL,
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
    /// The version of its fold.
    pub version: u32,
    /// The table that gives each generation its shape.
    pub table: &'static str,
    /// The column of the owning stream's id.
    pub(crate) stream: &'static str,
    /// The aggregates it listens to.
    pub aggregates: &'static [&'static str],
    consumer: fn(&Generation, PgPool, Codec, FailPoint) -> Arc<dyn Consumer>,
    bulk: fn(Generation, PgPool) -> Arc<dyn Bulk>,
    verify: Verify,
}

type Verify = for<'a> fn(
    &'a PgPool,
    &'a dyn EventStore,
    &'a Codec,
) -> BoxFuture<'a, Result<Comparison, VerifyError>>;

impl Model {
    /// The registration of `P`.
    #[must_use]
    pub const fn of<P: Projector>() -> Self {
        Self {
            name: P::NAME,
            version: P::VERSION,
            table: P::TABLE,
            stream: P::STREAM,
            aggregates: P::AGGREGATES,
            consumer: |generation, pool, codec, fail_point| {
                Arc::new(ModelConsumer::<P>::new(generation, pool, codec, fail_point))
            },
            bulk: |generation, pool| Arc::new(BulkWriter::<P>::new(generation, pool)),
            verify: |pool, store, codec| {
                Box::pin(verify::rebuild_equals_live::<P>(pool, store, codec))
            },
        }
    }

    /// Whether events of this aggregate change its rows.
    #[must_use]
    pub fn listens_to(&self, aggregate: &str) -> bool {
        self.aggregates.contains(&aggregate)
    }

    /// What of the log it wants.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter::of_aggregates(self.aggregates.iter().copied())
    }

    /// What `eventlog::consume::run` drives.
    #[must_use]
    pub fn consumer(
        &self,
        generation: &Generation,
        pool: PgPool,
        codec: Codec,
        fail_point: FailPoint,
    ) -> Arc<dyn Consumer> {
        (self.consumer)(generation, pool, codec, fail_point)
    }

    /// What fills a generation.
    pub(crate) fn bulk(&self, generation: Generation, pool: PgPool) -> Arc<dyn Bulk> {
        (self.bulk)(generation, pool)
    }

    /// Folds the log afresh, as far as it is applied, and compares the rows with the live table.
    ///
    /// # Errors
    /// [`VerifyError`] when the log or the database cannot be read.
    pub async fn rebuild_equals_live(
        &self,
        pool: &PgPool,
        store: &dyn EventStore,
        codec: &Codec,
    ) -> Result<Comparison, VerifyError> {
        (self.verify)(pool, store, codec).await
    }
}

/// The read model of this name.
#[must_use]
pub fn find(name: &str) -> Option<Model> {
    MODELS.iter().find(|model| model.name == name).copied()
}

/// Checkpoints kept beside the rows.
#[derive(Clone, Debug)]
pub struct ModelCheckpoints {
    pool: PgPool,
    consumer: String,
}

impl ModelCheckpoints {
    /// Where the feed of a generation is to go on.
    #[must_use]
    pub fn new(pool: PgPool, generation: &Generation) -> Self {
        Self { pool, consumer: generation.consumer.clone() }
    }
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
