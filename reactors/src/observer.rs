//! The observer raises what is worth a look in a talk: answers of unusual quality, and answers that
//! took long. Only under consent, and never an input of a score.

use async_trait::async_trait;
use domain::Aggregate;
use domain::caller::Caller;
use domain::ids::InterviewId;
use domain::interview::{Event, Interview};
use domain::observation::{Command, InsightType, Noticed, Observation, Severity};
use eventlog::codec::Recorded;
use eventlog::envelope::StoredEvent;

use crate::conductor::plan::POOR_BELOW;
use crate::history::View;
use crate::reactor::{Fault, Reactor, Tools};
use crate::talk::Talk;

/// From this score on an answer is worth a look because it is good.
const REMARKABLE_FROM: f64 = 85.0;
/// Longer than this, in milliseconds, an answer took long.
const LONG_MS: u64 = 120_000;

/// Observes talks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Observer;

#[async_trait]
impl Reactor for Observer {
    const NAME: &'static str = "reactor.observer";
    const AGGREGATE: &'static str = Interview::NAME;
    const EVENTS: &'static [&'static str] =
        &["interview.answer_judged", "interview.answer_recorded"];
    type Action = Noticed;

    fn react(&self, view: &View, event: &Recorded) -> Vec<Noticed> {
        let Some(talk) = Talk::of(view).filter(|talk| talk.state.ai_may_analyse()) else {
            return vec![];
        };
        let since_start = talk.started_at.map(|start| event.stored.occurred_at - start);
        let ms_from_start = since_start.map_or(0, |since| since.num_milliseconds());
        let noticed = |insight_type, severity, value, explanation| Noticed {
            insight_type,
            severity,
            ms_from_start: u64::try_from(ms_from_start).unwrap_or(0),
            value: Some(value),
            explanation,
        };
        let found = match Interview::event(&event.event) {
            Some(Event::AnswerJudged { judgement, .. }) => {
                let score = judgement.score.get();
                let severity = match score {
                    s if s < POOR_BELOW => Some(Severity::Warning),
                    s if s >= REMARKABLE_FROM => Some(Severity::Info),
                    _ => None,
                };
                let explanation = format!("The answer was judged {score:.2} of 100.");
                severity.map(|s| noticed(InsightType::AnswerQuality, s, score, explanation))
            }
            Some(Event::AnswerRecorded { response_time_ms, .. }) if *response_time_ms > LONG_MS => {
                let seconds = response_time_ms / 1000;
                let explanation = format!("The answer came after {seconds} seconds.");
                #[expect(clippy::cast_precision_loss, reason = "a measure for people")]
                let value = *response_time_ms as f64;
                Some(noticed(InsightType::ResponseTime, Severity::Info, value, explanation))
            }
            _ => None,
        };
        found.into_iter().collect()
    }

    async fn act(
        &self,
        noticed: Noticed,
        _: &View,
        cause: &StoredEvent,
        tools: &Tools,
    ) -> Result<(), Fault> {
        let caller = Caller::system(cause.stream.company, "observer");
        let id = cause.stream.id;
        let command =
            Command::RaiseInsights { interview_id: InterviewId(id), noticed: vec![noticed] };
        tools.order::<Observation>(&caller, id, command, cause, "observe").await.map(drop)
    }
}
