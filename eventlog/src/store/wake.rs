//! Tells readers that the log has grown: at once in this process, by NOTIFY in all others.
//!
//! A notification inside the append would hold one lock of the whole server until the commit is
//! flushed, so it is sent afterwards from another connection, one for all commits of a few
//! milliseconds. A lost one costs no more than a reader's longest wait.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::connect;
use crate::envelope::Position;

const CHANNEL: &str = "colloquy_log";
const BETWEEN_NOTIFICATIONS: Duration = Duration::from_millis(5);
const BEFORE_RETRY: Duration = Duration::from_millis(250);
const SHORTEST_POLL_MS: u64 = 250;
const LONGEST_POLL_MS: u64 = 1000;

/// The last position that this process knows of, and the wish to tell others.
pub(super) struct Wake {
    head: watch::Sender<Position>,
    to_tell: watch::Sender<Position>,
}

impl Wake {
    pub(super) fn new() -> Self {
        Self { head: watch::Sender::new(Position(0)), to_tell: watch::Sender::new(Position(0)) }
    }

    /// This process has committed up to here.
    pub(super) fn committed(&self, position: Position) {
        self.seen(position);
        self.to_tell.send_replace(position);
    }

    /// The log reaches at least up to here.
    pub(super) fn seen(&self, position: Position) {
        self.head.send_if_modified(|head| {
            let is_news = position > *head;
            *head = position.max(*head);
            is_news
        });
    }

    /// Returns when the log is known to reach past `position`, else when it is time to look.
    pub(super) async fn wait_past(&self, position: Position) {
        let mut head = self.head.subscribe();
        let longest =
            SHORTEST_POLL_MS + rand::random::<u64>() % (LONGEST_POLL_MS - SHORTEST_POLL_MS);
        // Both an elapsed wait and a closed channel only mean that the caller looks again.
        let _ =
            timeout(Duration::from_millis(longest), head.wait_for(|head| *head > position)).await;
    }

    /// Sends the notifications until it is stopped.
    pub(super) async fn tell(&self, options: &PgConnectOptions, stop: &CancellationToken) {
        let _ = stop.run_until_cancelled(self.tell_for_ever(options)).await;
    }

    async fn tell_for_ever(&self, options: &PgConnectOptions) {
        let mut to_tell = self.to_tell.subscribe();
        let mut connection = None;
        while to_tell.changed().await.is_ok() {
            let next = Instant::now() + BETWEEN_NOTIFICATIONS;
            let position = *to_tell.borrow_and_update();
            if connection.is_none() {
                connection = connect::for_notifying(options).await.ok();
            }
            let Some(usable) = &mut connection else {
                sleep(BEFORE_RETRY).await;
                continue;
            };
            let told = sqlx::query("select pg_notify($1, $2)")
                .bind(CHANNEL)
                .bind(position.to_string())
                .execute(usable);
            if !matches!(timeout(Duration::from_secs(5), told).await, Ok(Ok(_))) {
                connection = None;
            }
            sleep_until(next).await;
        }
    }

    /// Listens to the notifications of all processes until it is stopped.
    pub(super) async fn listen(&self, options: &PgConnectOptions, stop: &CancellationToken) {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options.clone());
        let listening = async {
            loop {
                if let Err(error) = self.listen_until_lost(&pool).await {
                    let reason = connect::reason(&error);
                    tracing::debug!(reason, "notifications of the log are not heard");
                }
                sleep(BEFORE_RETRY).await;
            }
        };
        let _: Option<()> = stop.run_until_cancelled(listening).await;
        pool.close().await;
    }

    async fn listen_until_lost(&self, pool: &PgPool) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        let before = *self.head.borrow();
        let head =
            sqlx::query_scalar::<_, i64>("select es_head()").fetch_one(&mut listener).await?;
        let head = Position(u64::try_from(head).unwrap_or(0));
        if head < before {
            // The log was restored to an earlier state while it could not be reached.
            self.head.send_replace(head);
        }
        self.seen(head);
        while let Some(notification) = listener.try_recv().await? {
            if let Ok(position) = notification.payload().parse() {
                self.seen(Position(position));
            }
        }
        Ok(())
    }
}
