//! Verdicts: the AI side may propose, only a person may sign.

use async_graphql::{Context, Enum, ID, InputObject, Object, OneofObject};
use chrono::{DateTime, Utc};
use domain::access::{Fields, What};
use domain::ids::{AnswerId, VerdictId};
use domain::permission::Action;
use domain::values::HumanScore;
use domain::verdict::{self as rules, Command, Ground, SignedScore, Verdict as VerdictAggregate};
use projections::verdicts;
use uuid::Uuid;

use crate::access::shows;
use crate::candidate::{Candidate, Provenance};
use crate::company::Member;
use crate::error::ApiError;
use crate::inputs::{self, id, inputs, optional_id};
use crate::interview::{Interview, InterviewMode, InterviewStatus, Turn};
use crate::job::{Job, RubricDimension};
use crate::loaders::one;
use crate::pagination::{connections, forward, wants_total};
use crate::payload::{Done, VerdictPayload, answer, entity, execute, shown};
use crate::scope::Scoped;

/// Where a verdict stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "verdicts::Status")]
pub enum VerdictStatus {
    /// Open, without a proposal.
    Open,
    /// The AI side proposed; a person is to decide.
    Proposed,
    /// The AI side's assessment failed; a person is to decide.
    AssessmentFailed,
    /// A person decided.
    Signed,
}

/// A person's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::Decision")]
pub enum Decision {
    /// On to the next step.
    Advance,
    /// No.
    Reject,
    /// Not yet.
    Hold,
    /// Another round on the same.
    Reassess,
}

/// The AI side's advice. It never decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::Recommendation")]
pub enum Recommendation {
    /// Speaks for the candidate.
    Pass,
    /// A person should look closely.
    Review,
    /// Speaks against.
    Fail,
}

/// What a person scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::ScoreKind")]
pub enum ScoreKind {
    /// All in all.
    Overall,
    /// Knowledge of the field.
    Technical,
    /// How the person communicates.
    Communication,
    /// How the person fits in.
    CulturalFit,
}

async fn cited(ctx: &Context<'_>, id: Option<AnswerId>) -> async_graphql::Result<Option<Turn>> {
    let loaders = ctx.loaders()?;
    let Some(turn) = one(&loaders.answers, id).await? else { return Ok(None) };
    // Whoever is shown the turn is shown the interview, which names whom it is about.
    let interview = one(&loaders.interviews, Some(turn.interview_id)).await?;
    Ok(interview.map(|interview| Turn::of(turn, interview.candidate_id)))
}

/// An answer that the AI side cites for a score.
pub struct Evidence(verdicts::Evidence);

/// An answer that the AI side cites for a score.
#[Object]
impl Evidence {
    /// Id of the answer, `answ_…`.
    async fn answer_id(&self) -> ID {
        self.0.answer_id.to_string().into()
    }

    /// The answer's turn.
    async fn answer(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Turn>> {
        cited(ctx, Some(self.0.answer_id)).await
    }

    /// The words cited; null once the person was erased.
    async fn quote(&self) -> Option<&str> {
        self.0.quote.as_deref()
    }

    /// Why they matter; null once the person was erased.
    async fn why(&self) -> Option<&str> {
        self.0.why.as_deref()
    }
}

/// The AI side's score of one dimension.
pub struct DimensionScore(verdicts::DimensionScore);

/// The AI side's score of one dimension.
#[Object]
impl DimensionScore {
    /// Key of the dimension.
    async fn dimension(&self) -> &str {
        &self.0.dimension
    }

    /// 0 to 100.
    async fn score(&self) -> f64 {
        self.0.score.get()
    }

    /// 0 to 1.
    async fn confidence(&self) -> f64 {
        self.0.confidence.get()
    }

    /// What it rests on: at least one recorded answer.
    async fn evidence(&self) -> Vec<Evidence> {
        self.0.evidence.iter().cloned().map(Evidence).collect()
    }
}

/// The AI side's proposal: advice with evidence.
pub struct Proposal(verdicts::Proposal);

/// The AI side's proposal: advice with evidence.
#[Object]
impl Proposal {
    /// Scores by dimension.
    async fn scores(&self) -> Vec<DimensionScore> {
        self.0.scores.iter().cloned().map(DimensionScore).collect()
    }

    /// Keys of the dimensions that no answer speaks to.
    async fn unscored(&self) -> &[String] {
        &self.0.unscored
    }

    /// Mean of the scores by the weights of their dimensions, 0 to 100.
    async fn overall(&self) -> f64 {
        self.0.overall.get()
    }

    /// Advice.
    async fn recommendation(&self) -> Recommendation {
        self.0.recommendation.into()
    }

    /// What speaks for the candidate; null once the person was erased.
    async fn strengths(&self) -> Option<&[String]> {
        self.0.strengths.as_deref()
    }

    /// What speaks against; null once the person was erased.
    async fn weaknesses(&self) -> Option<&[String]> {
        self.0.weaknesses.as_deref()
    }

    /// In a few sentences; null once the person was erased.
    async fn summary(&self) -> Option<&str> {
        self.0.summary.as_deref()
    }

    /// Where it comes from.
    async fn provenance(&self) -> Provenance {
        (&self.0.provenance).into()
    }

    /// When it was made, UTC.
    async fn at(&self) -> DateTime<Utc> {
        self.0.at
    }
}

/// What a person's score rests on: a recorded answer, or the signer's own note.
pub struct ScoreGround(Ground);

/// What a person's score rests on: a recorded answer, or the signer's own note.
#[Object]
impl ScoreGround {
    /// Whether it is the signer's own note, which stands in the signature.
    async fn is_own_note(&self) -> bool {
        self.0 == Ground::OwnNote {}
    }

    /// Id of the answer, `answ_…`, if it is one.
    async fn answer_id(&self) -> Option<ID> {
        match self.0 {
            Ground::Answer { answer_id } => Some(answer_id.to_string().into()),
            Ground::OwnNote {} => None,
        }
    }

    /// The answer's turn, if it is one.
    async fn answer(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Turn>> {
        match self.0 {
            Ground::Answer { answer_id } => cited(ctx, Some(answer_id)).await,
            Ground::OwnNote {} => Ok(None),
        }
    }
}

/// A person's score.
pub struct PersonScore(SignedScore);

/// A person's score.
#[Object]
impl PersonScore {
    /// Of what.
    async fn kind(&self) -> ScoreKind {
        self.0.kind.into()
    }

    /// 1 to 10, as entered.
    async fn score(&self) -> u8 {
        self.0.score.get()
    }

    /// What it rests on; at least one.
    async fn grounds(&self) -> Vec<ScoreGround> {
        self.0.grounds.iter().cloned().map(ScoreGround).collect()
    }
}

/// A person's signed decision.
pub struct Signature(verdicts::Signature);

/// A person's signed decision.
#[Object]
impl Signature {
    /// Global id of who signed, `memb_…`.
    async fn signer_id(&self) -> ID {
        self.0.signer.to_string().into()
    }

    /// Who signed.
    async fn signer(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Member>> {
        Ok(one(&ctx.loaders()?.members, Some(self.0.signer)).await?.map(Member))
    }

    /// The decision.
    async fn decision(&self) -> Decision {
        self.0.decision.into()
    }

    /// Scores with their grounds, `OVERALL` among them.
    async fn scores(&self) -> Vec<PersonScore> {
        self.0.scores.iter().cloned().map(PersonScore).collect()
    }

    /// What speaks for the candidate; null once the person was erased.
    async fn strengths(&self) -> Option<&[String]> {
        self.0.strengths.as_deref()
    }

    /// What speaks against; null once the person was erased.
    async fn weaknesses(&self) -> Option<&[String]> {
        self.0.weaknesses.as_deref()
    }

    /// The signer's note, if any; null also once the person was erased.
    async fn notes(&self) -> Option<&str> {
        self.0.notes.as_deref()
    }

    /// Whether the AI side's proposal stood when it was signed.
    async fn proposal_seen(&self) -> bool {
        self.0.proposal_seen
    }

    /// When, UTC.
    async fn at(&self) -> DateTime<Utc> {
        self.0.at
    }
}

/// A note for HR and administrators only.
pub struct PrivateNote(verdicts::PrivateNote);

/// A note for HR and administrators only.
#[Object]
impl PrivateNote {
    /// Who wrote it.
    async fn author(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Member>> {
        Ok(one(&ctx.loaders()?.members, Some(self.0.member_id)).await?.map(Member))
    }

    /// The note; null once the person was erased.
    async fn text(&self) -> Option<&str> {
        self.0.text.as_deref()
    }

    /// When, UTC.
    async fn at(&self) -> DateTime<Utc> {
        self.0.at
    }
}

/// The verdict on one interview: what it rests on, the proposal, and the signed decision.
pub struct Verdict(pub verdicts::Row);

impl Verdict {
    /// The value, if any, once it is noted that it is shown.
    fn shown<T>(
        &self,
        ctx: &Context<'_>,
        class: Fields,
        value: Option<T>,
    ) -> async_graphql::Result<Option<T>> {
        if value.is_some() {
            shows(ctx, (What::Report, self.0.verdict_id.0), self.0.candidate_id, class)?;
        }
        Ok(value)
    }

    /// The private notes, as far as the right to `action` reaches this verdict.
    async fn private(
        &self,
        ctx: &Context<'_>,
        action: Action,
    ) -> Result<Option<Vec<verdicts::PrivateNote>>, ApiError> {
        let Some(view) = ctx.view_if_any(action) else { return Ok(None) };
        ctx.loaders()?.written.is_shown().await?;
        let id = self.0.verdict_id;
        let mut notes = verdicts::private_notes(&ctx.state()?.reads, &view, &[id]).await?;
        Ok(notes.remove(&id))
    }
}

/// The verdict on one interview: what it rests on, the proposal, and the signed decision.
#[Object]
impl Verdict {
    /// Global id, `vrdt_…`.
    pub async fn id(&self) -> ID {
        self.0.verdict_id.to_string().into()
    }

    /// Where it stands.
    async fn status(&self) -> VerdictStatus {
        self.0.status.into()
    }

    /// Global id of the interview, `intv_…`.
    async fn interview_id(&self) -> ID {
        self.0.interview_id.to_string().into()
    }

    /// The interview.
    async fn interview(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Interview>> {
        let id = Some(self.0.interview_id);
        Ok(one(&ctx.loaders()?.interviews, id).await?.map(Interview::now))
    }

    /// The candidate.
    async fn candidate(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Candidate>> {
        Ok(one(&ctx.loaders()?.candidates, Some(self.0.candidate_id)).await?.map(Candidate))
    }

    /// The job.
    async fn job(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Job>> {
        Ok(one(&ctx.loaders()?.jobs, Some(self.0.job_id)).await?.map(Job))
    }

    /// How the interview ended.
    async fn interview_end(&self) -> InterviewStatus {
        self.0.interview_end.into()
    }

    /// Who conducted it.
    async fn mode(&self) -> InterviewMode {
        self.0.mode.into()
    }

    /// Version of the rubric.
    async fn rubric_version(&self) -> u32 {
        self.0.rubric_version
    }

    /// What the rubric scores.
    async fn dimensions(&self) -> Vec<RubricDimension> {
        self.0.dimensions.iter().map(Into::into).collect()
    }

    /// Ids of the recorded answers that may be cited, `answ_…`.
    async fn citable_answer_ids(&self) -> Vec<ID> {
        self.0.answers.iter().map(|answer| answer.answer_id.to_string().into()).collect()
    }

    /// Whether the candidate's consent allows the AI side to propose.
    async fn ai_may_propose(&self) -> bool {
        self.0.ai_may_propose
    }

    /// 1, 2, 3 …: which assessment is under way or was last.
    async fn attempt(&self) -> u16 {
        self.0.attempt
    }

    /// Public code of the assessment's failure, while it stands, such as `AI_001`.
    async fn failure_code(&self) -> Option<&str> {
        self.0.failure_code.as_deref()
    }

    /// The AI side's proposal, while it stands.
    async fn proposal(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Proposal>> {
        self.shown(ctx, Fields::Scores, self.0.proposal.clone().map(Proposal))
    }

    /// The person's decision, once signed.
    async fn signature(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Signature>> {
        self.shown(ctx, Fields::Scores, self.0.signature.clone().map(Signature))
    }

    /// Notes for HR and administrators; null for all others.
    async fn private_notes(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Option<Vec<PrivateNote>>> {
        let notes = self.private(ctx, Action::ReadPrivateNotes).await?;
        let any = notes.as_ref().is_some_and(|notes| !notes.is_empty());
        self.shown(ctx, Fields::PrivateNotes, any.then_some(()))?;
        Ok(notes.map(|notes| notes.into_iter().map(PrivateNote).collect()))
    }

    /// Whether there are private notes, for those who may see them and for auditors, who see no more
    /// than this; null for all others.
    async fn has_private_notes(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<bool>> {
        let notes = match self.private(ctx, Action::ReadPrivateNotes).await? {
            Some(notes) => Some(notes),
            None => self.private(ctx, Action::ReadHistory).await?,
        };
        Ok(notes.map(|notes| !notes.is_empty()))
    }

    /// Version of its history, for `expectedVersion`.
    async fn version(&self) -> i32 {
        shown(self.0.version)
    }

    /// When it was opened, UTC.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When something last changed, UTC.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

connections! {
    VerdictConnection, VerdictEdge: Verdict = "the company's verdicts";
}

/// Which verdicts a list shows.
#[derive(Debug, Default, InputObject)]
pub struct VerdictFilter {
    /// Only those that stand so; `[OPEN, PROPOSED, ASSESSMENT_FAILED]` wait for a signature.
    statuses: Option<Vec<VerdictStatus>>,
    /// Only on this interview.
    interview_id: Option<ID>,
    /// Only on this candidate.
    candidate_id: Option<ID>,
    /// Only for this job.
    job_id: Option<ID>,
}

impl VerdictFilter {
    fn read(self) -> Result<verdicts::Filter, ApiError> {
        Ok(verdicts::Filter {
            statuses: self.statuses.into_iter().flatten().map(Into::into).collect(),
            interview_id: optional_id("interviewId", self.interview_id.as_ref())?,
            candidate_id: optional_id("candidateId", self.candidate_id.as_ref())?,
            job_id: optional_id("jobId", self.job_id.as_ref())?,
        })
    }
}

/// Queries on verdicts.
#[derive(Default)]
pub struct VerdictQuery;

#[Object]
impl VerdictQuery {
    /// The company's verdicts that the caller may see, newest first.
    async fn verdicts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which verdicts are shown; all without it.")] filter: Option<
            VerdictFilter,
        >,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor of the same list with the same filter.")]
        after: Option<String>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<VerdictConnection> {
        let view = ctx.view(Action::ReadVerdict)?;
        let (page, filter) = (forward(first, after)?, filter.unwrap_or_default().read()?);
        ctx.consistent(consistent_with).await?;
        let reads = &ctx.state()?.reads;
        let rows = verdicts::list(reads, &view, &filter, &page).await.map_err(ApiError::from)?;
        let total = match wants_total(ctx) {
            true => verdicts::count(reads, &view, &filter).await.map_err(ApiError::from)?,
            false => 0,
        };
        Ok(VerdictConnection::of(rows, total, Verdict))
    }

    /// One verdict; an unknown id is the error `VERDICT_NOT_FOUND`.
    async fn verdict(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id, `vrdt_…`.", name = "id")] verdict_id: ID,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<Option<Verdict>> {
        let view = ctx.view(Action::ReadVerdict)?;
        let verdict = id("id", &verdict_id)?;
        ctx.consistent(consistent_with).await?;
        let row = verdicts::get(&ctx.state()?.reads, &view, verdict).await;
        let row = row.map_err(ApiError::from)?;
        Ok(Some(Verdict(row.ok_or_else(|| ApiError::not_found("VERDICT_NOT_FOUND"))?)))
    }
}

/// What a score rests on: a recorded answer of the interview, or the signer's own note.
#[derive(OneofObject)]
pub enum GroundInput {
    /// Id of a recorded answer of the interview, `answ_…`.
    AnswerId(ID),
    /// The note in `notes` of the same input; always `true`.
    OwnNote(bool),
}

/// A score with what it rests on.
#[derive(InputObject)]
pub struct ScoreInput {
    /// Of what; each kind once.
    kind: ScoreKind,
    /// 1 to 10.
    score: i32,
    /// At least one.
    grounds: Vec<GroundInput>,
}

/// Signs a verdict.
#[derive(InputObject)]
pub struct SignVerdictInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which verdict.
    verdict_id: ID,
    /// The decision.
    decision: Decision,
    /// Scores, `OVERALL` among them.
    scores: Vec<ScoreInput>,
    /// What speaks for the candidate.
    #[graphql(default)]
    strengths: Vec<String>,
    /// What speaks against.
    #[graphql(default)]
    weaknesses: Vec<String>,
    /// The signer's note, at most 5,000 characters.
    notes: Option<String>,
    /// A note that only HR and administrators will see, at most 5,000 characters.
    private_notes: Option<String>,
}

/// Asks for the AI side's assessment to be made again.
#[derive(InputObject)]
pub struct RestartAssessmentInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which verdict.
    verdict_id: ID,
}

inputs! {
    SignVerdictInput => "signVerdict", expected_version;
    RestartAssessmentInput => "restartAssessment", expected_version;
}

/// Mutations on verdicts.
#[derive(Default)]
pub struct VerdictMutation;

#[Object]
impl VerdictMutation {
    /// Signs a verdict, with or without a proposal of the AI side. Only a person can; once signed it
    /// stands.
    async fn sign_verdict(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The verdict and the decision.")] input: SignVerdictInput,
    ) -> async_graphql::Result<VerdictPayload> {
        let command = signature(&input).map(|signature| Command::Sign { signature });
        answer(ctx, change(ctx, &input, &input.verdict_id, command).await)
    }

    /// Asks for the AI side's assessment to be made again.
    async fn restart_assessment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The verdict.")] input: RestartAssessmentInput,
    ) -> async_graphql::Result<VerdictPayload> {
        answer(ctx, change(ctx, &input, &input.verdict_id, Ok(Command::RestartAssessment)).await)
    }
}

fn signature(input: &SignVerdictInput) -> Result<rules::GivenSignature, ApiError> {
    let scores = input.scores.iter().map(|given| {
        let score = HumanScore::parse("score", i64::from(given.score))?;
        let grounds = given.grounds.iter().map(ground).collect::<Result<_, _>>()?;
        Ok(SignedScore { kind: given.kind.into(), score, grounds })
    });
    Ok(rules::GivenSignature {
        decision: input.decision.into(),
        scores: scores.collect::<Result<_, ApiError>>()?,
        strengths: input.strengths.clone(),
        weaknesses: input.weaknesses.clone(),
        notes: input.notes.clone(),
        private_notes: input.private_notes.clone(),
    })
}

fn ground(input: &GroundInput) -> Result<Ground, ApiError> {
    match input {
        GroundInput::AnswerId(answer) => Ok(Ground::Answer { answer_id: id("answerId", answer)? }),
        GroundInput::OwnNote(true) => Ok(Ground::OwnNote {}),
        GroundInput::OwnNote(false) => Err(ApiError::invalid("ownNote", "is true or left out")),
    }
}

async fn change(
    ctx: &Context<'_>,
    input: &impl inputs::Input,
    verdict_id: &ID,
    command: Result<Command, ApiError>,
) -> Result<Done<Verdict>, ApiError> {
    let verdict: VerdictId = id("verdictId", verdict_id)?;
    let receipt = execute::<VerdictAggregate>(ctx, input, verdict.0, command?).await?;
    Ok((entity::<verdicts::Verdicts>(ctx, &receipt).await?.map(Verdict), receipt))
}
