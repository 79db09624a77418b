//! From the start of a talk to the proposal, with the example jobs and candidates.

use domain::Event;
use domain::interview::{self, CompletionReason, Status};
use domain::job::Difficulty;
use domain::observation::Observation;
use domain::verdict::{Proposal, Recommendation};

use crate::world::{Seat, Talk, World};

async fn held(job: &str, quality: &str) -> (World, Seat) {
    let world = World::with_job(job).await;
    let seat = world.begin().await;
    world.talk(&seat, &Talk::example(&format!("{job}.{quality}"))).await;
    (world, seat)
}

async fn end_of(world: &World, seat: &Seat) -> Option<CompletionReason> {
    let history = world.history(&seat.stream()).await;
    history.into_iter().find_map(|recorded| match recorded.event {
        Event::Interview(interview::Event::Completed { reason }) => Some(reason),
        _ => None,
    })
}

/// Every score cites answers to questions that measure its dimension, in words that were said.
async fn rests_on_the_record(world: &World, seat: &Seat, proposal: &Proposal) {
    let said = world.said(seat).await;
    let (_, verdict) = world.verdict(seat).await.unwrap();
    let record = verdict.record().unwrap();
    assert!(!proposal.scores.is_empty());
    for score in &proposal.scores {
        assert!(!score.evidence.is_empty(), "{}", score.dimension);
        for evidence in &score.evidence {
            let cited = record.answers.iter().find(|a| a.answer_id == evidence.answer_id).unwrap();
            assert!(cited.dimensions.contains(&score.dimension), "{}", score.dimension);
            let quote = evidence.quote.get().unwrap();
            assert!(said[&evidence.answer_id].contains(quote.as_str()), "{quote}");
        }
    }
}

#[tokio::test]
async fn a_whole_interview_is_held_and_assessed_without_anyone_else() {
    for job in ["senior-backend-engineer", "intensive-care-nurse"] {
        let (world, seat) = held(job, "good").await;
        assert_eq!(world.status(&seat).await, Status::Completed);
        assert_eq!(end_of(&world, &seat).await, Some(CompletionReason::AllAsked));
        let interview = world.interview(&seat).await;
        assert_eq!(interview.difficulty(), Difficulty::Advanced);
        let base: Vec<_> =
            interview.questions().iter().filter(|q| q.follow_up_of.is_none()).collect();
        let n = |d| base.iter().filter(|q| q.difficulty == d).count();
        assert!((2..=3).contains(&n(Difficulty::Warmup)), "{job}");
        assert!((5..=8).contains(&n(Difficulty::Standard)), "{job}");
        assert!((3..=5).contains(&n(Difficulty::Advanced)), "{job}");
        let answers: Vec<_> = interview.questions().iter().map(|q| q.answer.clone()).collect();
        assert!(answers.iter().all(|a| a.as_ref().is_some_and(|a| a.judged)), "{job}");

        let proposal = world.proposal(&seat).await;
        rests_on_the_record(&world, &seat, &proposal).await;
        assert_eq!(proposal.provenance.provider, "rules");
        assert!(world.verdict(&seat).await.unwrap().1.is_proposed());
    }
}

#[tokio::test]
async fn good_and_poor_candidates_are_told_apart() {
    for job in ["senior-backend-engineer", "intensive-care-nurse"] {
        let (good_world, good_seat) = held(job, "good").await;
        let (poor_world, poor_seat) = held(job, "poor").await;
        let good = good_world.proposal(&good_seat).await;
        let poor = poor_world.proposal(&poor_seat).await;
        let apart = good.overall.get() - poor.overall.get();
        assert!(apart >= 25.0, "{job}: {:?} and {:?}", good.overall, poor.overall);
        assert_eq!(good.recommendation, Recommendation::Pass, "{job}");
        assert_ne!(poor.recommendation, Recommendation::Pass, "{job}");
        rests_on_the_record(&poor_world, &poor_seat, &poor).await;

        assert_eq!(
            end_of(&poor_world, &poor_seat).await,
            Some(CompletionReason::BoundaryReached),
            "{job}: who struggles is not led further up"
        );
        let poor = poor_world.interview(&poor_seat).await;
        assert!(poor.questions().iter().all(|q| q.difficulty != Difficulty::Advanced), "{job}");
    }
}

#[tokio::test]
async fn an_incomplete_answer_is_asked_back_on_once() {
    let (world, seat) = held("senior-backend-engineer", "poor").await;
    let interview = world.interview(&seat).await;
    let follow_ups: Vec<_> = interview.questions().iter().filter_map(|q| q.follow_up_of).collect();
    assert!(!follow_ups.is_empty());
    for base in &follow_ups {
        assert_eq!(follow_ups.iter().filter(|of| *of == base).count(), 1);
        let base = interview.questions().iter().find(|q| q.question_id == *base).unwrap();
        assert_eq!(base.follow_up_of, None, "a follow-up is not followed up");
    }
}

#[tokio::test]
async fn every_question_and_judgement_of_a_machine_names_a_recorded_call() {
    let (world, seat) = held("intensive-care-nurse", "poor").await;
    let calls =
        eventlog::envelope::StreamId::new(crate::world::COMPANY, "ai_call", seat.interview.0);
    let mut recorded = std::collections::HashSet::new();
    for event in world.history(&calls).await {
        let Event::AiCall(domain::ai_call::Event::Completed(call)) = event.event else {
            panic!("a call failed");
        };
        assert!(recorded.insert(call.provenance.call_id), "each call is recorded once");
    }
    let mut n_named = 0;
    for event in world.history(&seat.stream()).await {
        let provenance = match event.event {
            Event::Interview(
                interview::Event::QuestionAsked {
                    asked_by: interview::AskedBy::Ai { provenance },
                    ..
                }
                | interview::Event::FollowUpAsked {
                    asked_by: interview::AskedBy::Ai { provenance },
                    ..
                },
            ) => provenance,
            Event::Interview(interview::Event::AnswerJudged { judgement, .. }) => {
                judgement.provenance
            }
            _ => continue,
        };
        assert!(recorded.contains(&provenance.call_id));
        n_named += 1;
    }
    assert!(n_named > 20);
    assert!(recorded.contains(&world.proposal(&seat).await.provenance.call_id));
}

#[tokio::test]
async fn what_is_worth_a_look_is_observed() {
    let (world, seat) = held("senior-backend-engineer", "poor").await;
    let n_raised = world
        .count(
            <Observation as domain::Aggregate>::NAME,
            seat.interview.0,
            "observation.insight_raised",
        )
        .await;
    assert!(n_raised > 0);
}
