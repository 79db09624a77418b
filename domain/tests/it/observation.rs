//! Observations: no analysis by a machine without consent.

use domain::Caller;
use domain::interview::{Event as InterviewEvent, Mode};
use domain::observation::{Command, Event, InsightType, Noticed, Observation, Refusal, Severity};
use domain::testing::given;

use crate::world::*;

fn noticed(value: Option<f64>) -> Noticed {
    Noticed {
        insight_type: InsightType::ResponseTime,
        severity: Severity::Info,
        ms_from_start: 1_000,
        value,
        explanation: "Took long.".into(),
    }
}

fn raise(noticed: Vec<Noticed>) -> Command {
    Command::RaiseInsights { interview_id: INTERVIEW, noticed }
}

fn flag() -> Command {
    Command::FlagIntegrity { interview_id: INTERVIEW, noticed: noticed(None) }
}

#[test]
fn insights_are_recorded_in_batches() {
    let insight = |value| Event::InsightRaised {
        insight_type: InsightType::ResponseTime,
        severity: Severity::Info,
        ms_from_start: 1_000,
        value,
        explanation: personal("Took long."),
    };
    given::<Observation>(noon(), &machine(), [])
        .facts(facts_with(in_progress(Mode::AiConducted)))
        .when(raise(vec![noticed(Some(1.5)), noticed(Some(f64::NAN))]))
        .then([insight(Some(1.5)), insight(None)]);
}

#[test]
fn a_machine_observes_only_with_consent() {
    let mut withdrawn = in_progress(Mode::AiConducted);
    withdrawn.push(InterviewEvent::ConsentWithdrawn {});
    for events in [withdrawn, in_progress(Mode::HumanOnly)] {
        for caller in [machine(), Caller::system(COMPANY, "clock")] {
            let round = given::<Observation>(noon(), &caller, []).facts(facts_with(events.clone()));
            round.when(raise(vec![noticed(None)])).refused(Refusal::NoConsent);
            round.when(flag()).refused(Refusal::NoConsent);
        }
    }
}

#[test]
fn what_is_observed_belongs_to_an_interview() {
    let none = given::<Observation>(noon(), &machine(), []).facts(facts());
    none.when(flag()).refused(Refusal::NoSuchInterview);
}
