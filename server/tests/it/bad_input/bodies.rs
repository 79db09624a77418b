//! Bodies that are no request, and requests that are no HTTP.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PATIENCE, Stage};
use crate::client::read;

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_request_are_told_what_they_are() {
    let stage = Stage::set().await;
    let nested = |n: usize, open: &str, close: &str| open.repeat(n) + "1" + &close.repeat(n);
    for (what, body, code) in [
        ("nothing", String::new(), "MALFORMED_JSON"),
        ("spaces", " \n\t ".to_owned(), "MALFORMED_JSON"),
        ("null", "null".to_owned(), "MALFORMED_REQUEST"),
        ("a number", "7".to_owned(), "MALFORMED_REQUEST"),
        ("a huge number", format!("1{}", "0".repeat(400)), "MALFORMED_JSON"),
        ("a text", "\"{ __typename }\"".to_owned(), "MALFORMED_REQUEST"),
        ("an empty list", "[]".to_owned(), "BATCHING_NOT_SUPPORTED"),
        ("a list of lists", "[[]]".to_owned(), "BATCHING_NOT_SUPPORTED"),
        (
            "a batch of 1,000",
            format!("[{}]", vec![r#"{"query":"{__typename}"}"#; 1000].join(",")),
            "BATCHING_NOT_SUPPORTED",
        ),
        ("an empty object", "{}".to_owned(), "MALFORMED_REQUEST"),
        ("half an object", r#"{"query":"{ __typename }""#.to_owned(), "MALFORMED_JSON"),
        ("an object and more", r#"{"query":"{ __typename }"} {}"#.to_owned(), "MALFORMED_JSON"),
        ("a comma too many", r#"{"query":"{ __typename }",}"#.to_owned(), "MALFORMED_JSON"),
        ("a number as query", r#"{"query":7}"#.to_owned(), "MALFORMED_REQUEST"),
        (
            "variables that are a list",
            r#"{"query":"{ __typename }","variables":[]}"#.to_owned(),
            "MALFORMED_REQUEST",
        ),
        (
            "a member twice",
            r#"{"query":"{ __typename }","query":"{ viewer { __typename } }"}"#.to_owned(),
            "MALFORMED_JSON",
        ),
        (
            "a variable twice",
            r#"{"query":"{ __typename }","variables":{"a":{"b":1,"b":2}}}"#.to_owned(),
            "MALFORMED_JSON",
        ),
        ("a lone surrogate", r#"{"query":"\ud800"}"#.to_owned(), "MALFORMED_JSON"),
        (
            "a surrogate pair the wrong way",
            r#"{"query":"\udc00\ud800"}"#.to_owned(),
            "MALFORMED_JSON",
        ),
        ("NUL as it is", "{\"query\":\"\0\"}".to_owned(), "MALFORMED_JSON"),
        ("NUL in the query", r#"{"query":"{ a\u0000 }"}"#.to_owned(), "INVALID_TEXT"),
        (
            "NUL in a variable",
            r#"{"query":"{ __typename }","variables":{"a":["\u0000"]}}"#.to_owned(),
            "INVALID_TEXT",
        ),
        (
            "NUL in a variable's name",
            r#"{"query":"{ __typename }","variables":{"\u0000":1}}"#.to_owned(),
            "INVALID_TEXT",
        ),
        ("100,000 brackets", nested(100_000, "[", "]"), "MALFORMED_JSON"),
        (
            "a deep variable",
            format!(
                r#"{{"query":"{{ __typename }}","variables":{{"a":{}}}}}"#,
                nested(10_000, "[", "]")
            ),
            "MALFORMED_JSON",
        ),
        ("deep objects", nested(20_000, "{\"a\":", "}"), "MALFORMED_JSON"),
    ] {
        stage.send(&format!("a body: {what}"), body, 400, code).await;
    }
    stage.send("a body: a mark of its order", b"\xef\xbb\xbf{}", 400, "MALFORMED_JSON").await;
    for (what, bytes) in [
        ("a byte that is none", &b"{\"query\":\"\xff\"}"[..]),
        ("an overlong NUL", b"{\"query\":\"\xc0\x80\"}"),
        ("a surrogate in UTF-8", b"{\"query\":\"\xed\xa0\x80\"}"),
        ("UTF-16", b"\xff\xfe{\0}\0"),
    ] {
        stage.send(&format!("a body: {what}"), bytes, 400, "INVALID_ENCODING").await;
    }
    let large = format!(r#"{{"query":"{}"}}"#, " ".repeat(64 << 20));
    stage.send("a body: 64 MB", large, 413, "REQUEST_TOO_LARGE").await;
    stage.lived();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_body_is_sent_as_must_be_what_is_read() {
    let stage = Stage::set().await;
    let hr = &stage.ours.hr;
    let http = reqwest::Client::new();
    let good = r#"{"query":"{ __typename }"}"#;
    // 64 MB that are 64 kB on their way.
    let mut bomb = GzEncoder::new(vec![], Compression::best());
    bomb.write_all(&vec![b' '; 64 << 20]).expect("memory");
    let bomb = bomb.finish().expect("memory");
    assert!(bomb.len() < 1 << 18);
    for (what, kind, encoding, body) in [
        ("a gzip bomb", "application/json", Some("gzip"), bomb),
        ("deflated", "application/json", Some("deflate"), good.into()),
        ("twice encoded", "application/json", Some("gzip, gzip"), good.into()),
        ("a form", "application/x-www-form-urlencoded", None, b"query={__typename}".to_vec()),
        ("plain text", "text/plain", None, good.into()),
        ("parts", "multipart/form-data; boundary=x", None, good.into()),
        ("a document alone", "application/graphql", None, b"{ __typename }".to_vec()),
        ("UTF-16", "application/json; charset=utf-16", None, good.into()),
        ("Latin-1", "application/json; charset=iso-8859-1", None, good.into()),
    ] {
        let mut post = http.post(format!("{}/graphql", hr.base())).bearer_auth(hr.token());
        post = post.header("content-type", kind);
        if let Some(encoding) = encoding {
            post = post.header("content-encoding", encoding);
        }
        let sending = post.body(body).send();
        let response = tokio::time::timeout(PATIENCE, sending).await.expect("in time");
        let response = response.expect("an answer");
        let status = response.status().as_u16();
        assert_eq!(status, 415, "{what}");
        let answer: Value = response.json().await.expect("JSON");
        let answer = read(status, &answer);
        stage
            .refused(&format!("a body sent as {what}"), &answer, &["UNSUPPORTED_MEDIA_TYPE"])
            .await;
    }
    stage.lived();
}

/// What a connection answers to these bytes until it is closed: the status, and the code if there is one.
async fn raw(stage: &Stage, bytes: &[u8]) -> (Option<u16>, Option<String>) {
    let address = stage.ours.hr.base().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes).await.expect("sent");
    let mut answer = vec![];
    let reading = async {
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut chunk).await {
            answer.extend_from_slice(&chunk[..n]);
            // The first answer is enough.
            if answer.ends_with(b"}") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer or an end, in time");
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    let json: Option<Value> = body.and_then(|body| serde_json::from_str(body).ok());
    let code = json.and_then(|json| {
        json.pointer("/errors/0/extensions/code").and_then(Value::as_str).map(str::to_owned)
    });
    (status, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_two_readers_would_read_differently_are_refused() {
    let stage = Stage::set().await;
    let body = json!({ "query": "{ __typename }" }).to_string();
    let n = body.len();
    let start = "POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    for (what, request) in [
        ("two lengths", format!("{start}content-length: {n}\r\ncontent-length: 3\r\n\r\n{body}")),
        ("two lengths in one", format!("{start}content-length: {n}, 3\r\n\r\n{body}")),
        ("a negative length", format!("{start}content-length: -1\r\n\r\n{body}")),
        ("a length with a sign", format!("{start}content-length: +{n}\r\n\r\n{body}")),
        ("a length that is no number", format!("{start}content-length: abc\r\n\r\n{body}")),
        (
            "a length beyond all numbers",
            format!("{start}content-length: {}\r\n\r\n", "9".repeat(40)),
        ),
        (
            "pieces without an end of a number",
            format!("{start}transfer-encoding: chunked\r\n\r\nxyz\r\n{body}\r\n0\r\n\r\n"),
        ),
        ("an unknown coding", format!("{start}transfer-encoding: strange\r\n\r\n{body}")),
        ("no version", "POST /graphql\r\n\r\n".to_owned()),
        (
            "a header with a space in its name",
            format!("{start}a b: c\r\ncontent-length: {n}\r\n\r\n{body}"),
        ),
        ("a line that goes on", format!("{start} folded\r\ncontent-length: {n}\r\n\r\n{body}")),
        (
            "1,000 headers",
            format!("{start}{}content-length: {n}\r\n\r\n{body}", "a: b\r\n".repeat(1_000)),
        ),
        (
            "a path of 100 kB",
            format!("GET /graphql?query={} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(100_000)),
        ),
        ("no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_owned()),
    ] {
        let (status, code) = raw(&stage, request.as_bytes()).await;
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{what}: {status:?}");
        let told = code.or(status.map(|status| status.to_string()));
        println!("{:<28} a request: {what}", told.as_deref().unwrap_or("cut off"));
        let answer = stage.ours.hr.try_ask("{ __typename }", &json!({})).await;
        answer.expect("the next request is served").expect("and not refused");
    }
    stage.lived();
}
