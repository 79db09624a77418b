//! Events ⇄ stored bytes: name, version and JSON, with every personal field sealed.
//!
//! A sealed field stands where the clear one would: `{key, nonce, commitment, ciphertext}`, the last
//! three as standard Base64. It is AES-256-GCM under the subject's key, with the company, the event's
//! id and the field's path as associated data. GCM alone lets one ciphertext open under two keys, so
//! that the commitment, HMAC-SHA256(key, "colloquy/commitment/v1" ‖ nonce), names the key.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use domain::event::{Event, current_version};
use domain::ids::CompanyId;
use domain::personal::Subject;
use hmac::{Hmac, Mac};
use serde::de::value::MapDeserializer;
use serde_json::{Map, Value};
use sha2::Sha256;
use uuid::Uuid;

use crate::envelope::{StoredEvent, StreamId};
use crate::upcast::upcast;
use crate::vault::{KeyState, KeyVault, SubjectKey, VaultError};

const MARKER: &str = domain::Personal::<()>::MARKER;
const SEALED_FIELDS: [&str; 4] = ["ciphertext", "commitment", "key", "nonce"];

/// An event together with where it stands in the log.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The event, personal fields opened where their keys are alive.
    pub event: Event,
    /// Envelope and exact bytes.
    pub stored: StoredEvent,
}

/// Why bytes are not an event, or an event cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by a newer version of the product.
    #[error("{name} version {version} is newer than this program")]
    NewerVersion {
        /// Stored name.
        name: String,
        /// Stored version.
        version: u16,
    },
    /// A name that this program does not know.
    #[error("{name} is unknown to this program")]
    UnknownName {
        /// Stored name.
        name: String,
    },
    /// The bytes do not have the shape of their name and version.
    #[error("the payload of {name} has not its shape")]
    Malformed {
        /// Stored name.
        name: String,
    },
    /// A sealed field does not open under its key.
    #[error("a sealed field of {name} does not open")]
    Unsealable {
        /// Stored name.
        name: String,
    },
    /// The vault gave no key.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl CodecError {
    /// Whether trying again later can help without a new binary or a mended log.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Vault(VaultError::Unavailable))
    }
}

/// An event's stored name, version and bytes, and the keys that it is sealed with.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Such as `interview.answer_recorded`.
    pub name: String,
    /// Version of the payload's shape.
    pub schema_version: u16,
    /// The exact bytes.
    pub payload: Bytes,
    /// Ids of the keys used.
    pub keys: HashSet<Uuid>,
}

/// Seals and opens with the keys of a vault.
#[derive(Clone)]
pub struct Codec {
    vault: Arc<dyn KeyVault>,
}

impl Codec {
    /// A codec that asks `vault` for keys.
    #[must_use]
    pub fn new(vault: Arc<dyn KeyVault>) -> Self {
        Self { vault }
    }

    /// The vault asked.
    #[must_use]
    pub fn vault(&self) -> &Arc<dyn KeyVault> {
        &self.vault
    }

    /// Stored form of events, each with its id.
    ///
    /// # Errors
    /// [`CodecError::Vault`] when a key cannot be had, or its subject was erased.
    pub async fn seal(
        &self,
        company: CompanyId,
        events: &[(Uuid, Event)],
    ) -> Result<Vec<Encoded>, CodecError> {
        let mut tagged = vec![];
        let mut subjects = HashSet::new();
        for (id, event) in events {
            let value = tagged_value(event)?;
            collect_subjects(&value, &mut subjects);
            tagged.push((*id, event.aggregate(), value));
        }
        let mut keys = HashMap::new();
        for subject in subjects {
            keys.insert(subject, self.vault.key_for(key_home(company, subject), subject).await?);
        }
        let mut nonce = rand::random::<[u8; 12]>;
        tagged
            .into_iter()
            .map(|(id, aggregate, value)| encode(company, id, aggregate, value, &keys, &mut nonce))
            .collect()
    }

    /// Opens stored events. What its key was forgotten for comes out as erased.
    ///
    /// # Errors
    /// The first event that cannot be decoded, see [`CodecError`].
    pub async fn open(&self, stored: Vec<StoredEvent>) -> Result<Vec<Recorded>, CodecError> {
        let mut opened = vec![];
        for result in self.open_each(stored).await? {
            opened.push(result.map_err(|(_, error)| error)?);
        }
        Ok(opened)
    }

    /// Opens stored events with every personal value withheld, as if all were forgotten: for states,
    /// in which no personal text stands, so that nothing is decrypted in vain.
    ///
    /// # Errors
    /// The first event that cannot be decoded, see [`CodecError`].
    pub async fn open_withheld(
        &self,
        stored: Vec<StoredEvent>,
    ) -> Result<Vec<Recorded>, CodecError> {
        let mut opened = vec![];
        for result in self.open_with(stored, withheld).await? {
            opened.push(result.map_err(|(_, error)| error)?);
        }
        Ok(opened)
    }

    /// Opens stored events, telling for each whether it could be decoded.
    ///
    /// # Errors
    /// [`CodecError::Vault`] when the keys cannot be had at present.
    pub async fn open_each(
        &self,
        stored: Vec<StoredEvent>,
    ) -> Result<Vec<Result<Recorded, (StoredEvent, CodecError)>>, CodecError> {
        self.open_with(stored, |state| state).await
    }

    #[expect(
        clippy::result_large_err,
        reason = "an event that cannot be read is as large as one that can"
    )]
    async fn open_with(
        &self,
        stored: Vec<StoredEvent>,
        shown: fn(KeyState) -> KeyState,
    ) -> Result<Vec<Result<Recorded, (StoredEvent, CodecError)>>, CodecError> {
        let payloads: Vec<Option<Value>> =
            stored.iter().map(|event| serde_json::from_slice(&event.payload).ok()).collect();
        let mut ids = HashSet::new();
        payloads.iter().flatten().for_each(|payload| collect_keys(payload, &mut ids));
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let keys = if ids.is_empty() { HashMap::new() } else { self.vault.keys(&ids).await? };
        let keys = keys.into_iter().map(|(id, state)| (id, shown(state))).collect();
        let decode_one = |(stored, payload): (StoredEvent, Option<Value>)| {
            let malformed = || CodecError::Malformed { name: stored.name.clone() };
            let event = payload.ok_or_else(malformed).and_then(|p| decode(&stored, p, &keys));
            match event {
                Ok(event) => Ok(Recorded { event, stored }),
                Err(error) => Err((stored, error)),
            }
        };
        Ok(stored.into_iter().zip(payloads).map(decode_one).collect())
    }

    /// Seals bytes that are kept outside the log, such as a file, under a subject's key: nonce,
    /// commitment and ciphertext in a row. `context` must be given again to open them.
    ///
    /// # Errors
    /// [`CodecError::Vault`] when the key cannot be had, or its subject was erased.
    pub async fn seal_bytes(
        &self,
        company: CompanyId,
        subject: Subject,
        context: &str,
        clear: &[u8],
    ) -> Result<Vec<u8>, CodecError> {
        let key = self.vault.durable_key_for(key_home(company, subject), subject).await?;
        let nonce: [u8; 12] = rand::random();
        let sealed = seal_raw(&key, &nonce, context.as_bytes(), clear)
            .ok_or_else(|| CodecError::Unsealable { name: "file".to_owned() })?;
        let commitment = commitment(&key.key, &nonce);
        Ok([key.id.as_bytes().as_slice(), &nonce, &commitment, &sealed].concat())
    }

    /// Opens what [`Codec::seal_bytes`] sealed; `None` when its subject was forgotten.
    ///
    /// # Errors
    /// [`CodecError`] when the key cannot be had or the bytes are not what was sealed.
    pub async fn open_bytes(
        &self,
        context: &str,
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, CodecError> {
        let wrong = || CodecError::Unsealable { name: "file".to_owned() };
        let (id, rest) = sealed.split_at_checked(16).ok_or_else(wrong)?;
        let (nonce, rest) = rest.split_at_checked(12).ok_or_else(wrong)?;
        let (committed, ciphertext) = rest.split_at_checked(32).ok_or_else(wrong)?;
        let id = Uuid::from_slice(id).map_err(|_| wrong())?;
        match self.vault.keys(&[id]).await?.remove(&id) {
            None => Err(wrong()),
            Some(KeyState::Forgotten(_)) => Ok(None),
            Some(KeyState::Alive(key)) => {
                if commitment(&key.key, nonce) != committed {
                    return Err(wrong());
                }
                open_raw(&key, nonce, context.as_bytes(), ciphertext).map(Some).ok_or_else(wrong)
            }
        }
    }
}

/// A key as if its subject were forgotten.
fn withheld(state: KeyState) -> KeyState {
    match state {
        KeyState::Alive(key) => KeyState::Forgotten(key.subject),
        forgotten @ KeyState::Forgotten(_) => forgotten,
    }
}

/// The company in which a subject has its key: accounts, and who asks for a company, belong to none.
#[must_use]
pub fn key_home(company: CompanyId, subject: Subject) -> CompanyId {
    match subject {
        Subject::Account(_) | Subject::CompanyRequest(_) => CompanyId::NONE,
        Subject::Candidate(_) | Subject::Member(_) => company,
    }
}

fn tagged_value(event: &Event) -> Result<Value, CodecError> {
    event
        .serialize_tagged(serde_json::value::Serializer)
        .map_err(|_| CodecError::Malformed { name: event.aggregate().to_owned() })
}

/// Stored form of one event, given its subjects' keys and a source of nonces.
///
/// # Errors
/// [`CodecError::Malformed`] for an event that is no tagged object, [`CodecError::Vault`] when a
/// key is missing from `keys`.
pub fn encode_with(
    company: CompanyId,
    event_id: Uuid,
    event: &Event,
    keys: &HashMap<Subject, Arc<SubjectKey>>,
    nonce: &mut dyn FnMut() -> [u8; 12],
) -> Result<Encoded, CodecError> {
    encode(company, event_id, event.aggregate(), tagged_value(event)?, keys, nonce)
}

fn encode(
    company: CompanyId,
    event_id: Uuid,
    aggregate: &str,
    tagged: Value,
    keys: &HashMap<Subject, Arc<SubjectKey>>,
    nonce: &mut dyn FnMut() -> [u8; 12],
) -> Result<Encoded, CodecError> {
    let malformed = || CodecError::Malformed { name: aggregate.to_owned() };
    let Value::Object(mut tagged) = tagged else {
        return Err(malformed());
    };
    let Some(Value::String(kind)) = tagged.remove("type") else {
        return Err(malformed());
    };
    let mut data = tagged.remove("data").unwrap_or_else(|| Value::Object(Map::new()));
    let name = format!("{aggregate}.{kind}");
    let mut sealer = Sealer { company, event_id, keys, nonce, used: HashSet::new() };
    sealer.seal(&mut data, &mut String::new())?;
    let keys = sealer.used;
    let payload = serde_json::to_vec(&data).map_err(|_| malformed())?;
    let schema_version = current_version(&name);
    Ok(Encoded { name, schema_version, payload: payload.into(), keys })
}

fn decode(
    stored: &StoredEvent,
    payload: Value,
    keys: &HashMap<Uuid, KeyState>,
) -> Result<Event, CodecError> {
    let name = || stored.name.clone();
    let unknown = || CodecError::UnknownName { name: name() };
    let (aggregate, kind) = stored.name.split_once('.').ok_or_else(unknown)?;
    if stored.schema_version > current_version(&stored.name) {
        return Err(CodecError::NewerVersion { name: name(), version: stored.schema_version });
    }
    let mut data = payload;
    open_value(stored, &mut data, keys, &mut String::new())?;
    let data = upcast(&stored.name, stored.schema_version, data);
    // Not as an object, in which the data would come first and be kept aside until the type is known.
    let tagged = [("type", Value::String(kind.to_owned())), ("data", data)];
    let tagged = MapDeserializer::<_, serde_json::Error>::new(tagged.into_iter());
    match Event::deserialize_tagged(aggregate, tagged) {
        None => Err(unknown()),
        Some(Ok(event)) => Ok(event),
        // serde's message can quote the content, so it goes nowhere.
        Some(Err(error)) if error.to_string().starts_with("unknown variant") => Err(unknown()),
        Some(Err(_)) => Err(CodecError::Malformed { name: name() }),
    }
}

/// The clear content of a marker object, if the value is one.
fn marker(value: &Value) -> Option<&Map<String, Value>> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.get(MARKER)?.as_object()
}

fn marker_subject(clear: &Map<String, Value>) -> Option<Subject> {
    serde_json::from_value(clear.get("subject")?.clone()).ok()
}

fn collect_subjects(value: &Value, subjects: &mut HashSet<Subject>) {
    if let Some(clear) = marker(value) {
        subjects.extend(marker_subject(clear));
        return;
    }
    match value {
        Value::Object(object) => object.values().for_each(|v| collect_subjects(v, subjects)),
        Value::Array(array) => array.iter().for_each(|v| collect_subjects(v, subjects)),
        _ => {}
    }
}

fn is_sealed(object: &Map<String, Value>) -> bool {
    object.len() == SEALED_FIELDS.len()
        && SEALED_FIELDS.iter().all(|field| object.get(*field).is_some_and(Value::is_string))
}

fn sealed_key(object: &Map<String, Value>) -> Option<Uuid> {
    object.get("key").and_then(Value::as_str).and_then(|text| Uuid::try_parse(text).ok())
}

fn collect_keys(value: &Value, ids: &mut HashSet<Uuid>) {
    match value {
        Value::Object(object) if is_sealed(object) => ids.extend(sealed_key(object)),
        Value::Object(object) => object.values().for_each(|v| collect_keys(v, ids)),
        Value::Array(array) => array.iter().for_each(|v| collect_keys(v, ids)),
        _ => {}
    }
}

/// Ids of the keys that a stored payload is sealed with.
#[must_use]
pub fn keys_of(payload: &[u8]) -> Vec<Uuid> {
    let mut ids = HashSet::new();
    if let Ok(value) = serde_json::from_slice::<Value>(payload) {
        collect_keys(&value, &mut ids);
    }
    ids.into_iter().collect()
}

struct Sealer<'a> {
    company: CompanyId,
    event_id: Uuid,
    keys: &'a HashMap<Subject, Arc<SubjectKey>>,
    nonce: &'a mut dyn FnMut() -> [u8; 12],
    used: HashSet<Uuid>,
}

impl Sealer<'_> {
    fn seal(&mut self, value: &mut Value, path: &mut String) -> Result<(), CodecError> {
        if let Some(clear) = marker(value) {
            let sealed = self.seal_field(clear, path)?;
            *value = Value::Object(sealed);
            return Ok(());
        }
        each_child(value, path, &mut |child, path| self.seal(child, path))
    }

    fn seal_field(
        &mut self,
        clear: &Map<String, Value>,
        path: &str,
    ) -> Result<Map<String, Value>, CodecError> {
        let key = marker_subject(clear).and_then(|subject| self.keys.get(&subject));
        let key = key.ok_or(CodecError::Vault(VaultError::Unavailable))?;
        let unsealable = || CodecError::Unsealable { name: path.to_owned() };
        let value = clear.get("value").unwrap_or(&Value::Null);
        let text = serde_json::to_vec(value).map_err(|_| unsealable())?;
        let nonce = (self.nonce)();
        let aad = associated_data(self.company, self.event_id, path);
        let ciphertext = seal_raw(key, &nonce, &aad, &text).ok_or_else(unsealable)?;
        self.used.insert(key.id);
        let mut sealed = Map::new();
        sealed.insert("key".to_owned(), Value::String(key.id.to_string()));
        sealed.insert("nonce".to_owned(), Value::String(BASE64.encode(nonce)));
        let commitment = BASE64.encode(commitment(&key.key, &nonce));
        sealed.insert("commitment".to_owned(), Value::String(commitment));
        sealed.insert("ciphertext".to_owned(), Value::String(BASE64.encode(ciphertext)));
        Ok(sealed)
    }
}

fn open_value(
    stored: &StoredEvent,
    value: &mut Value,
    keys: &HashMap<Uuid, KeyState>,
    path: &mut String,
) -> Result<(), CodecError> {
    if let Value::Object(object) = &*value
        && is_sealed(object)
    {
        let clear = open_field(&stored.stream, stored.event_id, object, keys, path)
            .ok_or_else(|| CodecError::Unsealable { name: stored.name.clone() })?;
        *value = clear;
        return Ok(());
    }
    each_child(value, path, &mut |child, path| open_value(stored, child, keys, path))
}

fn open_field(
    stream: &StreamId,
    event_id: Uuid,
    sealed: &Map<String, Value>,
    keys: &HashMap<Uuid, KeyState>,
    path: &str,
) -> Option<Value> {
    let bytes = |field: &str| BASE64.decode(sealed.get(field)?.as_str()?).ok();
    let (subject, value) = match keys.get(&sealed_key(sealed)?)? {
        KeyState::Forgotten(subject) => (*subject, Value::Null),
        KeyState::Alive(key) => {
            let nonce = bytes("nonce").filter(|nonce| nonce.len() == 12)?;
            if bytes("commitment")? != commitment(&key.key, &nonce) {
                return None;
            }
            let aad = associated_data(stream.company, event_id, path);
            let text = open_raw(key, &nonce, &aad, &bytes("ciphertext")?)?;
            (key.subject, serde_json::from_slice(&text).ok()?)
        }
    };
    Some(serde_json::json!({ MARKER: { "subject": subject, "value": value } }))
}

/// Visits the children of an object or array; `path` is the field's path as stored, such as
/// `/profile/full_name` or `/scores/0/evidence/1/quote`.
fn each_child(
    value: &mut Value,
    path: &mut String,
    visit: &mut dyn FnMut(&mut Value, &mut String) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let n = path.len();
    let mut step = |name: &str, child: &mut Value| {
        path.push('/');
        path.push_str(name);
        let result = visit(child, path);
        path.truncate(n);
        result
    };
    match value {
        Value::Object(object) => object.iter_mut().try_for_each(|(name, child)| step(name, child)),
        Value::Array(array) => {
            array.iter_mut().enumerate().try_for_each(|(i, child)| step(&i.to_string(), child))
        }
        _ => Ok(()),
    }
}

fn associated_data(company: CompanyId, event_id: Uuid, path: &str) -> Vec<u8> {
    [company.0.as_bytes().as_slice(), event_id.as_bytes(), path.as_bytes()].concat()
}

fn commitment(key: &[u8; 32], nonce: &[u8]) -> [u8; 32] {
    // A key shorter than the hash's block is filled up with zeros, as HMAC itself defines it.
    let mut block = zeroize::Zeroizing::new([0u8; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&(*block).into());
    mac.update(b"colloquy/commitment/v1");
    mac.update(nonce);
    mac.finalize().into_bytes().into()
}

fn seal_raw(key: &SubjectKey, nonce: &[u8; 12], aad: &[u8], clear: &[u8]) -> Option<Vec<u8>> {
    let cipher = Aes256Gcm::new(&(*key.key).into());
    cipher.encrypt(&Nonce::from(*nonce), Payload { msg: clear, aad }).ok()
}

fn open_raw(key: &SubjectKey, nonce: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let nonce: [u8; 12] = nonce.try_into().ok()?;
    let cipher = Aes256Gcm::new(&(*key.key).into());
    cipher.decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad }).ok()
}
