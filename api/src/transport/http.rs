//! GraphQL over HTTP: POST for any operation, GET for queries, and the way to the other transports.
//!
//! Only `application/json` bodies are read: a browser sends them to another origin after a preflight
//! only, so a foreign page cannot make a visitor's browser execute anything.

use std::time::Duration;

use async_graphql::{Executor, parser::types::OperationType};
use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State, WebSocketUpgrade},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use tracing::Instrument;

use super::{
    Authenticate, Charge, Quota, RequestId, TraceParent, Transport,
    answer::Answer,
    bearer_of,
    codes::{self, Level, Refusal},
    purpose,
    request::Params,
    sse, ws,
};
use crate::etag;
use crate::peer::Peer;
use crate::visitor::Visitor;

/// What of an oversized body is read and thrown away, so that a client that is still sending gets
/// to read the refusal. Beyond it the connection is cut.
const DISCARDED_BYTES: usize = 128 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);

/// The media types of an answer that is given once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    /// `application/graphql-response+json`: the status tells whether the request was executed.
    Response,
    /// `application/json`: 200 for every well-formed request.
    Json,
}

impl Media {
    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Response => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        })
    }
}

/// What the Accept header allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Accepted {
    once: Option<Media>,
    stream: bool,
}

impl Accepted {
    /// Weighs the Accept headers; an absent one means `application/json`.
    fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(header::ACCEPT) {
            return Self { once: Some(Media::Json), stream: false };
        }
        let mut accepted = Self::default();
        let mut best = 0.0;
        let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in ranges.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts
                .find_map(|parameter| parameter.strip_prefix("q="))
                .map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0));
            let once = match essence.as_str() {
                "application/graphql-response+json" => Media::Response,
                "application/json" | "application/*" | "*/*" => Media::Json,
                "text/event-stream" => {
                    accepted.stream |= weight > 0.0;
                    continue;
                }
                _ => continue,
            };
            // The first of equal weight wins, as clients list what they like best first.
            if weight > best {
                best = weight;
                accepted.once = Some(once);
            }
        }
        accepted
    }
}

/// Answers one HTTP request at the GraphQL path.
pub(super) async fn handle<E: Executor, A: Authenticate>(
    State(transport): State<Transport<E, A>>,
    request: Request,
) -> Response {
    let request_id = RequestId::from_headers(request.headers());
    let span = super::request_span(&request_id);
    let (parts, body) = request.into_parts();
    let peer = Peer::of(&parts.extensions, &parts.headers, &transport.settings.proxies);
    let mut quota = None;
    let mut response = async {
        if is_upgrade(&parts.headers) {
            upgrade(&transport, parts, peer, &request_id).await
        } else {
            let accepted = Accepted::of(&parts.headers);
            let media = accepted.once.unwrap_or(Media::Json);
            serve(&transport, &parts, body, accepted, (peer, &mut quota), &request_id)
                .await
                .unwrap_or_else(|refusal| refuse(&refusal, media, &request_id))
        }
    }
    .instrument(span)
    .await;

    let headers = response.headers_mut();
    if let Some(quota) = quota {
        quota.write(headers);
    }
    headers.insert(RequestId::HEADER, request_id.header_value());
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, authorization"));
    response
}

/// Whether a WebSocket is to be opened.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

async fn upgrade<E: Executor, A: Authenticate>(
    transport: &Transport<E, A>,
    mut parts: Parts,
    peer: Peer,
    request_id: &RequestId,
) -> Response {
    let authorization = parts.headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let trace_parent = TraceParent::from_headers(&parts.headers);
    let (transport, request_id) = (transport.clone(), request_id.clone());
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade
            .protocols([ws::PROTOCOL])
            .max_message_size(transport.settings.body_bytes)
            .max_frame_size(transport.settings.body_bytes)
            .on_upgrade(move |socket| {
                ws::serve(socket, transport, (peer, authorization), trace_parent, request_id)
            }),
        Err(rejection) => rejection.into_response(),
    }
}

async fn serve<E: Executor, A: Authenticate>(
    transport: &Transport<E, A>,
    parts: &Parts,
    body: Body,
    accepted: Accepted,
    (peer, quota): (Peer, &mut Option<Quota>),
    request_id: &RequestId,
) -> Result<Response, Refusal> {
    let is_get = match parts.method {
        Method::GET => true,
        Method::POST => false,
        _ => return Err(Refusal::new(&codes::METHOD_NOT_ALLOWED, "use GET or POST")),
    };
    if accepted == Accepted::default() {
        return Err(Refusal::new(
            &codes::NOT_ACCEPTABLE,
            "accept application/graphql-response+json, application/json or text/event-stream",
        ));
    }
    if !is_get {
        is_json(&parts.headers)?;
    }
    // Any page can have a browser send a GET, so that none is charged which is good for nothing.
    let in_uri = match is_get {
        true => Some(transport.not_a_mutation(Params::from_query_string(parts.uri.query())?)?),
        false => None,
    };
    let admission = transport.admit(bearer_of(&parts.headers)?, peer, request_id).await?;
    let visitor = Visitor::of(&parts.headers);
    let what = visitor.refresh_token.as_ref().map_or(Charge::Request, Charge::Renewal);
    *quota = transport.auth.charge(&admission.session, peer, what).await?;
    let mut params = match in_uri {
        Some(params) => params,
        None => Params::from_body(&read(&parts.headers, body, transport).await?)?,
    };
    params.purpose = params.purpose.or(purpose::of_headers(&parts.headers)?);
    params.trace_parent = TraceParent::from_headers(&parts.headers).or(params.trace_parent);

    let preparing = transport.prepare(params, &admission, peer, request_id);
    let prepared = match (preparing.await, accepted.once) {
        (Ok(prepared), _) => prepared.with(visitor),
        // Whoever accepts streams only is told on one, as browsers show nothing of a status.
        (Err(refusal), None) if refusal.code.level == Level::Document => {
            return Ok(sse::refused(&refusal, request_id));
        }
        (Err(refusal), _) => return Err(refusal),
    };
    match (prepared.kind, accepted.once) {
        (OperationType::Subscription, _) if !accepted.stream => Err(Refusal::new(
            &codes::SUBSCRIPTION_NEEDS_STREAM,
            "a subscription needs a WebSocket, or accept: text/event-stream",
        )),
        (OperationType::Subscription, _) | (_, None) => {
            Ok(sse::serve(transport, prepared, &admission))
        }
        (OperationType::Query | OperationType::Mutation, Some(media)) => {
            let mut answer = transport.run(prepared).await;
            let status = match media {
                Media::Json if !is_failure(answer.status()) => 200,
                Media::Json | Media::Response => answer.status(),
            };
            // What a resolver says of caching holds for what can be kept at all.
            if !is_get || !answer.errors.is_empty() {
                answer.headers.remove(header::CACHE_CONTROL);
            }
            Ok(match answer.headers.contains_key(header::CACHE_CONTROL) {
                true => respond_once(answer, media, &parts.headers),
                false => respond(answer, status, media),
            })
        }
    }
}

fn is_failure(status: u16) -> bool {
    status >= 500
}

fn refuse(refusal: &Refusal, media: Media, request_id: &RequestId) -> Response {
    let status = match (refusal.code.level, media) {
        (Level::Document, Media::Json) => 200,
        (Level::Document, Media::Response) | (Level::Transport, _) => refusal.code.status,
    };
    let mut response = respond(Answer::refused(refusal, request_id), status, media);
    let headers = response.headers_mut();
    if status == 401 {
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = refusal.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == 405 {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

/// A refusal from before a request was looked at, in the form that all answers have.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    let request_id = RequestId::fresh();
    let mut response = refuse(refusal, Media::Json, &request_id);
    response.headers_mut().insert(RequestId::HEADER, request_id.header_value());
    response
}

fn respond(mut answer: Answer, status: u16, media: Media) -> Response {
    let mut response = Response::new(Body::from(answer.to_json()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = std::mem::take(&mut answer.headers);
    response.headers_mut().insert(header::CONTENT_TYPE, media.content_type());
    response
}

/// An answer that may be kept: who has it, by its tag, does not get it again.
fn respond_once(answer: Answer, media: Media, asked: &HeaderMap) -> Response {
    let content_type = media.content_type();
    let tag = etag::of(&[content_type.as_bytes(), answer.to_json().as_bytes()].concat());
    let mut response = respond(answer, 200, media);
    if etag::is_known(asked, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Refuses bodies that are not declared as plain JSON in UTF-8.
fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(Refusal::new(&codes::UNSUPPORTED_MEDIA_TYPE, message));
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Some(declared) = declared else {
        return refuse("the body needs content-type: application/json");
    };
    let mut parts = declared.split(';').map(str::trim);
    if !parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return refuse("the body must be of content-type application/json");
    }
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("charset")
            && !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        {
            return refuse("the only charset is utf-8");
        }
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => refuse("the body must not be compressed"),
        _ => Ok(()),
    }
}

/// Reads a body up to the limit, within the time limit.
async fn read<E, A>(
    headers: &HeaderMap,
    body: Body,
    transport: &Transport<E, A>,
) -> Result<Vec<u8>, Refusal> {
    let settings = &transport.settings;
    let too_large = || {
        let message = format!("the body is larger than {} bytes", settings.body_bytes);
        Refusal::new(&codes::REQUEST_TOO_LARGE, message)
    };
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared = declared.and_then(|value| value.parse::<usize>().ok());
    let mut stream = body.into_data_stream();
    if declared.is_some_and(|n_bytes| n_bytes > settings.body_bytes) {
        // A client that waits for a go-ahead has sent nothing yet.
        if !headers.contains_key(header::EXPECT) {
            discard(&mut stream).await;
        }
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(declared.unwrap_or_default());
    let reading = async {
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| {
                Refusal::new(&codes::MALFORMED_REQUEST, "the body broke off before its end")
            })?;
            if bytes.len() + chunk.len() > settings.body_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(settings.body_timeout, reading).await {
        Ok(Ok(())) => Ok(bytes),
        Ok(Err(refusal)) => {
            if refusal.code == &codes::REQUEST_TOO_LARGE {
                discard(&mut stream).await;
            }
            Err(refusal)
        }
        Err(_elapsed) => {
            Err(Refusal::new(&codes::REQUEST_TIMEOUT, "the body did not arrive in time"))
        }
    }
}

/// Reads on and keeps nothing, within bounds of size and time.
async fn discard(stream: &mut axum::body::BodyDataStream) {
    let discarding = async {
        let mut n_bytes = 0;
        while let Some(Ok(chunk)) = stream.next().await {
            n_bytes += chunk.len();
            if n_bytes > DISCARDED_BYTES {
                return;
            }
        }
    };
    // Whether it ended or was cut off, the refusal follows.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, discarding).await;
}
