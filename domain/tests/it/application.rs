//! An application's way along the pipeline.

use domain::application::{Application, Command, Event, Refusal, Status};
use domain::testing::{Given, given};
use domain::values::Spelled;
use domain::{candidate, job, testing};

use crate::world::*;

fn application(more: Vec<Event>) -> Given<Application> {
    let mut events = vec![submitted()];
    events.extend(more);
    given::<Application>(noon(), &ada(), events).facts(facts())
}

fn to(to: Status) -> Command {
    Command::ChangeStatus { to, reason: None }
}

fn moved(from: Status, to: Status) -> Event {
    Event::StatusChanged { from, to, reason: None }
}

/// An application that stands at `status`.
fn at(status: Status) -> Given<Application> {
    use Status::{Hired, Interviewing, New, Offered, Rejected, Screening, Withdrawn};
    application(match status {
        New => vec![],
        Screening => vec![moved(New, Screening)],
        Interviewing => vec![moved(New, Interviewing)],
        Offered => vec![moved(Interviewing, Offered)],
        Hired => vec![moved(Offered, Hired)],
        Rejected => vec![moved(New, Rejected)],
        Withdrawn => vec![Event::Withdrawn { reason: None }],
    })
}

#[test]
fn an_application_moves_as_the_pipeline_says() {
    // Rows are where it stands, columns where to: `x` moves, `=` is so already, `.` is refused.
    // The last column is the candidate's own withdrawal.
    let expected = "
             NEW SCR INT OFF HIR REJ WIT | take back
NEW           =   x   x   .   .   x   .  |  x
SCREENING     .   =   x   .   .   x   .  |  x
INTERVIEWING  .   .   =   x   .   x   .  |  x
OFFERED       .   .   .   =   x   x   .  |  x
HIRED         .   .   .   .   =   .   .  |  .
REJECTED      .   .   .   .   .   =   .  |  .
WITHDRAWN     .   .   .   .   .   .   =  |  =
";
    let mark = |from, to, outcome: Result<Vec<Event>, Refusal>| match outcome {
        Ok(events) if events.is_empty() => '=',
        Ok(_) => 'x',
        Err(refusal) => {
            assert_eq!(refusal, Refusal::IllegalMove { from, to });
            '.'
        }
    };
    let mut table = "             NEW SCR INT OFF HIR REJ WIT | take back".to_owned();
    for from in Status::ALL.iter().copied() {
        table.push_str(&format!("\n{:<13}", from.as_str()));
        for target in Status::ALL.iter().copied() {
            table.push_str(&format!(
                " {}  ",
                mark(from, target, at(from).when(to(target)).result())
            ));
        }
        let back = at(from).when(Command::Withdraw { reason: None }).result();
        table.push_str(&format!("|  {}", mark(from, Status::Withdrawn, back)));
    }
    assert!(table == expected.trim_matches('\n'), "the table is:\n{table}");
}

#[test]
fn a_reason_is_kept_as_the_candidates_own() {
    application(vec![])
        .when(Command::ChangeStatus { to: Status::Rejected, reason: Some(" No visa. ".into()) })
        .then([Event::StatusChanged {
            from: Status::New,
            to: Status::Rejected,
            reason: Some(personal("No visa.")),
        }]);
    application(vec![])
        .when(Command::Withdraw { reason: Some("nul\0".into()) })
        .refused_with("VALIDATION_FAILED");
}

#[test]
fn an_active_candidate_applies_once_for_a_published_job() {
    let submit = || Command::Submit { candidate_id: MIRA, job_id: JOB };
    let nothing = || given::<Application>(noon(), &ada(), []);
    nothing().facts(facts()).when(submit()).then([submitted()]);
    application(vec![]).when(submit()).refused(Refusal::AlreadySubmitted);
    let mut archived = facts();
    let events = [registered(), candidate::Event::Archived {}];
    archived.candidates.insert(MIRA, testing::state(noon(), events));
    nothing().facts(archived).when(submit()).refused(Refusal::NoSuchCandidate);
    let mut draft = facts();
    let opened = job::Event::Opened { description: description(), hiring_manager: BO };
    draft.jobs.insert(JOB, testing::state(noon(), [opened]));
    nothing().facts(draft).when(submit()).refused(Refusal::NoSuchJob);
}

#[test]
fn nothing_moves_that_was_not_submitted() {
    let nothing = given::<Application>(noon(), &ada(), []);
    nothing.when(to(Status::Screening)).refused(Refusal::Missing);
    nothing.when(Command::Withdraw { reason: None }).refused(Refusal::Missing);
}
