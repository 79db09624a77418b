//! The only file that names the client: `kurrentdb`, which succeeds `eventstore` and speaks to the
//! servers of both names.
//!
//! What it works around: a client whose connecting failed once answers `ConnectionClosed` for ever, so
//! it is made anew; it panics at a malformed `tlsCAFile`, so that is read before; times are cut to seconds, so they are read from the raw field; and its
//! subscriptions never return once a server ends one without an error (a loop without a pause inside
//! one `poll`, which no time-out can interrupt), so the log is followed by reading pages.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use kurrentdb::{
    AppendToStreamOptions, ClientSettings, CurrentRevision, Error, EventData, Position,
    ReadAllOptions, ReadStreamOptions, RecordedEvent, StreamPosition, StreamState,
    SubscriptionFilter,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::BadServerAddress;
use crate::store::ReadError;

/// How long one answer of the server is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one reading may take, reconnecting included.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
const BEFORE_RETRY: Duration = Duration::from_millis(100);
/// gRPC's codes for what the server judged and did not do: invalid argument, failed precondition, out
/// of range.
const REFUSALS: [i32; 3] = [3, 9, 11];

/// An event to be written.
#[derive(Clone, Debug)]
pub(super) struct Proposed {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) data: Bytes,
    pub(super) metadata: Bytes,
}

/// An event as the server holds it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) stream: String,
    /// 0 is the stream's first.
    pub(super) revision: u64,
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) data: Bytes,
    pub(super) metadata: Bytes,
    /// Commit position in `$all`.
    pub(super) position: u64,
    /// By the leader's clock, cut to whole microseconds.
    pub(super) created: DateTime<Utc>,
}

/// Why a write did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WriteFault {
    /// The stream has this many events, not as many as expected.
    Elsewhere(u64),
    /// It was not written; trying again is right.
    NotWritten,
    /// It was sent, and whether it was written is not known.
    Unclear,
    /// The server will not have it, now or later.
    Refused,
}

/// A client that is replaced when it is of no use any more.
pub(super) struct Client {
    settings: ClientSettings,
    made: Mutex<Made>,
}

/// The client in use, if there is one, and how many have been made.
#[derive(Default)]
struct Made {
    number: u64,
    client: Option<kurrentdb::Client>,
}

impl Client {
    /// A client that connects when it is first used.
    pub(super) fn new(url: &str) -> Result<Self, BadServerAddress> {
        // The parser's error quotes the address, which may hold a password.
        let settings: ClientSettings = url.parse().map_err(|_| BadServerAddress)?;
        if settings.tls_ca_file().is_some_and(|file| !holds_certificates(file)) {
            return Err(BadServerAddress);
        }
        Ok(Self { settings, made: Mutex::default() })
    }

    /// The client in use and its number; a new one where there is none.
    fn current(&self) -> Option<(u64, kurrentdb::Client)> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.client.is_none() {
            made.number += 1;
            made.client = kurrentdb::Client::new(self.settings.clone())
                .inspect_err(|_| tracing::error!("the event store's certificates cannot be read"))
                .ok();
        }
        Some((made.number, made.client.clone()?))
    }

    /// Lets go of the client of this number.
    fn retire(&self, number: u64) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.number == number {
            made.client = None;
        }
    }

    /// Writes events behind the first `expected` ones of a stream, all or none, once.
    pub(super) async fn append(
        &self,
        stream: &str,
        expected: Option<u64>,
        events: &[Proposed],
    ) -> Result<(), WriteFault> {
        let Some((number, client)) = self.current() else {
            return Err(WriteFault::NotWritten);
        };
        let state = match expected {
            None => StreamState::Any,
            Some(0) => StreamState::NoStream,
            Some(n_events) => StreamState::StreamRevision(n_events - 1),
        };
        let options = AppendToStreamOptions::default()
            .stream_state(state)
            .requires_leader(true)
            .deadline(ANSWER_TIMEOUT);
        let events: Vec<EventData> = events.iter().map(event_data).collect();
        let answer = client.append_to_stream(stream, &options, events);
        let Ok(answer) = timeout(ANSWER_TIMEOUT, answer).await else {
            return Err(WriteFault::Unclear);
        };
        let Err(error) = answer else { return Ok(()) };
        self.look_at(number, &error);
        Err(match error {
            Error::WrongExpectedVersion { current, .. } => WriteFault::Elsewhere(match current {
                CurrentRevision::Current(revision) => revision + 1,
                CurrentRevision::NoStream => 0,
            }),
            // The client has turned to the leader by itself.
            Error::NotLeaderException(_)
            | Error::ConnectionClosed
            | Error::GrpcConnectionError(_) => WriteFault::NotWritten,
            Error::AccessDenied
            | Error::UnsupportedFeature
            | Error::ResourceDeleted
            | Error::InitializationError(_) => WriteFault::Refused,
            Error::Grpc { code, .. } if REFUSALS.contains(&i32::from(code)) => WriteFault::Refused,
            _ => WriteFault::Unclear,
        })
    }

    /// At most `limit` events of a stream, from a revision on.
    pub(super) async fn read_stream(
        &self,
        stream: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Found>, ReadError> {
        let options = ReadStreamOptions::default().position(StreamPosition::Position(from));
        self.read_one(stream, options, limit).await
    }

    /// The last event of a stream.
    pub(super) async fn last_of(&self, stream: &str) -> Result<Option<Found>, ReadError> {
        let options = ReadStreamOptions::default().position(StreamPosition::End);
        Ok(self.read_one(stream, options, 1).await?.pop())
    }

    async fn read_one(
        &self,
        stream: &str,
        options: ReadStreamOptions,
        limit: usize,
    ) -> Result<Vec<Found>, ReadError> {
        let options = options.max_count(limit).requires_leader(true).deadline(READ_TIMEOUT);
        self.read(limit, &Query::Stream(stream, options)).await
    }

    /// At most `limit` events of all streams whose names begin with one of `prefixes`, from the event
    /// at a position on, which is among them; from the first for 0.
    pub(super) async fn read_all(
        &self,
        from: u64,
        prefixes: &[String],
        limit: usize,
    ) -> Result<Vec<Found>, ReadError> {
        let position = match from {
            0 => StreamPosition::Start,
            from => StreamPosition::Position(Position { commit: from, prepare: from }),
        };
        let options = ReadAllOptions::default().position(position).filter(filter(prefixes));
        self.read_from_all(options, limit).await
    }

    /// The last event of all streams whose names begin with one of `prefixes`; of any without.
    pub(super) async fn last_of_all(
        &self,
        prefixes: &[String],
    ) -> Result<Option<Found>, ReadError> {
        let mut options = ReadAllOptions::default().position(StreamPosition::End);
        if !prefixes.is_empty() {
            options = options.filter(filter(prefixes));
        }
        Ok(self.read_from_all(options, 1).await?.pop())
    }

    async fn read_from_all(
        &self,
        options: ReadAllOptions,
        limit: usize,
    ) -> Result<Vec<Found>, ReadError> {
        let options = options.max_count(limit).requires_leader(true).deadline(READ_TIMEOUT);
        self.read(limit, &Query::All(options)).await
    }

    /// Reads, from the start again whenever the connection is lost on the way.
    async fn read(&self, limit: usize, query: &Query<'_>) -> Result<Vec<Found>, ReadError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let give_up_at = Instant::now() + READ_TIMEOUT;
        loop {
            if let Some((number, client)) = self.current() {
                match timeout(READ_TIMEOUT, query.send(&client)).await {
                    Ok(Ok(found)) => return Ok(found),
                    Ok(Err(Error::ResourceNotFound)) => return Ok(Vec::new()),
                    Ok(Err(error)) => {
                        self.look_at(number, &error);
                        if !may_heal(&error) {
                            return Err(ReadError);
                        }
                    }
                    Err(_) => self.retire(number),
                }
            }
            if Instant::now() + BEFORE_RETRY > give_up_at {
                tracing::warn!("reading the event store took too long");
                return Err(ReadError);
            }
            sleep(BEFORE_RETRY).await;
        }
    }

    /// Replaces a client that will never connect again, and tells what went wrong.
    fn look_at(&self, number: u64, error: &Error) {
        if matches!(error, Error::ConnectionClosed | Error::GrpcConnectionError(_)) {
            self.retire(number);
        }
        match error {
            Error::WrongExpectedVersion { .. } | Error::ResourceNotFound => {}
            error => tracing::warn!(reason = reason(error), "the event store refused or was lost"),
        }
    }
}

/// What is to be read.
enum Query<'a> {
    Stream(&'a str, ReadStreamOptions),
    All(ReadAllOptions),
}

impl Query<'_> {
    async fn send(&self, client: &kurrentdb::Client) -> kurrentdb::Result<Vec<Found>> {
        let mut answer = match self {
            Self::Stream(stream, options) => client.read_stream(*stream, options).await?,
            Self::All(options) => client.read_all(options).await?,
        };
        let mut events = Vec::new();
        while let Some(event) = answer.next().await? {
            if let Some(event) = event.event {
                events.push(found(event)?);
            }
        }
        Ok(events)
    }
}

/// Whether a file can be read as certificates: the client panics where one of them is malformed.
fn holds_certificates(file: &str) -> bool {
    CertificateDer::pem_file_iter(file)
        .is_ok_and(|mut certificates| certificates.all(|certificate| certificate.is_ok()))
}

fn found(event: RecordedEvent) -> kurrentdb::Result<Found> {
    // Servers before 22.10 give events of a stream no position.
    if event.position.commit == u64::MAX {
        return Err(Error::UnsupportedFeature);
    }
    let ticks: Option<i64> = event.metadata.get("created").and_then(|text| text.parse().ok());
    let created = ticks.and_then(|ticks| DateTime::from_timestamp_micros(ticks / 10));
    Ok(Found {
        stream: event.stream_id().to_owned(),
        revision: event.revision,
        id: event.id,
        position: event.position.commit,
        created: created.ok_or_else(|| Error::InternalParsingError("created".to_owned()))?,
        name: event.event_type,
        data: event.data,
        metadata: event.custom_metadata,
    })
}

fn event_data(event: &Proposed) -> EventData {
    // Marked as JSON where it is, so that the server's tools can look into it; the bytes stay as they
    // are either way.
    let json = serde_json::from_slice::<&RawValue>(&event.data).ok();
    json.filter(|json| json.get().len() == event.data.len())
        .and_then(|json| EventData::json(&event.name, &json).ok())
        .unwrap_or_else(|| EventData::binary(&event.name, event.data.clone()))
        .id(event.id)
        .metadata(event.metadata.clone())
}

fn filter(prefixes: &[String]) -> SubscriptionFilter {
    prefixes.iter().fold(SubscriptionFilter::on_stream_name(), SubscriptionFilter::add_prefix)
}

/// Whether a reading can succeed when it is sent again.
fn may_heal(error: &Error) -> bool {
    !matches!(
        error,
        Error::AccessDenied
            | Error::UnsupportedFeature
            | Error::ResourceDeleted
            | Error::InitializationError(_)
            | Error::InternalParsingError(_)
    )
}

/// What a log line may say of an error, without addresses and names.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::NotLeaderException(_) => "the node is not the leader",
        Error::ConnectionClosed | Error::GrpcConnectionError(_) => "no connection",
        Error::AccessDenied => "access denied",
        Error::UnsupportedFeature => "the server is too old: 22.10 is the first that will do",
        Error::ResourceDeleted => "the stream was deleted",
        Error::DeadlineExceeded => "no answer in time",
        Error::InternalParsingError(_) => "an answer cannot be read",
        Error::ServerError(_) => "the server failed or the connection was lost",
        _ => "an unexpected answer",
    }
}
