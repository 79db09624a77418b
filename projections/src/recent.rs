//! What was read a moment ago, for whoever asks again: however many ask, the database is asked once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::query::QueryError;

/// The last answer and its age. Clones share it.
#[derive(Clone)]
pub(crate) struct Recent<T>(Arc<Mutex<Option<(Instant, T)>>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Recent<T> {
    /// The last answer if it is younger than `age`, else a new one, for which `ask` is run. Those who
    /// want it meanwhile wait for it. What went wrong is not kept.
    pub(crate) async fn get(
        &self,
        age: Duration,
        ask: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let mut kept = self.0.lock().await;
        if let Some((_, answer)) = kept.as_ref().filter(|(at, _)| at.elapsed() < age) {
            return Ok(answer.clone());
        }
        let asked_at = Instant::now();
        let answer = ask.await?;
        *kept = Some((asked_at, answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
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
}
