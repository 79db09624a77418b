//! Queries on interviews: list, detail, as of a point, recovery, live board, and access without login.

use async_graphql::{Context, ID, InputObject, Object, OneofObject, SimpleObject};
use chrono::{DateTime, Utc};
use domain::access::{Fields, What};
use domain::ids::InterviewId;
use domain::interview::Status;
use domain::permission::Action;
use projections::as_of::{self, AsOf};
use projections::page::PageRequest;
use projections::{Version, View, interviews, jobs, transcripts};

use super::{
    CurrentQuestion, Interview, InterviewConnection, InterviewMode, InterviewStatus, Turn, stream,
};
use crate::access::shows;
use crate::company::company_name;
use crate::error::ApiError;
use crate::inputs::{id, number, optional_id};
use crate::pagination::{forward, wants_total};
use crate::scope::Scoped;

/// Which interviews a list shows.
#[derive(Debug, Default, InputObject)]
pub struct InterviewFilter {
    /// Only those that stand so.
    statuses: Option<Vec<InterviewStatus>>,
    /// Only for this job.
    job_id: Option<ID>,
    /// Only of this candidate.
    candidate_id: Option<ID>,
    /// Only rounds of this application.
    application_id: Option<ID>,
    /// Only of this interviewer.
    interviewer_id: Option<ID>,
    /// Only those that are to begin at this time, UTC, or later.
    scheduled_from: Option<DateTime<Utc>>,
    /// Only those that are to begin before this time, UTC.
    scheduled_before: Option<DateTime<Utc>>,
}

impl InterviewFilter {
    fn read(self) -> Result<interviews::Filter, ApiError> {
        Ok(interviews::Filter {
            statuses: self.statuses.into_iter().flatten().map(Into::into).collect(),
            candidate_id: optional_id("candidateId", self.candidate_id.as_ref())?,
            job_id: optional_id("jobId", self.job_id.as_ref())?,
            application_id: optional_id("applicationId", self.application_id.as_ref())?,
            interviewer_id: optional_id("interviewerId", self.interviewer_id.as_ref())?,
            scheduled_from: self.scheduled_from,
            scheduled_before: self.scheduled_before,
        })
    }
}

/// A point of an interview's history.
#[derive(OneofObject)]
pub enum AsOfInput {
    /// Right after this version, which must exist.
    Version(i32),
    /// At this time by the log's clock, UTC; not in the future.
    Time(DateTime<Utc>),
}

/// What a participant needs to come back after a lost connection.
#[derive(SimpleObject)]
pub struct InterviewSession {
    /// Where the interview stands.
    status: InterviewStatus,
    /// Whether the conversation goes on: continue at `currentQuestion`.
    can_resume: bool,
    /// Whether a new round can restart it: it fell silent.
    can_restart: bool,
    /// The question that waits for its answer.
    current_question: Option<CurrentQuestion>,
    /// The last five turns, in order.
    last_turns: Vec<Turn>,
    /// Version of the interview that is shown.
    version: i32,
}

/// What an interview's access token opens, told without a login. Nothing of it is personal.
#[derive(SimpleObject)]
pub struct InterviewAccess {
    /// Global id of the interview, `intv_…`.
    interview_id: ID,
    /// Name of the company that invites.
    company_name: Option<String>,
    /// Title of the job.
    job_title: Option<String>,
    /// Where the interview stands; null for a moment after it was made.
    status: Option<InterviewStatus>,
    /// Who conducts it.
    mode: Option<InterviewMode>,
    /// When it is to begin, UTC, once it has a time.
    scheduled_at: Option<DateTime<Utc>>,
    /// Length in minutes, once it has a time.
    duration_minutes: Option<u16>,
    /// End of the access, UTC.
    expires_at: DateTime<Utc>,
}

/// Queries on interviews.
#[derive(Default)]
pub struct InterviewQuery;

#[Object]
impl InterviewQuery {
    /// The company's interviews that the caller may see, by the time they are to begin, latest first.
    async fn interviews(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which interviews are shown; all without it.")] filter: Option<
            InterviewFilter,
        >,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor of the same list with the same filter.")]
        after: Option<String>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<InterviewConnection> {
        let view = ctx.view(Action::ReadInterview)?;
        let (page, filter) = (forward(first, after)?, filter.unwrap_or_default().read()?);
        ctx.consistent(consistent_with).await?;
        let reads = &ctx.state()?.reads;
        let rows = interviews::list(reads, &view, &filter, &page).await.map_err(ApiError::from)?;
        let total = match wants_total(ctx) {
            true => interviews::count(reads, &view, &filter).await.map_err(ApiError::from)?,
            false => 0,
        };
        Ok(InterviewConnection::of(rows, total, Interview::now))
    }

    /// One interview; an unknown id is the error `INT_001`. `asOf` shows it as it stood, to those who
    /// may replay histories; where there was nothing yet it is null. Asked for by GET, a final point of
    /// its history is answered with an `ETag`.
    async fn interview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id, `intv_…`.", name = "id")] interview_id: ID,
        #[graphql(desc = "A point of its history; as it stands without it.")] as_of: Option<
            AsOfInput,
        >,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<Option<Interview>> {
        let interview = id("id", &interview_id)?;
        ctx.consistent(consistent_with).await?;
        let Some(point) = as_of else {
            return Ok(Some(Interview::now(get(ctx, Action::ReadInterview, interview).await?)));
        };
        let row = get(ctx, Action::ReadHistory, interview).await?;
        let point = match point {
            AsOfInput::Version(version) => {
                AsOf::Version(Version(u64::from(number::<u32>("version", version)?)))
            }
            AsOfInput::Time(time) => AsOf::Time(time),
        };
        let stream = stream(row.company_id, interview);
        let reads = &ctx.state()?.reads;
        let past = as_of::rows_as_of::<interviews::Interviews>(reads, &stream, point).await;
        let past = past.map_err(ApiError::from)?;
        if past.is_final {
            // It may be kept, by nobody in between. It is asked for again each time, because rights
            // end and persons are forgotten.
            ctx.insert_http_header("cache-control", "private, no-cache");
        }
        Ok(Interview::past(past))
    }

    /// What a participant needs to come back after a lost connection.
    async fn interview_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id of the interview, `intv_…`.")] interview_id: ID,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<InterviewSession> {
        let interview: InterviewId = id("interviewId", &interview_id)?;
        ctx.consistent(consistent_with).await?;
        let row = get(ctx, Action::ReadInterview, interview).await?;
        let page = PageRequest::parse(None, None, Some(5), None).map_err(ApiError::from)?;
        let (view, reads) = (ctx.view(Action::ReadInterview)?, &ctx.state()?.reads);
        let turns = transcripts::list(reads, &view, interview, &page).await;
        let turns = turns.map_err(ApiError::from)?.edges.into_iter().map(|edge| edge.node);
        let turns: Vec<transcripts::Row> = turns.collect();
        let asked = ctx.look_ahead();
        if row.current_question.is_some() && asked.field("currentQuestion").field("text").exists() {
            let of = (What::Transcript, interview.0);
            shows(ctx, of, row.candidate_id, Fields::Transcript)?;
        }
        let current = row.current_question.as_ref().map(|current| {
            let turn = turns.iter().find(|turn| turn.turn_id == current.question_id.0);
            CurrentQuestion {
                question_id: current.question_id.to_string().into(),
                text: turn.and_then(|turn| turn.text.clone()),
                sequence: current.sequence,
                follow_up_of: current.follow_up_of.map(|id| id.to_string().into()),
                asked_at: current.asked_at,
            }
        });
        let turn = |turn| Turn::of(turn, row.candidate_id);
        Ok(InterviewSession {
            status: row.status.into(),
            can_resume: row.status == Status::InProgress,
            can_restart: row.status == Status::Abandoned,
            current_question: current,
            last_turns: turns.into_iter().map(turn).collect(),
            version: crate::payload::shown(row.version),
        })
    }

    /// Rounds that go on or wait for somebody, by their times, latest first.
    async fn live_board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor of the same list with the same filter.")]
        after: Option<String>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<InterviewConnection> {
        let view = ctx.view(Action::ReadInterview)?;
        let page = forward(first, after)?;
        ctx.consistent(consistent_with).await?;
        let reads = &ctx.state()?.reads;
        let rows = interviews::live_board(reads, &view, &page).await.map_err(ApiError::from)?;
        let live = interviews::Filter { statuses: LIVE.to_vec(), ..interviews::Filter::default() };
        let total = match wants_total(ctx) {
            true => interviews::count(reads, &view, &live).await.map_err(ApiError::from)?,
            false => 0,
        };
        Ok(InterviewConnection::of(rows, total, Interview::now))
    }

    /// What an interview's access token opens, without a login. A token that is not good is the error
    /// `INT_002`.
    async fn interview_access(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The access token, as it was shown.", secret)] token: String,
    ) -> async_graphql::Result<InterviewAccess> {
        let state = ctx.state()?;
        let access = state.identity.interview_access(&token).await.map_err(ApiError::from)?;
        let view = View::all(access.company_id);
        let row = interviews::get(&state.reads, &view, access.interview_id).await;
        let row = row.map_err(ApiError::from)?;
        let job_title = match &row {
            Some(row) => {
                let titles = jobs::titles(&state.reads, &view, &[row.job_id]).await;
                titles.map_err(ApiError::from)?.remove(&row.job_id)
            }
            None => None,
        };
        Ok(InterviewAccess {
            interview_id: access.interview_id.to_string().into(),
            company_name: company_name(ctx, access.company_id).await?,
            job_title,
            status: row.as_ref().map(|row| row.status.into()),
            mode: row.as_ref().map(|row| row.mode.into()),
            scheduled_at: access.scheduled_at,
            duration_minutes: row.and_then(|row| row.duration_minutes),
            expires_at: access.expires_at,
        })
    }
}

const LIVE: [Status; 3] =
    [Status::InProgress, Status::WaitingForCandidate, Status::WaitingForInterviewer];

/// One interview as the caller's right to `action` shows it.
///
/// # Errors
/// `AUTH_REQUIRED`, `AUTH_003`, `INT_001`, or those of the query.
pub async fn get(
    ctx: &Context<'_>,
    action: Action,
    id: InterviewId,
) -> Result<interviews::Row, ApiError> {
    let view = ctx.view(action)?;
    let row = interviews::get(&ctx.state()?.reads, &view, id).await?;
    row.ok_or_else(|| ApiError::not_found("INT_001"))
}
