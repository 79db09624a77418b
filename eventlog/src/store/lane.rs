//! Group commit: one task per process sends what is queued in one round trip and one commit.
//!
//! An append is answered once. If the connection breaks while it is out, a fresh connection sees to
//! it that the old server process is gone and then looks in the stream, where either the append's own
//! events stand at its version, or others, or nothing; only then it is answered or sent again.
//! Deadlines are kept by the callers: they know whether their append was out when time was up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Row};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::batch::{self, KnownPairs, Ready, Verdict};
use super::connect::{self, Backend};
use super::rows;
use super::wake::Wake;
use super::{Append, AppendError, Appended};
use crate::envelope::{Position, Version};
use crate::fail_point::FailPoint;

/// How many appends may wait in the channel; beyond that callers wait to get in.
const QUEUE: usize = 1024;
/// How many the lane looks through for those that fit together.
const IN_SIGHT: usize = 1024;
/// A connection that was idle for this long is tried before anything is sent on it.
const STALE_AFTER: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_millis(5);
const FAREWELL: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_millis(500);

const WAITING: u8 = 0;
const OUT: u8 = 1;
const GIVEN_UP: u8 = 2;

/// An append in the lane.
struct Job {
    ready: Ready,
    stage: Arc<AtomicU8>,
    reply: oneshot::Sender<Verdict>,
}

impl Job {
    /// Marks it as sent, unless its caller has given up: then nothing must be sent any more.
    fn go_out(&self) -> bool {
        !self.reply.is_closed() && self.stage.swap_if(WAITING, OUT)
    }

    /// Takes that back, once it is proven that nothing was stored.
    fn come_back(&self) -> bool {
        !self.reply.is_closed() && self.stage.swap_if(OUT, WAITING)
    }

    fn answer(self, verdict: Verdict) {
        // A caller that has given up wants no answer.
        let _ = self.reply.send(verdict);
    }
}

trait SwapIf {
    fn swap_if(&self, from: u8, to: u8) -> bool;
}

impl SwapIf for AtomicU8 {
    fn swap_if(&self, from: u8, to: u8) -> bool {
        self.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The way into the lane.
pub(super) struct Entrance {
    queue: mpsc::Sender<Job>,
    deadline: Duration,
}

impl Entrance {
    pub(super) async fn append(&self, ready: Ready) -> Verdict {
        let deadline = Instant::now() + self.deadline;
        let stage = Arc::new(AtomicU8::new(WAITING));
        let (reply, mut answer) = oneshot::channel();
        let job = Job { ready, stage: Arc::clone(&stage), reply };
        match timeout_at(deadline, self.queue.send(job)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(AppendError::Unavailable),
        }
        if let Ok(Ok(verdict)) = timeout_at(deadline, &mut answer).await {
            return verdict;
        }
        if stage.swap_if(WAITING, GIVEN_UP) {
            return Err(AppendError::Unavailable);
        }
        // It may have come in the last moment.
        answer.try_recv().unwrap_or(Err(AppendError::OutcomeUnknown))
    }
}

/// The lane's task and all it keeps.
pub(super) struct Lane {
    queue: mpsc::Receiver<Job>,
    waiting: VecDeque<Job>,
    options: PgConnectOptions,
    link: Option<Link>,
    known: KnownPairs,
    wake: Arc<Wake>,
    deadline: Duration,
    fail_point: FailPoint,
    stop: CancellationToken,
}

struct Link {
    connection: PgConnection,
    backend: Backend,
    used_at: Instant,
}

/// How sending a batch ended.
enum Sent {
    Judged(Vec<Verdict>),
    /// The server refused the whole of it and has undone it.
    Refused,
    /// It may have been stored by this server process, or may still be.
    Unclear(Backend),
}

/// What a fresh look found of an append whose outcome was unclear.
enum Found {
    Verdict(Verdict),
    /// Its stream stands where it stood: it was not stored and, the old process being gone, never
    /// will be.
    Nothing,
}

impl Lane {
    pub(super) fn new(
        options: PgConnectOptions,
        deadline: Duration,
        wake: Arc<Wake>,
        fail_point: FailPoint,
        stop: CancellationToken,
    ) -> (Entrance, Self) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let entrance = Entrance { queue: sender, deadline };
        let (waiting, known) = (VecDeque::new(), KnownPairs::default());
        let link = None;
        let lane = Self { queue, waiting, options, link, known, wake, deadline, fail_point, stop };
        (entrance, lane)
    }

    /// Works until it is stopped; then what was queued before is still sent, if the database can be
    /// reached.
    pub(super) async fn run(mut self) {
        self.work().await;
        if let Some(link) = self.link.take() {
            // A server that is gone needs no farewell.
            let _ = timeout(FAREWELL, link.connection.close()).await;
        }
    }

    async fn work(&mut self) {
        while self.take_in().await {
            metrics::gauge!("colloquy_log_queue_depth")
                .set(u32::try_from(self.waiting.len() + self.queue.len()).unwrap_or(u32::MAX));
            if !self.connected().await {
                return;
            }
            let batch = batch::choose(&mut self.waiting, |job| &job.ready);
            let mut groups = VecDeque::from([batch]);
            while let Some(group) = groups.pop_front() {
                if !self.connected().await {
                    return;
                }
                self.send_group(group, &mut groups).await;
            }
        }
    }

    /// Takes in what is queued; waits if nothing is there at all. `false` is the end.
    async fn take_in(&mut self) -> bool {
        self.waiting.retain(|job| !job.reply.is_closed());
        let mut arrived = Vec::new();
        if self.waiting.is_empty() {
            let n = tokio::select! {
                biased;
                n = self.queue.recv_many(&mut arrived, IN_SIGHT) => n,
                () = self.stop.cancelled() => {
                    // What is queued already is still taken, nothing new comes in.
                    self.queue.close();
                    self.queue.recv_many(&mut arrived, IN_SIGHT).await
                }
            };
            self.waiting.extend(arrived);
            return n > 0;
        }
        while self.waiting.len() < IN_SIGHT
            && let Ok(job) = self.queue.try_recv()
        {
            self.waiting.push_back(job);
        }
        true
    }

    /// Sees to it that there is a connection; `false` when the lane is stopped without one.
    async fn connected(&mut self) -> bool {
        if let Some(link) = &mut self.link
            && link.used_at.elapsed() > STALE_AFTER
        {
            let alive = timeout(self.deadline, link.connection.ping()).await;
            if !matches!(alive, Ok(Ok(()))) {
                self.link = None;
            }
        }
        let mut pause = FIRST_RETRY;
        while self.link.is_none() {
            match connect::for_appending(&self.options).await {
                Ok((connection, backend)) => {
                    // The database may be another state of itself, restored meanwhile.
                    self.known = KnownPairs::default();
                    self.link = Some(Link { connection, backend, used_at: Instant::now() });
                }
                Err(error) => {
                    let reason = connect::reason(&error);
                    tracing::warn!(reason, "the log cannot be reached");
                    if self.stop.run_until_cancelled(sleep(pause)).await.is_none() {
                        return false;
                    }
                    pause = (pause * 2).min(LAST_RETRY);
                }
            }
        }
        true
    }

    /// Sends one group and answers it, or puts what is left of it into `groups`.
    async fn send_group(&mut self, group: Vec<Job>, groups: &mut VecDeque<Vec<Job>>) {
        let mut group: Vec<Job> = group.into_iter().filter(Job::go_out).collect();
        if group.is_empty() {
            return;
        }
        (self.fail_point)("append.before_send");
        match self.send(&group).await {
            Sent::Judged(verdicts) => {
                (self.fail_point)("append.after_commit");
                let committed = verdicts.iter().flatten().map(|appended| appended.position).max();
                if let Some(position) = committed {
                    self.wake.committed(position);
                }
                for (job, verdict) in group.into_iter().zip(verdicts) {
                    self.close(job, verdict);
                }
            }
            Sent::Refused if group.len() == 1 => {
                for job in group.drain(..) {
                    self.close(job, Err(AppendError::Unavailable));
                }
            }
            // One append must not take its neighbours down with it.
            Sent::Refused => put_back(group, groups),
            Sent::Unclear(old) => {
                let left = self.find_out(group, old).await;
                put_back(left, groups);
            }
        }
    }

    async fn send(&mut self, group: &[Job]) -> Sent {
        let Some(link) = &mut self.link else { return Sent::Refused };
        let (backend, began) = (link.backend, Instant::now());
        let sending = async {
            match group {
                [only] => {
                    let verdict =
                        batch::send_one(&mut link.connection, &self.known, &only.ready).await?;
                    Ok(vec![verdict])
                }
                many => {
                    let many: Vec<&Ready> = many.iter().map(|job| &job.ready).collect();
                    batch::send_many(&mut link.connection, &self.known, &many).await
                }
            }
        };
        let sent = timeout(self.deadline, sending).await;
        metrics::histogram!("colloquy_log_commit_seconds").record(began.elapsed());
        metrics::histogram!("colloquy_log_batch_commands")
            .record(u32::try_from(group.len()).unwrap_or(u32::MAX));
        match sent {
            Ok(Ok(verdicts)) => {
                link.used_at = Instant::now();
                return Sent::Judged(verdicts);
            }
            Ok(Err(error)) => {
                // Whatever it was, the next append gets a connection without a past.
                self.link = None;
                let reason = connect::reason(&error);
                tracing::warn!(reason, n_commands = group.len(), "the log did not take a batch");
                if connect::is_definite(&error) {
                    return Sent::Refused;
                }
            }
            Err(_) => {
                self.link = None;
                tracing::warn!(n_commands = group.len(), "the log did not answer in time");
            }
        }
        metrics::counter!("colloquy_log_unclear_batches").increment(1);
        Sent::Unclear(backend)
    }

    fn close(&mut self, job: Job, verdict: Verdict) {
        match &verdict {
            Ok(_) => self.known.note(&job.ready.append),
            Err(AppendError::Conflict { .. } | AppendError::GuardMoved) => {
                metrics::counter!("colloquy_log_conflicts").increment(1);
            }
            Err(_) => {}
        }
        job.answer(verdict);
    }

    /// Finds out what became of appends that were out when the connection broke; answers those whose
    /// fate is known and returns those that were not stored, so that they may be sent again.
    async fn find_out(&mut self, mut unclear: Vec<Job>, old: Backend) -> Vec<Job> {
        let mut pause = FIRST_RETRY;
        let mut left = Vec::new();
        loop {
            // Callers that have given up were told that the outcome is not known.
            unclear.retain(|job| !job.reply.is_closed());
            if unclear.is_empty() || !self.connected().await {
                return left;
            }
            match self.look(&mut unclear, &mut left, old).await {
                Ok(()) if unclear.is_empty() => return left,
                Ok(()) => {}
                Err(_) => self.link = None,
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    async fn look(
        &mut self,
        unclear: &mut Vec<Job>,
        left: &mut Vec<Job>,
        old: Backend,
    ) -> sqlx::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let looking = async {
            if !connect::is_gone(&mut link.connection, old).await? {
                return Ok(());
            }
            while let Some(job) = unclear.last() {
                let found = find(&mut link.connection, &job.ready.append).await?;
                let Some(job) = unclear.pop() else { break };
                match found {
                    Found::Nothing if job.come_back() => left.push(job),
                    Found::Nothing => {}
                    Found::Verdict(verdict) => {
                        if let Ok(appended) = &verdict {
                            self.wake.committed(appended.position);
                        }
                        job.answer(verdict);
                    }
                }
            }
            Ok(())
        };
        timeout(self.deadline, looking).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }
}

/// Each alone and next, in their order: one of them may be what the server does not survive.
fn put_back(group: Vec<Job>, groups: &mut VecDeque<Vec<Job>>) {
    for job in group.into_iter().rev() {
        job.come_back();
        groups.push_front(vec![job]);
    }
}

/// Looks for the append's own events where it wanted to put them.
async fn find(connection: &mut PgConnection, append: &Append) -> sqlx::Result<Found> {
    let found = sqlx::query(
        "select version, command_id, event_id, position, recorded_at from es_event
          where tenant_id = $1 and category = $2 and stream_id = $3 and version > $4
          order by version",
    )
    .bind(append.stream.company.0)
    .bind(append.stream.aggregate.as_ref())
    .bind(append.stream.id)
    .bind(rows::place(append.expected.0))
    .fetch_all(connection)
    .await?;
    let Some(newest) = found.last() else {
        return Ok(Found::Nothing);
    };
    let mut is_own = found.len() >= append.events.len();
    for (row, event) in found.iter().zip(&append.events) {
        let ids: (uuid::Uuid, uuid::Uuid) = (row.try_get(1)?, row.try_get(2)?);
        is_own &= ids == (append.cause.command_id, event.event_id);
    }
    let last = found.get(append.events.len() - 1);
    Ok(Found::Verdict(match last {
        Some(last) if is_own => Ok(Appended {
            version: Version(rows::number(last, 0)?),
            position: Position(rows::number(last, 3)?),
            recorded_at: last.try_get(4)?,
        }),
        _ => Err(AppendError::Conflict { found: Version(rows::number(newest, 0)?) }),
    }))
}
