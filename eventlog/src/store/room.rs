//! Sees to it that the next positions have a place long before they are given out.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::readers::{Readers, decoded};
use super::{ReadError, rows};

const BETWEEN_LOOKS: Duration = Duration::from_secs(60);
const BEFORE_RETRY: Duration = Duration::from_secs(5);
/// With fewer positions left than this, more room is made.
const TOO_FEW: u64 = 5_000_000;

/// How many more positions have a place.
pub(super) async fn positions_left(readers: &Readers) -> Result<u64, ReadError> {
    let rows = readers.rows(|| sqlx::query("select es_positions_left()")).await?;
    decoded(rows.first().map_or(Ok(0), |row| rows::number(row, 0)))
}

/// Looks every so often until it is stopped. The gauge is what an alarm watches.
pub(super) async fn keep(readers: &Readers, stop: &CancellationToken) {
    let keeping = async {
        let mut looked_before = false;
        loop {
            let left = match positions_left(readers).await {
                Ok(left) if left >= TOO_FEW && looked_before => Ok(left),
                Ok(_) => make(readers).await,
                Err(error) => Err(error),
            };
            looked_before = left.is_ok();
            if let Ok(left) = left {
                #[expect(clippy::cast_precision_loss, reason = "a gauge needs no last digit")]
                metrics::gauge!("colloquy_log_positions_left").set(left as f64);
                if left < TOO_FEW {
                    tracing::error!(left, "the log is running out of places for events");
                }
            }
            sleep(if looked_before { BETWEEN_LOOKS } else { BEFORE_RETRY }).await;
        }
    };
    let _: Option<()> = stop.run_until_cancelled(keeping).await;
}

async fn make(readers: &Readers) -> Result<u64, ReadError> {
    if readers.rows(|| sqlx::query("select es_ensure_partitions()")).await.is_err() {
        tracing::warn!("no partition could be made for the log");
    }
    positions_left(readers).await
}
