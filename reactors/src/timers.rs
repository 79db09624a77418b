//! Time in a talk: a question waits only so long for its answer, and a round that falls silent is
//! abandoned. The reactor keeps the deadlines in step with the talk; the clock acts on what is due.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use commands::{Bus, CommandError, Order, derive_id};
use domain::Aggregate;
use domain::caller::Caller;
use domain::ids::QuestionId;
use domain::interview::{Command, Event, Interview, Status};
use eventlog::clock::Clock;
use eventlog::codec::Recorded;
use eventlog::deadlines::{Deadline, DeadlineError, Deadlines};
use eventlog::envelope::StoredEvent;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::history::View;
use crate::reactor::{Fault, Reactor, Tools};

/// A question waits for its answer; the detail is the question.
pub const ANSWER: &str = "answer";
/// A round falls silent.
pub const ABANDON: &str = "abandon";

/// How many due deadlines are acted on at once.
const AT_ONCE: usize = 16;
/// How many due deadlines are looked at in one go.
const MOST_DUE: usize = 200;

/// Keeps deadlines in step with talks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timers;

/// What follows for deadlines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Set or move a deadline.
    Set {
        /// [`ANSWER`] or [`ABANDON`].
        kind: &'static str,
        /// The question, for [`ANSWER`].
        detail: Option<Uuid>,
        /// When.
        due_at: DateTime<Utc>,
    },
    /// The question waits no more.
    ClearAnswer(QuestionId),
    /// The round is over.
    ClearAll,
}

#[async_trait]
impl Reactor for Timers {
    const NAME: &'static str = "reactor.timers";
    const AGGREGATE: &'static str = Interview::NAME;
    const EVENTS: &'static [&'static str] = &[
        "interview.started",
        "interview.joined",
        "interview.left",
        "interview.question_asked",
        "interview.follow_up_asked",
        "interview.answer_recorded",
        "interview.question_timed_out",
        "interview.note_added",
        "interview.completed",
        "interview.abandoned",
        "interview.cancelled",
    ];
    type Action = Action;

    fn react(&self, view: &View, event: &Recorded) -> Vec<Action> {
        let Some(event) = Interview::event(&event.event) else {
            return vec![];
        };
        let interview: Interview = view.state();
        let due = |kind, detail| {
            let due_at = due_at(&interview, kind, detail)?;
            Some(Action::Set { kind, detail, due_at })
        };
        match event {
            Event::Started {}
            | Event::Joined { .. }
            | Event::Left { .. }
            | Event::NoteAdded { .. } => due(ABANDON, None).into_iter().collect(),
            Event::QuestionAsked { question_id, .. } | Event::FollowUpAsked { question_id, .. } => {
                [due(ANSWER, Some(question_id.0)), due(ABANDON, None)]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Event::AnswerRecorded { question_id, .. } => {
                [Some(Action::ClearAnswer(*question_id)), due(ABANDON, None)]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Event::QuestionTimedOut { question_id } => vec![Action::ClearAnswer(*question_id)],
            Event::Completed { .. } | Event::Abandoned {} | Event::Cancelled { .. } => {
                vec![Action::ClearAll]
            }
            _ => vec![],
        }
    }

    async fn act(
        &self,
        action: Action,
        _: &View,
        cause: &StoredEvent,
        tools: &Tools,
    ) -> Result<(), Fault> {
        let stream = &cause.stream;
        match action {
            Action::Set { kind, detail, due_at } => {
                let caller = Caller::system(stream.company, "clock");
                let deadline = Deadline {
                    id: derive_id(&caller, cause.event_id, kind, 0),
                    kind: kind.to_owned(),
                    stream: stream.clone(),
                    detail,
                    due_at,
                    cause: cause.event_id,
                };
                tools.deadlines.set(deadline).await?;
            }
            Action::ClearAnswer(question_id) => {
                tools.deadlines.clear(stream, Some((ANSWER, Some(question_id.0)))).await?;
            }
            Action::ClearAll => tools.deadlines.clear(stream, None).await?,
        }
        Ok(())
    }
}

/// When it is due by what has happened so far; none if it is not due at all any more.
fn due_at(interview: &Interview, kind: &str, detail: Option<Uuid>) -> Option<DateTime<Utc>> {
    if interview.status() != Some(Status::InProgress) {
        return None;
    }
    let conversation = &interview.round()?.conversation;
    let after = |at: DateTime<Utc>, seconds: u32| at + TimeDelta::seconds(seconds.into());
    match kind {
        ANSWER => {
            let open = interview.open_question()?;
            let is_it = Some(open.question_id.0) == detail;
            is_it.then(|| after(open.asked_at, conversation.answer_timeout_s))
        }
        ABANDON => Some(after(interview.last_activity()?, conversation.abandon_after_s)),
        _ => None,
    }
}

/// Acts on what is due.
pub struct Alarm {
    deadlines: Arc<dyn Deadlines>,
    bus: Arc<Bus>,
}

impl Alarm {
    /// Acts on `deadlines` through `bus`.
    #[must_use]
    pub fn new(deadlines: Arc<dyn Deadlines>, bus: Arc<Bus>) -> Self {
        Self { deadlines, bus }
    }

    /// Acts on everything that is due at `now`; answers how many deadlines were looked at. Any number
    /// of processes may do so at once: each deadline has one command id.
    ///
    /// # Errors
    /// [`DeadlineError`]; what was not acted on stays due.
    pub async fn fire_due(&self, now: DateTime<Utc>) -> Result<usize, DeadlineError> {
        let mut n_fired = 0;
        loop {
            let due = self.deadlines.due(now, MOST_DUE).await?;
            let n_due = due.len();
            let results: Vec<Result<(), DeadlineError>> = futures::stream::iter(due)
                .map(|deadline| self.fire(deadline, now))
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            n_fired += n_due;
            results.into_iter().collect::<Result<(), _>>()?;
            if n_due < MOST_DUE {
                return Ok(n_fired);
            }
        }
    }

    async fn fire(&self, deadline: Deadline, now: DateTime<Utc>) -> Result<(), DeadlineError> {
        let command = match (deadline.kind.as_str(), deadline.detail) {
            (ANSWER, Some(question)) => Command::TimeOut { question_id: QuestionId(question) },
            (ABANDON, None) => Command::Abandon,
            _ => {
                tracing::error!(kind = %deadline.kind, "a deadline of an unknown kind is dropped");
                return self.deadlines.done(&deadline).await;
            }
        };
        let caller = Caller::system(deadline.stream.company, "clock");
        let order = Order {
            command_id: derive_id(&caller, deadline.cause, &deadline.kind, 0),
            expected_version: None,
            input: deadline.kind.as_bytes().to_vec(),
            correlation_id: None,
            causation_id: Some(deadline.cause),
            trace_parent: None,
            derived: true,
        };
        let result =
            self.bus.execute::<Interview>(&caller, deadline.stream.id, command, order).await;
        match result {
            Err(error) if error.code() == "INT_TOO_EARLY" => self.set_again(deadline, now).await,
            Ok(_) => self.deadlines.done(&deadline).await,
            Err(error) if error.is_transient() => {
                tracing::warn!(
                    error.code = error.code(),
                    "a deadline cannot be acted on at present"
                );
                self.postpone(deadline, now, TimeDelta::seconds(1)).await
            }
            Err(
                error @ (CommandError::Unreadable
                | CommandError::NewerHistory
                | CommandError::Forbidden),
            ) => {
                tracing::error!(error.code = error.code(), "a deadline cannot be acted on");
                self.postpone(deadline, now, TimeDelta::seconds(60)).await
            }
            // The talk has gone on without it.
            Err(_) => self.deadlines.done(&deadline).await,
        }
    }

    /// The talk went on and the deadline was not moved yet: it is due when the talk says.
    async fn set_again(&self, deadline: Deadline, now: DateTime<Utc>) -> Result<(), DeadlineError> {
        let of = (deadline.stream.company, deadline.stream.id);
        let Ok(interview) = self.bus.state::<Interview>(of.0, of.1).await else {
            return self.postpone(deadline, now, TimeDelta::seconds(1)).await;
        };
        match interview.and_then(|i| due_at(&i, &deadline.kind, deadline.detail)) {
            Some(due_at) => {
                // Never due at once again, whatever the clocks say.
                let due_at = due_at.max(now + TimeDelta::milliseconds(250));
                self.deadlines.set(Deadline { due_at, ..deadline }).await
            }
            None => self.deadlines.done(&deadline).await,
        }
    }

    async fn postpone(
        &self,
        deadline: Deadline,
        now: DateTime<Utc>,
        by: TimeDelta,
    ) -> Result<(), DeadlineError> {
        self.deadlines.set(Deadline { due_at: now + by, ..deadline }).await
    }
}

/// Looks at what is due, again and again, until `stop`.
pub async fn run_clock(
    deadlines: Arc<dyn Deadlines>,
    bus: Arc<Bus>,
    clock: Arc<dyn Clock>,
    every: Duration,
    stop: CancellationToken,
) {
    let alarm = Alarm::new(deadlines, bus);
    let mut wait = every;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let fired = tokio::select! {
            () = stop.cancelled() => return,
            fired = alarm.fire_due(clock.now()) => fired,
        };
        wait = match fired {
            Ok(_) => every,
            Err(DeadlineError) => (wait * 2).clamp(every, Duration::from_secs(5)),
        };
    }
}
