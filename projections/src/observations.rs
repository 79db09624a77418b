//! Observations: insights and integrity flags of an interview, one row each.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::Event;
use domain::ids::{CompanyId, InterviewId};
use domain::observation::Event::{InsightRaised, IntegrityFlagged};
use domain::observation::{InsightType, Severity};
use domain::spelled;
use domain::values::Spelled;
use eventlog::codec::Recorded;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::Model;
use crate::page::{self, List, Order, Page, PageRequest, SortKind};
use crate::projector::{Keys, Projector};
use crate::query::{QueryError, Reads, Sql, View};
use crate::scope;

/// The registration of this model.
pub const MODEL: Model = Model::of::<Observations>();

/// The read model of observations.
pub enum Observations {}

spelled! {
    /// What an observation is.
    Kind {
        /// An insight.
        Insight = "INSIGHT",
        /// A doubt about integrity; never an input of a score.
        Integrity = "INTEGRITY",
    }
}

/// Names a row. The stream shares the interview's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant.
    pub company_id: CompanyId,
    /// The interview.
    pub interview_id: InterviewId,
    /// The event that made the row.
    pub observation_id: Uuid,
}

/// An observation.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tenant.
    pub company_id: CompanyId,
    /// The interview.
    pub interview_id: InterviewId,
    /// The event that made the row.
    pub observation_id: Uuid,
    /// What it is.
    pub kind: Kind,
    /// What it is about.
    pub insight_type: InsightType,
    /// How much it matters.
    pub severity: Severity,
    /// Milliseconds since the interview's start.
    pub ms_from_start: u64,
    /// A measure, where there is one.
    pub value: Option<f64>,
    /// In words; `None` once the person was erased.
    pub explanation: Option<String>,
    /// Who noticed it, as `kind:id`.
    pub actor: String,
    /// When it was noticed.
    pub at: DateTime<Utc>,
    /// Version of the stream that it made.
    pub version: u64,
}

impl Projector for Observations {
    const NAME: &'static str = "observations";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_observation";
    const KEY: &'static [&'static str] = &["company_id", "interview_id", "observation_id"];
    const STREAM: &'static str = "interview_id";
    const AGGREGATES: &'static [&'static str] = &["observation"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        let stream = &recorded.stored.stream;
        Keys::one(Key {
            company_id: stream.company,
            interview_id: InterviewId(stream.id),
            observation_id: recorded.stored.event_id,
        })
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::Observation(event) = &recorded.event else {
            return row;
        };
        let (kind, insight_type, severity, ms_from_start, value, explanation) = match event {
            InsightRaised { insight_type, severity, ms_from_start, value, explanation } => {
                (Kind::Insight, insight_type, severity, ms_from_start, *value, explanation)
            }
            IntegrityFlagged { insight_type, severity, ms_from_start, explanation } => {
                (Kind::Integrity, insight_type, severity, ms_from_start, None, explanation)
            }
        };
        Some(Row {
            company_id: key.company_id,
            interview_id: key.interview_id,
            observation_id: key.observation_id,
            kind,
            insight_type: *insight_type,
            severity: *severity,
            ms_from_start: *ms_from_start,
            value,
            explanation: explanation.get().cloned(),
            actor: recorded.stored.cause.actor.clone(),
            at: recorded.stored.occurred_at,
            version: recorded.stored.version.0,
        })
    }
}

/// Which observations a list shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only of this interview.
    pub interview_id: Option<InterviewId>,
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only as severe as one of these, if any is given.
    pub severities: Vec<Severity>,
}

impl Filter {
    fn restrict(&self, sql: &mut Sql, view: &View) {
        scope::of_interview(sql, view, "t", "interview_id");
        if let Some(interview) = self.interview_id {
            sql.push(" and t.interview_id = ").push_bind(interview.0);
        }
        if let Some(kind) = self.kind {
            sql.push(" and t.kind = ").push_bind(kind.as_str());
        }
        if !self.severities.is_empty() {
            let severities: Vec<&str> = self.severities.iter().map(|s| s.as_str()).collect();
            sql.push(" and t.severity = any(").push_bind(severities).push(")");
        }
    }
}

const LIST: List = List {
    name: "observations",
    table: Observations::VIEW,
    row: "to_jsonb(t)",
    sort: "t.at",
    kind: SortKind::Time,
    id: "observation_id",
    order: Order::Ascending,
};

/// A page of observations, oldest first.
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

/// How many observations [`list`] has.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count(reads: &Reads, view: &View, filter: &Filter) -> Result<u64, QueryError> {
    page::count(reads, &LIST, view.company, |sql| filter.restrict(sql, view)).await
}

/// The observations of these interviews that the view shows, oldest first.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_interviews(
    reads: &Reads,
    view: &View,
    ids: &[InterviewId],
) -> Result<HashMap<InterviewId, Vec<Row>>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::of_interview(sql, view, "t", "interview_id");
    let rows = page::batch(reads, &LIST, view.company, "interview_id", ids, restrict).await?;
    Ok(page::grouped(rows, |row: &Row| row.interview_id))
}
