//! The file an auditor gets: events with their proofs, in lines of JSON, each written in one way only.
//!
//! | line | what |
//! |---|---|
//! | 1 | [`Header`]: what the file is of, its streams, the positions of its events |
//! | 2 | [`KeyChain`]: the log's keys, each introduced by the one before |
//! | 3 | [`Anchor`]: the checkpoint, and a proof that it continues an older one |
//! | 4 | [`Heads`]: signed statements of the last version of each stream |
//! | 5 | [`Seal`]: a signed note over the SHA-256 of lines 1 to 4 |
//! | 6 … | [`EventLine`]: one event for each position of the header, with its inclusion proof |
//!
//! So every byte is bound: the first lines by the seal, an event by its hash, its leaf and the
//! checkpoint's root, an event too many or too few by the header. `schemas/verify/README.md` describes
//! the same for whoever writes a verifier.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::ids::CompanyId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::merkle::{Hash, leaf_data, leaf_hash};
use super::note::{self, SigningKey};
use super::statement::{self, Checkpoint};
use crate::envelope::{
    Cause, EventHash, NewEvent, Position, StoredEvent, StreamId, Version, event_hash_withheld,
};

/// Names this way of writing.
pub const FORMAT: &str = "colloquy-export/1";

/// What a file is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Of {
    /// One interview.
    Interview {
        /// Its company.
        company: Uuid,
        /// The interview.
        id: Uuid,
    },
    /// All streams that concern one candidate's record.
    Candidate {
        /// Their company.
        company: Uuid,
        /// The candidate.
        id: Uuid,
    },
    /// A range of positions, whatever stream they belong to.
    Range {},
}

/// Whether payloads are in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payloads {
    /// As their exact bytes.
    Included,
    /// As their SHA-256, which proves the envelope as well.
    Withheld,
}

/// A stream, of which the file has every event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamName {
    /// The tenant, nil for what belongs to no company.
    pub company: Uuid,
    /// The aggregate's stored name.
    pub aggregate: String,
    /// The instance.
    pub id: Uuid,
}

impl From<&StreamId> for StreamName {
    fn from(stream: &StreamId) -> Self {
        let aggregate = stream.aggregate.to_string();
        Self { company: stream.company.0, aggregate, id: stream.id }
    }
}

impl From<&StreamName> for StreamId {
    fn from(name: &StreamName) -> Self {
        let aggregate = Cow::Owned(name.aggregate.clone());
        Self { company: CompanyId(name.company), aggregate, id: name.id }
    }
}

/// Line 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// The log's name.
    pub origin: String,
    /// What the file is of.
    pub of: Of,
    /// Whether payloads are in it.
    pub payloads: Payloads,
    /// The streams that it has whole; none for a range.
    pub streams: Vec<StreamName>,
    /// First and last of each run of consecutive positions, in order.
    pub positions: Vec<(u64, u64)>,
}

/// Line 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChain {
    /// The log's first public key.
    pub first: String,
    /// The notes that introduced each later one, the last of which signs.
    pub introductions: Vec<String>,
}

/// Line 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// The checkpoint, a note.
    pub checkpoint: String,
    /// That the tree continues an older one, where that was asked for.
    pub consistency: Option<Consistency>,
}

/// A consistency proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    /// Size of the older tree.
    pub size: u64,
    /// The hashes, RFC 9162 section 2.1.4.
    pub path: Vec<Base64Hash>,
}

/// Line 4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heads {
    /// A note for each stream of the header, in its order.
    pub heads: Vec<String>,
}

/// Line 5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// The note, see [`seal_text`].
    pub seal: String,
}

/// Line 6 and following.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLine {
    /// Place in the total order.
    pub position: u64,
    /// When the log took it in.
    #[serde(with = "time")]
    pub recorded_at: DateTime<Utc>,
    /// The tenant.
    pub company: Uuid,
    /// The aggregate's stored name.
    pub aggregate: String,
    /// The stream's id.
    pub stream: Uuid,
    /// Its number in the stream.
    pub version: u64,
    /// Its id.
    pub event_id: Uuid,
    /// Stored name.
    pub name: String,
    /// Version of the payload's shape.
    pub schema_version: u16,
    /// The command that caused it.
    pub command_id: Uuid,
    /// Fingerprint of the command's input, hex.
    #[serde(with = "hex")]
    pub fingerprint: Vec<u8>,
    /// Shared by all that followed from one outside request.
    pub correlation_id: Uuid,
    /// The event that caused the command.
    pub causation_id: Option<Uuid>,
    /// Who acted.
    pub actor: String,
    /// W3C trace context; never empty.
    pub trace_parent: Option<String>,
    /// When it happened by the writer's clock.
    #[serde(with = "time")]
    pub occurred_at: DateTime<Utc>,
    /// The payload's exact bytes, unless withheld.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload: Option<Base64Bytes>,
    /// Their SHA-256, where withheld.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload_sha256: Option<HexHash>,
    /// The inclusion proof, RFC 9162 section 2.1.3.
    pub path: Vec<Base64Hash>,
}

impl EventLine {
    /// The line of an event.
    #[must_use]
    pub fn new(event: &StoredEvent, payloads: Payloads, path: &[Hash]) -> Self {
        let payload_sha256 = || HexHash(Sha256::digest(&event.payload).into());
        let (payload, payload_sha256) = match payloads {
            Payloads::Included => (Some(Base64Bytes(event.payload.clone())), None),
            Payloads::Withheld => (None, Some(payload_sha256())),
        };
        Self {
            position: event.position.0,
            recorded_at: event.recorded_at,
            company: event.stream.company.0,
            aggregate: event.stream.aggregate.to_string(),
            stream: event.stream.id,
            version: event.version.0,
            event_id: event.event_id,
            name: event.name.clone(),
            schema_version: event.schema_version,
            command_id: event.cause.command_id,
            fingerprint: event.cause.fingerprint.clone(),
            correlation_id: event.cause.correlation_id,
            causation_id: event.cause.causation_id,
            actor: event.cause.actor.clone(),
            // The hash does not tell an empty one from none.
            trace_parent: event.cause.trace_parent.clone().filter(|trace| !trace.is_empty()),
            occurred_at: event.occurred_at,
            payload,
            payload_sha256,
            path: path.iter().copied().map(Base64Hash).collect(),
        }
    }

    /// Its stream.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        let aggregate = Cow::Owned(self.aggregate.clone());
        StreamId { company: CompanyId(self.company), aggregate, id: self.stream }
    }

    /// Whether payloads stand as this says.
    #[must_use]
    pub fn has(&self, payloads: Payloads) -> bool {
        let expected = payloads == Payloads::Included;
        self.payload.is_some() == expected && self.payload_sha256.is_none() == expected
    }

    /// Its leaf in the tree.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        let event = NewEvent {
            event_id: self.event_id,
            name: Cow::Owned(self.name.clone()),
            schema_version: self.schema_version,
            occurred_at: self.occurred_at,
            payload: Bytes::new(),
        };
        let cause = Cause {
            command_id: self.command_id,
            fingerprint: self.fingerprint.clone(),
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            actor: self.actor.clone(),
            trace_parent: self.trace_parent.clone(),
        };
        let payload_sha256 = match (&self.payload, &self.payload_sha256) {
            (Some(payload), _) => Sha256::digest(&payload.0).into(),
            (None, Some(hash)) => hash.0,
            (None, None) => [0; 32],
        };
        let version = Version(self.version);
        let hash = event_hash_withheld(&self.stream(), version, &cause, &event, &payload_sha256);
        leaf_hash(&leaf_data(Position(self.position), self.recorded_at, hash))
    }
}

/// What is known before the first event is written.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What the file is of.
    pub of: Of,
    /// Whether payloads are in it.
    pub payloads: Payloads,
    /// The streams that it has whole, with their last versions.
    pub streams: Vec<(StreamId, Version)>,
    /// The positions of its events, see [`Header`].
    pub positions: Vec<(u64, u64)>,
    /// The checkpoint that everything is proven against.
    pub checkpoint: Checkpoint,
    /// It, signed.
    pub note: String,
    /// That it continues an older one.
    pub consistency: Option<Consistency>,
    /// The log's keys.
    pub keys: KeyChain,
}

impl Frame {
    /// Lines 1 to 5, the last of which ends with a newline.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn lines(&self, key: &SigningKey) -> serde_json::Result<String> {
        let checkpoint = &self.checkpoint;
        let header = Header {
            format: FORMAT.to_owned(),
            origin: checkpoint.origin.clone(),
            of: self.of,
            payloads: self.payloads,
            streams: self.streams.iter().map(|(stream, _)| stream.into()).collect(),
            positions: self.positions.clone(),
        };
        let anchor =
            Anchor { checkpoint: self.note.clone(), consistency: self.consistency.clone() };
        let head = |(stream, version): &(StreamId, Version)| {
            note::sign(&statement::stream_head(stream, *version, checkpoint), &[key])
        };
        let heads = Heads { heads: self.streams.iter().map(head).collect() };
        let lines = [
            serde_json::to_string(&header)?,
            serde_json::to_string(&self.keys)?,
            serde_json::to_string(&anchor)?,
            serde_json::to_string(&heads)?,
        ];
        let hashes = lines.each_ref().map(|line| Sha256::digest(line).into());
        let seal = note::sign(&seal_text(&checkpoint.origin, &hashes), &[key]);
        let seal = serde_json::to_string(&Seal { seal })?;
        Ok(format!("{}\n{seal}\n", lines.join("\n")))
    }
}

/// What the seal's note says: a first line of its own, the log's name, and SHA-256 of each of the
/// lines 1 to 4 without its newline, in hex.
#[must_use]
pub fn seal_text(origin: &str, hashes: &[Hash; 4]) -> String {
    let [a, b, c, d] = hashes.map(EventHash);
    format!("colloquy export v1\n{origin}\n{a}\n{b}\n{c}\n{d}\n")
}

/// Runs of consecutive positions out of ascending ones.
#[must_use]
pub fn runs(positions: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = vec![];
    for position in positions {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == position => *last = position,
            _ => runs.push((position, position)),
        }
    }
    runs
}

/// A hash in Base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base64Hash(pub Hash);

impl Serialize for Base64Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&note::base64(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'de, str> = Cow::deserialize(deserializer)?;
        note::hash(&text).map(Self).ok_or_else(|| de::Error::custom("not a hash"))
    }
}

/// A hash in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HexHash(pub Hash);

impl Serialize for HexHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&EventHash(self.0))
    }
}

impl<'de> Deserialize<'de> for HexHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'de, str> = Cow::deserialize(deserializer)?;
        let hash: Result<EventHash, ()> = text.parse();
        hash.map(|hash| Self(hash.0)).map_err(|()| de::Error::custom("not a hash"))
    }
}

/// Bytes in Base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base64Bytes(pub Bytes);

impl Serialize for Base64Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'de, str> = Cow::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes()).map_err(de::Error::custom)?;
        Ok(Self(bytes.into()))
    }
}

mod hex {
    use std::borrow::Cow;
    use std::fmt::Write as _;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text: Cow<'de, str> = Cow::deserialize(deserializer)?;
        let is_hex =
            text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex {
            return Err(de::Error::custom("not hex"));
        }
        let byte = |n| u8::from_str_radix(&text[n..n + 2], 16).map_err(de::Error::custom);
        (0..text.len()).step_by(2).map(byte).collect()
    }
}

mod time {
    use std::borrow::Cow;

    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::statement;

    pub(super) fn serialize<S: Serializer>(
        at: &DateTime<Utc>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&statement::time(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        let text: Cow<'de, str> = Cow::deserialize(deserializer)?;
        statement::parse_time(&text).ok_or_else(|| de::Error::custom("not a time of this format"))
    }
}
