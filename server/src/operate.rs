//! What operators do from the command line about read models and parked streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand};
use eventlog::envelope::Version;
use eventlog::fail_point::FailPoint;
use eventlog::parked::{self, Parked, Place};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use projections::model::{self, MODELS, Model};
use projections::rebuild::{IfDifferent, Progress, Rebuilder, Rebuilt, Stage};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::parts::Parts;

/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// How often it is where no terminal shows it.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Most parked streams that are listed.
const MAX_LISTED: u32 = 1000;

/// What `colloquy rebuild` takes.
#[derive(Args)]
pub struct RebuildArgs {
    /// Read models, or `all`.
    #[arg(required = true)]
    models: Vec<String>,
    /// Goes back to the rows that queries found before the last switch.
    #[arg(long, conflicts_with_all = ["drop_old", "even_if_different"])]
    back: bool,
    /// Removes the rows of earlier generations; there is no way back then, and programs of an earlier
    /// version have nothing to read.
    #[arg(long, conflicts_with = "even_if_different")]
    drop_old: bool,
    /// Takes the new rows even if they differ from the live ones.
    #[arg(long)]
    even_if_different: bool,
}

/// What `colloquy parked` does.
#[derive(Subcommand)]
pub enum ParkedVerb {
    /// Lists them, longest parked first.
    List,
    /// Shows one.
    Show {
        /// As listed: `<consumer>/<company>/<aggregate>/<id>`.
        stream: Place,
    },
    /// Lets running workers try again.
    Retry {
        /// As listed.
        stream: Place,
    },
    /// Leaves the event out, for good and in every rebuild, and lets the stream go on behind it.
    Skip {
        /// As listed.
        stream: Place,
        /// The version it is parked at, as listed: if it is another by now, nothing is left out.
        #[arg(long)]
        at: u64,
        /// Why, for whoever asks later; nothing personal.
        #[arg(long)]
        reason: String,
    },
}

/// Rebuilds with the parts of this process.
pub(crate) fn rebuilder(
    parts: &Parts,
    fail_point: FailPoint,
    stop: CancellationToken,
) -> Rebuilder {
    let n_cores = std::thread::available_parallelism().map_or(2, usize::from);
    let most = usize::try_from(parts.config.database.max_connections / 2).unwrap_or(1);
    let n_workers = (n_cores + 1).min(most).max(1);
    let (pool, codec) = (parts.pool.clone(), parts.codec.clone());
    Rebuilder::new(pool, parts.log(), codec, fail_point, n_workers, stop)
}

/// Rebuilds, goes back, or drops.
///
/// # Errors
/// Says why, and what stays as it was.
pub async fn rebuild(
    parts: &Parts,
    fail_point: FailPoint,
    stop: &CancellationToken,
    args: RebuildArgs,
) -> anyhow::Result<()> {
    let models = chosen(&args.models)?;
    let rebuilder = rebuilder(parts, fail_point, stop.clone());
    let progress = watch::Sender::default();
    if args.drop_old {
        for model in &models {
            let dropped = rebuilder.drop_old(model).await?;
            println!("{:<14} {} generations dropped", model.name, dropped.len());
        }
        return Ok(());
    }
    let began_at = Instant::now();
    let work = async {
        if args.back {
            let mut rebuilt = vec![];
            for model in &models {
                rebuilt.push(rebuilder.back(model, &progress).await?);
            }
            return anyhow::Ok(rebuilt);
        }
        let if_different = match args.even_if_different {
            true => IfDifferent::Switch,
            false => IfDifferent::Stay,
        };
        Ok(rebuilder.rebuild(&models, if_different, &progress).await?)
    };
    let rebuilt = tokio::select! {
        rebuilt = work => rebuilt?,
        never = show(progress.subscribe()) => match never {},
    };
    rebuilt.iter().for_each(tell);
    let n_events = progress.borrow().n_events;
    let seconds = began_at.elapsed().as_secs_f64();
    println!("{n_events} events in {seconds:.1} s");
    Ok(())
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Model>> {
    if names == ["all"] {
        return Ok(MODELS.to_vec());
    }
    let known = || MODELS.iter().map(|model| model.name).collect::<Vec<_>>().join(", ");
    let find = |name: &String| {
        model::find(name).with_context(|| format!("no read model {name}; there are {}", known()))
    };
    names.iter().map(find).collect()
}

fn tell(rebuilt: &Rebuilt) {
    let before = rebuilt.before.map_or("none".to_owned(), |before| before.to_string());
    let compared = match &rebuilt.compared {
        Some(compared) if compared.is_equal() => {
            format!("{} rows, equal", compared.n_rebuilt)
        }
        Some(compared) => {
            format!("{} rows, {} differed", compared.n_rebuilt, compared.n_different)
        }
        None => "nothing to compare with".to_owned(),
    };
    let (model, generation) = (rebuilt.model, rebuilt.generation);
    println!("{model:<14} generation {generation} is live, before it {before}; {compared}");
}

/// Shows progress on standard error until it is dropped: a bar with rate and estimate on a terminal,
/// else a line now and then.
async fn show(progress: watch::Receiver<Progress>) -> std::convert::Infallible {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let template = "{msg:12} {bar:30} position {pos} of {len}, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let has_terminal = !bar.is_hidden();
    let began_at = Instant::now();
    loop {
        let Progress { stage, position, head, n_events } = *progress.borrow();
        let stage = stage_name(stage);
        if has_terminal {
            bar.set_length(head);
            bar.set_position(position);
            bar.set_message(stage);
            tokio::time::sleep(SHOW_EVERY).await;
        } else {
            tokio::time::sleep(TELL_EVERY).await;
            let seconds = began_at.elapsed().as_secs().max(1);
            let rate = n_events / seconds;
            let left = head.saturating_sub(position) / rate.max(1);
            eprintln!("{stage}: position {position} of {head}, {rate} events/s, {left} s left");
        }
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Filling => "filling",
        Stage::Indexing => "indexing",
        Stage::CatchingUp => "catching up",
        Stage::Comparing => "comparing",
        Stage::Switching => "switching",
    }
}

/// Lists and settles parked streams.
///
/// # Errors
/// When the stream is not parked there, or the reason is none.
pub async fn parked(parts: &Arc<Parts>, verb: ParkedVerb) -> anyhow::Result<()> {
    let mut conn = parts.pool.acquire().await?;
    match verb {
        ParkedVerb::List => {
            for parked in parked::list(&mut conn, MAX_LISTED).await? {
                println!("{}", line(&parked));
            }
        }
        ParkedVerb::Show { stream } => {
            println!("{}", line(&parked::find(&mut conn, &stream).await?));
        }
        ParkedVerb::Retry { stream } => {
            parked::retry(&mut conn, &stream, &whoever_asks()).await?;
            println!("running workers try {stream} again");
        }
        ParkedVerb::Skip { stream, at, reason } => {
            let by = whoever_asks();
            let skipped = parked::skip(&mut conn, &stream, Version(at), &reason, &by).await?;
            println!("version {} of {stream} is left out from now on", skipped.version);
        }
    }
    Ok(())
}

fn line(parked: &Parked) -> String {
    let Parked { place, version, error, parked_at, retry_by } = parked;
    let retry = retry_by.as_ref().map_or(String::new(), |by| format!(", retry asked by {by}"));
    format!("{place} at version {version} since {}: {error}{retry}", parked_at.to_rfc3339())
}

/// Who stands in the record of what is done here: the system's user.
fn whoever_asks() -> String {
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    format!("cli:{}", user.map_or_else(|| uid.to_string(), |user| user.name))
}
