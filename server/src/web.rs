//! How providers of OpenID Connect are reached: only those that the settings name, without following
//! where they point elsewhere.

use std::time::Duration;

use async_trait::async_trait;
use identity::sign_on::{Web, WebError};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// How long a provider may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// Reaches the providers that the settings name.
pub struct Providers {
    issuers: Vec<String>,
    http: Client,
}

impl Providers {
    /// Those of these issuers.
    ///
    /// # Errors
    /// When an issuer is neither `https://…` nor on this machine, or TLS cannot be set up.
    pub fn new(issuers: &[String]) -> anyhow::Result<Self> {
        for issuer in issuers {
            let safe = ["https://", "http://127.0.0.1:", "http://localhost:"];
            anyhow::ensure!(
                safe.iter().any(|start| issuer.starts_with(start)),
                "sign_on.issuers: {issuer} must begin with https://"
            );
        }
        let http = Client::builder().timeout(PATIENCE).redirect(Policy::none()).build()?;
        Ok(Self { issuers: issuers.to_vec(), http })
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, WebError> {
        let mut response = request
            .header("accept", "application/json")
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > MAX_BYTES {
                return Err(WebError);
            }
            bytes.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&bytes).map_err(|_| WebError)
    }
}

/// What is logged of a failure: no address, for it may hold a code.
fn failed(error: reqwest::Error) -> WebError {
    let error = error.without_url();
    tracing::warn!(%error, "a provider cannot be asked");
    WebError
}

#[async_trait]
impl Web for Providers {
    fn is_allowed(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|allowed| allowed == issuer)
    }

    async fn get(&self, url: &str) -> Result<Value, WebError> {
        self.answer(self.http.get(url)).await
    }

    async fn post(
        &self,
        url: &str,
        (client, secret): (&str, &SecretString),
        form: &[(&str, &str)],
    ) -> Result<Value, WebError> {
        let request = self.http.post(url).basic_auth(client, Some(secret.expose_secret()));
        self.answer(request.form(form)).await
    }
}
