//! Read models that follow the log, beside bare upserts of the same rows in the same batches.

mod bare;
mod ours;
mod pair;

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventlog::codec::Codec;
use eventlog::consume::Pace;
use eventlog::envelope::Position;
use eventlog::store::EventStore;
use projections::model::{MODELS, Model};
use tokio::time::sleep;

use self::ours::Pass;
use self::pair::Pair;
use crate::database::{Database, Parts};
use crate::load::spread;
use crate::rebuild::log;
use crate::report::{median, thousands};
use crate::settings::Settings;

/// Models that are also measured alone: rows of one kind each, long rows that grow, many small rows.
const ALONE: [&str; 3] = ["candidates", "interviews", "transcripts"];
/// Share of the bare limit to reach.
const GOAL: f64 = 0.5;
/// What was done before is on the disk by then.
const BETWEEN_TURNS: Duration = Duration::from_millis(200);

/// Some models that are measured together, and what came out.
struct Field<'a> {
    name: String,
    pairs: Vec<&'a Pair>,
    /// Ours, and the seconds of the bare upserts.
    rounds: Vec<(Pass, f64)>,
}

/// Measures and answers the section.
///
/// # Errors
/// The database refuses, or the rows of both differ.
pub async fn run(settings: &Settings) -> anyhow::Result<String> {
    let database = Database::create_with_schema(&settings.server, "project").await?;
    let parts = Parts::open(&database).await?;
    let codec = Codec::new(Arc::clone(&parts.vault) as _);
    let n_events = log::write(&database.pool, &codec, settings.project_events).await?;
    parts.close().await;
    let pairs = Pair::prepare(&database, MODELS).await?;
    let mut fields: Vec<Field<'_>> = ALONE
        .iter()
        .map(|name| {
            let alone = pairs.iter().filter(|pair| pair.model.name == *name).collect();
            Field { name: (*name).to_owned(), pairs: alone, rounds: vec![] }
        })
        .collect();
    let name = format!("all {} at once", MODELS.len());
    fields.push(Field { name, pairs: pairs.iter().collect(), rounds: vec![] });
    for round in 0..settings.rounds {
        for field in &mut fields {
            field.measure(&database, round).await?;
        }
    }
    let mut text = section(&fields, n_events, settings);
    let mut limits = vec![];
    for field in &fields {
        if let [alone] = field.pairs.as_slice() {
            let opening = opening(&database, &alone.model).await?;
            let _ = writeln!(text, "{}", field.steps(opening));
            limits.push(field.limit(opening));
        }
    }
    let _ = writeln!(
        text,
        "\nThe limit: events have to be had before they can be folded. Reading the log, looking up \
         versions and opening what is sealed alone take as long as {} bare upserts.",
        limits.join(", "),
    );
    database.drop().await?;
    Ok(text)
}

impl Field<'_> {
    async fn measure(&mut self, database: &Database, round: usize) -> anyhow::Result<()> {
        let mut connection = database.pool.acquire().await?;
        pair::empty(&mut connection, &self.pairs).await?;
        sleep(BETWEEN_TURNS).await;
        // There and back again, so that neither always comes after the other.
        let (ours, bare) = if round.is_multiple_of(2) {
            let ours = ours::follow(database, &self.pairs).await?;
            sleep(BETWEEN_TURNS).await;
            (ours, bare::write(database, &self.pairs).await?)
        } else {
            let bare = bare::write(database, &self.pairs).await?;
            sleep(BETWEEN_TURNS).await;
            (ours::follow(database, &self.pairs).await?, bare)
        };
        for pair in &self.pairs {
            pair.compare(&mut connection).await?;
        }
        eprintln!(
            "round {round} {:<16} {:>8} events, ours {:>7.2} s, bare {bare:>7.2} s",
            self.name, ours.n_events, ours.seconds
        );
        self.rounds.push((ours, bare));
        Ok(())
    }

    fn middle(&self, of: impl Fn(&(Pass, f64)) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }

    fn row(&self) -> String {
        let ratios: Vec<f64> = self.rounds.iter().map(|(ours, bare)| bare / ours.seconds).collect();
        let verdict = if median(ratios.clone()) >= GOAL { "reached" } else { "**missed**" };
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {GOAL:.2} | {verdict} |",
            self.name,
            thousands(self.middle(|(ours, _)| ours.n_events as f64)),
            thousands(self.pairs.iter().map(|pair| pair.bare.n_batches() as f64).sum()),
            thousands(self.pairs.iter().map(|pair| pair.bare.n_rows() as f64).sum()),
            thousands(self.middle(|(ours, _)| ours.n_events as f64 / ours.seconds)),
            thousands(self.middle(|(ours, bare)| ours.n_events as f64 / bare)),
            spread(ratios),
        )
    }

    /// How many bare upserts take as long as what comes before folding.
    fn limit(&self, opening: f64) -> String {
        let before = self.middle(|(ours, bare)| (ours.steps[0] + ours.steps[1] + opening) / bare);
        format!("{before:.1} ({})", self.name)
    }

    /// Milliseconds of a batch, step by step, and of the bare upsert; `opening` are the seconds that
    /// it takes in all.
    fn steps(&self, opening: f64) -> String {
        let per_batch = |of: &dyn Fn(&(Pass, f64)) -> f64| {
            self.middle(|round| of(round) * 1e3 / round.0.n_batches.max(1) as f64)
        };
        let of = |nth: usize| per_batch(&|(ours, _)| ours.steps[nth]);
        let opening = per_batch(&|_| opening);
        format!(
            "| {} | {:.1} | {:.1} | {:.1} | {opening:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            self.name,
            per_batch(&|(ours, _)| ours.seconds),
            of(0),
            of(1),
            of(2) - opening,
            of(3),
            per_batch(&|(ours, _)| ours.seconds - ours.steps.iter().sum::<f64>()),
            per_batch(&|(_, bare)| *bare),
        )
    }
}

/// Seconds that opening a model's events takes, in the batches of its loop.
async fn opening(database: &Database, model: &Model) -> anyhow::Result<f64> {
    let parts = Parts::open(database).await?;
    let codec = Codec::new(Arc::clone(&parts.vault) as _);
    let (mut after, mut seconds) = (Position(0), 0.0);
    loop {
        let page = parts.store.read_log(after, &model.filter(), Pace::default().batch).await?;
        if page.next == after {
            break;
        }
        after = page.next;
        let began = Instant::now();
        codec.open_each(page.events).await?;
        seconds += began.elapsed().as_secs_f64();
    }
    parts.close().await;
    Ok(seconds)
}

fn section(fields: &[Field<'_>], n_events: u64, settings: &Settings) -> String {
    let mut text = format!(
        "## Projecting beside bare upserts\n\n\
         Each read model follows a log of {} events of whole hiring steps ({} of them interleaved) in \
         the loop that a server runs, from an empty table, in batches of at most {} events: read the \
         log, look up the versions that are applied, open what is sealed, load the rows, fold, and \
         upsert rows, applied versions and checkpoint in one transaction. No key is known at the \
         start.\n\n\
         The bare limit writes exactly the same rows in the same batches into a table of the same \
         shape with the same indexes: one `insert … select from unnest(…) on conflict do update` a \
         batch, prepared, on a connection of its own for each model, each a transaction of its own. \
         The rows stand ready in memory; nothing is read, opened, folded or looked up, and no version \
         is kept. Both tables are compared row by row after each round. {} rounds.\n\n\
         What moves these figures: server and clients share the cores, so that it is work that is \
         measured. One model alone keeps about one core busy, by turns in the server and in the \
         client; all at once keep all cores busy. A batch costs the same number of round trips \
         whatever its size, so that a model that is one event behind pays more for each event than \
         one that catches up, as here.\n\n\
         | read model | events | batches | rows written | ours, events/s | bare upsert, events/s | \
         ours / bare | goal | |\n\
         |---|---|---|---|---|---|---|---|---|\n",
        thousands(n_events as f64),
        log::AT_ONCE,
        Pace::default().batch,
        settings.rounds,
    );
    for field in fields {
        let _ = writeln!(text, "{}", field.row());
    }
    text.push_str(
        "\nWhere the time goes, in milliseconds of a batch. Opening is measured apart, once, and taken \
         out of what the transaction takes before its commit.\n\n\
         | read model | ours | reading the log | looking up versions | loading, folding, writing | \
         opening | commit | all else | bare upsert |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    text
}
