//! GraphQL over HTTP.

use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use api::transport::Settings;
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::{Server, TRACE, code, send};

#[tokio::test]
async fn a_query_is_answered_in_the_accepted_media_type() {
    let server = Server::start().await;
    for (accept, media) in [
        (Some("application/graphql-response+json"), "application/graphql-response+json"),
        (Some("application/json"), "application/json"),
        (Some("*/*"), "application/json"),
        (None, "application/json"),
        (
            Some("application/json;q=0.5, application/graphql-response+json;q=0.9"),
            "application/graphql-response+json",
        ),
        (Some("text/event-stream, application/json"), "application/json"),
    ] {
        let mut request = server
            .client()
            .post(server.url("/graphql"))
            .header("content-type", "application/json; charset=UTF-8");
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let response = request.body(r#"{"query":"{ hello }"}"#).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        let found = response.headers()["content-type"].to_str().expect("text").to_owned();
        assert_eq!(found, format!("{media}; charset=utf-8"), "for {accept:?}");
        let answer: serde_json::Value = response.json().await.expect("JSON");
        assert_eq!(answer["data"], json!({ "hello": "hello world" }));
    }
}

#[tokio::test]
async fn an_accept_header_without_a_common_media_type_is_refused() {
    let server = Server::start().await;
    for accept in ["text/html", "application/json;q=0"] {
        let request = server
            .client()
            .post(server.url("/graphql"))
            .header("content-type", "application/json")
            .header("accept", accept);
        let (status, answer) = send(request.body(r#"{"query":"{ hello }"}"#)).await;
        assert_eq!((status, code(&answer)), (406, "NOT_ACCEPTABLE"));
    }
}

#[tokio::test]
async fn request_errors_have_a_client_status_only_for_the_response_media_type() {
    let server = Server::start().await;
    for (query, expected) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ unknown }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ paint(colour: BLUE) }", "BAD_USER_INPUT"),
        ("{ double(n: \"two\") }", "BAD_USER_INPUT"),
        ("query($n: Int!) { double(n: $n) }", "BAD_USER_INPUT"),
        ("subscription { count(to: 1) }", "SUBSCRIPTION_NEEDS_STREAM"),
        ("query A { hello } query B { hello }", "OPERATION_RESOLUTION_FAILED"),
        ("{ hello(name: \"\\uD800\") }", "GRAPHQL_PARSE_FAILED"),
    ] {
        let body = json!({ "query": query }).to_string();
        let (status, answer) = send(server.post().body(body.clone())).await;
        assert_eq!((status, code(&answer)), (400, expected), "{query}: {answer}");
        assert!(answer.get("data").is_none(), "{query}: {answer}");
        let legacy = server.client().post(server.url("/graphql"));
        let legacy = legacy.header("content-type", "application/json");
        let (status, answer) = send(legacy.header("accept", "application/json").body(body)).await;
        assert_eq!((status, code(&answer)), (200, expected), "{query}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_request_are_refused_and_told_why() {
    let server = Server::start().await;
    let cases: [(&[u8], &str, &str); 19] = [
        (b"", "MALFORMED_JSON", "EOF"),
        (b"{", "MALFORMED_JSON", "EOF"),
        (b"\xff\xfe{}", "INVALID_ENCODING", "byte 0"),
        (b"{\"query\":\"\xc3\"}", "INVALID_ENCODING", "byte 10"),
        (br#"{"query":"{ hello(name: \"\ud800\") }"}"#, "MALFORMED_JSON", "surrogate"),
        (br#"{"query":"{ hello }","variables":{"a":"\udc00"}}"#, "MALFORMED_JSON", "surrogate"),
        (br#"{"query":"{ hello }","variables":{"a":"\ud800x"}}"#, "MALFORMED_JSON", "surrogate"),
        (b"{\"query\":\"{ hello \x00 }\"}", "MALFORMED_JSON", "control"),
        (br#""{ hello }""#, "MALFORMED_REQUEST", "object"),
        (b"[]", "BATCHING_NOT_SUPPORTED", "list"),
        (br#"[{"query":"{ hello }"}]"#, "BATCHING_NOT_SUPPORTED", "list"),
        (b"{}", "MALFORMED_REQUEST", "query is missing"),
        (br#"{"query":" "}"#, "MALFORMED_REQUEST", "query is empty"),
        (br#"{"query":7}"#, "MALFORMED_REQUEST", "query must be text"),
        (br#"{"query":"{ hello }","operationName":[]}"#, "MALFORMED_REQUEST", "operationName"),
        (br#"{"query":"{ hello }","variables":"{}"}"#, "MALFORMED_REQUEST", "variables"),
        (br#"{"query":"{ hello }","extensions":1}"#, "MALFORMED_REQUEST", "extensions"),
        (
            br#"{"query":"{ hello }","variables":{"input":{"tags":["a","b\u0000"]}}}"#,
            "INVALID_TEXT",
            "variables.input.tags.1",
        ),
        (br#"{"query":"{ hello(name: \"\\u0000\") }"}"#, "INVALID_TEXT", "NUL"),
    ];
    for (body, expected, told) in cases {
        let shown = String::from_utf8_lossy(body).into_owned();
        let (status, answer) = send(server.post().body(body.to_vec())).await;
        assert_eq!((status, code(&answer)), (400, expected), "{shown}: {answer}");
        let message = answer["errors"][0]["message"].as_str().expect("a message");
        assert!(message.contains(told), "{shown}: {message}");
    }
    let deep = format!(r#"{{"query":"{{ hello }}","variables":{}}}"#, "[".repeat(100_000));
    let (status, answer) = send(server.post().body(deep)).await;
    assert_eq!((status, code(&answer)), (400, "MALFORMED_JSON"));
    assert_eq!(server.ask("{ hello }").await.0, 200);
}

#[tokio::test]
async fn only_plain_json_in_utf8_is_read() {
    let server = Server::start().await;
    let body = r#"{"query":"mutation { bump(by: 1) }"}"#;
    for content_type in [
        "text/plain",
        "text/plain; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=utf-16",
        "application/json-patch+json",
    ] {
        let request = server.client().post(server.url("/graphql"));
        let request = request.header("content-type", content_type);
        let (status, answer) = send(request.body(body)).await;
        assert_eq!((status, code(&answer)), (415, "UNSUPPORTED_MEDIA_TYPE"), "{content_type}");
    }
    let undeclared = server.client().post(server.url("/graphql")).body(body);
    assert_eq!(send(undeclared).await.0, 415);
    let compressed = server.post().header("content-encoding", "gzip").body(body);
    assert_eq!(send(compressed).await.0, 415);
    assert_eq!(server.world.counter.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_body_of_64_mb_is_refused_and_the_next_request_served() {
    let server = Server::start().await;
    let padding = "x".repeat(64 * 1024 * 1024);
    let body = format!(r#"{{"query":"{{ hello }}","variables":{{"a":"{padding}"}}}}"#);
    let (status, answer) = send(server.post().body(body)).await;
    assert_eq!((status, code(&answer)), (413, "REQUEST_TOO_LARGE"));

    let chunk = Bytes::from(vec![b' '; 64 * 1024]);
    let chunks = stream::iter((0..1024).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
    let (status, answer) = send(server.post().body(reqwest::Body::wrap_stream(chunks))).await;
    assert_eq!((status, code(&answer)), (413, "REQUEST_TOO_LARGE"));
    assert_eq!(server.ask("{ hello }").await.0, 200);
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    let server = Server::start().await;
    let mut body = r#"{"query":"{ hello }"}"#.to_owned();
    body.push_str(&" ".repeat(1024 * 1024 - body.len()));
    assert_eq!(send(server.post().body(body.clone())).await.0, 200);
    body.push(' ');
    assert_eq!(send(server.post().body(body)).await.0, 413);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_longer_than_the_limit() {
    let settings = Settings { body_timeout: Duration::from_millis(50), ..Settings::default() };
    let server = Server::with(settings).await;
    let body = reqwest::Body::wrap_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let (status, answer) = send(server.post().body(body)).await;
    assert_eq!((status, code(&answer)), (408, "REQUEST_TIMEOUT"));
}

#[tokio::test]
async fn an_operation_that_does_not_end_is_ended() {
    let settings = Settings { execution_timeout: Duration::from_millis(50), ..Settings::default() };
    let server = Server::with(settings).await;
    let (status, answer) = server.ask("{ never }").await;
    assert_eq!((status, code(&answer)), (504, "TIMEOUT"));
}

#[tokio::test]
async fn queries_may_be_sent_with_get_and_mutations_may_not() {
    let server = Server::start().await;
    let accept =
        |path: &str| server.get(path).header("accept", "application/graphql-response+json");
    let (status, answer) = send(accept(
        "/graphql?query=query%20A(%24n%3AInt!)%7Bdouble(n%3A%24n)%7D&variables=%7B%22n%22%3A4%7D\
         &operationName=A",
    ))
    .await;
    assert_eq!((status, &answer["data"]), (200, &json!({ "double": 8 })));
    let (_, answer) = send(accept("/graphql?query={hello(name:%22a+b%22)}")).await;
    assert_eq!(answer["data"], json!({ "hello": "hello a b" }));

    let response = accept("/graphql?query=mutation{bump(by:1)}").send().await.expect("an answer");
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "GET, POST");
    assert_eq!(server.world.counter.load(Ordering::SeqCst), 0);

    for (query_string, expected) in [
        ("", "MALFORMED_REQUEST"),
        ("query={hello}&query={hello}", "MALFORMED_REQUEST"),
        ("query=%7Bhello%", "MALFORMED_REQUEST"),
        ("query=%ff", "INVALID_ENCODING"),
        ("query={hello(name:%22%00%22)}", "INVALID_TEXT"),
        ("query={hello}&variables={", "MALFORMED_JSON"),
        ("query={hello}&variables=[]", "MALFORMED_REQUEST"),
    ] {
        let (status, answer) = send(accept(&format!("/graphql?{query_string}"))).await;
        assert_eq!((status, code(&answer)), (400, expected), "{query_string}");
    }
}

#[tokio::test]
async fn other_methods_are_refused() {
    let server = Server::start().await;
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let (status, answer) = send(server.client().request(method, server.url("/graphql"))).await;
        assert_eq!((status, code(&answer)), (405, "METHOD_NOT_ALLOWED"));
    }
}

#[tokio::test]
async fn the_session_of_the_token_reaches_the_resolvers() {
    let server = Server::start().await;
    assert_eq!(server.ask("{ who }").await.1["data"], json!({ "who": null }));
    assert_eq!(server.ask_as_ada("{ who }").await.1["data"], json!({ "who": "ada" }));
}

#[tokio::test]
async fn a_token_that_admits_nobody_is_refused_before_anything_runs() {
    let server = Server::start().await;
    let body = r#"{"query":"mutation { bump(by: 1) }"}"#;
    let response = server.post().bearer_auth("old").body(body).send().await.expect("an answer");
    assert_eq!(response.status(), 401);
    assert!(response.headers()["www-authenticate"].to_str().expect("text").starts_with("Bearer"));
    let (_, answer) = send(server.post().bearer_auth("old").body(body)).await;
    assert_eq!(code(&answer), "TOKEN_EXPIRED");

    for authorization in ["ada", "Basic ada", "Bearer", "Bearer "] {
        let request = server.post().header("authorization", authorization);
        let (status, answer) = send(request.body(body)).await;
        assert_eq!((status, code(&answer)), (401, "TOKEN_INVALID"), "{authorization}");
    }
    let twice = server.post().bearer_auth("ada").bearer_auth("ada").body(body);
    assert_eq!(send(twice).await.0, 401);

    let (status, answer) = send(server.post().bearer_auth("down").body(body)).await;
    assert_eq!((status, code(&answer)), (503, "SERVICE_UNAVAILABLE"));
    assert!(!answer.to_string().contains("session store"));
    assert_eq!(server.world.counter.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_plain_request_id_is_taken_over_and_any_other_replaced() {
    let server = Server::start().await;
    let ask = async |id: &str| {
        let request = server.post().header("x-request-id", id);
        let response =
            request.body(r#"{"query":"{ requestId unknown }"}"#).send().await.expect("an answer");
        let header = response.headers()["x-request-id"].to_str().expect("text").to_owned();
        let answer: serde_json::Value = response.json().await.expect("JSON");
        assert_eq!(answer["errors"][0]["extensions"]["requestId"], json!(header));
        header
    };
    assert_eq!(ask("order-7_a.b").await, "order-7_a.b");
    for foreign in ["", "a b", "a\"b", &"a".repeat(65)] {
        assert_eq!(ask(foreign).await.len(), 36, "{foreign}");
    }
    let request = server.post().header("x-request-id", "mine");
    let (_, answer) = send(request.body(r#"{"query":"{ requestId }"}"#)).await;
    assert_eq!(answer["data"], json!({ "requestId": "mine" }));
}

#[tokio::test]
async fn errors_of_resolvers_keep_their_code_and_others_are_opaque() {
    let server = Server::start().await;
    let (status, answer) = server.ask("{ hello refused leaky }").await;
    assert_eq!(status, 200);
    assert_eq!(answer["data"]["hello"], "hello world");
    let errors = answer["errors"].as_array().expect("errors");
    let of = |path: &str| errors.iter().find(|error| error["path"][0] == path).expect("an error");
    assert_eq!(of("refused")["extensions"]["code"], "FORBIDDEN");
    assert_eq!(of("refused")["message"], "not yours");
    assert_eq!(of("leaky")["extensions"]["code"], "INTERNAL_ERROR");
    assert_eq!(of("leaky")["message"], "internal error");
    assert!(!answer.to_string().contains("5432"));

    let (status, answer) = server.ask("{ required }").await;
    assert_eq!((status, code(&answer)), (200, "FORBIDDEN"));
    assert!(answer["data"].is_null() && answer.get("data").is_some());
}

#[tokio::test]
async fn a_panic_in_a_resolver_is_an_internal_error_and_the_next_request_is_served() {
    let server = Server::start().await;
    let (status, answer) = server.ask("{ panics }").await;
    assert_eq!((status, code(&answer)), (500, "INTERNAL_ERROR"));
    assert!(!answer.to_string().contains("mistake"));
    assert_eq!(server.ask("{ hello }").await.0, 200);
}

#[tokio::test]
async fn the_schema_is_shown_to_the_signed_in_only() {
    let server = Server::start().await;
    for query in ["{ __schema { types { name } } }", "{ __type(name: \"Query\") { name } }"] {
        let (status, answer) = server.ask(query).await;
        assert_eq!((status, code(&answer)), (400, "INTROSPECTION_FORBIDDEN"));
        let (status, answer) = server.ask_as_ada(query).await;
        assert_eq!((status, code(&answer)), (200, "no error"));
    }
    let (_, answer) = server.ask("{ helo }").await;
    assert!(!answer.to_string().contains("hello"), "a suggestion: {answer}");
    assert_eq!(server.ask("{ __typename }").await.1["data"]["__typename"], "Query");
}

#[tokio::test]
async fn the_explorer_is_served_from_own_files_under_its_own_policy() {
    let server = Server::start().await;
    let page = server.get("/graphiql").send().await.expect("an answer");
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"));
    assert!(!policy.contains("http"));
    let page = page.text().await.expect("text");
    assert!(!page.contains("http://") && !page.contains("https://"));
    for path in ["/graphiql/graphiql.js", "/graphiql/graphiql.css", "/graphiql/LICENSES.txt"] {
        let file = server.get(path).send().await.expect("an answer");
        assert_eq!(file.status(), 200);
        let tag = file.headers()["etag"].clone();
        assert!(file.bytes().await.expect("bytes").len() > 1_000, "{path}");
        let again = server.get(path).header("if-none-match", tag).send().await.expect("an answer");
        assert_eq!(again.status(), 304);
    }
}

#[tokio::test]
async fn a_request_belongs_to_the_trace_that_it_names() {
    let server = Server::start().await;
    let ask = async |traces: &[&str], extensions: Value| {
        let mut request = server.post();
        for trace in traces {
            request = request.header("traceparent", *trace);
        }
        let body = json!({ "query": "{ trace }", "extensions": extensions }).to_string();
        let (status, answer) = send(request.body(body)).await;
        assert_eq!(status, 200, "a trace is never a reason to refuse");
        answer["data"]["trace"].clone()
    };
    assert_eq!(ask(&[TRACE], json!(null)).await, TRACE);
    assert_eq!(ask(&[], json!({ "traceparent": TRACE })).await, TRACE);
    for later in [TRACE.replacen("00", "01", 1), format!("{}-more", TRACE.replacen("00", "cc", 1))]
    {
        assert_eq!(ask(&[&later], json!(null)).await, TRACE, "{later}");
    }
    for malformed in [
        "",
        "00",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
    ] {
        assert_eq!(ask(&[malformed], json!(null)).await, Value::Null, "{malformed:?}");
        assert_eq!(ask(&[], json!({ "traceparent": malformed })).await, Value::Null);
    }
    assert_eq!(ask(&[], json!({ "traceparent": 7 })).await, Value::Null);
    assert_eq!(ask(&[TRACE, TRACE], json!(null)).await, Value::Null, "two are none");
}

#[tokio::test]
async fn what_cannot_change_is_sent_once_to_who_keeps_it() {
    let server = Server::start().await;
    let get = async |query: &str, known: Option<&str>| {
        let request = server.get(&format!("/graphql?query={query}"));
        let request = known.into_iter().fold(request, |r, tag| r.header("if-none-match", tag));
        request.send().await.expect("an answer")
    };
    let said = get("{ past }", None).await;
    assert_eq!(
        (said.status().as_u16(), &said.headers()["cache-control"]),
        (200, &"private, no-cache".parse().expect("a value"))
    );
    let tag = said.headers()["etag"].to_str().expect("text").to_owned();
    let again = get("{ past }", Some(&tag)).await;
    assert_eq!(
        (again.status().as_u16(), again.headers()["etag"].to_str().ok()),
        (304, Some(&*tag))
    );
    assert!(again.bytes().await.expect("bytes").is_empty());
    assert_eq!(get("{ past hello }", Some(&tag)).await.status(), 200, "another answer");
    // Everything else is kept by nobody.
    let stale = server.post().header("if-none-match", &tag).body(r#"{"query":"{ past }"}"#);
    assert_eq!(send(stale).await.0, 200);
    for query in ["{ hello }", "{ past(found: false) }"] {
        let other = get(query, Some("*")).await;
        assert_eq!(other.status(), 200);
        assert_eq!(other.headers()["cache-control"], "no-store");
        assert!(!other.headers().contains_key("etag"), "{query}");
    }
}

/// Log lines, kept.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_of_a_request_names_the_trace() {
    let (lines, server) = (Lines::default(), Server::start().await);
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_span_events(FmtSpan::CLOSE);
    let log = log.with_ansi(false).with_writer(move || writer.clone()).finish();
    // The server runs on this very thread.
    let _log = tracing::subscriber::set_default(log);
    let request = server.post().header("traceparent", TRACE).header("x-request-id", "r-1");
    assert_eq!(send(request.body(r#"{"query":"{ hello }"}"#)).await.0, 200);
    let lines = lines.0.lock().expect("nobody panicked").clone();
    let lines = String::from_utf8(lines).expect("text");
    let line = lines.lines().find(|line| line.contains("request.id=r-1")).expect("a line");
    assert!(line.contains(&format!("trace.parent={TRACE}")), "{line}");
}
