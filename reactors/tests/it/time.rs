//! Time in a talk: answers that do not come, rounds that fall silent, consent that is taken back.

use chrono::TimeDelta;
use domain::interview::{Command, ConsentPurpose, Interview, Mode, Party, Status};
use domain::{Actor, Caller, Role};
use eventlog::clock::Clock;
use eventlog::deadlines::Deadlines;
use reactors::timers::Alarm;

use crate::world::{COMPANY, MANAGER, Seat, Talk, World};

const JOB: &str = "senior-backend-engineer";

async fn n_due(world: &World) -> usize {
    let far = world.clock.now() + TimeDelta::days(400);
    world.deadlines.due(far, 100).await.unwrap().len()
}

async fn timed_out(world: &World, seat: &Seat) -> usize {
    world.count("interview", seat.interview.0, "interview.question_timed_out").await
}

#[tokio::test]
async fn a_question_waits_300_seconds_and_then_the_talk_moves_on() {
    let world = World::with_job(JOB).await;
    let seat = world.begin().await;
    world.settle().await;
    let (first, ..) = world.open_question(&seat).await.unwrap();
    world.pass(TimeDelta::seconds(299)).await;
    world.settle().await;
    assert_eq!(timed_out(&world, &seat).await, 0);
    world.pass(TimeDelta::seconds(1)).await;
    world.settle().await;
    assert_eq!(timed_out(&world, &seat).await, 1);
    let (second, ..) = world.open_question(&seat).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(world.status(&seat).await, Status::InProgress);
}

#[tokio::test]
async fn an_answer_in_time_clears_its_deadline() {
    let world = World::with_job(JOB).await;
    let seat = world.begin().await;
    world.settle().await;
    let (question, ..) = world.open_question(&seat).await.unwrap();
    world.answer(&seat, question, "I keep it simple.").await;
    // The clock is quicker than the timers' reactor.
    world.pass(TimeDelta::seconds(300)).await;
    assert_eq!(timed_out(&world, &seat).await, 0);
    world.settle().await;
    assert_eq!(n_due(&world).await, 2, "the next question's, and the round's");
}

#[tokio::test]
async fn a_candidate_who_went_is_not_asked_and_after_30_silent_minutes_the_round_is_abandoned() {
    let world = World::with_job(JOB).await;
    let seat = world.begin().await;
    world.settle().await;
    let (question, ..) = world.open_question(&seat).await.unwrap();
    world.answer(&seat, question, "We planned it for 3 weeks and then I wrote it.").await;
    world.settle().await;
    world.guest(&seat, Command::Leave { party: Party::Candidate }).await;
    world.settle().await;
    world.pass(TimeDelta::seconds(300)).await;
    world.settle().await;
    assert_eq!(timed_out(&world, &seat).await, 1);
    assert!(world.open_question(&seat).await.is_none());
    world.pass(TimeDelta::seconds(1499)).await;
    world.settle().await;
    assert_eq!(world.status(&seat).await, Status::InProgress);
    world.pass(TimeDelta::seconds(1)).await;
    world.settle().await;
    assert_eq!(world.status(&seat).await, Status::Abandoned);
    assert_eq!(n_due(&world).await, 0);
    assert!(world.verdict(&seat).await.is_some(), "what there is can be decided on");
}

#[tokio::test]
async fn a_candidate_who_comes_back_is_asked_on() {
    let world = World::with_job(JOB).await;
    let seat = world.begin().await;
    world.settle().await;
    world.guest(&seat, Command::Leave { party: Party::Candidate }).await;
    world.settle().await;
    world.pass(TimeDelta::seconds(300)).await;
    world.settle().await;
    assert!(world.open_question(&seat).await.is_none());
    world.guest(&seat, Command::Join { party: Party::Candidate }).await;
    world.settle().await;
    assert!(world.open_question(&seat).await.is_some());
}

#[tokio::test]
async fn a_candidate_who_is_there_but_silent_is_not_asked_for_ever() {
    let world = World::with_job(JOB).await;
    let seat = world.begin().await;
    world.settle().await;
    for _ in 0..5 {
        world.pass(TimeDelta::seconds(300)).await;
        world.settle().await;
    }
    assert_eq!(timed_out(&world, &seat).await, 5);
    assert_eq!(world.status(&seat).await, Status::InProgress);
    world.pass(TimeDelta::seconds(300)).await;
    world.settle().await;
    assert_eq!(world.status(&seat).await, Status::Abandoned);
}

#[tokio::test]
async fn a_round_without_an_answer_is_not_assessed() {
    let world = World::with_job(JOB).await;
    let seat = world.begin().await;
    world.settle().await;
    world.guest(&seat, Command::Complete).await;
    world.settle().await;
    let (verdict, _) = world.verdict(&seat).await.unwrap();
    let names = world.names("verdict", verdict).await;
    assert_eq!(names, ["verdict.opened", "verdict.assessment_failed"]);
    assert!(world.names("ai_call", seat.interview.0).await.len() == 1, "only the first question");
}

#[tokio::test]
async fn a_person_led_round_that_falls_silent_is_abandoned_and_no_machine_asks_in_it() {
    let world = World::with_job(JOB).await;
    let seat = world.invite(Mode::HumanOnly).await;
    world.guest(&seat, Command::Join { party: Party::Candidate }).await;
    let interviewer = Caller::new(COMPANY, Actor::Member(MANAGER), vec![Role::Hr]);
    let join = Command::Join { party: Party::Interviewer };
    world.send::<Interview>(&interviewer, seat.interview.0, join).await.unwrap();
    world.settle().await;
    assert_eq!(world.status(&seat).await, Status::InProgress);
    assert!(world.interview(&seat).await.questions().is_empty());
    world.pass(TimeDelta::minutes(29)).await;
    let note = Command::AddNote { text: "Still talking.".into() };
    world.send::<Interview>(&interviewer, seat.interview.0, note).await.unwrap();
    // The deadline was not moved yet when it comes up.
    world.pass(TimeDelta::minutes(2)).await;
    assert_eq!(world.status(&seat).await, Status::InProgress);
    world.settle().await;
    world.pass(TimeDelta::minutes(28)).await;
    world.settle().await;
    assert_eq!(world.status(&seat).await, Status::Abandoned);
    assert!(world.names("ai_call", seat.interview.0).await.is_empty());
    assert!(world.names("observation", seat.interview.0).await.is_empty());
}

#[tokio::test]
async fn consent_withdrawn_stops_the_machine_and_consent_given_again_lets_it_go_on() {
    let world = World::with_job(JOB).await;
    let seat = world.begin().await;
    world.settle().await;
    let (question, job_question, _) = world.open_question(&seat).await.unwrap();
    world.guest(&seat, Command::WithdrawConsent).await;
    let said = Talk::example("senior-backend-engineer.good");
    world.answer(&seat, question, said.reply(job_question, false)).await;
    let n_calls = world.names("ai_call", seat.interview.0).await.len();
    world.settle().await;
    assert_eq!(world.names("ai_call", seat.interview.0).await.len(), n_calls);
    assert!(world.open_question(&seat).await.is_none());
    assert!(world.names("observation", seat.interview.0).await.is_empty());

    world.guest(&seat, Command::GiveConsent { purposes: vec![ConsentPurpose::AiAnalysis] }).await;
    world.settle().await;
    assert!(world.open_question(&seat).await.is_some());
    let answer = world.interview(&seat).await.questions()[0].answer.clone();
    assert!(answer.unwrap().judged);
}

#[tokio::test]
async fn consent_withdrawn_between_the_event_and_the_reaction_keeps_the_answer_from_the_model() {
    let world = World::with_job(JOB).await;
    let seat = world.begin().await;
    world.settle().await;
    let (question, ..) = world.open_question(&seat).await.unwrap();
    world.answer(&seat, question, "Something personal.").await;
    world.guest(&seat, Command::WithdrawConsent).await;
    let n_calls = world.names("ai_call", seat.interview.0).await.len();
    world.settle().await;
    assert_eq!(world.names("ai_call", seat.interview.0).await.len(), n_calls);
    world.guest(&seat, Command::Complete).await;
    world.settle().await;
    assert_eq!(world.names("ai_call", seat.interview.0).await.len(), n_calls);
    let (verdict, _) = world.verdict(&seat).await.unwrap();
    assert_eq!(world.names("verdict", verdict).await, ["verdict.opened"], "left to people");
}

#[tokio::test]
async fn several_clocks_act_once() {
    let world = World::with_job(JOB).await;
    let seats = [world.begin().await, world.begin().await];
    world.settle().await;
    world.clock.advance(TimeDelta::seconds(300));
    let alarm = || Alarm::new(world.deadlines.clone(), world.bus.clone());
    let (one, two) = (alarm(), alarm());
    let now = world.clock.now();
    let (a, b) = tokio::join!(one.fire_due(now), two.fire_due(now));
    a.unwrap();
    b.unwrap();
    for seat in &seats {
        assert_eq!(timed_out(&world, seat).await, 1);
    }
}
