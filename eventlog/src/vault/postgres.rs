//! The vault in Postgres: keys wrapped by the master key, cached for a minute at most.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::ids::CompanyId;
use domain::personal::Subject;
use moka::sync::Cache;
use sqlx::postgres::{PgArguments, PgListener, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{PgPool, Postgres, Row};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{KeyState, KeyVault, MasterKey, SubjectKey, VaultError, wrap};
use crate::envelope::StreamId;
use crate::store::ReadError;
use crate::store::readers::Readers;

/// A key is asked for anew after this long, whatever was or was not heard in between.
const LONGEST_CACHED: Duration = Duration::from_secs(60);
const MAX_CACHED: u64 = 100_000;
/// How many connections of its own it reads with.
const MAX_READERS: usize = 4;
const CHANNEL: &str = "colloquy_key_forgotten";
const BEFORE_RETRY: Duration = Duration::from_secs(1);

/// The vault in Postgres. Clones share their cache.
#[derive(Clone)]
pub struct PostgresVault {
    pool: PgPool,
    /// For what commands and consumers wait for.
    readers: Arc<Readers>,
    master: MasterKey,
    cache: Cached,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Clone)]
struct Cached {
    by_subject: Cache<(CompanyId, Subject), Arc<SubjectKey>>,
    by_id: Cache<Uuid, (CompanyId, KeyState)>,
}

impl Cached {
    fn new() -> Self {
        Self {
            by_subject: Cache::builder()
                .max_capacity(MAX_CACHED)
                .time_to_live(LONGEST_CACHED)
                .build(),
            by_id: Cache::builder().max_capacity(MAX_CACHED).time_to_live(LONGEST_CACHED).build(),
        }
    }

    fn put(&self, company: CompanyId, id: Uuid, state: &KeyState) {
        self.by_id.insert(id, (company, state.clone()));
        if let KeyState::Alive(key) = state {
            self.by_subject.insert((company, key.subject), Arc::clone(key));
        }
    }

    fn drop_key(&self, id: Uuid) {
        if let Some((company, KeyState::Alive(key))) = self.by_id.remove(&id) {
            self.by_subject.invalidate(&(company, key.subject));
        }
    }

    fn drop_all(&self) {
        self.by_subject.invalidate_all();
        self.by_id.invalidate_all();
    }
}

impl PostgresVault {
    /// The vault in this database, whose schema must be there, see [`crate::migrate`]. Starts a task
    /// on the current runtime that hears of forgotten keys on a connection of its own.
    #[must_use]
    pub fn start(pool: PgPool, master: MasterKey) -> Self {
        let (cache, stop, tasks) = (Cached::new(), CancellationToken::new(), TaskTracker::new());
        tasks.spawn({
            // A pool of one, so that listening takes no connection away from others.
            let own = PgPoolOptions::new()
                .max_connections(1)
                .max_lifetime(None)
                .idle_timeout(None)
                .connect_lazy_with(pool.connect_options().as_ref().clone());
            let (cache, stop) = (cache.clone(), stop.clone());
            async move {
                let _: Option<()> = stop.run_until_cancelled(hear(&own, &cache)).await;
                own.close().await;
            }
        });
        tasks.close();
        let options = pool.connect_options().as_ref().clone();
        let readers = Arc::new(Readers::new(options, MAX_READERS));
        Self { pool, readers, master, cache, stop, tasks }
    }

    /// Stops hearing of forgotten keys and lets go of all that are cached.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
        self.readers.close_idle().await;
        self.cache.drop_all();
    }

    async fn stored(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Option<KeyState>, VaultError> {
        let known = self.read(|| {
            sqlx::query(
                "select key_id, company_id, subject_kind, subject_id, wrapped from vault.subject_key
                  where company_id = $1 and subject_kind = $2 and subject_id = $3",
            )
            .bind(company.0)
            .bind(subject.kind())
            .bind(subject.id())
        });
        Ok(known.await?.pop().map(|(_, state)| state))
    }

    /// The keys in the rows of a query that may be sent again; they are cached.
    async fn read(
        &self,
        query: impl Fn() -> Query<'static, Postgres, PgArguments> + Send,
    ) -> Result<Vec<(Uuid, KeyState)>, VaultError> {
        let rows = self.readers.rows(query).await.map_err(|ReadError| VaultError::Unavailable)?;
        rows.iter()
            .map(|row| {
                let (company, id, state) = opened(&self.master, row)?;
                self.cache.put(company, id, &state);
                Ok((id, state))
            })
            .collect()
    }

    /// The subject's key, stored first if there is none: one round trip that does not wait for the
    /// disk. `None` when another process is storing one at this moment.
    async fn make(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Option<KeyState>, VaultError> {
        let id = super::new_key_id();
        let key = Zeroizing::new(rand::random());
        let context = wrap::subject_key_context(id, company, subject);
        let wrapped = wrap::wrap(&self.master, &context, &key)?;
        let made = self.read(|| {
            sqlx::query(
                "select key_id, company_id, subject_kind, subject_id, wrapped
                   from vault.make_key($1, $2, $3, $4, $5)",
            )
            .bind(id)
            .bind(company.0)
            .bind(subject.kind())
            .bind(subject.id())
            .bind(wrapped.clone())
        });
        Ok(made.await?.pop().map(|(_, state)| state))
    }
}

#[async_trait]
impl KeyVault for PostgresVault {
    async fn key_for(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Arc<SubjectKey>, VaultError> {
        if let Some(key) = self.cache.by_subject.get(&(company, subject)) {
            return Ok(key);
        }
        let mut state = self.make(company, subject).await?;
        if state.is_none() {
            state = self.stored(company, subject).await?;
        }
        match state.ok_or(VaultError::Unavailable)? {
            KeyState::Alive(key) => Ok(key),
            KeyState::Forgotten(_) => Err(VaultError::SubjectErased),
        }
    }

    async fn durable_key_for(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Arc<SubjectKey>, VaultError> {
        let key = self.key_for(company, subject).await?;
        // The server's log is written in order: what waits for this message waits for the key, too. A
        // key that went with a crash is missing even so.
        let is_kept: bool = sqlx::query_scalar(
            "select set_config('synchronous_commit',
                        case current_setting('synchronous_commit') when 'off' then 'on'
                        else current_setting('synchronous_commit') end, true) is not null
                    and exists (select from vault.subject_key where key_id = $1)
               from pg_logical_emit_message(true, 'colloquy', '')",
        )
        .bind(key.id)
        .fetch_one(&self.pool)
        .await
        .map_err(unavailable)?;
        if is_kept {
            return Ok(key);
        }
        self.doubt(&[key.id]);
        Err(VaultError::Unavailable)
    }

    fn doubt(&self, ids: &[Uuid]) {
        // Not one by one: what is known of a key by its id may have gone before what is known of its
        // subject, and an append is refused seldom.
        if !ids.is_empty() {
            self.cache.drop_all();
        }
    }

    async fn keys(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, KeyState>, VaultError> {
        let mut known = HashMap::with_capacity(ids.len());
        let mut missing = Vec::new();
        for id in ids {
            match self.cache.by_id.get(id) {
                Some((_, state)) => {
                    known.insert(*id, state);
                }
                None => missing.push(*id),
            }
        }
        if missing.is_empty() {
            return Ok(known);
        }
        let found = self.read(|| {
            sqlx::query(
                "select key_id, company_id, subject_kind, subject_id, wrapped from vault.subject_key
                  where key_id = any($1)",
            )
            .bind(missing.clone())
        });
        known.extend(found.await?);
        Ok(known)
    }

    async fn is_erased(&self, company: CompanyId, subject: Subject) -> Result<bool, VaultError> {
        sqlx::query_scalar(
            "select exists (select from vault.subject_key
              where company_id = $1 and subject_kind = $2 and subject_id = $3
                and forgotten_at is not null)",
        )
        .bind(company.0)
        .bind(subject.kind())
        .bind(subject.id())
        .fetch_one(&self.pool)
        .await
        .map_err(unavailable)
    }

    async fn forget(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Vec<StreamId>, VaultError> {
        // One statement, so that the order's lock is never held while a client thinks.
        let id: Uuid = sqlx::query_scalar("select vault.forget($1, $2, $3, $4)")
            .bind(company.0)
            .bind(subject.kind())
            .bind(subject.id())
            .bind(super::new_key_id())
            .fetch_one(&self.pool)
            .await
            .map_err(unavailable)?;
        self.cache.drop_key(id);
        self.cache.by_subject.invalidate(&(company, subject));
        // No append can add to these any more.
        let rows = sqlx::query(
            "select company_id, category, stream_id from vault.subject_stream
              where key_id = $1 order by company_id, category, stream_id",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)?;
        rows.iter()
            .map(|row| {
                let aggregate = Cow::Owned(row.try_get(1)?);
                let company = CompanyId(row.try_get(0)?);
                Ok(StreamId { company, aggregate, id: row.try_get(2)? })
            })
            .collect::<sqlx::Result<_>>()
            .map_err(unavailable)
    }
}

/// Drops keys from the cache as they are forgotten anywhere.
async fn hear(pool: &PgPool, cache: &Cached) {
    loop {
        if let Err(error) = hear_until_lost(pool, cache).await {
            tracing::debug!(%error, "forgotten keys are not heard of");
        }
        // What was forgotten while nobody listened is not known.
        cache.drop_all();
        sleep(BEFORE_RETRY).await;
    }
}

async fn hear_until_lost(pool: &PgPool, cache: &Cached) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    cache.drop_all();
    while let Some(notification) = listener.try_recv().await? {
        if let Ok(id) = notification.payload().parse() {
            cache.drop_key(id);
        }
    }
    Ok(())
}

/// Company, id and state of the key in a row.
pub(super) fn opened(
    master: &MasterKey,
    row: &PgRow,
) -> Result<(CompanyId, Uuid, KeyState), VaultError> {
    let read = || {
        let kind: &str = row.try_get(2)?;
        let subject = Subject::from_parts(kind, row.try_get(3)?);
        sqlx::Result::Ok((row.try_get(0)?, row.try_get(1)?, subject, row.try_get(4)?))
    };
    let (id, company, subject, wrapped): (_, _, _, Option<Vec<u8>>) =
        read().map_err(unavailable)?;
    let (company, subject) = (CompanyId(company), subject.ok_or(VaultError::Unreadable)?);
    let Some(wrapped) = wrapped else {
        return Ok((company, id, KeyState::Forgotten(subject)));
    };
    let context = wrap::subject_key_context(id, company, subject);
    let key = wrap::unwrap(master, &context, &wrapped)?;
    Ok((company, id, KeyState::Alive(Arc::new(SubjectKey { id, subject, key }))))
}

/// A failure of the database; its text goes to the log and no further.
pub(super) fn unavailable(error: sqlx::Error) -> VaultError {
    tracing::warn!(%error, "the key vault cannot be reached");
    VaultError::Unavailable
}
