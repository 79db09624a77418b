//! Interview rounds: what they are, how they stood, and the conversation in order.

pub mod events;
pub mod mutation;
pub mod query;

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use domain::access::{Fields, What};
use domain::ids::CandidateId;
use domain::interview::{self as rules, AskedBy as DomainAskedBy};
use domain::permission::Action;
use projections::as_of::{AsOf, Past};
use projections::page::{Edge, Page};
use projections::{Position, StreamId, Version, as_of, interviews, transcripts};
use uuid::Uuid;

use crate::access::shows;
use crate::candidate::{Application, Candidate, Provenance, Resume};
use crate::company::Member;
use crate::error::ApiError;
use crate::job::{Conversation, Difficulty, Job, QuestionType};
use crate::loaders::one;
use crate::observation::Insight;
use crate::pagination::{both_ways, connections, wants_total};
use crate::payload::shown;
use crate::scope::{Scoped, is_candidate};
use crate::verdict::Verdict;

/// Where an interview stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::Status")]
pub enum InterviewStatus {
    /// Made, without a time.
    Planned,
    /// Has a time.
    Scheduled,
    /// The interviewer is there.
    WaitingForCandidate,
    /// The candidate is there.
    WaitingForInterviewer,
    /// The conversation goes on.
    InProgress,
    /// Ended as it should. Nothing follows.
    Completed,
    /// Not held, or broken off. Nothing follows.
    Cancelled,
    /// The candidate did not come; it can be rescheduled.
    NoShow,
    /// Fell silent. A new round can restart it.
    Abandoned,
}

/// Kind of round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::RoundType")]
pub enum RoundType {
    /// Technical, by AI.
    TechnicalAi,
    /// Screening, by a person.
    ScreeningHuman,
    /// Personnel, by a person.
    HrHuman,
    /// By the future manager.
    ManagerialHuman,
    /// On working together, by a person.
    CulturalFitHuman,
}

/// Who conducts a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::Mode")]
pub enum InterviewMode {
    /// AI asks; there is no interviewer.
    AiConducted,
    /// A person asks, AI advises.
    HumanAiAssisted,
    /// No AI at all.
    HumanOnly,
}

/// What a consent covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::ConsentPurpose")]
pub enum ConsentPurpose {
    /// Questions and analysis by AI.
    AiAnalysis,
    /// Recording of sound or picture.
    Recording,
}

/// Why a round was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::CompletionReason")]
pub enum CompletionReason {
    /// All that was planned was asked.
    AllAsked,
    /// A participant closed it.
    ClosedByPerson,
    /// The candidate stopped answering well; more would tell nothing new.
    BoundaryReached,
}

/// A side of the talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::Party")]
pub enum Party {
    /// Who is interviewed.
    Candidate,
    /// Who interviews.
    Interviewer,
}

/// What a turn of the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "transcripts::Kind")]
pub enum TurnKind {
    /// A question.
    Question,
    /// Something asked back; at most one for a question.
    FollowUp,
    /// An answer.
    Answer,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "transcripts::Outcome")]
pub enum QuestionOutcome {
    /// It waits for its answer, or the round ended before there was one.
    Open,
    /// It was answered.
    Answered,
    /// It was not answered in time and let go.
    TimedOut,
}

/// An access that was given to the candidate. The token itself is shown when it is issued only.
#[derive(Clone, SimpleObject)]
pub struct InterviewAccessGrant {
    /// Names the access, for `revokeInterviewAccess`.
    access_id: Uuid,
    /// When it was given, UTC.
    issued_at: DateTime<Utc>,
    /// End of validity, UTC.
    expires_at: DateTime<Utc>,
    /// When it was first used, UTC, if it was.
    first_used_at: Option<DateTime<Utc>>,
    /// When it was taken back, UTC, if it was.
    revoked_at: Option<DateTime<Utc>>,
}

impl From<&interviews::Access> for InterviewAccessGrant {
    fn from(given: &interviews::Access) -> Self {
        let interviews::Access { access_id, issued_at, expires_at, first_used_at, revoked_at } =
            *given;
        Self { access_id, issued_at, expires_at, first_used_at, revoked_at }
    }
}

/// An interviewer's note. Candidates never see it.
pub struct InterviewNote(interviews::Note);

/// An interviewer's note. Candidates never see it.
#[Object]
impl InterviewNote {
    /// Who wrote it.
    async fn author(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Member>> {
        Ok(one(&ctx.loaders()?.members, Some(self.0.member_id)).await?.map(Member))
    }

    /// The note; null once the candidate was erased.
    async fn text(&self) -> Option<&str> {
        self.0.text.as_deref()
    }

    /// When, UTC.
    async fn at(&self) -> DateTime<Utc> {
        self.0.at
    }
}

/// Who asked a question.
pub struct AskedBy(pub DomainAskedBy);

/// Who asked a question.
#[Object]
impl AskedBy {
    /// Whether the AI side asked.
    async fn is_ai(&self) -> bool {
        matches!(self.0, DomainAskedBy::Ai { .. })
    }

    /// Where the AI's question comes from; null if a person asked.
    async fn provenance(&self) -> Option<Provenance> {
        match &self.0 {
            DomainAskedBy::Ai { provenance } => Some(provenance.into()),
            DomainAskedBy::Member { .. } => None,
        }
    }

    /// The person who asked, where one did and the caller may see the company's people.
    async fn member(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Member>> {
        let member = match self.0 {
            DomainAskedBy::Ai { .. } => None,
            DomainAskedBy::Member { member_id } => Some(member_id),
        };
        Ok(one(&ctx.loaders()?.members, member).await?.map(Member))
    }
}

/// How good an answer is, as advice of the AI side. Candidates never see it.
#[derive(Clone, SimpleObject)]
pub struct Judgement {
    /// 0 to 1: whether the question was dealt with.
    completeness: f64,
    /// 0 to 100.
    score: f64,
    /// In words; null once the person was erased.
    feedback: Option<String>,
    /// Where it comes from.
    provenance: Provenance,
    /// When it was made, UTC.
    at: DateTime<Utc>,
}

impl From<&transcripts::Judgement> for Judgement {
    fn from(given: &transcripts::Judgement) -> Self {
        Self {
            completeness: given.completeness.get(),
            score: given.score.get(),
            feedback: given.feedback.clone(),
            provenance: (&given.provenance).into(),
            at: given.at,
        }
    }
}

/// A turn of the conversation: a question, something asked back, or an answer.
pub struct Turn {
    row: transcripts::Row,
    candidate: CandidateId,
}

impl Turn {
    /// A turn of an interview with this candidate.
    #[must_use]
    pub fn of(row: transcripts::Row, candidate: CandidateId) -> Self {
        Self { row, candidate }
    }

    fn shows(&self, ctx: &Context<'_>, class: Fields) -> Result<(), ApiError> {
        shows(ctx, (What::Transcript, self.row.interview_id.0), self.candidate, class)
    }
}

/// A turn of the conversation: a question, something asked back, or an answer.
#[Object]
impl Turn {
    /// Id of the question, `ques_…`, or of the answer, `answ_…`; grounds of a verdict name answers.
    async fn id(&self) -> ID {
        turn_id(&self.row)
    }

    /// What it is.
    async fn kind(&self) -> TurnKind {
        self.row.kind.into()
    }

    /// 1, 2, 3 … over all turns of the interview.
    async fn sequence(&self) -> u32 {
        self.row.sequence
    }

    /// What was said; null once the person was erased.
    async fn text(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<&str>> {
        let text = self.row.text.as_deref();
        text.map(|_| self.shows(ctx, Fields::Transcript)).transpose()?;
        Ok(text)
    }

    /// The question itself, or the one that an answer answers.
    async fn question_id(&self) -> ID {
        self.row.question_id.to_string().into()
    }

    /// The question that a follow-up follows up.
    async fn follow_up_of(&self) -> Option<ID> {
        self.row.follow_up_of.map(|id| id.to_string().into())
    }

    /// The job's question that a question is, if one.
    async fn job_question_id(&self) -> Option<ID> {
        self.row.job_question_id.map(|id| id.to_string().into())
    }

    /// What a question is about; null for follow-ups and answers.
    async fn question_type(&self) -> Option<QuestionType> {
        self.row.question_type.map(Into::into)
    }

    /// How hard a question is; null for follow-ups, answers and candidates.
    async fn difficulty(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Difficulty>> {
        let hidden = is_candidate(&*ctx.caller()?);
        Ok(self.row.difficulty.filter(|_| !hidden).map(Into::into))
    }

    /// Keys of the rubric dimensions that a question measures; empty for candidates.
    async fn dimensions(&self, ctx: &Context<'_>) -> async_graphql::Result<&[String]> {
        let hidden = is_candidate(&*ctx.caller()?);
        Ok(if hidden { &[] } else { &self.row.dimensions })
    }

    /// Who asked; null for answers.
    async fn asked_by(&self) -> Option<AskedBy> {
        self.row.asked_by.clone().map(AskedBy)
    }

    /// What became of a question; null for answers.
    async fn outcome(&self) -> Option<QuestionOutcome> {
        self.row.outcome.map(Into::into)
    }

    /// From the question to its answer, in milliseconds; null for questions.
    async fn response_time_ms(&self) -> Option<u64> {
        self.row.response_time_ms
    }

    /// How good an answer is, once judged; null for candidates.
    async fn judgement(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Judgement>> {
        let hidden = is_candidate(&*ctx.caller()?);
        let judgement = self.row.judgement.as_ref().filter(|_| !hidden);
        judgement.map(|_| self.shows(ctx, Fields::Scores)).transpose()?;
        Ok(judgement.map(Into::into))
    }

    /// When it was said, UTC.
    async fn at(&self) -> DateTime<Utc> {
        self.row.at
    }
}

fn turn_id(turn: &transcripts::Row) -> ID {
    let id = match turn.kind {
        transcripts::Kind::Question | transcripts::Kind::FollowUp => turn.question_id.to_string(),
        transcripts::Kind::Answer => domain::ids::AnswerId(turn.turn_id).to_string(),
    };
    id.into()
}

connections! {
    InterviewConnection, InterviewEdge: Interview = "the company's interviews";
    TurnConnection, TurnEdge: Turn = "an interview's turns";
}

/// The point of its history that an interview is shown at.
#[derive(Clone, SimpleObject)]
pub struct AsOfPoint {
    /// Version of the interview then; 0 where there was nothing yet.
    version: i32,
    /// The position in the whole log that the point resolved to, as a decimal number.
    position: String,
    /// Whether the same question will always have this answer, so that it can be kept.
    is_final: bool,
}

/// A question that waits for its answer.
#[derive(Clone, SimpleObject)]
pub struct CurrentQuestion {
    /// Its id in this interview, `ques_…`, for `submitAnswer`.
    question_id: ID,
    /// Its text; null once the person was erased.
    text: Option<String>,
    /// Its place in the conversation.
    sequence: u32,
    /// The question it follows up, if it does.
    follow_up_of: Option<ID>,
    /// When it was asked, UTC.
    asked_at: DateTime<Utc>,
}

/// One interview round.
pub struct Interview {
    row: interviews::Row,
    /// Where it is shown at a point of its history: version and position, and whether for good.
    past: Option<(Version, Position, bool)>,
}

impl Interview {
    /// The interview as it stands.
    #[must_use]
    pub fn now(row: interviews::Row) -> Self {
        Self { row, past: None }
    }

    /// The interview as it stood; `None` where there was nothing yet.
    #[must_use]
    pub fn past(past: Past<interviews::Row>) -> Option<Self> {
        let point = (past.version, past.position, past.is_final);
        let row = past.rows.into_iter().next()?;
        Some(Self { row, past: Some(point) })
    }

    fn stream(&self) -> StreamId {
        stream(self.row.company_id, self.row.interview_id)
    }

    fn shows(&self, ctx: &Context<'_>, class: Fields) -> Result<(), ApiError> {
        let of = (What::Transcript, self.row.interview_id.0);
        shows(ctx, of, self.row.candidate_id, class)
    }

    /// All turns as they stood, where a point of the history is shown.
    async fn past_turns(
        &self,
        ctx: &Context<'_>,
        version: Version,
    ) -> Result<Vec<transcripts::Row>, ApiError> {
        let reads = &ctx.state()?.reads;
        let at = AsOf::Version(version);
        let past = as_of::rows_as_of::<transcripts::Transcripts>(reads, &self.stream(), at).await?;
        let mut turns = past.rows;
        turns.sort_by_key(|turn| turn.sequence);
        Ok(turns)
    }
}

/// The stream of an interview.
#[must_use]
pub fn stream(company: domain::ids::CompanyId, id: domain::ids::InterviewId) -> StreamId {
    StreamId::new(company, "interview", id.0)
}

/// One interview round. With `asOf`, its own fields and the transcript are as they stood then.
#[Object]
impl Interview {
    /// Global id, `intv_…`.
    pub async fn id(&self) -> ID {
        self.row.interview_id.to_string().into()
    }

    /// Where it stands.
    async fn status(&self) -> InterviewStatus {
        self.row.status.into()
    }

    /// Its candidate; null for those who may not see candidates.
    async fn candidate(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Candidate>> {
        Ok(one(&ctx.loaders()?.candidates, Some(self.row.candidate_id)).await?.map(Candidate))
    }

    /// Its job; null for candidates, who have `jobTitle`.
    async fn job(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Job>> {
        Ok(one(&ctx.loaders()?.jobs, Some(self.row.job_id)).await?.map(Job))
    }

    /// Title of its job, for everybody who may see the interview.
    async fn job_title(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<String>> {
        Ok(one(&ctx.loaders()?.titles_by_interview, Some(self.row.job_id)).await?)
    }

    /// The application that rounds are grouped by; null for those who may not see candidates.
    async fn application(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Application>> {
        let id = Some(self.row.application_id);
        Ok(one(&ctx.loaders()?.applications, id).await?.map(Application))
    }

    /// 1, 2, 3 … within the application.
    async fn round_number(&self) -> u16 {
        self.row.round_number
    }

    /// Kind of round.
    async fn round_type(&self) -> RoundType {
        self.row.round_type.into()
    }

    /// Who conducts it.
    async fn mode(&self) -> InterviewMode {
        self.row.mode.into()
    }

    /// The interviewer, where a person conducts; null for candidates.
    async fn interviewer(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Member>> {
        Ok(one(&ctx.loaders()?.members, self.row.interviewer_id).await?.map(Member))
    }

    /// Owner of the job when the round was made; null for candidates.
    async fn hiring_manager(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Member>> {
        Ok(one(&ctx.loaders()?.members, Some(self.row.hiring_manager)).await?.map(Member))
    }

    /// The résumé it is tailored to, if any; null for those who may not see candidates.
    async fn resume(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Resume>> {
        Ok(one(&ctx.loaders()?.resumes, self.row.resume_id).await?.map(Resume))
    }

    /// Version of the job's rubric that scores it.
    async fn rubric_version(&self) -> u32 {
        self.row.rubric_version
    }

    /// Counts and time-outs.
    async fn conversation(&self) -> Conversation {
        (&self.row.conversation).into()
    }

    /// The abandoned round that this one starts anew.
    async fn restart_of(&self) -> Option<ID> {
        self.row.restart_of.map(|id| id.to_string().into())
    }

    /// When it is to begin, UTC, once it has a time.
    async fn scheduled_at(&self) -> Option<DateTime<Utc>> {
        self.row.scheduled_at
    }

    /// Length in minutes, once it has a time.
    async fn duration_minutes(&self) -> Option<u16> {
        self.row.duration_minutes
    }

    /// When the conversation began, UTC.
    async fn started_at(&self) -> Option<DateTime<Utc>> {
        self.row.started_at
    }

    /// When it was completed, abandoned or cancelled, UTC.
    async fn ended_at(&self) -> Option<DateTime<Utc>> {
        self.row.ended_at
    }

    /// When somebody last did something, UTC.
    async fn last_activity_at(&self) -> Option<DateTime<Utc>> {
        self.row.last_activity
    }

    /// What the candidate consents to at present.
    async fn consent(&self) -> Vec<ConsentPurpose> {
        self.row.consent.iter().map(|purpose| (*purpose).into()).collect()
    }

    /// When the candidate last gave consent, UTC.
    async fn consent_given_at(&self) -> Option<DateTime<Utc>> {
        self.row.consent_given_at
    }

    /// When the candidate last took the consent back, UTC.
    async fn consent_withdrawn_at(&self) -> Option<DateTime<Utc>> {
        self.row.consent_withdrawn_at
    }

    /// Whether the candidate is there.
    async fn candidate_present(&self) -> bool {
        self.row.candidate_present
    }

    /// Whether the interviewer is there.
    async fn interviewer_present(&self) -> bool {
        self.row.interviewer_present
    }

    /// How hard questions are at present, once the conversation began; null for candidates.
    async fn difficulty(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Difficulty>> {
        let hidden = is_candidate(&*ctx.caller()?);
        Ok(self.row.difficulty.filter(|_| !hidden).map(Into::into))
    }

    /// The question that waits for its answer.
    async fn current_question(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Option<CurrentQuestion>> {
        let Some(current) = &self.row.current_question else { return Ok(None) };
        let turn = match self.past {
            None => one(&ctx.loaders()?.questions, Some(current.question_id)).await?,
            Some((version, _, _)) => {
                let turns = self.past_turns(ctx, version).await?;
                turns.into_iter().find(|turn| turn.turn_id == current.question_id.0)
            }
        };
        let text = turn.and_then(|turn| turn.text);
        if text.is_some() && ctx.look_ahead().field("text").exists() {
            self.shows(ctx, Fields::Transcript)?;
        }
        Ok(Some(CurrentQuestion {
            question_id: current.question_id.to_string().into(),
            text,
            sequence: current.sequence,
            follow_up_of: current.follow_up_of.map(|id| id.to_string().into()),
            asked_at: current.asked_at,
        }))
    }

    /// Questions asked so far, without follow-ups.
    async fn n_questions(&self) -> u32 {
        self.row.n_questions
    }

    /// Follow-ups asked so far.
    async fn n_follow_ups(&self) -> u32 {
        self.row.n_follow_ups
    }

    /// Answers recorded so far.
    async fn n_answers(&self) -> u32 {
        self.row.n_answers
    }

    /// Questions let go unanswered so far.
    async fn n_timed_out(&self) -> u32 {
        self.row.n_timed_out
    }

    /// Accesses given to the candidate, oldest first; empty for candidates.
    async fn accesses(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Vec<InterviewAccessGrant>> {
        let hidden = is_candidate(&*ctx.caller()?);
        Ok(self.row.accesses.iter().filter(|_| !hidden).map(Into::into).collect())
    }

    /// Interviewers' notes, oldest first; empty for candidates.
    async fn notes(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<InterviewNote>> {
        let hidden = is_candidate(&*ctx.caller()?);
        let has_text = ctx.look_ahead().field("text").exists();
        if !hidden && has_text && !self.row.notes.is_empty() {
            self.shows(ctx, Fields::Notes)?;
        }
        Ok(self.row.notes.iter().filter(|_| !hidden).cloned().map(InterviewNote).collect())
    }

    /// Why it was completed, if it was.
    async fn completion_reason(&self) -> Option<CompletionReason> {
        self.row.completion_reason.map(Into::into)
    }

    /// Why it was cancelled, if it was and a reason was given; null for candidates.
    async fn cancel_reason(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<&str>> {
        let hidden = is_candidate(&*ctx.caller()?);
        let reason = self.row.cancel_reason.as_deref().filter(|_| !hidden);
        reason.map(|_| self.shows(ctx, Fields::Notes)).transpose()?;
        Ok(reason)
    }

    /// The conversation, turn by turn.
    async fn transcript(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor of the same list with the same filter.")]
        after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100, instead of `first`.")] last: Option<i32>,
        #[graphql(desc = "The page before this cursor of the same list with the same filter.")]
        before: Option<String>,
    ) -> async_graphql::Result<TurnConnection> {
        let turn = |row| Turn::of(row, self.row.candidate_id);
        let page = both_ways(first, after.clone(), last, before.clone())?;
        if let Some((version, _, _)) = self.past {
            let turns = self.past_turns(ctx, version).await?;
            let total = turns.len() as u64;
            let slice = slice(&self.row, turns, first, after, last, before)?;
            return Ok(TurnConnection::of(slice, total, turn));
        }
        let view = ctx.view(Action::ReadInterview)?;
        ctx.loaders()?.written.is_shown().await?;
        let (reads, id) = (&ctx.state()?.reads, self.row.interview_id);
        let rows = transcripts::list(reads, &view, id, &page).await.map_err(ApiError::from)?;
        let total = match wants_total(ctx) {
            true => transcripts::count(reads, &view, id).await.map_err(ApiError::from)?,
            false => 0,
        };
        Ok(TurnConnection::of(rows, total, turn))
    }

    /// Insights and integrity flags, oldest first; empty for those who may not see them, and with
    /// `asOf`, because they are a history of their own.
    async fn insights(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Insight>> {
        let id = self.past.is_none().then_some(self.row.interview_id);
        let rows = one(&ctx.loaders()?.observations_of, id).await?.unwrap_or_default();
        if !rows.is_empty() {
            self.shows(ctx, Fields::Observations)?;
        }
        Ok(rows.into_iter().map(Insight).collect())
    }

    /// The verdict, once the round has ended; null for those who may not see it, and with `asOf`,
    /// because it is a history of its own.
    async fn verdict(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Verdict>> {
        let id = self.past.is_none().then_some(self.row.interview_id);
        Ok(one(&ctx.loaders()?.verdicts_of, id).await?.map(Verdict))
    }

    /// The point that it is shown at, if `asOf` asked for one.
    async fn as_of(&self) -> Option<AsOfPoint> {
        let (version, position, is_final) = self.past?;
        let version = shown(version.0);
        Some(AsOfPoint { version, position: position.to_string(), is_final })
    }

    /// Version of its history, for `expectedVersion`.
    async fn version(&self) -> i32 {
        shown(self.row.version)
    }

    /// When the round was made, UTC.
    async fn created_at(&self) -> DateTime<Utc> {
        self.row.created_at
    }

    /// When something last changed, UTC.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.row.updated_at
    }
}

/// A page of turns that stand in memory, with the cursors that they have otherwise.
fn slice(
    of: &interviews::Row,
    turns: Vec<transcripts::Row>,
    first: Option<i32>,
    after: Option<String>,
    last: Option<i32>,
    before: Option<String>,
) -> Result<Page<transcripts::Row>, ApiError> {
    let place = |cursor: Option<String>| -> Result<Option<u32>, ApiError> {
        let read = |cursor: String| transcripts::sequence(of.company_id, of.interview_id, &cursor);
        Ok(cursor.map(read).transpose()?)
    };
    let (after, before) = (place(after)?, place(before)?);
    let mut edges: Vec<Edge<transcripts::Row>> = turns
        .into_iter()
        .filter(|turn| after.is_none_or(|after| turn.sequence > after))
        .filter(|turn| before.is_none_or(|before| turn.sequence < before))
        .map(|node| Edge { cursor: transcripts::cursor(&node), node })
        .collect();
    let size = |n: Option<i32>| n.and_then(|n| usize::try_from(n).ok());
    let wanted = size(last).or(size(first)).unwrap_or(usize::from(projections::page::DEFAULT_SIZE));
    let more = edges.len() > wanted;
    let (has_next, has_previous) = if last.is_some() {
        edges.drain(..edges.len().saturating_sub(wanted));
        (before.is_some(), more || after.is_some())
    } else {
        edges.truncate(wanted);
        (more || before.is_some(), after.is_some())
    };
    Ok(Page { edges, has_next, has_previous })
}
