//! Writers that repeat each command until it is acknowledged, and what they were told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::client::{Client, TRANSIENT, document};
use crate::world::{DEADLINE, until};

/// A command that was acknowledged, and the answer.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub command: Uuid,
    pub mutation: &'static str,
    pub input: Value,
    pub receipt: Value,
}

/// What the writers have seen.
#[derive(Default)]
pub struct Seen {
    is_over: AtomicBool,
    n_done: AtomicUsize,
    /// How often a try ended without a yes, by what was said instead.
    told: Mutex<BTreeMap<String, usize>>,
    acknowledged: Mutex<Vec<Acknowledged>>,
}

impl Seen {
    fn tell(&self, what: &str) {
        *self.told.lock().expect("no panic").entry(what.to_owned()).or_default() += 1;
    }
}

/// Writers at one API. Each makes a job and describes it anew a few times, then makes the next.
pub struct Load {
    pub seen: Arc<Seen>,
    writers: JoinSet<()>,
}

impl Load {
    pub fn start(admin: &Client, n_writers: usize) -> Self {
        let seen = Arc::new(Seen::default());
        let mut writers = JoinSet::new();
        for _ in 0..n_writers {
            writers.spawn(write(admin.clone(), Arc::clone(&seen)));
        }
        Self { seen, writers }
    }

    /// What writers of another kind have seen, who are done.
    pub fn of(seen: Arc<Seen>) -> Self {
        Self { seen, writers: JoinSet::new() }
    }

    /// Waits until so many more commands were acknowledged.
    pub async fn until_more(&self, n: usize) {
        let wanted = self.n_done() + n;
        until("commands are acknowledged", async || (self.n_done() >= wanted).then_some(())).await;
    }

    pub fn n_done(&self) -> usize {
        self.seen.n_done.load(Ordering::SeqCst)
    }

    /// How many tries ended without a yes.
    pub fn n_told(&self) -> usize {
        self.seen.told.lock().expect("no panic").values().sum()
    }

    /// What was said instead of a yes, and how often.
    pub fn told(&self) -> String {
        let told = self.seen.told.lock().expect("no panic");
        let told: Vec<_> = told.iter().map(|(what, n)| format!("{n} x {what}")).collect();
        if told.is_empty() { "no command noticed".to_owned() } else { told.join(", ") }
    }

    /// Lets every writer finish its command; answers all that was acknowledged.
    pub async fn stop(mut self) -> Vec<Acknowledged> {
        self.seen.is_over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.writers.join_next().await {
            ended.expect("a writer without a complaint");
        }
        std::mem::take(&mut *self.seen.acknowledged.lock().expect("no panic"))
    }
}

async fn write(admin: Client, seen: Arc<Seen>) {
    let is_over = || seen.is_over.load(Ordering::SeqCst);
    while !is_over() {
        let input = json!({ "title": "Keeper", "description": "Keeps the light." });
        let made = give(&admin, &seen, "createJob", input).await;
        for n in 2..=4 {
            if is_over() {
                return;
            }
            let input = json!({
                "jobId": made["job"]["id"], "title": format!("Keeper {n}"),
                "description": "Keeps the light.", "expectedVersion": n - 1,
            });
            let described = give(&admin, &seen, "describeJob", input).await;
            assert_eq!(described["version"], n, "{described}");
        }
    }
}

/// Gives a command again and again until there is a yes.
pub async fn give(admin: &Client, seen: &Seen, mutation: &'static str, input: Value) -> Value {
    let command = Uuid::new_v4();
    let mut input = input;
    input["commandId"] = json!(command);
    let text = document(mutation, SELECTION);
    let variables = json!({ "input": input });
    let began_at = Instant::now();
    let receipt = loop {
        match admin.try_ask(&text, &variables).await {
            Ok(Ok(receipt)) => break receipt,
            Ok(Err(refused)) => {
                assert!(TRANSIENT.contains(&refused.code.as_str()), "{refused:?}");
                seen.tell(&refused.code);
            }
            Err(_) => seen.tell("no answer"),
        }
        assert!(began_at.elapsed() < 3 * DEADLINE, "{mutation} is never acknowledged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let done = Acknowledged { command, mutation, input, receipt: receipt.clone() };
    seen.acknowledged.lock().expect("no panic").push(done);
    seen.n_done.fetch_add(1, Ordering::SeqCst);
    receipt
}

/// What is asked of each answer.
const SELECTION: &str = "job { id title }";

/// Gives acknowledged commands again and asserts that each is answered as the first time.
pub async fn repeats_are_answered_alike(admin: &Client, acknowledged: &[Acknowledged]) {
    const N_REPEATED: usize = 40;
    let step = acknowledged.len().div_ceil(N_REPEATED).max(1);
    for done in acknowledged.iter().rev().step_by(step) {
        let text = document(done.mutation, SELECTION);
        let again = admin.ask(&text, json!({ "input": done.input })).await;
        let again = again.unwrap_or_else(|refused| panic!("{}: {refused:?}", done.mutation));
        for part in ["version", "cursor"] {
            assert_eq!(again[part], done.receipt[part], "{part} of a repeated {}", done.mutation);
        }
    }
}
