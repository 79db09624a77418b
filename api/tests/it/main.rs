//! The transports over a real server, with a small schema of their own.

mod browsers;
mod documents;
mod limits;
mod transport_http;
mod transport_sse;
mod transport_ws;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::transport::{
    Admission, AuthError, Authenticate, RequestId, Settings, TraceParent, router,
};
use async_graphql::{
    Context, Enum, Error, ErrorExtensions, Object, Schema, SimpleObject, Subscription,
};
use axum::Router;
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::broadcast, task::JoinSet};
use tokio_stream::wrappers::BroadcastStream;

/// What the schema shares with the test.
#[derive(Clone)]
pub struct World {
    pub counter: Arc<AtomicI32>,
    /// Subscriptions to `events` that are open.
    pub n_open: Arc<AtomicUsize>,
    pub events: broadcast::Sender<i32>,
}

/// Who asks: a name, or nobody.
#[derive(Clone)]
pub struct Session(Option<&'static str>);

#[derive(Clone)]
struct Tokens;

impl Authenticate for Tokens {
    type Session = Session;

    async fn authenticate(&self, bearer: Option<&str>) -> Result<Admission<Session>, AuthError> {
        let admit = |name, valid_for| {
            Ok(Admission { session: Session(name), may_introspect: name.is_some(), valid_for })
        };
        match bearer {
            None => admit(None, None),
            Some("ada") => admit(Some("ada"), Some(Duration::from_secs(3600))),
            Some("brief") => admit(Some("brief"), Some(Duration::from_millis(50))),
            Some("down") => Err(AuthError::Unavailable("the session store is gone".into())),
            Some(_) => Err(AuthError::Refused {
                code: "TOKEN_EXPIRED",
                message: "the token has expired".to_owned(),
            }),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
enum Colour {
    Red,
    Green,
}

#[derive(SimpleObject)]
struct Page {
    edges: Vec<Edge>,
}

#[derive(SimpleObject)]
struct Edge {
    node: Node,
}

struct Node;

#[Object]
impl Node {
    async fn name(&self) -> &str {
        "a node"
    }

    async fn child(&self) -> Node {
        Node
    }

    async fn children(&self, first: Option<i32>) -> Page {
        page(first)
    }
}

fn page(first: Option<i32>) -> Page {
    Page { edges: (0..first.unwrap_or(20)).map(|_| Edge { node: Node }).collect() }
}

/// Something that can never be shown whole.
struct Half;

#[Object]
impl Half {
    async fn whole(&self) -> async_graphql::Result<i32> {
        Err(Error::new("not whole").extend_with(|_, e| e.set("code", "FORBIDDEN")))
    }
}

struct Query;

#[Object]
impl Query {
    async fn hello(&self, name: Option<String>) -> String {
        format!("hello {}", name.as_deref().unwrap_or("world"))
    }

    async fn who(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<&'static str>> {
        Ok(ctx.data::<Session>()?.0)
    }

    async fn request_id(&self, ctx: &Context<'_>) -> async_graphql::Result<String> {
        Ok(ctx.data::<RequestId>()?.to_string())
    }

    async fn trace(&self, ctx: &Context<'_>) -> Option<String> {
        ctx.data_opt::<TraceParent>().map(ToString::to_string)
    }

    async fn paint(&self, colour: Colour) -> Colour {
        colour
    }

    async fn double(&self, n: i32) -> i32 {
        n.saturating_mul(2)
    }

    async fn node(&self) -> Node {
        Node
    }

    async fn nodes(&self, first: Option<i32>) -> Page {
        page(first)
    }

    async fn leaky(&self) -> async_graphql::Result<Option<i32>> {
        Err(Error::new("connection to db.internal:5432 refused"))
    }

    /// What was said long ago, and does not change any more; or fails to be found.
    async fn past(&self, ctx: &Context<'_>, found: Option<bool>) -> async_graphql::Result<&str> {
        ctx.insert_http_header("cache-control", "private, no-cache");
        match found {
            Some(false) => {
                Err(Error::new("nothing").extend_with(|_, e| e.set("code", "NOT_FOUND")))
            }
            _ => Ok("said"),
        }
    }

    async fn refused(&self) -> async_graphql::Result<Option<i32>> {
        Err(Error::new("not yours").extend_with(|_, e| e.set("code", "FORBIDDEN")))
    }

    async fn required(&self) -> async_graphql::Result<i32> {
        Err(Error::new("not yours").extend_with(|_, e| e.set("code", "FORBIDDEN")))
    }

    async fn panics(&self) -> i32 {
        std::hint::black_box(None).expect("a mistake in a resolver")
    }

    async fn never(&self) -> i32 {
        std::future::pending().await
    }
}

struct Mutation;

#[Object]
impl Mutation {
    async fn bump(&self, ctx: &Context<'_>, by: i32) -> async_graphql::Result<i32> {
        Ok(ctx.data::<World>()?.counter.fetch_add(by, Ordering::SeqCst) + by)
    }
}

struct Subscriptions;

#[Subscription]
impl Subscriptions {
    async fn count(&self, to: i32) -> impl Stream<Item = i32> {
        stream::iter(1..=to)
    }

    async fn events(&self, ctx: &Context<'_>) -> async_graphql::Result<impl Stream<Item = i32>> {
        let world = ctx.data::<World>()?.clone();
        let events = BroadcastStream::new(world.events.subscribe());
        let open = Open::new(world.n_open);
        Ok(events.filter_map(move |event| {
            let _open = &open;
            std::future::ready(event.ok())
        }))
    }

    async fn closed_to_you(&self) -> async_graphql::Result<impl Stream<Item = i32>> {
        Err::<stream::Empty<i32>, _>(
            Error::new("not yours").extend_with(|_, e| e.set("code", "FORBIDDEN")),
        )
    }

    async fn breaking(&self) -> impl Stream<Item = async_graphql::Result<i32>> {
        let gone = Error::new("gone").extend_with(|_, e| e.set("code", "FORBIDDEN"));
        stream::iter([Ok(1), Err(gone)])
    }

    async fn halting(&self) -> impl Stream<Item = Half> {
        stream::iter([Half, Half])
    }

    async fn panics(&self) -> impl Stream<Item = i32> {
        stream::iter(1..=2).map(|n| if n == 1 { n } else { panic!("a mistake in a stream") })
    }

    async fn flood(&self) -> impl Stream<Item = String> {
        stream::repeat_with(|| "x".repeat(10_000))
    }
}

/// Counts while it lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server on a free port, gone with this value.
pub struct Server {
    pub world: World,
    pub host: String,
    client: reqwest::Client,
    _task: JoinSet<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let (events, _) = broadcast::channel(64);
        let world = World { counter: Arc::default(), n_open: Arc::default(), events };
        let schema = Schema::build(Query, Mutation, Subscriptions)
            .data(world.clone())
            .disable_suggestions()
            .finish();
        let app: Router =
            router("/graphql", schema, Tokens, settings).merge(api::explorer::router());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let host = listener.local_addr().expect("an address").to_string();
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, app).await.expect("the server runs") });
        Self { world, host, client: reqwest::Client::new(), _task: task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    /// A POST of JSON, with the accept header of modern clients.
    pub fn post(&self) -> reqwest::RequestBuilder {
        self.client
            .post(self.url("/graphql"))
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json")
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path))
    }

    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The status and the answer to one document, asked anonymously.
    pub async fn ask(&self, query: &str) -> (u16, Value) {
        send(self.post().body(json!({ "query": query }).to_string())).await
    }

    /// The same, signed in.
    pub async fn ask_as_ada(&self, query: &str) -> (u16, Value) {
        let request = self.post().bearer_auth("ada");
        send(request.body(json!({ "query": query }).to_string())).await
    }
}

pub async fn send(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-request-id"));
    assert_eq!(response.headers()["cache-control"], "no-store");
    let answer: Value = response.json().await.expect("JSON");
    for error in answer["errors"].as_array().into_iter().flatten() {
        assert!(error["extensions"]["code"].is_string(), "no code: {error}");
        assert!(error["extensions"]["kind"].is_string(), "no kind: {error}");
        assert!(error["extensions"]["requestId"].is_string(), "no request id: {error}");
        assert!(error["extensions"]["timestamp"].is_string(), "no timestamp: {error}");
    }
    (status, answer)
}

/// The code of the first error.
pub fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("no error")
}

/// Waits until a condition holds, and fails the test after half a minute.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect(what);
}

/// A traceparent of the recommendation's own examples.
pub const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
