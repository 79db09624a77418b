//! Live events: an interview's conversation, the live board, and what is noticed and decided.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, ID, Interface, Object, SimpleObject, Subscription};
use chrono::{DateTime, Utc};
use domain::Event;
use domain::access::{Fields, What};
use domain::ids::{CandidateId, InterviewId, VerdictId};
use domain::interview::Event as Happened;
use domain::permission::{self, Action};
use domain::verdict::Verdict as VerdictAggregate;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use projections::live::{LiveError, Topic};
use projections::projector::Projector;
use projections::{Reads, Recorded, StreamId, Token, Version, as_of};
use projections::{interviews, observations, verdicts};
use uuid::Uuid;

use super::{
    AskedBy, CompletionReason, ConsentPurpose, Interview, InterviewMode, InterviewStatus, Party,
    RoundType, stream,
};
use crate::ApiState;
use crate::access::{Shown, of_request, shows};
use crate::candidate::Provenance;
use crate::error::ApiError;
use crate::inputs::id;
use crate::job::{Difficulty, QuestionType};
use crate::live::{Gate, Watch, audience, cursor, foreign_cursor, place, token};
use crate::observation::Insight;
use crate::payload::shown;
use crate::scope::{Scoped, Written, is_candidate};
use crate::verdict::{Verdict, VerdictStatus};

/// What every event of an interview has.
#[derive(Clone)]
struct Common {
    cursor: String,
    event_id: Uuid,
    event_type: String,
    version: i32,
    sequence: Option<u32>,
    status: InterviewStatus,
    occurred_at: DateTime<Utc>,
    interview_id: ID,
}

/// Declares the events of an interview and the interface that they share.
macro_rules! interview_events {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(SimpleObject)]
            pub struct $name {
                /// Place of the event: subscribe with it as `after` to go on behind it. It is a
                /// consistency token, too.
                cursor: String,
                /// The event's id.
                event_id: Uuid,
                /// Stored name, such as `interview.question_asked`.
                event_type: String,
                /// Version of the interview that it made: 1, 2, 3 …
                version: i32,
                /// Place in the conversation, for questions, follow-ups and answers.
                sequence: Option<u32>,
                /// Where the interview stood right after it.
                status: InterviewStatus,
                /// When it happened, UTC.
                occurred_at: DateTime<Utc>,
                /// Global id of the interview, `intv_…`.
                interview_id: ID,
                $($(#[$field_doc])* $field: $type,)*
            }

            impl $name {
                fn of(common: Common, ($($field,)*): ($($type,)*)) -> InterviewEvent {
                    let Common {
                        cursor,
                        event_id,
                        event_type,
                        version,
                        sequence,
                        status,
                        occurred_at,
                        interview_id,
                    } = common;
                    InterviewEvent::$name(Self {
                        cursor,
                        event_id,
                        event_type,
                        version,
                        sequence,
                        status,
                        occurred_at,
                        interview_id,
                        $($field,)*
                    })
                }
            }
        )*

        /// Something that happened in an interview. Each event comes exactly once and in order,
        /// across history and live.
        #[derive(Interface)]
        #[graphql(
            field(name = "cursor", ty = "&String", desc = "Place of the event: subscribe with it as `after` to go on behind it. It is a consistency token, too."),
            field(name = "event_id", ty = "&Uuid", desc = "The event's id."),
            field(name = "event_type", ty = "&String", desc = "Stored name, such as `interview.question_asked`."),
            field(name = "version", ty = "&i32", desc = "Version of the interview that it made: 1, 2, 3 …"),
            field(name = "sequence", ty = "&Option<u32>", desc = "Place in the conversation, for questions, follow-ups and answers."),
            field(name = "status", ty = "&InterviewStatus", desc = "Where the interview stood right after it."),
            field(name = "occurred_at", ty = "&DateTime<Utc>", desc = "When it happened, UTC."),
            field(name = "interview_id", ty = "&ID", desc = "Global id of the interview, `intv_…`."),
        )]
        pub enum InterviewEvent {
            $($(#[$doc])* $name($name),)*
        }
    };
}

interview_events! {
    /// The round was made, without a time.
    InterviewPlanned {
        /// Kind of round.
        round_type: RoundType,
        /// Who conducts it.
        mode: InterviewMode,
    }
    /// The round got its time, or another one.
    InterviewScheduled {
        /// Begin, UTC.
        scheduled_at: DateTime<Utc>,
        /// Length in minutes.
        duration_minutes: u16,
        /// Whether it had a time before.
        rescheduled: bool,
    }
    /// A person is to conduct it. Staff only.
    InterviewerAssigned {
        /// Global id of the person, `memb_…`.
        interviewer_id: ID,
    }
    /// An access was given to the candidate, used for the first time, or taken back. Staff only.
    AccessChanged {
        /// Names the access.
        access_id: Uuid,
        /// End of validity, UTC, where it was given.
        expires_at: Option<DateTime<Utc>>,
    }
    /// The candidate consented, or took the consent back.
    ConsentChanged {
        /// What is consented to from now on; empty where it was taken back.
        purposes: Vec<ConsentPurpose>,
    }
    /// Somebody came.
    ParticipantJoined {
        /// Who.
        party: Party,
    }
    /// Somebody went.
    ParticipantLeft {
        /// Who.
        party: Party,
    }
    /// The conversation began.
    InterviewStarted {}
    /// A question was asked.
    QuestionAsked {
        /// Its id in this interview, `ques_…`, for `submitAnswer`.
        question_id: ID,
        /// What is asked; null once the person was erased.
        text: Option<String>,
        /// What it is about.
        question_type: QuestionType,
        /// How hard it is; null for candidates.
        difficulty: Option<Difficulty>,
        /// Keys of the rubric dimensions that it measures; empty for candidates.
        dimensions: Vec<String>,
        /// The job's question that it is, if one.
        job_question_id: Option<ID>,
        /// Who asked.
        asked_by: AskedBy,
    }
    /// Something was asked back; at most once for a question.
    FollowUpAsked {
        /// Its id in this interview, `ques_…`, for `submitAnswer`.
        question_id: ID,
        /// The question that it follows up.
        follow_up_of: ID,
        /// What is asked; null once the person was erased.
        text: Option<String>,
        /// Who asked.
        asked_by: AskedBy,
    }
    /// The candidate answered.
    AnswerRecorded {
        /// Its id, `answ_…`.
        answer_id: ID,
        /// The question that it answers.
        question_id: ID,
        /// What was said; null once the person was erased.
        text: Option<String>,
        /// From the question to the answer, in milliseconds.
        response_time_ms: u64,
    }
    /// An answer was judged by the AI side, as advice. Staff only.
    AnswerJudged {
        /// Which answer.
        answer_id: ID,
        /// 0 to 1: whether the question was dealt with.
        completeness: f64,
        /// 0 to 100.
        score: f64,
        /// In words; null once the person was erased.
        feedback: Option<String>,
        /// Where it comes from.
        provenance: Provenance,
    }
    /// A question was not answered in time; the conversation goes on.
    QuestionTimedOut {
        /// Which question.
        question_id: ID,
    }
    /// Questions get harder or easier. Staff only.
    DifficultyChanged {
        /// Before.
        from: Difficulty,
        /// From now on.
        to: Difficulty,
    }
    /// An interviewer put down a note. Staff only.
    InterviewNoteAdded {
        /// Global id of the author, `memb_…`.
        author_id: ID,
        /// The note; null once the candidate was erased.
        text: Option<String>,
    }
    /// The conversation ended as it should.
    InterviewCompleted {
        /// Why.
        reason: CompletionReason,
    }
    /// The conversation fell silent.
    InterviewAbandoned {}
    /// The round will not be held, or was broken off.
    InterviewCancelled {
        /// Why, if a reason was given; null for candidates.
        reason: Option<String>,
    }
    /// The candidate did not come.
    InterviewMarkedNoShow {}
}

/// The event as its type says, for a caller who may see it.
fn typed(
    recorded: &Recorded,
    status: InterviewStatus,
    to_candidate: bool,
) -> Option<InterviewEvent> {
    let Event::Interview(event) = &recorded.event else { return None };
    let stored = &recorded.stored;
    let common = |sequence| Common {
        cursor: cursor(recorded),
        event_id: stored.event_id,
        event_type: stored.name.clone(),
        version: shown(stored.version.0),
        sequence,
        status,
        occurred_at: stored.occurred_at,
        interview_id: InterviewId(stored.stream.id).to_string().into(),
    };
    let plain = || common(None);
    Some(match event.clone() {
        Happened::Planned { round } => {
            InterviewPlanned::of(plain(), (round.round_type.into(), round.mode.into()))
        }
        Happened::Scheduled { at, duration_minutes, .. } => {
            InterviewScheduled::of(plain(), (at, duration_minutes, false))
        }
        Happened::Rescheduled { at, duration_minutes } => {
            InterviewScheduled::of(plain(), (at, duration_minutes, true))
        }
        Happened::InterviewerAssigned { member_id } => {
            InterviewerAssigned::of(plain(), (member_id.to_string().into(),))
        }
        Happened::AccessIssued { access_id, expires_at, .. } => {
            AccessChanged::of(plain(), (access_id, Some(expires_at)))
        }
        Happened::AccessFirstUsed { access_id } | Happened::AccessRevoked { access_id } => {
            AccessChanged::of(plain(), (access_id, None))
        }
        Happened::ConsentGiven { purposes } => {
            ConsentChanged::of(plain(), (purposes.into_iter().map(Into::into).collect(),))
        }
        Happened::ConsentWithdrawn {} => ConsentChanged::of(plain(), (vec![],)),
        Happened::Joined { party } => ParticipantJoined::of(plain(), (party.into(),)),
        Happened::Left { party } => ParticipantLeft::of(plain(), (party.into(),)),
        Happened::Started {} => InterviewStarted::of(plain(), ()),
        Happened::QuestionAsked {
            question_id,
            sequence,
            job_question_id,
            text,
            question_type,
            difficulty,
            dimensions,
            asked_by,
        } => QuestionAsked::of(
            common(Some(sequence)),
            (
                question_id.to_string().into(),
                text.get().map(str::to_owned),
                question_type.into(),
                (!to_candidate).then(|| difficulty.into()),
                if to_candidate { vec![] } else { dimensions },
                job_question_id.map(|id| id.to_string().into()),
                AskedBy(asked_by),
            ),
        ),
        Happened::FollowUpAsked { question_id, sequence, follow_up_of, text, asked_by } => {
            FollowUpAsked::of(
                common(Some(sequence)),
                (
                    question_id.to_string().into(),
                    follow_up_of.to_string().into(),
                    text.into_inner(),
                    AskedBy(asked_by),
                ),
            )
        }
        Happened::AnswerRecorded { answer_id, question_id, sequence, text, response_time_ms } => {
            AnswerRecorded::of(
                common(Some(sequence)),
                (
                    answer_id.to_string().into(),
                    question_id.to_string().into(),
                    text.into_inner(),
                    response_time_ms,
                ),
            )
        }
        Happened::AnswerJudged { answer_id, judgement } => AnswerJudged::of(
            plain(),
            (
                answer_id.to_string().into(),
                judgement.completeness.get(),
                judgement.score.get(),
                judgement.feedback.get().cloned(),
                (&judgement.provenance).into(),
            ),
        ),
        Happened::QuestionTimedOut { question_id } => {
            QuestionTimedOut::of(plain(), (question_id.to_string().into(),))
        }
        Happened::DifficultyChanged { from, to } => {
            DifficultyChanged::of(plain(), (from.into(), to.into()))
        }
        Happened::NoteAdded { member_id, text } => {
            InterviewNoteAdded::of(plain(), (member_id.to_string().into(), text.into_inner()))
        }
        Happened::Completed { reason } => InterviewCompleted::of(plain(), (reason.into(),)),
        Happened::Abandoned {} => InterviewAbandoned::of(plain(), ()),
        Happened::Cancelled { reason } => {
            let reason = reason.filter(|_| !to_candidate).and_then(domain::Personal::into_inner);
            InterviewCancelled::of(plain(), (reason,))
        }
        Happened::MarkedNoShow {} => InterviewMarkedNoShow::of(plain(), ()),
    })
}

/// A change of an interview on the live board.
pub struct BoardChange {
    recorded: Arc<Recorded>,
    row: interviews::Row,
}

/// A change of an interview on the live board.
#[Object]
impl BoardChange {
    /// Place of the change: subscribe with it as `after` to go on behind it. It is a consistency
    /// token, too.
    async fn cursor(&self) -> String {
        cursor(&self.recorded)
    }

    /// What happened, by its stored name, such as `interview.started`.
    async fn event_type(&self) -> &str {
        &self.recorded.stored.name
    }

    /// Version of the interview that it made.
    async fn version(&self) -> i32 {
        shown(self.recorded.stored.version.0)
    }

    /// When it happened, UTC.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.recorded.stored.occurred_at
    }

    /// Global id of the interview, `intv_…`.
    async fn interview_id(&self) -> ID {
        self.row.interview_id.to_string().into()
    }

    /// The interview right after it.
    async fn interview(&self) -> Interview {
        Interview::now(self.row.clone())
    }
}

/// A change of a verdict.
pub struct VerdictEvent {
    recorded: Arc<Recorded>,
    row: verdicts::Row,
}

/// A change of a verdict.
#[Object]
impl VerdictEvent {
    /// Place of the change: subscribe with it as `after` to go on behind it. It is a consistency
    /// token, too.
    async fn cursor(&self) -> String {
        cursor(&self.recorded)
    }

    /// The event's id.
    async fn event_id(&self) -> Uuid {
        self.recorded.stored.event_id
    }

    /// What happened, by its stored name, such as `verdict.proposed` or `verdict.signed`.
    async fn event_type(&self) -> &str {
        &self.recorded.stored.name
    }

    /// Version of the verdict that it made: 1, 2, 3 …
    async fn version(&self) -> i32 {
        shown(self.recorded.stored.version.0)
    }

    /// When it happened, UTC.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.recorded.stored.occurred_at
    }

    /// Global id of the verdict, `vrdt_…`.
    async fn verdict_id(&self) -> ID {
        self.row.verdict_id.to_string().into()
    }

    /// Where the verdict stood right after it.
    async fn status(&self) -> VerdictStatus {
        self.row.status.into()
    }

    /// The verdict right after it.
    async fn verdict(&self) -> Verdict {
        Verdict(self.row.clone())
    }
}

/// Something noticed in an interview, as it comes.
pub struct InsightEvent {
    about: (InterviewId, CandidateId),
    recorded: Arc<Recorded>,
    row: observations::Row,
}

/// Something noticed in an interview, as it comes.
#[Object]
impl InsightEvent {
    /// Place of the event: subscribe with it as `after` to go on behind it. It is a consistency
    /// token, too.
    async fn cursor(&self) -> String {
        cursor(&self.recorded)
    }

    /// Stored name, such as `observation.insight_raised`.
    async fn event_type(&self) -> &str {
        &self.recorded.stored.name
    }

    /// Number among the interview's observations: 1, 2, 3 …
    async fn version(&self) -> i32 {
        shown(self.recorded.stored.version.0)
    }

    /// What was noticed.
    async fn insight(&self, ctx: &Context<'_>) -> async_graphql::Result<Insight> {
        let (interview, candidate) = self.about;
        shows(ctx, (What::Transcript, interview.0), candidate, Fields::Observations)?;
        Ok(Insight(self.row.clone()))
    }
}

/// A live tail of events on its way to one client.
type Tail = BoxStream<'static, Result<Arc<Recorded>, LiveError>>;

/// The events of `topic` after a cursor; without one from the beginning.
async fn tail(state: &ApiState, topic: Topic, after: Option<Token>) -> Result<Tail, ApiError> {
    let after = after.map(|token| token.position).unwrap_or_default();
    Ok(state.live.subscribe(topic, after).await?.boxed())
}

/// Rows folded along a tail, each from its stream's beginning, so that an event comes with the whole
/// state right after it.
struct Folded<P: Projector> {
    reads: Reads,
    rows: HashMap<StreamId, P::Row>,
}

impl<P: Projector> Folded<P> {
    fn new(state: &ApiState) -> Self {
        Self { reads: state.reads.clone(), rows: HashMap::new() }
    }

    /// The stream's row right after the event, of a model that has one row for each stream.
    async fn after(&mut self, recorded: &Recorded) -> Result<Option<P::Row>, ApiError> {
        let stored = &recorded.stored;
        let row = match self.rows.remove(&stored.stream) {
            Some(row) => fold::<P>(Some(row), recorded),
            None if stored.version == Version(1) => fold::<P>(None, recorded),
            None => as_of::row_at::<P>(&self.reads, &stored.stream, stored.version).await?,
        };
        if let Some(row) = &row {
            self.rows.insert(stored.stream.clone(), row.clone());
        }
        Ok(row)
    }

    fn forget(&mut self, stream: &StreamId) {
        self.rows.remove(stream);
    }
}

fn fold<P: Projector>(row: Option<P::Row>, recorded: &Recorded) -> Option<P::Row> {
    use projections::projector::Keys;
    match P::keys(recorded) {
        Keys::These(keys) => {
            let key = keys.into_iter().next()?;
            P::fold(&key, row, recorded).map(P::redact)
        }
        Keys::AllOfStream => row,
    }
}

/// One step of a subscription: an item, nothing for this caller, or the end.
type Step<T> = Result<Option<T>, ApiError>;

/// What becomes of a subscription's events, and for whom it runs.
trait Feed: Send + 'static {
    /// What the subscriber is told.
    type Item: Send + 'static;

    /// What an event tells this caller, if anything.
    fn step(&mut self, recorded: Arc<Recorded>) -> BoxFuture<'_, Step<Self::Item>>;

    /// A signal each time that what the caller may see may have changed.
    fn changes(&self) -> BoxStream<'static, ()>;

    /// Looks again whether the caller may see anything; an error ends the subscription.
    fn renew(&mut self) -> BoxFuture<'_, Result<(), ApiError>>;
}

/// The subscription's items: what each step lets through, ended by the first error. It ends, too,
/// when the caller's rights do, however quiet the topic is. What an item nests is read after the
/// read models have caught up with it.
fn items<F: Feed>(
    tail: Tail,
    told: Arc<Written>,
    feed: F,
) -> impl Stream<Item = async_graphql::Result<F::Item>> + use<F> {
    // What was taken away while the subscription was being made is noticed by looking once more.
    let changes = futures::stream::once(std::future::ready(())).chain(feed.changes());
    futures::stream::unfold(Some((tail, changes.boxed(), told, feed)), |running| async move {
        let (mut tail, mut changes, told, mut feed) = running?;
        loop {
            let result = tokio::select! {
                biased;
                Some(()) = changes.next() => feed.renew().await.map(|()| None),
                next = tail.next() => match next? {
                    Ok(recorded) => {
                        told.only(token(&recorded));
                        feed.step(recorded).await
                    }
                    Err(error) => Err(error.into()),
                },
            };
            match result {
                Ok(Some(item)) => return Some((Ok(item), Some((tail, changes, told, feed)))),
                Ok(None) => {}
                Err(error) => return Some((Err(error.into()), None)),
            }
        }
    })
}

/// Which personal fields a subscription asks of the events of an interview.
struct Selected {
    text: bool,
    judgement: bool,
    reason: bool,
}

impl Selected {
    fn of_field(ctx: &Context<'_>) -> Self {
        let has = |field| ctx.look_ahead().field(field).exists();
        let judgement = has("completeness") || has("score") || has("feedback");
        Self { text: has("text"), judgement, reason: has("reason") }
    }

    /// What of a person the event shows by these fields.
    fn of(&self, recorded: &Recorded) -> Option<Fields> {
        let Event::Interview(event) = &recorded.event else { return None };
        match event {
            Happened::QuestionAsked { .. }
            | Happened::FollowUpAsked { .. }
            | Happened::AnswerRecorded { .. } => self.text.then_some(Fields::Transcript),
            Happened::NoteAdded { .. } => self.text.then_some(Fields::Notes),
            Happened::AnswerJudged { .. } => self.judgement.then_some(Fields::Scores),
            Happened::Cancelled { reason: Some(_) } => self.reason.then_some(Fields::Notes),
            Happened::Planned { .. }
            | Happened::Scheduled { .. }
            | Happened::Rescheduled { .. }
            | Happened::InterviewerAssigned { .. }
            | Happened::AccessIssued { .. }
            | Happened::AccessFirstUsed { .. }
            | Happened::AccessRevoked { .. }
            | Happened::ConsentGiven { .. }
            | Happened::ConsentWithdrawn {}
            | Happened::Joined { .. }
            | Happened::Left { .. }
            | Happened::Started {}
            | Happened::QuestionTimedOut { .. }
            | Happened::DifficultyChanged { .. }
            | Happened::Completed { .. }
            | Happened::Abandoned {}
            | Happened::Cancelled { reason: None }
            | Happened::MarkedNoShow {} => None,
        }
    }
}

struct Conversation {
    watch: Watch,
    shown: Arc<Shown>,
    selected: Selected,
    rows: Folded<interviews::Interviews>,
}

impl Feed for Conversation {
    type Item = InterviewEvent;

    fn step(&mut self, recorded: Arc<Recorded>) -> BoxFuture<'_, Step<InterviewEvent>> {
        Box::pin(self.tell(recorded))
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        self.watch.changes()
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(self.watch.renew())
    }
}

impl Conversation {
    async fn tell(&mut self, recorded: Arc<Recorded>) -> Step<InterviewEvent> {
        let row = self.rows.after(&recorded).await?;
        if !self.watch.lets_through(&recorded).await? {
            return Ok(None);
        }
        let to_candidate = is_candidate(self.watch.gate().caller());
        if let Some(class) = self.selected.of(&recorded) {
            let (interview, candidate) = self.watch.about();
            self.shown.add(What::Transcript, interview.0, candidate, class);
        }
        Ok(row.and_then(|row| typed(&recorded, row.status.into(), to_candidate)))
    }
}

struct Board {
    gate: Gate,
    rows: Folded<interviews::Interviews>,
}

impl Feed for Board {
    type Item = BoardChange;

    fn step(&mut self, recorded: Arc<Recorded>) -> BoxFuture<'_, Step<BoardChange>> {
        Box::pin(self.tell(recorded))
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        self.gate.changes(None)
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async {
            self.gate.renew().await?;
            self.holds()
        })
    }
}

impl Board {
    async fn tell(&mut self, recorded: Arc<Recorded>) -> Step<BoardChange> {
        self.gate.refresh().await?;
        self.holds()?;
        let caller = self.gate.caller();
        let Some(row) = self.rows.after(&recorded).await? else { return Ok(None) };
        if row.status.is_end() {
            self.rows.forget(&recorded.stored.stream);
        }
        let member = caller.member();
        let relation = permission::Relation {
            assigned: member.is_some() && row.interviewer_id == member,
            own_job: member == Some(row.hiring_manager),
            own: false,
        };
        if !audience(&recorded.event).has(caller, relation) {
            return Ok(None);
        }
        Ok(Some(BoardChange { recorded, row }))
    }

    fn holds(&self) -> Result<(), ApiError> {
        match permission::scope(self.gate.caller(), Action::ReadInterview).is_empty() {
            true => Err(ApiError::forbidden()),
            false => Ok(()),
        }
    }
}

struct Decision {
    watch: Watch,
    interview: InterviewId,
    rows: Folded<verdicts::Verdicts>,
    /// Whether a verdict's stream is that of the interview.
    known: HashMap<Uuid, bool>,
}

impl Feed for Decision {
    type Item = VerdictEvent;

    fn step(&mut self, recorded: Arc<Recorded>) -> BoxFuture<'_, Step<VerdictEvent>> {
        Box::pin(self.tell(recorded))
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        self.watch.changes()
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(self.watch.renew())
    }
}

impl Decision {
    async fn tell(&mut self, recorded: Arc<Recorded>) -> Step<VerdictEvent> {
        let id = recorded.stored.stream.id;
        let is_ours = match (self.known.get(&id), &recorded.event) {
            (Some(known), _) => *known,
            (None, Event::Verdict(domain::verdict::Event::Opened { record })) => {
                record.interview_id == self.interview
            }
            (None, _) => is_verdict_on(self.interview, self.watch.gate(), id).await?,
        };
        self.known.insert(id, is_ours);
        if !is_ours {
            return Ok(None);
        }
        let row = self.rows.after(&recorded).await?;
        if !self.watch.lets_through(&recorded).await? {
            return Ok(None);
        }
        Ok(row.map(|row| VerdictEvent { recorded, row }))
    }
}

/// Whether a verdict is on this interview, by the log itself.
async fn is_verdict_on(
    interview: InterviewId,
    gate: &Gate,
    verdict: Uuid,
) -> Result<bool, ApiError> {
    let verdict = gate.read::<VerdictAggregate>(verdict).await?;
    let record = verdict.as_ref().and_then(VerdictAggregate::record);
    Ok(record.is_some_and(|record| record.interview_id == interview))
}

struct Noticed {
    watch: Watch,
}

impl Feed for Noticed {
    type Item = InsightEvent;

    fn step(&mut self, recorded: Arc<Recorded>) -> BoxFuture<'_, Step<InsightEvent>> {
        Box::pin(self.tell(recorded))
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        self.watch.changes()
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(self.watch.renew())
    }
}

impl Noticed {
    async fn tell(&mut self, recorded: Arc<Recorded>) -> Step<InsightEvent> {
        if !self.watch.lets_through(&recorded).await? {
            return Ok(None);
        }
        let row = fold::<observations::Observations>(None, &recorded);
        let about = self.watch.about();
        Ok(row.map(|row| InsightEvent { about, recorded, row }))
    }
}

async fn watch(ctx: &Context<'_>, id: InterviewId, base: Action) -> Result<Watch, ApiError> {
    Watch::begin(Gate::new(ctx.state()?, ctx.session()?)?, id, base).await
}

/// What comes by itself.
#[derive(Default)]
pub struct LiveSubscription;

#[Subscription]
impl LiveSubscription {
    /// What happens in an interview: first what has happened, then what does, each event once and in
    /// order. Reconnect with the last `cursor` as `after`, to any server. Candidates see the
    /// conversation, and nothing of what is thought of it.
    async fn interview_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id of the interview, `intv_…`.")] interview_id: ID,
        #[graphql(desc = "Go on behind this cursor; from the beginning without it.")] after: Option<
            String,
        >,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<InterviewEvent>> + use<>>
    {
        let interview = id("interviewId", &interview_id)?;
        let (state, caller) = (ctx.state()?, ctx.caller()?);
        let topic = Topic::Stream(stream(caller.company, interview));
        let after = place(after.as_deref(), &topic)?;
        let watch = watch(ctx, interview, Action::ReadInterview).await?;
        let tail = tail(state, topic, after).await?;
        let (shown, selected) = (of_request(ctx)?, Selected::of_field(ctx));
        let conversation = Conversation { watch, shown, selected, rows: Folded::new(state) };
        let told = Arc::clone(&ctx.loaders()?.written);
        Ok(items(tail, told, conversation))
    }

    /// Changes of the company's interviews that the caller may see, from now on or behind a cursor.
    async fn live_board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Go on behind this cursor; from now on without it.")] after: Option<
            String,
        >,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<BoardChange>> + use<>> {
        let (state, caller) = (ctx.state()?, ctx.caller()?);
        ctx.view(Action::ReadInterview)?;
        if is_candidate(&caller) {
            return Err(ApiError::forbidden().into());
        }
        let topic = Topic::Company { company: caller.company, aggregates: vec!["interview"] };
        let tail = match place(after.as_deref(), &topic)? {
            after @ Some(_) => tail(state, topic, after).await?,
            None => state.live.follow(topic).await.map_err(ApiError::from)?.boxed(),
        };
        let board = Board { gate: Gate::new(state, ctx.session()?)?, rows: Folded::new(state) };
        let told = Arc::clone(&ctx.loaders()?.written);
        Ok(items(tail, told, board))
    }

    /// Changes of an interview's verdict: first what has happened, then what does.
    async fn verdict_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id of the interview, `intv_…`.")] interview_id: ID,
        #[graphql(desc = "Go on behind this cursor; from the beginning without it.")] after: Option<
            String,
        >,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<VerdictEvent>> + use<>>
    {
        let interview = id("interviewId", &interview_id)?;
        let (state, caller) = (ctx.state()?, ctx.caller()?);
        let watch = watch(ctx, interview, Action::ReadVerdict).await?;
        let verdict = ctx.loaders()?.verdicts_of.load_one(interview).await?;
        let topic = match verdict.map(|verdict| verdict.verdict_id) {
            Some(VerdictId(id)) => Topic::Stream(StreamId::new(caller.company, "verdict", id)),
            // It is not open yet, or the read model does not know: its first event tells.
            None => Topic::Company { company: caller.company, aggregates: vec!["verdict"] },
        };
        let after = place(after.as_deref(), &topic)?;
        if let Some(Token { stream, .. }) = &after
            && !is_verdict_on(interview, watch.gate(), stream.id).await?
        {
            return Err(foreign_cursor().into());
        }
        let tail = tail(state, topic, after).await?;
        let rows = Folded::new(state);
        let decision = Decision { watch, interview, rows, known: HashMap::new() };
        let told = Arc::clone(&ctx.loaders()?.written);
        Ok(items(tail, told, decision))
    }

    /// Insights and integrity flags of an interview: first what was noticed, then what is. Staff only.
    async fn interview_insights(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id of the interview, `intv_…`.")] interview_id: ID,
        #[graphql(desc = "Go on behind this cursor; from the beginning without it.")] after: Option<
            String,
        >,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<InsightEvent>> + use<>>
    {
        let interview: InterviewId = id("interviewId", &interview_id)?;
        let (state, caller) = (ctx.state()?, ctx.caller()?);
        let topic = Topic::Stream(StreamId::new(caller.company, "observation", interview.0));
        let after = place(after.as_deref(), &topic)?;
        let watch = watch(ctx, interview, Action::ReadObservations).await?;
        let tail = tail(state, topic, after).await?;
        let told = Arc::clone(&ctx.loaders()?.written);
        Ok(items(tail, told, Noticed { watch }))
    }
}
