//! Accounts: made once, and then a record of what happened to the login.

use domain::account::{Account, Command, Event, Refusal};
use domain::ids::{AccountId, CompanyId};
use domain::personal::{Personal, Subject};
use domain::testing::{Given, given};
use domain::{Caller, samples};
use uuid::Uuid;

use crate::world::*;

const LOGIN: AccountId = AccountId(Uuid::from_u128(60));

fn registered() -> Event {
    let email = Personal::new(Subject::Account(LOGIN), "ada@acme.example".to_owned());
    Event::Registered { email }
}

fn account(events: Vec<Event>) -> Given<Account> {
    given::<Account>(noon(), &Caller::system(CompanyId::NONE, "identity"), events)
}

#[test]
fn what_happens_to_a_login_is_kept_as_it_was_told() {
    for event in samples::all() {
        let domain::Event::Account(event) = event else { continue };
        if matches!(event, Event::Registered { .. }) {
            continue;
        }
        let told = Command::Record(event.clone());
        account(vec![registered()]).when(told.clone()).then([event]);
        account(vec![]).when(told).refused(Refusal::Missing);
    }
}

#[test]
fn an_account_is_made_once() {
    let register = Command::Register { account_id: LOGIN, email: " Ada@acme.example ".into() };
    account(vec![]).when(register.clone()).then([registered()]);
    account(vec![registered()]).when(register).refused(Refusal::AlreadyRegistered);
    account(vec![registered()])
        .when(Command::Record(registered()))
        .refused(Refusal::AlreadyRegistered);
}
