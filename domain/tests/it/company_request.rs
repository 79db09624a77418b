//! Requests of companies: made once, decided once.

use domain::company_request::{Command, CompanyRequest, Event, Refusal};
use domain::ids::{AccountId, CompanyId, CompanyRequestId};
use domain::personal::{Personal, Subject};
use domain::testing::{Given, given};
use domain::{Actor, Caller, Role};
use uuid::Uuid;

use crate::world::*;

const REQUEST: CompanyRequestId = CompanyRequestId(Uuid::from_u128(70));

fn own(text: &str) -> Personal<String> {
    Personal::new(Subject::CompanyRequest(REQUEST), text.to_owned())
}

fn submitted() -> Event {
    Event::Submitted {
        company_name: "Acme".into(),
        domain: Some("acme.example".into()),
        contact_name: own("Ada Example"),
        contact_email: own("ada@acme.example"),
    }
}

fn submit() -> Command {
    Command::Submit {
        request_id: REQUEST,
        company_name: " Acme ".into(),
        domain: Some("ACME.example".into()),
        contact_name: "Ada Example".into(),
        contact_email: "Ada@acme.example".into(),
    }
}

fn request(events: Vec<Event>) -> Given<CompanyRequest> {
    let actor = Actor::Operator(AccountId(Uuid::from_u128(60)));
    let operator = Caller::new(CompanyId::NONE, actor, vec![Role::SystemAdmin]);
    given::<CompanyRequest>(noon(), &operator, events)
}

#[test]
fn a_company_asks_once() {
    request(vec![]).when(submit()).then([submitted()]);
    request(vec![submitted()]).when(submit()).refused(Refusal::AlreadySubmitted);
    let nameless = Command::Submit {
        request_id: REQUEST,
        company_name: " ".into(),
        domain: None,
        contact_name: "Ada".into(),
        contact_email: "ada@acme.example".into(),
    };
    request(vec![]).when(nameless).refused_with("VALIDATION_FAILED");
}

#[test]
fn a_request_is_approved_or_rejected_once() {
    let approve = || Command::Approve { company_id: COMPANY };
    let reject = || Command::Reject { reason: "No such company.".into() };
    let approved = || Event::Approved { company_id: COMPANY };
    let rejected = || Event::Rejected { reason: own("No such company.") };
    request(vec![]).when(approve()).refused(Refusal::Missing);
    request(vec![submitted()]).when(approve()).then([approved()]);
    request(vec![submitted()]).when(reject()).then([rejected()]);
    request(vec![submitted(), approved()]).when(approve()).nothing();
    let other = Command::Approve { company_id: CompanyId(Uuid::from_u128(9)) };
    request(vec![submitted(), approved()]).when(other).refused(Refusal::AlreadyApproved);
    request(vec![submitted(), approved()]).when(reject()).refused(Refusal::AlreadyApproved);
    request(vec![submitted(), rejected()]).when(approve()).refused(Refusal::AlreadyRejected);
    request(vec![submitted(), rejected()]).when(reject()).refused(Refusal::AlreadyRejected);
}
