//! A company: its name and its mail domain.

use domain::company::{Command, Company, Event};
use domain::testing::{Given, given};

use crate::world::*;

fn registered() -> Event {
    Event::Registered { name: "Lights".into(), domain: Some("lights.example".into()) }
}

fn company(more: Vec<Event>) -> Given<Company> {
    let events = [vec![registered()], more].concat();
    given::<Company>(noon(), &administrator(), events)
}

fn update(name: &str, domain: Option<&str>) -> Command {
    Command::Update { name: name.into(), domain: domain.map(str::to_owned) }
}

#[test]
fn a_company_gets_another_name_and_mail_domain_and_what_stays_is_no_news() {
    let renamed = || Event::Renamed { name: "Beacons".into() };
    let moved = |to: Option<&str>| Event::DomainChanged {
        from: Some("lights.example".into()),
        to: to.map(str::to_owned),
    };
    let own = Some(" Lights.example ");
    company(vec![]).when(update("Lights", own)).nothing();
    company(vec![]).when(update("Beacons", own)).then([renamed()]);
    company(vec![]).when(update("Lights", None)).then([moved(None)]);
    let other = Some("Beacons.example");
    let both = [renamed(), moved(Some("beacons.example"))];
    company(vec![]).when(update("Beacons", other)).then(both.clone());
    company(both.to_vec()).when(update("Beacons", other)).nothing();
    company(vec![]).when(update(" ", own)).refused_with("VALIDATION_FAILED");
    company(vec![]).when(update("Lights", Some(""))).refused_with("VALIDATION_FAILED");
    given::<Company>(noon(), &administrator(), [])
        .when(update("Lights", None))
        .refused_with("COMPANY_NOT_FOUND");
}
