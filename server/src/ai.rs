//! Settings → the ordered list of AI providers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use identity::rate_limits::{Class, Limited, RateLimits, Subject};
use reactors::ai::Ai;
use reactors::ai::guard::{AiChain, Guarded, RetryPolicy, TokioSleeper};
use reactors::ai::openai::{OpenAi, OpenAiSettings, Prices, ResponseFormat};
use reactors::ai::quota::Quota;
use reactors::ai::rules::RulesAi;
use secrecy::SecretString;

use crate::config;

/// How long to wait where nobody can count at present.
const UNCOUNTED: Duration = Duration::from_secs(1);

/// The bucket of calls that all workers of the installation share.
pub struct Calls(pub RateLimits);

#[async_trait]
impl Quota for Calls {
    async fn take(&self) -> Result<(), Duration> {
        match self.0.take(Class::AiCall, Subject::Workers, 1).await {
            Ok(_) => Ok(()),
            Err(Limited::TooMany { wait, .. }) => Err(wait),
            Err(Limited::Unavailable) => Err(UNCOUNTED),
        }
    }
}

/// The providers in the order in which they are tried; those outside are called as the quota lets them.
///
/// # Errors
/// When one is named that is not set up, or a key is missing.
pub fn chain(settings: &config::Ai, quota: &Arc<dyn Quota>) -> anyhow::Result<AiChain> {
    let mut providers: Vec<Arc<dyn Ai>> = vec![];
    for name in &settings.providers {
        if name == "rules" {
            providers.push(Arc::new(RulesAi));
            continue;
        }
        let endpoint = settings.openai.get(name);
        let endpoint = endpoint.with_context(|| {
            format!("ai.providers names {name}, but there is no [ai.openai.{name}]")
        })?;
        let model = OpenAi::new(open_ai(name, endpoint))
            .with_context(|| format!("ai.openai.{name} cannot be used"))?;
        let sleeper = Arc::new(TokioSleeper);
        let guarded = Guarded::new(model, RetryPolicy::default(), sleeper);
        providers.push(Arc::new(guarded.within(Arc::clone(quota))));
    }
    anyhow::ensure!(!providers.is_empty(), "ai.providers is empty; \"rules\" needs nothing");
    Ok(AiChain::new(providers))
}

fn open_ai(name: &str, endpoint: &config::OpenAi) -> OpenAiSettings {
    let prices = Prices {
        micro_usd_per_million_in: micro(endpoint.usd_per_million_in),
        micro_usd_per_million_out: micro(endpoint.usd_per_million_out),
    };
    OpenAiSettings {
        name: name.to_owned(),
        base_url: endpoint.base_url.clone(),
        api_key: Some(endpoint.api_key.expose())
            .filter(|key| !key.is_empty())
            .map(SecretString::from),
        model: endpoint.model.clone(),
        cheap_model: None,
        prices: [(endpoint.model.clone(), prices)].into(),
        timeout_ms: 45_000,
        response_format: ResponseFormat::default(),
    }
}

/// Millionths of a dollar.
fn micro(usd: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a price is a small positive number; the cast saturates"
    )]
    let micro = (usd * 1_000_000.0).round() as u64;
    micro
}
