//! What was read a moment ago, for whoever asks again: however many ask, the database is asked once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::query::QueryError;

/// The last answer and its age. Clones share it.
#[derive(Clone)]
pub(crate) struct Recent<T>(Arc<Mutex<Kept<T>>>);

struct Kept<T> {
    /// With when it was asked for.
    answer: Option<(Instant, T)>,
    /// With when it came about.
    failure: Option<(Instant, QueryError)>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Kept { answer: None, failure: None })))
    }
}

impl<T: Clone> Recent<T> {
    /// The last answer if it is younger than `age`, else a new one, for which `ask` is run. Those who
    /// want it meanwhile wait for it, and share what went wrong; whoever comes later asks again.
    pub(crate) async fn get(
        &self,
        age: Duration,
        ask: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let wanted_at = Instant::now();
        let mut kept = self.0.lock().await;
        if let Some((_, answer)) = kept.answer.as_ref().filter(|(at, _)| at.elapsed() < age) {
            return Ok(answer.clone());
        }
        if let Some((_, failure)) = kept.failure.as_ref().filter(|(at, _)| *at > wanted_at) {
            return Err(failure.clone());
        }
        let asked_at = Instant::now();
        let asked = ask.await;
        match &asked {
            Ok(answer) => kept.answer = Some((asked_at, answer.clone())),
            Err(failure) => kept.failure = Some((Instant::now(), failure.clone())),
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_answer_is_given_again_until_it_is_too_old_and_a_failure_never() {
        let recent = Recent::default();
        let long = Duration::from_secs(3600);
        let failed = recent.get(long, async { Err(QueryError::Unavailable) }).await;
        assert_eq!(failed, Err(QueryError::Unavailable));
        assert_eq!(recent.get(long, async { Ok(1) }).await, Ok(1));
        assert_eq!(recent.clone().get(long, async { Ok(2) }).await, Ok(1));
        assert_eq!(recent.get(Duration::ZERO, async { Ok(3) }).await, Ok(3));
    }

    #[tokio::test]
    async fn those_who_wait_share_a_failure_and_do_not_ask_one_after_the_other() {
        let recent = Recent::<u8>::default();
        let n_asked = AtomicUsize::new(0);
        let ask = || async {
            n_asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Err(QueryError::Unavailable)
        };
        let wanted = (0..10).map(|_| recent.get(Duration::ZERO, ask()));
        let told = futures::future::join_all(wanted).await;
        assert!(told.iter().all(Result::is_err));
        assert_eq!(n_asked.load(Ordering::Relaxed), 1);
    }
}
