//! The exact history of an interview, and of the company itself, for auditors: what happened, who did
//! it, when, and the hash that binds it.

use async_graphql::{Context, ID, Json, Object};
use chrono::{DateTime, Utc};
use domain::Aggregate;
use domain::access::{Fields, What};
use domain::company::Company;
use domain::ids::{CandidateId, InterviewId};
use domain::permission::Action;
use projections::history::{self, Content, Entry};
use projections::page::{DEFAULT_SIZE, Edge, MAX_SIZE, Page, PageError};
use projections::proof::{self, Proof};
use projections::{StreamId, Version, View, companies, interviews};
use uuid::Uuid;

use crate::access::shows;
use crate::company::Actor;
use crate::error::ApiError;
use crate::inputs::id;
use crate::interview::{query::get, stream};
use crate::pagination::{connections, wants_total};
use crate::payload::shown;
use crate::proof::EventProof;
use crate::scope::Scoped;

/// One event as it stands in the log.
pub struct HistoryEvent(Entry, Option<Proof>, Option<Of>);

/// Whose history it is where it tells of a candidate: of which interview, with whom.
type Of = (InterviewId, CandidateId);

/// One event as it stands in the log.
#[Object]
impl HistoryEvent {
    /// Its number in the history: 1, 2, 3 …
    async fn version(&self) -> i32 {
        shown(self.0.version.0)
    }

    /// Its place in the whole log, as a decimal number.
    async fn position(&self) -> String {
        self.0.position.to_string()
    }

    /// Its id.
    async fn event_id(&self) -> Uuid {
        self.0.event_id
    }

    /// Stored name, such as `interview.answer_recorded`.
    async fn event_type(&self) -> &str {
        &self.0.name
    }

    /// Version of the payload's shape; `schemas/events` has the JSON Schema of each.
    async fn schema_version(&self) -> u16 {
        self.0.schema_version
    }

    /// Who acted.
    async fn actor(&self) -> Actor {
        Actor::parse(&self.0.actor)
    }

    /// When it happened by the writer's clock, UTC.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When the log took it in, UTC; never falls as positions grow.
    async fn recorded_at(&self) -> DateTime<Utc> {
        self.0.recorded_at
    }

    /// The command that caused it.
    async fn command_id(&self) -> Uuid {
        self.0.command_id
    }

    /// Shared by all that followed from one outside request.
    async fn correlation_id(&self) -> Uuid {
        self.0.correlation_id
    }

    /// The event that caused the command, where one did.
    async fn causation_id(&self) -> Option<Uuid> {
        self.0.causation_id
    }

    /// SHA-256 that binds envelope and payload, hex.
    async fn hash(&self) -> &str {
        &self.0.hash
    }

    /// Whether bytes and envelope are those that were hashed when it was written.
    async fn is_intact(&self) -> bool {
        self.0.is_intact
    }

    /// Proof that it is in the log's signed tree; null until the next checkpoint, about a minute after
    /// it was recorded.
    async fn proof(&self) -> Option<EventProof> {
        self.1.clone().map(EventProof)
    }

    /// What happened, with personal fields opened; one whose subject was erased is
    /// `{"$erased": true}`. Null if this program cannot read it, see `unreadable`.
    async fn payload(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Option<Json<serde_json::Value>>> {
        let Content::Opened(value) = &self.0.content else { return Ok(None) };
        if let Some((interview, candidate)) = self.2 {
            shows(ctx, (What::Transcript, interview.0), candidate, Fields::History)?;
        }
        Ok(Some(Json(value.clone())))
    }

    /// Why this program cannot read the payload, if it cannot.
    async fn unreadable(&self) -> Option<&str> {
        match &self.0.content {
            Content::Opened(_) => None,
            Content::Unreadable(why) => Some(why),
        }
    }
}

connections! {
    HistoryConnection, HistoryEdge: HistoryEvent = "the events of a history";
}

/// Queries on histories.
#[derive(Default)]
pub struct HistoryQuery;

#[Object]
impl HistoryQuery {
    /// What happened to an interview, in order. For those who may replay histories.
    async fn interview_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id of the interview, `intv_…`.")] interview_id: ID,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor, which is an event's version.")] after: Option<
            String,
        >,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<HistoryConnection> {
        let interview: InterviewId = id("interviewId", &interview_id)?;
        let (first, after) = (size(first)?, version(after)?);
        ctx.consistent(consistent_with).await?;
        let row: interviews::Row = get(ctx, Action::ReadHistory, interview).await?;
        let page = page(ctx, &stream(row.company_id, interview), after, first).await?;
        let of = Some((interview, row.candidate_id));
        let event = |(entry, proof)| HistoryEvent(entry, proof, of);
        Ok(HistoryConnection::of(page, row.version, event))
    }

    /// What happened to the company itself, in order: that it was made or renamed, what became of its
    /// custom roles, and each time that somebody who runs the platform came in
    /// (`company.operator_entered`; its actor is who). For those who may replay histories.
    async fn company_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor, which is an event's version.")] after: Option<
            String,
        >,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<HistoryConnection> {
        let company = ctx.view(Action::ReadHistory)?.company;
        let (first, after) = (size(first)?, version(after)?);
        ctx.consistent(consistent_with).await?;
        let stream = StreamId::new(company, Company::NAME, company.0);
        let page = page(ctx, &stream, after, first).await?;
        let total = match wants_total(ctx) {
            true => companies::get(&ctx.state()?.reads, &View::all(company))
                .await
                .map_err(ApiError::from)?
                .map_or(0, |row| row.version),
            false => 0,
        };
        let event = |(entry, proof)| HistoryEvent(entry, proof, None);
        Ok(HistoryConnection::of(page, total, event))
    }
}

/// The entries of a stream after a version, with their proofs if they are asked for.
async fn page(
    ctx: &Context<'_>,
    stream: &StreamId,
    after: Version,
    first: usize,
) -> Result<Page<(Entry, Option<Proof>)>, ApiError> {
    let reads = &ctx.state()?.reads;
    let found = history::history(reads, stream, after, first).await?;
    let proofs = match wants_proof(ctx) {
        true => proof::of(reads, &found.entries).await?,
        false => vec![None; found.entries.len()],
    };
    let edge = |node: (Entry, Option<Proof>)| Edge { cursor: node.0.version.to_string(), node };
    Ok(Page {
        has_next: found.has_more,
        has_previous: after > Version(0),
        edges: found.entries.into_iter().zip(proofs).map(edge).collect(),
    })
}

/// Whether proofs are asked for: they are read for a whole page at once.
fn wants_proof(ctx: &Context<'_>) -> bool {
    let asked = ctx.look_ahead();
    asked.field("nodes").field("proof").exists()
        || asked.field("edges").field("node").field("proof").exists()
}

fn size(first: Option<i32>) -> Result<usize, ApiError> {
    let first = first.unwrap_or(i32::from(DEFAULT_SIZE));
    let size = usize::try_from(first).ok();
    let size = size.filter(|size| (1..=usize::from(MAX_SIZE)).contains(size));
    size.ok_or_else(|| PageError::SizeInvalid.into())
}

fn version(after: Option<String>) -> Result<Version, ApiError> {
    match after {
        None => Ok(Version(0)),
        Some(cursor) => {
            let version = cursor.parse().map_err(|_| PageError::CursorInvalid)?;
            Ok(Version(version))
        }
    }
}
