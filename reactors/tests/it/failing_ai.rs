//! Models that fail, or take their time: the talk goes on, and nobody else's talk waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::interview::{AskedBy, Event, Status};
use eventlog::feed::Checkpoint;
use eventlog::ledger::MemoryLedger;
use reactors::ai::rules::RulesAi;
use reactors::ai::{
    Ai, AiError, Failed, JudgeAnswer, Judgement, NextQuestion, NextStep, Outage, Outcome, Proposal,
    ProposeScores, ReadResume, ResumeFacts,
};
use reactors::runner::RunnerSettings;
use tokio::sync::Semaphore;

use crate::world::{Talk, World};

/// The rules, counted; out of order on request.
#[derive(Default)]
pub struct CountingAi {
    n_calls: AtomicUsize,
    is_down: AtomicBool,
}

impl CountingAi {
    pub fn n_calls(&self) -> usize {
        self.n_calls.load(Ordering::Relaxed)
    }

    fn set_down(&self, down: bool) {
        self.is_down.store(down, Ordering::Relaxed);
    }

    fn called(&self) -> Result<(), Box<Failed>> {
        self.n_calls.fetch_add(1, Ordering::Relaxed);
        if self.is_down.load(Ordering::Relaxed) {
            let error = AiError::Unavailable(Outage::NoProvider);
            return Err(Box::new(Failed { error, calls: vec![] }));
        }
        Ok(())
    }
}

#[async_trait]
impl Ai for CountingAi {
    async fn judge_answer(&self, request: &JudgeAnswer) -> Outcome<Judgement> {
        self.called()?;
        RulesAi.judge_answer(request).await
    }

    async fn next_question(&self, request: &NextQuestion) -> Outcome<NextStep> {
        self.called()?;
        RulesAi.next_question(request).await
    }

    async fn propose_scores(&self, request: &ProposeScores) -> Outcome<Proposal> {
        self.called()?;
        RulesAi.propose_scores(request).await
    }

    async fn read_resume(&self, request: &ReadResume) -> Outcome<ResumeFacts> {
        self.called()?;
        RulesAi.read_resume(request).await
    }
}

#[tokio::test]
async fn a_talk_goes_on_while_no_model_answers_and_is_assessed_once_one_does() {
    let ai = Arc::new(CountingAi::default());
    let world = World::with_ai("senior-backend-engineer", ai.clone()).await;
    let seat = world.begin().await;
    ai.set_down(true);
    world.talk(&seat, &Talk::example("senior-backend-engineer.good")).await;

    assert_eq!(world.status(&seat).await, Status::Completed);
    let interview = world.interview(&seat).await;
    assert_eq!(interview.questions().len(), 3 + 7 + 4, "all questions, none judged or followed up");
    for question in interview.questions() {
        assert!(!question.answer.as_ref().unwrap().judged);
    }
    for recorded in world.history(&seat.stream()).await {
        if let domain::Event::Interview(Event::QuestionAsked {
            asked_by: AskedBy::Ai { provenance },
            ..
        }) = recorded.event
        {
            assert_eq!(provenance.provider, "rules");
            assert!(provenance.fallback, "the rules stand in and say so");
        }
    }
    let (verdict, state) = world.verdict(&seat).await.unwrap();
    assert!(!state.is_proposed());
    assert_eq!(
        world.names("verdict", verdict).await,
        ["verdict.opened", "verdict.assessment_failed"]
    );

    ai.set_down(false);
    world.restart_assessment(verdict).await;
    world.settle().await;
    assert!(world.verdict(&seat).await.unwrap().1.is_proposed());
    assert!(world.proposal(&seat).await.overall.get() > 60.0);
}

#[tokio::test]
async fn a_model_that_fails_again_and_again_is_asked_once_for_each_thing() {
    let ai = Arc::new(CountingAi::default());
    let mut world = World::with_ai("senior-backend-engineer", ai.clone()).await;
    let seat = world.begin().await;
    ai.set_down(true);
    world.talk(&seat, &Talk::example("senior-backend-engineer.good")).await;
    let (n_calls, n_events) = (ai.n_calls(), world.n_events().await);
    ai.set_down(false);
    world.hire_reactors(ai.clone(), Arc::new(MemoryLedger::default()), crate::world::patient());
    world.settle().await;
    assert_eq!((ai.n_calls(), world.n_events().await), (n_calls, n_events));
}

/// The rules, behind a door that is opened by hand: each question of a talk waits for a permit.
struct SlowAi {
    door: Semaphore,
    n_waiting: AtomicUsize,
}

#[async_trait]
impl Ai for SlowAi {
    async fn judge_answer(&self, request: &JudgeAnswer) -> Outcome<Judgement> {
        if request.answer == "slow" {
            self.n_waiting.fetch_add(1, Ordering::SeqCst);
            self.door.acquire().await.unwrap().forget();
        }
        RulesAi.judge_answer(request).await
    }

    async fn next_question(&self, request: &NextQuestion) -> Outcome<NextStep> {
        RulesAi.next_question(request).await
    }

    async fn propose_scores(&self, request: &ProposeScores) -> Outcome<Proposal> {
        RulesAi.propose_scores(request).await
    }

    async fn read_resume(&self, request: &ReadResume) -> Outcome<ResumeFacts> {
        RulesAi.read_resume(request).await
    }
}

#[tokio::test]
async fn a_slow_model_holds_up_one_talk_and_its_checkpoint_but_no_other_talk() {
    let ai = Arc::new(SlowAi { door: Semaphore::new(0), n_waiting: AtomicUsize::new(0) });
    let mut world = World::with_ai("senior-backend-engineer", ai.clone()).await;
    let settings = RunnerSettings {
        patience: Duration::from_millis(20),
        at_once: 8,
        ..RunnerSettings::default()
    };
    world.hire_reactors(ai.clone(), Arc::new(MemoryLedger::default()), settings);
    let (slow, quick) = (world.begin().await, world.begin().await);
    let (conductor, filter) = &world.reactors[0];
    let checkpoint = |next| Checkpoint { source: "log".into(), partition: 0, next };
    let saved = || world.ledger.checkpoint("reactor.conductor", "log", 0);
    let step = async |next| {
        let work = world.unseen(&**conductor, filter).await;
        conductor.apply(work, &[checkpoint(next)]).await.unwrap();
    };
    // Whatever is not held up by the model is quick, but has no promised time.
    let until_asked = async |seat| {
        while world.open_question(seat).await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    step(1).await;
    until_asked(&slow).await;
    until_asked(&quick).await;
    step(2).await;
    assert_eq!(saved().await.unwrap(), Some(2));

    let (question, ..) = world.open_question(&slow).await.unwrap();
    world.answer(&slow, question, "slow").await;
    step(3).await;
    assert_eq!(ai.n_waiting.load(Ordering::SeqCst), 1);
    for next in 4..8 {
        let (question, ..) = world.open_question(&quick).await.unwrap();
        world.answer(&quick, question, "We measured it, and it took 20 minutes.").await;
        while world.open_question(&quick).await.is_none() {
            step(next).await;
        }
    }
    assert!(world.open_question(&slow).await.is_none());
    assert_eq!(
        saved().await.unwrap(),
        Some(2),
        "what is not done is delivered again after a crash"
    );
    assert_eq!(ai.n_waiting.load(Ordering::SeqCst), 1, "asked once, however often it is delivered");

    ai.door.add_permits(1);
    while world.names("interview", slow.interview.0).await.last().unwrap()
        != "interview.answer_judged"
    {
        tokio::task::yield_now().await;
    }
    step(8).await;
    until_asked(&slow).await;
    step(9).await;
    step(10).await;
    assert_eq!(saved().await.unwrap(), Some(10));
}
