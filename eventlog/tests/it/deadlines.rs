//! Deadlines keep the same promises in memory and in Postgres.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::deadlines::{Deadline, Deadlines, MemoryDeadlines, PostgresDeadlines};
use eventlog::envelope::StreamId;
use futures::future::join_all;

use crate::database::Database;
use crate::samples::{id, stream};

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
}

fn deadline(stream: &StreamId, kind: &str) -> Deadline {
    let (id, cause) = (id(), id());
    Deadline { id, kind: kind.into(), stream: stream.clone(), detail: None, due_at: noon(), cause }
}

async fn holds(deadlines: Arc<dyn Deadlines>) {
    let stream = stream();
    let first = deadline(&stream, "abandon");
    deadlines.set(first.clone()).await.expect("set");
    // Set again it moves, whatever it is called.
    let moved = Deadline { due_at: noon() + TimeDelta::seconds(1), ..deadline(&stream, "abandon") };
    deadlines.set(moved.clone()).await.expect("moved");
    deadlines.done(&first).await.expect("of no interest any more");
    assert_eq!(deadlines.due(noon(), 9).await, Ok(vec![]));
    let later = noon() + TimeDelta::seconds(9);
    assert_eq!(deadlines.due(later, 9).await, Ok(vec![moved.clone()]));
    // Two that go by one id are two.
    let namesake = Deadline { kind: "answer".into(), ..moved.clone() };
    deadlines.set(namesake.clone()).await.expect("set");
    deadlines.done(&moved).await.expect("done");
    assert_eq!(deadlines.due(later, 9).await, Ok(vec![namesake]));
    deadlines.clear(&stream, None).await.expect("cleared");
    assert_eq!(deadlines.due(later, 9).await, Ok(vec![]));
}

#[tokio::test]
async fn deadlines_in_memory_keep_their_promises() {
    holds(Arc::new(MemoryDeadlines::default())).await;
}

#[tokio::test]
async fn deadlines_in_postgres_keep_their_promises() {
    let database = Database::create().await;
    holds(Arc::new(PostgresDeadlines::new(database.pool.clone()))).await;
}

#[tokio::test]
async fn workers_that_set_the_same_deadline_at_once_all_succeed() {
    let database = Database::create().await;
    let deadlines = PostgresDeadlines::new(database.pool.clone());
    for _ in 0..50 {
        let same = deadline(&stream(), "abandon");
        let setting = (0..4).map(|_| deadlines.set(same.clone()));
        let set = join_all(setting).await;
        assert_eq!(set, [Ok(()), Ok(()), Ok(()), Ok(())]);
    }
    assert_eq!(deadlines.due(noon(), 100).await.expect("reads").len(), 50);
}
