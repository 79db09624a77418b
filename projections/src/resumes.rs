//! Résumés: the file, how far it was read, its text and the facts read out of it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::Event;
use domain::ids::{CandidateId, CompanyId, ResumeId};
use domain::resume::Event::{Parsed, ParsingFailed, TextExtracted, Uploaded};
use domain::resume::ParsedFacts;
use domain::spelled;
use domain::values::Provenance;
use eventlog::codec::Recorded;
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::page::{self, List, Order, Page, PageRequest, SortKind};
use crate::projector::{Keys, Projector};
use crate::query::{QueryError, Reads, Sql, View};
use crate::scope;

/// The registration of this model.
pub const MODEL: Model = Model::of::<Resumes>();

/// The read model of résumés.
pub enum Resumes {}

spelled! {
    /// How far a résumé was read.
    Status {
        /// Uploaded.
        Pending = "PENDING",
        /// Its text was read.
        Processing = "PROCESSING",
        /// Its facts were read.
        Completed = "COMPLETED",
        /// It cannot be read.
        Failed = "FAILED",
    }
}

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant.
    pub company_id: CompanyId,
    /// The résumé.
    pub resume_id: ResumeId,
}

/// A résumé.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tenant.
    pub company_id: CompanyId,
    /// The résumé.
    pub resume_id: ResumeId,
    /// Whose it is.
    pub candidate_id: CandidateId,
    /// SHA-256 of the sealed file, hex: its name in the object store.
    pub file_hash: String,
    /// Name as uploaded; `None` once the person was erased.
    pub file_name: Option<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Media type, sniffed.
    pub media_type: String,
    /// How far it was read.
    pub status: Status,
    /// Public code of the failure, if it failed.
    pub failure_code: Option<String>,
    /// The text, once read; `None` also once the person was erased.
    pub text: Option<String>,
    /// Length of the text in characters.
    pub n_chars: Option<u32>,
    /// Whether the text was longer than what is kept.
    pub truncated: bool,
    /// The facts, once read; `None` also once the person was erased.
    pub facts: Option<ParsedFacts>,
    /// The recorded call that read the facts.
    pub provenance: Option<Provenance>,
    /// Version of the stream.
    pub version: u64,
    /// When it was uploaded.
    pub created_at: DateTime<Utc>,
    /// When something last changed.
    pub updated_at: DateTime<Utc>,
}

impl Projector for Resumes {
    const NAME: &'static str = "resumes";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_resume";
    const KEY: &'static [&'static str] = &["company_id", "resume_id"];
    const STREAM: &'static str = "resume_id";
    const AGGREGATES: &'static [&'static str] = &["resume"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        let stream = &recorded.stored.stream;
        Keys::one(Key { company_id: stream.company, resume_id: ResumeId(stream.id) })
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::Resume(event) = &recorded.event else {
            return row;
        };
        let (version, at) = (recorded.stored.version.0, recorded.stored.occurred_at);
        if let Uploaded { candidate_id, file } = event {
            return Some(Row {
                company_id: key.company_id,
                resume_id: key.resume_id,
                candidate_id: *candidate_id,
                file_hash: file.hash.clone(),
                file_name: file.name.get().cloned(),
                size_bytes: file.size_bytes,
                media_type: file.media_type.clone(),
                status: Status::Pending,
                failure_code: None,
                text: None,
                n_chars: None,
                truncated: false,
                facts: None,
                provenance: None,
                version,
                created_at: at,
                updated_at: at,
            });
        }
        let mut row = row?;
        match event {
            Uploaded { .. } => {}
            TextExtracted { text, n_chars, truncated } => {
                row.text = text.get().cloned();
                row.n_chars = Some(*n_chars);
                row.truncated = *truncated;
                row.status = Status::Processing;
            }
            Parsed { facts, provenance } => {
                row.facts = facts.get().cloned();
                row.provenance = Some(provenance.clone());
                row.status = Status::Completed;
            }
            ParsingFailed { code } => {
                row.failure_code = Some(code.clone());
                row.status = Status::Failed;
            }
        }
        row.version = version;
        row.updated_at = at;
        Some(row)
    }
}

/// Which résumés a list shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only of this candidate.
    pub candidate_id: Option<CandidateId>,
}

impl Filter {
    fn restrict(&self, sql: &mut Sql, view: &View) {
        scope::of_candidate(sql, view, "t");
        if let Some(candidate) = self.candidate_id {
            sql.push(" and t.candidate_id = ").push_bind(candidate.0);
        }
    }
}

const LIST: List = List {
    name: "resumes",
    table: Resumes::VIEW,
    row: "to_jsonb(t)",
    sort: "t.created_at",
    kind: SortKind::Time,
    id: "resume_id",
    order: Order::Descending,
};

/// A page of résumés, newest first.
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

/// How many résumés [`list`] has.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count(reads: &Reads, view: &View, filter: &Filter) -> Result<u64, QueryError> {
    page::count(reads, &LIST, view.company, |sql| filter.restrict(sql, view)).await
}

/// One résumé, if the view shows it.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn get(reads: &Reads, view: &View, id: ResumeId) -> Result<Option<Row>, QueryError> {
    Ok(by_ids(reads, view, &[id]).await?.remove(&id))
}

/// Those of these résumés that the view shows.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_ids(
    reads: &Reads,
    view: &View,
    ids: &[ResumeId],
) -> Result<HashMap<ResumeId, Row>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::of_candidate(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, LIST.id, ids, restrict).await?;
    Ok(page::by_key(rows, |row: &Row| row.resume_id))
}

/// The résumés of these candidates that the view shows, newest first.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_candidates(
    reads: &Reads,
    view: &View,
    ids: &[CandidateId],
) -> Result<HashMap<CandidateId, Vec<Row>>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::of_candidate(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, "candidate_id", ids, restrict).await?;
    Ok(page::grouped(rows, |row: &Row| row.candidate_id))
}
