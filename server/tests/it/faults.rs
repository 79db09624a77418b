//! Processes are killed at the worst moments; what comes out is the same.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{self, Client};
use crate::distributed::{play, settings};
use crate::door::Door;
use crate::orders::{LOG_ORDER, administrator, n_stored, order, until_lock_is_waited_for};
use crate::process::{Process, free_port};
use crate::world::{World, until};

/// How long a step may take while its processes are killed and started again.
const PATIENCE: Duration = Duration::from_secs(90);

/// A role that dies at each of these places in turn and is started again each time.
struct Mortal<'a> {
    world: &'a World,
    role: &'static str,
    settings: Vec<(&'static str, String)>,
    places: VecDeque<&'static str>,
    process: Process,
}

impl<'a> Mortal<'a> {
    fn start(world: &'a World, role: &'static str, places: &[&'static str]) -> Self {
        Self::start_with(world, role, vec![], places)
    }

    fn start_with(
        world: &'a World,
        role: &'static str,
        settings: Vec<(&'static str, String)>,
        places: &[&'static str],
    ) -> Self {
        let mut places = VecDeque::from(places.to_vec());
        let process = next_life(world, role, &settings, &mut places);
        Self { world, role, settings, places, process }
    }

    /// Starts it again if it has died.
    fn tend(&mut self) {
        if self.process.has_ended() {
            self.process.was_killed();
            self.process = next_life(self.world, self.role, &self.settings, &mut self.places);
        }
    }
}

fn next_life(
    world: &World,
    role: &str,
    settings: &[(&str, String)],
    places: &mut VecDeque<&'static str>,
) -> Process {
    let mut settings: Vec<_> = settings.iter().map(|(name, text)| (*name, text.as_str())).collect();
    settings.extend(places.pop_front().map(|place| ("COLLOQUY_FAILPOINT", place)));
    world.start_with(role, &settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_may_be_killed_anywhere_and_the_outcome_is_the_same() {
    let world = World::with_kafka().await;
    world.migrate().await;
    let undisturbed = {
        let _roles = ["relay", "project", "react"].map(|role| world.start(role));
        let mut serve = world.start("serve");
        let base_url = serve.client().await.base().to_owned();
        let report = play(settings(&world, &base_url), PATIENCE).await;
        report.unwrap_or_else(|failures| panic!("{failures}")).normalized()
    };

    let listen = SocketAddr::from(([127, 0, 0, 1], free_port())).to_string();
    let base_url = format!("http://{listen}");
    let mut mortals = [
        Mortal::start(
            &world,
            "relay",
            &[
                "after_produce_before_mark:3",
                "after_commit:3",
                "before_produce:3",
                "after_mark_before_commit:3",
            ],
        ),
        Mortal::start(&world, "project", &["project.before_commit:20", "project.after_commit:20"]),
        Mortal::start(
            &world,
            "react",
            &["react.after_action:3", "append.after_commit:3", "react.after_ledger:3"],
        ),
        Mortal::start_with(
            &world,
            "serve",
            vec![("COLLOQUY_HTTP__LISTEN", listen)],
            &["append.after_commit:20", "append.before_send:20"],
        ),
    ];
    let playing = play(settings(&world, &base_url), PATIENCE);
    tokio::pin!(playing);
    let outcome = loop {
        tokio::select! {
            outcome = &mut playing => break outcome,
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                mortals.iter_mut().for_each(Mortal::tend);
            }
        }
    };
    let disturbed = outcome.unwrap_or_else(|failures| panic!("{failures}")).normalized();
    mortals.iter_mut().for_each(Mortal::tend);
    for mortal in &mortals {
        assert!(mortal.places.is_empty(), "{} never passed {:?}", mortal.role, mortal.places);
    }
    same("", &undisturbed, &disturbed);
    world.topics_equal_the_log().await;
    world.read_models_equal_their_rebuild().await;
}

/// Asserts that two states are equal, and says where they are not.
#[track_caller]
fn same(path: &str, one: &Value, other: &Value) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: Vec<_> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let member = |of: &serde_json::Map<String, Value>| of.get(key).cloned();
                let (one, other) = (member(one), member(other));
                same(
                    &format!("{path}/{key}"),
                    &one.unwrap_or_default(),
                    &other.unwrap_or_default(),
                );
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            for (i, (one, other)) in one.iter().zip(other).enumerate() {
                same(&format!("{path}/{i}"), one, other);
            }
            assert_eq!(one.len(), other.len(), "how many at {path}");
        }
        (one, other) => assert_eq!(one, other, "undisturbed and disturbed at {path}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_is_cut_off_is_made_up_for_by_the_next() {
    for place in ["append.before_send", "append.after_commit"] {
        let world = World::without_kafka().await;
        world.start_failing("serve", place).until_killed().await;
        let (mut one, mut two) = (world.start("serve"), world.start("serve"));
        administrator(&world, &mut one).await;
        two.client().await;
        assert_eq!(world.log_of("account").await.len(), 2, "operator and administrator");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_killed_around_the_commit_answers_the_repeat_as_the_first() {
    let world = World::without_kafka().await;
    let mut serve = world.start("serve");
    let admin = administrator(&world, &mut serve).await;
    let document = client::document("createJob", "job { id title }");
    for (place, is_stored) in [("append.before_send", 0), ("append.after_commit", 1)] {
        let mut failing = world.start_failing("serve", place);
        let (id, input) = order();
        let there = failing.client().await.with_token(admin.token());
        let asked = there.try_ask(&document, &json!({ "input": input })).await;
        assert!(asked.is_err(), "a dead process has answered: {asked:?}");
        failing.until_killed().await;
        assert_eq!(n_stored(&world, id).await, is_stored, "{place}");

        let receipt = admin.carry_out("createJob", input.clone(), "job { id title }").await;
        assert_eq!(receipt["version"], 1);
        assert_eq!(n_stored(&world, id).await, 1, "{place}");
        let again = admin.carry_out("createJob", input.clone(), "job { id title }").await;
        assert_eq!(receipt, again);
        let mut other = input;
        other["title"] = json!("Another");
        let refused = admin.order("createJob", other, "job { id }").await;
        assert_eq!(refused.expect_err("another input").code, "COMMAND_ID_REUSED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_killed_while_the_log_works_for_it_answers_the_repeat_as_the_first() {
    let world = World::without_kafka().await;
    let mut serve = world.start("serve");
    let admin = administrator(&world, &mut serve).await;
    let (id, input) = order();
    let document = client::document("createJob", "job { id }");

    // Whoever holds the order's lock keeps every append before its commit.
    let mut lock = world.pool.begin().await.expect("a transaction");
    sqlx::query("select es_lock_order()").execute(&mut *lock).await.expect("the order's lock");
    let asked = {
        let (admin, document, input) = (admin.clone(), document.clone(), input.clone());
        tokio::spawn(async move { admin.try_ask(&document, &json!({ "input": input })).await })
    };
    until_lock_is_waited_for(&world, LOG_ORDER).await;
    serve.kill();
    assert!(asked.await.expect("no panic").is_err(), "a dead process has answered");
    lock.rollback().await.expect("the lock is given back");

    let mut serve = world.start("serve");
    let admin = admin.at(serve.address().await);
    let receipt = admin.carry_out("createJob", input.clone(), "job { id }").await;
    assert_eq!(n_stored(&world, id).await, 1);
    let again = admin.carry_out("createJob", input, "job { id }").await;
    assert_eq!(receipt, again);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_network_swallowed_is_given_again() {
    let world = World::without_kafka().await;
    let mut serve = world.start("serve");
    let admin = administrator(&world, &mut serve).await;
    let door = Door::to(serve.address().await).await;
    door.mute(true);
    let (id, input) = order();
    let document = client::document("createJob", "job { id }");
    let asked = {
        let (admin, input) = (Client::new(door.address).with_token(admin.token()), input.clone());
        tokio::spawn(async move { admin.try_ask(&document, &json!({ "input": input })).await })
    };
    until("the order is carried out", async || (n_stored(&world, id).await == 1).then_some(()))
        .await;
    door.cut();
    assert!(asked.await.expect("no panic").is_err(), "the answer went through");
    let receipt = admin.carry_out("createJob", input, "job { id }").await;
    assert_eq!(receipt["version"], 1);
    assert_eq!(n_stored(&world, id).await, 1);
}
