//! The `graphql-transport-ws` protocol: many operations over one WebSocket.
//!
//! A socket is two loops. The reader takes messages and starts one task per operation; the writer
//! sends what reader and tasks put into a bounded queue. A slow client therefore slows its own
//! operations down and nothing else, and a dead one is noticed by either loop.
//!
//! Close codes are those of the protocol. A token that admits nobody closes with 4403, and so does a
//! session that ends: client libraries take 4401 as final, but reconnect after 4403, which gives
//! them the chance to fetch a new token.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_graphql::{Executor, parser::types::OperationType};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde_json::{Map, Value as Json, json};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, MissedTickBehavior, timeout},
};
use tracing::Instrument;

use super::{
    Admission, AuthError, Authenticate, Charge, Prepared, RequestId, TraceParent, Transport,
    answer::Answer,
    bearer,
    codes::{self, Refusal},
    end_of,
    json::read as parse_json,
    request::Params,
    until,
};
use crate::peer::Peer;

/// The subprotocol, as a client must offer it.
pub(super) const PROTOCOL: &str = "graphql-transport-ws";

/// How long a closed socket may take to go.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that sent nothing for this many pings is gone.
const SILENT_PINGS: u32 = 4;
/// The longest operation id taken, in bytes.
const MAX_ID_BYTES: usize = 128;
/// What a close frame can hold.
const MAX_REASON_BYTES: usize = 123;

/// Why the server ends a socket.
#[derive(Debug)]
struct Close {
    code: u16,
    reason: String,
}

impl Close {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    fn invalid(reason: impl Into<String>) -> Self {
        Self::new(4400, reason)
    }

    fn init_timeout() -> Self {
        Self::new(4408, "Connection initialisation timeout")
    }

    /// Too many sockets, or nobody can count them now.
    fn limited(refusal: &Refusal) -> Self {
        let code = if refusal.code == &codes::RATE_LIMITED { 4429 } else { 1013 };
        let after = refusal.retry_after_s.unwrap_or(1);
        Self::new(code, format!("Too many connections, try again in {after} s"))
    }

    fn stalled() -> Self {
        Self::new(1013, "Nothing was read for too long: go on after the last cursor")
    }

    fn session_end() -> Self {
        Self::new(4403, "The session has ended")
    }

    fn frame(mut self) -> Message {
        let mut end = self.reason.len().min(MAX_REASON_BYTES);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        self.reason.truncate(end);
        Message::Close(Some(CloseFrame { code: self.code, reason: self.reason.into() }))
    }
}

/// What waits to leave.
enum Outgoing {
    /// A protocol message; with the flag of its operation, without which it is dropped.
    Text(String, Option<Arc<AtomicBool>>),
    /// A ping of the WebSocket itself, which every peer answers by itself.
    Probe,
    /// The last message.
    Close(Close),
}

/// One running operation.
struct Running {
    /// Cleared once the client completed it, so that what still waits is not sent.
    live: Arc<AtomicBool>,
    /// Absent for the moment between its entry and its start.
    task: Option<AbortHandle>,
}

type Operations = Arc<Mutex<HashMap<String, Running>>>;

/// Serves one socket to its end.
pub(super) async fn serve<E: Executor, A: Authenticate>(
    socket: WebSocket,
    transport: Transport<E, A>,
    (peer, authorization): (Peer, Option<String>),
    trace_parent: Option<TraceParent>,
    request_id: RequestId,
) {
    let span = tracing::info_span!("api.graphql.socket", request.id = %request_id);
    metrics::gauge!("api_sockets").increment(1.0);
    let has_protocol = socket.protocol().is_some();
    let (mut sink, stream) = socket.split();
    let (queue, waiting) = mpsc::channel(transport.settings.socket.queue_messages.max(1));
    let reader = Reader {
        write_timeout: transport.settings.socket.write_timeout,
        transport,
        peer,
        authorization,
        trace_parent,
        request_id,
        queue,
        operations: Operations::default(),
        tasks: JoinSet::new(),
        token: None,
        admission: None,
    };
    let write_timeout = reader.write_timeout;
    async {
        // Either loop ends the socket: dropping the reader aborts all of its operations.
        let has_stalled = tokio::select! {
            () = reader.serve(stream, has_protocol) => false,
            has_stalled = write(&mut sink, waiting, write_timeout) => has_stalled,
        };
        if has_stalled {
            // Whoever reads on soon learns why; what was begun is sent before.
            let _ = timeout(CLOSE_TIMEOUT, sink.send(Close::stalled().frame())).await;
        }
    }
    .instrument(span)
    .await;
    metrics::gauge!("api_sockets").decrement(1.0);
}

/// Sends what waits. Returns once the peer is gone, or takes nothing (`true`); after a close it leaves
/// the end to the reader, which waits for the peer's own.
async fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    mut waiting: mpsc::Receiver<Outgoing>,
    write_timeout: Duration,
) -> bool {
    while let Some(outgoing) = waiting.recv().await {
        let mut closing = false;
        let message = match outgoing {
            Outgoing::Text(_, Some(live)) if !live.load(Ordering::Acquire) => continue,
            Outgoing::Text(text, _) => Message::Text(text.into()),
            Outgoing::Probe => Message::Ping(Bytes::new()),
            Outgoing::Close(close) => {
                closing = true;
                close.frame()
            }
        };
        match timeout(write_timeout, sink.send(message)).await {
            Ok(Ok(())) if closing => return std::future::pending().await,
            Ok(Ok(())) => {}
            Ok(Err(_)) => return false,
            Err(_elapsed) => return !closing,
        }
    }
    false
}

struct Reader<E, A: Authenticate> {
    transport: Transport<E, A>,
    peer: Peer,
    authorization: Option<String>,
    /// Where operations belong in a trace that do not say so themselves.
    trace_parent: Option<TraceParent>,
    request_id: RequestId,
    write_timeout: Duration,
    queue: mpsc::Sender<Outgoing>,
    operations: Operations,
    tasks: JoinSet<()>,
    /// What the connection was opened with, to ask again.
    token: Option<String>,
    /// Set once the connection is acknowledged.
    admission: Option<Admission<A::Session>>,
}

impl<E: Executor, A: Authenticate> Reader<E, A> {
    async fn serve(mut self, mut stream: SplitStream<WebSocket>, has_protocol: bool) {
        let closing = if has_protocol {
            self.take(&mut stream).await
        } else {
            Err(Close::new(4406, "Subprotocol not acceptable"))
        };
        // Nothing that still waits is sent: the session may just have ended.
        for running in lock(&self.operations).values() {
            running.live.store(false, Ordering::Release);
        }
        self.tasks.abort_all();
        if let Err(close) = closing {
            let last = self.queue.send_timeout(Outgoing::Close(close), self.write_timeout).await;
            if last.is_err() {
                return;
            }
        }
        // Reading on sends the answer to the peer's close, or waits for it to answer ours.
        let drained = async { while let Some(Ok(_)) = stream.next().await {} };
        let _ = timeout(CLOSE_TIMEOUT, drained).await;
    }

    /// Takes messages until the peer is gone (`Ok`) or must be closed (`Err`).
    async fn take(&mut self, stream: &mut SplitStream<WebSocket>) -> Result<(), Close> {
        let settings = self.transport.settings.socket.clone();
        let init_by = Instant::now() + settings.init_timeout;
        let mut end = None;
        let mut n_unanswered = 0;
        let mut ticks = tokio::time::interval(settings.ping_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            tokio::select! {
                // The ends come first, so that no flood of messages puts them off.
                biased;
                () = until(end) => return Err(Close::session_end()),
                () = tokio::time::sleep_until(init_by), if self.admission.is_none() => {
                    return Err(Close::init_timeout());
                }
                message = stream.next() => {
                    n_unanswered = 0;
                    match message {
                        Some(Ok(Message::Text(text))) => tokio::select! {
                            taken = self.message(&text, init_by) => taken?,
                            () = until(end) => return Err(Close::session_end()),
                        },
                        Some(Ok(Message::Binary(_))) => {
                            return Err(Close::invalid("Invalid message: binary"));
                        }
                        // The library answers pings of the WebSocket itself.
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(_))) | None => return Ok(()),
                        Some(Err(error)) => return Err(unreadable(error)),
                    }
                    if end.is_none() {
                        end = self.admission.as_ref().and_then(end_of);
                    }
                }
                _ = ticks.tick(), if self.admission.is_some() => {
                    if n_unanswered >= SILENT_PINGS {
                        return Err(Close::new(4408, "The peer is silent"));
                    }
                    n_unanswered += 1;
                    // A full queue says that the peer has enough to read already.
                    let ping = json!({ "type": "ping" }).to_string();
                    let _ = self.queue.try_send(Outgoing::Probe);
                    let _ = self.queue.try_send(Outgoing::Text(ping, None));
                }
            }
        }
    }

    async fn message(&mut self, text: &str, init_by: Instant) -> Result<(), Close> {
        let message = match parse_json(text, "the message") {
            Ok(Json::Object(message)) => message,
            Ok(_) => return Err(Close::invalid("Invalid message: not an object")),
            Err(refusal) => return Err(Close::invalid(format!("Invalid message: {refusal}"))),
        };
        let Some(Json::String(kind)) = message.get("type") else {
            return Err(Close::invalid("Invalid message: type must be text"));
        };
        match kind.as_str() {
            "connection_init" => self.init(&message, init_by).await,
            "ping" => {
                let mut pong = json!({ "type": "pong" });
                if let Some(payload) = payload_object(&message)? {
                    pong["payload"] = Json::Object(payload.clone());
                }
                self.send_json(pong).await
            }
            "pong" => payload_object(&message).map(|_| ()),
            "subscribe" => self.subscribe(message).await,
            "complete" => {
                let id = operation_id(&message)?;
                if let Some(running) = lock(&self.operations).remove(id) {
                    running.live.store(false, Ordering::Release);
                    if let Some(task) = running.task {
                        task.abort();
                    }
                }
                Ok(())
            }
            _ => Err(Close::invalid("Invalid message: unknown type")),
        }
    }

    async fn init(&mut self, message: &Map<String, Json>, init_by: Instant) -> Result<(), Close> {
        if self.admission.is_some() {
            return Err(Close::new(4429, "Too many initialisation requests"));
        }
        let payload = payload_object(message)?;
        let given = payload.and_then(|payload| {
            let name = payload.keys().find(|name| name.eq_ignore_ascii_case("authorization"))?;
            payload.get(name)
        });
        let authorization = match given {
            None | Some(Json::Null) => self.authorization.as_deref(),
            Some(Json::String(text)) => Some(text.as_str()),
            Some(_) => return Err(Close::invalid("Invalid message: authorization must be text")),
        };
        self.trace_parent = TraceParent::from_member(payload).or(self.trace_parent.take());
        let token = bearer(authorization).map_err(|_| Close::new(4403, "Forbidden"))?;
        self.token = token.map(str::to_owned);
        let deciding = self.transport.auth.authenticate(token);
        match tokio::time::timeout_at(init_by, deciding).await {
            Ok(Ok(admission)) => {
                let charged =
                    self.transport.auth.charge(&admission.session, self.peer, Charge::Socket);
                charged.await.map_err(|refusal| Close::limited(&refusal))?;
                self.admission = Some(admission);
                self.send_json(json!({ "type": "connection_ack" })).await
            }
            Ok(Err(AuthError::Refused { .. })) => {
                let charged = self.transport.auth.charge_refused(self.peer).await;
                charged.map_err(|refusal| Close::limited(&refusal))?;
                Err(Close::new(4403, "Forbidden"))
            }
            Ok(Err(unavailable @ AuthError::Unavailable(_))) => {
                let refusal = unavailable.refusal(&self.request_id);
                Err(Close::new(1013, refusal.message))
            }
            Err(_elapsed) => Err(Close::init_timeout()),
        }
    }

    async fn subscribe(&mut self, mut message: Map<String, Json>) -> Result<(), Close> {
        if self.admission.is_none() {
            return Err(Close::new(4401, "Unauthorized"));
        }
        // Asked again for each operation: a right that was taken away meanwhile is gone.
        let admission = match self.transport.auth.authenticate(self.token.as_deref()).await {
            Ok(admission) => admission,
            Err(AuthError::Refused { .. }) => return Err(Close::new(4403, "Forbidden")),
            Err(unavailable @ AuthError::Unavailable(_)) => {
                return Err(Close::new(1013, unavailable.refusal(&self.request_id).message));
            }
        };
        let id = operation_id(&message)?.to_owned();
        let Some(Json::Object(payload)) = message.remove("payload") else {
            return Err(Close::invalid("Invalid message: payload must be an object"));
        };
        let is_running = lock(&self.operations).contains_key(&id);
        if is_running {
            return Err(Close::new(4409, format!("Subscriber for {id} already exists")));
        }

        let request_id = RequestId::fresh();
        let n_running = lock(&self.operations).len();
        let params = if n_running >= self.transport.settings.socket.operations {
            Err(Refusal::new(
                &codes::TOO_MANY_OPERATIONS,
                format!("the socket already runs {n_running} operations"),
            ))
        } else {
            Params::from_members(payload)
        };
        let params = match params {
            Ok(params) => {
                let trace_parent = params.trace_parent.or_else(|| self.trace_parent.clone());
                Params { trace_parent, ..params }
            }
            // What is no request at all is a broken client; the rest is an operation that fails.
            Err(refusal) if refusal.code == &codes::MALFORMED_REQUEST => {
                return Err(Close::invalid(format!("Invalid message: {refusal}")));
            }
            Err(refusal) => {
                let answer = Answer::refused(&refusal, &request_id);
                return self.send(Outgoing::Text(error_message(&id, &answer), None)).await;
            }
        };

        while self.tasks.try_join_next().is_some() {}
        let live = Arc::new(AtomicBool::new(true));
        let running = Running { live: Arc::clone(&live), task: None };
        lock(&self.operations).insert(id.clone(), running);
        let span = super::request_span(&request_id);
        let operation = Operation {
            transport: self.transport.clone(),
            id: id.clone(),
            peer: self.peer,
            request_id,
            queue: self.queue.clone(),
            operations: Arc::clone(&self.operations),
            live,
        };
        let task = self.tasks.spawn(operation.run(params, admission).instrument(span));
        // Already gone if it was that quick.
        if let Some(running) = lock(&self.operations).get_mut(&id) {
            running.task = Some(task);
        }
        Ok(())
    }

    async fn send_json(&self, message: Json) -> Result<(), Close> {
        self.send(Outgoing::Text(message.to_string(), None)).await
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), Close> {
        self.queue.send(outgoing).await.map_err(|_| Close::new(1011, "The socket is gone"))
    }
}

/// One operation of a socket.
struct Operation<E, A> {
    transport: Transport<E, A>,
    id: String,
    peer: Peer,
    request_id: RequestId,
    queue: mpsc::Sender<Outgoing>,
    operations: Operations,
    live: Arc<AtomicBool>,
}

impl<E: Executor, A: Authenticate> Operation<E, A> {
    async fn run(self, params: Params, admission: Admission<A::Session>) {
        let prepared = match self.prepare(params, &admission).await {
            Ok(prepared) => prepared,
            Err(refusal) => {
                return self.fail(&Answer::refused(&refusal, &self.request_id)).await;
            }
        };
        match prepared.kind {
            OperationType::Subscription => {
                let mut answers = std::pin::pin!(self.transport.subscribe(prepared));
                while let Some(answer) = answers.next().await {
                    if answer.data.is_none() {
                        return self.fail(&answer).await;
                    }
                    self.next(&answer).await;
                }
            }
            OperationType::Query | OperationType::Mutation => {
                let answer = self.transport.run(prepared).await;
                if answer.data.is_none() {
                    return self.fail(&answer).await;
                }
                self.next(&answer).await;
            }
        }
        self.end(json!({ "id": self.id, "type": "complete" }).to_string()).await;
    }

    async fn prepare(
        &self,
        params: Params,
        admission: &Admission<A::Session>,
    ) -> Result<Prepared, Refusal> {
        let session = &admission.session;
        self.transport.auth.charge(session, self.peer, Charge::Request).await?;
        self.transport.prepare(params, admission, self.peer, &self.request_id).await
    }

    async fn next(&self, answer: &Answer) {
        let id = Json::String(self.id.clone());
        let text = format!(r#"{{"id":{id},"type":"next","payload":{}}}"#, answer.to_json());
        self.send(text).await;
    }

    async fn fail(&self, answer: &Answer) {
        self.end(error_message(&self.id, answer)).await;
    }

    /// The id is free before the client hears of the end, since it may use it again at once.
    async fn end(&self, text: String) {
        {
            let mut operations = lock(&self.operations);
            // The client may have completed this one and started another under the same id.
            let is_this = |running: &Running| Arc::ptr_eq(&running.live, &self.live);
            if operations.get(&self.id).is_some_and(is_this) {
                operations.remove(&self.id);
            }
        }
        self.send(text).await;
    }

    async fn send(&self, text: String) {
        // The queue ends with the socket, and this task with it.
        let _ = self.queue.send(Outgoing::Text(text, Some(Arc::clone(&self.live)))).await;
    }
}

fn error_message(id: &str, answer: &Answer) -> String {
    json!({ "id": id, "type": "error", "payload": answer.errors }).to_string()
}

fn operation_id(message: &Map<String, Json>) -> Result<&str, Close> {
    match message.get("id") {
        Some(Json::String(id)) if !id.is_empty() && id.len() <= MAX_ID_BYTES => Ok(id),
        _ => Err(Close::invalid("Invalid message: id must be a text of 1 to 128 bytes")),
    }
}

fn payload_object(message: &Map<String, Json>) -> Result<Option<&Map<String, Json>>, Close> {
    match message.get("payload") {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Object(payload)) => Ok(Some(payload)),
        Some(_) => Err(Close::invalid("Invalid message: payload must be an object")),
    }
}

fn lock(operations: &Operations) -> std::sync::MutexGuard<'_, HashMap<String, Running>> {
    // The map is whole after every single step, so a panic elsewhere leaves nothing half done.
    operations.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frames that break the WebSocket protocol itself, or the size limit.
fn unreadable(error: axum::Error) -> Close {
    let text = error.to_string();
    if text.contains("too long") || text.contains("too big") {
        Close::new(1009, "The message is too large")
    } else if text.to_ascii_lowercase().contains("utf-8") {
        Close::new(1007, "The text is not UTF-8")
    } else {
        Close::new(1002, "The frame cannot be read")
    }
}
