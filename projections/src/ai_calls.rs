//! Calls to models: where each result comes from and what it cost. Prompts and answers stay in the
//! log.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::Event;
use domain::ai_call::Event::{Completed, Failed};
use domain::ai_call::Purpose;
use domain::ids::CompanyId;
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
pub const MODEL: Model = Model::of::<AiCalls>();

/// The read model of calls to models.
pub enum AiCalls {}

spelled! {
    /// How a call ended.
    Status {
        /// A model answered.
        Completed = "COMPLETED",
        /// No model answered.
        Failed = "FAILED",
    }
}

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant.
    pub company_id: CompanyId,
    /// The interview or résumé that the call was about.
    pub about_id: Uuid,
    /// The call.
    pub call_id: Uuid,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tenant.
    pub company_id: CompanyId,
    /// The interview or résumé that the call was about.
    pub about_id: Uuid,
    /// The call.
    pub call_id: Uuid,
    /// What for.
    pub purpose: Purpose,
    /// How it ended.
    pub status: Status,
    /// Who answered, such as `openai` or `rules`.
    pub provider: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// Version of the prompt, or of the rules.
    pub prompt_version: Option<String>,
    /// Whether it came from another provider than the first of the list.
    pub fallback: bool,
    /// SHA-256 of the request, hex.
    pub request_hash: Option<String>,
    /// Tokens sent.
    pub tokens_in: u32,
    /// Tokens received.
    pub tokens_out: u32,
    /// Cost in millionths of a US dollar.
    pub cost_micro_usd: u64,
    /// Time to the answer, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Which attempt was answered, or how many failed.
    pub n_attempts: u16,
    /// Public code of the failure, if it failed.
    pub failure_code: Option<String>,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// Version of the stream that it made.
    pub version: u64,
}

impl Projector for AiCalls {
    const NAME: &'static str = "ai_calls";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_ai_call";
    const KEY: &'static [&'static str] = &["company_id", "about_id", "call_id"];
    const STREAM: &'static str = "about_id";
    const AGGREGATES: &'static [&'static str] = &["ai_call"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        let Event::AiCall(event) = &recorded.event else {
            return Keys::none();
        };
        let call_id = match event {
            Completed(call) => call.provenance.call_id,
            Failed { call_id, .. } => *call_id,
        };
        let stream = &recorded.stored.stream;
        Keys::one(Key { company_id: stream.company, about_id: stream.id, call_id })
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::AiCall(event) = &recorded.event else {
            return row;
        };
        let blank = |purpose, status| Row {
            company_id: key.company_id,
            about_id: key.about_id,
            call_id: key.call_id,
            purpose,
            status,
            provider: None,
            model: None,
            prompt_version: None,
            fallback: false,
            request_hash: None,
            tokens_in: 0,
            tokens_out: 0,
            cost_micro_usd: 0,
            latency_ms: None,
            n_attempts: 0,
            failure_code: None,
            at: recorded.stored.occurred_at,
            version: recorded.stored.version.0,
        };
        Some(match event {
            Completed(call) => Row {
                provider: Some(call.provenance.provider.clone()),
                model: Some(call.provenance.model.clone()),
                prompt_version: Some(call.provenance.prompt_version.clone()),
                fallback: call.provenance.fallback,
                request_hash: Some(call.request_hash.clone()),
                tokens_in: call.tokens_in,
                tokens_out: call.tokens_out,
                cost_micro_usd: call.cost_micro_usd,
                latency_ms: Some(call.latency_ms),
                n_attempts: call.attempt,
                ..blank(call.purpose, Status::Completed)
            },
            Failed { purpose, code, n_attempts, .. } => Row {
                n_attempts: *n_attempts,
                failure_code: Some(code.clone()),
                ..blank(*purpose, Status::Failed)
            },
        })
    }
}

/// Which calls a list shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only about this interview or résumé.
    pub about_id: Option<Uuid>,
    /// Only those that ended so.
    pub status: Option<Status>,
}

/// Calls about a round are reached as the round is; those about a résumé with all of a company.
fn reachable(sql: &mut Sql, view: &View) {
    scope::of_interview(sql, view, "t", "about_id");
}

impl Filter {
    fn restrict(&self, sql: &mut Sql, view: &View) {
        reachable(sql, view);
        if let Some(about) = self.about_id {
            sql.push(" and t.about_id = ").push_bind(about);
        }
        if let Some(status) = self.status {
            sql.push(" and t.status = ").push_bind(status.as_str());
        }
    }
}

const LIST: List = List {
    name: "ai_calls",
    table: AiCalls::VIEW,
    row: "to_jsonb(t)",
    sort: "t.at",
    kind: SortKind::Time,
    id: "call_id",
    order: Order::Ascending,
};

/// A page of calls, oldest first.
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

/// How many calls [`list`] has.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count(reads: &Reads, view: &View, filter: &Filter) -> Result<u64, QueryError> {
    page::count(reads, &LIST, view.company, |sql| filter.restrict(sql, view)).await
}

/// The calls with these ids that the view shows: where results come from.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_ids(
    reads: &Reads,
    view: &View,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Row>, QueryError> {
    let restrict = |sql: &mut Sql| reachable(sql, view);
    let rows = page::batch(reads, &LIST, view.company, LIST.id, ids.to_vec(), restrict).await?;
    Ok(page::by_key(rows, |row: &Row| row.call_id))
}
