//! A provider of OpenID Connect: what it says of itself, its keys, the page where people sign in, and
//! codes that are good once. It misbehaves as it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::client::{Answer, Client, text};
use crate::job::now;
use crate::session::{Signer, hmac};

pub const CLIENT_ID: &str = "colloquy";
pub const CLIENT_SECRET: &str = "s3cret of the client";
/// The page that people are sent back to.
pub const PAGE: &str = "https://lights.example/signed-on";

/// The key of the provider, and its public half.
const SEED: [u8; 32] = [7; 32];
const PUBLIC: &str = "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw";

/// How it misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// Its discovery names another issuer.
    SpeaksForAnother,
    /// Of its ID tokens.
    Issuer,
    Audience,
    Nonce,
    Expired,
    AlgNone,
    HmacOfThePublicKey,
    UnknownKey,
    /// Of its token endpoint.
    Fails,
    Oversized,
    Stalls,
}

/// Whom it signs in, and what it remembers.
#[derive(Default)]
struct Memory {
    fault: Mutex<Fault>,
    /// Subject and address of who sits before it.
    person: Mutex<(String, String)>,
    codes: Mutex<HashMap<String, Given>>,
    issuer: Mutex<String>,
}

/// What a code was given for.
struct Given {
    person: (String, String),
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

pub struct Provider {
    pub issuer: String,
    memory: Arc<Memory>,
    task: JoinHandle<()>,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let memory = Arc::new(Memory::default());
        *memory.issuer.lock().expect("whole") = issuer.clone();
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(Arc::clone(&memory));
        let task = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("served");
        });
        Self { issuer, memory, task }
    }

    pub fn misbehave(&self, fault: Fault) {
        *self.memory.fault.lock().expect("whole") = fault;
    }

    /// Lets this person sit before it.
    pub fn is_visited_by(&self, subject: &str, email: &str) {
        *self.memory.person.lock().expect("whole") = (subject.to_owned(), email.to_owned());
    }

    /// The company's administrator names it.
    pub async fn configure(&self, admin: &Client) {
        let document = "mutation($input: ConfigureSignOnInput!) { configureSignOn(input: $input) \
                        { isDone errors { code message path } } }";
        let input = json!({
            "issuer": self.issuer, "clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET,
            "redirectUri": PAGE,
        });
        let done = admin.query(document, json!({ "input": input })).await;
        assert_eq!(done["isDone"], true, "{done}");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn discovery(State(memory): State<Arc<Memory>>) -> Json<Value> {
    let own = memory.issuer.lock().expect("whole").clone();
    let said = match *memory.fault.lock().expect("whole") {
        Fault::SpeaksForAnother => "https://login.other.example".to_owned(),
        _ => own.clone(),
    };
    Json(json!({
        "issuer": said,
        "authorization_endpoint": format!("{own}/authorize"),
        "token_endpoint": format!("{own}/token"),
        "jwks_uri": format!("{own}/keys"),
    }))
}

async fn keys() -> Json<Value> {
    let key = json!({
        "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "one", "x": PUBLIC,
    });
    Json(json!({ "keys": [key] }))
}

/// The page where a person signs in, who is sent back with a code.
async fn authorize(
    State(memory): State<Arc<Memory>>,
    Query(asked): Query<HashMap<String, String>>,
) -> Redirect {
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["client_id"], CLIENT_ID);
    assert_eq!(asked["code_challenge_method"], "S256");
    let code = Uuid::new_v4().to_string();
    let given = Given {
        person: memory.person.lock().expect("whole").clone(),
        nonce: asked["nonce"].clone(),
        challenge: asked["code_challenge"].clone(),
        redirect_uri: asked["redirect_uri"].clone(),
    };
    let back = format!("{}?code={code}&state={}", given.redirect_uri, asked["state"]);
    memory.codes.lock().expect("whole").insert(code, given);
    Redirect::to(&back)
}

/// Exchanges a code for an ID token (OpenID Connect Core 1.0, 3.1.3).
async fn token(
    State(memory): State<Arc<Memory>>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let fault = *memory.fault.lock().expect("whole");
    match fault {
        Fault::Fails => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fault::Oversized => {
            return Json(json!({ "id_token": "x".repeat(1 << 21) })).into_response();
        }
        Fault::Stalls => std::future::pending::<()>().await,
        _ => {}
    }
    let credentials = format!("{CLIENT_ID}:{CLIENT_SECRET}");
    let credentials = format!("Basic {}", BASE64_STANDARD.encode(credentials));
    let is_client = headers.get(header::AUTHORIZATION).is_some_and(|sent| *sent == *credentials);
    let given = memory.codes.lock().expect("whole").remove(&form["code"]);
    let given = given.filter(|given| {
        let verifier = BASE64.encode(Sha256::digest(&form["code_verifier"]));
        verifier == given.challenge && form["redirect_uri"] == given.redirect_uri
    });
    let Some(given) = given.filter(|_| is_client) else {
        let refused = json!({ "error": "invalid_grant" });
        return (StatusCode::BAD_REQUEST, Json(refused)).into_response();
    };
    let issuer = memory.issuer.lock().expect("whole").clone();
    let id_token = id_token(fault, &issuer, &given);
    Json(json!({ "token_type": "Bearer", "access_token": "none", "id_token": id_token }))
        .into_response()
}

fn id_token(fault: Fault, issuer: &str, given: &Given) -> String {
    let at = match fault {
        Fault::Expired => now() - TimeDelta::minutes(8),
        _ => now(),
    };
    let (subject, email) = &given.person;
    let mut claims = json!({
        "iss": issuer, "sub": subject, "aud": CLIENT_ID, "nonce": given.nonce,
        "iat": at.timestamp(), "exp": at.timestamp() + 300,
        "email": email, "email_verified": true,
    });
    let mut header = json!({ "alg": "EdDSA", "kid": "one", "typ": "JWT" });
    match fault {
        Fault::Issuer => claims["iss"] = json!("https://login.other.example"),
        Fault::Audience => claims["aud"] = json!("somebody else"),
        Fault::Nonce => claims["nonce"] = json!("of another attempt"),
        Fault::AlgNone => header["alg"] = json!("none"),
        Fault::HmacOfThePublicKey => header["alg"] = json!("HS256"),
        Fault::UnknownKey => header["kid"] = json!("two"),
        _ => {}
    }
    let unsigned = || {
        let [header, claims] = [&header, &claims].map(|part| BASE64.encode(part.to_string()));
        format!("{header}.{claims}")
    };
    match fault {
        Fault::AlgNone => format!("{}.", unsigned()),
        Fault::HmacOfThePublicKey => {
            let public = BASE64.decode(PUBLIC).expect("base64");
            format!("{}.{}", unsigned(), hmac(&public, &unsigned()))
        }
        _ => Signer::of_seed(SEED).sign(&header, &claims),
    }
}

/// A person on the way in: what the page kept, and what the provider sent back.
#[derive(Clone)]
pub struct Attempt {
    pub token: String,
    pub state: String,
    pub code: String,
}

/// Begins to sign on to a company, and goes to the provider as a browser does.
pub async fn begin(client: &Client, company: &str) -> Result<Attempt, String> {
    let document = "mutation($input: BeginSignOnInput!) { beginSignOn(input: $input) \
                    { url token errors { code } } }";
    let variables = json!({ "input": { "companyId": company } });
    let begun = client.try_ask(document, &variables).await.expect("an answer");
    let begun = begun.map_err(|refused| refused.code)?;
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let sent_to = browser.expect("a browser").get(text(&begun, "/url")).send().await;
    let sent_to = sent_to.expect("the page");
    let back = sent_to.headers()[header::LOCATION].to_str().expect("text").to_owned();
    let query = back.strip_prefix(PAGE).and_then(|rest| rest.strip_prefix('?'));
    let query = query.expect("the company's page");
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).expect("a parameter").1.to_owned()
    };
    Ok(Attempt {
        token: text(&begun, "/token").to_owned(),
        state: value("state"),
        code: value("code"),
    })
}

/// Brings the provider's answer.
pub async fn finish(client: &Client, attempt: &Attempt) -> Answer {
    let Attempt { token, state, code } = attempt;
    let input = json!({ "token": token, "state": state, "code": code });
    let document = crate::client::sign_in_document("finishSignOn");
    client.try_ask(&document, &json!({ "input": input })).await.expect("an answer")
}

/// Who comes in by the provider, or the code of why nobody does.
pub async fn sign_on(client: &Client, company: &str) -> Result<Client, String> {
    let attempt = begin(client, company).await?;
    let session = finish(client, &attempt).await.map_err(|refused| refused.code)?;
    Ok(client.with_token(text(&session, "/accessToken")))
}
