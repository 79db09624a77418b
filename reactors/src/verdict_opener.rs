//! Opens the verdict of every round that ended with something to decide on.

use async_trait::async_trait;
use commands::derive_id;
use domain::Aggregate;
use domain::caller::Caller;
use domain::ids::{InterviewId, JobId};
use domain::interview::{Event, Interview};
use domain::verdict::{Command, Verdict};
use eventlog::codec::Recorded;
use eventlog::envelope::StoredEvent;

use crate::history::View;
use crate::reactor::{Fault, Reactor, Tools};

/// Opens verdicts.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerdictOpener;

/// Open the verdict of the round at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The round's job, whose rubric the verdict copies.
    pub job_id: JobId,
}

#[async_trait]
impl Reactor for VerdictOpener {
    const NAME: &'static str = "reactor.verdict_opener";
    const AGGREGATE: &'static str = Interview::NAME;
    const EVENTS: &'static [&'static str] = &["interview.completed", "interview.abandoned"];
    type Action = Open;

    fn react(&self, view: &View, event: &Recorded) -> Vec<Open> {
        match Interview::event(&event.event) {
            Some(Event::Completed { .. } | Event::Abandoned {}) => {
                let interview: Interview = view.state();
                interview.round().map(|round| Open { job_id: round.job_id }).into_iter().collect()
            }
            _ => vec![],
        }
    }

    async fn act(
        &self,
        Open { job_id }: Open,
        _: &View,
        cause: &StoredEvent,
        tools: &Tools,
    ) -> Result<(), Fault> {
        let caller = Caller::system(cause.stream.company, "verdicts");
        // The same verdict whenever the event comes.
        let id = derive_id(&caller, cause.event_id, "verdict", 0);
        let command = Command::Open { interview_id: InterviewId(cause.stream.id), job_id };
        tools.order::<Verdict>(&caller, id, command, cause, "open").await.map(drop)
    }
}
