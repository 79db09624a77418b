//! Every call to a model, recorded before its answer is used: after that no crash costs a second
//! call, and what was decided can be traced to what was said.
//!
//! A call's id derives from the event that caused it, its purpose and its attempt. The log is asked
//! first whether that call was answered already; a new answer is appended to the `ai_call` stream of
//! what it is about, and what is used is what stands there: the first recorded outcome wins.

use std::sync::Arc;

use async_trait::async_trait;
use commands::{Bus, Order, derive_id};
use domain::ai_call::{AiCalls, Call, Command, Event, Purpose};
use domain::caller::Caller;
use domain::personal::{Personal, Subject};
use domain::values::{Provenance, Spelled};
use eventlog::envelope::{StoredEvent, StreamId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::ai::{
    Ai, Answered, JudgeAnswer, Judgement, NextQuestion, NextStep, Outcome, Proposal, ProposeScores,
    ReadResume, ResumeFacts,
};
use crate::history::Histories;
use crate::reactor::{Fault, Settled, settle};

/// Longest prompt that is recorded whole, in bytes: sealed it must fit into an event together with
/// its answer.
const MAX_PROMPT_BYTES: usize = 96 * 1024;

/// One of the port's tasks.
#[async_trait]
pub trait Request: Send + Sync {
    /// What comes back.
    type Answer: Serialize + DeserializeOwned + Send + Sync;
    /// Under which purpose the call is recorded.
    const PURPOSE: Purpose;

    /// Puts the request to a provider.
    async fn put_to(&self, ai: &dyn Ai) -> Outcome<Self::Answer>;
}

macro_rules! requests {
    ($($request:ident => $answer:ident, $purpose:ident, $method:ident;)*) => {$(
        #[async_trait]
        impl Request for $request {
            type Answer = $answer;
            const PURPOSE: Purpose = Purpose::$purpose;

            async fn put_to(&self, ai: &dyn Ai) -> Outcome<$answer> {
                ai.$method(self).await
            }
        }
    )*};
}

requests! {
    JudgeAnswer => Judgement, JudgeAnswer, judge_answer;
    NextQuestion => NextStep, NextQuestion, next_question;
    ProposeScores => Proposal, ProposeScores, propose_scores;
    ReadResume => ResumeFacts, ReadResume, read_resume;
}

/// Why and about what a model is asked.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The AI principal that asks.
    pub caller: &'a Caller,
    /// The event that caused it.
    pub cause: &'a StoredEvent,
    /// The interview or résumé it is about, whose calls are one stream.
    pub about: Uuid,
    /// Whose data prompt and answer are.
    pub subject: Subject,
    /// Tells calls of one cause and purpose apart, from 0.
    pub attempt: u32,
}

impl Asking<'_> {
    fn call_id(&self, purpose: Purpose) -> Uuid {
        derive_id(self.caller, self.cause.event_id, purpose.as_str(), self.attempt)
    }
}

/// How a call came out, as recorded.
#[derive(Clone, Debug, PartialEq)]
pub enum Recalled<T> {
    /// It was answered.
    Answered {
        /// The checked answer.
        value: T,
        /// Where it comes from.
        provenance: Provenance,
    },
    /// No provider answered; a public code says why.
    Failed {
        /// Such as `AI_001`.
        code: String,
    },
}

/// Asks models and records what they said.
pub struct AiLog {
    bus: Arc<Bus>,
    histories: Arc<Histories>,
    ai: Arc<dyn Ai>,
}

impl AiLog {
    /// Calls to `ai`, recorded through `bus`.
    #[must_use]
    pub fn new(bus: Arc<Bus>, histories: Arc<Histories>, ai: Arc<dyn Ai>) -> Self {
        Self { bus, histories, ai }
    }

    /// Puts the request to the configured AI, unless this call was recorded before.
    ///
    /// # Errors
    /// [`Fault`] when the outcome cannot be recorded; a provider's failure is an outcome.
    pub async fn ask<R: Request>(
        &self,
        asking: &Asking<'_>,
        request: &R,
    ) -> Result<Recalled<R::Answer>, Fault> {
        let call_id = asking.call_id(R::PURPOSE);
        if let Some(known) = self.known(asking, call_id).await? {
            return Ok(known);
        }
        let outcome = request.put_to(&*self.ai).await;
        self.record::<R>(asking, call_id, outcome).await
    }

    /// Puts the request to another provider in the place of the configured one, which failed.
    ///
    /// # Errors
    /// As [`AiLog::ask`].
    pub async fn ask_instead<R: Request>(
        &self,
        other: &dyn Ai,
        asking: &Asking<'_>,
        request: &R,
    ) -> Result<Recalled<R::Answer>, Fault> {
        let call_id = asking.call_id(R::PURPOSE);
        if let Some(known) = self.known(asking, call_id).await? {
            return Ok(known);
        }
        let mut outcome = request.put_to(other).await;
        if let Ok(answered) = &mut outcome {
            answered.provenance.fallback = true;
        }
        self.record::<R>(asking, call_id, outcome).await
    }

    /// The outcome that needs no call: the recorded one, or that nothing of a person who was
    /// forgotten may reach a model.
    async fn known<T: DeserializeOwned>(
        &self,
        asking: &Asking<'_>,
        call_id: Uuid,
    ) -> Result<Option<Recalled<T>>, Fault> {
        let recorded = self.recall(asking, call_id).await?;
        if recorded.is_none()
            && self.histories.is_forgotten(asking.caller.company, asking.subject).await?
        {
            return Ok(Some(Recalled::Failed { code: "SUBJECT_ERASED".to_owned() }));
        }
        Ok(recorded)
    }

    /// The recorded outcome of a call about what `asking` is about; none if it was never recorded or
    /// its subject was forgotten.
    ///
    /// # Errors
    /// [`Fault`] when the calls cannot be read.
    pub async fn recall<T: DeserializeOwned>(
        &self,
        asking: &Asking<'_>,
        call_id: Uuid,
    ) -> Result<Option<Recalled<T>>, Fault> {
        let stream = StreamId::new(
            asking.caller.company,
            <AiCalls as domain::Aggregate>::NAME,
            asking.about,
        );
        let calls = self.histories.now(&stream).await?;
        let outcome = calls.of::<AiCalls>().find_map(|(event, _)| match event {
            Event::Completed(call) if call.provenance.call_id == call_id => {
                let value = serde_json::from_str(call.answer.get()?);
                Some(match value {
                    Ok(value) => Recalled::Answered { value, provenance: call.provenance.clone() },
                    // Recorded in a shape of another time: of no use now, but not asked again.
                    Err(_) => Recalled::Failed { code: "AI_INVALID_ANSWER".to_owned() },
                })
            }
            Event::Failed { call_id: id, code, .. } if *id == call_id => {
                Some(Recalled::Failed { code: code.clone() })
            }
            Event::Completed(_) | Event::Failed { .. } => None,
        });
        Ok(outcome)
    }

    async fn record<R: Request>(
        &self,
        asking: &Asking<'_>,
        call_id: Uuid,
        outcome: Outcome<R::Answer>,
    ) -> Result<Recalled<R::Answer>, Fault> {
        let failed_calls = match &outcome {
            Ok(answered) => answered.failed_calls.clone(),
            Err(_) => vec![],
        };
        // Providers that failed before another one answered leave their trace as well.
        for (call, n) in failed_calls.iter().zip(1_u32..) {
            let purpose = format!("{}/failed", R::PURPOSE.as_str());
            let ordinal = asking.attempt * 1000 + n;
            let call_id = derive_id(asking.caller, asking.cause.event_id, &purpose, ordinal);
            self.record_failure(asking, R::PURPOSE, call_id, call.error.code(), call.attempts)
                .await?;
        }
        let settled = match outcome {
            Ok(answered) => {
                let call = call(asking, R::PURPOSE, call_id, answered)?;
                self.tell(asking, call_id, Command::RecordAnswered { call: Box::new(call) }).await?
            }
            Err(failed) => {
                let n_attempts = failed.calls.iter().map(|call| call.attempts).sum();
                let code = failed.error.code();
                self.record_failure(asking, R::PURPOSE, call_id, code, n_attempts).await?
            }
        };
        match settled {
            Settled::Done(_) => {}
            Settled::Refused(code @ "TOO_LARGE") => {
                self.record_failure(asking, R::PURPOSE, call_id, code, 1).await?;
            }
            // The subject was forgotten: nothing is kept, so nothing is used.
            Settled::Refused(code) => return Ok(Recalled::Failed { code: code.to_owned() }),
        }
        // Another worker may have been first, and then its outcome holds.
        let recorded = self.recall(asking, call_id).await?;
        Ok(recorded.unwrap_or_else(|| Recalled::Failed { code: "SUBJECT_ERASED".to_owned() }))
    }

    async fn record_failure(
        &self,
        asking: &Asking<'_>,
        purpose: Purpose,
        call_id: Uuid,
        code: &str,
        n_attempts: u32,
    ) -> Result<Settled, Fault> {
        let n_attempts = u16::try_from(n_attempts).unwrap_or(u16::MAX);
        let code = code.to_owned();
        self.tell(asking, call_id, Command::RecordFailed { call_id, purpose, code, n_attempts })
            .await
    }

    async fn tell(
        &self,
        asking: &Asking<'_>,
        call_id: Uuid,
        command: Command,
    ) -> Result<Settled, Fault> {
        let Asking { caller, cause, about, .. } = asking;
        let order = Order::of_event(caller, cause, &format!("record/{call_id}"));
        settle("ai_call", self.bus.execute::<AiCalls>(caller, *about, command, order).await)
    }
}

fn call<T: Serialize>(
    asking: &Asking<'_>,
    purpose: Purpose,
    call_id: Uuid,
    answered: Answered<T>,
) -> Result<Call, Fault> {
    let answer = serde_json::to_string(&answered.value)
        .map_err(|_| Fault::Poison("an answer cannot be written".to_owned()))?;
    let Answered { provenance, call, .. } = answered;
    let tokens = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Call {
        purpose,
        provenance: Provenance {
            call_id,
            provider: provenance.provider,
            model: provenance.model,
            prompt_version: provenance.prompt_version,
            fallback: provenance.fallback,
        },
        request_hash: call.request_hash,
        tokens_in: tokens(call.usage.tokens_in),
        tokens_out: tokens(call.usage.tokens_out),
        cost_micro_usd: call.usage.cost_micro_usd,
        latency_ms: call.latency_ms,
        attempt: u16::try_from(call.attempt).unwrap_or(u16::MAX),
        prompt: Personal::new(asking.subject, cut(call.prompt)),
        answer: Personal::new(asking.subject, answer),
    })
}

/// A prompt that is too long to be kept whole is cut and says so; its hash is that of the whole.
fn cut(mut prompt: String) -> String {
    if prompt.len() > MAX_PROMPT_BYTES {
        let mut end = MAX_PROMPT_BYTES;
        while !prompt.is_char_boundary(end) {
            end -= 1;
        }
        prompt.truncate(end);
        prompt.push_str("\n[cut here]");
    }
    prompt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_too_long_to_be_kept_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("short".to_owned()), "short");
        let kept = cut("é".repeat(MAX_PROMPT_BYTES));
        assert!(kept.ends_with("[cut here]"));
        assert!(kept.len() < MAX_PROMPT_BYTES + 20);
    }
}
