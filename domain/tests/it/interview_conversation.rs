//! The conversation in order: one open question, the first accepted answer, one follow-up.

use domain::Facts;
use domain::interview::{
    Ask, AskedBy, Command, Event, Interview, Mode, Party, QuestionText, Refusal,
};
use domain::job::{Difficulty, QuestionType};
use domain::testing::{Given, given};
use domain::values::MAX_ANSWER_CHARS;

use crate::world::*;

/// A conversation led by AI that has come to `more`.
fn talk(more: Vec<Event>) -> Given<Interview> {
    let mut events = in_progress(Mode::AiConducted);
    events.extend(more);
    given::<Interview>(noon(), &machine(), events).facts(facts())
}

fn ask(n: u128) -> Command {
    Command::AskAsAi { question_id: question(n), ask: own(), provenance: provenance() }
}

fn own() -> Ask {
    Ask::Own {
        text: "Why events?".into(),
        question_type: QuestionType::Technical,
        difficulty: Difficulty::Standard,
        dimensions: vec!["design".into()],
    }
}

fn answer_with(question_n: u128, answer_n: u128, text: &str) -> Command {
    Command::Answer {
        answer_id: answer(answer_n),
        question_id: question(question_n),
        text: text.into(),
    }
}

fn reply(question_n: u128, answer_n: u128) -> Command {
    answer_with(question_n, answer_n, "Because they happened.")
}

fn follow_up(n: u128, of: u128) -> Command {
    Command::FollowUpAsAi {
        question_id: question(n),
        follow_up_of: question(of),
        text: "And then?".into(),
        provenance: provenance(),
    }
}

fn followed_up(n: u128, of: u128, sequence: u32) -> Event {
    Event::FollowUpAsked {
        question_id: question(n),
        sequence,
        follow_up_of: question(of),
        text: personal("And then?"),
        asked_by: AskedBy::Ai { provenance: provenance() },
    }
}

#[test]
fn questions_and_answers_are_numbered_in_one_row() {
    talk(vec![]).when(ask(1)).then([asked(1, 1)]);
    talk(vec![asked(1, 1)]).when(reply(1, 1)).then([answered(1, 1, 2)]);
    talk(vec![asked(1, 1), answered(1, 1, 2)]).when(follow_up(2, 1)).then([followed_up(2, 1, 3)]);
    talk(vec![asked(1, 1), answered(1, 1, 2), followed_up(2, 1, 3)])
        .when(reply(2, 2))
        .then([answered(2, 2, 4)]);
}

#[test]
fn one_question_is_open_at_a_time() {
    talk(vec![asked(1, 1)]).when(ask(2)).refused(Refusal::QuestionOpen);
    talk(vec![asked(1, 1)]).when(follow_up(2, 1)).refused(Refusal::QuestionOpen);
    let let_go = Event::QuestionTimedOut { question_id: question(1) };
    talk(vec![asked(1, 1), let_go]).when(ask(2)).then([asked(2, 2)]);
}

#[test]
fn a_question_has_an_id_of_its_own() {
    let so_far = || vec![asked(1, 1), answered(1, 1, 2)];
    talk(so_far()).when(ask(1)).refused(Refusal::QuestionExists);
    talk(so_far()).when(follow_up(1, 1)).refused(Refusal::QuestionExists);
}

#[test]
fn an_answer_names_its_question() {
    talk(vec![asked(1, 1)]).when(reply(9, 1)).refused(Refusal::NoSuchQuestion);
}

#[test]
fn the_first_accepted_answer_wins() {
    let so_far = || vec![asked(1, 1), answered(1, 1, 2)];
    talk(so_far()).when(reply(1, 2)).refused(Refusal::AlreadyAnswered);
    talk(so_far()).when(reply(1, 1)).refused(Refusal::AlreadyAnswered);
}

#[test]
fn an_answer_has_an_id_of_its_own() {
    talk(vec![asked(1, 1), answered(1, 1, 2), asked(2, 3)])
        .when(reply(2, 1))
        .refused(Refusal::AnswerExists);
}

#[test]
fn an_answer_says_how_long_it_took() {
    let outcome = talk(vec![asked(1, 1)]).at(noon() + seconds(42)).when(reply(1, 1)).result();
    assert!(matches!(
        outcome.expect("accepted").as_slice(),
        [Event::AnswerRecorded { response_time_ms: 42_000, .. }]
    ));
    // A clock that was set back makes no negative time.
    let outcome = talk(vec![asked(1, 1)]).at(noon() - seconds(42)).when(reply(1, 1)).result();
    assert!(matches!(
        outcome.expect("accepted").as_slice(),
        [Event::AnswerRecorded { response_time_ms: 0, .. }]
    ));
}

#[test]
fn an_answer_is_a_text_of_bounded_length_without_nul() {
    let too_long = "é".repeat(MAX_ANSWER_CHARS + 1);
    for text in ["", "  \n ", "nul\0", too_long.as_str()] {
        talk(vec![asked(1, 1)]).when(answer_with(1, 1, text)).refused_with("VALIDATION_FAILED");
    }
    let long = "é".repeat(MAX_ANSWER_CHARS);
    assert!(talk(vec![asked(1, 1)]).when(answer_with(1, 1, &long)).result().is_ok());
}

#[test]
fn a_question_is_followed_up_at_most_once() {
    let so_far = || vec![asked(1, 1), answered(1, 1, 2), followed_up(2, 1, 3), answered(2, 2, 4)];
    talk(so_far()).when(follow_up(3, 1)).refused(Refusal::AlreadyFollowedUp);
    talk(so_far()).when(follow_up(3, 2)).refused(Refusal::AlreadyFollowedUp);
    talk(so_far()).when(follow_up(3, 9)).refused(Refusal::NoSuchQuestion);
}

#[test]
fn a_follow_up_measures_what_its_question_measures() {
    let talk = talk(vec![asked(1, 1), answered(1, 1, 2), followed_up(2, 1, 3)]);
    let questions = talk.state().questions();
    assert_eq!(questions[1].follow_up_of, Some(question(1)));
    assert_eq!(questions[1].dimensions, questions[0].dimensions);
    assert_eq!(questions[1].difficulty, questions[0].difficulty);
}

#[test]
fn a_question_waits_300_seconds_for_its_answer() {
    let let_go = || Command::TimeOut { question_id: question(1) };
    let timed_out = Event::QuestionTimedOut { question_id: question(1) };
    let waiting = || talk(vec![asked(1, 1)]);
    waiting().at(noon() + seconds(299)).when(let_go()).refused(Refusal::TooEarly);
    waiting().at(noon() + seconds(300)).when(let_go()).then([timed_out.clone()]);
    talk(vec![asked(1, 1), timed_out.clone()]).when(let_go()).nothing();
    talk(vec![asked(1, 1), answered(1, 1, 2)]).when(let_go()).nothing();
    talk(vec![asked(1, 1), timed_out]).when(reply(1, 1)).refused(Refusal::QuestionClosed);
}

#[test]
fn an_answer_is_judged_once_within_the_scales() {
    let judge = |completeness, score| Command::JudgeAsAi {
        answer_id: answer(1),
        completeness,
        score,
        feedback: "Good.".into(),
        provenance: provenance(),
    };
    let so_far = || vec![asked(1, 1), answered(1, 1, 2)];
    let judged = talk(so_far()).when(judge(0.5, 80.0)).result().expect("accepted");
    assert_eq!(judged.len(), 1);
    let mut again = so_far();
    again.extend(judged);
    talk(again).when(judge(1.0, 10.0)).nothing();
    talk(vec![]).when(judge(1.0, 10.0)).refused(Refusal::NoSuchAnswer);
    for (completeness, score) in [(1.1, 50.0), (-0.1, 50.0), (0.5, 100.1), (f64::NAN, 50.0)] {
        talk(so_far()).when(judge(completeness, score)).refused_with("VALIDATION_FAILED");
    }
}

#[test]
fn difficulty_begins_at_warm_up_and_changes_once_for_each_step() {
    let to = |to| Command::ChangeDifficulty { to };
    talk(vec![]).when(to(Difficulty::Warmup)).nothing();
    talk(vec![])
        .when(to(Difficulty::Standard))
        .then([Event::DifficultyChanged { from: Difficulty::Warmup, to: Difficulty::Standard }]);
}

#[test]
fn a_question_of_the_job_is_asked_in_the_jobs_words() {
    let ask = |id| Command::AskAsAi {
        question_id: question(1),
        ask: Ask::JobQuestion(id),
        provenance: provenance(),
    };
    let of_job = job_question(JOB_QUESTION, &["design"]);
    talk(vec![]).when(ask(JOB_QUESTION)).then([Event::QuestionAsked {
        question_id: question(1),
        sequence: 1,
        job_question_id: Some(JOB_QUESTION),
        text: QuestionText::Job { text: of_job.text },
        question_type: of_job.question_type,
        difficulty: of_job.difficulty,
        dimensions: of_job.dimensions,
        asked_by: AskedBy::Ai { provenance: provenance() },
    }]);
    talk(vec![]).when(ask(question(9))).refused(Refusal::NoSuchQuestion);
    talk(vec![]).facts(Facts::default()).when(ask(JOB_QUESTION)).refused(Refusal::NoSuchJob);
}

#[test]
fn only_a_member_asks_and_notes_in_a_round_led_by_a_person() {
    let round = || given::<Interview>(noon(), &ada(), in_progress(Mode::HumanAiAssisted));
    let ask = || Command::Ask { question_id: question(1), ask: own() };
    assert!(matches!(
        round().when(ask()).result().expect("accepted").as_slice(),
        [Event::QuestionAsked { asked_by: AskedBy::Member { member_id: ADA }, .. }]
    ));
    round().by(&mira()).when(ask()).refused(Refusal::NeedsInterviewer);
    let note = || Command::AddNote { text: "Calm.".into() };
    round().when(note()).then([Event::NoteAdded { member_id: ADA, text: personal("Calm.") }]);
    round().by(&machine()).when(note()).refused(Refusal::NeedsInterviewer);
}

#[test]
fn who_left_may_come_again() {
    let left = Event::Left { party: Party::Candidate };
    let join = Command::Join { party: Party::Candidate };
    talk(vec![left]).when(join.clone()).then([candidate_joined()]);
    talk(vec![]).when(join).nothing();
}
