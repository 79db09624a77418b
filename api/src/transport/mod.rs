//! How GraphQL requests come in and answers go out: HTTP, WebSocket and Server-Sent Events.
//!
//! The three transports share one way through: a strict parse of the request ([`request`]), the
//! price of the document ([`crate::limits`]), the engine, and answers whose every error has a public
//! code and the request id ([`answer`]). They know no schema and no kind of user: the engine is any
//! [`Executor`], and who is asking is decided by an [`Authenticate`].

pub mod answer;
mod charge;
pub mod codes;
pub mod documents;
mod http;
mod json;
pub(crate) mod purpose;
pub mod request;
mod sse;
mod ws;

pub use self::charge::{Charge, Quota};
pub(crate) use self::http::{is_upgrade, refused};

use std::{fmt, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_graphql::{
    Executor, Request, Value, Variables,
    parser::types::{OperationDefinition, OperationType},
};
use axum::{
    Router,
    http::{HeaderMap, HeaderValue, header},
    routing::any,
};
use futures::{FutureExt, Stream, StreamExt, stream::BoxStream};
use tokio::time::Instant;
use uuid::Uuid;

use self::{
    answer::Answer,
    codes::Refusal,
    documents::{Documents, Found, Trusted},
    request::Params,
};
use crate::limits::{Limits, choose};
use crate::peer::{Peer, Proxies};

/// Decides who is asking.
pub trait Authenticate: Clone + Send + Sync + 'static {
    /// What resolvers find in their context about the caller.
    type Session: Clone + Send + Sync + 'static;

    /// Turns a bearer token, or its absence, into a session.
    ///
    /// # Errors
    ///
    /// [`AuthError::Refused`] for a token that admits nobody; an absent token is a matter of taste.
    /// [`AuthError::Unavailable`] if it cannot be decided now.
    fn authenticate(
        &self,
        bearer: Option<&str>,
    ) -> impl Future<Output = Result<Admission<Self::Session>, AuthError>> + Send;

    /// Puts what resolvers need into the request: by default the session and the [`RequestId`].
    /// Loaders and deadlines of one request belong here.
    fn scope(&self, session: &Self::Session, request_id: &RequestId, request: Request) -> Request {
        request.data(session.clone()).data(request_id.clone())
    }

    /// Takes what something costs from what the caller may ask, before anything is executed, and
    /// answers how that stands. By default nothing is limited.
    ///
    /// # Errors
    ///
    /// `RATE_LIMITED`, `SERVICE_UNAVAILABLE`, with when to try again.
    fn charge(
        &self,
        _session: &Self::Session,
        _peer: Peer,
        _what: Charge<'_>,
    ) -> impl Future<Output = Result<Option<Quota>, Refusal>> + Send {
        std::future::ready(Ok(None))
    }

    /// Takes what a token costs that admitted nobody, from what strangers of the same network address
    /// may ask. By default nothing is limited.
    ///
    /// # Errors
    ///
    /// See [`Authenticate::charge`].
    fn charge_refused(&self, _peer: Peer) -> impl Future<Output = Result<(), Refusal>> + Send {
        std::future::ready(Ok(()))
    }
}

/// A session, and what the transports must know about it.
#[derive(Clone, Debug)]
pub struct Admission<S> {
    /// What resolvers find in their context.
    pub session: S,
    /// Whether the caller may read the schema.
    pub may_introspect: bool,
    /// How long from now the session holds. Sockets and streams end with it; `None` is for ever.
    pub valid_for: Option<Duration>,
}

/// Why nobody was admitted.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The token admits nobody.
    #[error("{message}")]
    Refused {
        /// The public code, such as `TOKEN_INVALID`.
        code: &'static str,
        /// What is wrong; shown to the caller.
        message: String,
    },
    /// It cannot be decided now. The cause is logged and not shown.
    #[error("sessions cannot be checked now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AuthError {
    fn refusal(self, request_id: &RequestId) -> Refusal {
        match self {
            Self::Refused { code, message } => {
                let named = Some(code);
                Refusal { named, ..Refusal::new(&codes::TOKEN_INVALID, message) }
            }
            Self::Unavailable(cause) => {
                tracing::error!(request.id = %request_id, %cause, "session check failed");
                Refusal::new(&codes::SERVICE_UNAVAILABLE, "sessions cannot be checked now")
            }
        }
    }
}

/// Names one request in answers, headers and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The header that carries it both ways.
    pub const HEADER: &'static str = "x-request-id";
    const MAX_BYTES: usize = 64;

    /// The caller's own id if it is a plain token of at most 64 bytes, otherwise a fresh one.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let inbound = headers.get(Self::HEADER).and_then(|value| value.to_str().ok());
        match inbound {
            Some(id) if Self::is_plain(id) => Self(id.into()),
            _ => Self::fresh(),
        }
    }

    /// A new id: a random UUID.
    pub fn fresh() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_plain(id: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !id.is_empty() && id.len() <= Self::MAX_BYTES && id.bytes().all(plain)
    }

    fn header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static("invalid"))
    }
}

/// Where a request belongs in a trace: a `traceparent` as W3C Trace Context writes it
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(Arc<str>);

impl TraceParent {
    /// The header and member that carry it.
    pub const NAME: &'static str = "traceparent";

    /// That of a request's headers; `None` without one, or if it is malformed, which the
    /// recommendation wants ignored.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(Self::NAME).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        Self::parse(value.to_str().ok()?)
    }

    /// That of a member of an object, such as a request's `extensions`.
    fn from_member(of: Option<&serde_json::Map<String, serde_json::Value>>) -> Option<Self> {
        Self::parse(of?.get(Self::NAME)?.as_str()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let is_hex = |part: &str, n_digits: usize| {
            let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            part.len() == n_digits && part.bytes().all(digit)
        };
        let is_id = |part: &str, n: usize| is_hex(part, n) && part.bytes().any(|byte| byte != b'0');
        let mut parts = text.split('-');
        let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
        let flags = parts.next()?;
        let known = is_hex(version, 2) && version != "ff";
        let whole = is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2);
        // Later versions may add parts, of which nothing is known and nothing is kept. What goes on
        // is of the version known here.
        if !(known && whole) || (version == "00" && parts.next().is_some()) {
            return None;
        }
        Some(Self(format!("00-{trace}-{parent}-{flags}").into()))
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the transports allow.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest HTTP body and the largest socket message, in bytes.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a query or a mutation may run.
    pub execution_timeout: Duration,
    /// How often an idle event stream sends a comment.
    pub stream_keep_alive: Duration,
    /// What a document may cost.
    pub limits: Limits,
    /// What a socket may do.
    pub socket: SocketSettings,
    /// The only documents that are carried out, where it is not any.
    pub trusted: Option<Trusted>,
    /// Proxies that are believed where they say who asked them.
    pub proxies: Proxies,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            body_timeout: Duration::from_secs(15),
            execution_timeout: Duration::from_secs(30),
            stream_keep_alive: Duration::from_secs(15),
            limits: Limits::default(),
            socket: SocketSettings::default(),
            trusted: None,
            proxies: Proxies::default(),
        }
    }
}

/// What a WebSocket may do.
#[derive(Clone, Debug)]
pub struct SocketSettings {
    /// How long the client may take to send `connection_init`.
    pub init_timeout: Duration,
    /// How often the server pings. A peer silent for four pings is gone.
    pub ping_every: Duration,
    /// How long one message may take to leave. A peer that takes nothing longer is gone.
    pub write_timeout: Duration,
    /// Messages that may wait to leave; operations wait when it is full.
    pub queue_messages: usize,
    /// Operations that may run at once.
    pub operations: usize,
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self {
            init_timeout: Duration::from_secs(10),
            ping_every: Duration::from_secs(15),
            write_timeout: Duration::from_secs(30),
            queue_messages: 64,
            operations: 100,
        }
    }
}

/// The engine, who is asking, and what is allowed: everything a transport needs.
#[derive(Clone)]
pub struct Transport<E, A> {
    executor: E,
    auth: A,
    settings: Arc<Settings>,
    documents: Documents,
}

/// Serves `executor` at `path` over all transports: POST and GET, `graphql-transport-ws` for
/// WebSocket upgrades, and event streams for those who accept `text/event-stream`.
pub fn router<E, A>(path: &str, executor: E, auth: A, settings: Settings) -> Router
where
    E: Executor,
    A: Authenticate,
{
    let documents = Documents::new(settings.trusted.clone());
    let transport = Transport { executor, auth, settings: Arc::new(settings), documents };
    Router::new().route(path, any(http::handle::<E, A>)).with_state(transport)
}

/// A request that passed every check before the engine's own.
struct Prepared {
    request: Request,
    kind: OperationType,
    cost: u64,
    request_id: RequestId,
}

impl Prepared {
    /// The same request, whose resolvers find this too.
    fn with(self, data: impl std::any::Any + Send + Sync) -> Self {
        Self { request: self.request.data(data), ..self }
    }
}

impl<E: Executor, A: Authenticate> Transport<E, A> {
    async fn admit(
        &self,
        bearer: Option<&str>,
        peer: Peer,
        request_id: &RequestId,
    ) -> Result<Admission<A::Session>, Refusal> {
        let deciding = self.auth.authenticate(bearer);
        match tokio::time::timeout(self.settings.execution_timeout, deciding).await {
            Ok(Ok(admission)) => Ok(admission),
            Ok(Err(error)) => {
                if matches!(error, AuthError::Refused { .. }) {
                    self.auth.charge_refused(peer).await?;
                }
                Err(error.refusal(request_id))
            }
            Err(elapsed) => Err(AuthError::Unavailable(elapsed.into()).refusal(request_id)),
        }
    }

    /// The same, unless a mutation is asked for. What cannot be read is left to [`Self::prepare`].
    fn not_a_mutation(&self, params: Params) -> Result<Params, Refusal> {
        let known = self.documents.find(params.query.clone(), params.document_hash);
        let document = known.and_then(|found| self.settings.limits.parse(&found.text));
        let is_mutation = document.is_ok_and(|document| {
            let operation = choose(&document, params.operation_name.as_deref());
            operation.is_ok_and(|operation| operation.node.ty == OperationType::Mutation)
        });
        if is_mutation {
            return Err(Refusal::new(&codes::METHOD_NOT_ALLOWED, "mutations are sent with POST"));
        }
        Ok(params)
    }

    /// Parses, prices and charges the document and puts the session into the request.
    async fn prepare(
        &self,
        params: Params,
        admission: &Admission<A::Session>,
        peer: Peer,
        request_id: &RequestId,
    ) -> Result<Prepared, Refusal> {
        let limits = &self.settings.limits;
        let Params { query, document_hash, operation_name, variables, trace_parent, purpose } =
            params;
        let Found { text: query, remember } = self.documents.find(query, document_hash)?;
        let document = limits.parse(&query)?;
        if let Some(hash) = remember {
            self.documents.remember(hash, &query);
        }
        let price = limits.price(&document, operation_name.as_deref(), &variables)?;
        if price.introspects && !admission.may_introspect {
            return Err(Refusal::new(
                &codes::INTROSPECTION_FORBIDDEN,
                "the schema is shown to the signed-in only",
            ));
        }
        let operation = choose(&document, operation_name.as_deref())?;
        required_variables(&operation.node, &variables)?;
        let what = Charge::Operation {
            document: &document,
            operation: &operation.node,
            variables: &variables,
        };
        self.auth.charge(&admission.session, peer, what).await?;

        let mut request = Request::new(query).variables(variables);
        if let Some(name) = operation_name {
            request = request.operation_name(name);
        }
        if !admission.may_introspect {
            request = request.disable_introspection();
        }
        request.set_parsed_query(document);
        if let Some(trace_parent) = trace_parent {
            tracing::Span::current().record("trace.parent", tracing::field::display(&trace_parent));
            request = request.data(trace_parent);
        }
        if let Some(purpose) = purpose {
            request = request.data(purpose);
        }
        let request = self.auth.scope(&admission.session, request_id, request).data(peer);
        Ok(Prepared { request, kind: price.kind, cost: price.cost, request_id: request_id.clone() })
    }

    /// Runs a query or a mutation.
    async fn run(&self, prepared: Prepared) -> Answer {
        let Prepared { request, kind, cost, request_id } = prepared;
        let started = Instant::now();
        let running = AssertUnwindSafe(self.executor.execute(request)).catch_unwind();
        let mut answer = match tokio::time::timeout(self.settings.execution_timeout, running).await
        {
            Ok(Ok(response)) => Answer::of(response, &request_id),
            Ok(Err(_panic)) => panicked(&request_id),
            Err(_elapsed) => Answer::refused(
                &Refusal::new(&codes::TIMEOUT, "the operation did not end in time"),
                &request_id,
            ),
        };
        answer.cost(cost, self.settings.limits.cost);
        let outcome = if answer.errors.is_empty() { "ok" } else { "error" };
        let kind = kind_name(kind);
        metrics::counter!("api_operations_total", "kind" => kind, "outcome" => outcome)
            .increment(1);
        metrics::histogram!("api_operation_seconds", "kind" => kind).record(started.elapsed());
        answer
    }

    /// Opens a subscription. The stream ends with the subscription, and after an answer without
    /// data.
    fn subscribe(&self, prepared: Prepared) -> impl Stream<Item = Answer> + Send + use<E, A> {
        let Prepared { request, request_id, kind, .. } = prepared;
        metrics::counter!("api_operations_total", "kind" => kind_name(kind), "outcome" => "opened")
            .increment(1);
        let stream: BoxStream<'static, _> = self.executor.execute_stream(request, None);
        // A failed stream must not be polled again, hence the state that is given up.
        futures::stream::unfold(Some(stream), move |stream| {
            let request_id = request_id.clone();
            async move {
                let mut stream = stream?;
                match AssertUnwindSafe(stream.next()).catch_unwind().await {
                    Ok(response) => {
                        let mut answer = Answer::of(response?, &request_id);
                        // The source itself refused or failed: no event was executed, and none
                        // will be. What fails inside of one event does not end the rest.
                        if answer.failed_at_root() {
                            answer.data = None;
                        }
                        let stream = if answer.data.is_none() { None } else { Some(stream) };
                        Some((answer, stream))
                    }
                    Err(_panic) => Some((panicked(&request_id), None)),
                }
            }
        })
    }
}

/// What is logged on the way of one request; its place in a trace is filled in once it is known.
fn request_span(request_id: &RequestId) -> tracing::Span {
    let unknown = tracing::field::Empty;
    tracing::info_span!("api.graphql.request", request.id = %request_id, trace.parent = unknown)
}

fn panicked(request_id: &RequestId) -> Answer {
    tracing::error!(request.id = %request_id, "a resolver panicked");
    Answer::refused(&Refusal::new(&codes::INTERNAL_ERROR, "internal error"), request_id)
}

/// The engine finds a missing variable only where it is used, in the middle of execution.
fn required_variables(
    operation: &OperationDefinition,
    variables: &Variables,
) -> Result<(), Refusal> {
    for definition in &operation.variable_definitions {
        let (pos, definition) = (definition.pos, &definition.node);
        if definition.var_type.node.nullable {
            continue;
        }
        let given = variables.get(&definition.name.node);
        let missing = match given {
            Some(value) => *value == Value::Null,
            None => definition.default_value.is_none(),
        };
        if missing {
            let message = format!(
                "the variable ${} of type {} must have a value",
                definition.name.node, definition.var_type.node
            );
            return Err(Refusal::at(&codes::BAD_USER_INPUT, message, pos));
        }
    }
    Ok(())
}

fn kind_name(kind: OperationType) -> &'static str {
    match kind {
        OperationType::Query => "query",
        OperationType::Mutation => "mutation",
        OperationType::Subscription => "subscription",
    }
}

/// The bearer token of an authorization value, `None` if there is no value.
fn bearer(authorization: Option<&str>) -> Result<Option<&str>, Refusal> {
    let Some(value) = authorization else { return Ok(None) };
    let mut parts = value.trim().splitn(2, ' ');
    match (parts.next(), parts.next().map(str::trim)) {
        (Some(scheme), Some(token))
            if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() =>
        {
            Ok(Some(token))
        }
        _ => Err(Refusal::new(
            &codes::TOKEN_INVALID,
            "the authorization must have the form: Bearer, a space, the token",
        )),
    }
}

pub(crate) fn bearer_of(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let invalid =
        |message: &str| Refusal::new(&codes::TOKEN_INVALID, format!("the authorization {message}"));
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| invalid("is not plain text"))?;
            bearer(Some(text))
        }
        (Some(_), Some(_)) => Err(invalid("is given more than once")),
    }
}

/// The moment a session ends, if it ends within what a clock can say.
fn end_of<S>(admission: &Admission<S>) -> Option<Instant> {
    admission.valid_for.and_then(|valid_for| Instant::now().checked_add(valid_for))
}

/// Sleeps until then, or for ever.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
