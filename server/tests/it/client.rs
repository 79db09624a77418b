//! A client of the public API that trusts nothing: it sends what it is told and answers what it saw.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::DEADLINE;

/// Codes that ask to send the same again.
pub const TRANSIENT: [&str; 6] =
    ["UNAVAILABLE", "OUTCOME_UNKNOWN", "CONTENDED", "STALE_READ", "SERVICE_UNAVAILABLE", "TIMEOUT"];

/// One person at one API process.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<str>,
    token: Option<Arc<str>>,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: String,
    pub message: String,
    /// The HTTP status.
    pub status: u16,
    /// Whether it stood in a payload and not among the top-level errors.
    pub in_payload: bool,
}

/// Data, or why not.
pub type Answer = Result<Value, Refused>;

impl Client {
    /// A stranger.
    pub fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(45)).build();
        let http = http.expect("an HTTP client");
        Self { http, base: format!("http://{address}").into(), token: None }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn token(&self) -> &str {
        self.token.as_deref().expect("signed in")
    }

    /// The same person at another process.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { base: format!("http://{address}").into(), ..self.clone() }
    }

    /// The same person at the process of another client.
    pub fn with_base(&self, other: &Self) -> Self {
        Self { base: Arc::clone(&other.base), ..self.clone() }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    pub fn stranger(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// Status and text at a path; `None` when nobody answers.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let response = self.http.get(format!("{}{path}", self.base)).send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.text().await.ok()?))
    }

    /// Sends these bytes as the body of an operation. `Err` says why there was no answer.
    pub async fn send_bytes(&self, body: Vec<u8>) -> Result<(u16, Value), String> {
        let mut request = self.http.post(format!("{}/graphql", self.base));
        request = request.header("content-type", "application/json");
        request = request.header("accept", "application/graphql-response+json, application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.body(body).send().await.map_err(|error| format!("{error:?}"))?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(|error| format!("{error:?}"))?;
        let json = serde_json::from_slice(&bytes);
        Ok((status, json.map_err(|_| format!("{status} without JSON"))?))
    }

    /// Sends an operation once. The payload of a mutation is taken out of its field.
    pub async fn try_ask(&self, document: &str, variables: &Value) -> Result<Answer, String> {
        let body = json!({ "query": document, "variables": variables }).to_string();
        let (status, answer) = self.send_bytes(body.into_bytes()).await?;
        Ok(read(status, &answer))
    }

    /// Sends an operation until there is a yes or a no.
    pub async fn ask(&self, document: &str, variables: Value) -> Answer {
        let began_at = Instant::now();
        loop {
            let last = match self.try_ask(document, &variables).await {
                Ok(Err(refused)) if TRANSIENT.contains(&refused.code.as_str()) => {
                    format!("{refused:?}")
                }
                Ok(answer) => return answer,
                Err(error) => error,
            };
            assert!(began_at.elapsed() < DEADLINE, "{document}: no answer: {last}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Data that must be there.
    pub async fn query(&self, document: &str, variables: Value) -> Value {
        let answer = self.ask(document, variables).await;
        answer.unwrap_or_else(|refused| panic!("{document}: {refused:?}"))
    }

    /// A mutation, repeated with the same command id until there is a yes or a no.
    pub async fn order(&self, mutation: &str, input: Value, selection: &str) -> Answer {
        self.ask(&document(mutation, selection), json!({ "input": with_id(input) })).await
    }

    /// A mutation that must go through; answers its payload.
    pub async fn carry_out(&self, mutation: &str, input: Value, selection: &str) -> Value {
        let answer = self.order(mutation, input, selection).await;
        answer.unwrap_or_else(|refused| panic!("{mutation}: {refused:?}"))
    }

    /// The same person, signed in by `signIn`, `acceptInvitation` or `openInterviewSession`.
    pub async fn enter(&self, mutation: &str, input: Value) -> Self {
        let document = sign_in_document(mutation);
        let session = self.ask(&document, json!({ "input": input })).await;
        let session = session.unwrap_or_else(|refused| panic!("{mutation}: {refused:?}"));
        self.with_token(text(&session, "/accessToken"))
    }
}

/// A mutation's document; what all payloads have is selected too.
pub fn document(mutation: &str, selection: &str) -> String {
    let selection = format!("{selection} cursor version errors {{ code message path }}");
    mutation_document(mutation, &selection)
}

/// The document of a mutation that opens a session.
pub fn sign_in_document(mutation: &str) -> String {
    mutation_document(mutation, "accessToken errors { code message path }")
}

fn mutation_document(mutation: &str, selection: &str) -> String {
    let (first, rest) = mutation.split_at(1);
    let input = format!("{}{rest}Input", first.to_ascii_uppercase());
    format!("mutation($input: {input}!) {{ {mutation}(input: $input) {{ {selection} }} }}")
}

/// The input with a command id, if it has none.
pub fn with_id(mut input: Value) -> Value {
    if let Value::Object(fields) = &mut input {
        fields.entry("commandId").or_insert_with(|| json!(Uuid::new_v4()));
    }
    input
}

/// Reads an answer.
pub fn read(status: u16, answer: &Value) -> Answer {
    let refused = |error: &Value, code: &str, in_payload| Refused {
        code: error.pointer(code).and_then(Value::as_str).unwrap_or("no code").to_owned(),
        message: error["message"].as_str().unwrap_or_default().to_owned(),
        status,
        in_payload,
    };
    if let Some(error) = answer.pointer("/errors/0") {
        return Err(refused(error, "/extensions/code", false));
    }
    let data = answer.get("data").cloned().unwrap_or_default();
    let Some(payload) = data.as_object().filter(|data| data.len() == 1) else { return Ok(data) };
    match payload.values().next().and_then(|payload| payload.get("errors").map(|e| (payload, e))) {
        None => Ok(data),
        Some((payload, errors)) => match errors.get(0) {
            Some(error) => Err(refused(error, "/code", true)),
            None => Ok(payload.clone()),
        },
    }
}

/// A text that must be there.
#[track_caller]
pub fn text<'a>(answer: &'a Value, pointer: &str) -> &'a str {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer} of {answer}"))
}
