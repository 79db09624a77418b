//! Verdicts: what they rest on, proposals that wait for a signature, and signed ones.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::Event;
use domain::ids::{
    AnswerId, ApplicationId, CandidateId, CompanyId, InterviewId, JobId, MemberId, VerdictId,
};
use domain::interview::{Mode, Status as InterviewStatus};
use domain::job::Dimension;
use domain::spelled;
use domain::values::{Provenance, Score, Share, Spelled};
use domain::verdict::Event::{
    AssessmentFailed, AssessmentRestarted, Opened, PrivateNotesRecorded, Proposed, Signed,
};
use domain::verdict::{self, CitableAnswer, Decision, Recommendation, SignedScore};
use eventlog::codec::Recorded;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::types::Json;

use crate::model::Model;
use crate::page::{self, List, Order, Page, PageRequest, SortKind};
use crate::projector::{Keys, Projector};
use crate::query::{QueryError, Reads, Sql, View};
use crate::scope;

/// The registration of this model.
pub const MODEL: Model = Model::of::<Verdicts>();

/// The read model of verdicts.
pub enum Verdicts {}

spelled! {
    /// Where a verdict stands.
    Status {
        /// Open, without a proposal.
        Open = "OPEN",
        /// A machine proposed; a person is to decide.
        Proposed = "PROPOSED",
        /// The machine's assessment failed; a person is to decide.
        AssessmentFailed = "ASSESSMENT_FAILED",
        /// A person decided.
        Signed = "SIGNED",
    }
}

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant.
    pub company_id: CompanyId,
    /// The verdict.
    pub verdict_id: VerdictId,
}

/// A machine's citation of an answer.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The answer cited.
    pub answer_id: AnswerId,
    /// The words cited; `None` once the person was erased.
    pub quote: Option<String>,
    /// Why they matter; `None` once the person was erased.
    pub why: Option<String>,
}

/// A machine's score of one dimension.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct DimensionScore {
    /// Key of the dimension.
    pub dimension: String,
    /// 0 to 100.
    pub score: Score,
    /// 0 to 1.
    pub confidence: Share,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
}

/// A machine's proposal.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Scores by dimension.
    pub scores: Vec<DimensionScore>,
    /// Keys of the dimensions that no answer speaks to.
    pub unscored: Vec<String>,
    /// Weighted mean of the scores.
    pub overall: Score,
    /// Advice.
    pub recommendation: Recommendation,
    /// What speaks for the candidate; `None` once the person was erased.
    pub strengths: Option<Vec<String>>,
    /// What speaks against; `None` once the person was erased.
    pub weaknesses: Option<Vec<String>>,
    /// In a few sentences; `None` once the person was erased.
    pub summary: Option<String>,
    /// The recorded call.
    pub provenance: Provenance,
    /// When it was made.
    pub at: DateTime<Utc>,
}

/// A person's signed decision.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// Who signed.
    pub signer: MemberId,
    /// The decision.
    pub decision: Decision,
    /// Scores with their grounds.
    pub scores: Vec<SignedScore>,
    /// What speaks for the candidate; `None` once the person was erased.
    pub strengths: Option<Vec<String>>,
    /// What speaks against; `None` once the person was erased.
    pub weaknesses: Option<Vec<String>>,
    /// The signer's note, if any; `None` also once the person was erased.
    pub notes: Option<String>,
    /// Whether a machine's proposal stood when it was signed.
    pub proposal_seen: bool,
    /// When.
    pub at: DateTime<Utc>,
}

/// A note for HR and administrators only.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct PrivateNote {
    /// Who wrote it.
    pub member_id: MemberId,
    /// What; `None` once the person was erased.
    pub text: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// A verdict.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tenant.
    pub company_id: CompanyId,
    /// The verdict.
    pub verdict_id: VerdictId,
    /// The interview.
    pub interview_id: InterviewId,
    /// Its candidate.
    pub candidate_id: CandidateId,
    /// Its job.
    pub job_id: JobId,
    /// Its application.
    pub application_id: ApplicationId,
    /// How the interview ended.
    pub interview_end: InterviewStatus,
    /// Who conducted it.
    pub mode: Mode,
    /// The interviewer, where a person conducted it.
    pub interviewer_id: Option<MemberId>,
    /// Owner of the job.
    pub hiring_manager: MemberId,
    /// Version of the rubric.
    pub rubric_version: u32,
    /// What the rubric scores.
    pub dimensions: Vec<Dimension>,
    /// The recorded answers that may be cited.
    pub answers: Vec<CitableAnswer>,
    /// Whether the candidate's consent allows a machine to propose.
    pub ai_may_propose: bool,
    /// Where it stands.
    pub status: Status,
    /// 1, 2, 3 …: which assessment is under way or was last.
    pub attempt: u16,
    /// Public code of the assessment's failure, while it stands.
    pub failure_code: Option<String>,
    /// The machine's proposal, while it stands.
    pub proposal: Option<Proposal>,
    /// The person's decision, once signed.
    pub signature: Option<Signature>,
    /// Notes for HR and administrators. Every query but [`private_notes`] leaves them empty.
    #[serde(default)]
    pub private_notes: Vec<PrivateNote>,
    /// Version of the stream.
    pub version: u64,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When something last changed.
    pub updated_at: DateTime<Utc>,
}

fn opened(key: Key, record: &verdict::Record, version: u64, at: DateTime<Utc>) -> Row {
    Row {
        company_id: key.company_id,
        verdict_id: key.verdict_id,
        interview_id: record.interview_id,
        candidate_id: record.candidate_id,
        job_id: record.job_id,
        application_id: record.application_id,
        interview_end: record.interview_end,
        mode: record.mode,
        interviewer_id: record.interviewer_id,
        hiring_manager: record.hiring_manager,
        rubric_version: record.rubric_version,
        dimensions: record.dimensions.clone(),
        answers: record.answers.clone(),
        ai_may_propose: record.ai_may_propose,
        status: Status::Open,
        attempt: 1,
        failure_code: None,
        proposal: None,
        signature: None,
        private_notes: vec![],
        version,
        created_at: at,
        updated_at: at,
    }
}

fn proposal(given: &verdict::Proposal, at: DateTime<Utc>) -> Proposal {
    let evidence = |evidence: &verdict::Evidence| Evidence {
        answer_id: evidence.answer_id,
        quote: evidence.quote.get().cloned(),
        why: evidence.why.get().cloned(),
    };
    let score = |score: &verdict::DimensionScore| DimensionScore {
        dimension: score.dimension.clone(),
        score: score.score,
        confidence: score.confidence,
        evidence: score.evidence.iter().map(evidence).collect(),
    };
    Proposal {
        scores: given.scores.iter().map(score).collect(),
        unscored: given.unscored.clone(),
        overall: given.overall,
        recommendation: given.recommendation,
        strengths: given.strengths.get().cloned(),
        weaknesses: given.weaknesses.get().cloned(),
        summary: given.summary.get().cloned(),
        provenance: given.provenance.clone(),
        at,
    }
}

fn signature(given: &verdict::Signature, at: DateTime<Utc>) -> Signature {
    Signature {
        signer: given.signer,
        decision: given.decision,
        scores: given.scores.clone(),
        strengths: given.strengths.get().cloned(),
        weaknesses: given.weaknesses.get().cloned(),
        notes: given.notes.as_ref().and_then(|notes| notes.get().cloned()),
        proposal_seen: given.proposal_seen,
        at,
    }
}

impl Row {
    /// A decision stands, whatever a machine does afterwards.
    fn unless_signed(&mut self, status: Status) {
        if self.signature.is_none() {
            self.status = status;
        }
    }
}

impl Projector for Verdicts {
    const NAME: &'static str = "verdicts";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_verdict";
    const KEY: &'static [&'static str] = &["company_id", "verdict_id"];
    const STREAM: &'static str = "verdict_id";
    const AGGREGATES: &'static [&'static str] = &["verdict"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        let stream = &recorded.stored.stream;
        Keys::one(Key { company_id: stream.company, verdict_id: VerdictId(stream.id) })
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::Verdict(event) = &recorded.event else {
            return row;
        };
        let (version, at) = (recorded.stored.version.0, recorded.stored.occurred_at);
        if let Opened { record } = event {
            return Some(opened(*key, record, version, at));
        }
        let mut row = row?;
        match event {
            Opened { .. } => {}
            Proposed { proposal: given } => {
                row.proposal = Some(proposal(given, at));
                row.failure_code = None;
                row.unless_signed(Status::Proposed);
            }
            AssessmentFailed { code } => {
                row.failure_code = Some(code.clone());
                row.unless_signed(Status::AssessmentFailed);
            }
            AssessmentRestarted { attempt } => {
                row.attempt = *attempt;
                row.proposal = None;
                row.failure_code = None;
                row.unless_signed(Status::Open);
            }
            Signed { signature: given } => {
                row.signature = Some(signature(given, at));
                row.status = Status::Signed;
            }
            PrivateNotesRecorded { member_id, text } => row.private_notes.push(PrivateNote {
                member_id: *member_id,
                text: text.get().cloned(),
                at,
            }),
        }
        row.version = version;
        row.updated_at = at;
        Some(row)
    }

    fn redact(row: Row) -> Row {
        Row { private_notes: vec![], ..row }
    }
}

/// Which verdicts a list shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only those that stand so, if any is given.
    pub statuses: Vec<Status>,
    /// Only on this interview.
    pub interview_id: Option<InterviewId>,
    /// Only on this candidate.
    pub candidate_id: Option<CandidateId>,
    /// Only for this job.
    pub job_id: Option<JobId>,
}

impl Filter {
    fn restrict(&self, sql: &mut Sql, view: &View) {
        scope::rounds(sql, view, "t");
        if !self.statuses.is_empty() {
            let statuses: Vec<&str> = self.statuses.iter().map(|s| s.as_str()).collect();
            sql.push(" and t.status = any(").push_bind(statuses).push(")");
        }
        let ids = [
            (" and t.interview_id = ", self.interview_id.map(|id| id.0)),
            (" and t.candidate_id = ", self.candidate_id.map(|id| id.0)),
            (" and t.job_id = ", self.job_id.map(|id| id.0)),
        ];
        for (condition, id) in ids {
            if let Some(id) = id {
                sql.push(condition).push_bind(id);
            }
        }
    }
}

const LIST: List = List {
    name: "verdicts",
    table: Verdicts::VIEW,
    row: "to_jsonb(t) - 'private_notes'",
    sort: "t.created_at",
    kind: SortKind::Time,
    id: "verdict_id",
    order: Order::Descending,
};

/// A page of verdicts, newest first.
///
/// # Errors
/// See [`QueryError`].
pub async fn list(
    reads: &Reads,
    view: &View,
    filter: &Filter,
    request: &PageRequest,
) -> Result<Page<Row>, QueryError> {
    let restrict = |sql: &mut Sql| filter.restrict(sql, view);
    let request = request.clone().filtered(filter);
    page::page(reads, &LIST, view.company, &request, restrict).await
}

/// How many verdicts [`list`] has.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count(reads: &Reads, view: &View, filter: &Filter) -> Result<u64, QueryError> {
    page::count(reads, &LIST, view.company, |sql| filter.restrict(sql, view)).await
}

/// One verdict, if the view shows it.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn get(reads: &Reads, view: &View, id: VerdictId) -> Result<Option<Row>, QueryError> {
    Ok(by_ids(reads, view, &[id]).await?.remove(&id))
}

/// Those of these verdicts that the view shows.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_ids(
    reads: &Reads,
    view: &View,
    ids: &[VerdictId],
) -> Result<HashMap<VerdictId, Row>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::rounds(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, LIST.id, ids, restrict).await?;
    Ok(page::by_key(rows, |row: &Row| row.verdict_id))
}

/// The verdicts on these interviews that the view shows, one each.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_interviews(
    reads: &Reads,
    view: &View,
    ids: &[InterviewId],
) -> Result<HashMap<InterviewId, Row>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::rounds(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, "interview_id", ids, restrict).await?;
    Ok(page::by_key(rows, |row: &Row| row.interview_id))
}

/// The private notes on these verdicts. The view's scope must be that of the right to read them.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn private_notes(
    reads: &Reads,
    view: &View,
    ids: &[VerdictId],
) -> Result<HashMap<VerdictId, Vec<PrivateNote>>, QueryError> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let mut sql = Sql::new("select t.verdict_id, t.private_notes from ");
    sql.push(Verdicts::VIEW).push(" t where ");
    scope::rounds(&mut sql, view, "t");
    sql.push(" and t.verdict_id = any(").push_bind(ids).push(")");
    let found = sql.build().fetch_all(&mut *reads.of(view.company).await?).await?;
    let notes = found.iter().map(|row| {
        let Json(notes) = row.try_get("private_notes")?;
        Ok((VerdictId(row.try_get("verdict_id")?), notes))
    });
    Ok(notes.collect::<sqlx::Result<_>>()?)
}
