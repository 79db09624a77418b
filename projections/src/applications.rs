//! Applications: the pipeline board.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::Event;
use domain::application::Event::{StatusChanged, Submitted, Withdrawn};
use domain::application::Status;
use domain::ids::{ApplicationId, CandidateId, CompanyId, JobId};
use domain::values::Spelled;
use eventlog::codec::Recorded;
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::page::{self, List, Order, Page, PageRequest, SortKind};
use crate::projector::{Keys, Projector};
use crate::query::{QueryError, Reads, Sql, View};
use crate::scope;

/// The registration of this model.
pub const MODEL: Model = Model::of::<Applications>();

/// The read model of applications.
pub enum Applications {}

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant.
    pub company_id: CompanyId,
    /// The application.
    pub application_id: ApplicationId,
}

/// A move along the pipeline.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Status before.
    pub from: Status,
    /// Status after.
    pub to: Status,
    /// Why, if given; `None` also once the person was erased.
    pub reason: Option<String>,
    /// Who moved it, as `kind:id`.
    pub actor: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// An application.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tenant.
    pub company_id: CompanyId,
    /// The application.
    pub application_id: ApplicationId,
    /// Who applies.
    pub candidate_id: CandidateId,
    /// For what.
    pub job_id: JobId,
    /// Where it stands.
    pub status: Status,
    /// Its moves, oldest first.
    pub steps: Vec<Step>,
    /// Version of the stream.
    pub version: u64,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it last moved.
    pub updated_at: DateTime<Utc>,
}

impl Projector for Applications {
    const NAME: &'static str = "applications";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_application";
    const KEY: &'static [&'static str] = &["company_id", "application_id"];
    const STREAM: &'static str = "application_id";
    const AGGREGATES: &'static [&'static str] = &["application"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        let stream = &recorded.stored.stream;
        Keys::one(Key { company_id: stream.company, application_id: ApplicationId(stream.id) })
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::Application(event) = &recorded.event else {
            return row;
        };
        let (version, at) = (recorded.stored.version.0, recorded.stored.occurred_at);
        if let Submitted { candidate_id, job_id } = event {
            return Some(Row {
                company_id: key.company_id,
                application_id: key.application_id,
                candidate_id: *candidate_id,
                job_id: *job_id,
                status: Status::New,
                steps: vec![],
                version,
                created_at: at,
                updated_at: at,
            });
        }
        let mut row = row?;
        let (to, reason) = match event {
            Submitted { .. } => return Some(row),
            StatusChanged { to, reason, .. } => (*to, reason),
            Withdrawn { reason } => (Status::Withdrawn, reason),
        };
        row.steps.push(Step {
            from: row.status,
            to,
            reason: reason.as_ref().and_then(|reason| reason.get().cloned()),
            actor: recorded.stored.cause.actor.clone(),
            at,
        });
        row.status = to;
        row.version = version;
        row.updated_at = at;
        Some(row)
    }
}

/// Which applications a list shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only those that stand so, if any is given.
    pub statuses: Vec<Status>,
    /// Only for this job.
    pub job_id: Option<JobId>,
    /// Only of this candidate.
    pub candidate_id: Option<CandidateId>,
}

impl Filter {
    fn restrict(&self, sql: &mut Sql, view: &View) {
        scope::applications(sql, view, "t");
        if !self.statuses.is_empty() {
            let statuses: Vec<&str> = self.statuses.iter().map(|s| s.as_str()).collect();
            sql.push(" and t.status = any(").push_bind(statuses).push(")");
        }
        if let Some(job) = self.job_id {
            sql.push(" and t.job_id = ").push_bind(job.0);
        }
        if let Some(candidate) = self.candidate_id {
            sql.push(" and t.candidate_id = ").push_bind(candidate.0);
        }
    }
}

const LIST: List = List {
    name: "applications",
    table: Applications::VIEW,
    row: "to_jsonb(t)",
    sort: "t.created_at",
    kind: SortKind::Time,
    id: "application_id",
    order: Order::Descending,
};

/// A page of applications, newest first.
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

/// How many applications [`list`] has.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count(reads: &Reads, view: &View, filter: &Filter) -> Result<u64, QueryError> {
    page::count(reads, &LIST, view.company, |sql| filter.restrict(sql, view)).await
}

/// One application, if the view shows it.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn get(reads: &Reads, view: &View, id: ApplicationId) -> Result<Option<Row>, QueryError> {
    Ok(by_ids(reads, view, &[id]).await?.remove(&id))
}

/// Those of these applications that the view shows.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_ids(
    reads: &Reads,
    view: &View,
    ids: &[ApplicationId],
) -> Result<HashMap<ApplicationId, Row>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::applications(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, LIST.id, ids, restrict).await?;
    Ok(page::by_key(rows, |row: &Row| row.application_id))
}

/// The applications of these candidates that the view shows, newest first.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_candidates(
    reads: &Reads,
    view: &View,
    ids: &[CandidateId],
) -> Result<HashMap<CandidateId, Vec<Row>>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::applications(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, "candidate_id", ids, restrict).await?;
    Ok(page::grouped(rows, |row: &Row| row.candidate_id))
}
