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
use sqlx::{PgConnection, Row};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::wall::{About, Wall, about_account};
use crate::{IdentityError, lockout, rate_limits, recovery};

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
pub async fn run(wall: Wall, bus: Arc<Bus>, stop: CancellationToken) {
    loop {
        match drain(&wall, &bus).await {
            Ok(n) if n > 0 && !stop.is_cancelled() => continue,
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
/// while another process is at it. An account whose history the log does not take at present waits,
/// and holds up no other.
///
/// # Errors
/// [`IdentityError::Unavailable`], or what the log answered where nothing could be carried over; what
/// was not stays.
pub async fn drain(wall: &Wall, bus: &Bus) -> Result<usize, IdentityError> {
    keep_house(wall, bus).await?;
    let mut tx = wall.begin(About::platform()).await?;
    let is_ours: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut *tx)
        .await?;
    if !is_ours {
        return Ok(0);
    }
    let mut waiting: Vec<Uuid> = Vec::new();
    let (mut n_done, mut failure) = (0, None);
    'all: while n_done == 0 {
        let rows = sqlx::query(
            "select outbox_no, command_id, account_id, event from identity.outbox
              where refused is null and account_id <> all($2) order by outbox_no limit $1",
        )
        .bind(AT_ONCE)
        .bind(&waiting)
        .fetch_all(&mut *tx)
        .await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            let account: Uuid = row.try_get("account_id")?;
            // What happened to one account keeps its order.
            if waiting.contains(&account) {
                continue;
            }
            // What was carried over so far is remembered; an event that comes again is known by its
            // id.
            match carry(&mut tx, bus, row).await {
                Ok(()) => n_done += 1,
                Err(error) if is_of_one_account(&error) => {
                    waiting.push(account);
                    failure = Some(error);
                }
                Err(error) => {
                    failure = Some(error);
                    break 'all;
                }
            }
        }
    }
    tx.commit().await?;
    match (n_done, failure) {
        (0, Some(error)) => Err(error),
        _ => Ok(n_done),
    }
}

/// What is due about addresses that failed, letters and buckets, in transactions of their own: no
/// sign-in waits for the log.
async fn keep_house(wall: &Wall, bus: &Bus) -> Result<(), IdentityError> {
    let mut tx = wall.begin(About::platform()).await?;
    lockout::tell_late(&mut tx, bus).await?;
    lockout::forget(&mut tx, bus.now() - ATTEMPT_KEPT).await?;
    recovery::forget(&mut tx, bus.now()).await?;
    tx.commit().await?;
    rate_limits::forget(wall).await?;
    Ok(())
}

/// Carries one row over, or keeps it as one that the log will never take.
async fn carry(
    tx: &mut PgConnection,
    bus: &Bus,
    row: &sqlx::postgres::PgRow,
) -> Result<(), IdentityError> {
    let number: i64 = row.try_get("outbox_no")?;
    match record(tx, bus, row).await {
        Ok(()) => {
            let done = "delete from identity.outbox where outbox_no = $1";
            sqlx::query(done).bind(number).execute(&mut *tx).await?;
        }
        Err(IdentityError::Command(error)) if is_for_ever(&error) => {
            let code = error.code();
            tracing::error!(code, number, "the log refuses what happened to an account");
            let kept = "update identity.outbox set refused = $2 where outbox_no = $1";
            sqlx::query(kept).bind(number).bind(code).execute(&mut *tx).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Records that a login was made. Doing it again is harmless.
pub(crate) async fn register(
    bus: &Bus,
    account: AccountId,
    email: String,
) -> Result<(), IdentityError> {
    let system = Caller::system(CompanyId::NONE, "identity");
    let register = Command::Register { account_id: account, email };
    let order = Order::of_client(account.0, b"register".to_vec());
    bus.execute::<Account>(&system, account.0, register, order).await?;
    Ok(())
}

async fn record(
    tx: &mut PgConnection,
    bus: &Bus,
    row: &sqlx::postgres::PgRow,
) -> Result<(), IdentityError> {
    let account: Uuid = row.try_get("account_id")?;
    let command_id: Uuid = row.try_get("command_id")?;
    let Some(Json(event)) = row.try_get::<Option<Json<Event>>, _>("event")? else {
        about_account(tx, Some(AccountId(account))).await?;
        let email: Option<String> =
            sqlx::query_scalar("select email from identity.account where account_id = $1")
                .bind(account)
                .fetch_optional(tx)
                .await?;
        return match email {
            Some(email) => register(bus, AccountId(account), email).await,
            // The login is gone, and its address with it.
            None => Ok(()),
        };
    };
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

/// Whether it is this account's history that is in the way, not the log.
fn is_of_one_account(error: &IdentityError) -> bool {
    use CommandError::{Contended, NewerHistory, Unreadable};
    matches!(error, IdentityError::Command(Contended | NewerHistory | Unreadable))
}
