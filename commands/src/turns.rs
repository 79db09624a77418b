//! Commands to one aggregate, one after the other.
//!
//! Of commands that decide on the same version only one is stored, and the others read on and decide
//! again: a hundred at once would decide thousands of times. So those of one process wait for
//! each other, in the order in which they came. What is right is decided by the log alone: whoever has
//! waited too long goes ahead without a turn.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventlog::envelope::StreamId;
use tokio::sync::{Mutex as Queue, OwnedMutexGuard};
use tokio::time::timeout;

/// How long a command waits for those before it: long enough that going ahead is the exception, for
/// whoever does so costs all the others a second attempt.
const PATIENCE: Duration = Duration::from_secs(10);

/// The streams that commands of this process are at work on.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<StreamId, Arc<Queue<()>>>>);

/// A command's turn at a stream; the next one's comes when it is dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    stream: &'a StreamId,
    queue: Option<Arc<Queue<()>>>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for a turn at the stream, but not for ever.
    pub(crate) async fn take<'a>(&'a self, stream: &'a StreamId) -> Turn<'a> {
        self.take_within(stream, PATIENCE).await
    }

    async fn take_within<'a>(&'a self, stream: &'a StreamId, patience: Duration) -> Turn<'a> {
        let queue = {
            let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(queues.entry(stream.clone()).or_default())
        };
        // Made before it waits, so that one who gives up waiting is cleared away too.
        let mut turn = Turn { turns: self, stream, queue: Some(Arc::clone(&queue)), held: None };
        turn.held = timeout(patience, queue.lock_owned()).await.ok();
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queues = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.held = None;
        self.queue = None;
        // New ones come in under the lock that is held here.
        if let Entry::Occupied(entry) = queues.entry(self.stream.clone())
            && Arc::strong_count(entry.get()) == 1
        {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use domain::ids::CompanyId;
    use uuid::Uuid;

    use super::*;

    fn stream(n: u128) -> StreamId {
        StreamId::new(CompanyId(Uuid::from_u128(1)), "job", Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn turns_at_one_stream_follow_each_other_and_leave_nothing_behind() {
        let (turns, one, other) = (Turns::default(), stream(1), stream(2));
        let first = turns.take(&one).await;
        assert!(turns.take(&other).await.held.is_some(), "another stream's turn is free");
        let mut next = pin!(turns.take(&one));
        let mut context = Context::from_waker(Waker::noop());
        assert!(next.as_mut().poll(&mut context).is_pending(), "a turn while another one's lasts");
        drop(first);
        assert!(next.await.held.is_some(), "no turn after the other one's end");
        assert!(turns.0.lock().expect("no panic").is_empty(), "a queue without a command");
    }

    #[tokio::test]
    async fn whoever_waits_too_long_goes_ahead_and_does_not_end_another_ones_turn() {
        let (turns, one) = (Turns::default(), stream(1));
        let first = turns.take(&one).await;
        let impatient = turns.take_within(&one, Duration::ZERO).await;
        assert!(impatient.held.is_none(), "two turns at once");
        drop(impatient);
        assert!(turns.0.lock().expect("no panic").contains_key(&one), "the first one's turn lasts");
        drop(first);
        assert!(turns.0.lock().expect("no panic").is_empty());
    }
}
