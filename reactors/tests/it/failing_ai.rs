//! Models that fail, or take their time: the talk goes on, and nobody else's talk waits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use commands::Bus;
use domain::interview::{AskedBy, Event, Status};
use eventlog::feed::Checkpoint;
use eventlog::ledger::MemoryLedger;
use reactors::ai::guard::AiChain;
use reactors::ai::rules::RulesAi;
use reactors::ai::{
    Ai, AiError, Failed, FailedCall, JudgeAnswer, Judgement, NextQuestion, NextStep, Outage,
    Outcome, Proposal, ProposeScores, Provenance, ReadResume, ResumeFacts, Task,
};
use reactors::runner::RunnerSettings;
use tokio::sync::Semaphore;

use crate::world::{COMPANY, Job, Talk, World, remove_question};

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

#[tokio::test]
async fn a_provider_that_failed_before_another_answered_leaves_its_trace() {
    let down = Arc::new(CountingAi::default());
    down.set_down(true);
    let failed = Arc::new(Attributed(down));
    let chain = AiChain::new(vec![failed, Arc::new(RulesAi)]);
    let world = World::with_ai("senior-backend-engineer", Arc::new(chain)).await;
    let seat = world.begin().await;
    world.settle().await;
    let names = world.names("ai_call", seat.interview.0).await;
    assert_eq!(names, ["ai_call.failed", "ai_call.completed"]);
    let history = world.history(&seat.stream()).await;
    let asked = history.into_iter().find_map(|recorded| match recorded.event {
        domain::Event::Interview(Event::QuestionAsked {
            asked_by: AskedBy::Ai { provenance },
            ..
        }) => Some(provenance),
        _ => None,
    });
    assert!(asked.unwrap().fallback, "what another provider said never looks like the first's");
}

/// Names the provider that failed, as a real one does.
struct Attributed(Arc<CountingAi>);

impl Attributed {
    fn named<T>(outcome: Outcome<T>, task: Task) -> Outcome<T> {
        outcome.map_err(|mut failed| {
            let error = failed.error.clone();
            let provenance = Provenance {
                provider: "first".into(),
                model: "m".into(),
                prompt_version: "1".into(),
                fallback: false,
            };
            failed.calls.push(FailedCall {
                task,
                provenance,
                request_hash: String::new(),
                usage: Default::default(),
                latency_ms: 1,
                attempts: 3,
                error,
            });
            failed
        })
    }
}

#[async_trait]
impl Ai for Attributed {
    async fn judge_answer(&self, request: &JudgeAnswer) -> Outcome<Judgement> {
        Self::named(self.0.judge_answer(request).await, Task::JudgeAnswer)
    }

    async fn next_question(&self, request: &NextQuestion) -> Outcome<NextStep> {
        Self::named(self.0.next_question(request).await, Task::NextQuestion)
    }

    async fn propose_scores(&self, request: &ProposeScores) -> Outcome<Proposal> {
        Self::named(self.0.propose_scores(request).await, Task::ProposeScores)
    }

    async fn read_resume(&self, request: &ReadResume) -> Outcome<ResumeFacts> {
        Self::named(self.0.read_resume(request).await, Task::ReadResume)
    }
}

/// The rules, but a proposal cites what it should not, and a chosen question is gone at once.
struct Lying {
    take_away: Mutex<Option<Arc<Bus>>>,
}

#[async_trait]
impl Ai for Lying {
    async fn judge_answer(&self, request: &JudgeAnswer) -> Outcome<Judgement> {
        RulesAi.judge_answer(request).await
    }

    async fn next_question(&self, request: &NextQuestion) -> Outcome<NextStep> {
        let answered = RulesAi.next_question(request).await?;
        let bus = self.take_away.lock().unwrap().take();
        if let (Some(bus), NextStep::Job(id)) = (bus, &answered.value) {
            let question_id = domain::ids::QuestionId(id.parse().unwrap());
            remove_question(&bus, question_id).await;
        }
        Ok(answered)
    }

    async fn propose_scores(&self, request: &ProposeScores) -> Outcome<Proposal> {
        let mut answered = RulesAi.propose_scores(request).await?;
        let foreign = crate::world::id().to_string();
        answered.value.scores[0].evidence[0].answer_id = foreign;
        Ok(answered)
    }

    async fn read_resume(&self, request: &ReadResume) -> Outcome<ResumeFacts> {
        RulesAi.read_resume(request).await
    }
}

#[tokio::test]
async fn a_proposal_that_cites_what_was_never_said_is_no_proposal() {
    let ai = Arc::new(Lying { take_away: Mutex::default() });
    let world = World::with_ai("intensive-care-nurse", ai).await;
    let seat = world.begin().await;
    world.talk(&seat, &Talk::example("intensive-care-nurse.good")).await;
    let (verdict, state) = world.verdict(&seat).await.unwrap();
    assert!(!state.is_proposed());
    let stream = eventlog::envelope::StreamId::new(COMPANY, "verdict", verdict);
    let last = world.history(&stream).await.pop().unwrap().event;
    let failed =
        domain::verdict::Event::AssessmentFailed { code: "VERDICT_FOREIGN_EVIDENCE".into() };
    assert_eq!(last, domain::Event::Verdict(failed));
}

#[tokio::test]
async fn a_question_taken_away_while_it_is_chosen_is_replaced_by_another() {
    let ai = Arc::new(Lying { take_away: Mutex::default() });
    let world = World::with_ai("intensive-care-nurse", ai.clone()).await;
    *ai.take_away.lock().unwrap() = Some(Arc::clone(&world.bus));
    let seat = world.begin().await;
    world.settle().await;
    assert!(world.open_question(&seat).await.is_some());
    assert_eq!(world.names("ai_call", seat.interview.0).await.len(), 2);
}

#[tokio::test]
async fn a_job_that_has_no_questions_left_ends_the_talk() {
    let world = World::with_job("intensive-care-nurse").await;
    let seat = world.begin().await;
    world.settle().await;
    let (question, asked, _) = world.open_question(&seat).await.unwrap();
    for other in &Job::example("intensive-care-nurse").questions {
        let other = crate::world::question_id(&other.id);
        if other != asked {
            remove_question(&world.bus, other).await;
        }
    }
    let said = Talk::example("intensive-care-nurse.good");
    world.answer(&seat, question, said.reply(asked, false)).await;
    world.settle().await;
    assert_eq!(world.status(&seat).await, Status::Completed);
    assert!(world.verdict(&seat).await.unwrap().1.is_proposed(), "what exists is assessed");
}
