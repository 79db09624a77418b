//! Bad input of every kind: each gets its code, nothing is written, and the next request is served.

mod bodies;
mod companies;
mod documents;
mod rights;
mod tokens;
mod transitions;
mod values;

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Answer, Client, document, read};
use crate::job::Company;
use crate::orders::n_stored;
use crate::process::Process;
use crate::world::World;

/// How long a refusal may take, however busy the machine is with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// What refusing a body may take more than the process has, in bytes, however long the body is.
const MORE_MEMORY: u64 = 24 << 20;

/// What the process may take at most, in bytes.
const MEMORY: u64 = 512 << 20;

/// One API, two companies, and what they tried.
struct Stage {
    world: World,
    all: Process,
    ours: Company,
    theirs: Company,
    job: String,
}

impl Stage {
    async fn set() -> Self {
        let world = World::without_kafka().await;
        let mut all = world.start("all");
        let client = all.client().await;
        let ours = Company::found(&world, &client, "lights").await;
        let theirs = Company::found(&world, &client, "shades").await;
        let job = ours.open_job().await;
        Self { world, all, ours, theirs, job }
    }

    /// Asserts the code, that nothing was written, and that the next request is served.
    #[track_caller]
    fn refused(
        &self,
        what: &str,
        answer: &Answer,
        codes: &[&str],
    ) -> impl Future<Output = ()> + use<'_> {
        let refused = match answer {
            Err(refused) => refused,
            Ok(data) => panic!("{what}: it went through: {data}"),
        };
        assert!(codes.contains(&refused.code.as_str()), "{what}: {refused:?} and not {codes:?}");
        println!("{:<28} {what}", refused.code);
        async {
            let viewer = self.ours.admin.try_ask("{ viewer { __typename } }", &json!({})).await;
            let viewer = viewer.expect("the next request is served").expect("and not refused");
            assert_eq!(viewer["viewer"]["__typename"], "MemberViewer");
        }
    }

    /// The same for a mutation, sent once.
    async fn order(&self, who: &Client, mutation: &str, mut input: Value, codes: &[&str]) {
        let id = Uuid::new_v4();
        input["commandId"] = json!(id);
        let selection = match mutation {
            "askQuestion" | "addQuestion" => "questionId",
            "submitAnswer" => "answerId",
            "issueInterviewAccess" => "accessId",
            _ => "__typename",
        };
        let variables = json!({ "input": input });
        let answer = who.try_ask(&document(mutation, selection), &variables).await;
        let answer = answer.unwrap_or_else(|error| panic!("{mutation}: {error}"));
        let mut shown = input.to_string();
        shown.truncate(shown.char_indices().nth(90).map_or(shown.len(), |(at, _)| at));
        self.refused(&format!("{mutation} {shown}"), &answer, codes).await;
        assert_eq!(n_stored(&self.world, id).await, 0, "{mutation} has written");
    }

    /// The same for a query.
    async fn ask(&self, who: &Client, document: &str, variables: Value, codes: &[&str]) {
        let answer = who.try_ask(document, &variables).await.expect("an answer");
        self.refused(document, &answer, codes).await;
    }

    /// An answer that is waited for no longer than a refusal may take.
    async fn timed(&self, who: &Client, document: &str) -> Answer {
        let none = json!({});
        let asking = who.try_ask(document, &none);
        let answer = tokio::time::timeout(PATIENCE, asking).await.expect("an answer in time");
        answer.expect("an answer")
    }

    /// The same for a body.
    async fn send(&self, what: &str, body: impl Into<Vec<u8>>, status: u16, code: &str) {
        let before = self.all.forget_peak();
        let asking = self.ours.hr.send_bytes(body.into());
        let answer = tokio::time::timeout(PATIENCE, asking).await.expect("an answer in time");
        let (found, answer) = answer.expect("an answer");
        assert_eq!(found, status, "{what}: {answer}");
        let n_bytes = self.all.peak_bytes().saturating_sub(before);
        assert!(n_bytes < MORE_MEMORY, "{what}: it took {n_bytes} bytes");
        self.refused(what, &read(found, &answer), &[code]).await;
    }

    /// Asserts that the process lived through it in bounded memory, and told nothing personal to its
    /// log.
    fn lived(mut self) {
        self.all.is_running();
        let n_bytes = self.all.peak_bytes();
        assert!(n_bytes < MEMORY, "it took {n_bytes} bytes");
        let said = self.all.said();
        assert!(!said.contains("panicked"), "{said}");
        for personal in ["Stone", "@mail.example", "@lights.example", "lamp alight"] {
            assert!(!said.contains(personal), "the log shows {personal:?}:\n{said}");
        }
    }
}

/// An id of the same kind that names nothing.
fn absent(id: &str) -> String {
    let (kind, _) = id.split_once('_').expect("a global id");
    format!("{kind}_{}", Uuid::new_v4().simple())
}
