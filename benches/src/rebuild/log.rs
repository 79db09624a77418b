//! Writes a long log at once: whole stories, sealed as the product seals them, by `COPY`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::ids::CompanyId;
use eventlog::codec::Codec;
use eventlog::envelope::{Position, StoredEvent, StreamId, Version, event_hash};
use eventlog::store::{
    Append, AppendError, Appended, Capabilities, EventStore, Filter, LogPage, ReadError,
};
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;
use tokio::task::JoinSet;

use super::world::World;

/// Stories that go on at the same time.
pub const AT_ONCE: usize = 64;
/// Tasks that seal.
const SEALERS: usize = 4;

/// Keeps what is appended, instead of a log.
#[derive(Default)]
struct Collected(Mutex<(HashMap<StreamId, u64>, Vec<Append>)>);

#[async_trait]
impl EventStore for Collected {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let version = append.expected.0 + append.events.len() as u64;
        kept.0.insert(append.stream.clone(), version);
        kept.1.push(append);
        let recorded_at = DateTime::<Utc>::UNIX_EPOCH;
        Ok(Appended { version: Version(version), position: Position(0), recorded_at })
    }

    async fn read_stream(
        &self,
        _: &StreamId,
        _: Version,
        _: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        Err(ReadError)
    }

    async fn read_log(&self, _: Position, _: &Filter, _: usize) -> Result<LogPage, ReadError> {
        Err(ReadError)
    }

    async fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Version(kept.0.get(stream).copied().unwrap_or_default()))
    }

    async fn holder(
        &self,
        _: CompanyId,
        _: &'static str,
        _: &[u8],
    ) -> Result<Option<StreamId>, ReadError> {
        Err(ReadError)
    }

    async fn stream_versions(
        &self,
        _: &Filter,
        _: Option<&StreamId>,
        _: usize,
    ) -> Result<Vec<(StreamId, Version)>, ReadError> {
        Err(ReadError)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        Err(ReadError)
    }

    async fn position_at(&self, _: DateTime<Utc>) -> Result<(Position, bool), ReadError> {
        Err(ReadError)
    }

    async fn wait_past(&self, _: Position) {}

    fn capabilities(&self) -> Capabilities {
        Capabilities { dense_positions: true, claims: false, guards: false, in_database: false }
    }
}

/// Writes at least this many events into an empty log; answers how many.
///
/// # Errors
/// The database refuses.
pub async fn write(pool: &PgPool, codec: &Codec, at_least: u64) -> anyhow::Result<u64> {
    let mut position = 0;
    let mut company = 0;
    while position < at_least {
        let mut tasks = JoinSet::new();
        for _ in 0..SEALERS {
            company += 1;
            tasks.spawn(stories(codec.clone(), company));
        }
        while let Some(appends) = tasks.join_next().await {
            position = copy(pool, interleaved(appends?), position).await?;
        }
    }
    for table in ["es_event", "es_stream"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("vacuum analyze {table}"))).execute(pool).await?;
    }
    Ok(position)
}

/// A company with some hundred stories, each story's appends together.
async fn stories(codec: Codec, company: u128) -> Vec<Vec<Append>> {
    let store = Arc::new(Collected::default());
    let world = World::new(Arc::clone(&store) as Arc<dyn EventStore>, codec, company);
    let taken = || {
        let mut kept = store.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut kept.1)
    };
    world.found().await;
    let mut stories = vec![taken()];
    for n in 1..=512 {
        world.tell(&world.story(n)).await;
        stories.push(taken());
    }
    stories
}

/// Some stories' appends in turn, as they would come in.
fn interleaved(stories: Vec<Vec<Append>>) -> Vec<Append> {
    let mut appends = vec![];
    let mut stories = stories.into_iter().map(Vec::into_iter);
    loop {
        let mut now: Vec<_> = stories.by_ref().take(AT_ONCE).collect();
        if now.is_empty() {
            return appends;
        }
        while !now.is_empty() {
            now.retain_mut(|story| {
                let next = story.next();
                let is_left = next.is_some();
                appends.extend(next);
                is_left
            });
        }
    }
}

async fn copy(pool: &PgPool, appends: Vec<Append>, after: u64) -> anyhow::Result<u64> {
    let mut position = after;
    let (mut events, mut versions) = (String::new(), HashMap::new());
    for append in appends {
        let Append { stream, expected, cause, events: new, .. } = append;
        let (company, category, id) = (stream.company.0, stream.aggregate.clone(), stream.id);
        for (version, event) in (expected.0 + 1..).zip(&new) {
            position += 1;
            let hash = event_hash(&stream, Version(version), &cause, event);
            write!(
                events,
                "{position}\tnow\t{company}\t{category}\t{id}\t{version}\t{}\t{}\t{}\t{}\t",
                event.event_id, event.name, event.schema_version, cause.command_id
            )?;
            hex(&mut events, &cause.fingerprint)?;
            let (correlation, actor) = (cause.correlation_id, &cause.actor);
            let at = event.occurred_at.to_rfc3339();
            write!(events, "\t{correlation}\t\\N\t{actor}\t\\N\t{at}\t")?;
            hex(&mut events, &event.payload)?;
            writeln!(events, "\t\\\\x{hash}")?;
            versions.insert(stream.clone(), version);
        }
    }
    let streams = versions.iter().map(|(stream, version)| {
        format!("{}\t{}\t{}\t{version}\n", stream.company.0, stream.aggregate, stream.id)
    });
    for (table, text) in [("es_event", events), ("es_stream", streams.collect())] {
        let mut copying = pool.copy_in_raw(&format!("copy {table} from stdin")).await?;
        copying.send(text.into_bytes()).await?;
        copying.finish().await?;
    }
    Ok(position)
}

fn hex(text: &mut String, bytes: &[u8]) -> std::fmt::Result {
    text.push_str("\\\\x");
    bytes.iter().try_for_each(|byte| write!(text, "{byte:02x}"))
}
