//! A stored event as a Kafka record and back: CloudEvents 1.0 in binary mode.
//!
//! The record's value is the payload's exact bytes; everything else of the event stands in headers,
//! so that a consumer can rebuild it and see for itself whether its hash is right.

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::ids::CompanyId;
use rdkafka::Message;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use uuid::Uuid;

use super::topics::Topic;
use crate::envelope::{Cause, EventHash, Position, StoredEvent, StreamId, Version};
use crate::public::without_personal;

const CONTENT_TYPE: &str = "content-type";
const SPEC_VERSION: &str = "ce_specversion";
const ID: &str = "ce_id";
const TYPE: &str = "ce_type";
const SOURCE: &str = "ce_source";
const SUBJECT: &str = "ce_subject";
const TIME: &str = "ce_time";
const DATA_SCHEMA: &str = "ce_dataschema";
const STREAM_VERSION: &str = "ce_streamversion";
const POSITION: &str = "ce_position";
const HASH: &str = "ce_hash";
const CORRELATION_ID: &str = "ce_correlationid";
const CAUSATION_ID: &str = "ce_causationid";
const ACTOR: &str = "ce_actor";
const AGGREGATE: &str = "ce_aggregate";
const COMMAND_ID: &str = "ce_commandid";
const FINGERPRINT: &str = "ce_fingerprint";
const RECORDED_TIME: &str = "ce_recordedtime";
const ACTOR_KIND: &str = "ce_actorkind";
const TRACE_PARENT: &str = "traceparent";

const TYPE_PREFIX: &str = "colloquy.";
const PUBLIC_TYPE_PREFIX: &str = "colloquy.public.";
const PLATFORM: &str = "/platform/";
const COMPANIES: &str = "/companies/";

/// What is sent to Kafka for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The stream's id: events of one stream share a partition.
    pub key: String,
    /// Names and values, each name once.
    pub headers: Vec<(&'static str, String)>,
    /// The payload's exact bytes.
    pub value: Bytes,
}

impl Record {
    /// The record of an event. `schema_base` is what `ce_dataschema` begins with.
    #[must_use]
    pub fn of(event: &StoredEvent, schema_base: &str) -> Self {
        let StoredEvent { stream, cause, name, schema_version, .. } = event;
        let mut headers = vec![
            (CONTENT_TYPE, "application/json".to_owned()),
            (SPEC_VERSION, "1.0".to_owned()),
            (ID, event.event_id.to_string()),
            (TYPE, format!("{TYPE_PREFIX}{name}.v{schema_version}")),
            (SOURCE, source(stream)),
            (SUBJECT, stream.id.to_string()),
            (TIME, time(event.occurred_at)),
            (DATA_SCHEMA, format!("{schema_base}/{name}.v{schema_version}.json")),
            (STREAM_VERSION, event.version.to_string()),
            (POSITION, event.position.to_string()),
            (HASH, event.hash.to_string()),
            (CORRELATION_ID, cause.correlation_id.to_string()),
            (ACTOR, cause.actor.clone()),
            (AGGREGATE, stream.aggregate.to_string()),
            (COMMAND_ID, cause.command_id.to_string()),
            (FINGERPRINT, hex(&cause.fingerprint)),
            (RECORDED_TIME, time(event.recorded_at)),
        ];
        headers.extend(cause.causation_id.map(|id| (CAUSATION_ID, id.to_string())));
        headers.extend(cause.trace_parent.clone().map(|parent| (TRACE_PARENT, parent)));
        Self { key: stream.id.to_string(), headers, value: event.payload.clone() }
    }

    /// The same without the data of persons, for the public topics: of the actor only the kind, and
    /// neither the command nor the client's trace. `ce_hash` is that of the event in the log.
    #[must_use]
    pub fn public(event: &StoredEvent, schema_base: &str) -> Self {
        let StoredEvent { name, schema_version, cause, .. } = event;
        let mut record = Self::of(event, schema_base);
        for (header, value) in &mut record.headers {
            match *header {
                TYPE => *value = format!("{PUBLIC_TYPE_PREFIX}{name}.v{schema_version}"),
                DATA_SCHEMA => {
                    *value = format!("{schema_base}/public/{name}.v{schema_version}.json");
                }
                ACTOR => {
                    let kind = cause.actor.split(':').next().unwrap_or_default();
                    (*header, *value) = (ACTOR_KIND, kind.to_owned());
                }
                _ => {}
            }
        }
        record
            .headers
            .retain(|(header, _)| ![COMMAND_ID, FINGERPRINT, TRACE_PARENT].contains(header));
        record.value = without_personal(&event.payload);
        record
    }

    /// The value of a header, such as `ce_id`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_str())
    }

    /// The headers in the client's form.
    #[must_use]
    pub fn client_headers(&self) -> OwnedHeaders {
        let headers = OwnedHeaders::new_with_capacity(self.headers.len());
        self.headers
            .iter()
            .fold(headers, |all, (key, value)| all.insert(Header { key, value: Some(value) }))
    }

    /// About how many bytes it takes on the wire before compression.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.key.len() + headers + self.value.len()
    }
}

/// Why a record is not an event of ours. It names headers, never their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record has no value.
    #[error("the record has no value")]
    NoValue,
    /// A header that every event has is missing.
    #[error("header {0} is missing")]
    Missing(&'static str),
    /// A header's value has another form than it must have.
    #[error("header {0} is malformed")]
    Malformed(&'static str),
    /// The record's key is not the stream's id.
    #[error("the key is not the stream's id")]
    Key,
}

/// The event in a record. Whether it is intact is the consumer's question.
///
/// # Errors
/// [`DecodeError`] when the record is not an event in the form that [`Record::of`] gives it.
pub fn decode<M: Message>(record: &M) -> Result<StoredEvent, DecodeError> {
    let value = record.payload().ok_or(DecodeError::NoValue)?;
    let fields = Fields(record.headers());
    if fields.text(SPEC_VERSION)? != "1.0" {
        return Err(DecodeError::Malformed(SPEC_VERSION));
    }
    let id = fields.uuid(SUBJECT)?;
    if record.key() != Some(id.to_string().as_bytes()) {
        return Err(DecodeError::Key);
    }
    let (name, schema_version) = fields
        .text(TYPE)?
        .strip_prefix(TYPE_PREFIX)
        .and_then(|rest| rest.rsplit_once(".v"))
        .ok_or(DecodeError::Malformed(TYPE))?;
    let aggregate = fields.text(AGGREGATE)?;
    let aggregate = Topic::of(aggregate)
        .map_or_else(|| Cow::Owned(aggregate.to_owned()), |topic| Cow::Borrowed(topic.aggregate));
    Ok(StoredEvent {
        position: Position(fields.number(POSITION)?),
        recorded_at: fields.time(RECORDED_TIME)?,
        stream: StreamId { company: company(fields.text(SOURCE)?)?, aggregate, id },
        version: Version(fields.number(STREAM_VERSION)?),
        event_id: fields.uuid(ID)?,
        name: name.to_owned(),
        schema_version: schema_version.parse().map_err(|_| DecodeError::Malformed(TYPE))?,
        occurred_at: fields.time(TIME)?,
        cause: Cause {
            command_id: fields.uuid(COMMAND_ID)?,
            fingerprint: unhex(fields.text(FINGERPRINT)?)
                .ok_or(DecodeError::Malformed(FINGERPRINT))?,
            correlation_id: fields.uuid(CORRELATION_ID)?,
            causation_id: fields
                .has(CAUSATION_ID)
                .then(|| fields.uuid(CAUSATION_ID))
                .transpose()?,
            actor: fields.text(ACTOR)?.to_owned(),
            trace_parent: fields
                .has(TRACE_PARENT)
                .then(|| fields.text(TRACE_PARENT).map(str::to_owned))
                .transpose()?,
        },
        payload: Bytes::copy_from_slice(value),
        hash: fields.text(HASH)?.parse().map_err(|()| DecodeError::Malformed(HASH))?,
    })
}

/// Where an event of a public topic stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In the log.
    pub position: Position,
    /// Its stream's company.
    pub company: CompanyId,
    /// Its stream's id.
    pub stream_id: Uuid,
    /// In its stream.
    pub version: Version,
    /// Hash of the event in the log.
    pub hash: EventHash,
}

/// Where the event of a public record stands.
///
/// # Errors
/// [`DecodeError`] when the record is not in the form that [`Record::public`] gives it.
pub fn place<M: Message>(record: &M) -> Result<Place, DecodeError> {
    let fields = Fields(record.headers());
    let stream_id = fields.uuid(SUBJECT)?;
    if record.key() != Some(stream_id.to_string().as_bytes()) {
        return Err(DecodeError::Key);
    }
    if !fields.text(TYPE)?.starts_with(PUBLIC_TYPE_PREFIX) {
        return Err(DecodeError::Malformed(TYPE));
    }
    Ok(Place {
        position: Position(fields.number(POSITION)?),
        company: company(fields.text(SOURCE)?)?,
        stream_id,
        version: Version(fields.number(STREAM_VERSION)?),
        hash: fields.text(HASH)?.parse().map_err(|()| DecodeError::Malformed(HASH))?,
    })
}

/// Headers of one record, asked for by name.
struct Fields<'a, H>(Option<&'a H>);

impl<'a, H: Headers> Fields<'a, H> {
    fn find(&self, name: &str) -> Option<&'a [u8]> {
        let found = self.0?.iter().find(|header| header.key == name)?;
        Some(found.value.unwrap_or_default())
    }

    fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn text(&self, name: &'static str) -> Result<&'a str, DecodeError> {
        let value = self.find(name).ok_or(DecodeError::Missing(name))?;
        std::str::from_utf8(value).map_err(|_| DecodeError::Malformed(name))
    }

    fn uuid(&self, name: &'static str) -> Result<Uuid, DecodeError> {
        Uuid::try_parse(self.text(name)?).map_err(|_| DecodeError::Malformed(name))
    }

    fn number(&self, name: &'static str) -> Result<u64, DecodeError> {
        self.text(name)?.parse().map_err(|_| DecodeError::Malformed(name))
    }

    fn time(&self, name: &'static str) -> Result<DateTime<Utc>, DecodeError> {
        let time = DateTime::parse_from_rfc3339(self.text(name)?);
        time.map(|time| time.to_utc()).map_err(|_| DecodeError::Malformed(name))
    }
}

/// `/companies/{id}/interviews`, or `/platform/accounts` for what belongs to no company.
fn source(stream: &StreamId) -> String {
    let collection =
        Topic::of(&stream.aggregate).map_or(&*stream.aggregate, |topic| topic.collection);
    if stream.company == CompanyId::NONE {
        format!("{PLATFORM}{collection}")
    } else {
        format!("{COMPANIES}{}/{collection}", stream.company.0)
    }
}

fn company(source: &str) -> Result<CompanyId, DecodeError> {
    if source.starts_with(PLATFORM) {
        return Ok(CompanyId::NONE);
    }
    source
        .strip_prefix(COMPANIES)
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(id, _)| Uuid::try_parse(id).ok())
        .map(CompanyId)
        .ok_or(DecodeError::Malformed(SOURCE))
}

/// RFC 3339 in UTC, to the microsecond.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |half: u8| DIGITS[usize::from(half)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()).collect()
}
