//! Jobs: description, questions, rubric, and how interviews run.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use domain::ids::{JobId, MemberId, QuestionId};
use domain::job::{self, Job as JobAggregate};
use domain::permission::{self, Action};
use domain::values::Weight;
use projections::jobs;
use uuid::Uuid;

use crate::company::Member;
use crate::error::ApiError;
use crate::inputs::{self, id, inputs, number, optional_id};
use crate::loaders::one;
use crate::pagination::{connections, forward, wants_total};
use crate::payload::{Done, JobPayload, QuestionPayload, answer, entity, execute, shown};
use crate::scope::Scoped;

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "job::QuestionType")]
pub enum QuestionType {
    /// Knowledge of the field.
    Technical,
    /// What the person did.
    Behavioral,
    /// What the person would do.
    Situational,
}

/// How hard a question is, and where an interview stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "job::Difficulty")]
pub enum Difficulty {
    /// To begin with.
    Warmup,
    /// The bulk.
    Standard,
    /// Until the candidate struggles.
    Advanced,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "jobs::Status")]
pub enum JobStatus {
    /// Being written.
    Draft,
    /// Open for candidates.
    Published,
    /// Takes no more candidates.
    Closed,
}

/// One of a job's questions.
pub struct JobQuestion(pub job::Question);

/// One of a job's questions.
#[Object]
impl JobQuestion {
    /// Id within the job, `ques_…`.
    async fn id(&self) -> ID {
        self.0.question_id.to_string().into()
    }

    /// What is asked.
    async fn text(&self) -> &str {
        &self.0.text
    }

    /// What it is about.
    #[graphql(name = "type")]
    async fn question_type(&self) -> QuestionType {
        self.0.question_type.into()
    }

    /// How hard it is.
    async fn difficulty(&self) -> Difficulty {
        self.0.difficulty.into()
    }

    /// Orders and weighs coverage, 1 to 100.
    async fn weight(&self) -> u8 {
        self.0.weight
    }

    /// Keys of the rubric dimensions that it measures.
    async fn dimensions(&self) -> &[String] {
        &self.0.dimensions
    }

    /// What a good answer mentions; `a|b` means either.
    async fn expected_keywords(&self) -> &[String] {
        &self.0.expected_keywords
    }
}

/// One thing that a rubric scores.
#[derive(Clone, SimpleObject)]
pub struct RubricDimension {
    /// Key, such as `system_design`.
    key: String,
    /// Name for people.
    label: String,
    /// Weight; the sum of all need not be 1.
    weight: f64,
}

impl From<&job::Dimension> for RubricDimension {
    fn from(given: &job::Dimension) -> Self {
        let job::Dimension { key, label, weight } = given.clone();
        Self { key, label, weight: weight.get() }
    }
}

/// One version of a job's rubric. It is never changed, only followed by the next.
#[derive(Clone, SimpleObject)]
pub struct Rubric {
    /// 1, 2, 3 …
    version: u32,
    /// What is scored.
    dimensions: Vec<RubricDimension>,
    /// Since when it holds, UTC.
    set_at: DateTime<Utc>,
}

impl From<&jobs::Rubric> for Rubric {
    fn from(rubric: &jobs::Rubric) -> Self {
        let dimensions = rubric.dimensions.iter().map(Into::into).collect();
        Self { version: rubric.version, dimensions, set_at: rubric.set_at }
    }
}

/// How interviews run.
#[derive(Clone, SimpleObject)]
pub struct Conversation {
    /// Most warm-up questions asked.
    n_warmup: u8,
    /// Most standard questions asked.
    n_standard: u8,
    /// Most advanced questions asked.
    n_advanced: u8,
    /// How long a question waits for its answer, in seconds.
    answer_timeout_s: u32,
    /// Silence after which a round is abandoned, in seconds.
    abandon_after_s: u32,
}

impl From<&job::Conversation> for Conversation {
    fn from(given: &job::Conversation) -> Self {
        let job::Conversation {
            n_warmup,
            n_standard,
            n_advanced,
            answer_timeout_s,
            abandon_after_s,
        } = *given;
        Self { n_warmup, n_standard, n_advanced, answer_timeout_s, abandon_after_s }
    }
}

/// A job: what is looked for, what is asked, and what is scored.
pub struct Job(pub jobs::Row);

/// A job: what is looked for, what is asked, and what is scored.
#[Object]
impl Job {
    /// Global id, `jobd_…`.
    pub async fn id(&self) -> ID {
        self.0.job_id.to_string().into()
    }

    /// Its title.
    async fn title(&self) -> &str {
        &self.0.title
    }

    /// Department, if any.
    async fn department(&self) -> Option<&str> {
        self.0.department.as_deref()
    }

    /// Place of work, if any.
    async fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// BCP 47 language of the interviews, such as `en`.
    async fn language(&self) -> &str {
        &self.0.language
    }

    /// The job description.
    async fn description(&self) -> &str {
        &self.0.description
    }

    /// Who owns it.
    async fn hiring_manager(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Member>> {
        Ok(one(&ctx.loaders()?.members, Some(self.0.hiring_manager)).await?.map(Member))
    }

    /// Where it stands.
    async fn status(&self) -> JobStatus {
        self.0.status.into()
    }

    /// Its questions in the order in which they were added.
    async fn questions(&self) -> Vec<JobQuestion> {
        self.0.questions.iter().cloned().map(JobQuestion).collect()
    }

    /// The rubric that holds, once there is one.
    async fn rubric(&self) -> Option<Rubric> {
        self.0.current_rubric().map(Into::into)
    }

    /// Every version of the rubric, oldest first.
    async fn rubrics(&self) -> Vec<Rubric> {
        self.0.rubrics.iter().map(Into::into).collect()
    }

    /// How its interviews run.
    async fn conversation(&self) -> Conversation {
        (&self.0.conversation).into()
    }

    /// When it was published, UTC, if it was.
    async fn published_at(&self) -> Option<DateTime<Utc>> {
        self.0.published_at
    }

    /// When it was closed, UTC, if it was.
    async fn closed_at(&self) -> Option<DateTime<Utc>> {
        self.0.closed_at
    }

    /// Version of its history, for `expectedVersion`.
    async fn version(&self) -> i32 {
        shown(self.0.version)
    }

    /// When it was made, UTC.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When something last changed, UTC.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

connections! {
    JobConnection, JobEdge: Job = "the company's jobs";
}

/// Which jobs a list shows.
#[derive(Debug, Default, InputObject)]
pub struct JobFilter {
    /// Only those that stand so.
    statuses: Option<Vec<JobStatus>>,
    /// Only of this owner.
    hiring_manager_id: Option<ID>,
}

impl JobFilter {
    fn read(self) -> Result<jobs::Filter, ApiError> {
        Ok(jobs::Filter {
            statuses: self.statuses.into_iter().flatten().map(Into::into).collect(),
            hiring_manager: optional_id("hiringManagerId", self.hiring_manager_id.as_ref())?,
        })
    }
}

/// Queries on jobs.
#[derive(Default)]
pub struct JobQuery;

#[Object]
impl JobQuery {
    /// The company's jobs, newest first.
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which jobs are shown; all without it.")] filter: Option<JobFilter>,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor of the same list with the same filter.")]
        after: Option<String>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<JobConnection> {
        let view = ctx.view(Action::ReadJob)?;
        let (page, filter) = (forward(first, after)?, filter.unwrap_or_default().read()?);
        ctx.consistent(consistent_with).await?;
        let reads = &ctx.state()?.reads;
        let rows = jobs::list(reads, &view, &filter, &page).await.map_err(ApiError::from)?;
        let total = match wants_total(ctx) {
            true => jobs::count(reads, &view, &filter).await.map_err(ApiError::from)?,
            false => 0,
        };
        Ok(JobConnection::of(rows, total, Job))
    }

    /// One job; an unknown id is the error `JOB_001`.
    async fn job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id, `jobd_…`.", name = "id")] job_id: ID,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<Option<Job>> {
        let view = ctx.view(Action::ReadJob)?;
        let job = id("id", &job_id)?;
        ctx.consistent(consistent_with).await?;
        let row = jobs::get(&ctx.state()?.reads, &view, job).await.map_err(ApiError::from)?;
        Ok(Some(Job(row.ok_or_else(|| ApiError::not_found("JOB_001"))?)))
    }
}

/// Makes a job, as a draft.
#[derive(InputObject)]
pub struct CreateJobInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Title, at most 255 characters.
    title: String,
    /// Department, if any.
    department: Option<String>,
    /// Place of work, if any.
    location: Option<String>,
    /// BCP 47 language of the interviews.
    #[graphql(default = "en")]
    language: String,
    /// The job description, at most 20,000 characters.
    description: String,
    /// Who owns it; the caller without it.
    hiring_manager_id: Option<ID>,
}

/// Describes a job anew. What is left out is taken away.
#[derive(InputObject)]
pub struct DescribeJobInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which job.
    job_id: ID,
    /// Title, at most 255 characters.
    title: String,
    /// Department, if any.
    department: Option<String>,
    /// Place of work, if any.
    location: Option<String>,
    /// BCP 47 language of the interviews.
    #[graphql(default = "en")]
    language: String,
    /// The job description, at most 20,000 characters.
    description: String,
}

/// Adds a question to a job.
#[derive(InputObject)]
pub struct AddQuestionInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which job.
    job_id: ID,
    /// What is asked, at most 5,000 characters.
    text: String,
    /// What it is about.
    #[graphql(name = "type")]
    question_type: QuestionType,
    /// How hard it is.
    difficulty: Difficulty,
    /// Orders and weighs coverage, 1 to 100.
    #[graphql(default = 1)]
    weight: i32,
    /// Keys of the rubric dimensions that it measures; the rubric must have them.
    #[graphql(default)]
    dimensions: Vec<String>,
    /// What a good answer mentions; `a|b` means either. At most 50.
    #[graphql(default)]
    expected_keywords: Vec<String>,
}

/// Takes a question away. Interviews that asked it keep it.
#[derive(InputObject)]
pub struct RemoveQuestionInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which job.
    job_id: ID,
    /// Which of its questions.
    question_id: ID,
}

/// One thing that a rubric is to score.
#[derive(InputObject)]
pub struct RubricDimensionInput {
    /// Key: 1 to 64 of a-z, 0-9 and _.
    key: String,
    /// Name for people.
    label: String,
    /// Weight, 0.001 to 1000; the sum of all need not be 1.
    weight: f64,
}

/// Sets the next version of a job's rubric.
#[derive(InputObject)]
pub struct SetRubricInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which job.
    job_id: ID,
    /// What is scored.
    dimensions: Vec<RubricDimensionInput>,
}

/// Sets how a job's interviews run. Interviews made before keep what they have.
#[derive(InputObject)]
pub struct ConfigureInterviewingInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which job.
    job_id: ID,
    /// Most warm-up questions asked.
    #[graphql(default = 3)]
    n_warmup: i32,
    /// Most standard questions asked.
    #[graphql(default = 8)]
    n_standard: i32,
    /// Most advanced questions asked.
    #[graphql(default = 5)]
    n_advanced: i32,
    /// How long a question waits for its answer, in seconds, 5 to 3600.
    #[graphql(default = 300)]
    answer_timeout_s: i32,
    /// Silence after which a round is abandoned, in seconds, 60 to 86400.
    #[graphql(default = 1800)]
    abandon_after_s: i32,
}

/// Opens a job for candidates.
#[derive(InputObject)]
pub struct PublishJobInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which job.
    job_id: ID,
}

/// Closes a job.
#[derive(InputObject)]
pub struct CloseJobInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which job.
    job_id: ID,
}

inputs! {
    CreateJobInput => "createJob";
    DescribeJobInput => "describeJob", expected_version;
    AddQuestionInput => "addQuestion", expected_version;
    RemoveQuestionInput => "removeQuestion", expected_version;
    SetRubricInput => "setRubric", expected_version;
    ConfigureInterviewingInput => "configureInterviewing", expected_version;
    PublishJobInput => "publishJob", expected_version;
    CloseJobInput => "closeJob", expected_version;
}

/// Mutations on jobs.
#[derive(Default)]
pub struct JobMutation;

#[Object]
impl JobMutation {
    /// Makes a job, as a draft.
    async fn create_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: CreateJobInput,
    ) -> async_graphql::Result<JobPayload> {
        answer(ctx, create(ctx, &input).await)
    }

    /// Describes a job anew.
    async fn describe_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job and its description.")] input: DescribeJobInput,
    ) -> async_graphql::Result<JobPayload> {
        let description = job::Description {
            title: input.title.clone(),
            department: input.department.clone(),
            location: input.location.clone(),
            language: input.language.clone(),
            text: input.description.clone(),
        };
        let command = job::Command::Describe { description };
        answer(ctx, change(ctx, &input, &input.job_id, Ok(command)).await)
    }

    /// Adds a question. Set the rubric first, if the question measures its dimensions.
    async fn add_question(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job and the question.")] input: AddQuestionInput,
    ) -> async_graphql::Result<QuestionPayload> {
        match add_question(ctx, &input).await {
            Ok((done, question_id)) => {
                let mut payload: QuestionPayload = answer(ctx, Ok(done))?;
                payload.question_id = Some(question_id.to_string().into());
                Ok(payload)
            }
            Err(error) => answer(ctx, Err(error)),
        }
    }

    /// Takes a question away. Interviews that asked it keep it.
    async fn remove_question(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job and the question.")] input: RemoveQuestionInput,
    ) -> async_graphql::Result<JobPayload> {
        let command = id("questionId", &input.question_id)
            .map(|question_id| job::Command::RemoveQuestion { question_id });
        answer(ctx, change(ctx, &input, &input.job_id, command).await)
    }

    /// Sets the next version of the rubric. Interviews made before keep theirs.
    async fn set_rubric(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job and its rubric.")] input: SetRubricInput,
    ) -> async_graphql::Result<JobPayload> {
        let dimensions = input.dimensions.iter().map(|given| {
            let weight = Weight::parse("weight", given.weight)?;
            let (key, label) = (given.key.clone(), given.label.clone());
            Ok(job::Dimension { key, label, weight })
        });
        let command = dimensions
            .collect::<Result<_, ApiError>>()
            .map(|dimensions| job::Command::SetRubric { dimensions });
        answer(ctx, change(ctx, &input, &input.job_id, command).await)
    }

    /// Sets how interviews run.
    async fn configure_interviewing(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job, counts and time-outs.")] input: ConfigureInterviewingInput,
    ) -> async_graphql::Result<JobPayload> {
        let command = conversation(&input)
            .map(|conversation| job::Command::ConfigureInterviewing { conversation });
        answer(ctx, change(ctx, &input, &input.job_id, command).await)
    }

    /// Opens a job for candidates. It needs a rubric and at least one question.
    async fn publish_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: PublishJobInput,
    ) -> async_graphql::Result<JobPayload> {
        answer(ctx, change(ctx, &input, &input.job_id, Ok(job::Command::Publish)).await)
    }

    /// Closes a job: it takes no more candidates and no changes.
    async fn close_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job.")] input: CloseJobInput,
    ) -> async_graphql::Result<JobPayload> {
        answer(ctx, change(ctx, &input, &input.job_id, Ok(job::Command::Close)).await)
    }
}

async fn create(ctx: &Context<'_>, input: &CreateJobInput) -> Result<Done<Job>, ApiError> {
    let caller = ctx.caller()?;
    let job = JobId(commands::derive_id(&caller, input.command_id, "job", 0));
    let owner: Option<MemberId> = optional_id("hiringManagerId", input.hiring_manager_id.as_ref())?;
    let hiring_manager = owner.or(caller.member()).ok_or_else(|| {
        match permission::scope(&caller, Action::WriteJob).is_empty() {
            true => ApiError::forbidden(),
            false => ApiError::invalid("hiringManagerId", "must name a member: you are none"),
        }
    })?;
    let description = job::Description {
        title: input.title.clone(),
        department: input.department.clone(),
        location: input.location.clone(),
        language: input.language.clone(),
        text: input.description.clone(),
    };
    run(ctx, input, job, job::Command::Open { description, hiring_manager }).await
}

async fn add_question(
    ctx: &Context<'_>,
    input: &AddQuestionInput,
) -> Result<(Done<Job>, QuestionId), ApiError> {
    let kind = format!("question/{}", input.job_id.as_str());
    let question_id = QuestionId(commands::derive_id(&*ctx.caller()?, input.command_id, &kind, 0));
    let question = job::Question {
        question_id,
        text: input.text.clone(),
        question_type: input.question_type.into(),
        difficulty: input.difficulty.into(),
        weight: number("weight", input.weight)?,
        dimensions: input.dimensions.clone(),
        expected_keywords: input.expected_keywords.clone(),
    };
    let command = Ok(job::Command::AddQuestion { question });
    Ok((change(ctx, input, &input.job_id, command).await?, question_id))
}

fn conversation(input: &ConfigureInterviewingInput) -> Result<job::Conversation, ApiError> {
    Ok(job::Conversation {
        n_warmup: number("nWarmup", input.n_warmup)?,
        n_standard: number("nStandard", input.n_standard)?,
        n_advanced: number("nAdvanced", input.n_advanced)?,
        answer_timeout_s: number("answerTimeoutS", input.answer_timeout_s)?,
        abandon_after_s: number("abandonAfterS", input.abandon_after_s)?,
    })
}

async fn change(
    ctx: &Context<'_>,
    input: &impl inputs::Input,
    job_id: &ID,
    command: Result<job::Command, ApiError>,
) -> Result<Done<Job>, ApiError> {
    run(ctx, input, id("jobId", job_id)?, command?).await
}

async fn run(
    ctx: &Context<'_>,
    input: &impl inputs::Input,
    job: JobId,
    command: job::Command,
) -> Result<Done<Job>, ApiError> {
    let receipt = execute::<JobAggregate>(ctx, input, job.0, command).await?;
    Ok((entity::<jobs::Jobs>(ctx, &receipt).await?.map(Job), receipt))
}
