//! What stands between a model and the product: checks, retries, and the next provider in line.
//!
//! Nothing a model says is believed. Its answer must be JSON of the asked shape, and then it must
//! be true to the request: numbers in range, known keys, citations that exist. An answer that is
//! not is worth another attempt and is an error after the last one.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::checks::{Checked, read};
use super::prompts::Prompt;
use super::quota::{Quota, Unlimited};
use super::{
    Ai, AiError, Answered, Call, Failed, FailedCall, JudgeAnswer, Judgement, NextQuestion,
    NextStep, Outage, Outcome, Proposal, ProposeScores, Provenance, ReadResume, ResumeFacts, Usage,
    Violation, rules,
};

/// The quota is not asked again sooner.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// A model that turns one prompt into one text. An adapter makes a single attempt and judges
/// nothing; [`Guarded`] does the rest.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// The provider's configured name.
    fn provider(&self) -> &str;

    /// The model that will answer this prompt.
    fn model_for(&self, prompt: &Prompt) -> String;

    /// One attempt. The usage is what was paid, also for an answer that turns out to be useless.
    ///
    /// # Errors
    /// How the attempt failed, and whether another one is worth it is decided by the guard.
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, AiError>;
}

/// What a model answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Completion {
    /// The text, or why it cannot be used.
    pub text: Result<String, Violation>,
    /// What it cost.
    pub usage: Usage,
}

/// When to try again. Every time is a setting, so that nothing has to be waited for in tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Most attempts at one provider, the first included.
    pub tries: u32,
    /// Wait before the second, third, … attempt, in milliseconds; the last one repeats.
    pub waits_ms: Vec<u64>,
    /// Most that chance adds to each of these waits, in milliseconds; the last one repeats.
    pub jitter_ms: Vec<u64>,
    /// Least wait after being rate-limited, in milliseconds.
    pub rate_limited_floor_ms: u64,
    /// A provider that asks for a longer wait than this is given up at once, in milliseconds; so is one
    /// that the quota of calls does not let be asked for so long.
    pub longest_wait_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 3,
            waits_ms: vec![1000, 2000, 4000],
            jitter_ms: vec![0, 500, 1000],
            rate_limited_floor_ms: 5000,
            longest_wait_ms: 30_000,
        }
    }
}

impl RetryPolicy {
    /// How long to wait after the given failed attempt (from 1); none if it was the last one, or
    /// if trying again cannot help.
    pub fn wait_after(&self, attempt: u32, error: &AiError) -> Option<Duration> {
        if attempt >= self.tries {
            return None;
        }
        let nth = (attempt as usize).saturating_sub(1);
        let pick = |list: &[u64]| list.get(nth).or(list.last()).copied().unwrap_or(0);
        let jitter_ms = match pick(&self.jitter_ms) {
            0 => 0,
            most => rand::rng().random_range(0..=most),
        };
        let wait = Duration::from_millis(pick(&self.waits_ms).saturating_add(jitter_ms));
        match error {
            AiError::Refused { .. } | AiError::QuotaSpent { .. } => None,
            // Other statuses of the provider's own failure do not pass by themselves.
            AiError::Unavailable(Outage::Status(status)) => {
                matches!(status, 500 | 502 | 503 | 504).then_some(wait)
            }
            AiError::Unavailable(_) | AiError::InvalidAnswer(_) => Some(wait),
            AiError::RateLimited { retry_after } => {
                let asked = retry_after.unwrap_or_default();
                let floor = Duration::from_millis(self.rate_limited_floor_ms);
                (asked <= Duration::from_millis(self.longest_wait_ms))
                    .then(|| wait.max(floor).max(asked))
            }
        }
    }
}

/// Passes the time between attempts.
pub trait Sleeper: Send + Sync {
    /// Resolves after the duration.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Really waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioSleeper;

impl Sleeper for TokioSleeper {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A chat model behind checks and retries: the port, as far as one provider can serve it.
pub struct Guarded<M> {
    model: M,
    policy: RetryPolicy,
    sleeper: Arc<dyn Sleeper>,
    quota: Arc<dyn Quota>,
}

impl<M: ChatModel> Guarded<M> {
    /// Guards a model, which may be called as often as it is needed.
    pub fn new(model: M, policy: RetryPolicy, sleeper: Arc<dyn Sleeper>) -> Self {
        Self { model, policy, sleeper, quota: Arc::new(Unlimited) }
    }

    /// The same model, called no oftener than the quota lets it.
    #[must_use]
    pub fn within(self, quota: Arc<dyn Quota>) -> Self {
        Self { quota, ..self }
    }

    async fn ask<R: Checked>(&self, request: &R) -> Outcome<R::Answer> {
        if let Some(value) = request.without_model() {
            return Ok(rules::answered(request, value));
        }
        let started = Instant::now();
        let prompt = request.prompt();
        let provenance = Provenance {
            provider: self.model.provider().to_owned(),
            model: self.model.model_for(&prompt),
            prompt_version: prompt.version.to_owned(),
            fallback: false,
        };
        let request_hash = request_hash(&prompt, &provenance.provider, &provenance.model);
        let mut usage = Usage::default();
        let mut attempt = 1;
        loop {
            let error = match self.attempt(request, &prompt, &mut usage).await {
                Ok((value, raw_answer)) => {
                    count(&provenance, &prompt, "ok");
                    let call = Call {
                        task: prompt.task,
                        request_hash,
                        usage,
                        latency_ms: elapsed_ms(started),
                        attempt,
                        prompt: format!("{}\n\n{}", prompt.system, prompt.user),
                        raw_answer,
                    };
                    return Ok(Answered { value, provenance, call, failed_calls: Vec::new() });
                }
                Err(error) => error,
            };
            count(&provenance, &prompt, error.code());
            let Some(wait) = self.policy.wait_after(attempt, &error) else {
                let call = FailedCall {
                    task: prompt.task,
                    provenance,
                    request_hash,
                    usage,
                    latency_ms: elapsed_ms(started),
                    attempts: attempt,
                    error: error.clone(),
                };
                return Err(Box::new(Failed { error, calls: vec![call] }));
            };
            self.sleeper.sleep(wait).await;
            attempt += 1;
        }
    }

    /// Waits until the quota lets a call through. Many may wait for the same one, so it is asked for
    /// again after each wait.
    async fn wait_for_turn(&self) -> Result<(), AiError> {
        let mut left = Duration::from_millis(self.policy.longest_wait_ms);
        while let Err(wait) = self.quota.take().await {
            let wait = wait.max(SHORTEST_WAIT);
            let spent = AiError::QuotaSpent { retry_after: wait };
            left = left.checked_sub(wait).ok_or(spent)?;
            self.sleeper.sleep(wait).await;
        }
        Ok(())
    }

    async fn attempt<R: Checked>(
        &self,
        request: &R,
        prompt: &Prompt,
        usage: &mut Usage,
    ) -> Result<(R::Answer, String), AiError> {
        self.wait_for_turn().await?;
        let completion = self.model.complete(prompt).await?;
        *usage += completion.usage;
        let text = completion.text.map_err(AiError::InvalidAnswer)?;
        let value = read(request, prompt, &text).map_err(AiError::InvalidAnswer)?;
        Ok((value, text))
    }
}

#[async_trait]
impl<M: ChatModel> Ai for Guarded<M> {
    async fn judge_answer(&self, request: &JudgeAnswer) -> Outcome<Judgement> {
        self.ask(request).await
    }

    async fn next_question(&self, request: &NextQuestion) -> Outcome<NextStep> {
        self.ask(request).await
    }

    async fn propose_scores(&self, request: &ProposeScores) -> Outcome<Proposal> {
        self.ask(request).await
    }

    async fn read_resume(&self, request: &ReadResume) -> Outcome<ResumeFacts> {
        self.ask(request).await
    }
}

/// Providers in order: the first answers; when it fails the next one does, and says so.
pub struct AiChain {
    providers: Vec<Arc<dyn Ai>>,
}

impl AiChain {
    /// A chain of providers, the preferred one first.
    pub fn new(providers: Vec<Arc<dyn Ai>>) -> Self {
        Self { providers }
    }

    async fn first<'a, T, F>(&'a self, ask: impl Fn(&'a dyn Ai) -> F + Send) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>> + Send,
    {
        let mut failed_calls = Vec::new();
        for provider in &self.providers {
            match ask(provider.as_ref()).await {
                Ok(mut answered) => {
                    answered.provenance.fallback |= !failed_calls.is_empty();
                    failed_calls.append(&mut answered.failed_calls);
                    answered.failed_calls = failed_calls;
                    return Ok(answered);
                }
                Err(failed) => {
                    for call in &failed.calls {
                        tracing::warn!(
                            ai.provider = call.provenance.provider,
                            ai.model = call.provenance.model,
                            ai.task = call.task.as_str(),
                            ai.attempts = call.attempts,
                            error.code = call.error.code(),
                            "an AI provider failed: {}",
                            call.error
                        );
                    }
                    failed_calls.extend(failed.calls);
                }
            }
        }
        Err(Box::new(Failed { error: summed_up(&failed_calls), calls: failed_calls }))
    }
}

#[async_trait]
impl Ai for AiChain {
    async fn judge_answer(&self, request: &JudgeAnswer) -> Outcome<Judgement> {
        self.first(|ai| ai.judge_answer(request)).await
    }

    async fn next_question(&self, request: &NextQuestion) -> Outcome<NextStep> {
        self.first(|ai| ai.next_question(request)).await
    }

    async fn propose_scores(&self, request: &ProposeScores) -> Outcome<Proposal> {
        self.first(|ai| ai.propose_scores(request)).await
    }

    async fn read_resume(&self, request: &ReadResume) -> Outcome<ResumeFacts> {
        self.first(|ai| ai.read_resume(request)).await
    }
}

/// One error for many: their common kind, or that nobody could answer.
fn summed_up(calls: &[FailedCall]) -> AiError {
    match calls {
        [] => AiError::Unavailable(Outage::NoProvider),
        [first, rest @ ..] if rest.iter().all(|c| c.error.code() == first.error.code()) => {
            first.error.clone()
        }
        _ => AiError::Unavailable(Outage::NoProvider),
    }
}

/// SHA-256 in lowercase hex over the canonical request.
pub(super) fn request_hash(prompt: &Prompt, provider: &str, model: &str) -> String {
    let request = json!({
        "task": prompt.task,
        "prompt_version": prompt.version,
        "provider": provider,
        "model": model,
        "temperature": prompt.temperature,
        "max_tokens": prompt.max_tokens,
        "system": prompt.system,
        "user": prompt.user,
        "schema": prompt.schema,
    });
    let mut canonical = String::new();
    write_canonical(&request, &mut canonical);
    Sha256::digest(canonical.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// JSON with sorted keys and no space, whatever order the map type keeps.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", Value::String(key.clone()));
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        plain => {
            let _ = write!(out, "{plain}");
        }
    }
}

pub(super) fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn count(provenance: &Provenance, prompt: &Prompt, status: &'static str) {
    metrics::counter!(
        "ai_api_requests_total",
        "provider" => provenance.provider.clone(),
        "endpoint" => prompt.task.as_str(),
        "status" => status
    )
    .increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_with_the_last_try() {
        let policy = RetryPolicy { jitter_ms: vec![], ..RetryPolicy::default() };
        let outage = AiError::Unavailable(Outage::TimedOut);
        assert_eq!(policy.wait_after(1, &outage), Some(Duration::from_secs(1)));
        assert_eq!(policy.wait_after(2, &outage), Some(Duration::from_secs(2)));
        assert_eq!(policy.wait_after(3, &outage), None);
        assert_eq!(policy.wait_after(1, &AiError::Refused { status: 401 }), None);
    }

    #[test]
    fn chance_adds_no_more_than_the_setting() {
        let policy = RetryPolicy::default();
        let outage = AiError::Unavailable(Outage::Connection);
        for _ in 0..100 {
            let wait = policy.wait_after(2, &outage).unwrap();
            assert!((2000..=2500).contains(&wait.as_millis()), "{wait:?}");
        }
    }

    #[test]
    fn a_rate_limit_is_waited_out_as_the_provider_asks() {
        let policy = RetryPolicy { jitter_ms: vec![], ..RetryPolicy::default() };
        let limited = |seconds: Option<u64>| AiError::RateLimited {
            retry_after: seconds.map(Duration::from_secs),
        };
        assert_eq!(policy.wait_after(1, &limited(None)), Some(Duration::from_secs(5)));
        assert_eq!(policy.wait_after(1, &limited(Some(2))), Some(Duration::from_secs(5)));
        assert_eq!(policy.wait_after(1, &limited(Some(12))), Some(Duration::from_secs(12)));
        assert_eq!(policy.wait_after(1, &limited(Some(3600))), None, "the next provider is nearer");
    }

    #[test]
    fn the_hash_does_not_depend_on_the_order_of_keys() {
        let mut one = String::new();
        let mut two = String::new();
        write_canonical(&json!({"b": [1, {"d": 2, "c": "x\""}], "a": null}), &mut one);
        write_canonical(&json!({"a": null, "b": [1, {"c": "x\"", "d": 2}]}), &mut two);
        assert_eq!(one, two);
        assert_eq!(one, r#"{"a":null,"b":[1,{"c":"x\"","d":2}]}"#);
    }
}
