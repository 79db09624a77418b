//! What each event takes and gives up of what must be unique.

use domain::claims::{Change, Kind, claims};
use domain::ids::{CompanyId, InterviewId};
use domain::interview::{CompletionReason, Event as InterviewEvent, Mode};
use domain::{Event, application, candidate, interview, samples};
use uuid::Uuid;

use crate::world::*;

fn taken(event: impl Into<Event>) -> Vec<Change> {
    claims(&event.into())
}

fn print(changes: &[Change]) -> String {
    let words: Vec<String> = changes
        .iter()
        .map(|change| match change {
            Change::Take(kind, value) => format!("takes {} {value}", kind.as_str()),
            Change::Release(kind) => format!("releases {}", kind.as_str()),
        })
        .collect();
    words.join(", ")
}

#[test]
fn every_event_takes_and_releases_what_the_table_says() {
    let mut table = String::new();
    for event in samples::all() {
        let changes = claims(&event);
        if !changes.is_empty() {
            let name = domain::schema::stored_name(&event);
            table.push_str(&format!("{name}: {}\n", print(&changes)));
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_round_number_is_held_until_the_round_is_cancelled_or_abandoned() {
    let number = format!("{}/1", APPLICATION.0);
    let take = || Change::Take(Kind::RoundNumber, number.clone());
    let planned = InterviewEvent::Planned { round: round(Mode::HumanOnly) };
    assert!(taken(planned) == [take()]);
    assert!(taken(scheduled(Mode::HumanOnly)) == [take()]);
    let later = InterviewEvent::Scheduled { round: None, at: noon(), duration_minutes: 45 };
    assert!(taken(later).is_empty());
    let release = || Change::Release(Kind::RoundNumber);
    assert!(taken(InterviewEvent::Cancelled { reason: None }) == [release()]);
    assert!(taken(InterviewEvent::Abandoned {}) == [release()]);
    assert!(taken(InterviewEvent::MarkedNoShow {}).is_empty());
    let completed = InterviewEvent::Completed { reason: CompletionReason::AllAsked };
    assert!(taken(completed).is_empty());
}

#[test]
fn a_restart_takes_the_number_that_the_abandoned_round_gave_up() {
    let restart = interview::Round {
        restart_of: Some(InterviewId(Uuid::from_u128(95))),
        ..round(Mode::AiConducted)
    };
    let number = format!("{}/1", APPLICATION.0);
    let planned = InterviewEvent::Planned { round: restart };
    assert!(taken(planned) == [Change::Take(Kind::RoundNumber, number)]);
}

#[test]
fn an_application_is_open_until_it_ends() {
    use application::Status::{Hired, Interviewing, Offered, Rejected, Screening};
    let pair = format!("{}/{}", MIRA.0, JOB.0);
    assert!(taken(submitted()) == [Change::Take(Kind::OpenApplication, pair)]);
    let to =
        |to| application::Event::StatusChanged { from: application::Status::New, to, reason: None };
    for open in [Screening, Interviewing, Offered] {
        assert!(taken(to(open)).is_empty());
    }
    let release = || Change::Release(Kind::OpenApplication);
    for end in [Hired, Rejected] {
        assert!(taken(to(end)) == [release()]);
    }
    assert!(taken(application::Event::Withdrawn { reason: None }) == [release()]);
}

#[test]
fn an_address_and_a_login_are_free_again_once_the_record_is_archived() {
    let address = Change::Take(Kind::CandidateEmail, "mira@example.com".into());
    assert!(taken(registered()) == [address]);
    let archived = candidate::Event::Archived {};
    assert!(
        taken(archived)
            == [Change::Release(Kind::CandidateEmail), Change::Release(Kind::CandidateAccount)]
    );
}

#[test]
fn logins_and_domains_are_unique_everywhere_and_all_else_in_its_company() {
    for kind in Kind::ALL {
        let everywhere = matches!(kind, Kind::AccountEmail | Kind::CompanyDomain);
        let scope = if everywhere { CompanyId::NONE } else { COMPANY };
        assert_eq!(kind.scope(COMPANY), scope, "{}", kind.as_str());
    }
}
