//! The public HTTP API as a client uses it: operations, retries with the same command id, uploads.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::multipart::{Form, Part};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Pause between two tries, and between two looks at something awaited.
const PAUSE: Duration = Duration::from_millis(100);

/// How long one request may take; the server gives up before.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The code of a read model that has not yet applied what the query's tokens name.
const STALE: &str = "STALE_READ";

/// Codes that ask to send the same again.
const TRANSIENT: [&str; 6] =
    ["UNAVAILABLE", "OUTCOME_UNKNOWN", "CONTENDED", STALE, "SERVICE_UNAVAILABLE", "TIMEOUT"];

/// One installation of Colloquy, seen from outside.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    patience: Duration,
}

/// A refusal with its public code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The public code.
    pub code: String,
    /// What is wrong, in English.
    pub message: String,
    /// Whether it stood in a mutation's payload and not among the top-level errors.
    pub in_payload: bool,
}

/// What the server says to one operation: its data, or why not.
pub type Answer = Result<Value, Refused>;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code, self.message)
    }
}

impl Api {
    /// The installation at `base`, such as `http://127.0.0.1:8080`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(base: &str, patience: Duration) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), patience })
    }

    /// Where it is.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Somebody who has not signed in.
    #[must_use]
    pub fn stranger(&self, who: &str) -> Session {
        Session { api: self.clone(), who: who.to_owned(), token: None }
    }

    /// Sends a body as it is, and answers status and JSON. Not repeated.
    ///
    /// # Errors
    /// When no answer came, or none in JSON.
    pub async fn raw(&self, token: Option<&str>, body: String) -> anyhow::Result<(u16, Value)> {
        let mut request = self
            .http
            .post(format!("{}/graphql", self.base))
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json, application/json")
            .body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(reqwest::Error::without_url)?;
        let json = serde_json::from_slice(&body)
            .with_context(|| format!("the answer with status {status} is no JSON"))?;
        Ok((status, json))
    }
}

/// Somebody who uses the API, signed in or not.
#[derive(Clone)]
pub struct Session {
    api: Api,
    who: String,
    token: Option<String>,
}

impl Session {
    /// The installation.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The access token, if signed in.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The same person with this token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Sends an operation until the server says yes or no.
    ///
    /// # Errors
    /// When it says neither within the patience: it cannot be reached, or is not ready.
    pub async fn ask(&self, document: &str, variables: Value) -> anyhow::Result<Answer> {
        let body = json!({ "query": document, "variables": variables }).to_string();
        let deadline = Instant::now() + self.api.patience;
        loop {
            let last = match self.api.raw(self.token(), body.clone()).await {
                Ok((_, answer)) => match read(&answer) {
                    Err(refused) if TRANSIENT.contains(&refused.code.as_str()) => {
                        refused.to_string()
                    }
                    answer => return Ok(answer),
                },
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() > deadline {
                let (who, patience) = (&self.who, self.api.patience);
                let what = operation(document);
                if last.starts_with(STALE) {
                    bail!(
                        "the read models did not catch up within {patience:?} so that {what} could \
                         be read, as if no projector or no relay ran: {last}"
                    );
                }
                bail!("{what}, asked by {who}, was not carried out within {patience:?}: {last}");
            }
            sleep(PAUSE).await;
        }
    }

    /// Data that must be there.
    ///
    /// # Errors
    /// When it is refused, or not answered within the patience.
    pub async fn query(&self, document: &str, variables: Value) -> anyhow::Result<Value> {
        match self.ask(document, variables).await? {
            Ok(data) => Ok(data),
            Err(refused) => bail!("{} refused to {}: {refused}", operation(document), self.who),
        }
    }

    /// Carries out a mutation and answers its payload. A `commandId` is added if there is none, so
    /// that every repeat is the same command.
    ///
    /// # Errors
    /// When it is not answered within the patience.
    pub async fn order(
        &self,
        mutation: &str,
        input: Value,
        selection: &str,
    ) -> anyhow::Result<Answer> {
        let mut input = input;
        if let Value::Object(fields) = &mut input {
            fields.entry("commandId").or_insert_with(|| json!(command_id()));
        }
        let selection = format!("{selection} cursor version errors {{ code message path }}");
        self.ask(&mutation_document(mutation, &selection), json!({ "input": input })).await
    }

    /// A mutation that must go through.
    ///
    /// # Errors
    /// When it is refused, or not answered within the patience.
    pub async fn carry_out(
        &self,
        mutation: &str,
        input: Value,
        selection: &str,
    ) -> anyhow::Result<Value> {
        match self.order(mutation, input, selection).await? {
            Ok(payload) => Ok(payload),
            Err(refused) => bail!("{mutation} refused to {}: {refused}", self.who),
        }
    }

    /// Opens a session with `signIn`, `acceptInvitation` or `openInterviewSession`.
    ///
    /// # Errors
    /// When it is not answered within the patience.
    pub async fn enter(
        &self,
        mutation: &str,
        input: Value,
    ) -> anyhow::Result<Result<Self, Refused>> {
        let selection = "accessToken errors { code message path }";
        let answer =
            self.ask(&mutation_document(mutation, selection), json!({ "input": input })).await?;
        match answer {
            Ok(payload) => Ok(Ok(self.with_token(&text(&payload, "/accessToken")?))),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// Uploads a candidate's résumé and answers what the edge says.
    ///
    /// # Errors
    /// When the file cannot be read, or is not answered within the patience.
    pub async fn upload_resume(
        &self,
        candidate: &str,
        file_name: &str,
        bytes: Vec<u8>,
    ) -> anyhow::Result<Answer> {
        let command_id = command_id();
        let deadline = Instant::now() + self.api.patience;
        loop {
            let file = Part::bytes(bytes.clone()).file_name(file_name.to_owned());
            let form = Form::new()
                .text("candidateId", candidate.to_owned())
                .text("commandId", command_id.to_string())
                .part("file", file);
            let mut request =
                self.api.http.post(format!("{}/files/resumes", self.api.base)).multipart(form);
            if let Some(token) = self.token() {
                request = request.bearer_auth(token);
            }
            let last = match request.send().await {
                Ok(response) => {
                    let status = response.status().as_u16();
                    let body = response.text().await.map_err(reqwest::Error::without_url)?;
                    match read_upload(status, &body) {
                        Err(refused) if TRANSIENT.contains(&refused.code.as_str()) => {
                            refused.to_string()
                        }
                        answer => return Ok(answer),
                    }
                }
                Err(error) => error.without_url().to_string(),
            };
            if Instant::now() > deadline {
                bail!("the upload of a résumé was not answered: {last}");
            }
            sleep(PAUSE).await;
        }
    }

    /// A file of the server, such as a résumé.
    ///
    /// # Errors
    /// When it is not answered with success.
    pub async fn download(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut request = self.api.http.get(format!("{}{path}", self.api.base));
        if let Some(token) = self.token() {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        let response = response.error_for_status().map_err(reqwest::Error::without_url)?;
        Ok(response.bytes().await.map_err(reqwest::Error::without_url)?.to_vec())
    }
}

/// Looks again and again until something is there.
///
/// # Errors
/// The sentence `otherwise` when it is not there within the patience, and errors of looking.
pub async fn until<T>(
    patience: Duration,
    otherwise: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("{otherwise} within {patience:?}");
        }
        sleep(PAUSE).await;
    }
}

/// A text that an answer must have.
///
/// # Errors
/// Names the place where it is missing.
pub fn text(answer: &Value, pointer: &str) -> anyhow::Result<String> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    Ok(found.with_context(|| format!("the answer has no text at {pointer}"))?.to_owned())
}

/// A whole number that an answer must have.
///
/// # Errors
/// Names the place where it is missing.
pub fn number(answer: &Value, pointer: &str) -> anyhow::Result<u64> {
    let found = answer.pointer(pointer).and_then(Value::as_u64);
    found.with_context(|| format!("the answer has no whole number at {pointer}"))
}

/// A list; empty where there is none.
#[must_use]
pub fn list<'a>(answer: &'a Value, pointer: &str) -> &'a [Value] {
    answer.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A new idempotency key.
#[must_use]
pub fn command_id() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

/// A file's content.
///
/// # Errors
/// Names the file that cannot be read.
pub fn file(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn mutation_document(mutation: &str, selection: &str) -> String {
    let (first, rest) = mutation.split_at(1);
    let input = format!("{}{rest}Input", first.to_ascii_uppercase());
    format!("mutation($input: {input}!) {{ {mutation}(input: $input) {{ {selection} }} }}")
}

/// The first field of a document, as its name in messages.
fn operation(document: &str) -> &str {
    let body = document.split_once('{').map_or(document, |(_, body)| body).trim_start();
    body.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(document)
}

/// Reads an answer. The payload of a mutation, an object with `errors`, is taken out of its field.
fn read(answer: &Value) -> Answer {
    if let Some(error) = list(answer, "/errors").first() {
        return Err(refused(error, "/extensions/code", false));
    }
    let empty = Map::new();
    let data = answer.get("data").and_then(Value::as_object).unwrap_or(&empty);
    let payload = data.values().next().filter(|payload| payload.get("errors").is_some());
    let Some(payload) = payload.filter(|_| data.len() == 1) else {
        return Ok(Value::Object(data.clone()));
    };
    match list(payload, "/errors").first() {
        Some(error) => Err(refused(error, "/code", true)),
        None => Ok(payload.clone()),
    }
}

/// Reads the answer of the upload edge: a problem has a code, or errors as GraphQL has them.
fn read_upload(status: u16, body: &str) -> Answer {
    let json: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    if (200..300).contains(&status) {
        return Ok(json);
    }
    let error = json.pointer("/errors/0").or_else(|| json.get("error")).unwrap_or(&json);
    let place = if error.get("code").is_some() { "/code" } else { "/extensions/code" };
    let mut refused = refused(error, place, false);
    if refused.code.is_empty() {
        // A proxy between us and the server answers without a code.
        let code = if status >= 500 { "UNAVAILABLE" } else { "" };
        refused.code = code.to_owned();
        refused.message = format!("status {status}");
    }
    Err(refused)
}

fn refused(error: &Value, code: &str, in_payload: bool) -> Refused {
    let text = |pointer| error.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Refused { code: text(code).to_owned(), message: text("/message").to_owned(), in_payload }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_taken_out_of_its_mutation_and_a_query_is_left_as_it_is() {
        let payload = json!({ "data": { "publishJob": { "version": 3, "errors": [] } } });
        assert_eq!(read(&payload), Ok(json!({ "version": 3, "errors": [] })));
        let query = json!({ "data": { "job": { "id": "jobd_1" } } });
        assert_eq!(read(&query), Ok(json!({ "job": { "id": "jobd_1" } })));
    }

    #[test]
    fn a_refusal_is_read_from_the_payload_and_from_the_top() {
        let error = json!({ "code": "INT_003", "message": "done", "path": ["input"] });
        let payload = json!({ "data": { "submitAnswer": { "errors": [error] } } });
        assert!(matches!(read(&payload), Err(r) if r.code == "INT_003" && r.in_payload));
        let top = json!({ "data": null,
            "errors": [{ "message": "no", "extensions": { "code": "AUTH_003" } }] });
        assert!(matches!(read(&top), Err(r) if r.code == "AUTH_003" && !r.in_payload));
    }

    #[test]
    fn an_operation_is_named_by_its_first_field() {
        assert_eq!(operation("query($id: ID!) { job(id: $id) { id } }"), "job");
        assert_eq!(operation(&mutation_document("publishJob", "version")), "publishJob");
    }
}
