//! Server-Sent Events, distinct connections mode.

use std::{sync::atomic::Ordering, time::Duration};

use api::transport::Settings;
use serde_json::{Value, json};

use crate::{Server, code, eventually};

/// The events of a whole stream: their name and their data.
fn events(text: &str) -> Vec<(String, Value)> {
    let member = |event: &str, name: &str| {
        let lines = event.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)).map(str::trim);
        values.next().map(str::to_owned)
    };
    text.split("\n\n")
        .filter_map(|event| {
            let name = member(event, "event:")?;
            let data = member(event, "data:").expect("every event has data");
            Some((name, serde_json::from_str(&data).unwrap_or(Value::Null)))
        })
        .collect()
}

async fn stream(server: &Server, token: Option<&str>, query: &str) -> Vec<(String, Value)> {
    let mut request = server.client().post(server.url("/graphql"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let request = request
        .header("content-type", "application/json")
        .header("accept", "text/event-stream")
        .body(json!({ "query": query }).to_string());
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(response.headers().contains_key("x-request-id"));
    events(&response.text().await.expect("text"))
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn a_subscription_is_a_stream_of_next_events_and_a_complete() {
    let server = Server::start().await;
    let events = stream(&server, None, "subscription { count(to: 3) }").await;
    assert_eq!(names(&events), ["next", "next", "next", "complete"]);
    let counted: Vec<_> = events[..3].iter().map(|(_, data)| &data["data"]["count"]).collect();
    assert_eq!(counted, [1, 2, 3]);
}

#[tokio::test]
async fn queries_and_mutations_can_be_streamed_too() {
    let server = Server::start().await;
    let events = stream(&server, None, "{ hello }").await;
    assert_eq!(names(&events), ["next", "complete"]);
    let events = stream(&server, None, "mutation { bump(by: 2) }").await;
    assert_eq!(events[0].1["data"], json!({ "bump": 2 }));
}

#[tokio::test]
async fn a_get_opens_a_stream_but_runs_no_mutation() {
    let server = Server::start().await;
    let get = |query: &str| {
        let path = format!("/graphql?query={query}");
        server.get(&path).header("accept", "text/event-stream").send()
    };
    let text = get("subscription{count(to:2)}").await.expect("an answer").text().await;
    assert_eq!(names(&events(&text.expect("text"))), ["next", "next", "complete"]);
    assert_eq!(get("mutation{bump(by:1)}").await.expect("an answer").status(), 405);
    assert_eq!(server.world.counter.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_refused_document_is_told_on_the_stream() {
    let server = Server::start().await;
    for (query, expected) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("subscription { unknown }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { closedToYou }", "FORBIDDEN"),
        ("{ __schema { types { name } } }", "INTROSPECTION_FORBIDDEN"),
    ] {
        let events = stream(&server, None, query).await;
        assert_eq!(names(&events), ["next", "complete"], "{query}");
        assert_eq!(code(&events[0].1), expected);
    }
}

#[tokio::test]
async fn a_request_that_is_none_has_a_status() {
    let server = Server::start().await;
    let post = || {
        let request = server.client().post(server.url("/graphql"));
        request.header("accept", "text/event-stream").header("content-type", "application/json")
    };
    assert_eq!(post().body("{").send().await.expect("an answer").status(), 400);
    let refused = post().bearer_auth("old").body(r#"{"query":"{ hello }"}"#);
    assert_eq!(refused.send().await.expect("an answer").status(), 401);
}

#[tokio::test]
async fn a_stream_that_accepts_both_is_a_stream_for_subscriptions_only() {
    let server = Server::start().await;
    for (query, media) in [
        ("{ hello }", "application/json; charset=utf-8"),
        ("subscription { count(to: 1) }", "text/event-stream"),
    ] {
        let request = server.client().post(server.url("/graphql"));
        let response = request
            .header("accept", "application/json, text/event-stream, multipart/mixed")
            .header("content-type", "application/json")
            .body(json!({ "query": query }).to_string())
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.headers()["content-type"], media);
    }
}

#[tokio::test]
async fn a_panic_in_a_stream_ends_that_stream_alone() {
    let server = Server::start().await;
    let events = stream(&server, None, "subscription { panics }").await;
    assert_eq!(names(&events), ["next", "next", "complete"]);
    assert_eq!(code(&events[1].1), "INTERNAL_ERROR");
    assert_eq!(server.ask("{ hello }").await.0, 200);
}

#[tokio::test]
async fn an_idle_stream_is_kept_alive_and_ends_with_its_reader() {
    let settings = Settings { stream_keep_alive: Duration::from_millis(20), ..Settings::default() };
    let server = Server::with(settings).await;
    let mut response = server
        .client()
        .post(server.url("/graphql"))
        .header("accept", "text/event-stream")
        .header("content-type", "application/json")
        .body(r#"{"query":"subscription { events }"}"#)
        .send()
        .await
        .expect("an answer");
    let mut n_comments = 0;
    while n_comments < 3 {
        let chunk = response.chunk().await.expect("a chunk").expect("no end");
        n_comments += String::from_utf8_lossy(&chunk).matches(":\n\n").count();
    }
    eventually("the subscription opens", || server.world.n_open.load(Ordering::SeqCst) == 1).await;
    server.world.events.send(7).expect("a listener");
    let mut text = String::new();
    while !text.contains("\"events\":7") {
        let chunk = response.chunk().await.expect("a chunk").expect("no end");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    drop(response);
    eventually("the subscription ends", || server.world.n_open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_stream_ends_with_the_session() {
    let server = Server::start().await;
    let events = stream(&server, Some("brief"), "subscription { events }").await;
    assert_eq!(names(&events), ["next", "complete"]);
    assert_eq!(code(&events[0].1), "SESSION_EXPIRED");
    eventually("the subscription ends", || server.world.n_open.load(Ordering::SeqCst) == 0).await;
}
