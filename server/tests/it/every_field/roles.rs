//! Each role at each field: the table of what happens is a snapshot, so that a field that is added, or
//! a right that moves, is seen.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::schema::{Filling, Schema, text};
use super::{Things, matrix};
use crate::authenticator::{Authenticator, first_step};
use crate::client::{Answer, Client};
use crate::job::PASSWORD;
use crate::letters::APP;
use crate::provider::Provider;
use crate::socket::{Item, Socket};
use crate::world::World;

/// A version that no record has: who is told of it had the right.
pub(super) const NO_VERSION: i64 = 999_999;

/// The fields that end sessions of who asks: each cell has one of its own.
pub(super) const ENDS_SESSIONS: [&str; 2] = ["signOut", "signOutEverywhere"];

/// How a role comes in again.
enum Door {
    By(&'static str, Value),
    TwoSteps(Root),
    None,
}

/// Another who runs the platform, with two proofs and a company to enter.
struct Root {
    company: String,
    codes: Vec<String>,
}

impl Root {
    const EMAIL: &str = "root@platform.example";

    async fn make(world: &World, client: &Client, company: &str) -> Self {
        let settings =
            [("COLLOQUY_OPERATOR__EMAIL", Self::EMAIL), ("COLLOQUY_OPERATOR__PASSWORD", PASSWORD)];
        world.start_with("serve", &settings).client().await;
        let input = json!({ "email": Self::EMAIL, "password": PASSWORD });
        let root = client.enter("signIn", input).await;
        let codes = Authenticator::enrol(&root, PASSWORD).await.recovery_codes;
        Self { company: company.to_owned(), codes }
    }

    async fn enter(&mut self, client: &Client) -> Client {
        let company = Some(self.company.as_str());
        let token = first_step(client, Self::EMAIL, PASSWORD, company).await;
        let code = self.codes.pop().expect("a code is left");
        client.enter("finishSignIn", json!({ "token": token, "code": code })).await
    }
}

/// What came of it; of a list how many items it has, so that a row more or less is seen.
pub(super) fn outcome(answer: &Answer, name: &str) -> String {
    match answer {
        Ok(data) if is_nothing(data) => "null".to_owned(),
        Ok(data) => match data.get(name).and_then(n_items) {
            Some(n) => format!("ok {n}"),
            None => "ok".to_owned(),
        },
        Err(refused) => refused.code.clone(),
    }
}

fn n_items(shown: &Value) -> Option<usize> {
    let items = shown.get("nodes").unwrap_or(shown);
    items.as_array().map(Vec::len)
}

fn is_nothing(shown: &Value) -> bool {
    match shown {
        Value::Null => true,
        Value::Array(items) => !items.is_empty() && items.iter().all(is_nothing),
        Value::Object(fields) => fields.values().all(is_nothing),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_at_each_field_what_the_table_says() {
    let world = World::without_kafka().await;
    let provider = Provider::start().await;
    let settings =
        [("COLLOQUY_MAIL__APP_URL", APP), ("COLLOQUY_SIGN_ON__ISSUERS", provider.issuer.as_str())];
    let mut all = world.start_with("all", &settings);
    let client = all.client().await;
    let things = Things::make(&world, &client, "lights").await;
    let company = &things.company;
    let (manager, _) = company.invite(&client, "greta", "lights", "HIRING_MANAGER").await;
    let (other, _) = company.invite(&client, "otto", "lights", "EMPLOYEE").await;
    world.until_projected().await;
    let schema = Schema::read(&company.hr).await;
    let schema = schema.giving("ConfigureSignOnInput", "issuer", &provider.issuer);
    let stranger = client.stranger();
    let guest = Door::By("openInterviewSession", json!({ "token": things.round.token }));
    let member = |first: &str| {
        let email = format!("{first}@lights.example");
        Door::By("signIn", json!({ "email": email, "password": PASSWORD }))
    };
    let candidate = json!({ "email": Things::candidate_email("lights"), "password": PASSWORD });
    let candidate = Door::By("signIn", candidate);
    let (email, password) = world.operator();
    let operator = Door::By("signIn", json!({ "email": email, "password": password }));
    let mut root = Root::make(&world, &client, &things.ids["company"]).await;
    let entered = root.enter(&client).await;
    let mut roles = [
        ("SYSTEM_ADMIN", company.operator.clone(), operator),
        ("SYSTEM_ADMIN within", entered, Door::TwoSteps(root)),
        ("COMPANY_ADMIN", company.admin.clone(), member("ada")),
        ("HR", company.hr.clone(), member("hana")),
        ("HIRING_MANAGER", things.manager.clone(), member("hugo")),
        ("HIRING_MANAGER elsewhere", manager, member("greta")),
        ("EMPLOYEE", company.interviewer.clone(), member("ivo")),
        ("EMPLOYEE elsewhere", other, member("otto")),
        ("VIEWER", company.viewer.clone(), member("vera")),
        ("AUDITOR", company.auditor.clone(), member("aude")),
        ("CANDIDATE", things.candidate.clone(), candidate),
        ("GUEST", things.round.guest.clone(), guest),
        ("nobody", stranger, Door::None),
    ];
    let mut table = String::new();
    let mut by_field = BTreeMap::new();
    for (operation, root) in
        [("query", "Query"), ("mutation", "Mutation"), ("subscription", "Subscription")]
    {
        for field in schema.fields(root) {
            let name = text(field, "name");
            let mut outcomes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for (role, who, door) in &mut roles {
                let filling =
                    Filling { ids: &things.ids, at: None, expected_version: Some(NO_VERSION) };
                let (document, variables) = schema.ask(operation, field, &filling);
                let found = if operation == "subscription" {
                    let token = if *role == "nobody" { None } else { Some(who.token()) };
                    listened(who, token, &document, variables).await
                } else {
                    outcome(&who.try_ask(&document, &variables).await.expect("an answer"), name)
                };
                if ENDS_SESSIONS.contains(&name) {
                    match door {
                        Door::By(mutation, input) => {
                            *who = who.stranger().enter(mutation, input.clone()).await;
                        }
                        Door::TwoSteps(root) => *who = root.enter(&who.stranger()).await,
                        Door::None => {}
                    }
                }
                let is_of_the_test = [
                    "BAD_USER_INPUT",
                    "GRAPHQL_VALIDATION_FAILED",
                    "INTERNAL_ERROR",
                    "UNAVAILABLE",
                    // The cell before has ended the session.
                    "AUTH_004",
                    "AUTH_LOCKED",
                ];
                assert!(!is_of_the_test.contains(&found.as_str()), "{name} as {role}: {found}");
                outcomes.entry(found).or_default().push(*role);
            }
            let _ = writeln!(table, "{operation} {name}");
            for (outcome, roles) in &outcomes {
                let _ = writeln!(table, "  {outcome:<28} {}", roles.join(", "));
            }
            by_field.insert(name.to_owned(), outcomes);
        }
    }
    insta::assert_snapshot!(table);
    matrix::holds(&by_field);
    all.is_running();
}

/// What a subscription begins with: something, a refusal, or that it waits.
async fn listened(who: &Client, token: Option<&str>, document: &str, variables: Value) -> String {
    let socket = match token {
        Some(_) => Socket::subscribe(who, document, variables).await,
        None => Socket::subscribe_as_nobody(who, document, variables).await,
    };
    let mut socket = socket.expect("a connection");
    match socket.next_within(Duration::from_secs(1)).await {
        None | Some(Item::Next(_)) => "ok".to_owned(),
        Some(Item::End(Some(refused))) => refused.code,
        Some(other) => panic!("{document}: {other:?}"),
    }
}
