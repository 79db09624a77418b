//! What happened to accounts, on its way into the log: a row in the transaction that changed the
//! credentials, then an event under the row's id. Whoever dies in between loses neither.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use commands::{Bus, CommandError, Order, new_id};
use domain::account::{Account, Command, Event};
use domain::caller::Caller;
use domain::ids::{AccountId, CompanyId};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{IdentityError, lockout, recovery};

/// Between two looks at an empty outbox.
const PAUSE: Duration = Duration::from_millis(500);
/// Rows of one transaction.
const AT_ONCE: i64 = 100;
/// Key of the advisory lock by which one process at a time empties it, so that events of one account
/// keep their order.
const LOCK: i64 = 0x636f_6c6c_6f71_0005;
/// How long an address that failed is remembered after its last failure.
const ATTEMPT_KEPT: TimeDelta = TimeDelta::hours(1);

/// Notes what happened, in the transaction that made it happen. Nothing personal may stand in it. Of
/// an account that does not exist nothing is kept, in the same time.
pub(crate) async fn tell(
    tx: &mut PgConnection,
    bus: &Bus,
    account: Option<AccountId>,
    event: &Event,
) -> Result<(), IdentityError> {
    sqlx::query(
        "insert into identity.outbox (command_id, account_id, event)
         select $1, $2, $3 where $2 is not null",
    )
    .bind(new_id(bus.clock()))
    .bind(account.map(|account| account.0))
    .bind(Json(event))
    .execute(tx)
    .await?;
    Ok(())
}

/// Carries what happened to accounts into the log until told to stop.
pub async fn run(pool: PgPool, bus: Arc<Bus>, stop: CancellationToken) {
    loop {
        match drain(&pool, &bus).await {
            Ok(n) if n > 0 => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "what happened to accounts waits for the log"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Carries what is there into the log, oldest first, and answers how much that was. Nothing is done
/// while another process is at it.
///
/// # Errors
/// [`IdentityError::Unavailable`], or what the log answered; what was not carried over stays.
pub async fn drain(pool: &PgPool, bus: &Bus) -> Result<usize, IdentityError> {
    let mut tx = pool.begin().await?;
    let is_ours: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut *tx)
        .await?;
    if !is_ours {
        return Ok(0);
    }
    lockout::tell_late(&mut tx, bus).await?;
    lockout::forget(&mut tx, bus.now() - ATTEMPT_KEPT).await?;
    recovery::forget(&mut tx, bus.now()).await?;
    let rows = sqlx::query(
        "select outbox_no, command_id, account_id, event from identity.outbox
          where refused is null order by outbox_no limit $1",
    )
    .bind(AT_ONCE)
    .fetch_all(&mut *tx)
    .await?;
    let mut outcome = Ok(rows.len());
    for row in &rows {
        let number: i64 = row.try_get("outbox_no")?;
        let refused = match record(bus, row).await {
            Ok(()) => None,
            Err(IdentityError::Command(error)) if is_for_ever(&error) => Some(error.code()),
            // What was carried over so far is remembered; an event that comes again is known by its id.
            Err(error) => {
                outcome = Err(error);
                break;
            }
        };
        match refused {
            None => {
                let done = "delete from identity.outbox where outbox_no = $1";
                sqlx::query(done).bind(number).execute(&mut *tx).await?
            }
            Some(code) => {
                tracing::error!(code, number, "the log refuses what happened to an account");
                let kept = "update identity.outbox set refused = $2 where outbox_no = $1";
                sqlx::query(kept).bind(number).bind(code).execute(&mut *tx).await?
            }
        };
    }
    tx.commit().await?;
    outcome
}

async fn record(bus: &Bus, row: &sqlx::postgres::PgRow) -> Result<(), IdentityError> {
    let account: Uuid = row.try_get("account_id")?;
    let command_id: Uuid = row.try_get("command_id")?;
    let Json(event): Json<Event> = row.try_get("event")?;
    let system = Caller::system(CompanyId::NONE, "identity");
    let order = Order::of_client(command_id, b"record".to_vec());
    bus.execute::<Account>(&system, account, Command::Record(event), order).await?;
    Ok(())
}

/// Whether trying again will never help.
fn is_for_ever(error: &CommandError) -> bool {
    match error {
        CommandError::Refused(_)
        | CommandError::Forbidden
        | CommandError::SubjectErased
        | CommandError::CommandIdReused
        | CommandError::Taken { .. }
        | CommandError::TooLarge
        | CommandError::VersionConflict { .. } => true,
        CommandError::NewerHistory
        | CommandError::Contended
        | CommandError::Unavailable
        | CommandError::OutcomeUnknown
        | CommandError::Unreadable => false,
    }
}
