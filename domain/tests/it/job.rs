//! A job: what makes it ready, and that no rubric is ever changed.

use domain::job::{Command, Conversation, Description, Event, Job, Question, Refusal};
use domain::testing::{Given, given};

use crate::world::*;

fn job(more: Vec<Event>) -> Given<Job> {
    let mut events = vec![Event::Opened { description: description(), hiring_manager: BO }];
    events.extend(more);
    given::<Job>(noon(), &bo(), events).facts(facts())
}

fn rubric_set() -> Event {
    Event::RubricSet { version: 1, dimensions: rubric() }
}

fn question_added() -> Event {
    Event::QuestionAdded { question: job_question(JOB_QUESTION, &["design"]) }
}

fn add(question: Question) -> Command {
    Command::AddQuestion { question }
}

#[test]
fn a_job_is_owned_by_an_active_member() {
    let nothing = || given::<Job>(noon(), &ada(), []).facts(facts());
    let open = |hiring_manager| Command::Open { description: description(), hiring_manager };
    nothing()
        .when(open(BO))
        .then([Event::Opened { description: description(), hiring_manager: BO }]);
    nothing().when(open(CY)).refused(Refusal::NoSuchManager);
    nothing().when(Command::Publish).refused(Refusal::Missing);
    job(vec![]).when(open(BO)).refused(Refusal::AlreadyOpened);
}

#[test]
fn a_description_has_a_title_a_text_and_a_language() {
    let check = |change: fn(&mut Description)| {
        let mut description = description();
        change(&mut description);
        job(vec![]).when(Command::Describe { description }).refused_with("VALIDATION_FAILED");
    };
    check(|d| d.title = " ".into());
    check(|d| d.title = "two\nlines".into());
    check(|d| d.title = "é".repeat(256));
    check(|d| d.text = String::new());
    check(|d| d.text = "é".repeat(20_001));
    check(|d| d.language = "e".into());
    check(|d| d.language = "en_GB".into());
    check(|d| d.location = Some(String::new()));
    job(vec![]).when(Command::Describe { description: description() }).nothing();
}

#[test]
fn a_rubric_that_changes_is_a_new_version() {
    let set = |dimensions| Command::SetRubric { dimensions };
    job(vec![]).when(set(rubric())).then([rubric_set()]);
    job(vec![rubric_set()]).when(set(rubric())).nothing();
    let other = vec![dimension("design", 1.0)];
    job(vec![rubric_set()])
        .when(set(other.clone()))
        .then([Event::RubricSet { version: 2, dimensions: other.clone() }]);
    let both = job(vec![rubric_set(), Event::RubricSet { version: 2, dimensions: other.clone() }]);
    assert_eq!(both.state().rubric(1), Some(rubric().as_slice()));
    assert_eq!(both.state().rubric(2), Some(other.as_slice()));
}

#[test]
fn a_rubric_has_1_to_20_dimensions_with_keys_of_their_own() {
    let refused = |dimensions| {
        job(vec![]).when(Command::SetRubric { dimensions }).refused_with("VALIDATION_FAILED");
    };
    refused(vec![]);
    refused((0..21).map(|n| dimension(&format!("key_{n}"), 1.0)).collect());
    refused(vec![dimension("design", 1.0), dimension("design", 2.0)]);
    refused(vec![dimension("Design", 1.0)]);
    refused(vec![dimension("system design", 1.0)]);
}

#[test]
fn a_question_measures_dimensions_that_the_rubric_has() {
    job(vec![rubric_set()])
        .when(add(job_question(JOB_QUESTION, &["design"])))
        .then([question_added()]);
    job(vec![rubric_set()])
        .when(add(job_question(JOB_QUESTION, &["charm"])))
        .refused(Refusal::UnknownDimension { key: "charm".into() });
    job(vec![])
        .when(add(job_question(JOB_QUESTION, &["design"])))
        .refused(Refusal::UnknownDimension { key: "design".into() });
}

#[test]
fn a_question_is_added_once_and_taken_away_once() {
    let so_far = || vec![rubric_set(), question_added()];
    job(so_far()).when(add(job_question(JOB_QUESTION, &["design"]))).nothing();
    job(so_far())
        .when(add(job_question(JOB_QUESTION, &["depth"])))
        .refused(Refusal::QuestionExists);
    let remove = || Command::RemoveQuestion { question_id: JOB_QUESTION };
    let removed = Event::QuestionRemoved { question_id: JOB_QUESTION };
    job(so_far()).when(remove()).then([removed.clone()]);
    let mut gone = so_far();
    gone.push(removed);
    job(gone).when(remove()).refused(Refusal::NoSuchQuestion);
}

#[test]
fn a_question_has_a_text_and_a_weight_of_1_to_100() {
    let check = |change: fn(&mut Question)| {
        let mut question = job_question(JOB_QUESTION, &["design"]);
        change(&mut question);
        job(vec![rubric_set()]).when(add(question)).refused_with("VALIDATION_FAILED");
    };
    check(|q| q.weight = 0);
    check(|q| q.weight = 101);
    check(|q| q.text = String::new());
    check(|q| q.expected_keywords = vec!["word".into(); 51]);
    check(|q| q.expected_keywords = vec![String::new()]);
}

#[test]
fn a_job_has_at_most_200_questions() {
    let mut events = vec![rubric_set()];
    events.extend(
        (0..200).map(|n| Event::QuestionAdded { question: job_question(question(n), &["design"]) }),
    );
    job(events)
        .when(add(job_question(JOB_QUESTION, &["design"])))
        .refused_with("VALIDATION_FAILED");
}

#[test]
fn a_conversation_asks_1_to_60_questions_within_its_times() {
    let set = |conversation| Command::ConfigureInterviewing { conversation };
    let check = |change: fn(&mut Conversation)| {
        let mut conversation = Conversation::default();
        change(&mut conversation);
        job(vec![]).when(set(conversation)).refused_with("VALIDATION_FAILED");
    };
    check(|c| (c.n_warmup, c.n_standard, c.n_advanced) = (0, 0, 0));
    check(|c| (c.n_warmup, c.n_standard, c.n_advanced) = (255, 255, 255));
    check(|c| c.answer_timeout_s = 4);
    check(|c| c.answer_timeout_s = 3_601);
    check(|c| c.abandon_after_s = 59);
    check(|c| c.abandon_after_s = 86_401);
    job(vec![]).when(set(Conversation::default())).nothing();
    let short = Conversation { answer_timeout_s: 5, ..Conversation::default() };
    job(vec![])
        .when(set(short.clone()))
        .then([Event::InterviewingConfigured { conversation: short }]);
}

#[test]
fn a_job_is_published_with_a_rubric_and_a_question() {
    job(vec![]).when(Command::Publish).refused(Refusal::NotReady);
    job(vec![rubric_set()]).when(Command::Publish).refused(Refusal::NotReady);
    let ready = || vec![rubric_set(), question_added()];
    job(ready()).when(Command::Publish).then([Event::Published {}]);
    let mut published = ready();
    published.push(Event::Published {});
    job(published).when(Command::Publish).nothing();
}

#[test]
fn a_closed_job_takes_no_changes() {
    job(vec![]).when(Command::Close).then([Event::Closed {}]);
    let closed = job(vec![Event::Closed {}]);
    closed.when(Command::Close).nothing();
    closed.when(Command::Publish).refused(Refusal::Closed);
    closed.when(Command::Describe { description: description() }).refused(Refusal::Closed);
    closed.when(add(job_question(JOB_QUESTION, &[]))).refused(Refusal::Closed);
}
