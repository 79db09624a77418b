//! A WebSocket client of the protocol `graphql-transport-ws` that can be cut like a network can.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::client::{Client, Refused, read};
use crate::world::DEADLINE;

/// One connection with one subscription.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What came.
#[derive(Debug)]
pub enum Item {
    /// Data.
    Next(Value),
    /// The server has no more, or says no.
    End(Option<Refused>),
    /// The connection is gone.
    Gone,
}

impl Socket {
    /// Connects and subscribes; `None` when nobody answers.
    pub async fn subscribe(client: &Client, document: &str, variables: Value) -> Option<Self> {
        let payload = json!({ "authorization": format!("Bearer {}", client.token()) });
        Self::open(client, payload, document, variables).await
    }

    /// The same without a token.
    pub async fn subscribe_as_nobody(
        client: &Client,
        document: &str,
        variables: Value,
    ) -> Option<Self> {
        Self::open(client, json!({}), document, variables).await
    }

    async fn open(
        client: &Client,
        payload: Value,
        document: &str,
        variables: Value,
    ) -> Option<Self> {
        let address = client.base().replacen("http", "ws", 1);
        let mut request = format!("{address}/graphql").into_client_request().expect("an address");
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let connected = tokio::time::timeout(DEADLINE, connect_async(request)).await;
        let (socket, _) = connected.expect("in time").ok()?;
        let mut socket = Self(socket);
        socket.say(json!({ "type": "connection_init", "payload": payload })).await?;
        while socket.hear().await?["type"] != "connection_ack" {}
        let payload = json!({ "query": document, "variables": variables });
        socket.say(json!({ "id": "1", "type": "subscribe", "payload": payload })).await?;
        Some(socket)
    }

    async fn say(&mut self, message: Value) -> Option<()> {
        self.0.send(Message::text(message.to_string())).await.ok()
    }

    /// The next message of the protocol; `None` once the connection is gone.
    async fn hear(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => {
                    return Some(serde_json::from_str(&text).expect("JSON"));
                }
                Ok(Message::Close(_)) => return None,
                Err(
                    Error::ConnectionClosed
                    | Error::Io(_)
                    | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
                ) => return None,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next item.
    pub async fn next(&mut self) -> Item {
        loop {
            let Some(message) = self.hear().await else { return Item::Gone };
            match message["type"].as_str() {
                Some("next") => match read(200, &message["payload"]) {
                    Ok(data) => {
                        let field = data.as_object().and_then(|data| data.values().next());
                        return Item::Next(field.expect("a field").clone());
                    }
                    Err(refused) => return Item::End(Some(refused)),
                },
                Some("error") => {
                    let refused = read(200, &json!({ "errors": message["payload"] }));
                    return Item::End(refused.err());
                }
                Some("complete") => return Item::End(None),
                Some("ping") => {
                    self.say(json!({ "type": "pong" })).await;
                }
                _ => {}
            }
        }
    }

    /// The next item, `None` if there is none for so long.
    pub async fn next_within(&mut self, time: Duration) -> Option<Item> {
        tokio::time::timeout(time, self.next()).await.ok()
    }

    /// Drops the connection without a word.
    pub fn cut(self) {
        if let MaybeTlsStream::Plain(stream) = self.0.into_inner() {
            // The peer is told nothing but a reset.
            let _ = stream.set_zero_linger();
        }
    }
}
