//! Where the time of one command goes, with one client: reading, keys, appending, all else.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use commands::new_id;
use domain::ids::CompanyId;
use domain::personal::Subject;
use eventlog::clock::SystemClock;
use eventlog::envelope::{Position, StoredEvent, StreamId, Version};
use eventlog::store::{
    Append, AppendError, Appended, Capabilities, EventStore, Filter, LogPage, ReadError,
};
use eventlog::vault::{KeyState, KeyVault, SubjectKey, VaultError};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::bus::BusSystem;
use crate::database::{Database, Parts};
use crate::raw::Pooled;
use crate::settings::Settings;
use crate::system::{COMMANDS_PER_AGGREGATE, System};

/// Time spent so far in each of the steps, in nanoseconds.
#[derive(Default)]
struct Spent {
    reading: AtomicU64,
    keys: AtomicU64,
    appending: AtomicU64,
}

impl Spent {
    fn take(&self) -> [f64; 3] {
        [&self.reading, &self.keys, &self.appending].map(|of| of.swap(0, Relaxed) as f64 / 1e6)
    }
}

/// Does the work and adds the nanoseconds that it took.
pub async fn timed<T>(spent: &AtomicU64, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = work.await;
    spent.fetch_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX), Relaxed);
    done
}

/// A log or a vault whose time is kept.
struct Timed<T: ?Sized> {
    inner: Arc<T>,
    spent: Arc<Spent>,
}

#[async_trait]
impl<T: EventStore + ?Sized> EventStore for Timed<T> {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        timed(&self.spent.appending, self.inner.append(append)).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        timed(&self.spent.reading, self.inner.read_stream(stream, after, limit)).await
    }

    async fn read_log(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<LogPage, ReadError> {
        self.inner.read_log(after, filter, limit).await
    }

    async fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        timed(&self.spent.reading, self.inner.stream_version(stream)).await
    }

    async fn stream_versions(
        &self,
        filter: &Filter,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, Version)>, ReadError> {
        self.inner.stream_versions(filter, after, limit).await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.inner.head().await
    }

    async fn position_at(&self, at: DateTime<Utc>) -> Result<(Position, bool), ReadError> {
        self.inner.position_at(at).await
    }

    async fn wait_past(&self, position: Position) {
        self.inner.wait_past(position).await;
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

#[async_trait]
impl<T: KeyVault + ?Sized> KeyVault for Timed<T> {
    async fn key_for(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Arc<SubjectKey>, VaultError> {
        timed(&self.spent.keys, self.inner.key_for(company, subject)).await
    }

    async fn keys(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, KeyState>, VaultError> {
        timed(&self.spent.keys, self.inner.keys(ids)).await
    }

    async fn is_erased(&self, company: CompanyId, subject: Subject) -> Result<bool, VaultError> {
        self.inner.is_erased(company, subject).await
    }

    async fn forget(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Vec<StreamId>, VaultError> {
        self.inner.forget(company, subject).await
    }
}

/// Sums of one kind of command.
#[derive(Default)]
struct Sums {
    n_commands: u32,
    total: f64,
    steps: [f64; 3],
    wal: f64,
}

/// Measures and answers the table.
///
/// # Errors
/// The server cannot be reached, or a command failed.
pub async fn run(
    parts: &Parts,
    database: &Database,
    bare: &Pooled,
    settings: &Settings,
) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect_with(&database.options).await?;
    let mut text = String::from(
        "### Where the time of a command goes, with one client\n\n\
         Mean milliseconds. WAL is what the command writes to the server's log.\n\n\
         | system | command | reading | keys | appending | all else | together | WAL bytes |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let mut notes = vec![];
    for (name, warm_bytes) in [("cold", 0), ("warm", 256 * 1024 * 1024)] {
        let spent = Arc::new(Spent::default());
        let store = Timed { inner: Arc::clone(&parts.store), spent: Arc::clone(&spent) };
        let vault = Timed { inner: Arc::clone(&parts.vault), spent: Arc::clone(&spent) };
        let bus = parts.bus_on(Arc::new(store), Arc::new(vault), warm_bytes);
        let system = BusSystem::new("bus", bus);
        let [first, later] = sums(&system, &spent, &mut connection, settings).await?;
        for (kind, sums) in [("register", &first), ("note", &later)] {
            let _ = writeln!(text, "| {name} | {kind} | {} |", sums.cells());
        }
        notes.push(later.means());
    }
    let trip = round_trip(&mut connection).await?;
    connection.close().await?;
    let bare = bare_insert(bare).await?;
    let _ = writeln!(
        text,
        "\nA round trip to the server and back that does next to nothing (`select 1`, prepared) takes \
         {trip:.3} ms on the same connection, a bare insert through a pool {bare:.3} ms."
    );
    if let [[cold_read, _, cold_append], [_, _, warm_append]] = notes[..] {
        let _ = writeln!(
            text,
            "\nThe limit of one client: were a note neither judged nor sealed nor hashed, reading its \
             stream and appending it would take {:.3} ms, {:.2} of the bare insert's rate, and \
             appending alone, where the state is in memory, {warm_append:.3} ms, {:.2} of it. \
             Appending is one round trip and one flush, as the bare insert is; between them the server \
             takes the order's lock, looks up the stream's version and the key, and writes two rows.",
            cold_read + cold_append,
            bare / (cold_read + cold_append),
            bare / warm_append,
        );
    }
    Ok(text)
}

async fn sums(
    system: &BusSystem,
    spent: &Spent,
    connection: &mut PgConnection,
    settings: &Settings,
) -> anyhow::Result<[Sums; 2]> {
    let mut sums = [Sums::default(), Sums::default()];
    let began = Instant::now();
    while began.elapsed() < settings.turn * 2 {
        let aggregate = new_id(&SystemClock);
        let mut wal = wal_written(connection).await?;
        for nth in 0..COMMANDS_PER_AGGREGATE {
            spent.take();
            let sent = Instant::now();
            system.command(0, aggregate, nth).await?;
            let total = sent.elapsed().as_secs_f64() * 1e3;
            let of = &mut sums[usize::from(nth > 0)];
            of.n_commands += 1;
            of.total += total;
            for (sum, step) in of.steps.iter_mut().zip(spent.take()) {
                *sum += step;
            }
            if nth == 0 || nth + 1 == COMMANDS_PER_AGGREGATE {
                let now = wal_written(connection).await?;
                of.wal += now - wal;
                wal = now;
            }
        }
    }
    Ok(sums)
}

impl Sums {
    /// Milliseconds of a command for reading, for keys and for appending.
    fn means(&self) -> [f64; 3] {
        self.steps.map(|step| step / f64::from(self.n_commands.max(1)))
    }

    fn cells(&self) -> String {
        let n = f64::from(self.n_commands.max(1));
        let [reading, keys, appending] = self.means();
        let total = self.total / n;
        let rest = total - reading - keys - appending;
        format!(
            "{reading:.3} | {keys:.3} | {appending:.3} | {rest:.3} | {total:.3} | {:.0}",
            self.wal / n
        )
    }
}

/// Milliseconds of a bare insert through a pool, one at a time.
async fn bare_insert(raw: &Pooled) -> anyhow::Result<f64> {
    const N: u32 = 500;
    let began = Instant::now();
    for nth in 0..N {
        raw.command(0, Uuid::nil(), nth).await?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e3 / f64::from(N))
}

async fn wal_written(connection: &mut PgConnection) -> anyhow::Result<f64> {
    let query = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8";
    Ok(sqlx::query_scalar(query).fetch_one(connection).await?)
}

async fn round_trip(connection: &mut PgConnection) -> anyhow::Result<f64> {
    const N: u32 = 500;
    sqlx::query("select 1").execute(&mut *connection).await?;
    let began = Instant::now();
    for _ in 0..N {
        sqlx::query("select 1").execute(&mut *connection).await?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e3 / f64::from(N))
}
