//! `colloquy events export`: the log without the data of persons, as files for analytics.
//!
//! A folder holds one file for each range of positions and `manifest.json`. A file is written under
//! another name, flushed, and renamed; then the manifest is replaced in the same way. So an export
//! that was cut short goes on where the manifest ends when the same command is run again, and what the
//! manifest lists is whole. Never more than a page of the log and a row group are held in memory.

mod file;
mod manifest;
mod ndjson;
mod parquet;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use domain::event::AGGREGATES;
use eventlog::envelope::{Position, StoredEvent};
use eventlog::kafka::message::Record;
use eventlog::store::{EventStore, Filter};
use serde::{Deserialize, Serialize};

pub use self::manifest::{Manifest, PartFile};

/// How many events one reading of the log asks for.
const PAGE: usize = 500;

/// Positions of one file, where nothing else is asked for.
pub const POSITIONS_PER_FILE: u64 = 100_000;

/// How the events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One CloudEvent in JSON a line.
    Ndjson,
    /// Parquet: the envelope in typed columns, the payload as JSON text.
    Parquet,
}

impl Format {
    fn ending(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }
}

/// What is exported, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    /// How it is written.
    pub format: Format,
    /// The folder; made where it is missing.
    pub folder: PathBuf,
    /// First position.
    pub from: u64,
    /// Last position; the log's last one at the first start without it.
    pub to: Option<u64>,
    /// Only these aggregates; all where empty.
    pub aggregates: BTreeSet<String>,
    /// Positions of one file.
    pub positions_per_file: u64,
    /// What the schemas' `$id`s begin with.
    pub schema_base: String,
}

/// One event as everybody may see it.
struct Row<'a> {
    event: &'a StoredEvent,
    record: Record,
}

/// Writes the events of one file.
trait Sink {
    fn push(&mut self, row: &Row<'_>) -> anyhow::Result<()>;
    /// Ends the file and answers its size in bytes and its SHA-256.
    fn finish(self: Box<Self>) -> anyhow::Result<(u64, String)>;
}

/// Exports, or goes on with an export that was cut short; `tell` hears of each file.
///
/// # Errors
/// When the request fits neither the log nor what the folder holds, or something cannot be read or
/// written.
pub async fn export(
    store: &dyn EventStore,
    request: &Request,
    mut tell: impl FnMut(&PartFile),
) -> anyhow::Result<Manifest> {
    for aggregate in &request.aggregates {
        let is_known = AGGREGATES.contains(&aggregate.as_str());
        anyhow::ensure!(
            is_known,
            "{aggregate} is no aggregate; there are {}",
            AGGREGATES.join(", ")
        );
    }
    anyhow::ensure!(request.from > 0, "the first position is 1");
    anyhow::ensure!(request.positions_per_file > 0, "a file holds at least one position");
    let folder = &request.folder;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let head = store.head().await?.0;
    let mut manifest = Manifest::resume(request, head)?;
    let filter = Filter::of_aggregates(request.aggregates.iter().cloned());
    while !manifest.complete {
        let from = manifest.through + 1;
        let to = manifest.to.min(manifest.through.saturating_add(request.positions_per_file));
        if let Some(part) = write_part(store, request, &filter, from, to).await? {
            tell(&part);
            manifest.add(part);
        }
        manifest.advance(to);
        manifest.save(folder)?;
    }
    Ok(manifest)
}

/// Writes the file of these positions, both included; none where no event stands there.
async fn write_part(
    store: &dyn EventStore,
    request: &Request,
    filter: &Filter,
    from: u64,
    to: u64,
) -> anyhow::Result<Option<PartFile>> {
    let name = format!("events-{from:012}-{to:012}.{}", request.format.ending());
    let unfinished = request.folder.join(format!(".{name}.unfinished"));
    let mut open = None;
    let mut part = PartFile::new(name, from, to);
    let mut after = Position(from - 1);
    while after.0 < to {
        let page = store.read_log(after, filter, PAGE).await?;
        for event in page.events.iter().filter(|event| event.position.0 <= to) {
            let sink = match &mut open {
                Some(sink) => sink,
                None => open.insert(sink(request.format, &unfinished)?),
            };
            let record = Record::public(event, &request.schema_base);
            part.count(event.position.0, record.header("ce_dataschema").unwrap_or_default());
            sink.push(&Row { event, record })?;
        }
        anyhow::ensure!(page.next > after, "the log ends at position {after} and not at {to}");
        after = page.next;
    }
    let Some(sink) = open else {
        return Ok(None);
    };
    (part.bytes, part.sha256) = sink.finish()?;
    std::fs::rename(&unfinished, request.folder.join(&part.name))?;
    Ok(Some(part))
}

fn sink(format: Format, path: &Path) -> anyhow::Result<Box<dyn Sink + Send>> {
    let file =
        file::Hashed::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(match format {
        Format::Ndjson => Box::new(ndjson::Ndjson::new(file)),
        Format::Parquet => Box::new(parquet::Parquet::new(file)?),
    })
}
