//! One lane for each stream at work: what comes for the stream meanwhile waits in it, so that a
//! stream is worked on in its own order and takes one place, however slow it is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventlog::consume::StreamWork;
use eventlog::envelope::StreamId;
use tokio::sync::Notify;

/// How many streams of a batch are not done.
#[derive(Default)]
pub struct Left {
    n_streams: AtomicUsize,
    changed: Notify,
}

/// One stream's part of a batch.
pub struct Part {
    pub work: StreamWork,
    pub left: Arc<Left>,
}

impl Left {
    pub fn of(n_streams: usize) -> Arc<Self> {
        Arc::new(Self { n_streams: AtomicUsize::new(n_streams), changed: Notify::new() })
    }

    pub fn is_none(&self) -> bool {
        self.n_streams.load(Ordering::Acquire) == 0
    }

    pub fn one_done(&self) {
        self.n_streams.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_one();
    }

    pub async fn until_none(&self) {
        while !self.is_none() {
            self.changed.notified().await;
        }
    }
}

/// The streams at work, each with what came for it meanwhile.
#[derive(Default)]
pub struct Lanes(Mutex<HashMap<StreamId, Vec<Part>>>);

impl Lanes {
    /// Puts the part into its stream's lane if that is at work, else gives it back.
    pub fn put_behind(&self, part: Part) -> Option<Part> {
        match self.lanes().get_mut(&part.work.stream) {
            Some(waiting) => {
                waiting.push(part);
                None
            }
            None => Some(part),
        }
    }

    /// As [`Lanes::put_behind`], and opens the lane where the part is given back.
    pub fn put_behind_or_open(&self, part: Part) -> Option<Part> {
        match self.lanes().entry(part.work.stream.clone()) {
            Entry::Occupied(mut at_work) => {
                at_work.get_mut().push(part);
                None
            }
            Entry::Vacant(free) => {
                free.insert(vec![]);
                Some(part)
            }
        }
    }

    /// What waits in a lane; if nothing does, the lane is closed.
    pub fn take_or_close(&self, stream: &StreamId) -> Vec<Part> {
        let mut lanes = self.lanes();
        let waiting = lanes.get_mut(stream).map(std::mem::take).unwrap_or_default();
        if waiting.is_empty() {
            lanes.remove(stream);
        }
        waiting
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<StreamId, Vec<Part>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
