//! The log in files for analytics: complete, without anybody's data, and finished after any interruption.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::ids::CompanyId;
use eventlog::clock::SystemClock;
use eventlog::envelope::{NewEvent, Position, StoredEvent, StreamId, Version};
use eventlog::kafka::message::Record;
use eventlog::store::memory::MemoryStore;
use eventlog::store::{
    Append, AppendError, Appended, Capabilities, EventStore, Filter, LogPage, ReadError,
};
use eventlog::vault::memory::MemoryVault;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};
use server::contracts;
use server::events_export::{Format, Manifest, Request, export};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

use crate::published::shows_nobody;

const BASE: &str = "https://schemas.northwind.example/events";

/// A log that holds every golden sample ten times; each reading may fail.
struct Log {
    store: MemoryStore,
    /// How many readings of the log are answered before one is not.
    n_readings: AtomicUsize,
}

impl Log {
    async fn new() -> Self {
        let store = MemoryStore::new(Arc::new(SystemClock), MemoryVault::new());
        for _ in 0..10 {
            for sample in contracts::samples().expect("samples") {
                let event = sample.stored;
                let stream = StreamId { id: Uuid::new_v4(), ..event.stream };
                let new = NewEvent {
                    event_id: Uuid::new_v4(),
                    name: event.name.into(),
                    schema_version: event.schema_version,
                    occurred_at: event.occurred_at,
                    payload: event.payload,
                };
                let append = Append {
                    stream,
                    expected: Version(0),
                    guards: vec![],
                    claims: vec![],
                    keys: vec![],
                    cause: event.cause,
                    events: vec![new],
                };
                store.append(append).await.expect("stored");
            }
        }
        Self { store, n_readings: AtomicUsize::new(usize::MAX) }
    }

    async fn events(&self, filter: &Filter) -> Vec<StoredEvent> {
        let page = self.store.read_log(Position(0), filter, usize::MAX).await;
        page.expect("readable").events
    }
}

#[async_trait]
impl EventStore for Log {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.store.append(append).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        self.store.read_stream(stream, after, limit).await
    }

    async fn read_log(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<LogPage, ReadError> {
        let left = self.n_readings.load(Ordering::Relaxed).checked_sub(1).ok_or(ReadError)?;
        self.n_readings.store(left, Ordering::Relaxed);
        // Small pages, so that a file takes several.
        self.store.read_log(after, filter, limit.min(70)).await
    }

    async fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        self.store.stream_version(stream).await
    }

    async fn holder(
        &self,
        scope: CompanyId,
        kind: &'static str,
        key: &[u8],
    ) -> Result<Option<StreamId>, ReadError> {
        self.store.holder(scope, kind, key).await
    }

    async fn stream_versions(
        &self,
        filter: &Filter,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, Version)>, ReadError> {
        self.store.stream_versions(filter, after, limit).await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.store.head().await
    }

    async fn position_at(&self, at: DateTime<Utc>) -> Result<(Position, bool), ReadError> {
        self.store.position_at(at).await
    }

    async fn wait_past(&self, position: Position) {
        self.store.wait_past(position).await;
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
}

fn request(folder: &TempDir, format: Format) -> Request {
    Request {
        format,
        folder: folder.path().join("out"),
        from: 1,
        to: None,
        aggregates: BTreeSet::new(),
        positions_per_file: 200,
        schema_base: BASE.to_owned(),
    }
}

async fn run(log: &Log, request: &Request) -> anyhow::Result<Manifest> {
    export(log, request, |_| {}).await
}

/// Contents of the folder by name.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name");
            (name, std::fs::read(entry.path()).expect("readable"))
        })
        .collect()
}

/// What every file's events must be, as CloudEvents without the data of persons.
fn expected(events: &[StoredEvent]) -> Vec<Value> {
    let record = |event| Record::public(event, BASE);
    events
        .iter()
        .map(|event| {
            let record = record(event);
            let header = |name| record.header(name).map(str::to_owned);
            json!({
                "position": event.position.0.to_string(),
                "streamversion": event.version.0.to_string(),
                "id": event.event_id.to_string(),
                "subject": event.stream.id.to_string(),
                "type": format!("colloquy.public.{}.v{}", event.name, event.schema_version),
                "hash": event.hash.to_string(),
                "causationid": header("ce_causationid"),
                "dataschema": header("ce_dataschema"),
                "actorkind": "member",
                "data": serde_json::from_slice::<Value>(&record.value).expect("JSON"),
            })
        })
        .collect()
}

fn checked(manifest: &Manifest, folder: &Path) -> Vec<std::path::PathBuf> {
    assert!(manifest.complete);
    let mut listed: BTreeSet<String> =
        manifest.files.iter().map(|file| file.name.clone()).collect();
    listed.insert("manifest.json".to_owned());
    assert_eq!(contents(folder).into_keys().collect::<BTreeSet<_>>(), listed);
    assert_eq!(manifest.events, manifest.files.iter().map(|file| file.events).sum::<u64>());
    let check = |file: &server::events_export::PartFile| {
        let path = folder.join(&file.name);
        let bytes = std::fs::read(&path).expect("readable");
        let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!((file.bytes, &file.sha256), (bytes.len() as u64, &digest), "{}", file.name);
        path
    };
    manifest.files.iter().map(check).collect()
}

fn lines(paths: &[std::path::PathBuf]) -> Vec<Value> {
    let texts = paths.iter().map(|path| std::fs::read_to_string(path).expect("a text"));
    let lines: Vec<String> =
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn ndjson_holds_the_log_and_nobodys_data() {
    let (log, folder) = (Log::new().await, tempfile::tempdir().expect("a folder"));
    let request = request(&folder, Format::Ndjson);
    let manifest = run(&log, &request).await.expect("exported");
    let events = log.events(&Filter::default()).await;
    assert!(manifest.files.len() > 3 && manifest.events == events.len() as u64);
    let found = lines(&checked(&manifest, &request.folder));
    for (line, expected) in found.iter().zip(expected(&events)) {
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(line.get(name).unwrap_or(&Value::Null), value, "{name} of {line}");
        }
        assert_eq!(line["specversion"], "1.0");
        assert!(manifest.schemas.contains(line["dataschema"].as_str().expect("a schema")));
        shows_nobody(&line.to_string(), &["Mira", "Okafor", "Lindqvist", "idempotent", "@"]);
    }
    assert_eq!(found.len(), events.len());
}

/// A row as the lines of the other format look.
fn as_line(row: &Row) -> (Value, i64) {
    let cells: BTreeMap<&str, &Field> =
        row.get_column_iter().map(|(name, field)| (name.as_str(), field)).collect();
    let text = |name: &str| match cells[name] {
        Field::Str(text) => json!(text),
        Field::Null => Value::Null,
        other => panic!("{name} is {other:?}"),
    };
    let number = |name: &str| match cells[name] {
        Field::Long(number) => json!(number.to_string()),
        other => panic!("{name} is {other:?}"),
    };
    let Field::TimestampMicros(recorded_at) = cells["recorded_at"] else {
        panic!("no time");
    };
    let data = text("data");
    let line = json!({
        "position": number("position"),
        "streamversion": number("stream_version"),
        "id": text("event_id"),
        "subject": text("stream_id"),
        "type": text("type"),
        "hash": text("hash"),
        "causationid": text("causation_id"),
        "dataschema": text("dataschema"),
        "actorkind": text("actor_kind"),
        "data": serde_json::from_str::<Value>(data.as_str().expect("text")).expect("JSON"),
    });
    (line, *recorded_at)
}

#[tokio::test]
async fn parquet_holds_the_same_in_typed_columns() {
    let (log, folder) = (Log::new().await, tempfile::tempdir().expect("a folder"));
    let request = request(&folder, Format::Parquet);
    let manifest = run(&log, &request).await.expect("exported");
    let events = log.events(&Filter::default()).await;
    let mut found = vec![];
    for path in checked(&manifest, &request.folder) {
        let reader = SerializedFileReader::new(File::open(path).expect("a file")).expect("Parquet");
        let rows = reader.get_row_iter(None).expect("rows");
        found.extend(rows.map(|row| as_line(&row.expect("a row"))));
    }
    let (lines, times): (Vec<Value>, Vec<i64>) = found.into_iter().unzip();
    assert_eq!(lines, expected(&events));
    let recorded: Vec<i64> = events.iter().map(|e| e.recorded_at.timestamp_micros()).collect();
    assert_eq!(times, recorded);
    let shown = format!("{lines:?}");
    shows_nobody(&shown, &["Mira", "Okafor", "Lindqvist", "idempotent", "@"]);
}

#[tokio::test]
async fn an_export_that_is_cut_short_anywhere_ends_as_if_it_never_was() {
    let log = Log::new().await;
    for format in [Format::Ndjson, Format::Parquet] {
        let whole = tempfile::tempdir().expect("a folder");
        let at_once = run(&log, &request(&whole, format)).await.expect("exported");
        let (mut n_cut, folder) = (0, tempfile::tempdir().expect("a folder"));
        let cut = request(&folder, format);
        for n_readings in 1.. {
            log.n_readings.store(n_readings, Ordering::Relaxed);
            if run(&log, &cut).await.is_ok() {
                break;
            }
            n_cut += 1;
        }
        log.n_readings.store(usize::MAX, Ordering::Relaxed);
        assert!(n_cut > 2, "cut {n_cut} times only");
        let unfinished = |name: &String| name.starts_with('.');
        let mut found = contents(&cut.folder);
        found.retain(|name, _| !unfinished(name));
        assert_eq!(found, contents(&whole.path().join("out")));

        // What was damaged since is written again, with all that follows.
        let damaged = cut.folder.join(&at_once.files[1].name);
        std::fs::write(&damaged, "x").expect("written");
        assert_eq!(run(&log, &cut).await.expect("exported"), at_once);
        let mut found = contents(&cut.folder);
        found.retain(|name, _| !unfinished(name));
        assert_eq!(found, contents(&whole.path().join("out")));
    }
}

#[tokio::test]
async fn a_part_of_the_log_is_what_was_asked_for() {
    let (log, folder) = (Log::new().await, tempfile::tempdir().expect("a folder"));
    let aggregates: BTreeSet<String> = ["application", "job"].map(str::to_owned).into();
    let asked = Request {
        from: 51,
        to: Some(400),
        aggregates: aggregates.clone(),
        ..request(&folder, Format::Ndjson)
    };
    let manifest = run(&log, &asked).await.expect("exported");
    let filter = Filter::of_aggregates(aggregates);
    let positions: Vec<String> = log
        .events(&filter)
        .await
        .iter()
        .map(|event| event.position.0)
        .filter(|position| (51..=400).contains(position))
        .map(|position| position.to_string())
        .collect();
    let found = lines(&checked(&manifest, &asked.folder));
    let found: Vec<&str> = found.iter().filter_map(|line| line["position"].as_str()).collect();
    assert_eq!(found, positions);

    for (wrong, said) in [
        (Request { to: Some(399), ..asked.clone() }, "another export"),
        (Request { format: Format::Parquet, ..asked.clone() }, "another export"),
        (Request { to: Some(1_000_000), ..asked.clone() }, "the log ends"),
        (Request { from: 0, ..asked.clone() }, "the first position"),
        (Request { aggregates: ["people".to_owned()].into(), ..asked.clone() }, "no aggregate"),
    ] {
        let error = run(&log, &wrong).await.expect_err(said).to_string();
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(run(&log, &asked).await.expect("nothing more to do"), manifest);
}
