//! The store in memory and the one in Postgres answer any sequence of appends alike.

use std::sync::Arc;

use domain::ids::{CandidateId, CompanyId};
use domain::personal::Subject;
use eventlog::clock::SystemClock;
use eventlog::envelope::{StreamId, Version};
use eventlog::store::memory::MemoryStore;
use eventlog::store::{Append, AppendError, ClaimChange, Guard};
use eventlog::vault::memory::MemoryVault;
use futures::future::join_all;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::database::Database;
use crate::samples::{World, append, id, stream as stranger};

const KINDS: [&str; 2] = ["email", "phone"];

/// A step in terms of a few streams, subjects and keys.
#[derive(Clone, Debug)]
enum Step {
    Append {
        stream: usize,
        /// Added to the right version.
        off_by: u64,
        n_events: usize,
        guard: Option<(usize, u64)>,
        claims: Vec<(usize, bool, Option<u8>)>,
        subjects: Vec<usize>,
    },
    Forget {
        subject: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let claims = vec((0..2_usize, any::<bool>(), proptest::option::of(0..3_u8)), 0..2);
    let append = (
        0..4_usize,
        prop_oneof![4 => Just(0), 1 => 1..3_u64],
        1..4_usize,
        proptest::option::of((0..4_usize, prop_oneof![4 => Just(0), 1 => Just(1_u64)])),
        claims,
        vec(0..3_usize, 0..2),
    );
    let append = append.prop_map(|(stream, off_by, n_events, guard, claims, subjects)| {
        Step::Append { stream, off_by, n_events, guard, claims, subjects }
    });
    prop_oneof![12 => append, 1 => (0..3_usize).prop_map(|subject| Step::Forget { subject })]
}

/// The cast of one sequence, so that many can share a database.
struct Cast {
    company: CompanyId,
    streams: Vec<StreamId>,
    subjects: Vec<Subject>,
}

impl Cast {
    fn new() -> Self {
        let company = CompanyId(id());
        Self {
            company,
            streams: (0..4).map(|_| StreamId::new(company, "interview", id())).collect(),
            subjects: (0..3).map(|_| Subject::Candidate(CandidateId(id()))).collect(),
        }
    }
}

/// What can be compared of an answer.
#[derive(Debug, PartialEq)]
enum Answer {
    /// Positions can be foreseen only where nobody else appends.
    Appended(Result<(Version, Option<u64>), AppendError>),
    Forgot(Vec<StreamId>),
}

/// Plays a sequence. Every append goes together with those of `n_neighbours` others, which must make
/// no difference to it.
async fn play(
    world: &World,
    cast: &Cast,
    template: &[(Step, Append)],
    n_neighbours: usize,
) -> Vec<Answer> {
    let base = world.store.head().await.expect("reads").0;
    // All keys are made while their subjects live.
    let mut keys = Vec::new();
    for subject in &cast.subjects {
        keys.push(world.vault.key_for(cast.company, *subject).await.expect("makes one").id);
    }
    let mut answers = Vec::new();
    for (step, ready) in template {
        match step {
            Step::Append { stream, off_by, guard, claims, subjects, .. } => {
                let version = async |at: usize| {
                    world.store.stream_version(&cast.streams[at]).await.expect("reads").0
                };
                let mut sent = ready.clone();
                sent.expected = Version(version(*stream).await + off_by);
                if let Some((other, off_by)) = guard {
                    let version = Version(version(*other).await + off_by);
                    sent.guards.push(Guard { stream: cast.streams[*other].clone(), version });
                }
                for (kind, is_scoped, key) in claims {
                    let scope = if *is_scoped { cast.company } else { CompanyId(id_of(cast)) };
                    let key = key.map(|key| vec![key]);
                    sent.claims.push(ClaimChange { scope, kind: KINDS[*kind], key });
                }
                sent.keys = subjects.iter().map(|subject| keys[*subject]).collect();
                let neighbours =
                    (0..n_neighbours).map(|_| world.store.append(append(&stranger(), 0, 2)));
                // The first neighbour goes out alone, and meanwhile the others gather.
                let (_, answer) = tokio::join!(join_all(neighbours), world.store.append(sent));
                answers.push(Answer::Appended(answer.map(|appended| {
                    let position = (n_neighbours == 0).then(|| appended.position.0 - base);
                    (appended.version, position)
                })));
            }
            Step::Forget { subject } => {
                let subject = cast.subjects[*subject];
                let streams = world.vault.forget(cast.company, subject).await.expect("forgets");
                answers.push(Answer::Forgot(streams));
            }
        }
    }
    answers
}

/// Another scope that all claims of this cast may share.
fn id_of(cast: &Cast) -> uuid::Uuid {
    cast.streams[0].id
}

#[test]
fn both_stores_give_the_same_answers() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let postgres = runtime.block_on(async { Database::create().await.world() });
    let config = ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() };
    proptest!(config, |(steps in vec(step(), 1..40))| {
        for n_neighbours in [0, 4] {
            runtime.block_on(compare(&postgres, &steps, n_neighbours))?;
        }
    });
}

async fn compare(
    postgres: &World,
    steps: &[Step],
    n_neighbours: usize,
) -> Result<(), TestCaseError> {
    let vault = MemoryVault::new();
    let store = Arc::new(MemoryStore::new(Arc::new(SystemClock), vault.clone()));
    let memory = World { store, vault: Arc::new(vault) };
    let cast = Cast::new();
    let ready = |step: &Step| match step {
        Step::Append { stream, n_events, .. } => append(&cast.streams[*stream], 0, *n_events),
        Step::Forget { .. } => append(&cast.streams[0], 0, 1),
    };
    let template: Vec<_> = steps.iter().map(|step| (step.clone(), ready(step))).collect();
    let expected = play(&memory, &cast, &template, n_neighbours).await;
    let found = play(postgres, &cast, &template, n_neighbours).await;
    prop_assert_eq!(found, expected);
    for stream in &cast.streams {
        let content = async |world: &World| {
            let events = world.store.read_stream(stream, Version(0), 10_000).await.expect("reads");
            events.into_iter().map(|event| (event.version, event.hash)).collect::<Vec<_>>()
        };
        prop_assert_eq!(content(postgres).await, content(&memory).await);
    }
    Ok(())
}
