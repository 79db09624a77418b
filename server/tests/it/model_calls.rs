//! How often the workers call a model.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;
use uuid::Uuid;

use crate::client::{Client, text};
use crate::job::Company;
use crate::uploads::upload;
use crate::world::{World, until};

/// An endpoint that is always out of order, and how often it was called.
async fn broken_model() -> (String, Arc<AtomicUsize>) {
    let n_calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_calls);
    let completions = post(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(StatusCode::INTERNAL_SERVER_ERROR)
    });
    let router = Router::new().route("/v1/chat/completions", completions);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/v1"), n_calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workers_together_call_a_model_no_oftener_than_the_setting_says() {
    let (address, n_calls) = broken_model().await;
    let world = World::without_kafka().await;
    let settings = [
        ("COLLOQUY_LIMITS__ENABLED", "true"),
        ("COLLOQUY_LIMITS__AI_CALL", "4/h"),
        ("COLLOQUY_AI__PROVIDERS", r#"["fake", "rules"]"#),
        ("COLLOQUY_AI__OPENAI__FAKE__BASE_URL", &address),
        ("COLLOQUY_AI__OPENAI__FAKE__MODEL", "any"),
    ];
    let mut all = world.start_with("all", &settings);
    let client = all.client().await;
    let company = Company::found(&world, &client, "lights").await;
    let person = json!({ "fullName": "Mira Stone", "email": "mira@mail.example" });
    let made = company.hr.carry_out("createCandidate", person, "candidate { id }").await;
    let candidate = text(&made, "/candidate/id");
    // Each is worth three attempts, and is read by the built-in rules in the end.
    for (n_read, n_wanted) in [(1, 3), (2, 4), (3, 4)] {
        read_out(&world, &company.hr, candidate, n_read).await;
        assert_eq!(n_calls.load(Ordering::SeqCst), n_wanted, "after {n_read} files");
    }

    let left = "{ rateLimit { buckets { class remaining } } }";
    let left = company.operator.query(left, json!({})).await;
    let empty = json!({ "class": "AI_CALL", "remaining": 0 });
    let buckets = left["rateLimit"]["buckets"].as_array().expect("a list");
    assert!(buckets.contains(&empty), "{left}");

    all.terminate().await;
    let mut another = world.start_with("all", &settings);
    let hr = company.hr.with_base(&another.client().await);
    read_out(&world, &hr, candidate, 4).await;
    assert_eq!(n_calls.load(Ordering::SeqCst), 4, "another worker finds the same bucket empty");
}

/// Uploads a file and waits until so many were read.
async fn read_out(world: &World, who: &Client, candidate: &str, n_wanted: usize) {
    let resume = b"Mira Stone\nKeeper of lights\n".as_slice();
    let (status, answer) =
        upload(who, Uuid::new_v4(), candidate, ("cv.txt", "text/plain"), resume).await;
    assert_eq!(status, 201, "{answer}");
    until("the file is read", async || {
        let log = world.log_of("resume").await;
        let n_read = log.iter().filter(|event| event.event_type == "resume.parsed").count();
        (n_read == n_wanted).then_some(())
    })
    .await;
}
