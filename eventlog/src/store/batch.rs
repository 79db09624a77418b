//! Which queued appends may share a commit, and how they are sent.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, Utc};
use domain::ids::CompanyId;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::{Append, AppendError, Appended};
use crate::envelope::{EventHash, Position, StreamId, Version};

/// An append with all that can be made ready before its turn comes.
pub(super) struct Ready {
    pub(super) append: Append,
    pub(super) hashes: Vec<EventHash>,
}

/// What the log said about each append of a batch.
pub(super) type Verdict = Result<Appended, AppendError>;

const MAX_COMMANDS: usize = 256;
const MAX_EVENTS: usize = 4096;
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What the appends before it touch.
#[derive(Default)]
struct Footprint<'a> {
    written: HashSet<&'a StreamId>,
    guarded: HashSet<&'a StreamId>,
    claimed: HashSet<(CompanyId, &'static str, &'a [u8])>,
}

impl<'a> Footprint<'a> {
    fn is_free_of(&self, append: &Append) -> bool {
        !self.written.contains(&append.stream)
            && !self.guarded.contains(&append.stream)
            && append.guards.iter().all(|guard| !self.written.contains(&guard.stream))
            && taken(append).all(|claim| !self.claimed.contains(&claim))
    }

    fn add(&mut self, append: &'a Append) {
        self.written.insert(&append.stream);
        self.guarded.extend(append.guards.iter().map(|guard| &guard.stream));
        self.claimed.extend(taken(append));
    }
}

fn taken(append: &Append) -> impl Iterator<Item = (CompanyId, &'static str, &[u8])> {
    append.claims.iter().filter_map(|claim| Some((claim.scope, claim.kind, claim.key.as_deref()?)))
}

/// Takes from the front what may share a commit. What touches a stream or a claim's key that an
/// earlier one writes, taken or not, stays for a later batch, so that nothing is overtaken for ever.
pub(super) fn choose<T>(
    waiting: &mut VecDeque<T>,
    ready: impl for<'a> Fn(&'a T) -> &'a Ready,
) -> Vec<T> {
    let mut footprint = Footprint::default();
    let (mut n_commands, mut n_events, mut n_bytes) = (0, 0, 0);
    let mut is_chosen = Vec::with_capacity(waiting.len());
    for item in waiting.iter() {
        let append = &ready(item).append;
        let bytes: usize = append.events.iter().map(|event| event.payload.len()).sum();
        let fits = n_commands < MAX_COMMANDS
            && (n_commands == 0
                || n_events + append.events.len() <= MAX_EVENTS && n_bytes + bytes <= MAX_BYTES);
        let chosen = fits && footprint.is_free_of(append);
        footprint.add(append);
        if chosen {
            n_commands += 1;
            n_events += append.events.len();
            n_bytes += bytes;
        }
        is_chosen.push(chosen);
    }
    let (mut batch, mut rest) = (Vec::with_capacity(n_commands), VecDeque::new());
    for (item, chosen) in waiting.drain(..).zip(is_chosen) {
        if chosen {
            batch.push(item);
        } else {
            rest.push_back(item);
        }
    }
    *waiting = rest;
    batch
}

/// Pairs of a key and a stream that the vault knows already, so that they need not be sent again.
#[derive(Default)]
pub(super) struct KnownPairs(HashSet<(Uuid, StreamId)>);

impl KnownPairs {
    /// Beyond this many all are let go: sending a pair again is harmless.
    const MAX: usize = 50_000;

    /// The keys of this append whose stream the vault does not know yet.
    fn fresh(&self, append: &Append) -> Vec<Uuid> {
        let unknown = |key: &&Uuid| !self.0.contains(&(**key, append.stream.clone()));
        append.keys.iter().filter(unknown).copied().collect()
    }

    /// Notes what was just stored.
    pub(super) fn note(&mut self, append: &Append) {
        if self.0.len() > Self::MAX {
            self.0.clear();
        }
        self.0.extend(append.keys.iter().map(|key| (*key, append.stream.clone())));
    }
}

/// Sends one append alone.
pub(super) async fn send_one(
    connection: &mut PgConnection,
    known: &KnownPairs,
    ready: &Ready,
) -> sqlx::Result<Verdict> {
    let Ready { append, hashes } = ready;
    let Append { stream, expected, guards, claims, keys, cause, events } = append;
    let row = sqlx::query(
        "select status, claim, version, last_position, recorded_at from es_append_one(
            $1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,$25)",
    )
    .bind(stream.company.0)
    .bind(stream.aggregate.as_ref())
    .bind(stream.id)
    .bind(to_i64(expected.0))
    .bind(cause.command_id)
    .bind(&cause.fingerprint)
    .bind(cause.correlation_id)
    .bind(cause.causation_id)
    .bind(&cause.actor)
    .bind(cause.trace_parent.as_deref())
    .bind(keys)
    .bind(known.fresh(append))
    .bind(each(guards, |guard| guard.stream.company.0))
    .bind(each(guards, |guard| guard.stream.aggregate.as_ref()))
    .bind(each(guards, |guard| guard.stream.id))
    .bind(each(guards, |guard| to_i64(guard.version.0)))
    .bind(each(claims, |claim| claim.scope.0))
    .bind(each(claims, |claim| claim.kind))
    .bind(each(claims, |claim| claim.key.as_deref()))
    .bind(each(events, |event| event.event_id))
    .bind(each(events, |event| event.name.as_ref()))
    .bind(each(events, |event| to_i16(event.schema_version)))
    .bind(each(events, |event| event.occurred_at))
    .bind(each(events, |event| event.payload.as_ref()))
    .bind(each(hashes, |hash| hash.0.as_slice()))
    .fetch_one(connection)
    .await?;
    let status: &str = row.try_get(0)?;
    let claim: Option<&str> = row.try_get(1)?;
    let (version, position): (i64, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
    let recorded_at: Option<DateTime<Utc>> = row.try_get(4)?;
    verdict(append, status, claim, version, position.unwrap_or(0), recorded_at)
}

/// Sends appends that were chosen together; answers in their order.
pub(super) async fn send_many(
    connection: &mut PgConnection,
    known: &KnownPairs,
    batch: &[&Ready],
) -> sqlx::Result<Vec<Verdict>> {
    let row = arrays(known, batch).query().fetch_one(connection).await?;
    read_verdicts(batch, &row)
}

fn read_verdicts(batch: &[&Ready], row: &PgRow) -> sqlx::Result<Vec<Verdict>> {
    let statuses: Vec<String> = row.try_get(0)?;
    let claims: Vec<Option<String>> = row.try_get(1)?;
    let versions: Vec<i64> = row.try_get(2)?;
    let positions: Vec<i64> = row.try_get(3)?;
    let recorded_at: Option<DateTime<Utc>> = row.try_get(4)?;
    let n = batch.len();
    if [statuses.len(), claims.len(), versions.len(), positions.len()] != [n; 4] {
        return Err(unexpected("the log answered another number of appends"));
    }
    let answers = statuses.iter().zip(&claims).zip(versions.iter().zip(&positions));
    batch
        .iter()
        .zip(answers)
        .map(|(ready, ((status, claim), (&version, &position)))| {
            verdict(&ready.append, status, claim.as_deref(), version, position, recorded_at)
        })
        .collect()
}

fn verdict(
    append: &Append,
    status: &str,
    claim: Option<&str>,
    version: i64,
    position: i64,
    recorded_at: Option<DateTime<Utc>>,
) -> sqlx::Result<Verdict> {
    let version = Version(to_u64(version));
    Ok(match status {
        "ok" => Ok(Appended {
            version,
            position: Position(to_u64(position)),
            recorded_at: recorded_at.ok_or_else(|| unexpected("the log answered no time"))?,
        }),
        "conflict" => Err(AppendError::Conflict { found: version }),
        "erased" => Err(AppendError::SubjectErased),
        "guard" => Err(AppendError::GuardMoved),
        "claimed" => {
            let kind = append.claims.iter().map(|change| change.kind);
            let kind = kind.into_iter().find(|kind| Some(*kind) == claim);
            Err(AppendError::Claimed {
                kind: kind.ok_or_else(|| unexpected("the log answered an unknown claim"))?,
            })
        }
        _ => return Err(unexpected("the log answered an unknown status")),
    })
}

fn unexpected(what: &'static str) -> sqlx::Error {
    sqlx::Error::Protocol(what.to_owned())
}

/// The parameters of `es_append`, in its order.
#[derive(Default)]
struct Arrays<'a> {
    c_tenant: Vec<Uuid>,
    c_category: Vec<&'a str>,
    c_stream: Vec<Uuid>,
    c_expected: Vec<i64>,
    c_n: Vec<i32>,
    s_cmd: Vec<i32>,
    s_key: Vec<Uuid>,
    p_cmd: Vec<i32>,
    p_key: Vec<Uuid>,
    g_cmd: Vec<i32>,
    g_tenant: Vec<Uuid>,
    g_category: Vec<&'a str>,
    g_stream: Vec<Uuid>,
    g_version: Vec<i64>,
    k_cmd: Vec<i32>,
    k_scope: Vec<Uuid>,
    k_kind: Vec<&'a str>,
    k_key: Vec<Option<&'a [u8]>>,
    e_cmd: Vec<i32>,
    e_off: Vec<i32>,
    e_tenant: Vec<Uuid>,
    e_category: Vec<&'a str>,
    e_stream: Vec<Uuid>,
    e_version: Vec<i64>,
    e_id: Vec<Uuid>,
    e_type: Vec<&'a str>,
    e_schema: Vec<i16>,
    e_command: Vec<Uuid>,
    e_fingerprint: Vec<&'a [u8]>,
    e_correlation: Vec<Uuid>,
    e_causation: Vec<Option<Uuid>>,
    e_actor: Vec<&'a str>,
    e_trace: Vec<Option<&'a str>>,
    e_occurred: Vec<DateTime<Utc>>,
    e_payload: Vec<&'a [u8]>,
    e_hash: Vec<&'a [u8]>,
}

fn arrays<'a>(known: &KnownPairs, batch: &[&'a Ready]) -> Arrays<'a> {
    let mut a = Arrays::default();
    for (cmd, Ready { append, hashes }) in (1..).zip(batch) {
        let Append { stream, expected, guards, claims, keys, cause, events } = append;
        a.c_tenant.push(stream.company.0);
        a.c_category.push(&stream.aggregate);
        a.c_stream.push(stream.id);
        a.c_expected.push(to_i64(expected.0));
        a.c_n.push(to_i32(events.len()));
        for key in keys {
            a.s_cmd.push(cmd);
            a.s_key.push(*key);
        }
        for key in known.fresh(append) {
            a.p_cmd.push(cmd);
            a.p_key.push(key);
        }
        for guard in guards {
            a.g_cmd.push(cmd);
            a.g_tenant.push(guard.stream.company.0);
            a.g_category.push(&guard.stream.aggregate);
            a.g_stream.push(guard.stream.id);
            a.g_version.push(to_i64(guard.version.0));
        }
        for claim in claims {
            a.k_cmd.push(cmd);
            a.k_scope.push(claim.scope.0);
            a.k_kind.push(claim.kind);
            a.k_key.push(claim.key.as_deref());
        }
        for (off, (event, hash)) in (1..).zip(events.iter().zip(hashes)) {
            a.e_cmd.push(cmd);
            a.e_off.push(off);
            a.e_tenant.push(stream.company.0);
            a.e_category.push(&stream.aggregate);
            a.e_stream.push(stream.id);
            a.e_version.push(to_i64(expected.0) + i64::from(off));
            a.e_id.push(event.event_id);
            a.e_type.push(&event.name);
            a.e_schema.push(to_i16(event.schema_version));
            a.e_command.push(cause.command_id);
            a.e_fingerprint.push(&cause.fingerprint);
            a.e_correlation.push(cause.correlation_id);
            a.e_causation.push(cause.causation_id);
            a.e_actor.push(&cause.actor);
            a.e_trace.push(cause.trace_parent.as_deref());
            a.e_occurred.push(event.occurred_at);
            a.e_payload.push(&event.payload);
            a.e_hash.push(&hash.0);
        }
    }
    a
}

impl Arrays<'_> {
    fn query(self) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
        sqlx::query(
            "select status, claim, version, last_position, recorded_at from es_append(
                $1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,
                $19,$20,$21,$22,$23,$24,$25,$26,$27,$28,$29,$30,$31,$32,$33,$34,$35,$36)",
        )
        .bind(self.c_tenant)
        .bind(self.c_category)
        .bind(self.c_stream)
        .bind(self.c_expected)
        .bind(self.c_n)
        .bind(self.s_cmd)
        .bind(self.s_key)
        .bind(self.p_cmd)
        .bind(self.p_key)
        .bind(self.g_cmd)
        .bind(self.g_tenant)
        .bind(self.g_category)
        .bind(self.g_stream)
        .bind(self.g_version)
        .bind(self.k_cmd)
        .bind(self.k_scope)
        .bind(self.k_kind)
        .bind(self.k_key)
        .bind(self.e_cmd)
        .bind(self.e_off)
        .bind(self.e_tenant)
        .bind(self.e_category)
        .bind(self.e_stream)
        .bind(self.e_version)
        .bind(self.e_id)
        .bind(self.e_type)
        .bind(self.e_schema)
        .bind(self.e_command)
        .bind(self.e_fingerprint)
        .bind(self.e_correlation)
        .bind(self.e_causation)
        .bind(self.e_actor)
        .bind(self.e_trace)
        .bind(self.e_occurred)
        .bind(self.e_payload)
        .bind(self.e_hash)
    }
}

fn each<'a, T, U>(items: &'a [T], of: impl Fn(&'a T) -> U) -> Vec<U> {
    items.iter().map(of).collect()
}

// The checks before an append bound all of these, and the log's own numbers are never negative.
fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn to_i32(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn to_i16(number: u16) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}

fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
