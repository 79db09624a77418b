//! Who was shown which person's data, when, and what for. Ids and classes of fields only: nothing that
//! was shown stands here.

use chrono::{DateTime, Utc};
use domain::Event;
use domain::access::Event::Viewed;
use domain::access::{Fields, Purpose, View as Viewing, What};
use domain::caller::Actor;
use domain::ids::{CandidateId, CompanyId};
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
pub const MODEL: Model = Model::of::<AccessLog>();

/// The read model of reads.
pub enum AccessLog {}

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant.
    pub company_id: CompanyId,
    /// The stream of reads, of one process, viewer and day.
    pub log_id: Uuid,
    /// The view.
    pub view_id: Uuid,
}

/// One thing that was shown to somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tenant.
    pub company_id: CompanyId,
    /// The stream of reads, of one process, viewer and day.
    pub log_id: Uuid,
    /// The view: derives from its event and its place in it.
    pub view_id: Uuid,
    /// To whom it was shown, as `kind:id`.
    pub viewer: String,
    /// What it is.
    pub what: What,
    /// Its id.
    pub subject_id: Uuid,
    /// Whom it is about.
    pub candidate_id: CandidateId,
    /// Which of its fields.
    pub fields: Vec<Fields>,
    /// What for, as the viewer said.
    pub purpose: Purpose,
    /// When.
    pub at: DateTime<Utc>,
    /// Version of the stream that it made.
    pub version: u64,
}

/// The id of the `n`-th view of an event, which has 100 at most: no two of them are alike, and event ids
/// differ in more than their last byte.
fn view_id(event_id: Uuid, n: usize) -> Uuid {
    let mut bytes = event_id.into_bytes();
    bytes[15] ^= u8::try_from(n).unwrap_or(u8::MAX);
    Uuid::from_bytes(bytes)
}

fn views(recorded: &Recorded) -> impl Iterator<Item = (Uuid, &Viewing)> {
    let views = match &recorded.event {
        Event::Access(Viewed { views, .. }) => views.as_slice(),
        _ => &[],
    };
    let event_id = recorded.stored.event_id;
    views.iter().enumerate().map(move |(n, view)| (view_id(event_id, n), view))
}

impl Projector for AccessLog {
    const NAME: &'static str = "access_log";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_access";
    const KEY: &'static [&'static str] = &["company_id", "log_id", "view_id"];
    const STREAM: &'static str = "log_id";
    const AGGREGATES: &'static [&'static str] = &["access"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        let stream = &recorded.stored.stream;
        let key = |view_id| Key { company_id: stream.company, log_id: stream.id, view_id };
        Keys::These(views(recorded).map(|(view_id, _)| key(view_id)).collect())
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::Access(Viewed { purpose, .. }) = &recorded.event else {
            return row;
        };
        let Some((_, view)) = views(recorded).find(|(view_id, _)| *view_id == key.view_id) else {
            return row;
        };
        Some(Row {
            company_id: key.company_id,
            log_id: key.log_id,
            view_id: key.view_id,
            viewer: recorded.stored.cause.actor.clone(),
            what: view.what,
            subject_id: view.subject_id,
            candidate_id: view.candidate_id,
            fields: view.fields.clone(),
            purpose: *purpose,
            at: recorded.stored.occurred_at,
            version: recorded.stored.version.0,
        })
    }
}

/// Which reads a list shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only of this candidate's data.
    pub candidate_id: Option<CandidateId>,
    /// Only by this viewer.
    pub viewer: Option<Actor>,
    /// Only of such things.
    pub what: Option<What>,
    /// Only of this one.
    pub subject_id: Option<Uuid>,
    /// Only for this purpose.
    pub purpose: Option<Purpose>,
    /// Only at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Only before this time.
    pub before: Option<DateTime<Utc>>,
}

impl Filter {
    fn restrict(&self, sql: &mut Sql, view: &View) {
        scope::whole_company(sql, view, "t");
        if let Some(candidate) = self.candidate_id {
            sql.push(" and t.candidate_id = ").push_bind(candidate.0);
        }
        if let Some(viewer) = self.viewer {
            sql.push(" and t.viewer = ").push_bind(viewer.to_string());
        }
        if let Some(what) = self.what {
            sql.push(" and t.what = ").push_bind(what.as_str());
        }
        if let Some(subject) = self.subject_id {
            sql.push(" and t.subject_id = ").push_bind(subject);
        }
        if let Some(purpose) = self.purpose {
            sql.push(" and t.purpose = ").push_bind(purpose.as_str());
        }
        if let Some(from) = self.from {
            sql.push(" and t.at >= ").push_bind(from);
        }
        if let Some(before) = self.before {
            sql.push(" and t.at < ").push_bind(before);
        }
    }
}

const LIST: List = List {
    name: "access_log",
    table: AccessLog::VIEW,
    row: "to_jsonb(t)",
    sort: "t.at",
    kind: SortKind::Time,
    id: "view_id",
    order: Order::Descending,
};

/// A page of reads, newest first. Only a right to the whole company shows any.
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

/// How many reads [`list`] has.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count(reads: &Reads, view: &View, filter: &Filter) -> Result<u64, QueryError> {
    page::count(reads, &LIST, view.company, |sql| filter.restrict(sql, view)).await
}
