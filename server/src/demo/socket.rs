//! Live events over WebSocket, `graphql-transport-ws`, as a client uses them: it may be cut at any
//! moment and goes on after the last cursor that it received.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::client::{Refused, Session, list};

/// Pause before a connection that broke is made again.
const PAUSE: Duration = Duration::from_millis(100);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A subscription that outlives its connections.
pub struct Subscription {
    session: Session,
    document: String,
    variables: Value,
    after: Option<String>,
    socket: Option<Socket>,
    /// How often it went on after a cursor.
    pub n_resumed: u32,
}

/// What a subscription brought.
#[derive(Debug)]
pub enum Item {
    /// The next item.
    Next(Value),
    /// The server has no more.
    End,
    /// The server refuses it.
    Refused(Refused),
}

/// Why a connection is of no use any more.
enum Broken {
    /// Another one may work.
    Connection(anyhow::Error),
    /// The server says no.
    Refused(Refused),
}

impl<E: Into<anyhow::Error>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Connection(error.into())
    }
}

impl Subscription {
    /// A subscription to the only field of `document`, whose items have a `cursor` and whose
    /// variable `$after` takes it. Nothing is sent before the first [`Subscription::next`].
    #[must_use]
    pub fn new(session: &Session, document: &str, variables: Value) -> Self {
        Self {
            session: session.clone(),
            document: document.to_owned(),
            variables,
            after: None,
            socket: None,
            n_resumed: 0,
        }
    }

    /// The same from after this cursor on.
    #[must_use]
    pub fn after(mut self, cursor: &str) -> Self {
        self.after = Some(cursor.to_owned());
        self
    }

    /// Drops the connection as a network does: without a word.
    pub fn cut(&mut self) {
        self.socket = None;
    }

    /// Makes the connection now, so that what happens next arrives live.
    ///
    /// # Errors
    /// When none can be made within the patience.
    pub async fn open(&mut self, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        while self.socket.is_none() {
            match self.connect().await {
                Ok(socket) => self.socket = Some(socket),
                Err(Broken::Refused(refused)) => bail!("the socket was refused: {refused}"),
                Err(Broken::Connection(error)) => {
                    let error = error.context("no socket could be opened");
                    ensure!(Instant::now() < deadline, "{error:#}");
                    sleep(PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// The next item, over as many connections as it takes; `None` if none came by the deadline.
    ///
    /// # Errors
    /// When an item has no cursor.
    pub async fn next(&mut self, deadline: Instant) -> anyhow::Result<Option<Item>> {
        loop {
            let mut socket = match self.socket.take() {
                Some(socket) => socket,
                None => match timeout_at(deadline, self.connect()).await {
                    Ok(Ok(socket)) => socket,
                    Ok(Err(Broken::Refused(refused))) => return Ok(Some(Item::Refused(refused))),
                    Ok(Err(Broken::Connection(_))) if Instant::now() < deadline => {
                        sleep(PAUSE).await;
                        continue;
                    }
                    Ok(Err(Broken::Connection(_))) | Err(_) => return Ok(None),
                },
            };
            match timeout_at(deadline, receive(&mut socket)).await {
                Err(_) => {
                    self.socket = Some(socket);
                    return Ok(None);
                }
                // The connection is gone; the next one goes on where this one stopped.
                Ok(Err(Broken::Connection(_))) => sleep(PAUSE).await,
                Ok(Err(Broken::Refused(refused))) => return Ok(Some(Item::Refused(refused))),
                Ok(Ok(None)) => return Ok(Some(Item::End)),
                Ok(Ok(Some(item))) => {
                    self.socket = Some(socket);
                    let cursor = item.get("cursor").and_then(Value::as_str);
                    self.after = Some(cursor.context("a live event has no cursor")?.to_owned());
                    return Ok(Some(Item::Next(item)));
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<Socket, Broken> {
        let base = self.session.api().base();
        let Some(address) = base.strip_prefix("http://") else {
            let message = "live events need an address that begins with http://".to_owned();
            return Err(Broken::Refused(Refused {
                code: String::new(),
                message,
                in_payload: false,
            }));
        };
        let mut request = format!("ws://{address}/graphql").into_client_request()?;
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (mut socket, _) = connect_async(request).await?;

        let authorization = self.session.token().map(|token| format!("Bearer {token}"));
        let payload = json!({ "authorization": authorization });
        send(&mut socket, json!({ "type": "connection_init", "payload": payload })).await?;
        let acknowledged = message(&mut socket).await?;
        if acknowledged.get("type") != Some(&json!("connection_ack")) {
            return Err(anyhow::anyhow!("the socket was not acknowledged").into());
        }
        let mut variables = self.variables.clone();
        if let Some(after) = &self.after {
            self.n_resumed += 1;
            variables["after"] = json!(after);
        }
        let payload = json!({ "query": self.document, "variables": variables });
        send(&mut socket, json!({ "id": "1", "type": "subscribe", "payload": payload })).await?;
        Ok(socket)
    }
}

async fn send(socket: &mut Socket, message: Value) -> Result<(), Broken> {
    Ok(socket.send(Message::text(message.to_string())).await?)
}

/// The next message of the protocol, pings answered.
async fn message(socket: &mut Socket) -> Result<Value, Broken> {
    loop {
        let Some(frame) = socket.next().await else {
            return Err(anyhow::anyhow!("the socket ended").into());
        };
        match frame? {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text)?;
                if message.get("type") == Some(&json!("ping")) {
                    send(socket, json!({ "type": "pong" })).await?;
                } else if message.get("type") != Some(&json!("pong")) {
                    return Ok(message);
                }
            }
            Message::Close(frame) => {
                let frame = frame.map_or_else(String::new, |frame| frame.to_string());
                return Err(anyhow::anyhow!("the server closed the socket: {frame}").into());
            }
            // tungstenite answers pings of the protocol below while it reads.
            Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
        }
    }
}

/// The next item, `None` at the end.
async fn receive(socket: &mut Socket) -> Result<Option<Value>, Broken> {
    let message = message(socket).await?;
    let refused = |errors: &[Value]| {
        let text = |pointer| {
            let found = errors.first().and_then(|error| error.pointer(pointer));
            found.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (code, message) = (text("/extensions/code"), text("/message"));
        // A server that restarts or is overloaded says so; the subscription goes on elsewhere.
        if matches!(code.as_str(), "UNAVAILABLE" | "SERVICE_UNAVAILABLE") {
            return Broken::Connection(anyhow::anyhow!(message));
        }
        Broken::Refused(Refused { code, message, in_payload: false })
    };
    match message.get("type").and_then(Value::as_str) {
        Some("next") => {
            let errors = list(&message, "/payload/errors");
            if !errors.is_empty() {
                return Err(refused(errors));
            }
            let data = message.pointer("/payload/data").and_then(Value::as_object);
            let item = data.and_then(|data| data.values().next());
            Ok(Some(item.context("a live event has no data")?.clone()))
        }
        Some("error") => Err(refused(list(&message, "/payload"))),
        Some("complete") => Ok(None),
        _ => Err(anyhow::anyhow!("the server sent an unknown message").into()),
    }
}
