//! Candidates, their applications and their résumés.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use domain::access::{Fields, What};
use domain::application::{self, Application as ApplicationAggregate};
use domain::candidate::{self, Candidate as CandidateAggregate};
use domain::ids::{ApplicationId, CandidateId, JobId};
use domain::permission::Action;
use domain::resume::ParsedFacts as DomainFacts;
use domain::values;
use projections::page::Page;
use projections::{applications, candidates, resumes};
use uuid::Uuid;

use crate::access::shows;
use crate::company::{Actor, Member};
use crate::error::ApiError;
use crate::inputs::{self, id, inputs, optional_id};
use crate::interview::Interview;
use crate::job::Job;
use crate::loaders::one;
use crate::pagination::{connections, forward, wants_total};
use crate::payload::{ApplicationPayload, CandidatePayload, Done, answer, entity, execute, shown};
use crate::scope::{Scoped, is_candidate};

/// Where a candidate's record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "candidates::Status")]
pub enum CandidateStatus {
    /// In use.
    Active,
    /// Put away; its e-mail address is free again.
    Archived,
}

/// Where the login of a candidate stands, as far as this record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum CandidateAccountStatus {
    /// The candidate can sign in.
    Active,
    /// The record was put away: the login shows nothing of this company any more.
    Inactive,
}

/// Where an application stands in the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "application::Status")]
pub enum ApplicationStatus {
    /// Just submitted.
    New,
    /// Being looked at.
    Screening,
    /// Rounds are held.
    Interviewing,
    /// An offer was made.
    Offered,
    /// The person was hired.
    Hired,
    /// The company said no.
    Rejected,
    /// The candidate said no.
    Withdrawn,
}

/// How far a résumé was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "resumes::Status")]
pub enum ParsingStatus {
    /// Uploaded.
    Pending,
    /// Its text was read.
    Processing,
    /// Its facts were read.
    Completed,
    /// It cannot be read; `failureCode` says why.
    Failed,
}

/// Where a result of the AI side comes from. All else about the call is found by its id among the
/// interview's AI calls.
#[derive(Clone, Debug, SimpleObject)]
pub struct Provenance {
    /// The recorded call.
    call_id: Uuid,
    /// Such as `openai`, or `rules` for the built-in one, which is no model.
    provider: String,
    /// The model's name.
    model: String,
    /// Version of the prompt, or of the rules.
    prompt_version: String,
    /// Whether it came from another provider than the first of the list.
    fallback: bool,
}

impl From<&values::Provenance> for Provenance {
    fn from(given: &values::Provenance) -> Self {
        let values::Provenance { call_id, provider, model, prompt_version, fallback } =
            given.clone();
        Self { call_id, provider, model, prompt_version, fallback }
    }
}

/// A note put to a candidate's record.
pub struct CandidateNote(candidates::Note);

/// A note put to a candidate's record.
#[Object]
impl CandidateNote {
    /// The note; null once the person was erased.
    async fn text(&self) -> Option<&str> {
        self.0.text.as_deref()
    }

    /// Who wrote it.
    async fn author(&self) -> Actor {
        Actor::parse(&self.0.actor)
    }

    /// When, UTC.
    async fn at(&self) -> DateTime<Utc> {
        self.0.at
    }
}

/// One person's record in the company.
pub struct Candidate(pub candidates::Row);

impl Candidate {
    /// The value, if any, once it is noted that it is shown.
    fn shown<T>(
        &self,
        ctx: &Context<'_>,
        class: Fields,
        value: Option<T>,
    ) -> async_graphql::Result<Option<T>> {
        let id = self.0.candidate_id;
        if value.is_some() {
            shows(ctx, (What::Candidate, id.0), id, class)?;
        }
        Ok(value)
    }
}

/// One person's record in the company.
#[Object]
impl Candidate {
    /// Global id, `cand_…`.
    pub async fn id(&self) -> ID {
        self.0.candidate_id.to_string().into()
    }

    /// Name in full; null once the person was erased.
    async fn full_name(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<&str>> {
        self.shown(ctx, Fields::Contact, self.0.full_name.as_deref())
    }

    /// E-mail address; null once the person was erased.
    async fn email(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<&str>> {
        self.shown(ctx, Fields::Contact, self.0.email.as_deref())
    }

    /// Phone number as given, if any.
    async fn phone(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<&str>> {
        self.shown(ctx, Fields::Contact, self.0.phone.as_deref())
    }

    /// Where the person comes from, such as `referral`, if known; null for candidates.
    async fn source(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<&str>> {
        let hidden = is_candidate(&*ctx.caller()?);
        self.shown(ctx, Fields::Contact, self.0.source.as_deref().filter(|_| !hidden))
    }

    /// Whether the person was erased: all that is personal is gone for good.
    async fn erased(&self) -> bool {
        self.0.erased
    }

    /// Where the candidate's own login stands; null for who has none.
    async fn account_status(&self) -> Option<CandidateAccountStatus> {
        let status = match self.0.status {
            candidates::Status::Active => CandidateAccountStatus::Active,
            candidates::Status::Archived => CandidateAccountStatus::Inactive,
        };
        self.0.has_login.then_some(status)
    }

    /// In whose hands the candidate is; null for candidates.
    async fn assigned_to(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Member>> {
        Ok(one(&ctx.loaders()?.members, self.0.assigned_to).await?.map(Member))
    }

    /// Where the record stands.
    async fn status(&self) -> CandidateStatus {
        self.0.status.into()
    }

    /// Notes, oldest first; empty for candidates.
    async fn notes(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<CandidateNote>> {
        if is_candidate(&*ctx.caller()?) {
            return Ok(vec![]);
        }
        let has_text = ctx.look_ahead().field("text").exists() && !self.0.notes.is_empty();
        self.shown(ctx, Fields::Notes, has_text.then_some(()))?;
        Ok(self.0.notes.iter().cloned().map(CandidateNote).collect())
    }

    /// The candidate's applications that the caller may see, newest first.
    async fn applications(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Application>> {
        let rows = one(&ctx.loaders()?.applications_of, Some(self.0.candidate_id)).await?;
        Ok(rows.into_iter().flatten().map(Application).collect())
    }

    /// The candidate's résumés, newest first.
    async fn resumes(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Resume>> {
        let rows = one(&ctx.loaders()?.resumes_of, Some(self.0.candidate_id)).await?;
        Ok(rows.into_iter().flatten().map(Resume).collect())
    }

    /// Version of its history, for `expectedVersion`.
    async fn version(&self) -> i32 {
        shown(self.0.version)
    }

    /// When the record was made, UTC.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When something last changed, UTC.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

/// A move of an application along the pipeline.
pub struct ApplicationStep(applications::Step);

/// A move of an application along the pipeline.
#[Object]
impl ApplicationStep {
    /// Status before.
    async fn from(&self) -> ApplicationStatus {
        self.0.from.into()
    }

    /// Status after.
    async fn to(&self) -> ApplicationStatus {
        self.0.to.into()
    }

    /// Why, if given; null also once the person was erased, and for candidates.
    async fn reason(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<&str>> {
        let hidden = is_candidate(&*ctx.caller()?);
        Ok(self.0.reason.as_deref().filter(|_| !hidden))
    }

    /// Who moved it; null for candidates.
    async fn actor(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Actor>> {
        let hidden = is_candidate(&*ctx.caller()?);
        Ok((!hidden).then(|| Actor::parse(&self.0.actor)))
    }

    /// When, UTC.
    async fn at(&self) -> DateTime<Utc> {
        self.0.at
    }
}

/// Whether the company has decided, which candidates are not told by it: there is no release of results.
fn is_decided(status: application::Status) -> bool {
    matches!(
        status,
        application::Status::Offered | application::Status::Hired | application::Status::Rejected
    )
}

/// One candidate for one job. Interview rounds are grouped by it.
pub struct Application(pub applications::Row);

/// One candidate for one job. Interview rounds are grouped by it.
#[Object]
impl Application {
    /// Global id, `appl_…`.
    pub async fn id(&self) -> ID {
        self.0.application_id.to_string().into()
    }

    /// Who applies.
    async fn candidate(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Candidate>> {
        Ok(one(&ctx.loaders()?.candidates, Some(self.0.candidate_id)).await?.map(Candidate))
    }

    /// For what; null for candidates, who have `jobTitle`.
    async fn job(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Job>> {
        Ok(one(&ctx.loaders()?.jobs, Some(self.0.job_id)).await?.map(Job))
    }

    /// Title of the job, for everybody who may see the application.
    async fn job_title(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<String>> {
        Ok(one(&ctx.loaders()?.titles_by_application, Some(self.0.job_id)).await?)
    }

    /// Where it stands; null for candidates once the company has decided.
    async fn status(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<ApplicationStatus>> {
        let hidden = is_decided(self.0.status) && is_candidate(&*ctx.caller()?);
        Ok((!hidden).then(|| self.0.status.into()))
    }

    /// Its moves along the pipeline, oldest first; for candidates those before the company decided.
    async fn steps(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<ApplicationStep>> {
        let (steps, candidate) = (&self.0.steps, self.0.candidate_id);
        let has_reason = steps.iter().any(|step| step.reason.is_some());
        if has_reason && ctx.look_ahead().field("reason").exists() {
            shows(ctx, (What::Candidate, candidate.0), candidate, Fields::Notes)?;
        }
        let is_candidate = is_candidate(&*ctx.caller()?);
        let shown = steps.iter().take_while(|step| !(is_candidate && is_decided(step.to)));
        Ok(shown.cloned().map(ApplicationStep).collect())
    }

    /// Its interview rounds that the caller may see, latest first.
    async fn interviews(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Interview>> {
        let rows = one(&ctx.loaders()?.interviews_of, Some(self.0.application_id)).await?;
        Ok(rows.into_iter().flatten().map(Interview::now).collect())
    }

    /// Version of its history, for `expectedVersion`.
    async fn version(&self) -> i32 {
        shown(self.0.version)
    }

    /// When it was submitted, UTC.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it last moved, UTC.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

/// A technical domain that a résumé speaks of.
#[derive(Clone, SimpleObject)]
pub struct TechnicalDomain {
    /// Its name.
    name: String,
    /// How well the person knows it, as far as the résumé tells.
    level: String,
}

/// Facts read out of a résumé.
#[derive(Clone, SimpleObject)]
pub struct ParsedFacts {
    /// Skills named.
    skills: Vec<String>,
    /// Years of work, overlapping times counted once.
    experience_years: f64,
    /// Lines on education.
    education: Vec<String>,
    /// Earlier roles.
    previous_roles: Vec<String>,
    /// Technical domains.
    technical_domains: Vec<TechnicalDomain>,
}

impl From<DomainFacts> for ParsedFacts {
    fn from(facts: DomainFacts) -> Self {
        let domain = |(name, level)| TechnicalDomain { name, level };
        Self {
            skills: facts.skills,
            experience_years: facts.experience_years,
            education: facts.education,
            previous_roles: facts.previous_roles,
            technical_domains: facts.technical_domains.into_iter().map(domain).collect(),
        }
    }
}

/// An uploaded résumé. Upload it at `POST /files/resumes`.
pub struct Resume(pub resumes::Row);

impl Resume {
    /// The value, if any, once it is noted that it is shown.
    fn shown<T>(&self, ctx: &Context<'_>, value: Option<T>) -> async_graphql::Result<Option<T>> {
        let (id, candidate) = (self.0.resume_id, self.0.candidate_id);
        if value.is_some() {
            shows(ctx, (What::Resume, id.0), candidate, Fields::ResumeText)?;
        }
        Ok(value)
    }
}

/// An uploaded résumé. Upload it at `POST /files/resumes`.
#[Object]
impl Resume {
    /// Global id, `resm_…`.
    pub async fn id(&self) -> ID {
        self.0.resume_id.to_string().into()
    }

    /// Whose it is.
    async fn candidate(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Candidate>> {
        Ok(one(&ctx.loaders()?.candidates, Some(self.0.candidate_id)).await?.map(Candidate))
    }

    /// Name as uploaded; null once the person was erased.
    async fn file_name(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<&str>> {
        self.shown(ctx, self.0.file_name.as_deref())
    }

    /// Size of the file in bytes.
    async fn size_bytes(&self) -> u64 {
        self.0.size_bytes
    }

    /// Media type, as found in the file itself.
    async fn media_type(&self) -> &str {
        &self.0.media_type
    }

    /// Where the file is, on this server; a GET with the same bearer token answers it.
    async fn download_path(&self) -> String {
        format!("/files/resumes/{}", self.0.resume_id)
    }

    /// How far it was read.
    async fn parsing_status(&self) -> ParsingStatus {
        self.0.status.into()
    }

    /// Public code of why it cannot be read, such as `RESUME_UNSUPPORTED_KIND`.
    async fn failure_code(&self) -> Option<&str> {
        self.0.failure_code.as_deref()
    }

    /// The text, once read; null also once the person was erased.
    async fn text(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<&str>> {
        self.shown(ctx, self.0.text.as_deref())
    }

    /// Whether the text was longer than what is kept.
    async fn truncated(&self) -> bool {
        self.0.truncated
    }

    /// The facts, once read; null also once the person was erased.
    async fn parsed_facts(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<ParsedFacts>> {
        self.shown(ctx, self.0.facts.clone().map(Into::into))
    }

    /// Where the facts come from.
    async fn provenance(&self) -> Option<Provenance> {
        self.0.provenance.as_ref().map(Into::into)
    }

    /// Version of its history.
    async fn version(&self) -> i32 {
        shown(self.0.version)
    }

    /// When it was uploaded, UTC.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When something last changed, UTC.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

connections! {
    CandidateConnection, CandidateEdge: Candidate = "the company's candidates";
    ApplicationConnection, ApplicationEdge: Application = "the company's applications";
}

/// Which candidates a list shows.
#[derive(Debug, Default, InputObject)]
pub struct CandidateFilter {
    /// Only those whose name or e-mail address contains this text, whatever the case. That it does is
    /// shown of each that is found, and recorded as a read of the name. Of a search `totalCount` counts
    /// no further than 100, because each that it counts is recorded, too.
    text: Option<String>,
    /// Only those whose record stands so.
    statuses: Option<Vec<CandidateStatus>>,
    /// Only those in this member's hands.
    assigned_to_id: Option<ID>,
}

impl CandidateFilter {
    fn read(self) -> Result<candidates::Filter, ApiError> {
        Ok(candidates::Filter {
            statuses: self.statuses.into_iter().flatten().map(Into::into).collect(),
            assigned_to: optional_id("assignedToId", self.assigned_to_id.as_ref())?,
            text: self.text.filter(|text| !text.is_empty()),
        })
    }
}

/// Which applications a list shows.
#[derive(Debug, Default, InputObject)]
pub struct ApplicationFilter {
    /// Only those that stand so.
    statuses: Option<Vec<ApplicationStatus>>,
    /// Only for this job.
    job_id: Option<ID>,
    /// Only of this candidate.
    candidate_id: Option<ID>,
}

impl ApplicationFilter {
    fn read(self) -> Result<applications::Filter, ApiError> {
        Ok(applications::Filter {
            statuses: self.statuses.into_iter().flatten().map(Into::into).collect(),
            job_id: optional_id("jobId", self.job_id.as_ref())?,
            candidate_id: optional_id("candidateId", self.candidate_id.as_ref())?,
        })
    }
}

/// How many candidates a search counts at most: as many as a page has.
const MAX_COUNTED: i32 = 100;

/// Notes that these were found by name or e-mail address. Whatever else is asked for of them, it tells
/// what stands there: letter by letter, whoever searches on.
fn found(ctx: &Context<'_>, page: &Page<candidates::Row>) -> Result<(), ApiError> {
    let mut ids = page.edges.iter().map(|edge| edge.node.candidate_id);
    ids.try_for_each(|id| shows(ctx, (What::Candidate, id.0), id, Fields::Contact))
}

/// Queries on candidates.
#[derive(Default)]
pub struct CandidateQuery;

#[Object]
impl CandidateQuery {
    /// The company's candidates that the caller may see, newest first.
    async fn candidates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which candidates are shown; all without it.")] filter: Option<
            CandidateFilter,
        >,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor of the same list with the same filter.")]
        after: Option<String>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<CandidateConnection> {
        let view = ctx.view(Action::ReadCandidate)?;
        let (page, filter) = (forward(first, after)?, filter.unwrap_or_default().read()?);
        ctx.consistent(consistent_with).await?;
        let reads = &ctx.state()?.reads;
        let rows = candidates::list(reads, &view, &filter, &page).await.map_err(ApiError::from)?;
        let is_search = filter.text.is_some();
        let total = match (wants_total(ctx), is_search) {
            (true, true) => {
                let counted = forward(Some(MAX_COUNTED), None)?;
                let counted = candidates::list(reads, &view, &filter, &counted).await;
                let counted = counted.map_err(ApiError::from)?;
                found(ctx, &counted)?;
                counted.edges.len() as u64
            }
            (true, false) => {
                candidates::count(reads, &view, &filter).await.map_err(ApiError::from)?
            }
            (false, _) => 0,
        };
        if is_search {
            found(ctx, &rows)?;
        }
        Ok(CandidateConnection::of(rows, total, Candidate))
    }

    /// One candidate; an unknown id is the error `CAND_001`.
    async fn candidate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id, `cand_…`.", name = "id")] candidate_id: ID,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<Option<Candidate>> {
        let view = ctx.view(Action::ReadCandidate)?;
        let candidate = id("id", &candidate_id)?;
        ctx.consistent(consistent_with).await?;
        let row = candidates::get(&ctx.state()?.reads, &view, candidate).await;
        let row = row.map_err(ApiError::from)?;
        Ok(Some(Candidate(row.ok_or_else(|| ApiError::not_found("CAND_001"))?)))
    }

    /// The company's applications that the caller may see, newest first.
    async fn applications(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which applications are shown; all without it.")] filter: Option<
            ApplicationFilter,
        >,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor of the same list with the same filter.")]
        after: Option<String>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<ApplicationConnection> {
        let view = ctx.view(Action::ReadCandidate)?;
        let (page, filter) = (forward(first, after)?, filter.unwrap_or_default().read()?);
        ctx.consistent(consistent_with).await?;
        let reads = &ctx.state()?.reads;
        let rows =
            applications::list(reads, &view, &filter, &page).await.map_err(ApiError::from)?;
        let total = match wants_total(ctx) {
            true => applications::count(reads, &view, &filter).await.map_err(ApiError::from)?,
            false => 0,
        };
        Ok(ApplicationConnection::of(rows, total, Application))
    }

    /// One application; an unknown id is the error `APPLICATION_NOT_FOUND`.
    async fn application(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id, `appl_…`.", name = "id")] application_id: ID,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<Option<Application>> {
        let view = ctx.view(Action::ReadCandidate)?;
        let application = id("id", &application_id)?;
        ctx.consistent(consistent_with).await?;
        let row = applications::get(&ctx.state()?.reads, &view, application).await;
        let row = row.map_err(ApiError::from)?;
        Ok(Some(Application(row.ok_or_else(|| ApiError::not_found("APPLICATION_NOT_FOUND"))?)))
    }

    /// One résumé; an unknown id is the error `RESUME_NOT_FOUND`.
    async fn resume(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id, `resm_…`.", name = "id")] resume_id: ID,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<Option<Resume>> {
        let view = ctx.view(Action::ReadCandidate)?;
        let resume = id("id", &resume_id)?;
        ctx.consistent(consistent_with).await?;
        let row = resumes::get(&ctx.state()?.reads, &view, resume).await.map_err(ApiError::from)?;
        Ok(Some(Resume(row.ok_or_else(|| ApiError::not_found("RESUME_NOT_FOUND"))?)))
    }
}

/// Makes a candidate's record.
#[derive(InputObject)]
pub struct CreateCandidateInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Name in full, at most 255 characters.
    full_name: String,
    /// E-mail address, unique among the company's active candidates.
    email: String,
    /// Phone number, at most 50 characters.
    phone: Option<String>,
    /// Where the person comes from, such as `referral`.
    source: Option<String>,
}

/// Changes a candidate's profile as a whole. What is left out is taken away.
#[derive(InputObject)]
pub struct UpdateCandidateInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which candidate.
    candidate_id: ID,
    /// Name in full, at most 255 characters.
    full_name: String,
    /// E-mail address, unique among the company's active candidates.
    email: String,
    /// Phone number, at most 50 characters.
    phone: Option<String>,
    /// Where the person comes from, such as `referral`.
    source: Option<String>,
}

/// Gives a candidate into a member's hands.
#[derive(InputObject)]
pub struct AssignCandidateInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which candidate.
    candidate_id: ID,
    /// Whose; out of all hands without it.
    member_id: Option<ID>,
}

/// Puts a note to a candidate's record.
#[derive(InputObject)]
pub struct AddCandidateNoteInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which candidate.
    candidate_id: ID,
    /// The note, at most 5,000 characters.
    text: String,
}

/// Puts a candidate's record away.
#[derive(InputObject)]
pub struct ArchiveCandidateInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which candidate.
    candidate_id: ID,
}

/// Applies for a job in a candidate's name.
#[derive(InputObject)]
pub struct SubmitApplicationInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Who applies.
    candidate_id: ID,
    /// For which published job.
    job_id: ID,
}

/// Moves an application along the pipeline.
#[derive(InputObject)]
pub struct ChangeApplicationStatusInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which application.
    application_id: ID,
    /// Where to.
    status: ApplicationStatus,
    /// Why, at most 5,000 characters.
    reason: Option<String>,
}

/// Takes an application back in the candidate's name.
#[derive(InputObject)]
pub struct WithdrawApplicationInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which application.
    application_id: ID,
    /// Why, at most 5,000 characters.
    reason: Option<String>,
}

inputs! {
    CreateCandidateInput => "createCandidate";
    UpdateCandidateInput => "updateCandidate", expected_version;
    AssignCandidateInput => "assignCandidate", expected_version;
    AddCandidateNoteInput => "addCandidateNote", expected_version;
    ArchiveCandidateInput => "archiveCandidate", expected_version;
    SubmitApplicationInput => "submitApplication";
    ChangeApplicationStatusInput => "changeApplicationStatus", expected_version;
    WithdrawApplicationInput => "withdrawApplication", expected_version;
}

/// Mutations on candidates.
#[derive(Default)]
pub struct CandidateMutation;

#[Object]
impl CandidateMutation {
    /// Makes a candidate's record. A second active one with the same address is refused: `CAND_002`.
    async fn create_candidate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The candidate.")] input: CreateCandidateInput,
    ) -> async_graphql::Result<CandidatePayload> {
        answer(ctx, create(ctx, &input).await)
    }

    /// Changes a candidate's profile as a whole.
    async fn update_candidate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The candidate and the whole profile.")] input: UpdateCandidateInput,
    ) -> async_graphql::Result<CandidatePayload> {
        let profile = candidate::GivenProfile {
            full_name: input.full_name.clone(),
            email: input.email.clone(),
            phone: input.phone.clone(),
            source: input.source.clone(),
        };
        let command = Ok(candidate::Command::ChangeProfile { profile });
        answer(ctx, change(ctx, &input, &input.candidate_id, command).await)
    }

    /// Gives a candidate into a member's hands, or out of all hands.
    async fn assign_candidate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The candidate and the member.")] input: AssignCandidateInput,
    ) -> async_graphql::Result<CandidatePayload> {
        let command =
            optional_id("memberId", input.member_id.as_ref()).map(|member| match member {
                Some(member_id) => candidate::Command::Assign { member_id },
                None => candidate::Command::Unassign,
            });
        answer(ctx, change(ctx, &input, &input.candidate_id, command).await)
    }

    /// Puts a note to a candidate's record.
    async fn add_candidate_note(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The candidate and the note.")] input: AddCandidateNoteInput,
    ) -> async_graphql::Result<CandidatePayload> {
        let command = Ok(candidate::Command::AddNote { text: input.text.clone() });
        answer(ctx, change(ctx, &input, &input.candidate_id, command).await)
    }

    /// Puts a candidate's record away; its e-mail address is free again. Nothing is erased by it.
    async fn archive_candidate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The candidate.")] input: ArchiveCandidateInput,
    ) -> async_graphql::Result<CandidatePayload> {
        let command = Ok(candidate::Command::Archive);
        answer(ctx, change(ctx, &input, &input.candidate_id, command).await)
    }

    /// Applies for a published job in a candidate's name.
    async fn submit_application(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The candidate and the job.")] input: SubmitApplicationInput,
    ) -> async_graphql::Result<ApplicationPayload> {
        answer(ctx, submit(ctx, &input).await)
    }

    /// Moves an application one step along the pipeline.
    async fn change_application_status(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The application and its status.")] input: ChangeApplicationStatusInput,
    ) -> async_graphql::Result<ApplicationPayload> {
        let (to, reason) = (input.status.into(), input.reason.clone());
        let command = application::Command::ChangeStatus { to, reason };
        answer(ctx, move_on(ctx, &input, &input.application_id, command).await)
    }

    /// Takes an application back in the candidate's name.
    async fn withdraw_application(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The application.")] input: WithdrawApplicationInput,
    ) -> async_graphql::Result<ApplicationPayload> {
        let command = application::Command::Withdraw { reason: input.reason.clone() };
        answer(ctx, move_on(ctx, &input, &input.application_id, command).await)
    }
}

async fn create(
    ctx: &Context<'_>,
    input: &CreateCandidateInput,
) -> Result<Done<Candidate>, ApiError> {
    let derived = commands::derive_id(&*ctx.caller()?, input.command_id, "candidate", 0);
    let candidate_id = CandidateId(derived);
    let profile = candidate::GivenProfile {
        full_name: input.full_name.clone(),
        email: input.email.clone(),
        phone: input.phone.clone(),
        source: input.source.clone(),
    };
    run(ctx, input, candidate_id, candidate::Command::Register { candidate_id, profile }).await
}

async fn change(
    ctx: &Context<'_>,
    input: &impl inputs::Input,
    candidate_id: &ID,
    command: Result<candidate::Command, ApiError>,
) -> Result<Done<Candidate>, ApiError> {
    run(ctx, input, id("candidateId", candidate_id)?, command?).await
}

async fn run(
    ctx: &Context<'_>,
    input: &impl inputs::Input,
    candidate: CandidateId,
    command: candidate::Command,
) -> Result<Done<Candidate>, ApiError> {
    let receipt = execute::<CandidateAggregate>(ctx, input, candidate.0, command).await?;
    Ok((entity::<candidates::Candidates>(ctx, &receipt).await?.map(Candidate), receipt))
}

async fn submit(
    ctx: &Context<'_>,
    input: &SubmitApplicationInput,
) -> Result<Done<Application>, ApiError> {
    let candidate_id: CandidateId = id("candidateId", &input.candidate_id)?;
    let job_id: JobId = id("jobId", &input.job_id)?;
    let derived = commands::derive_id(&*ctx.caller()?, input.command_id, "application", 0);
    let command = application::Command::Submit { candidate_id, job_id };
    apply(ctx, input, ApplicationId(derived), command).await
}

async fn move_on(
    ctx: &Context<'_>,
    input: &impl inputs::Input,
    application_id: &ID,
    command: application::Command,
) -> Result<Done<Application>, ApiError> {
    apply(ctx, input, id("applicationId", application_id)?, command).await
}

async fn apply(
    ctx: &Context<'_>,
    input: &impl inputs::Input,
    application: ApplicationId,
    command: application::Command,
) -> Result<Done<Application>, ApiError> {
    let receipt = execute::<ApplicationAggregate>(ctx, input, application.0, command).await?;
    Ok((entity::<applications::Applications>(ctx, &receipt).await?.map(Application), receipt))
}
