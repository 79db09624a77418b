//! Whatever comes again, is lost on the way, or is done by two: nothing happens twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::ids::CompanyId;
use eventlog::applied::{Applied, Move};
use eventlog::consume::StreamWork;
use eventlog::envelope::{StreamId, Version};
use eventlog::feed::Checkpoint;
use eventlog::ledger::{Ledger, LedgerError, MemoryLedger};
use eventlog::store::{EventStore, Filter};
use eventlog::vault::KeyVault;
use reactors::ai::rules::RulesAi;
use uuid::Uuid;

use crate::failing_ai::CountingAi;
use crate::world::{COMPANY, Talk, World, example, patient};

#[tokio::test]
async fn redelivering_every_event_three_times_changes_nothing() {
    let ai = Arc::new(CountingAi::default());
    let mut world = World::with_ai("intensive-care-nurse", ai.clone()).await;
    let seat = world.begin().await;
    world.talk(&seat, &Talk::example("intensive-care-nurse.poor")).await;
    let candidate = world.register().await;
    world.upload(candidate, &example("resumes/lewis-pemberlow.txt")).await;
    world.settle().await;
    let n_events = world.n_events().await;
    let n_calls = ai.n_calls();
    for _ in 0..3 {
        // A ledger without entries is the earliest start: everything comes again.
        world.hire_reactors(ai.clone(), Arc::new(MemoryLedger::default()), patient());
        world.settle().await;
        assert_eq!(world.n_events().await, n_events);
        assert_eq!(ai.n_calls(), n_calls, "no model is asked again");
    }
}

#[tokio::test]
async fn events_redelivered_while_the_talk_goes_on_change_nothing() {
    let mut world = World::with_job("senior-backend-engineer").await;
    let seat = world.begin().await;
    let said = Talk::example("senior-backend-engineer.good");
    world.settle().await;
    while let Some((question, job_question, again)) = world.open_question(&seat).await {
        world.answer(&seat, question, said.reply(job_question, again)).await;
        world.settle().await;
        let n_events = world.n_events().await;
        world.hire_reactors(Arc::new(RulesAi), Arc::new(MemoryLedger::default()), patient());
        world.settle().await;
        assert_eq!(world.n_events().await, n_events);
    }
    assert!(world.verdict(&seat).await.unwrap().1.is_proposed());
}

/// A ledger that breaks after each action, as a crash between action and ledger would: the first
/// attempts to move a stream fail.
struct Breaking {
    inner: MemoryLedger,
    n_moves: AtomicU32,
}

#[async_trait]
impl Ledger for Breaking {
    async fn applied(
        &self,
        consumer: &str,
        streams: &[StreamId],
    ) -> Result<HashMap<StreamId, Applied>, LedgerError> {
        self.inner.applied(consumer, streams).await
    }

    async fn advance(
        &self,
        consumer: &str,
        moves: &[Move],
        checkpoints: &[Checkpoint],
    ) -> Result<bool, LedgerError> {
        if !moves.is_empty() && self.n_moves.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err(LedgerError);
        }
        self.inner.advance(consumer, moves, checkpoints).await
    }

    async fn park(&self, c: &str, s: &StreamId, v: Version, r: &str) -> Result<(), LedgerError> {
        self.inner.park(c, s, v, r).await
    }

    async fn retries(&self, c: &str) -> Result<Vec<StreamId>, LedgerError> {
        self.inner.retries(c).await
    }

    async fn retried(&self, c: &str, s: &StreamId) -> Result<(), LedgerError> {
        self.inner.retried(c, s).await
    }

    async fn checkpoint(&self, c: &str, s: &str, p: i32) -> Result<Option<u64>, LedgerError> {
        self.inner.checkpoint(c, s, p).await
    }
}

#[tokio::test]
async fn a_crash_between_an_action_and_the_ledger_doubles_nothing() {
    let talk = Talk::example("senior-backend-engineer.good");
    let calm = World::with_job("senior-backend-engineer").await;
    let calm_seat = calm.begin().await;
    calm.talk(&calm_seat, &talk).await;

    let ai = Arc::new(CountingAi::default());
    let mut world = World::with_ai("senior-backend-engineer", ai.clone()).await;
    let ledger = Breaking { inner: MemoryLedger::default(), n_moves: AtomicU32::new(0) };
    world.hire_reactors(ai.clone(), Arc::new(ledger), patient());
    let seat = world.begin().await;
    world.talk(&seat, &talk).await;

    let names = |aggregate| world.names(aggregate, seat.interview.0);
    let calm_names = |aggregate| calm.names(aggregate, calm_seat.interview.0);
    for aggregate in ["interview", "ai_call", "observation"] {
        assert_eq!(names(aggregate).await, calm_names(aggregate).await);
    }
    assert_eq!(ai.n_calls(), names("ai_call").await.len());
    assert!(world.verdict(&seat).await.unwrap().1.is_proposed());
}

#[tokio::test]
async fn two_workers_on_one_stream_do_it_once() {
    let mut world = World::with_job("senior-backend-engineer").await;
    let first = world.reactors.clone();
    let ledger = Arc::clone(&world.ledger);
    world.hire_reactors(Arc::new(RulesAi), ledger, patient());
    let seat = world.begin().await;
    let (a, filter) = &first[0];
    let (b, _) = &world.reactors[0];
    let work = world.unseen(&**a, filter).await;
    let (one, other) = tokio::join!(a.apply(work.clone(), &[]), b.apply(work, &[]));
    one.unwrap();
    other.unwrap();
    assert_eq!(world.count("interview", seat.interview.0, "interview.question_asked").await, 1);
    assert_eq!(world.names("ai_call", seat.interview.0).await.len(), 1);
}

#[tokio::test]
async fn an_event_nobody_can_read_parks_its_stream_and_no_other() {
    let mut world = World::with_job("senior-backend-engineer").await;
    let ledger = Arc::new(MemoryLedger::default());
    world.hire_reactors(Arc::new(RulesAi), ledger.clone(), patient());
    let (seat, other) = (world.begin().await, world.begin().await);
    let (conductor, filter) = &world.reactors[0];
    let mut work = world.unseen(&**conductor, filter).await;
    // An event that the log does not have in this shape.
    let broken = work.iter_mut().find(|work| work.stream == seat.stream()).unwrap();
    let stray = StreamId::new(CompanyId(Uuid::from_u128(9)), "interview", seat.interview.0);
    let mut append = eventlog::store::Append {
        stream: stray.clone(),
        expected: Version(0),
        guards: vec![],
        claims: vec![],
        keys: vec![],
        cause: broken.events[0].cause.clone(),
        events: vec![],
    };
    append.events.push(eventlog::envelope::NewEvent {
        event_id: Uuid::from_u128(77),
        name: "interview.started".into(),
        schema_version: 999,
        occurred_at: broken.events[0].occurred_at,
        payload: Default::default(),
    });
    world.store.append(append).await.unwrap();
    let events = world.store.read_stream(&stray, Version(0), 10).await.unwrap();
    work.push(StreamWork { stream: stray.clone(), from: Version(0), events, skipped: vec![] });
    conductor.apply(work, &[]).await.unwrap();

    let (version, _) = ledger.parked("reactor.conductor", &stray).unwrap();
    assert_eq!(version, Version(1));
    for seat in [seat, other] {
        assert!(world.open_question(&seat).await.is_some(), "other talks go on");
    }
    let all = Filter::of_aggregates(["interview"]);
    assert!(world.unseen(&**conductor, &all).await.iter().all(|work| work.stream != stray));
}

#[tokio::test]
async fn who_was_forgotten_is_left_alone() {
    let ai = Arc::new(CountingAi::default());
    let world = World::with_ai("senior-backend-engineer", ai.clone()).await;
    let seat = world.begin().await;
    world.settle().await;
    let (question, ..) = world.open_question(&seat).await.unwrap();
    world.answer(&seat, question, "Something personal.").await;
    let n_calls = ai.n_calls();
    world.vault.forget(COMPANY, domain::Subject::Candidate(seat.candidate)).await.unwrap();
    world.settle().await;
    assert_eq!(ai.n_calls(), n_calls, "nothing of a forgotten person reaches a model");
    let asked = world.count("interview", seat.interview.0, "interview.question_asked").await;
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn the_fail_points_stand_around_the_ledger() {
    let told = Arc::new(Mutex::new(vec![]));
    let mut world = World::with_job("senior-backend-engineer").await;
    let writes = Arc::clone(&told);
    world.fail_point = Arc::new(move |point| writes.lock().unwrap().push(point));
    world.hire_reactors(Arc::new(RulesAi), Arc::new(MemoryLedger::default()), patient());
    world.begin().await;
    let (conductor, filter) = &world.reactors[0];
    conductor.apply(world.unseen(&**conductor, filter).await, &[]).await.unwrap();
    assert_eq!(*told.lock().unwrap(), ["react.after_action", "react.after_ledger"]);
}
