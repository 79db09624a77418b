//! What is measured and for how long, from the environment.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Commands a second beside bare inserts.
    Bus,
    /// The same rate beside a snapshot that stays open.
    Snapshot,
    /// Many writers against a reader that follows.
    Torture,
    /// All read models from a long log.
    Rebuild,
    /// Read models that follow the log, beside bare upserts of the same rows.
    Project,
    /// The log into Kafka, beside bare producers of the same records; needs a broker.
    Relay,
}

const PARTS: [(&str, Part); 6] = [
    ("bus", Part::Bus),
    ("snapshot", Part::Snapshot),
    ("torture", Part::Torture),
    ("rebuild", Part::Rebuild),
    ("project", Part::Project),
    ("relay", Part::Relay),
];

/// What is measured and for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A superuser's `postgres` database on the server measured; `TEST_DATABASE_URL`.
    pub server: String,
    /// A Kafka broker, which only [`Part::Relay`] needs; `KAFKA_BOOTSTRAP`.
    pub kafka: Option<String>,
    /// The parts to run; `BENCH_PARTS`, all if absent.
    pub parts: Vec<Part>,
    /// How long each system runs in each round; `BENCH_SECS`.
    pub turn: Duration,
    /// How many rounds; `BENCH_ROUNDS`.
    pub rounds: usize,
    /// Numbers of clients; `BENCH_CLIENTS`.
    pub clients: Vec<usize>,
    /// How long a snapshot is held open; `BENCH_SNAPSHOT_SECS`.
    pub snapshot: Duration,
    /// Least number of events of the torture run; `BENCH_TORTURE_EVENTS`.
    pub torture_events: u64,
    /// Least number of events that read models are rebuilt from; `BENCH_REBUILD_EVENTS`.
    pub rebuild_events: u64,
    /// Least number of events that read models follow; `BENCH_PROJECT_EVENTS`.
    pub project_events: u64,
    /// Least number of events that are relayed from a full log; `BENCH_RELAY_EVENTS`.
    pub relay_events: u64,
    /// How long commands come at a steady rate while their way to the topic is timed;
    /// `BENCH_RELAY_SECS`.
    pub relay_steady: Duration,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// Names the variable that is missing or not understood.
    pub fn read() -> anyhow::Result<Self> {
        let server = variable("TEST_DATABASE_URL").context(
            "TEST_DATABASE_URL names a superuser's `postgres` database; `make bench` sets it",
        )?;
        let settings = Self {
            server,
            kafka: variable("KAFKA_BOOTSTRAP"),
            parts: list("BENCH_PARTS", &PARTS.map(|(name, _)| name).join(","), part)?,
            turn: Duration::from_secs_f64(number("BENCH_SECS", 2.0)?),
            rounds: number("BENCH_ROUNDS", 7)?,
            clients: list("BENCH_CLIENTS", "1,16,128", |text| Ok(text.parse()?))?,
            snapshot: Duration::from_secs_f64(number("BENCH_SNAPSHOT_SECS", 60.0)?),
            torture_events: number("BENCH_TORTURE_EVENTS", 1_000_000)?,
            rebuild_events: number("BENCH_REBUILD_EVENTS", 1_000_000)?,
            project_events: number("BENCH_PROJECT_EVENTS", 50_000)?,
            relay_events: number("BENCH_RELAY_EVENTS", 100_000)?,
            relay_steady: Duration::from_secs_f64(number("BENCH_RELAY_SECS", 20.0)?),
        };
        if settings.kafka.is_none() && settings.has(Part::Relay) {
            bail!("KAFKA_BOOTSTRAP names a broker; `make bench` sets it");
        }
        if settings.rounds == 0 || settings.clients.contains(&0) || settings.turn.is_zero() {
            bail!("there must be a round, a client and some time at least");
        }
        Ok(settings)
    }

    /// Whether this part is wanted.
    pub fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Whether every part is wanted, so that the document can be written.
    pub fn is_whole(&self) -> bool {
        PARTS.iter().all(|(_, part)| self.has(*part))
    }
}

fn part(text: &str) -> anyhow::Result<Part> {
    let found = PARTS.iter().find(|(name, _)| *name == text);
    found.map(|(_, part)| *part).with_context(|| format!("there is no part {text:?}"))
}

fn list<T>(
    name: &str,
    default: &str,
    read: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let text = variable(name).unwrap_or_else(|| default.to_owned());
    let items: anyhow::Result<Vec<T>> = text.split(',').map(|item| read(item.trim())).collect();
    items.with_context(|| format!("{name} is not understood"))
}

fn number<T: FromStr>(name: &str, default: T) -> anyhow::Result<T> {
    match variable(name) {
        None => Ok(default),
        Some(text) => text.parse().ok().with_context(|| format!("{name} is not a number")),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the settings are read")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}
