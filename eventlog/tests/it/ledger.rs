//! The ledger keeps the same promises in memory and in Postgres.

use std::sync::Arc;

use eventlog::applied::Move;
use eventlog::envelope::{StreamId, Version};
use eventlog::feed::{Checkpoint, Checkpoints};
use eventlog::ledger::{CheckpointsOf, Ledger, MemoryLedger, PostgresLedger};

use crate::database::Database;
use crate::samples::stream;

fn moved(stream: &StreamId, from: u64, to: u64) -> Move {
    Move { stream: stream.clone(), from: Version(from), to: Version(to) }
}

fn checkpoint(next: u64) -> Checkpoint {
    Checkpoint { source: "log".into(), partition: 0, next }
}

async fn holds(ledger: Arc<dyn Ledger>) {
    let (a, b) = (stream(), stream());
    let streams = [a.clone(), b.clone()];
    assert!(ledger.applied("x", &streams).await.expect("reads").is_empty());
    assert_eq!(ledger.checkpoint("x", "log", 0).await, Ok(None));

    let both = [moved(&a, 0, 3), moved(&b, 0, 1)];
    assert_eq!(ledger.advance("x", &both, &[checkpoint(7)]).await, Ok(true));
    let applied = ledger.applied("x", &streams).await.expect("reads");
    assert_eq!((applied[&a].version, applied[&b].version), (Version(3), Version(1)));
    assert_eq!(CheckpointsOf::new(ledger.clone(), "x").load("log", 0).await, Ok(Some(7)));

    // One that was moved by another worker spoils all of them, and the checkpoint.
    let stale = [moved(&b, 1, 2), moved(&a, 2, 4)];
    assert_eq!(ledger.advance("x", &stale, &[checkpoint(9)]).await, Ok(false));
    let applied = ledger.applied("x", &streams).await.expect("reads");
    assert_eq!((applied[&a].version, applied[&b].version), (Version(3), Version(1)));
    assert_eq!(ledger.checkpoint("x", "log", 0).await, Ok(Some(7)));

    assert_eq!(ledger.advance("x", &[], &[checkpoint(8)]).await, Ok(true));
    assert_eq!(ledger.checkpoint("x", "log", 0).await, Ok(Some(8)));

    ledger.park("x", &a, Version(4), "panicked").await.expect("parks");
    let applied = ledger.applied("x", &streams).await.expect("reads");
    assert!(applied[&a].parked && !applied[&b].parked);
    assert_eq!(applied[&a].version, Version(3));

    // Each consumer has its own pages.
    assert!(ledger.applied("y", &streams).await.expect("reads").is_empty());
    assert_eq!(ledger.checkpoint("y", "log", 0).await, Ok(None));
}

#[tokio::test]
async fn the_ledger_in_memory_keeps_its_promises() {
    holds(Arc::new(MemoryLedger::default())).await;
}

#[tokio::test]
async fn the_ledger_in_postgres_keeps_its_promises() {
    let database = Database::create().await;
    holds(Arc::new(PostgresLedger::new(database.pool.clone()))).await;
}
