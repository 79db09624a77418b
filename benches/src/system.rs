//! What is measured, and how: closed loops of clients, each with one command out at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use commands::new_id;
use eventlog::clock::SystemClock;
use tokio::task::JoinSet;
use uuid::Uuid;

/// A client sends this many commands to an aggregate and then takes a new one, so that a cold
/// command reads 0 to 9 events.
pub const COMMANDS_PER_AGGREGATE: u32 = 10;

/// Something that makes one row or event durable at a time.
#[async_trait]
pub trait System: Send + Sync {
    /// How the tables name it.
    fn name(&self) -> &'static str;

    /// Whether some commands may be refused; they are counted apart and the client goes on.
    fn may_refuse(&self) -> bool {
        false
    }

    /// The `nth` command to an aggregate, from 0, by the client of this number.
    ///
    /// # Errors
    /// It was not carried out, which ends the measurement unless the system may refuse.
    async fn command(&self, client: usize, aggregate: Uuid, nth: u32) -> anyhow::Result<()>;
}

/// What one turn of a system came to.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Commands a second.
    pub rate: f64,
    /// Half of the commands took at most this long, in milliseconds.
    pub p50: f64,
    /// All but one in a hundred took at most this long, in milliseconds.
    pub p99: f64,
    /// Commands that were refused.
    pub refused: usize,
}

/// Lets this many clients send commands for that long.
///
/// # Errors
/// The first command that failed.
pub async fn measure(
    system: &Arc<dyn System>,
    clients: usize,
    turn: Duration,
) -> anyhow::Result<Sample> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let system = Arc::clone(system);
        tasks.spawn(async move {
            let (mut latencies, mut refused) = (vec![], 0);
            'turn: loop {
                let aggregate = new_id(&SystemClock);
                for nth in 0..COMMANDS_PER_AGGREGATE {
                    let sent = Instant::now();
                    if sent - began >= turn {
                        break 'turn;
                    }
                    match system.command(client, aggregate, nth).await {
                        Ok(()) => latencies.push(sent.elapsed()),
                        Err(_) if system.may_refuse() => refused += 1,
                        Err(error) => return Err(error),
                    }
                }
            }
            anyhow::Ok((latencies, refused))
        });
    }
    let (mut latencies, mut refused) = (vec![], 0);
    while let Some(done) = tasks.join_next().await {
        let (of_client, refused_to_client) = done??;
        latencies.extend(of_client);
        refused += refused_to_client;
    }
    let elapsed = began.elapsed();
    latencies.sort_unstable();
    let p50 = millis(quantile(&latencies, 50));
    let p99 = millis(quantile(&latencies, 99));
    Ok(Sample { rate: latencies.len() as f64 / elapsed.as_secs_f64(), p50, p99, refused })
}

/// The value below which this percentage of the sorted values lies.
pub fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).copied().unwrap_or_default()
}

/// In milliseconds.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
