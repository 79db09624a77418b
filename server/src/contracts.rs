//! The contracts that are files: everything under `schemas/` that is made from the sources.
//!
//! Committed must equal generated, so that a changed contract is seen in the diff that changes it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use chrono::TimeDelta;
use domain::Event;
use domain::codes::{ENTRIES, Kind};
use domain::personal::{Personal, Subject};
use domain::{samples, schema};
use eventlog::codec;
use eventlog::envelope::{
    Cause, EventHash, NewEvent, Position, StoredEvent, StreamId, Version, event_hash,
};
use eventlog::kafka::message::Record;
use eventlog::vault::SubjectKey;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::published::{asyncapi, released};

/// Every generated file by its path from the repository's root.
///
/// # Errors
/// When a sample cannot be written as an event.
pub fn files() -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let mut files = event_files()?;
    files.extend(crate::vectors::files()?);
    files.insert("schemas/errors.md".into(), errors_md());
    files.insert("schemas/topics.toml".into(), eventlog::kafka::topics::render_toml());
    files.insert("schemas/api.graphql".into(), api::schema::sdl());
    let document = asyncapi::document(&asyncapi::Names::committed());
    files.insert("schemas/asyncapi.json".into(), pretty(&document)?);
    Ok(files)
}

/// Writes every generated file into `folder`, which stands for `schemas`. Files of older versions are
/// left as they are: what was published is never taken back.
///
/// # Errors
/// When a schema breaks a released one, or a file cannot be made or written.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    let files = files()?;
    let broken = released::broken(folder, &files)?;
    anyhow::ensure!(
        broken.is_empty(),
        "these would break consumers of released schemas; a changed shape needs a new version:\n{}",
        broken.join("\n")
    );
    for (path, text) in files {
        let path = folder.join(path.strip_prefix("schemas")?);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// For every event in its current version: `schemas/events/<name>.v<n>.json`, the JSON Schema of its
/// payload, and its golden samples, records as they stand on its topic. `schemas/events/public` holds
/// the same for the topics without the data of persons.
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
        let public = schema::public_schema(&schema);
        let public = public.with_context(|| format!("{name} has no public schema"))?;
        let file = schema::file_name(&name);
        files.insert(folder.join("public").join(&file), pretty(&public)?);
        files.insert(folder.join(file), pretty(&schema)?);
    }
    for sample in samples()? {
        let base = schema::BASE;
        let file = schema::file_name(&sample.stored.name);
        let file = sample.kind.file_name(file.strip_suffix(".json").unwrap_or(&file));
        let public = as_record(Record::public(&sample.stored, base))?;
        files.insert(folder.join("public").join(&file), pretty(&public)?);
        files.insert(folder.join(file), pretty(&as_record(Record::of(&sample.stored, base))?)?);
    }
    Ok(files)
}

/// What a sample shows of its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleKind {
    /// The event as it mostly looks.
    Usual,
    /// The event with the members that the usual one leaves out.
    Other,
    /// The event with nothing but what is required.
    Minimal,
}

impl SampleKind {
    /// The sample's file, given the schema's without its ending.
    #[must_use]
    pub fn file_name(self, schema: &str) -> String {
        match self {
            Self::Usual => format!("{schema}.sample.json"),
            Self::Other => format!("{schema}.other.sample.json"),
            Self::Minimal => format!("{schema}.minimal.sample.json"),
        }
    }
}

/// A golden sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it shows.
    pub kind: SampleKind,
    /// The event.
    pub event: Event,
    /// The event as the log holds it.
    pub stored: StoredEvent,
}

/// Every golden sample of today's versions: of each event the usual one, another one where that
/// leaves members out, and one of what is required where that is less.
///
/// # Errors
/// When a sample cannot be written as an event.
pub fn samples() -> anyhow::Result<Vec<Sample>> {
    let mut all = vec![];
    for event in samples::all() {
        let stored = stored(&event)?;
        let least = minimal(&event)?;
        if least != event || without_nulls(&stored.payload)? != stored.payload {
            let mut stored = stored_as(&least, SampleKind::Minimal)?;
            stored.payload = without_nulls(&stored.payload)?;
            stored.hash = hash(&stored);
            all.push(Sample { kind: SampleKind::Minimal, event: least, stored });
        }
        all.push(Sample { kind: SampleKind::Usual, event, stored });
    }
    for event in samples::others() {
        let stored = stored_as(&event, SampleKind::Other)?;
        all.push(Sample { kind: SampleKind::Other, event, stored });
    }
    Ok(all)
}

/// The event with nothing but what its schema requires.
fn minimal(event: &Event) -> anyhow::Result<Event> {
    let name = schema::stored_name(event);
    let (aggregate, kind) = name.split_once('.').context("a stored name has a dot")?;
    let schema = schema::stored_schema(aggregate, kind).context("the event has no schema")?;
    let mut tagged = event.serialize_tagged(serde_json::value::Serializer)?;
    if let Some(data) = tagged.get_mut("data") {
        leave_required(data, &schema, &schema);
    }
    let minimal = Event::deserialize_tagged(aggregate, tagged);
    Ok(minimal.context("the aggregate is unknown")??)
}

fn leave_required(value: &mut Value, schema: &Value, root: &Value) {
    let target = schema.get("$ref").and_then(Value::as_str);
    if let Some(target) = target.and_then(|r| root.pointer(r.trim_start_matches('#'))) {
        return leave_required(value, target, root);
    }
    match value {
        // Not sealed yet: the schema describes what it becomes.
        Value::Object(object) if object.contains_key(Personal::<()>::MARKER) => {}
        Value::Object(object) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
                return;
            };
            let required = schema.get("required").and_then(Value::as_array);
            let required = |name: &str| required.is_some_and(|all| all.contains(&json!(name)));
            object.retain(|name, _| required(name));
            for (name, child) in object {
                if let Some(schema) = properties.get(name) {
                    leave_required(child, schema, root);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| leave_required(item, schema, root));
            }
        }
        _ => {}
    }
}

fn without_nulls(payload: &[u8]) -> anyhow::Result<Bytes> {
    fn prune(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.retain(|_, child| !child.is_null());
                object.values_mut().for_each(prune);
            }
            Value::Array(items) => items.iter_mut().for_each(prune),
            _ => {}
        }
    }
    let mut value = serde_json::from_slice(payload)?;
    prune(&mut value);
    Ok(serde_json::to_vec(&value)?.into())
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
    stored_as(event, SampleKind::Usual)
}

fn stored_as(event: &Event, kind: SampleKind) -> anyhow::Result<StoredEvent> {
    let name = match kind {
        SampleKind::Usual => schema::stored_name(event),
        SampleKind::Other => format!("other {}", schema::stored_name(event)),
        SampleKind::Minimal => format!("minimal {}", schema::stored_name(event)),
    };
    // One kind shows every part of the envelope.
    let is_whole = kind == SampleKind::Other;
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
        causation_id: is_whole.then(|| derived_id(&format!("cause of {name}"))),
        actor: samples::actor().to_string(),
        trace_parent: is_whole.then(|| TRACE_PARENT.to_owned()),
    };
    let mut stored = StoredEvent {
        position: Position(1_042),
        recorded_at: samples::start() + TimeDelta::milliseconds(4),
        stream,
        version: Version(3),
        event_id,
        name: encoded.name,
        schema_version: encoded.schema_version,
        occurred_at: samples::start(),
        cause,
        payload: encoded.payload,
        hash: EventHash([0; 32]),
    };
    stored.hash = hash(&stored);
    Ok(stored)
}

/// A trace context as the W3C's specification shows it.
const TRACE_PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn hash(stored: &StoredEvent) -> EventHash {
    let new = NewEvent {
        event_id: stored.event_id,
        name: Cow::Owned(stored.name.clone()),
        schema_version: stored.schema_version,
        occurred_at: stored.occurred_at,
        payload: stored.payload.clone(),
    };
    event_hash(&stored.stream, stored.version, &stored.cause, &new)
}

/// An id in the form of all ids, time in front, made of a name.
fn derived_id(name: &str) -> Uuid {
    let millis = u64::try_from(samples::start().timestamp_millis()).unwrap_or_default();
    let digest = Sha256::digest(name);
    let random = std::array::from_fn(|i| digest[i]);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

fn as_record(record: Record) -> anyhow::Result<Value> {
    let headers: Map<String, Value> =
        record.headers.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let value: Value = serde_json::from_slice(&record.value)?;
    Ok(json!({ "key": record.key, "headers": headers, "value": value }))
}

pub(crate) fn pretty(value: &Value) -> anyhow::Result<String> {
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
