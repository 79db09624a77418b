//! The relay: how fast a full log comes into Kafka, beside bare producers of the same records, and
//! how long one event takes from its commit to the topic.

mod bare;
mod broker;
mod full;
mod gate;
mod steady;
mod steps;

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use anyhow::Context;
use eventlog::codec::Codec;
use eventlog::kafka::topics::published;

use self::bare::Load;
use self::broker::Topics;
use self::full::Relayed;
use self::steady::Steady;
use crate::database::{Database, Parts};
use crate::load::spread;
use crate::rebuild::log;
use crate::report::{median, thousands};
use crate::settings::Settings;
use crate::system::{millis, quantile};

/// Of one round, in seconds.
struct Round {
    relay: f64,
    bare: f64,
    n_transactions: usize,
}

/// Measures and answers the section.
///
/// # Errors
/// The server or the broker cannot be reached, or an event is missing in a topic.
pub async fn run(settings: &Settings) -> anyhow::Result<String> {
    let bootstrap = settings.kafka.as_deref().context("a broker is needed")?;
    let database = Database::create_with_schema(&settings.server, "relay").await?;
    let parts = Parts::open(&database).await?;
    let codec = Codec::new(Arc::clone(&parts.vault) as _);
    log::write(&database.pool, &codec, settings.relay_events).await?;
    let events = full::events(&*parts.store).await?;
    parts.close().await;
    let loads = events.iter().map(|(topic, events)| Arc::new(Load::new(*topic, events)));
    let loads: Vec<Arc<Load>> = loads.collect();
    drop(events);
    let last: HashMap<String, u64> = loads.iter().filter_map(|load| load.last()).collect();

    // The first turn warms up, and says which transactions the bare producers are to make.
    let mut before = relayed(&database, bootstrap, "warm-up", &last).await?;
    let mut rounds = vec![];
    for round in 0..settings.rounds {
        let turn = |name: &str| format!("{name}-{round}");
        // There and back again, so that neither always comes after the other.
        let (now, bare) = if round.is_multiple_of(2) {
            let now = relayed(&database, bootstrap, &turn("relay"), &last).await?;
            let bare = sent(bootstrap, &turn("bare"), &loads, &now).await?;
            (now, bare)
        } else {
            let bare = sent(bootstrap, &turn("bare"), &loads, &before).await?;
            (relayed(&database, bootstrap, &turn("relay"), &last).await?, bare)
        };
        eprintln!("round {round} relay {:.2} s, bare {bare:.2} s", now.seconds);
        let n_transactions = now.transactions.values().map(Vec::len).sum();
        rounds.push(Round { relay: now.seconds, bare, n_transactions });
        before = now;
    }
    database.drop().await?;
    let steady = steady::run(settings, bootstrap).await?;
    Ok(section(&rounds, &loads, &steady, settings))
}

async fn relayed(
    database: &Database,
    bootstrap: &str,
    turn: &str,
    last: &HashMap<String, u64>,
) -> anyhow::Result<Relayed> {
    let topics = Topics::create(bootstrap, turn, published(false)).await?;
    let relayed = full::run(database, &topics, last).await;
    topics.remove().await?;
    relayed
}

async fn sent(
    bootstrap: &str,
    turn: &str,
    loads: &[Arc<Load>],
    like: &Relayed,
) -> anyhow::Result<f64> {
    let topics = Topics::create(bootstrap, turn, published(false)).await?;
    let sent = bare::run(&topics, loads, &Arc::new(like.transactions.clone())).await;
    topics.remove().await?;
    sent
}

fn section(rounds: &[Round], loads: &[Arc<Load>], steady: &Steady, settings: &Settings) -> String {
    let n_events: usize = loads.iter().map(|load| load.n_events()).sum();
    let n_bytes: usize = loads.iter().map(|load| load.n_bytes()).sum();
    let middle = |of: &dyn Fn(&Round) -> f64| median(rounds.iter().map(of).collect());
    let per_transaction = middle(&|round| n_events as f64 / round.n_transactions.max(1) as f64);
    let mut text = format!(
        "## Relay\n\n\
         A full log of {} events of whole hiring steps is published into empty topics of one Kafka \
         broker, all {} topics at once, {} of which get events: {:.0} events a transaction on average, \
         {:.0} bytes each before compression. The clock runs from the moment when every topic's first \
         batch is ready until a reader of what is committed has seen every topic's last mark; what \
         comes before, taking leases and fencing predecessors, is not counted.\n\n\
         The bare limit sends the same records, made before, in transactions of the same sizes into \
         the same topics, by a transactional producer for each of them with the relay's settings; it \
         reads no log, makes no records, waits for nothing but receipts and commits, and writes no marks. \
         {} rounds.\n\n\
         What moves these figures: broker, database and clients share the cores, so that it is work \
         that is measured; the broker does not wait for the disk. Far behind the head each topic \
         reads the log by itself, up to 1,000 events at a time; a transaction costs several round trips \
         whatever its size.\n\n\
         | | events a second | MB/s | of bare |\n|---|---|---|---|\n",
        thousands(n_events as f64),
        published(false).len(),
        loads.len(),
        per_transaction,
        n_bytes as f64 / n_events.max(1) as f64,
        rounds.len(),
    );
    let ratios: Vec<f64> = rounds.iter().map(|round| round.bare / round.relay).collect();
    for (name, seconds, ratio) in [
        ("bare transactional producers", middle(&|round| round.bare), "**1.00**".to_owned()),
        ("relay", middle(&|round| round.relay), spread(ratios)),
    ] {
        let _ = writeln!(
            text,
            "| {name} | {} | {:.1} | {ratio} |",
            thousands(n_events as f64 / seconds),
            n_bytes as f64 / seconds / 1e6
        );
    }
    let steps = &steady.steps;
    let lag = |percent| millis(quantile(&steady.lags, percent));
    let _ = write!(
        text,
        "\n### From commit to topic\n\n\
         {} commands a second at the warm bus, {} clients by turns, for {} s, with the relay of all \
         topics beside it in the same process. The time is from the moment when the client has its \
         answer until a consumer that reads committed has the event; each event was there, and once. \
         {:.0} events a second were counted.\n\n\
         | half within | 99 in a hundred within | longest |\n|---|---|---|\n\
         | {:.1} ms | {:.1} ms | {:.1} ms |\n\n\
         Of it the relay's transactions took, in mean milliseconds; an event waits for the one that is \
         under way and is seen after its own:\n\n\
         | events in one | between two | records | mark | commit | together |\n|---|---|---|---|---|---|\n\
         | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |\n",
        steady::RATE,
        steady::CLIENTS,
        settings.relay_steady.as_secs_f64(),
        steady.rate,
        lag(50),
        lag(99),
        lag(100),
        steady.lags.len() as f64 / steps.n_transactions.max(1) as f64,
        steps.between,
        steps.records,
        steps.mark,
        steps.commit,
        steps.between + steps.records + steps.mark + steps.commit,
    );
    text
}
