//! Readings of single streams share round trips: what is asked for while others are on their way
//! goes out together, so that a loaded process does not pay a round trip for each history.
//!
//! There is no task behind it. Whoever gets one of the few turns takes along those that wait; whoever
//! is taken along gets the answer, and asks anew when its leader was given up on the way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use super::ReadError;
use super::readers::{Readers, decoded};
use super::rows::{self, columns};
use crate::envelope::{StoredEvent, StreamId, Version};

/// How many round trips may be under way. Few: whoever waits is taken along by the next.
const TURNS: usize = 3;
/// How many histories share a round trip at most.
const STREAMS: usize = 32;
/// So much of a history comes along with others; what is longer is read on alone, so that neither
/// memory nor the others' waiting depends on it.
const SHARED_EVENTS: usize = 64;

type Answer = Result<Vec<StoredEvent>, ReadError>;

/// The beginning of what a caller wants.
struct Wanted {
    stream: StreamId,
    after: Version,
    limit: usize,
    answer: oneshot::Sender<Answer>,
}

pub(super) struct Gather {
    readers: Arc<Readers>,
    turns: Semaphore,
    waiting: Mutex<VecDeque<Wanted>>,
}

impl Gather {
    pub(super) fn new(readers: Arc<Readers>) -> Self {
        Self { readers, turns: Semaphore::new(TURNS), waiting: Mutex::default() }
    }

    /// The stream's events after this version, at most `limit`.
    pub(super) async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Answer {
        let mut events = self.beginning(stream, after, limit.min(SHARED_EVENTS)).await?;
        if let Some(last) = events.last()
            && events.len() == SHARED_EVENTS
            && events.len() < limit
        {
            let rest = limit - events.len();
            events.extend(self.alone(stream, last.version, rest).await?);
        }
        Ok(events)
    }

    async fn beginning(&self, stream: &StreamId, after: Version, limit: usize) -> Answer {
        loop {
            let (answer, answered) = oneshot::channel();
            self.waiting().push_back(Wanted { stream: stream.clone(), after, limit, answer });
            if let Some(answer) = self.answer(answered).await {
                return answer;
            }
        }
    }

    /// The answer, led or taken along; `None` when whoever took it along was given up.
    async fn answer(&self, mut answered: oneshot::Receiver<Answer>) -> Option<Answer> {
        loop {
            let turn = tokio::select! {
                biased;
                answer = &mut answered => return answer.ok(),
                turn = self.turns.acquire() => turn,
            };
            let company = self.taken_along();
            if company.is_empty() {
                // Somebody has taken it along already.
                drop(turn);
                return answered.await.ok();
            }
            self.lead(company).await;
        }
    }

    /// Those that have waited longest.
    fn taken_along(&self) -> Vec<Wanted> {
        let mut waiting = self.waiting();
        waiting.retain(|wanted| !wanted.answer.is_closed());
        let n = waiting.len().min(STREAMS);
        waiting.drain(..n).collect()
    }

    async fn lead(&self, company: Vec<Wanted>) {
        let answers = match company.as_slice() {
            [only] => vec![self.alone(&only.stream, only.after, only.limit).await],
            many => self.together(many).await,
        };
        for (wanted, answer) in company.into_iter().zip(answers) {
            // Whoever has gone needs no answer.
            let _ = wanted.answer.send(answer);
        }
    }

    async fn alone(&self, stream: &StreamId, after: Version, limit: usize) -> Answer {
        let found = self
            .readers
            .rows(|| {
                sqlx::query(concat!(
                    "select ",
                    columns!(),
                    " from es_event e where e.tenant_id = $1 and e.category = $2
                       and e.stream_id = $3 and e.version > $4 order by e.version limit $5"
                ))
                .bind(stream.company.0)
                .bind(stream.aggregate.as_ref())
                .bind(stream.id)
                .bind(rows::place(after.0))
                .bind(rows::limit(limit))
            })
            .await?;
        decoded(found.iter().map(rows::event).collect())
    }

    /// The answers to all of them, in their order. What cannot be read of one harms no other.
    async fn together(&self, company: &[Wanted]) -> Vec<Answer> {
        let companies: Vec<Uuid> = company.iter().map(|w| w.stream.company.0).collect();
        let aggregates: Vec<&str> = company.iter().map(|w| w.stream.aggregate.as_ref()).collect();
        let ids: Vec<Uuid> = company.iter().map(|w| w.stream.id).collect();
        let afters: Vec<i64> = company.iter().map(|w| rows::place(w.after.0)).collect();
        let limits: Vec<i64> = company.iter().map(|w| rows::limit(w.limit)).collect();
        let found = self
            .readers
            .rows(|| {
                sqlx::query(concat!(
                    "select ",
                    columns!(),
                    ", w.nth from unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::bigint[])
                          with ordinality w(tenant, category, stream, after, most, nth)
                     cross join lateral (
                         select * from es_event f where f.tenant_id = w.tenant
                            and f.category = w.category and f.stream_id = w.stream
                            and f.version > w.after order by f.version limit w.most) e
                     order by w.nth, e.version"
                ))
                .bind(companies.clone())
                .bind(aggregates.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
                .bind(ids.clone())
                .bind(afters.clone())
                .bind(limits.clone())
            })
            .await;
        let Ok(found) = found else {
            return company.iter().map(|_| Err(ReadError)).collect();
        };
        let mut answers: Vec<Answer> = company.iter().map(|_| Ok(vec![])).collect();
        for row in &found {
            if let Some(answer) = nth(row).and_then(|nth| answers.get_mut(nth)) {
                match decoded(rows::event(row)) {
                    Ok(event) => answer.iter_mut().for_each(|events| events.push(event.clone())),
                    Err(error) => *answer = Err(error),
                }
            }
        }
        answers
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Wanted>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of those taken along the row is for, from 0.
fn nth(row: &PgRow) -> Option<usize> {
    let nth: i64 = row.try_get(rows::N_COLUMNS).ok()?;
    usize::try_from(nth - 1).ok()
}
