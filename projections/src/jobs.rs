//! Jobs: description, questions and every version of the rubric.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::Event;
use domain::ids::{CompanyId, JobId, MemberId};
use domain::job::Event::{
    Closed, Described, InterviewingConfigured, Opened, Published, QuestionAdded, QuestionRemoved,
    RubricSet,
};
use domain::job::{Conversation, Description, Dimension, Question};
use domain::spelled;
use domain::values::Spelled;
use eventlog::codec::Recorded;
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::page::{self, List, Order, Page, PageRequest, SortKind};
use crate::projector::{Keys, Projector};
use crate::query::{QueryError, Reads, Sql, View};
use crate::scope;

/// The registration of this model.
pub const MODEL: Model = Model::of::<Jobs>();

/// The read model of jobs.
pub enum Jobs {}

spelled! {
    /// Where a job stands.
    Status {
        /// Being written.
        Draft = "DRAFT",
        /// Open for candidates.
        Published = "PUBLISHED",
        /// Takes no more candidates.
        Closed = "CLOSED",
    }
}

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant.
    pub company_id: CompanyId,
    /// The job.
    pub job_id: JobId,
}

/// One version of a job's rubric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rubric {
    /// 1, 2, 3 …
    pub version: u32,
    /// What is scored.
    pub dimensions: Vec<Dimension>,
    /// Since when it holds.
    pub set_at: DateTime<Utc>,
}

/// A job.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tenant.
    pub company_id: CompanyId,
    /// The job.
    pub job_id: JobId,
    /// Its title.
    pub title: String,
    /// Department, if any.
    pub department: Option<String>,
    /// Place of work, if any.
    pub location: Option<String>,
    /// BCP 47 language of the interviews.
    pub language: String,
    /// The job description.
    pub description: String,
    /// Who owns it.
    pub hiring_manager: MemberId,
    /// Where it stands.
    pub status: Status,
    /// The questions in the order in which they were added.
    pub questions: Vec<Question>,
    /// The version of the rubric that holds, once there is one.
    pub rubric_version: Option<u32>,
    /// Every version of the rubric, oldest first.
    pub rubrics: Vec<Rubric>,
    /// How interviews run.
    pub conversation: Conversation,
    /// When it was published, if it was.
    pub published_at: Option<DateTime<Utc>>,
    /// When it was closed, if it was.
    pub closed_at: Option<DateTime<Utc>>,
    /// Version of the stream.
    pub version: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When something last changed.
    pub updated_at: DateTime<Utc>,
}

impl Row {
    /// A version of the rubric.
    #[must_use]
    pub fn rubric(&self, version: u32) -> Option<&Rubric> {
        self.rubrics.iter().find(|rubric| rubric.version == version)
    }

    /// The rubric that holds, once there is one.
    #[must_use]
    pub fn current_rubric(&self) -> Option<&Rubric> {
        self.rubric(self.rubric_version?)
    }

    fn describe(&mut self, description: &Description) {
        self.title.clone_from(&description.title);
        self.department.clone_from(&description.department);
        self.location.clone_from(&description.location);
        self.language.clone_from(&description.language);
        self.description.clone_from(&description.text);
    }
}

impl Projector for Jobs {
    const NAME: &'static str = "jobs";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_job";
    const KEY: &'static [&'static str] = &["company_id", "job_id"];
    const STREAM: &'static str = "job_id";
    const AGGREGATES: &'static [&'static str] = &["job"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        let stream = &recorded.stored.stream;
        Keys::one(Key { company_id: stream.company, job_id: JobId(stream.id) })
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::Job(event) = &recorded.event else {
            return row;
        };
        let (version, at) = (recorded.stored.version.0, recorded.stored.occurred_at);
        if let Opened { description, hiring_manager } = event {
            let mut row = Row {
                company_id: key.company_id,
                job_id: key.job_id,
                title: String::new(),
                department: None,
                location: None,
                language: String::new(),
                description: String::new(),
                hiring_manager: *hiring_manager,
                status: Status::Draft,
                questions: vec![],
                rubric_version: None,
                rubrics: vec![],
                conversation: Conversation::default(),
                published_at: None,
                closed_at: None,
                version,
                created_at: at,
                updated_at: at,
            };
            row.describe(description);
            return Some(row);
        }
        let mut row = row?;
        match event {
            Opened { .. } => {}
            Described { description } => row.describe(description),
            QuestionAdded { question } => row.questions.push(question.clone()),
            QuestionRemoved { question_id } => {
                row.questions.retain(|question| question.question_id != *question_id);
            }
            RubricSet { version, dimensions } => {
                row.rubric_version = Some(*version);
                let dimensions = dimensions.clone();
                row.rubrics.push(Rubric { version: *version, dimensions, set_at: at });
            }
            InterviewingConfigured { conversation } => row.conversation = conversation.clone(),
            Published {} => {
                row.status = Status::Published;
                row.published_at = Some(at);
            }
            Closed {} => {
                row.status = Status::Closed;
                row.closed_at = Some(at);
            }
        }
        row.version = version;
        row.updated_at = at;
        Some(row)
    }
}

/// Which jobs a list shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only those that stand so, if any is given.
    pub statuses: Vec<Status>,
    /// Only of this owner.
    pub hiring_manager: Option<MemberId>,
}

impl Filter {
    fn restrict(&self, sql: &mut Sql, view: &View) {
        scope::jobs(sql, view, "t");
        if !self.statuses.is_empty() {
            let statuses: Vec<&str> = self.statuses.iter().map(|s| s.as_str()).collect();
            sql.push(" and t.status = any(").push_bind(statuses).push(")");
        }
        if let Some(member) = self.hiring_manager {
            sql.push(" and t.hiring_manager = ").push_bind(member.0);
        }
    }
}

const LIST: List = List {
    name: "jobs",
    table: Jobs::VIEW,
    row: "to_jsonb(t)",
    sort: "t.created_at",
    kind: SortKind::Time,
    id: "job_id",
    order: Order::Descending,
};

/// A page of jobs, newest first.
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

/// How many jobs [`list`] has.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count(reads: &Reads, view: &View, filter: &Filter) -> Result<u64, QueryError> {
    page::count(reads, &LIST, view.company, |sql| filter.restrict(sql, view)).await
}

/// One job, if the view shows it.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn get(reads: &Reads, view: &View, id: JobId) -> Result<Option<Row>, QueryError> {
    Ok(by_ids(reads, view, &[id]).await?.remove(&id))
}

/// Titles of these jobs of the company, which everybody may know who may see what belongs to one.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn titles(
    reads: &Reads,
    view: &View,
    ids: &[JobId],
) -> Result<HashMap<JobId, String>, QueryError> {
    let rows = by_ids(reads, &View::all(view.company), ids).await?;
    Ok(rows.into_iter().map(|(id, row)| (id, row.title)).collect())
}

/// Those of these jobs that the view shows.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_ids(
    reads: &Reads,
    view: &View,
    ids: &[JobId],
) -> Result<HashMap<JobId, Row>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::jobs(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, LIST.id, ids, restrict).await?;
    Ok(page::by_key(rows, |row: &Row| row.job_id))
}
