//! Insights and integrity flags of an interview, and the AI calls behind its results.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use domain::ids::InterviewId;
use domain::permission::Action;
use domain::{ai_call, observation as rules};
use projections::{ai_calls, observations};
use uuid::Uuid;

use crate::company::Actor;
use crate::error::ApiError;
use crate::inputs::id;
use crate::interview::query::get;
use crate::pagination::{connections, forward, wants_total};
use crate::scope::Scoped;

/// What an observation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "observations::Kind")]
pub enum InsightKind {
    /// Something worth knowing.
    Insight,
    /// A doubt about integrity; never an input of a score.
    Integrity,
}

/// What an observation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::InsightType")]
pub enum InsightType {
    /// How long the answer took.
    ResponseTime,
    /// How much substance the answer had.
    AnswerQuality,
    /// It contradicts the résumé's facts.
    ResumeContradiction,
    /// The interview's page was left.
    TabSwitch,
    /// Text was pasted.
    Paste,
}

/// How much an observation matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::Severity")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
    /// Needs a person.
    Critical,
}

/// Something that was noticed in an interview.
pub struct Insight(pub observations::Row);

/// Something that was noticed in an interview. Candidates never see it.
#[Object]
impl Insight {
    /// Names the observation.
    async fn id(&self) -> Uuid {
        self.0.observation_id
    }

    /// Global id of the interview, `intv_…`.
    async fn interview_id(&self) -> ID {
        self.0.interview_id.to_string().into()
    }

    /// What it is.
    async fn kind(&self) -> InsightKind {
        self.0.kind.into()
    }

    /// What it is about.
    #[graphql(name = "type")]
    async fn insight_type(&self) -> InsightType {
        self.0.insight_type.into()
    }

    /// How much it matters.
    async fn severity(&self) -> Severity {
        self.0.severity.into()
    }

    /// Milliseconds since the interview's start.
    async fn ms_from_start(&self) -> u64 {
        self.0.ms_from_start
    }

    /// A measure, where there is one.
    async fn value(&self) -> Option<f64> {
        self.0.value
    }

    /// In words; null once the person was erased.
    async fn explanation(&self) -> Option<&str> {
        self.0.explanation.as_deref()
    }

    /// Who noticed it.
    async fn raised_by(&self) -> Actor {
        Actor::parse(&self.0.actor)
    }

    /// When, UTC.
    async fn at(&self) -> DateTime<Utc> {
        self.0.at
    }
}

/// What the AI side was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "ai_call::Purpose")]
pub enum AiPurpose {
    /// The next question.
    NextQuestion,
    /// How good an answer is, and what to ask back.
    JudgeAnswer,
    /// Scores for the rubric's dimensions.
    ProposeScores,
    /// Facts of a résumé.
    ReadResume,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "ai_calls::Status")]
pub enum AiCallStatus {
    /// It was answered.
    Completed,
    /// It was not answered, however often it was tried.
    Failed,
}

/// One call of the AI side: where a result comes from and what it cost.
#[derive(SimpleObject)]
pub struct AiCall {
    /// The call, as provenances name it.
    call_id: Uuid,
    /// What for.
    purpose: AiPurpose,
    /// How it ended.
    status: AiCallStatus,
    /// Who answered, such as `openai`, or `rules` for the built-in one; null if nobody did.
    provider: Option<String>,
    /// The model's name; null if nobody answered.
    model: Option<String>,
    /// Version of the prompt, or of the rules; null if nobody answered.
    prompt_version: Option<String>,
    /// Whether it came from another provider than the first of the list.
    fallback: bool,
    /// SHA-256 of the request, hex; null if nobody answered.
    request_hash: Option<String>,
    /// Tokens sent; 0 for the built-in rules.
    tokens_in: u32,
    /// Tokens received; 0 for the built-in rules.
    tokens_out: u32,
    /// Cost in millionths of a US dollar.
    cost_micro_usd: u64,
    /// Time to the answer, in milliseconds.
    latency_ms: Option<u64>,
    /// Which attempt was answered, or how many failed.
    n_attempts: u16,
    /// Public code of the failure, if it failed, such as `AI_001`.
    failure_code: Option<String>,
    /// When it was recorded, UTC.
    at: DateTime<Utc>,
}

fn ai_call(row: ai_calls::Row) -> AiCall {
    AiCall {
        call_id: row.call_id,
        purpose: row.purpose.into(),
        status: row.status.into(),
        provider: row.provider,
        model: row.model,
        prompt_version: row.prompt_version,
        fallback: row.fallback,
        request_hash: row.request_hash,
        tokens_in: row.tokens_in,
        tokens_out: row.tokens_out,
        cost_micro_usd: row.cost_micro_usd,
        latency_ms: row.latency_ms,
        n_attempts: row.n_attempts,
        failure_code: row.failure_code,
        at: row.at,
    }
}

connections! {
    AiCallConnection, AiCallEdge: AiCall = "an interview's AI calls";
}

/// Queries on what machines noticed and did.
#[derive(Default)]
pub struct ObservationQuery;

#[Object]
impl ObservationQuery {
    /// The AI side's calls about an interview, oldest first. For those who may see its verdict.
    async fn ai_calls(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id of the interview, `intv_…`.")] interview_id: ID,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor of the same list with the same filter.")]
        after: Option<String>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<AiCallConnection> {
        let interview: InterviewId = id("interviewId", &interview_id)?;
        let (view, page) = (ctx.view(Action::ReadVerdict)?, forward(first, after)?);
        ctx.consistent(consistent_with).await?;
        get(ctx, Action::ReadVerdict, interview).await?;
        let filter = ai_calls::Filter { about_id: Some(interview.0), status: None };
        let reads = &ctx.state()?.reads;
        let rows = ai_calls::list(reads, &view, &filter, &page).await.map_err(ApiError::from)?;
        let total = match wants_total(ctx) {
            true => ai_calls::count(reads, &view, &filter).await.map_err(ApiError::from)?,
            false => 0,
        };
        Ok(AiCallConnection::of(rows, total, ai_call))
    }
}
