//! The reactors in their loops, fed by the log, as a server runs them.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::interview::Status;
use eventlog::clock::Clock;
use eventlog::consume::{Pace, run};
use eventlog::feed::LogFeed;
use eventlog::ledger::{CheckpointsOf, MemoryLedger};
use eventlog::store::EventStore;
use reactors::ai::rules::RulesAi;
use reactors::runner::RunnerSettings;
use reactors::timers::run_clock;
use tokio::task::JoinSet;

use crate::world::{Seat, Talk, World};

async fn start(world: &World, loops: &mut JoinSet<()>) {
    for (reactor, filter) in &world.reactors {
        let store = Arc::clone(&world.store) as Arc<dyn EventStore>;
        let checkpoints = CheckpointsOf::new(Arc::clone(&world.ledger), reactor.name());
        let feed = LogFeed::start(Arc::clone(&store), filter.clone(), &checkpoints).await.unwrap();
        let (reactor, stop) = (Arc::clone(reactor), world.stop.clone());
        let (filter, feed) = (filter.clone(), Box::new(feed));
        loops.spawn(run(reactor, feed, store, filter, Pace::default(), stop));
    }
    loops.spawn(run_clock(
        world.deadlines.clone(),
        Arc::clone(&world.bus),
        Arc::clone(&world.clock) as Arc<dyn Clock>,
        std::time::Duration::from_millis(5),
        world.stop.clone(),
    ));
}

async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    while !holds().await {
        tokio::task::yield_now().await;
    }
}

async fn next_question(world: &World, seat: &Seat) {
    until(|| async {
        world.open_question(seat).await.is_some() || world.status(seat).await != Status::InProgress
    })
    .await;
}

#[tokio::test]
async fn the_loops_hold_several_interviews_at_once_and_end_when_told() {
    let mut world = World::with_job("senior-backend-engineer").await;
    world.hire_reactors(
        Arc::new(RulesAi),
        Arc::new(MemoryLedger::default()),
        RunnerSettings::default(),
    );
    let mut loops = JoinSet::new();
    start(&world, &mut loops).await;
    let said = Talk::example("senior-backend-engineer.good");
    let mut seats = vec![];
    for _ in 0..5 {
        seats.push(world.begin().await);
    }
    // The first candidate says nothing.
    let silent = seats.remove(0);
    next_question(&world, &silent).await;
    loop {
        let mut n_going_on = 0;
        for seat in &seats {
            next_question(&world, seat).await;
            if let Some((question, job_question, again)) = world.open_question(seat).await {
                world.answer(seat, question, said.reply(job_question, again)).await;
                n_going_on += 1;
            }
        }
        if n_going_on == 0 {
            break;
        }
    }
    for seat in &seats {
        until(|| async { world.verdict(seat).await.is_some_and(|(_, v)| v.is_proposed()) }).await;
    }
    world.clock.advance(TimeDelta::minutes(31));
    until(|| async { world.status(&silent).await == Status::Abandoned }).await;
    until(|| async { world.verdict(&silent).await.is_some() }).await;

    world.stop.cancel();
    while let Some(ended) = loops.join_next().await {
        ended.unwrap();
    }
}
