//! Server-Sent Events: the distinct connections mode of the graphql-sse protocol. One request is one
//! operation; its answers are `next` events, its end is a `complete` event.

use std::{convert::Infallible, time::Duration};

use async_graphql::{Executor, parser::types::OperationType};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, stream, stream::BoxStream};
use tokio::time::{Instant, sleep};

use super::{
    Admission, Authenticate, Prepared, RequestId, Transport,
    answer::Answer,
    codes::{self, Refusal},
    end_of, until,
};

/// Says nothing, and keeps what lies between from closing an idle connection.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");
/// Browsers drop events without a data line, hence the empty one.
const COMPLETE: Bytes = Bytes::from_static(b"event: complete\ndata: \n\n");

/// Streams the answers of one operation. The stream ends with the session, which is told.
pub(super) fn serve<E: Executor, A: Authenticate>(
    transport: &Transport<E, A>,
    prepared: Prepared,
    admission: &Admission<A::Session>,
) -> Response {
    let request_id = prepared.request_id.clone();
    let answers = match prepared.kind {
        OperationType::Subscription => transport.subscribe(prepared).boxed(),
        OperationType::Query | OperationType::Mutation => {
            let transport = transport.clone();
            async move { transport.run(prepared).await }.into_stream().boxed()
        }
    };
    let keep_alive = transport.settings.stream_keep_alive;
    respond(events(answers, end_of(admission), keep_alive, request_id))
}

/// A stream that holds one refusal.
pub(super) fn refused(refusal: &Refusal, request_id: &RequestId) -> Response {
    respond(stream::iter([next(&Answer::refused(refusal, request_id))]))
}

/// The answers until the session ends, then one that says so; comments while there are none.
fn events(
    answers: BoxStream<'static, Answer>,
    end: Option<Instant>,
    keep_alive: Duration,
    request_id: RequestId,
) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(Some((answers, Open::count())), move |open| {
        let request_id = request_id.clone();
        async move {
            let (mut answers, open) = open?;
            tokio::select! {
                answer = answers.next() => {
                    answer.map(|answer| (next(&answer), Some((answers, open))))
                }
                () = until(end) => {
                    let refusal = Refusal::new(&codes::SESSION_EXPIRED, "the session has ended");
                    Some((next(&Answer::refused(&refusal, &request_id)), None))
                }
                () = sleep(keep_alive) => Some((COMMENT, Some((answers, open)))),
            }
        }
    })
}

/// Counts a stream for as long as it is read.
struct Open;

impl Open {
    fn count() -> Self {
        metrics::gauge!("api_streams").increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("api_streams").decrement(1.0);
    }
}

fn next(answer: &Answer) -> Bytes {
    format!("event: next\ndata: {}\n\n", answer.to_json()).into()
}

fn respond(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    // The comment at once makes proxies pass the headers on.
    let events = stream::iter([COMMENT]).chain(events).chain(stream::iter([COMPLETE]));
    let mut response = Response::new(Body::from_stream(events.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}
