//! What is committed under `schemas/` is what the sources promise, and what was promised still holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use domain::ids::CompanyId;
use domain::personal::Subject;
use domain::{Event, samples, schema};
use eventlog::codec::{Codec, Recorded};
use eventlog::envelope::{StoredEvent, StreamId};
use eventlog::kafka::message;
use eventlog::vault::{KeyState, KeyVault, SubjectKey, VaultError};
use rdkafka::Timestamp;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
use serde_json::Value;
use server::contracts;
use uuid::Uuid;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a repository").to_owned()
}

fn committed(path: &Path) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

/// Committed files of events by name: schemas end in `.json`, samples in `.sample.json`.
pub fn event_files() -> BTreeMap<String, Value> {
    files_in("")
}

/// The same of a folder under `schemas/events`.
pub fn files_in(part: &str) -> BTreeMap<String, Value> {
    let folder = std::fs::read_dir(root().join("schemas/events").join(part)).expect("a folder");
    folder
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a text");
            let name = path.file_name().expect("a name").to_str().expect("a name").to_owned();
            let value = serde_json::from_str(&text);
            (name.clone(), value.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect()
}

fn sample_files() -> BTreeMap<String, Value> {
    let mut files = event_files();
    files.retain(|name, _| name.ends_with(".sample.json"));
    files
}

/// The file of a sample's schema, such as `interview.started.v1.json`.
pub fn schema_file(sample: &str) -> String {
    let stem = sample.trim_end_matches(".sample.json");
    format!("{}.json", stem.trim_end_matches(".other").trim_end_matches(".minimal"))
}

#[test]
fn committed_contracts_equal_what_the_sources_generate() {
    let files = contracts::files().expect("generated");
    assert!(files.len() > 100, "the contracts were not generated");
    let differing: Vec<_> =
        files.iter().filter(|(path, text)| committed(path).as_ref() != Some(*text)).collect();
    let differing: Vec<_> = differing.into_iter().map(|(path, _)| path.display()).collect();
    assert!(
        differing.is_empty(),
        "differing from the sources, run `make schema`: {}",
        differing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    );
}

#[test]
fn every_committed_event_file_belongs_to_an_event() {
    let names: BTreeSet<String> = schema::names()
        .into_iter()
        .map(|(aggregate, kind)| format!("{aggregate}.{kind}"))
        .collect();
    for file in event_files().into_keys() {
        let file = if file.ends_with(".sample.json") { schema_file(&file) } else { file };
        let stem = file.trim_end_matches(".json");
        let (name, version) = stem.rsplit_once(".v").expect("a version in the file's name");
        let version: u16 = version.parse().expect("a version");
        assert!(names.contains(name), "{file} describes no event");
        assert!(version <= domain::event::current_version(name), "{file} is ahead of the sources");
    }
}

#[test]
fn every_sample_fits_its_schema() {
    let files = event_files();
    for (file, sample) in sample_files() {
        let schema = &files[&schema_file(&file)];
        let validator = jsonschema::validator_for(schema)
            .unwrap_or_else(|error| panic!("the schema of {file}: {error}"));
        let problems: Vec<_> =
            validator.iter_errors(&sample["value"]).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{file}: {problems:?}");
        let id = schema["$id"].as_str();
        assert_eq!(sample["headers"]["ce_dataschema"].as_str(), id, "{file}");
    }
}

#[test]
fn a_payload_that_lacks_what_is_promised_does_not_fit() {
    let files = event_files();
    let mut n_tried = 0;
    for (file, sample) in sample_files() {
        let schema = &files[&schema_file(&file)];
        let validator = jsonschema::validator_for(schema).expect("a schema");
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for member in required.iter().filter_map(Value::as_str) {
            let mut value = sample["value"].clone();
            value.as_object_mut().expect("an object").remove(member);
            assert!(!validator.is_valid(&value), "{file} without {member}");
            n_tried += 1;
        }
    }
    assert!(n_tried > 50, "the schemas require too little: {n_tried}");
}

#[test]
fn no_sample_shows_anything_personal() {
    for (file, sample) in sample_files() {
        let text = sample.to_string();
        for clear in ["Mira", "Okafor", "Lindqvist", "ada.", "idempotent", "@"] {
            assert!(!text.contains(clear), "{file} shows {clear:?}");
        }
    }
}

/// Holds the keys of the samples.
struct SampleVault;

impl SampleVault {
    fn keys() -> impl Iterator<Item = SubjectKey> {
        samples::subjects().into_iter().map(contracts::sample_key)
    }
}

#[async_trait]
impl KeyVault for SampleVault {
    async fn key_for(&self, _: CompanyId, subject: Subject) -> Result<Arc<SubjectKey>, VaultError> {
        let key = Self::keys().find(|key| key.subject == subject);
        key.map(Arc::new).ok_or(VaultError::Unavailable)
    }

    async fn keys(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, KeyState>, VaultError> {
        let keys = Self::keys().filter(|key| ids.contains(&key.id));
        Ok(keys.map(|key| (key.id, KeyState::Alive(Arc::new(key)))).collect())
    }

    async fn is_erased(&self, _: CompanyId, _: Subject) -> Result<bool, VaultError> {
        Ok(false)
    }

    async fn forget(&self, _: CompanyId, _: Subject) -> Result<Vec<StreamId>, VaultError> {
        Ok(vec![])
    }
}

/// Reads a sample as a consumer of the topic does.
fn read(sample: &Value) -> StoredEvent {
    let headers = sample["headers"].as_object().expect("headers");
    let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
        all.insert(Header { key, value: value.as_str() })
    });
    let key = sample["key"].as_str().expect("a key").as_bytes().to_vec();
    let value = serde_json::to_vec(&sample["value"]).expect("a value");
    let topic = "colloquy.sample.v1".to_owned();
    let record = OwnedMessage::new(
        Some(value),
        Some(key),
        topic,
        Timestamp::NotAvailable,
        0,
        0,
        Some(headers),
    );
    message::decode(&record).expect("a record of ours")
}

#[tokio::test]
async fn every_sample_that_was_ever_committed_is_still_read() {
    let codec = Codec::new(Arc::new(SampleVault));
    let now: HashMap<String, Event> = contracts::samples()
        .expect("samples")
        .into_iter()
        .map(|sample| {
            let file = schema::file_name(&sample.stored.name);
            (sample.kind.file_name(file.trim_end_matches(".json")), sample.event)
        })
        .collect();
    for (file, sample) in sample_files() {
        let stored = read(&sample);
        assert!(stored.is_intact(), "{file}: the hash is not that of its bytes");
        let (name, version) = (stored.name.clone(), stored.schema_version);
        let opened = codec.open(vec![stored]).await;
        let opened: Vec<Recorded> = opened.unwrap_or_else(|error| panic!("{file}: {error}"));
        if version == domain::event::current_version(&name) {
            assert_eq!(Some(&opened[0].event), now.get(&file), "{file}");
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn is_code(text: &str) -> bool {
    text.contains('_')
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn every_code_that_a_crate_answers_with_is_explained() {
    let mut files = vec![];
    for name in ["domain", "eventlog", "commands", "identity", "projections", "reactors", "api"] {
        sources(&root().join(name).join("src"), &mut files);
    }
    let explained = contracts::errors_md();
    let mut missing = BTreeSet::new();
    let mut n_codes = 0;
    for file in files {
        let source = std::fs::read_to_string(&file).expect("a source");
        for body in source.split("fn code(").skip(1) {
            // The function ends where a block less deep than its body is closed.
            let body = body.split("\n    }\n").next().unwrap_or_default();
            for code in body.split('"').skip(1).step_by(2).filter(|text| is_code(text)) {
                n_codes += 1;
                if !explained.contains(&format!("| `{code}` |")) {
                    missing.insert(format!("{code} in {}", file.display()));
                }
            }
        }
    }
    assert!(n_codes > 80, "the codes were not found in the sources: {n_codes}");
    assert!(missing.is_empty(), "without an entry in domain/src/codes.rs: {missing:?}");
}
