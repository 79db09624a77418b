//! Whatever is asked of an interview in whatever order: no panic, and what it protects holds.

use chrono::TimeDelta;
use domain::interview::{
    Ask, Command, CompletionReason, ConsentPurpose, Event, Interview, Mode, Party, PlanRound,
    RoundType, Status,
};
use domain::job::{Difficulty, QuestionType};
use domain::values::Spelled;
use domain::{Aggregate, Caller, Context};
use proptest::prelude::*;
use uuid::Uuid;

use crate::world::*;

fn any_of<T: Spelled + std::fmt::Debug>() -> impl Strategy<Value = T> {
    (0..T::ALL.len()).prop_map(|n| T::ALL[n])
}

fn n() -> std::ops::Range<u128> {
    1..5
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("Because they happened.".to_owned()),
        1 => ".{0,8}",
        1 => Just("nul\0".to_owned()),
    ]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![3 => 0.0..1.0, 1 => any::<f64>()]
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        Just(Ask::JobQuestion(JOB_QUESTION)),
        n().prop_map(|n| Ask::JobQuestion(question(n))),
        (text(), any_of::<QuestionType>(), any_of::<Difficulty>()).prop_map(
            |(text, question_type, difficulty)| Ask::Own {
                text,
                question_type,
                difficulty,
                dimensions: vec!["design".into()],
            }
        ),
    ]
}

fn plan() -> impl Strategy<Value = PlanRound> {
    any_of::<Mode>().prop_map(|mode| PlanRound {
        application_id: APPLICATION,
        round_number: 1,
        round_type: RoundType::TechnicalAi,
        mode,
        interviewer_id: (mode != Mode::AiConducted).then_some(ADA),
        resume_id: None,
        restart_of: None,
        candidate_id: MIRA,
        job_id: JOB,
    })
}

/// When, in seconds from noon.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0..100_000_i64, 1 => any::<i32>().prop_map(i64::from)]
}

fn minutes() -> impl Strategy<Value = u16> {
    prop_oneof![4 => 5..480_u16, 1 => any::<u16>()]
}

/// Orders around the conversation.
fn around() -> impl Strategy<Value = Command> {
    prop_oneof![
        plan().prop_map(|round| Command::Plan { round }),
        (proptest::option::of(plan()), time(), minutes()).prop_map(|(round, at, m)| {
            Command::Schedule { round, at: noon() + TimeDelta::seconds(at), duration_minutes: m }
        }),
        (time(), minutes()).prop_map(|(at, m)| Command::Reschedule {
            at: noon() + TimeDelta::seconds(at),
            duration_minutes: m,
        }),
        prop_oneof![Just(ADA), Just(BO), Just(CY)]
            .prop_map(|member_id| Command::AssignInterviewer { member_id }),
        (n(), time()).prop_map(|(n, at)| Command::IssueAccess {
            access_id: Uuid::from_u128(n),
            token_hash: format!("hash {n}"),
            expires_at: noon() + TimeDelta::seconds(at),
        }),
        n().prop_map(|n| Command::UseAccess { access_id: Uuid::from_u128(n) }),
        n().prop_map(|n| Command::RevokeAccess { access_id: Uuid::from_u128(n) }),
        proptest::option::of(text()).prop_map(|reason| Command::Cancel { reason }),
        Just(Command::MarkNoShow),
        Just(Command::Abandon),
        any_of::<CompletionReason>().prop_map(|reason| Command::CompleteAsAi { reason }),
        Just(Command::Complete),
    ]
}

/// Orders within the conversation.
fn within() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => proptest::collection::vec(any_of::<ConsentPurpose>(), 0..4)
            .prop_map(|purposes| Command::GiveConsent { purposes }),
        1 => Just(Command::WithdrawConsent),
        1 => any_of::<Party>().prop_map(|party| Command::Join { party }),
        1 => any_of::<Party>().prop_map(|party| Command::Leave { party }),
        1 => Just(Command::Start),
        4 => (n(), ask()).prop_map(|(n, ask)| Command::Ask { question_id: question(n), ask }),
        6 => (n(), ask()).prop_map(|(n, ask)| Command::AskAsAi {
            question_id: question(n),
            ask,
            provenance: provenance(),
        }),
        4 => (n(), n(), text()).prop_map(|(n, of, text)| Command::FollowUpAsAi {
            question_id: question(n),
            follow_up_of: question(of),
            text,
            provenance: provenance(),
        }),
        12 => (n(), n(), text()).prop_map(|(of, n, text)| Command::Answer {
            answer_id: answer(n),
            question_id: question(of),
            text,
        }),
        2 => (n(), number(), number(), text()).prop_map(|(n, completeness, score, feedback)| {
            Command::JudgeAsAi {
                answer_id: answer(n),
                completeness,
                score,
                feedback,
                provenance: provenance(),
            }
        }),
        2 => n().prop_map(|n| Command::TimeOut { question_id: question(n) }),
        1 => any_of::<Difficulty>().prop_map(|to| Command::ChangeDifficulty { to }),
        1 => text().prop_map(|text| Command::AddNote { text }),
    ]
}

fn caller() -> impl Strategy<Value = Caller> {
    prop_oneof![Just(ada()), Just(mira()), Just(machine())]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![1 => around(), 20 => within()]
}

/// What was there before the random part begins.
fn beginning() -> impl Strategy<Value = Vec<Event>> {
    prop_oneof![
        1 => Just(vec![]),
        1 => any_of::<Mode>().prop_map(|mode| vec![scheduled(mode)]),
        4 => any_of::<Mode>().prop_map(in_progress),
    ]
}

fn sequence(event: &Event) -> Option<u32> {
    match event {
        Event::QuestionAsked { sequence, .. }
        | Event::FollowUpAsked { sequence, .. }
        | Event::AnswerRecorded { sequence, .. } => Some(*sequence),
        _ => None,
    }
}

fn may_follow_an_end(event: &Event) -> bool {
    matches!(
        event,
        Event::ConsentWithdrawn {}
            | Event::NoteAdded { .. }
            | Event::AnswerJudged { .. }
            | Event::AccessRevoked { .. }
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_an_interview_protects_holds_for_any_orders_in_any_order(
        beginning in beginning(),
        orders in proptest::collection::vec((caller(), command(), 0..400_i64), 1..60),
    ) {
        let facts = facts();
        let mut now = noon();
        let mut interview: Interview = domain::testing::state(now, beginning);
        let mut last = 0;
        for (caller, command, wait) in orders {
            now += TimeDelta::seconds(wait);
            let context = Context { caller: &caller, now, facts: &facts };
            for event in interview.decide(command, context).unwrap_or_default() {
                let before = interview.status();
                let ended = before.is_some_and(Status::is_end);
                prop_assert!(!ended || may_follow_an_end(&event), "{event:?} after {before:?}");
                if let Some(sequence) = sequence(&event) {
                    prop_assert_eq!(sequence, last + 1);
                    prop_assert_eq!(before, Some(Status::InProgress));
                    last = sequence;
                }
                interview = interview.evolve(&event, now);
                if ended {
                    prop_assert_eq!(interview.status(), before);
                }
                let questions = interview.questions();
                let open = questions.iter().filter(|q| q.answer.is_none() && !q.timed_out);
                prop_assert!(open.count() <= 1, "two questions are open");
                for question in questions {
                    let id = Some(question.question_id);
                    let n_follow_ups = questions.iter().filter(|q| q.follow_up_of == id).count();
                    prop_assert!(n_follow_ups <= 1, "followed up twice");
                    let answer = question.answer.as_ref().map(|answer| answer.answer_id);
                    let same = |q: &&_| answer_of(q) == answer;
                    prop_assert!(answer.is_none() || questions.iter().filter(same).count() == 1);
                }
            }
        }
    }
}

fn answer_of(question: &domain::interview::QuestionState) -> Option<domain::ids::AnswerId> {
    question.answer.as_ref().map(|answer| answer.answer_id)
}
