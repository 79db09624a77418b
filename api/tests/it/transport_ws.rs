//! The graphql-transport-ws protocol.

use std::{sync::atomic::Ordering, time::Duration};

use api::transport::{Settings, SocketSettings};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Bytes, Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

use crate::{Server, TRACE, eventually};

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What a socket hears next.
#[derive(Debug, PartialEq)]
enum Heard {
    Message(Value),
    Closed(u16, String),
    Gone,
}

impl Socket {
    async fn open(server: &Server) -> Self {
        Self::open_as(server, Some("graphql-transport-ws")).await
    }

    async fn open_as(server: &Server, protocol: Option<&'static str>) -> Self {
        let url = format!("ws://{}/graphql", server.host);
        let mut request = url.into_client_request().expect("a request");
        if let Some(protocol) = protocol {
            let value = protocol.parse().expect("a header value");
            request.headers_mut().insert("sec-websocket-protocol", value);
        }
        let (socket, response) = connect_async(request).await.expect("a socket");
        assert!(response.headers().contains_key("x-request-id"));
        Self(socket)
    }

    /// Opened and acknowledged.
    async fn ready(server: &Server, token: Option<&str>) -> Self {
        let mut socket = Self::open(server).await;
        socket.init(token).await;
        assert_eq!(socket.hear().await, Heard::Message(json!({ "type": "connection_ack" })));
        socket
    }

    async fn init(&mut self, token: Option<&str>) {
        let mut init = json!({ "type": "connection_init" });
        if let Some(token) = token {
            init["payload"] = json!({ "authorization": format!("Bearer {token}") });
        }
        self.say(init).await;
    }

    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.expect("sent");
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        let payload = json!({ "query": query });
        self.say(json!({ "id": id, "type": "subscribe", "payload": payload })).await;
    }

    async fn hear(&mut self) -> Heard {
        let hearing = async {
            loop {
                return match self.0.next().await {
                    Some(Ok(Message::Text(text))) => {
                        Heard::Message(serde_json::from_str(&text).expect("JSON"))
                    }
                    Some(Ok(Message::Close(Some(frame)))) => {
                        Heard::Closed(frame.code.into(), frame.reason.to_string())
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(_) | Err(_)) | None => Heard::Gone,
                };
            }
        };
        tokio::time::timeout(Duration::from_secs(10), hearing).await.expect("something to hear")
    }

    async fn hear_json(&mut self) -> Value {
        match self.hear().await {
            Heard::Message(message) => message,
            other => panic!("not a message: {other:?}"),
        }
    }

    async fn hear_close(&mut self) -> u16 {
        match self.hear().await {
            Heard::Closed(code, _) => code,
            other => panic!("not closed: {other:?}"),
        }
    }
}

fn with_socket(socket: SocketSettings) -> Settings {
    Settings { socket, ..Settings::default() }
}

#[tokio::test]
async fn a_subscription_gives_next_messages_and_a_complete() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    socket.subscribe("a", "subscription { count(to: 2) }").await;
    for n in 1..=2 {
        let message = socket.hear_json().await;
        let payload = json!({ "data": { "count": n } });
        assert_eq!(message, json!({ "id": "a", "type": "next", "payload": payload }));
    }
    assert_eq!(socket.hear_json().await, json!({ "id": "a", "type": "complete" }));
}

#[tokio::test]
async fn queries_and_mutations_run_over_the_socket_with_its_session() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, Some("ada")).await;
    socket.subscribe("q", "{ who }").await;
    assert_eq!(socket.hear_json().await["payload"]["data"], json!({ "who": "ada" }));
    assert_eq!(socket.hear_json().await["type"], "complete");
    socket.subscribe("m", "mutation { bump(by: 5) }").await;
    assert_eq!(socket.hear_json().await["payload"]["data"], json!({ "bump": 5 }));
    assert_eq!(socket.hear_json().await["type"], "complete");
    // The id is free again.
    socket.subscribe("m", "mutation { bump(by: 5) }").await;
    assert_eq!(socket.hear_json().await["payload"]["data"], json!({ "bump": 10 }));
}

#[tokio::test]
async fn operations_run_beside_each_other_and_a_complete_ends_one() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    let n_open = || server.world.n_open.load(Ordering::SeqCst);
    socket.subscribe("a", "subscription { events }").await;
    socket.subscribe("b", "subscription { events }").await;
    eventually("both open", || n_open() == 2).await;
    server.world.events.send(1).expect("listeners");
    let mut heard = [socket.hear_json().await, socket.hear_json().await];
    heard.sort_by_key(|message| message["id"].to_string());
    assert_eq!([&heard[0]["id"], &heard[1]["id"]], ["a", "b"]);

    socket.say(json!({ "id": "a", "type": "complete" })).await;
    eventually("one ends", || n_open() == 1).await;
    server.world.events.send(2).expect("a listener");
    let message = socket.hear_json().await;
    assert_eq!((&message["id"], &message["payload"]["data"]["events"]), (&json!("b"), &json!(2)));
    // Completing what does not run is no mistake: messages cross on the way.
    socket.say(json!({ "id": "a", "type": "complete" })).await;
    socket.subscribe("a", "subscription { events }").await;
    eventually("it opens again", || n_open() == 2).await;

    drop(socket);
    eventually("all end with the socket", || n_open() == 0).await;
}

#[tokio::test]
async fn an_operation_that_cannot_run_is_an_error_message_and_frees_its_id() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    for (query, expected) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("subscription { unknown }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { count(to: \"x\") }", "BAD_USER_INPUT"),
        ("{ hello(name: \"\\u0000\") }", "INVALID_TEXT"),
        ("{ __schema { types { name } } }", "INTROSPECTION_FORBIDDEN"),
        ("{ panics }", "INTERNAL_ERROR"),
    ] {
        socket.subscribe("a", query).await;
        let message = socket.hear_json().await;
        assert_eq!((&message["id"], &message["type"]), (&json!("a"), &json!("error")), "{query}");
        let extensions = &message["payload"][0]["extensions"];
        assert_eq!(extensions["code"], expected);
        assert!(extensions["requestId"].is_string());
    }
    let payload = json!({ "query": "{ hello }", "variables": { "a": "\0" } });
    socket.say(json!({ "id": "a", "type": "subscribe", "payload": payload })).await;
    assert_eq!(socket.hear_json().await["payload"][0]["extensions"]["code"], "INVALID_TEXT");
}

#[tokio::test]
async fn errors_of_resolvers_are_part_of_the_answer() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    socket.subscribe("a", "{ refused }").await;
    let message = socket.hear_json().await;
    assert_eq!(message["type"], "next");
    assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "FORBIDDEN");
    assert_eq!(socket.hear_json().await["type"], "complete");
    // What fails within one event is part of that event, and others follow.
    socket.subscribe("a", "subscription { halting { whole } }").await;
    for type_of_each in ["next", "next", "complete"] {
        let message = socket.hear_json().await;
        assert_eq!(message["type"], type_of_each, "{message}");
    }
    socket.subscribe("a", "subscription { panics }").await;
    assert_eq!(socket.hear_json().await["type"], "next");
    let message = socket.hear_json().await;
    assert_eq!(message["payload"][0]["extensions"]["code"], "INTERNAL_ERROR");
    assert_eq!(message["type"], "error");
}

#[tokio::test]
async fn a_subscription_that_is_refused_or_fails_is_an_error_message_and_frees_its_id() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    for _ in 0..2 {
        socket.subscribe("a", "subscription { closedToYou }").await;
        let message = socket.hear_json().await;
        assert_eq!((&message["id"], &message["type"]), (&json!("a"), &json!("error")));
        assert_eq!(message["payload"][0]["extensions"]["code"], "FORBIDDEN");
    }
    socket.subscribe("a", "subscription { breaking }").await;
    assert_eq!(socket.hear_json().await["type"], "next");
    let message = socket.hear_json().await;
    assert_eq!((&message["id"], &message["type"]), (&json!("a"), &json!("error")));
    socket.subscribe("a", "{ hello }").await;
    assert_eq!(socket.hear_json().await["payload"]["data"]["hello"], "hello world");
}

#[tokio::test]
async fn the_subprotocol_is_required() {
    let server = Server::start().await;
    let mut socket = Socket::open_as(&server, None).await;
    assert_eq!(socket.hear().await, Heard::Closed(4406, "Subprotocol not acceptable".to_owned()));
}

#[tokio::test]
async fn a_client_that_does_not_introduce_itself_is_closed() {
    let init_timeout = Duration::from_millis(300);
    let settings = with_socket(SocketSettings { init_timeout, ..SocketSettings::default() });
    let server = Server::with(settings).await;
    let mut socket = Socket::open(&server).await;
    assert_eq!(
        socket.hear().await,
        Heard::Closed(4408, "Connection initialisation timeout".to_owned())
    );
    // One that did is not.
    let mut socket = Socket::ready(&server, None).await;
    socket.subscribe("a", "subscription { events }").await;
    eventually("it opens", || server.world.n_open.load(Ordering::SeqCst) == 1).await;
    tokio::time::timeout(init_timeout * 3, socket.0.next()).await.expect_err("silence");
}

#[tokio::test]
async fn a_subscription_before_the_acknowledgement_is_unauthorized() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server).await;
    socket.subscribe("a", "{ hello }").await;
    assert_eq!(socket.hear().await, Heard::Closed(4401, "Unauthorized".to_owned()));
}

#[tokio::test]
async fn a_token_that_admits_nobody_is_forbidden() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server).await;
    socket.init(Some("old")).await;
    assert_eq!(socket.hear().await, Heard::Closed(4403, "Forbidden".to_owned()));
    let mut socket = Socket::open(&server).await;
    let payload = json!({ "authorization": "ada" });
    socket.say(json!({ "type": "connection_init", "payload": payload })).await;
    assert_eq!(socket.hear_close().await, 4403);
    let mut socket = Socket::open(&server).await;
    socket.init(Some("down")).await;
    assert_eq!(socket.hear_close().await, 1013);
}

#[tokio::test]
async fn a_second_introduction_is_one_too_many() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    socket.init(None).await;
    assert_eq!(
        socket.hear().await,
        Heard::Closed(4429, "Too many initialisation requests".to_owned())
    );
}

#[tokio::test]
async fn an_id_names_one_operation_at_a_time() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    socket.subscribe("a", "subscription { events }").await;
    socket.subscribe("a", "subscription { events }").await;
    assert_eq!(
        socket.hear().await,
        Heard::Closed(4409, "Subscriber for a already exists".to_owned())
    );
}

#[tokio::test]
async fn pings_are_answered_with_their_payload_even_before_the_acknowledgement() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server).await;
    socket.say(json!({ "type": "ping" })).await;
    assert_eq!(socket.hear_json().await, json!({ "type": "pong" }));
    socket.say(json!({ "type": "ping", "payload": { "n": 1 } })).await;
    assert_eq!(socket.hear_json().await, json!({ "type": "pong", "payload": { "n": 1 } }));
    socket.say(json!({ "type": "pong" })).await;
    socket.init(None).await;
    assert_eq!(socket.hear_json().await["type"], "connection_ack");
}

#[tokio::test]
async fn the_server_pings_and_a_silent_peer_is_closed() {
    let ping_every = Duration::from_millis(20);
    let settings = with_socket(SocketSettings { ping_every, ..SocketSettings::default() });
    let server = Server::with(settings).await;
    let mut socket = Socket::ready(&server, None).await;
    // Reading answers the pings of the WebSocket itself, so the peer is not silent.
    for _ in 0..8 {
        assert_eq!(socket.hear_json().await, json!({ "type": "ping" }));
    }
    socket.subscribe("a", "subscription { events }").await;
    let n_open = || server.world.n_open.load(Ordering::SeqCst);
    eventually("it opens", || n_open() == 1).await;
    // Now nobody reads, and nothing is answered.
    eventually("the silent peer is gone", || n_open() == 0).await;
}

#[tokio::test]
async fn messages_that_are_none_of_the_protocol_close_the_socket() {
    let server = Server::start().await;
    for garbage in [
        Message::text("garbage"),
        Message::text(""),
        Message::text("[]"),
        Message::text("null"),
        Message::text(r#"{"type":7}"#),
        Message::text(r#"{"type":"start"}"#),
        Message::text(r#"{"type":"connection_ack"}"#),
        Message::text(r#"{"type":"next","id":"a","payload":{}}"#),
        Message::text(r#"{"type":"ping","payload":"text"}"#),
        Message::text(r#"{"type":"complete"}"#),
        Message::text(r#"{"type":"subscribe","payload":{"query":"{ hello }"}}"#),
        Message::text(r#"{"type":"subscribe","id":"","payload":{"query":"{ hello }"}}"#),
        Message::text(r#"{"type":"subscribe","id":1,"payload":{"query":"{ hello }"}}"#),
        Message::text(r#"{"type":"subscribe","id":"a"}"#),
        Message::text(r#"{"type":"subscribe","id":"a","payload":{}}"#),
        Message::text(r#"{"type":"subscribe","id":"a","payload":{"query":7}}"#),
        Message::text(
            r#"{"type":"subscribe","id":"a","payload":{"query":"{ hello }","variables":[]}}"#,
        ),
        Message::text(r#"{"type":"subscribe","id":"a","payload":{"query":"\ud800"}}"#),
        Message::text("[".repeat(100_000)),
        Message::text(format!(r#"{{"type":"{}"}}"#, "ö".repeat(500))),
        Message::binary(Bytes::from_static(b"\x00\xff")),
    ] {
        let mut socket = Socket::ready(&server, None).await;
        socket.0.send(garbage.clone()).await.expect("sent");
        assert_eq!(socket.hear_close().await, 4400, "{garbage:?}");
    }
    assert_eq!(server.ask("{ hello }").await.0, 200);
}

#[tokio::test]
async fn a_message_over_the_size_limit_closes_the_socket() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    // The server may close before it has taken all of it.
    let _ = socket.0.send(Message::text("x".repeat(2 * 1024 * 1024))).await;
    let heard = socket.hear().await;
    assert!(matches!(heard, Heard::Closed(1009, _) | Heard::Gone), "{heard:?}");
    assert_eq!(server.ask("{ hello }").await.0, 200);
}

#[tokio::test]
async fn bytes_that_are_no_frames_end_the_socket_and_nothing_else() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    let MaybeTlsStream::Plain(stream) = socket.0.get_mut() else { panic!("not a plain stream") };
    stream.write_all(&[0xff; 512]).await.expect("sent");
    let mut rest = Vec::new();
    // Whatever is left to read, the connection ends.
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest))
        .await
        .expect("an end");
    assert_eq!(server.ask("{ hello }").await.0, 200);
}

#[tokio::test]
async fn a_socket_ends_with_its_session() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, Some("brief")).await;
    socket.subscribe("a", "subscription { events }").await;
    assert_eq!(socket.hear().await, Heard::Closed(4403, "The session has ended".to_owned()));
    eventually("all end", || server.world.n_open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_socket_runs_a_bounded_number_of_operations() {
    let settings = with_socket(SocketSettings { operations: 2, ..SocketSettings::default() });
    let server = Server::with(settings).await;
    let mut socket = Socket::ready(&server, None).await;
    for id in ["a", "b", "c"] {
        socket.subscribe(id, "subscription { events }").await;
    }
    let message = socket.hear_json().await;
    assert_eq!((&message["id"], &message["type"]), (&json!("c"), &json!("error")));
    assert_eq!(message["payload"][0]["extensions"]["code"], "TOO_MANY_OPERATIONS");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_with_a_code_and_the_others_are_served() {
    let write_timeout = Duration::from_millis(200);
    let settings = with_socket(SocketSettings { write_timeout, ..SocketSettings::default() });
    let server = Server::with(settings).await;
    let mut socket = Socket::ready(&server, None).await;
    socket.subscribe("e", "subscription { events }").await;
    let n_open = || server.world.n_open.load(Ordering::SeqCst);
    eventually("it opens", || n_open() == 1).await;
    socket.subscribe("f", "subscription { flood }").await;
    assert_eq!(server.ask("{ hello }").await.0, 200);
    eventually("its operations end", || n_open() == 0).await;
    let closed = loop {
        match socket.hear().await {
            Heard::Message(_) => {}
            Heard::Closed(code, _) => break code,
            Heard::Gone => panic!("closed without a code"),
        }
    };
    assert_eq!(closed, 1013);
}

#[tokio::test]
async fn a_client_that_closes_is_answered() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
        code: CloseCode::Normal,
        reason: "bye".into(),
    };
    socket.0.send(Message::Close(Some(frame))).await.expect("sent");
    assert_eq!(socket.hear().await, Heard::Closed(1000, "bye".to_owned()));
}

#[tokio::test]
async fn operations_belong_to_the_trace_of_their_socket_unless_they_name_their_own() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server).await;
    let init = json!({ "type": "connection_init", "payload": { "traceparent": TRACE } });
    socket.say(init).await;
    assert_eq!(socket.hear_json().await["type"], "connection_ack");
    let own = TRACE.replace("b7ad6b7169203331", "00f067aa0ba902b7");
    for (extensions, expected) in
        [(json!(null), TRACE), (json!({ "traceparent": own }), own.as_str())]
    {
        let payload = json!({ "query": "{ trace }", "extensions": extensions });
        socket.say(json!({ "id": "a", "type": "subscribe", "payload": payload })).await;
        assert_eq!(socket.hear_json().await["payload"]["data"]["trace"], expected);
        assert_eq!(socket.hear_json().await["type"], "complete");
    }
}
