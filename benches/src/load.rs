//! Commands a second of the bus beside the bare limit and beside other event stores.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::breakdown;
use crate::bus::BusSystem;
use crate::database::{Database, Parts};
use crate::peers::{N_PEERS, Peers};
use crate::raw::{self, Own, Pooled};
use crate::report::{extremes, median, thousands};
use crate::settings::Settings;
use crate::system::{Sample, System, measure};

const OWN: usize = 0;
const POOLED: usize = 1;
const COLD: usize = 2;
const WARM: usize = 3;
const FIRST_PEER: usize = 4;
const N_SYSTEMS: usize = FIRST_PEER + N_PEERS;
/// Share of the bare limit to reach, by clients: cold and warm.
const GOALS: [(usize, f64, f64); 3] = [(1, 0.65, 0.8), (16, 0.6, 0.9), (128, 1.0, 2.0)];
/// What the system before left to do is done by then.
const BETWEEN_TURNS: Duration = Duration::from_millis(200);
const WARM_UP: Duration = Duration::from_secs(1);

/// The turns of one number of clients: for each round a sample of each system, the bare limit first.
struct Figures {
    clients: usize,
    names: [&'static str; N_SYSTEMS],
    rounds: Vec<[Sample; N_SYSTEMS]>,
    commands_per_commit: f64,
}

/// Where the systems stand.
struct Field {
    with_log: Database,
    bare: Database,
    parts: Parts,
    cold: Arc<dyn System>,
    warm: Arc<dyn System>,
    peers: Peers,
    payload: Vec<u8>,
    row_width: f64,
}

/// Measures and answers the section.
///
/// # Errors
/// The server cannot be reached, or a command failed.
pub async fn run(settings: &Settings) -> anyhow::Result<String> {
    let field = Field::open(settings).await?;
    let mut all = vec![];
    for clients in &settings.clients {
        all.push(field.measure_at(*clients, settings).await?);
    }
    let bare = raw::Pooled::connect(&field.bare, 1, field.payload.clone()).await?;
    let breakdown = breakdown::run(&field.parts, &field.with_log, &bare, settings).await?;
    let text = section(&all, &field, settings) + "\n" + &breakdown;
    field.close().await?;
    Ok(text)
}

impl Field {
    async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let with_log = Database::create_with_schema(&settings.server, "bus").await?;
        let parts = Parts::open(&with_log).await?;
        let cold: Arc<dyn System> = Arc::new(BusSystem::new("bus, cold", parts.bus(0)));
        let warm: Arc<dyn System> =
            Arc::new(BusSystem::new("bus, warm", parts.bus(256 * 1024 * 1024)));
        for system in [&cold, &warm] {
            measure(system, 16, WARM_UP).await?;
        }
        let row_width = raw::row_width(&with_log.pool, "es_event").await?;
        let bare = Database::create(&settings.server, "raw").await?;
        let payload = raw::noise(raw::prepare(&bare, row_width).await?);
        let peers = Peers::prepare(&settings.server, payload.len()).await?;
        for nth in 0..N_PEERS {
            measure(&peers.system(nth, 16).await?, 16, WARM_UP).await?;
        }
        Ok(Self { with_log, bare, parts, cold, warm, peers, payload, row_width })
    }

    async fn measure_at(&self, clients: usize, settings: &Settings) -> anyhow::Result<Figures> {
        let mut names = [""; N_SYSTEMS];
        let mut rounds = vec![];
        for round in 0..settings.rounds {
            let mut samples = [None; N_SYSTEMS];
            for turn in 0..N_SYSTEMS {
                // There and back again, so that nobody always comes after the same other.
                let i = if round.is_multiple_of(2) { turn } else { N_SYSTEMS - 1 - turn };
                let system = self.system(i, clients).await?;
                sleep(BETWEEN_TURNS).await;
                let sample = measure(&system, clients, settings.turn).await?;
                eprintln!(
                    "round {round} clients {clients:<3} {:<28} {:>7.0}/s p50 {:>7.2} ms p99 {:>7.2} ms",
                    system.name(),
                    sample.rate,
                    sample.p50,
                    sample.p99,
                );
                names[i] = system.name();
                samples[i] = Some(sample);
            }
            rounds.extend(all_there(samples));
        }
        let before = self.parts.head().await?;
        measure(&self.cold, clients, WARM_UP).await?;
        let commands_per_commit = self.with_log.commands_per_commit(before).await?;
        Ok(Figures { clients, names, rounds, commands_per_commit })
    }

    async fn system(&self, i: usize, clients: usize) -> anyhow::Result<Arc<dyn System>> {
        let payload = self.payload.clone();
        Ok(match i {
            OWN => Arc::new(Own::connect(&self.bare, clients, payload).await?),
            POOLED => Arc::new(Pooled::connect(&self.bare, clients, payload).await?),
            COLD => Arc::clone(&self.cold),
            WARM => Arc::clone(&self.warm),
            peer => self.peers.system(peer - FIRST_PEER, clients).await?,
        })
    }

    async fn close(self) -> anyhow::Result<()> {
        self.parts.close().await;
        self.with_log.drop().await?;
        self.peers.drop().await?;
        self.bare.drop().await
    }
}

fn all_there(samples: [Option<Sample>; N_SYSTEMS]) -> Option<[Sample; N_SYSTEMS]> {
    let there: Option<Vec<Sample>> = samples.into_iter().collect();
    there?.try_into().ok()
}

fn section(all: &[Figures], field: &Field, settings: &Settings) -> String {
    let mut text = format!(
        "## Commands beside bare inserts\n\n\
         A command goes through the bus: authorize, load, decide, seal, hash, append, and wait until \
         it is on the disk. Of ten commands to a candidate the first registers it (claims the e-mail \
         address, makes the candidate's key, seals three fields) and nine add a note (seal one field \
         each). *Cold* keeps no aggregate and reads the stream's 0 to 9 events for every command; \
         *warm* finds the state in memory, as a server does that has handled the aggregate lately. \
         Keys are cached in both, as a server does for a minute.\n\n\
         The bare limit is an INSERT of one row of the same width ({:.0} bytes) in a transaction of \
         its own, from as many connections as there are clients: once through a pool that tests a \
         connection before and after lending it, as all programs do that use sqlx, and once with a \
         connection for each client, which spares that. The bus has 16 connections for reading \
         and one that appends, whatever the number of clients. The other event stores have a pool of \
         as many connections as there are clients, append an event as wide as ours to histories \
         as long, and neither claim, hash nor seal anything. {} rounds of {} s a system.\n\n\
         What moves these figures: server and clients share the cores, so that from 16 clients on it is \
         work that is measured, not waiting; with one client it is the time of a flush, and the longer \
         that takes the nearer all ratios come to 1, while 16 clients that wait for one flush in turn \
         fall behind. Streams are short, and there is one process.\n\n\
         | clients | system | per second | of raw, pool | of raw, own connections | p50 ms | p99 ms |\n\
         |---|---|---|---|---|---|---|\n",
        field.row_width,
        settings.rounds,
        settings.turn.as_secs_f64(),
    );
    for figures in all {
        for i in 0..N_SYSTEMS {
            let _ = writeln!(text, "{}", figures.row(i));
        }
    }
    text.push_str(
        "\n| clients | aggregates | goal | of raw, pool | | of raw, own connections | | commands a commit, cold |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for figures in all {
        let goals = GOALS.iter().find(|(clients, ..)| *clients == figures.clients);
        if let Some((_, cold, warm)) = goals {
            let _ = writeln!(text, "{}", figures.verdict(COLD, *cold));
            let _ = writeln!(text, "{}", figures.verdict(WARM, *warm));
        }
    }
    text
}

impl Figures {
    fn ratios(&self, of: usize, to: usize) -> Vec<f64> {
        self.rounds.iter().map(|samples| samples[of].rate / samples[to].rate).collect()
    }

    fn middle(&self, of: impl Fn(&[Sample; N_SYSTEMS]) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }

    fn row(&self, i: usize) -> String {
        let refused: usize = self.rounds.iter().map(|samples| samples[i].refused).sum();
        let refused = if refused > 0 { format!(" ({refused} refused)") } else { String::new() };
        format!(
            "| {} | {} | {}{refused} | {} | {} | {:.2} | {:.2} |",
            self.clients,
            self.names[i],
            thousands(self.middle(|samples| samples[i].rate)),
            spread(self.ratios(i, POOLED)),
            spread(self.ratios(i, OWN)),
            self.middle(|samples| samples[i].p50),
            self.middle(|samples| samples[i].p99),
        )
    }

    fn verdict(&self, system: usize, goal: f64) -> String {
        let against = |limit| {
            let ratio = median(self.ratios(system, limit));
            let verdict = if ratio >= goal { "reached" } else { "**missed**" };
            format!("{ratio:.2} | {verdict}")
        };
        format!(
            "| {} | {} | {goal:.2} | {} | {} | {} |",
            self.clients,
            if system == COLD { "cold" } else { "warm" },
            against(POOLED),
            against(OWN),
            if system == COLD { format!("{:.1}", self.commands_per_commit) } else { "–".into() },
        )
    }
}

/// The middle one with the least and the greatest.
pub fn spread(ratios: Vec<f64>) -> String {
    let (least, greatest) = extremes(&ratios);
    format!("**{:.2}** ({least:.2}..{greatest:.2})", median(ratios))
}
