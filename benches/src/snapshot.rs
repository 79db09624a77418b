//! The bus beside a snapshot that stays open in the same database, and without one before and after.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::ensure;
use commands::new_id;
use eventlog::clock::SystemClock;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::bus::BusSystem;
use crate::database::{Database, Parts};
use crate::report::thousands;
use crate::settings::Settings;
use crate::system::{COMMANDS_PER_AGGREGATE, System};

const CLIENTS: usize = 16;
const LONGEST_BUCKET: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(3);

/// Clients that go on until they are told to stop.
struct Load {
    n_done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<anyhow::Result<()>>,
}

impl Load {
    fn start(system: &Arc<dyn System>) -> Self {
        let (n_done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (system, n_done, stop) =
                (Arc::clone(system), Arc::clone(&n_done), Arc::clone(&stop));
            clients.spawn(async move {
                while !stop.load(Relaxed) {
                    let aggregate = new_id(&SystemClock);
                    for nth in 0..COMMANDS_PER_AGGREGATE {
                        system.command(client, aggregate, nth).await?;
                        n_done.fetch_add(1, Relaxed);
                    }
                }
                Ok(())
            });
        }
        Self { n_done, stop, clients }
    }

    /// Commands a second in each of the pieces that make up this time.
    async fn rates(&self, time: Duration) -> Vec<f64> {
        let n = (time.as_secs_f64() / LONGEST_BUCKET.as_secs_f64()).ceil().max(1.0);
        let bucket = time.div_f64(n);
        let mut rates = vec![];
        let (mut began, mut before) = (Instant::now(), self.n_done.load(Relaxed));
        let end = began + time;
        while Instant::now() + bucket / 2 < end {
            sleep(bucket).await;
            let (now, done) = (Instant::now(), self.n_done.load(Relaxed));
            rates.push((done - before) as f64 / (now - began).as_secs_f64());
            (began, before) = (now, done);
        }
        rates
    }

    async fn end(mut self) -> anyhow::Result<()> {
        self.stop.store(true, Relaxed);
        while let Some(done) = self.clients.join_next().await {
            done??;
        }
        Ok(())
    }
}

/// Measures and answers the section.
///
/// # Errors
/// The server cannot be reached, or a command failed.
pub async fn run(settings: &Settings) -> anyhow::Result<String> {
    let database = Database::create_with_schema(&settings.server, "snapshot").await?;
    let parts = Parts::open(&database).await?;
    let system: Arc<dyn System> = Arc::new(BusSystem::new("bus, cold", parts.bus(0)));
    let load = Load::start(&system);
    sleep(WARM_UP).await;

    let before = load.rates(settings.snapshot / 2).await;
    let mut holder = PgConnection::connect_with(&database.options).await?;
    hold(&mut holder, &database.pool).await?;
    let beside = load.rates(settings.snapshot).await;
    sqlx::query("rollback").execute(&mut holder).await?;
    holder.close().await?;
    let after = load.rates(settings.snapshot / 2).await;

    load.end().await?;
    parts.close().await;
    database.drop().await?;
    Ok(section(&before, &beside, &after, settings))
}

/// Opens a snapshot on this connection and makes sure that the server holds it.
async fn hold(holder: &mut PgConnection, pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query("begin isolation level repeatable read").execute(&mut *holder).await?;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *holder).await?;
    sqlx::query("select es_head()").execute(&mut *holder).await?;
    let is_held: bool =
        sqlx::query_scalar("select backend_xmin is not null from pg_stat_activity where pid = $1")
            .bind(pid)
            .fetch_one(pool)
            .await?;
    ensure!(is_held, "the server holds no snapshot");
    Ok(())
}

fn section(before: &[f64], beside: &[f64], after: &[f64], settings: &Settings) -> String {
    let mut text = format!(
        "## Beside a snapshot that stays open\n\n\
         {CLIENTS} clients at the cold bus, without a pause; {} s long a transaction of isolation level \
         REPEATABLE READ keeps its snapshot open in the same database, so that nothing which is \
         replaced meanwhile can be cleared away. Commands a second, piece by piece:\n\n\
         | | commands a second | mean |\n|---|---|---|\n",
        settings.snapshot.as_secs_f64()
    );
    for (name, rates) in
        [("without, before", before), ("beside the snapshot", beside), ("without, after", after)]
    {
        let pieces: Vec<String> = rates.iter().map(|rate| thousands(*rate)).collect();
        let _ = writeln!(text, "| {name} | {} | {} |", pieces.join(", "), thousands(mean(rates)));
    }
    let without = [before, after].concat();
    let _ = writeln!(
        text,
        "\nBeside the snapshot / without: **{:.2}**. Its last piece / its first: {:.2}.",
        mean(beside) / mean(&without),
        beside.last().unwrap_or(&f64::NAN) / beside.first().unwrap_or(&f64::NAN),
    );
    text
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / rates.len() as f64
}
