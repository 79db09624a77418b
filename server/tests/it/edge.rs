//! The edge as browsers see it, on a running server.

use std::io::Read;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::job::Company;
use crate::process::run;
use crate::world::{DEADLINE, World};

const OURS: &str = "https://app.example.com";

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_name_whose_pages_may_call() {
    let world = World::without_kafka().await;
    let origins = format!("http://localhost:5173, {OURS}");
    let mut all = world.start_with("all", &[("COLLOQUY_HTTP__CORS_ORIGINS", &origins)]);
    let client = all.client().await;
    let http = reqwest::Client::new();
    let at = |path: &str| format!("{}{path}", client.base());
    for (origin, allowed, status, code) in [
        (OURS, Some(OURS), 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("https://other.example", None, 403, "ORIGIN_FORBIDDEN"),
    ] {
        let asked = http
            .request(reqwest::Method::OPTIONS, at("/graphql"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        let asked = asked.send().await.expect("an answer");
        let named = asked.headers().get("access-control-allow-origin");
        assert_eq!(named.map(|origin| origin.to_str().expect("text")), allowed);
        // Sent by a page without a question before.
        let form = http.post(at("/graphql")).header("origin", origin).body("{}");
        let form = form.header("content-type", "text/plain").send().await.expect("an answer");
        assert_eq!(form.status(), status);
        assert_eq!(form.headers()["x-frame-options"], "DENY");
        let form: Value = form.json().await.expect("JSON");
        assert_eq!(form["errors"][0]["extensions"]["code"], code);
    }
    for path in ["/health", "/graphiql", "/asyncapi.json", "/nothing-here"] {
        let answer = http.get(at(path)).send().await.expect("an answer");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
        assert!(answer.headers().contains_key("content-security-policy"), "{path}");
    }
    let contract = http.get(at("/asyncapi.json")).header("origin", "https://other.example");
    let contract = contract.send().await.expect("an answer");
    assert_eq!(contract.headers()["access-control-allow-origin"], "*", "contracts are no secret");

    let mut command = world.command(&["serve"]);
    command.env("COLLOQUY_HTTP__CORS_ORIGINS", "*");
    let (code, said) = run(command).await;
    assert!(!code.success() && said.contains("http.cors_origins"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_of_an_interviews_history_is_not_sent_again_to_who_has_it() {
    let (world, _all, client, company) = Company::lights().await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Wilma").await;
    world.until_projected().await;
    let http = reqwest::Client::new();
    let get = async |document: &str, known: &str| {
        let variables = json!({ "id": round.id });
        let path = format!("/graphql?query={document}&variables={variables}");
        let request = http.get(format!("{}{path}", client.base()));
        let request = request.bearer_auth(company.auditor.token()).header("if-none-match", known);
        request.send().await.expect("an answer")
    };
    let then = "query($id: ID!) { interview(id: $id, asOf: { version: 1 }) { status version } }";
    let answer = get(then, "\"none\"").await;
    let headers = answer.headers().clone();
    let shown: Value = answer.json().await.expect("JSON");
    assert_eq!(shown["data"]["interview"]["version"], 1, "{shown}");
    assert_eq!(headers["cache-control"], "private, no-cache");
    let tag = headers["etag"].to_str().expect("text").to_owned();
    assert_eq!(get(then, &tag).await.status(), 304);
    let now = "query($id: ID!) { interview(id: $id) { status version } }";
    let answer = get(now, "*").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["cache-control"]),
        (200, &"no-store".parse().expect("a value"))
    );
}

/// How long the server keeps a connection that sends this, a byte at a time or nothing more.
async fn kept(address: &str, head: &str, trickle: Option<Duration>) -> (Duration, String) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(head.as_bytes()).await.expect("sent");
    let began_at = Instant::now();
    let trickling = async {
        let Some(pause) = trickle else { return std::future::pending().await };
        loop {
            tokio::time::sleep(pause).await;
            if writer.write_all(b"a").await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    let mut answer = vec![];
    tokio::select! {
        () = trickling => {}
        // A reset is an end, too.
        _ = tokio::time::timeout(DEADLINE, reader.read_to_end(&mut answer)) => {}
    }
    (began_at.elapsed(), String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_slowly_or_takes_nothing_is_not_waited_for() {
    let world = World::without_kafka().await;
    let patience = [("COLLOQUY_HTTP__HEAD_SECONDS", "1"), ("COLLOQUY_HTTP__STALL_SECONDS", "1")];
    let mut all = world.start_with("all", &patience);
    let client = all.client().await;
    let address = client.base().trim_start_matches("http://").to_owned();
    let start = "POST /graphql HTTP/1.1\r\nhost: a\r\n";
    let whole = "GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
    for (what, head, trickle) in [
        ("nothing", "", None),
        ("half a head", start, None),
        ("a head a letter at a time", start, Some(Duration::from_millis(50))),
        ("a request and then nothing", whole, None),
    ] {
        let (time, answer) = kept(&address, head, trickle).await;
        assert!(time < Duration::from_secs(10), "{what}: {time:?}");
        assert_eq!(answer.starts_with("HTTP/1.1 200"), head == whole, "{what}: {answer}");
    }

    // A reader that takes nothing of a large answer is let go, and what it held with it.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a size");
    let mut slow = socket.connect(address.parse().expect("an address")).await.expect("connected");
    let many = "GET /asyncapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(200);
    slow.write_all(many.as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut taken = vec![];
    let ended = tokio::time::timeout(DEADLINE, slow.read_to_end(&mut taken)).await;
    // By a reset or not: it is over.
    let _ = ended.expect("the connection ends");
    let n_answers = String::from_utf8_lossy(&taken).matches("HTTP/1.1 200").count();
    assert!(n_answers < 200, "all {n_answers} answers were kept for who took none");
    assert!(client.get("/health").await.is_some_and(|(status, _)| status == 200));
    all.is_running();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_packed_for_who_can_unpack_them_and_streams_are_not() {
    let world = World::without_kafka().await;
    let mut all = world.start("all");
    let client = all.client().await;
    let http = reqwest::Client::new();
    let get = |path: &str| {
        http.get(format!("{}{path}", client.base())).header("accept-encoding", "gzip, br")
    };
    let packed = get("/asyncapi.json").send().await.expect("an answer");
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let mut vary = packed.headers().get_all("vary").iter();
    assert!(vary.any(|names| names.to_str().is_ok_and(|names| names.contains("accept-encoding"))));
    let mut text = String::new();
    let bytes = packed.bytes().await.expect("a body");
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
    assert_eq!(client.get("/asyncapi.json").await.map(|(_, plain)| plain), Some(text));
    let stream = get("/graphql?query=%7B__typename%7D").header("accept", "text/event-stream");
    let stream = stream.send().await.expect("an answer");
    assert!(!stream.headers().contains_key("content-encoding"));
    assert!(stream.text().await.expect("a body").contains("event: complete"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_name_the_documents_that_are_carried_out() {
    let world = World::without_kafka().await;
    let list = world.data.path().join("documents.json");
    std::fs::write(&list, r#"{ "Viewer": "{ viewer { __typename } }" }"#).expect("a file");
    let list = list.to_str().expect("a path");
    let mut all = world.start_with("all", &[("COLLOQUY_HTTP__TRUSTED_DOCUMENTS", list)]);
    let client = all.client().await;
    let ask = async |document: &str| client.try_ask(document, &json!({})).await.expect("an answer");
    assert!(ask("{ viewer { __typename } }").await.is_ok());
    let refused = ask("{ __typename }").await.expect_err("it is not listed");
    assert_eq!(refused.code, "DOCUMENT_NOT_TRUSTED");
    assert_eq!(all.terminate().await.code(), Some(0));

    std::fs::write(list, "{}}").expect("a file");
    let mut command = world.command(&["serve"]);
    command.env("COLLOQUY_HTTP__TRUSTED_DOCUMENTS", list);
    let (code, said) = run(command).await;
    assert!(!code.success() && said.contains("http.trusted_documents"), "{said}");
}
