//! Candidates: list and profile.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::Event;
use domain::candidate::Event::{
    AccountLinked, AccountUnlinked, Archived, Assigned, NoteAdded, ProfileChanged, Registered,
    Unassigned,
};
use domain::candidate::Profile;
use domain::ids::{CandidateId, CompanyId, MemberId};
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
pub const MODEL: Model = Model::of::<Candidates>();

/// The read model of candidates.
pub enum Candidates {}

spelled! {
    /// Where a candidate's record stands.
    Status {
        /// In use.
        Active = "ACTIVE",
        /// Put away.
        Archived = "ARCHIVED",
    }
}

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant.
    pub company_id: CompanyId,
    /// The candidate.
    pub candidate_id: CandidateId,
}

/// A note put to the record.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The note; `None` once its subject was erased.
    pub text: Option<String>,
    /// Who wrote it, as `kind:id`.
    pub actor: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Version of the stream that the note made.
    pub version: u64,
}

/// A candidate.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tenant.
    pub company_id: CompanyId,
    /// The candidate.
    pub candidate_id: CandidateId,
    /// Name in full; `None` once the person was erased.
    pub full_name: Option<String>,
    /// E-mail address; `None` once the person was erased.
    pub email: Option<String>,
    /// Phone number as given, if any.
    pub phone: Option<String>,
    /// Where the person comes from, if known.
    pub source: Option<String>,
    /// Whether the person was erased.
    pub erased: bool,
    /// In whose hands the candidate is.
    pub assigned_to: Option<MemberId>,
    /// Whether the person has a login, with which this record is linked.
    pub has_login: bool,
    /// Where the record stands.
    pub status: Status,
    /// Notes, oldest first.
    pub notes: Vec<Note>,
    /// Version of the stream.
    pub version: u64,
    /// When the record was made.
    pub created_at: DateTime<Utc>,
    /// When something last changed.
    pub updated_at: DateTime<Utc>,
}

impl Row {
    fn describe(&mut self, profile: &Profile) {
        self.full_name = profile.full_name.get().cloned();
        self.email = profile.email.get().cloned();
        self.phone = profile.phone.as_ref().and_then(|phone| phone.get().cloned());
        self.source.clone_from(&profile.source);
        self.erased = profile.full_name.get().is_none();
    }
}

impl Projector for Candidates {
    const NAME: &'static str = "candidates";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_candidate";
    const KEY: &'static [&'static str] = &["company_id", "candidate_id"];
    const STREAM: &'static str = "candidate_id";
    const AGGREGATES: &'static [&'static str] = &["candidate"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        let stream = &recorded.stored.stream;
        Keys::one(Key { company_id: stream.company, candidate_id: CandidateId(stream.id) })
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::Candidate(event) = &recorded.event else {
            return row;
        };
        let (version, at) = (recorded.stored.version.0, recorded.stored.occurred_at);
        if let Registered { profile } = event {
            let mut row = Row {
                company_id: key.company_id,
                candidate_id: key.candidate_id,
                full_name: None,
                email: None,
                phone: None,
                source: None,
                erased: false,
                assigned_to: None,
                has_login: false,
                status: Status::Active,
                notes: vec![],
                version,
                created_at: at,
                updated_at: at,
            };
            row.describe(profile);
            return Some(row);
        }
        let mut row = row?;
        match event {
            Registered { .. } => {}
            ProfileChanged { profile } => row.describe(profile),
            Assigned { member_id } => row.assigned_to = Some(*member_id),
            Unassigned {} => row.assigned_to = None,
            NoteAdded { text } => row.notes.push(Note {
                text: text.get().cloned(),
                actor: recorded.stored.cause.actor.clone(),
                at,
                version,
            }),
            AccountLinked { .. } => row.has_login = true,
            AccountUnlinked {} => row.has_login = false,
            Archived {} => row.status = Status::Archived,
        }
        row.version = version;
        row.updated_at = at;
        Some(row)
    }
}

/// Which candidates a list shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only those that stand so, if any is given.
    pub statuses: Vec<Status>,
    /// Only in this member's hands.
    pub assigned_to: Option<MemberId>,
    /// Only those whose name or e-mail contains this text, whatever the case.
    pub text: Option<String>,
}

impl Filter {
    fn restrict(&self, sql: &mut Sql, view: &View) {
        scope::candidates(sql, view, "t");
        if !self.statuses.is_empty() {
            let statuses: Vec<&str> = self.statuses.iter().map(|s| s.as_str()).collect();
            sql.push(" and t.status = any(").push_bind(statuses).push(")");
        }
        if let Some(member) = self.assigned_to {
            sql.push(" and t.assigned_to = ").push_bind(member.0);
        }
        // The database has no text with NUL, so none contains it.
        if let Some(text) = self.text.as_ref().map(|text| text.replace('\0', "\u{fffd}")) {
            sql.push(" and (strpos(lower(t.full_name), lower(").push_bind(text.clone());
            sql.push(")) > 0 or strpos(lower(t.email), lower(").push_bind(text).push(")) > 0)");
        }
    }
}

const LIST: List = List {
    name: "candidates",
    table: Candidates::VIEW,
    row: "to_jsonb(t)",
    sort: "t.created_at",
    kind: SortKind::Time,
    id: "candidate_id",
    order: Order::Descending,
};

/// A page of candidates, newest first.
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

/// How many candidates [`list`] has.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count(reads: &Reads, view: &View, filter: &Filter) -> Result<u64, QueryError> {
    page::count(reads, &LIST, view.company, |sql| filter.restrict(sql, view)).await
}

/// One candidate, if the view shows it.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn get(reads: &Reads, view: &View, id: CandidateId) -> Result<Option<Row>, QueryError> {
    Ok(by_ids(reads, view, &[id]).await?.remove(&id))
}

/// Those of these candidates that the view shows.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_ids(
    reads: &Reads,
    view: &View,
    ids: &[CandidateId],
) -> Result<HashMap<CandidateId, Row>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::candidates(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, LIST.id, ids, restrict).await?;
    Ok(page::by_key(rows, |row: &Row| row.candidate_id))
}
