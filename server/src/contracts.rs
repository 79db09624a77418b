//! The contracts that are files: everything under `schemas/` that is made from the sources.
//!
//! Committed must equal generated, so that a changed contract is seen in the diff that changes it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use chrono::TimeDelta;
use domain::Event;
use domain::codes::{ENTRIES, Kind};
use domain::personal::Subject;
use domain::{samples, schema};
use eventlog::codec;
use eventlog::envelope::{Cause, NewEvent, Position, StoredEvent, StreamId, Version, event_hash};
use eventlog::kafka::message::Record;
use eventlog::vault::SubjectKey;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Every generated file by its path from the repository's root.
///
/// # Errors
/// When a sample cannot be written as an event.
pub fn files() -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let mut files = event_files()?;
    files.insert("schemas/errors.md".into(), errors_md());
    files.insert("schemas/topics.toml".into(), eventlog::kafka::topics::render_toml());
    files.insert("schemas/api.graphql".into(), api::schema::sdl());
    Ok(files)
}

/// Writes every generated file into `folder`, which stands for `schemas`. Files of older versions are
/// left as they are: what was published is never taken back.
///
/// # Errors
/// When a file cannot be made or written.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    for (path, text) in files()? {
        let path = folder.join(path.strip_prefix("schemas")?);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// For every event in its current version: `schemas/events/<name>.v<n>.json`, the JSON Schema of its
/// payload, and `schemas/events/<name>.v<n>.sample.json`, a record as it stands on its topic.
///
/// # Errors
/// When a sample cannot be written as an event.
pub fn event_files() -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let folder = Path::new("schemas/events");
    let mut files = BTreeMap::new();
    for (aggregate, kind) in schema::names() {
        let name = format!("{aggregate}.{kind}");
        let schema = schema::stored_schema(aggregate, &kind);
        let schema = schema.with_context(|| format!("{name} has no schema"))?;
        files.insert(folder.join(schema::file_name(&name)), pretty(&schema)?);
    }
    for event in samples::all() {
        let stored = stored(&event)?;
        let file = schema::file_name(&stored.name);
        let file = file.strip_suffix(".json").unwrap_or(&file);
        files.insert(folder.join(format!("{file}.sample.json")), pretty(&as_record(&stored)?)?);
    }
    Ok(files)
}

/// The key of `subject` that seals the samples. It is no secret: it protects nobody.
#[must_use]
pub fn sample_key(subject: Subject) -> SubjectKey {
    let name = format!("sample key of {} {}", subject.kind(), subject.id());
    let key: [u8; 32] = Sha256::digest(&name).into();
    SubjectKey { id: derived_id(&name), subject, key: key.into() }
}

/// A sample as the log holds it. All that the log would choose is derived from the event's name, so
/// that the same sample is made each time and a new one changes no other.
///
/// # Errors
/// When the sample cannot be written as an event.
pub fn stored(event: &Event) -> anyhow::Result<StoredEvent> {
    let name = schema::stored_name(event);
    let event_id = derived_id(&name);
    let keys: HashMap<_, _> = samples::subjects()
        .into_iter()
        .map(|subject| (subject, Arc::new(sample_key(subject))))
        .collect();
    let mut n_sealed = 0_u32;
    let mut nonce = || {
        n_sealed += 1;
        let digest = Sha256::digest(format!("nonce {n_sealed} of {name}"));
        std::array::from_fn(|i| digest[i])
    };
    let company = samples::COMPANY;
    let encoded = codec::encode_with(company, event_id, event, &keys, &mut nonce)
        .with_context(|| format!("the sample of {name} cannot be sealed"))?;
    let stream = StreamId::new(company, event.aggregate(), samples::stream(event.aggregate()));
    let command_id = derived_id(&format!("command of {name}"));
    let cause = Cause {
        command_id,
        fingerprint: Sha256::digest(format!("input of {name}")).to_vec(),
        correlation_id: command_id,
        causation_id: None,
        actor: samples::actor().to_string(),
        trace_parent: None,
    };
    let new = NewEvent {
        event_id,
        name: Cow::Owned(encoded.name.clone()),
        schema_version: encoded.schema_version,
        occurred_at: samples::start(),
        payload: encoded.payload.clone(),
    };
    let version = Version(3);
    let hash = event_hash(&stream, version, &cause, &new);
    Ok(StoredEvent {
        position: Position(1_042),
        recorded_at: samples::start() + TimeDelta::milliseconds(4),
        stream,
        version,
        event_id,
        name: encoded.name,
        schema_version: encoded.schema_version,
        occurred_at: new.occurred_at,
        cause,
        payload: encoded.payload,
        hash,
    })
}

/// An id in the form of all ids, time in front, made of a name.
fn derived_id(name: &str) -> Uuid {
    let millis = u64::try_from(samples::start().timestamp_millis()).unwrap_or_default();
    let digest = Sha256::digest(name);
    let random = std::array::from_fn(|i| digest[i]);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

fn as_record(stored: &StoredEvent) -> anyhow::Result<Value> {
    let record = Record::of(stored, schema::BASE);
    let headers: Map<String, Value> =
        record.headers.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let value: Value = serde_json::from_slice(&record.value)?;
    Ok(json!({ "key": record.key, "headers": headers, "value": value }))
}

fn pretty(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// `schemas/errors.md`: every public code with its status and kind, its meaning, and what to do.
#[must_use]
pub fn errors_md() -> String {
    let mut text = String::from(
        "# Public error codes\n\n\
         Every error carries `extensions.code`, the code that stands here, and its coarse class \
         `extensions.kind`. A code never changes its meaning; new ones may come, so treat an \
         unknown code as its kind, and an unknown kind by its status. The status is that of the \
         plain HTTP edges and stands in `extensions.status`; a GraphQL answer follows the \
         GraphQL-over-HTTP specification.\n\n\
         This file is generated: the texts stand in `domain/src/codes.rs` and \
         `api/src/transport/codes.rs`.\n\n\
         ## What the product answers\n\n",
    );
    text.push_str(TABLE_HEAD);
    for entry in ENTRIES {
        line(&mut text, entry.code, entry.status, entry.kind, entry.meaning, entry.remedy);
    }
    text.push_str("\n## What the transports answer before the product is asked\n\n");
    text.push_str(TABLE_HEAD);
    for code in api::transport::codes::CODES {
        if domain::codes::find(code.name).is_none() {
            let kind = kind_of(code.status);
            line(&mut text, code.name, code.status, kind, code.meaning, code.remedy);
        }
    }
    text
}

const TABLE_HEAD: &str = "| code | status | kind | what happened and why | what to do |\n\
                          |---|---|---|---|---|\n";

fn line(text: &mut String, code: &str, status: u16, kind: Kind, meaning: &str, remedy: &str) {
    let kind = kind.as_str();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "| `{code}` | {status} | {kind} | {meaning} | {remedy} |");
}

/// The kind of an error of which only the status is known.
fn kind_of(status: u16) -> Kind {
    match status {
        401 => Kind::InvalidToken,
        403 => Kind::AccessDenied,
        404 => Kind::NotFound,
        409 | 410 => Kind::Conflict,
        429 => Kind::RateLimited,
        400..=499 => Kind::ValidationFailed,
        503 | 504 => Kind::Unavailable,
        _ => Kind::InternalError,
    }
}
