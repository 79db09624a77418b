//! The two calls that the log makes: `Streams/Append` and `Streams/Read`. All others are answered
//! `Unimplemented`, also the question for the server's features, which clients take for an old server.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use tonic::codec::ProstCodec;
use tonic::codegen::{Body, Service, StdError, http};
use tonic::server::{ClientStreamingService, Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status, Streaming};

use super::content::{Content, Event, New};
use super::messages::append_req::{Content as AppendContent, Expected, ProposedMessage};
use super::messages::append_resp::{self, Current, SuccessPosition, SuccessRevision};
use super::messages::read_req::{
    AllOption, AllOptions, CountOption, Filter, FilterOption, Options as ReadOptions,
    RevisionOption, StreamOption, StreamOptions,
};
use super::messages::read_resp::{Content as ReadContent, EventPosition, ReadEvent};
use super::messages::read_resp::{RecordedEvent, StreamNotFound};
use super::messages::{
    AppendReq, AppendResp, Empty, Position, ReadReq, ReadResp, StreamIdentifier, Uuid, uuid,
};
use super::{Fault, Shared};

/// The real one's limit, unless it is configured otherwise.
const MAX_APPEND_BYTES: usize = 1024 * 1024;

/// The service.
#[derive(Clone)]
pub(super) struct Streams(Arc<Shared>);

impl Streams {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

impl NamedService for Streams {
    const NAME: &'static str = "event_store.client.streams.Streams";
}

impl<B> Service<http::Request<B>> for Streams
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let streams = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path().rsplit('/').next() {
                Some("Append") => {
                    let codec = ProstCodec::<AppendResp, AppendReq>::default();
                    Grpc::new(codec).client_streaming(streams, request).await
                }
                Some("Read") => {
                    let codec = ProstCodec::<ReadResp, ReadReq>::default();
                    Grpc::new(codec).server_streaming(streams, request).await
                }
                _ => Status::unimplemented("not of the stand-in").into_http(),
            })
        })
    }
}

impl ClientStreamingService<AppendReq> for Streams {
    type Response = AppendResp;
    type Future = BoxFuture<'static, Result<Response<AppendResp>, Status>>;

    fn call(&mut self, request: Request<Streaming<AppendReq>>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { append(&shared, request.into_inner()).await.map(Response::new) })
    }
}

impl ServerStreamingService<ReadReq> for Streams {
    type Response = ReadResp;
    type ResponseStream = BoxStream<'static, Result<ReadResp, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<ReadReq>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let options = request.into_inner().options.ok_or_else(malformed)?;
            let mut answers: Vec<_> = read(&shared.data.lock(), &options)?
                .into_iter()
                .map(|content| Ok(ReadResp { content: Some(content) }))
                .collect();
            if let Some(Fault::CutReading(n_events)) =
                shared.take_fault(|fault| matches!(fault, Fault::CutReading(_)))
            {
                answers.truncate(n_events);
                answers.push(Err(Status::unavailable("the stand-in was told to")));
            }
            Ok(Response::new(stream::iter(answers).boxed()))
        })
    }
}

fn malformed() -> Status {
    Status::invalid_argument("not what the stand-in understands")
}

fn text(bytes: &[u8]) -> Result<String, Status> {
    String::from_utf8(bytes.to_vec()).map_err(|_| malformed())
}

async fn append(shared: &Shared, mut messages: Streaming<AppendReq>) -> Result<AppendResp, Status> {
    let (mut to, mut events, mut n_bytes) = (None, Vec::new(), 0);
    while let Some(message) = messages.message().await? {
        match message.content.ok_or_else(malformed)? {
            AppendContent::Options(options) => {
                let stream = options.stream_identifier.ok_or_else(malformed)?;
                to = Some((text(&stream.stream_name)?, options.expected.ok_or_else(malformed)?));
            }
            AppendContent::ProposedMessage(message) => {
                n_bytes += message.data.len() + message.custom_metadata.len();
                events.push(new_event(message)?);
            }
        }
    }
    let (stream, expected) = to.ok_or_else(malformed)?;
    if n_bytes > MAX_APPEND_BYTES {
        return Err(Status::invalid_argument("the maximum append size is exceeded"));
    }
    if !shared.lets_through() {
        return Err(Status::unknown("the stand-in was told to"));
    }
    let fault = shared.take_fault(|fault| !matches!(fault, Fault::CutReading(_)));
    match &fault {
        Some(Fault::FailUnclear) => return Err(Status::unknown("the stand-in was told to")),
        Some(Fault::LoseRequest) => {
            shared.cut();
            return Err(Status::unavailable("the connection is cut"));
        }
        Some(Fault::NotLeader(leader)) => return Err(not_leader(*leader)),
        Some(Fault::LoseAnswer | Fault::CutReading(_)) | None => {}
    }
    let outcome = shared.data.lock().append(&stream, expected, events);
    if fault == Some(Fault::LoseAnswer) {
        shared.cut();
        return Err(Status::unavailable("the connection is cut"));
    }
    let result = match outcome {
        Ok((revision, position)) => append_resp::Result::Success(append_resp::Success {
            current_revision: Some(SuccessRevision::Revision(revision)),
            position: Some(SuccessPosition::Position(Position {
                commit_position: position,
                prepare_position: position,
            })),
        }),
        Err(n_events) => {
            append_resp::Result::WrongExpectedVersion(append_resp::WrongExpectedVersion {
                current: Some(match n_events.checked_sub(1) {
                    Some(revision) => Current::Revision(revision),
                    None => Current::NoStream(Empty {}),
                }),
                expected: Some(match expected {
                    Expected::Revision(revision) => append_resp::Expected::Revision(revision),
                    Expected::NoStream(empty) => append_resp::Expected::NoStream(empty),
                    Expected::Any(empty) => append_resp::Expected::Any(empty),
                    Expected::StreamExists(empty) => append_resp::Expected::StreamExists(empty),
                }),
            })
        }
    };
    Ok(AppendResp { result: Some(result) })
}

fn new_event(message: ProposedMessage) -> Result<New, Status> {
    let mut metadata = message.metadata;
    let mut property = |name: &str| metadata.remove(name).ok_or_else(malformed);
    Ok(New {
        id: match message.id.and_then(|id| id.value).ok_or_else(malformed)? {
            uuid::Value::String(id) => id,
            uuid::Value::Structured(id) => {
                let high = u128::from(id.most_significant_bits.cast_unsigned());
                let low = u128::from(id.least_significant_bits.cast_unsigned());
                ::uuid::Uuid::from_u128(high << 64 | low).to_string()
            }
        },
        kind: property("type")?,
        content_type: property("content-type")?,
        metadata: message.custom_metadata,
        data: message.data,
    })
}

fn not_leader(leader: std::net::SocketAddr) -> Status {
    let mut status = Status::not_found("the leader is another node");
    let metadata = status.metadata_mut();
    for (name, value) in [
        ("exception", "not-leader".to_owned()),
        ("leader-endpoint-host", leader.ip().to_string()),
        ("leader-endpoint-port", leader.port().to_string()),
    ] {
        if let Ok(value) = value.parse() {
            metadata.insert(name, value);
        }
    }
    status
}

fn read(content: &Content, options: &ReadOptions) -> Result<Vec<ReadContent>, Status> {
    let Some(CountOption::Count(count)) = options.count_option else {
        return Err(Status::unimplemented("the stand-in has no subscriptions"));
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let found = match options.stream_option.as_ref().ok_or_else(malformed)? {
        StreamOption::Stream(stream) => of_stream(content, options, stream, count)?,
        StreamOption::All(all) => Some(of_all(content, options, *all, count)?),
    };
    Ok(match found {
        Some(events) => events.into_iter().map(answer).collect(),
        None => vec![ReadContent::StreamNotFound(StreamNotFound { stream_identifier: None })],
    })
}

fn of_stream<'a>(
    content: &'a Content,
    options: &ReadOptions,
    stream: &StreamOptions,
    count: usize,
) -> Result<Option<Vec<&'a Event>>, Status> {
    let name = stream.stream_identifier.as_ref().ok_or_else(malformed)?;
    let Some(at) = content.streams.get(&text(&name.stream_name)?) else { return Ok(None) };
    let from = match stream.revision_option.ok_or_else(malformed)? {
        RevisionOption::Revision(revision) => usize::try_from(revision).unwrap_or(usize::MAX),
        RevisionOption::Start(_) => 0,
        RevisionOption::End(_) => at.len() - 1,
    };
    let events = at.iter().map(|&at| &content.all[at]);
    Ok(Some(match options.read_direction {
        0 => events.skip(from).take(count).collect(),
        _ => events.take(from.saturating_add(1)).rev().take(count).collect(),
    }))
}

fn of_all<'a>(
    content: &'a Content,
    options: &ReadOptions,
    all: AllOptions,
    count: usize,
) -> Result<Vec<&'a Event>, Status> {
    let prefixes = match &options.filter_option {
        None | Some(FilterOption::NoFilter(_)) => None,
        Some(FilterOption::Filter(filter)) => match &filter.filter {
            Some(Filter::StreamIdentifier(by)) if by.regex.is_empty() => Some(&by.prefix),
            _ => return Err(Status::unimplemented("the stand-in filters by streams' prefixes")),
        },
    };
    let wanted = |event: &&Event| {
        prefixes.is_none_or(|some| some.iter().any(|prefix| event.stream.starts_with(prefix)))
    };
    let from = match all.all_option.ok_or_else(malformed)? {
        AllOption::Position(position) => content
            .at(position.commit_position)
            .ok_or_else(|| Status::unknown("no event begins at this position"))?,
        AllOption::Start(_) => 0,
        AllOption::End(_) => content.all.len(),
    };
    Ok(match options.read_direction {
        0 => content.all[from..].iter().filter(wanted).take(count).collect(),
        _ => content.all[..from].iter().rev().filter(wanted).take(count).collect(),
    })
}

fn answer(event: &Event) -> ReadContent {
    let metadata = HashMap::from([
        ("type".to_owned(), event.kind.clone()),
        ("content-type".to_owned(), event.content_type.clone()),
        ("created".to_owned(), event.created.to_string()),
    ]);
    ReadContent::Event(ReadEvent {
        event: Some(RecordedEvent {
            id: Some(Uuid { value: Some(uuid::Value::String(event.id.clone())) }),
            stream_identifier: Some(StreamIdentifier {
                stream_name: event.stream.clone().into_bytes().into(),
            }),
            stream_revision: event.revision,
            prepare_position: event.position,
            commit_position: event.position,
            metadata,
            custom_metadata: event.metadata.clone(),
            data: event.data.clone(),
        }),
        position: Some(EventPosition::Commit(event.position)),
    })
}
