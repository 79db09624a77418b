//! Puts an export together: which streams, their events, and a proof for each.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Write};

use domain::ids::CompanyId;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::builder::Prover;
use super::export::{Base64Hash, Consistency, EventLine, Frame, Of, Payloads, runs};
use super::shelf::{ProofError, key_chain};
use super::statement::Checkpoint;
use crate::envelope::{Position, StoredEvent, StreamId, Version};
use crate::store::Filter;

/// Events that are read and proven at once.
const PAGE: usize = 256;

/// What an export is asked to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An interview: every stream that shares its id.
    Interview(Uuid),
    /// A candidate's record: its stream, those that begin by naming it (applications, interviews,
    /// résumés, verdicts), those that share an id with one of them (observations, AI calls), and those
    /// that hold anything sealed under its key.
    Candidate(Uuid),
    /// Positions from the first to the second, which is the last there is if left out.
    Range(u64, Option<u64>),
}

/// How an export is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether payloads are in it.
    pub payloads: Payloads,
    /// Adds a proof that the tree continues the one of this size.
    pub since: Option<u64>,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be proven.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It cannot be written.
    #[error("the export cannot be written: {0}")]
    Io(#[from] io::Error),
    /// An event cannot be written as JSON.
    #[error("the export cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<sqlx::Error> for ExportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Proof(error.into())
    }
}

/// Signs a checkpoint as of now and writes the export that it proves. Answers the checkpoint.
///
/// # Errors
/// See [`ExportError`]; what was written until then is refused by every verifier.
pub async fn export(
    prover: &Prover,
    wanted: Wanted,
    options: Options,
    out: &mut (dyn Write + Send),
) -> Result<Checkpoint, ExportError> {
    let signer = prover.signer().await?;
    let checkpoint = signer.latest.checkpoint;
    let (of, streams, events) = match wanted {
        Wanted::Interview(id) => {
            let company = company(prover, "interview", id).await?;
            let streams = sharing(prover, company, &[id]).await?;
            let (streams, events) = whole(prover, streams, checkpoint.size).await?;
            (Of::Interview { company: company.0, id }, streams, Events::Held(events))
        }
        Wanted::Candidate(id) => {
            let company = company(prover, "candidate", id).await?;
            let streams = concerning(prover, company, id).await?;
            let (streams, events) = whole(prover, streams, checkpoint.size).await?;
            (Of::Candidate { company: company.0, id }, streams, Events::Held(events))
        }
        Wanted::Range(from, to) => {
            let to = to.unwrap_or(checkpoint.size);
            if from == 0 || to < from || to > checkpoint.size {
                let why = "the log does not have these positions";
                return Err(ProofError::NotThere(why).into());
            }
            (Of::Range {}, vec![], Events::InLog(from, to))
        }
    };
    let shelf = prover.shelf();
    let consistency = match options.since {
        None => None,
        Some(size) => {
            let path = shelf.consistency(size, checkpoint.size).await?;
            Some(Consistency { size, path: path.into_iter().map(Base64Hash).collect() })
        }
    };
    let frame = Frame {
        of,
        payloads: options.payloads,
        streams,
        positions: events.positions(),
        checkpoint,
        note: signer.latest.note,
        consistency,
        keys: key_chain(&signer.keys),
    };
    out.write_all(frame.lines(&signer.key)?.as_bytes())?;
    let size = frame.checkpoint.size;
    match events {
        Events::Held(events) => {
            for page in events.chunks(PAGE) {
                write(prover, page, size, options.payloads, out).await?;
            }
        }
        Events::InLog(from, to) => {
            let mut after = from - 1;
            while after < to {
                let n = usize::try_from(to - after).unwrap_or(PAGE).min(PAGE);
                let page = prover.store().read_log(Position(after), &Filter::default(), n).await;
                let page = page.map_err(ProofError::from)?;
                let last = page.events.last();
                after = last.ok_or(ProofError::Broken("the log lacks an event"))?.position.0;
                write(prover, &page.events, size, options.payloads, out).await?;
            }
        }
    }
    out.flush()?;
    Ok(frame.checkpoint)
}

/// The events of an export: of a few streams, or so many that they are read as they are written.
enum Events {
    Held(Vec<StoredEvent>),
    InLog(u64, u64),
}

impl Events {
    fn positions(&self) -> Vec<(u64, u64)> {
        match self {
            Self::Held(events) => runs(events.iter().map(|event| event.position.0)),
            Self::InLog(from, to) => vec![(*from, *to)],
        }
    }
}

async fn write(
    prover: &Prover,
    events: &[StoredEvent],
    size: u64,
    payloads: Payloads,
    out: &mut (dyn Write + Send),
) -> Result<(), ExportError> {
    let positions: Vec<_> = events.iter().map(|event| event.position).collect();
    let paths = prover.shelf().inclusion(&positions, size).await?;
    for (event, path) in events.iter().zip(&paths) {
        serde_json::to_writer(&mut *out, &EventLine::new(event, payloads, path))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The streams with their versions in the tree of this size, and all their events in it by position.
async fn whole(
    prover: &Prover,
    streams: BTreeSet<StreamId>,
    size: u64,
) -> Result<(Vec<(StreamId, Version)>, Vec<StoredEvent>), ExportError> {
    let (mut versions, mut all) = (vec![], vec![]);
    for stream in streams {
        let mut last = Version(0);
        loop {
            let page = prover.store().read_stream(&stream, last, PAGE).await;
            let mut events = page.map_err(ProofError::from)?;
            let is_last = events.len() < PAGE;
            events.retain(|event| event.position.0 <= size);
            let Some(event) = events.last() else { break };
            last = event.version;
            all.extend(events);
            if is_last {
                break;
            }
        }
        if last > Version(0) {
            versions.push((stream, last));
        }
    }
    all.sort_unstable_by_key(|event| event.position);
    Ok((versions, all))
}

async fn company(prover: &Prover, category: &str, id: Uuid) -> Result<CompanyId, ExportError> {
    let found: Vec<Uuid> = sqlx::query_scalar(
        "select tenant_id from es_stream where category = $1 and stream_id = $2",
    )
    .bind(category)
    .bind(id)
    .fetch_all(prover.pool())
    .await?;
    match found.as_slice() {
        [company] => Ok(CompanyId(*company)),
        [] => Err(ProofError::NotThere("the log has no such record").into()),
        _ => Err(ProofError::NotThere("several companies have such a record").into()),
    }
}

async fn sharing(
    prover: &Prover,
    company: CompanyId,
    ids: &[Uuid],
) -> Result<BTreeSet<StreamId>, ExportError> {
    let rows = sqlx::query(
        "select category, stream_id from es_stream where tenant_id = $1 and stream_id = any($2)",
    )
    .bind(company.0)
    .bind(ids)
    .fetch_all(prover.pool())
    .await?;
    rows.iter().map(|row| Ok(stream(company, row)?)).collect()
}

async fn concerning(
    prover: &Prover,
    company: CompanyId,
    candidate: Uuid,
) -> Result<BTreeSet<StreamId>, ExportError> {
    // Ids of records stand in clear, as serde writes them.
    let mut ids: Vec<Uuid> = sqlx::query_scalar(
        "select stream_id from es_event
          where tenant_id = $1 and version = 1 and position(convert_to($2, 'UTF8') in payload) > 0",
    )
    .bind(company.0)
    .bind(candidate.to_string())
    .fetch_all(prover.pool())
    .await?;
    ids.push(candidate);
    let mut streams = sharing(prover, company, &ids).await?;
    let sealed = sqlx::query(
        "select s.category, s.stream_id from vault.subject_stream s
           join vault.subject_key k on k.key_id = s.key_id
          where s.company_id = $1 and k.company_id = $1
            and k.subject_kind = 'candidate' and k.subject_id = $2",
    )
    .bind(company.0)
    .bind(candidate)
    .fetch_all(prover.pool())
    .await?;
    for row in &sealed {
        streams.insert(stream(company, row)?);
    }
    Ok(streams)
}

fn stream(company: CompanyId, row: &PgRow) -> sqlx::Result<StreamId> {
    let aggregate = Cow::Owned(row.try_get(0)?);
    Ok(StreamId { company, aggregate, id: row.try_get(1)? })
}
