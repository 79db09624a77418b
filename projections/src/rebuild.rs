//! Rebuilds read models beside the live ones: a new generation is filled from the log, catches up, is
//! compared with the old one, and takes its place. Queries see the one or the other, never a half.
//!
//! Whatever is killed half-way is gone on with by the next call. Projections have no effects but their
//! rows (live events and reactors read the log themselves), so nothing else needs to be held back.

use std::sync::Arc;

use eventlog::codec::Codec;
use eventlog::fail_point::FailPoint;
use eventlog::store::EventStore;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fill::{Filler, Target};
use crate::generation::{self, Generation};
use crate::model::Model;
use crate::query::{QueryError, reason};
use crate::switch;
use crate::verify::{self, Comparison};

/// How far a rebuild has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Position of the log that was come to.
    pub position: u64,
    /// The log's last position, as known.
    pub head: u64,
    /// Events dealt with in all.
    pub n_events: u64,
}

/// The steps of a rebuild.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Rows are written from the log.
    #[default]
    Filling,
    /// Indexes are built.
    Indexing,
    /// What was appended meanwhile is applied.
    CatchingUp,
    /// The new rows are compared with the old ones.
    Comparing,
    /// Queries are given the new rows.
    Switching,
}

/// What to do when a new generation differs from the old one although their fold is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfDifferent {
    /// Stay with the old one: either it was damaged, or the fold was changed without a new version.
    Stay,
    /// Take the new one, which is what the log says.
    Switch,
}

/// A generation that took another one's place.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// The model's name.
    pub model: &'static str,
    /// The generation that is live now.
    pub generation: i32,
    /// The one before it, if there was one.
    pub before: Option<i32>,
    /// What comparing them found; `None` where their versions differ.
    pub compared: Option<Comparison>,
}

/// Why a rebuild came to no end. Whatever was reached is kept, and the next one goes on with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// The log, the vault or the database cannot be reached.
    #[error("the log or the read models cannot be reached")]
    Unavailable,
    /// Somebody else rebuilds the model at this time.
    #[error("{model} is being rebuilt already")]
    Running {
        /// The model's name.
        model: &'static str,
    },
    /// The old rows are not what the log says, or the fold has changed without a new version.
    #[error("{model}: {n_different} rows differ from the live ones, which stay")]
    Different {
        /// The model's name.
        model: &'static str,
        /// Rows that only one of the generations has.
        n_different: u64,
    },
    /// The new generation has not come as far as the old one.
    #[error(
        "{model}: {n_streams} streams are behind the live rows, which stay; {n_parked} are parked"
    )]
    Behind {
        /// The model's name.
        model: &'static str,
        /// Streams that are behind.
        n_streams: u64,
        /// Those of them that are parked in the new generation.
        n_parked: u64,
    },
    /// Queries went on without a gap in which they could be given the other rows.
    #[error("{model}: readers gave no moment to switch; the rows that they read stay")]
    ReadersInTheWay {
        /// The model's name.
        model: &'static str,
    },
    /// There is no generation to go back to.
    #[error("{model} has no earlier generation of this version")]
    NoWayBack {
        /// The model's name.
        model: &'static str,
    },
    /// It was told to stop.
    #[error("stopped; the next rebuild goes on from here")]
    Stopped,
}

impl From<sqlx::Error> for RebuildError {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(reason = %reason(&error), "a rebuild's database cannot be used");
        Self::Unavailable
    }
}

impl From<QueryError> for RebuildError {
    fn from(_: QueryError) -> Self {
        Self::Unavailable
    }
}

/// Rebuilds read models.
pub struct Rebuilder {
    filler: Filler,
}

impl Rebuilder {
    /// Rebuilds from this log in this database, with at most `n_workers` connections at once that
    /// write. The fail points are `rebuild.created`, `rebuild.before_checkpoint`,
    /// `rebuild.after_checkpoint`, `rebuild.filled`, `rebuild.compared`, `switch.caught_up`,
    /// `switch.before_commit` and `switch.after_commit`.
    #[must_use]
    pub fn new(
        pool: PgPool,
        store: Arc<dyn EventStore>,
        codec: Codec,
        fail_point: FailPoint,
        n_workers: usize,
        stop: CancellationToken,
    ) -> Self {
        Self { filler: Filler { pool, store, codec, fail_point, n_workers, stop } }
    }

    /// Fills a new generation of each model, or goes on with one that was not finished, and lets
    /// queries find it.
    ///
    /// # Errors
    /// See [`RebuildError`]; models before the one in question are done.
    pub async fn rebuild(
        &self,
        models: &[Model],
        if_different: IfDifferent,
        progress: &watch::Sender<Progress>,
    ) -> Result<Vec<Rebuilt>, RebuildError> {
        let locked = Locked::all(&self.filler.pool, models).await?;
        let result = self.rebuild_locked(models, if_different, progress).await;
        locked.release().await;
        result
    }

    async fn rebuild_locked(
        &self,
        models: &[Model],
        if_different: IfDifferent,
        progress: &watch::Sender<Progress>,
    ) -> Result<Vec<Rebuilt>, RebuildError> {
        let mut targets = vec![];
        for model in models {
            targets.push(self.filler.target(model, self.begin(model).await?));
        }
        (self.filler.fail_point)("rebuild.created");
        self.finish(targets, if_different, progress).await
    }

    async fn finish(
        &self,
        targets: Vec<Target>,
        if_different: IfDifferent,
        progress: &watch::Sender<Progress>,
    ) -> Result<Vec<Rebuilt>, RebuildError> {
        let filler = &self.filler;
        let at = |stage| progress.send_modify(|progress| progress.stage = stage);
        at(Stage::Filling);
        filler.run(&targets, progress).await?;
        at(Stage::Indexing);
        self.index(&targets).await?;
        (filler.fail_point)("rebuild.filled");
        at(Stage::CatchingUp);
        filler.run(&targets, progress).await?;
        let mut rebuilt = vec![];
        for target in &targets {
            let Target { model, generation, .. } = target;
            at(Stage::Comparing);
            let compared = self.compare(target).await?;
            (filler.fail_point)("rebuild.compared");
            if let Some(compared) = compared.as_ref().filter(|compared| !compared.is_equal())
                && if_different == IfDifferent::Stay
            {
                let n_different = compared.n_different;
                return Err(RebuildError::Different { model: model.name, n_different });
            }
            at(Stage::Switching);
            switch::approach(&filler.pool, filler, target, progress).await?;
            let before = switch::to(filler, target, progress).await?;
            rebuilt.push(Rebuilt {
                model: model.name,
                generation: generation.number,
                before: before.map(|before| before.number),
                compared,
            });
        }
        Ok(rebuilt)
    }

    /// Lets queries find the generation again that they found before the live one.
    ///
    /// # Errors
    /// [`RebuildError::NoWayBack`], and those of a switch.
    pub async fn back(
        &self,
        model: &Model,
        progress: &watch::Sender<Progress>,
    ) -> Result<Rebuilt, RebuildError> {
        let locked = Locked::all(&self.filler.pool, std::slice::from_ref(model)).await?;
        let result = self.back_locked(model, progress).await;
        locked.release().await;
        result
    }

    async fn back_locked(
        &self,
        model: &Model,
        progress: &watch::Sender<Progress>,
    ) -> Result<Rebuilt, RebuildError> {
        let filler = &self.filler;
        let known = generation::of_model(&mut *filler.pool.acquire().await?, model).await?;
        let is_earlier = |g: &Generation| g.version == model.version && g.was_live && !g.is_live;
        let earlier = known.into_iter().find(is_earlier);
        let earlier = earlier.ok_or(RebuildError::NoWayBack { model: model.name })?;
        let target = filler.target(model, earlier);
        switch::approach(&filler.pool, filler, &target, progress).await?;
        let before = switch::to(filler, &target, progress).await?;
        Ok(Rebuilt {
            model: model.name,
            generation: target.generation.number,
            before: before.map(|before| before.number),
            compared: None,
        })
    }

    /// Removes the generations of this version and earlier ones that queries of this version do not
    /// find. Programs of an earlier version have nothing to read afterwards. Answers their numbers.
    ///
    /// # Errors
    /// [`RebuildError::Running`], [`RebuildError::Unavailable`].
    pub async fn drop_old(&self, model: &Model) -> Result<Vec<i32>, RebuildError> {
        let locked = Locked::all(&self.filler.pool, std::slice::from_ref(model)).await?;
        let result = self.drop_old_locked(model).await;
        locked.release().await;
        result
    }

    async fn drop_old_locked(&self, model: &Model) -> Result<Vec<i32>, RebuildError> {
        let pool = &self.filler.pool;
        let known = generation::of_model(&mut *pool.acquire().await?, model).await?;
        let mut dropped = vec![];
        let is_shown = known.iter().any(|g| g.is_live && g.version == model.version);
        let is_old = |g: &&Generation| {
            g.version < model.version || (g.version == model.version && !g.is_live)
        };
        for old in known.iter().filter(is_old).filter(|_| is_shown) {
            let mut tx = pool.begin().await?;
            generation::pause(&mut tx, &old.consumer).await?;
            generation::drop_one(&mut tx, old).await?;
            tx.commit().await?;
            dropped.push(old.number);
        }
        Ok(dropped)
    }

    /// The generation to be filled: the newest that never went live, or a new one.
    async fn begin(&self, model: &Model) -> Result<Generation, RebuildError> {
        let mut conn = self.filler.pool.acquire().await?;
        let is_begun = |g: &Generation| g.version == model.version && !g.was_live;
        let known = generation::of_model(&mut conn, model).await?;
        if let Some(begun) = known.iter().find(|g| is_begun(g)) {
            return Ok(begun.clone());
        }
        let live = known.iter().filter(|g| g.is_live && g.version <= model.version);
        generation::create(&self.filler.pool, model, live.max_by_key(|g| g.version)).await?;
        let known = generation::of_model(&mut conn, model).await?;
        known.into_iter().find(is_begun).ok_or(RebuildError::Unavailable)
    }

    async fn index(&self, targets: &[Target]) -> Result<(), RebuildError> {
        let mut tasks = JoinSet::new();
        for target in targets {
            if tasks.len() >= self.filler.n_workers.max(1)
                && let Some(finished) = tasks.join_next().await
            {
                finished.map_err(|_| RebuildError::Unavailable)??;
            }
            let (pool, generation) = (self.filler.pool.clone(), target.generation.clone());
            tasks.spawn(async move {
                generation::finish(&mut *pool.acquire().await?, &generation).await
            });
        }
        while let Some(finished) = tasks.join_next().await {
            finished.map_err(|_| RebuildError::Unavailable)??;
        }
        Ok(())
    }

    async fn compare(&self, target: &Target) -> Result<Option<Comparison>, RebuildError> {
        let Target { model, generation, .. } = target;
        let pool = &self.filler.pool;
        let live = generation::live(&mut *pool.acquire().await?, model).await?;
        let Some(live) = live.filter(|live| live.number != generation.number) else {
            return Ok(None);
        };
        Ok(Some(verify::compare_generations(pool, model.stream, &live, generation).await?))
    }
}

/// The right to rebuild some models, held by a connection: whoever dies gives it up.
struct Locked(PgConnection);

impl Locked {
    async fn all(pool: &PgPool, models: &[Model]) -> Result<Self, RebuildError> {
        let mut locked = Self(pool.acquire().await?.detach());
        for model in models {
            let is_free: bool =
                sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended($1, 1))")
                    .bind(model.name)
                    .fetch_one(&mut locked.0)
                    .await?;
            if !is_free {
                locked.release().await;
                return Err(RebuildError::Running { model: model.name });
            }
        }
        Ok(locked)
    }

    async fn release(mut self) {
        // Said plainly, because the server may take its time to notice that a connection is gone. If it
        // does not arrive, the right ends with the connection.
        let _ = sqlx::query("select pg_advisory_unlock_all()").execute(&mut self.0).await;
        let _ = self.0.close().await;
    }
}
