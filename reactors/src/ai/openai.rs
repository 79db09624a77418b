//! Any endpoint that speaks OpenAI's chat completions: hosted vendors and local servers alike.
//!
//! One attempt, one request. The key is read where the header is built and nowhere else, and
//! errors name statuses, never the endpoint's text, which could repeat the request.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::guard::{ChatModel, Completion};
use super::prompts::Prompt;
use super::{AiError, Outage, Task, Usage, Violation};

/// Largest reply that is read; a longer one is cut and therefore invalid.
const REPLY_BYTES: usize = 2 * 1024 * 1024;

/// Where the endpoint is and which models it offers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAiSettings {
    /// The provider's name in provenance and metrics, such as `openai` or `local`.
    pub name: String,
    /// Such as `https://api.openai.com/v1`; `/chat/completions` is added.
    pub base_url: String,
    /// The key, sent as bearer token. None for local servers that need none.
    #[serde(default, deserialize_with = "secret")]
    pub api_key: Option<SecretString>,
    /// The model for interviews and scoring.
    pub model: String,
    /// A cheaper model for reading résumés; none means `model`.
    #[serde(default)]
    pub cheap_model: Option<String>,
    /// Prices by model. A job may choose any model named here.
    #[serde(default)]
    pub prices: BTreeMap<String, Prices>,
    /// Time for one attempt from connecting to the last byte, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// How the endpoint is told which shape the answer must have.
    #[serde(default)]
    pub response_format: ResponseFormat,
}

/// Settings may hold a key; nothing may print one, so the type itself can only be read.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    let key = Option::<String>::deserialize(deserializer)?;
    Ok(key.filter(|key| !key.is_empty()).map(SecretString::from))
}

fn default_timeout_ms() -> u64 {
    45_000
}

/// What a model costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Millionths of a US dollar for a million tokens sent: 150000 is 0.15 USD.
    pub micro_usd_per_million_in: u64,
    /// The same for tokens received.
    pub micro_usd_per_million_out: u64,
}

impl Prices {
    /// The price of so many tokens in millionths of a US dollar, rounded up.
    pub fn cost_micro_usd(&self, tokens_in: u64, tokens_out: u64) -> u64 {
        let sum = u128::from(tokens_in) * u128::from(self.micro_usd_per_million_in)
            + u128::from(tokens_out) * u128::from(self.micro_usd_per_million_out);
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// How strictly an endpoint can be told the shape of its answer. Ours is checked in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    /// By JSON Schema, strictly.
    #[default]
    JsonSchema,
    /// Some JSON; the schema stands in the prompt.
    JsonObject,
    /// Not at all; the schema stands in the prompt.
    None,
}

/// The settings do not make a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The base URL is not an http or https URL.
    #[error("the base URL of the AI provider is not an http or https URL")]
    BaseUrl,
    /// The key holds characters that no header can carry.
    #[error("the key of the AI provider cannot be sent in a header")]
    Key,
    /// The HTTP client could not be built.
    #[error("the HTTP client for the AI provider could not be built")]
    Client,
}

/// A pooled client of one endpoint.
pub struct OpenAi {
    settings: OpenAiSettings,
    url: reqwest::Url,
    http: reqwest::Client,
}

impl OpenAi {
    /// Makes the client; nothing is sent yet.
    ///
    /// # Errors
    /// If the settings are not usable.
    pub fn new(settings: OpenAiSettings) -> Result<Self, SettingsError> {
        // The base is parsed by itself first: what is added must not become its host.
        let base = settings.base_url.trim().trim_end_matches('/');
        let is_base = reqwest::Url::parse(base)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !is_base {
            return Err(SettingsError::BaseUrl);
        }
        let url = reqwest::Url::parse(&format!("{base}/chat/completions"))
            .map_err(|_| SettingsError::BaseUrl)?;
        let mut headers = HeaderMap::new();
        if let Some(key) = &settings.api_key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))
                .map_err(|_| SettingsError::Key)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(Duration::from_millis(settings.timeout_ms))
            .connect_timeout(Duration::from_millis(settings.timeout_ms.min(10_000)))
            .pool_idle_timeout(Duration::from_secs(90))
            // A redirect would carry what a person said to a place nobody configured.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|_| SettingsError::Client)?;
        Ok(Self { settings, url, http })
    }

    fn body(&self, prompt: &Prompt) -> Value {
        let mut system = prompt.system.clone();
        if self.settings.response_format != ResponseFormat::JsonSchema {
            system.push_str(&format!("\n\nThe JSON Schema of the answer: {}", prompt.schema));
        }
        let mut body = json!({
            "model": self.model_for(prompt),
            "temperature": prompt.temperature,
            "max_tokens": prompt.max_tokens,
            "messages": [
                { "role": "system", "content": system },
                { "role": "user", "content": prompt.user },
            ],
        });
        match self.settings.response_format {
            ResponseFormat::JsonSchema => {
                body["response_format"] = json!({
                    "type": "json_schema",
                    "json_schema": {
                        "name": prompt.task.as_str(),
                        "strict": true,
                        "schema": prompt.schema,
                    },
                });
            }
            ResponseFormat::JsonObject => {
                body["response_format"] = json!({ "type": "json_object" })
            }
            ResponseFormat::None => {}
        }
        body
    }

    fn read_reply(&self, prompt: &Prompt, bytes: &[u8]) -> Completion {
        let Ok(reply) = serde_json::from_slice::<Reply>(bytes) else {
            return Completion { text: Err(Violation::NotJson), usage: Usage::default() };
        };
        let tokens = reply.usage.unwrap_or_default();
        let (tokens_in, tokens_out) = (tokens.prompt_tokens, tokens.completion_tokens);
        let prices = self.settings.prices.get(&self.model_for(prompt)).copied().unwrap_or_default();
        let usage = Usage {
            tokens_in,
            tokens_out,
            cost_micro_usd: prices.cost_micro_usd(tokens_in, tokens_out),
        };
        let text = match reply.choices.into_iter().next() {
            None => Err(Violation::NotJson),
            Some(choice) if choice.message.refusal.is_some() => Err(Violation::Declined),
            Some(choice) => match choice.finish_reason.as_deref() {
                Some("length") => Err(Violation::NotJson),
                Some("content_filter") => Err(Violation::Declined),
                _ => choice.message.content.ok_or(Violation::NotJson),
            },
        };
        Completion { text, usage }
    }
}

#[async_trait]
impl ChatModel for OpenAi {
    fn provider(&self) -> &str {
        &self.settings.name
    }

    fn model_for(&self, prompt: &Prompt) -> String {
        let offered = |model: &&String| self.settings.prices.contains_key(model.as_str());
        let usual = match prompt.task {
            Task::ReadResume => self.settings.cheap_model.as_ref(),
            Task::JudgeAnswer | Task::NextQuestion | Task::ProposeScores => None,
        };
        let wanted = prompt.wanted_model.as_ref().filter(offered);
        wanted.or(usual).unwrap_or(&self.settings.model).clone()
    }

    #[tracing::instrument(
        name = "reactor.ai.complete",
        skip_all,
        fields(ai.provider = self.settings.name, ai.task = prompt.task.as_str())
    )]
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, AiError> {
        let request = self.http.post(self.url.clone()).json(&self.body(prompt));
        let mut response = request.send().await.map_err(|e| out_of_reach(&e))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(failure(status, response.headers()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| out_of_reach(&e))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > REPLY_BYTES {
                return Err(AiError::InvalidAnswer(Violation::NotJson));
            }
        }
        Ok(self.read_reply(prompt, &bytes))
    }
}

fn out_of_reach(error: &reqwest::Error) -> AiError {
    AiError::Unavailable(if error.is_timeout() { Outage::TimedOut } else { Outage::Connection })
}

fn failure(status: StatusCode, headers: &HeaderMap) -> AiError {
    match status.as_u16() {
        429 => AiError::RateLimited { retry_after: retry_after(headers) },
        code @ 500..=599 => AiError::Unavailable(Outage::Status(code)),
        code => {
            if matches!(code, 401 | 403) {
                tracing::error!(http.status = code, "an AI provider refuses the credentials");
            }
            AiError::Refused { status: code }
        }
    }
}

/// The wait a provider asks for, in whole seconds. A date is not read: no endpoint sends one, and
/// the floor for rate limits holds without it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[derive(Deserialize)]
struct Reply {
    choices: Vec<Choice>,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Deserialize, Default)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_rounded_up_to_a_millionth() {
        let cheap =
            Prices { micro_usd_per_million_in: 150_000, micro_usd_per_million_out: 600_000 };
        assert_eq!(cheap.cost_micro_usd(1000, 500), 450);
        assert_eq!(cheap.cost_micro_usd(1, 0), 1);
        assert_eq!(cheap.cost_micro_usd(0, 0), 0);
    }
}
