//! Failures to sign in are counted by address, whether or not it has an account, so that answers and
//! their time tell nobody which: after five, nobody is let in with it for 15 minutes (SEC-07).

use chrono::{DateTime, TimeDelta, Utc};
use commands::Bus;
use domain::account::Event;
use domain::ids::AccountId;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::{IdentityError, outbox};

/// So many failures lock an address.
const MAX_FAILED: i32 = 5;
/// So long it stays locked; failures further apart than that are not added up.
const LOCKED_FOR: TimeDelta = TimeDelta::minutes(15);
/// Failures within this time are told by one event: strangers cause them, and the log keeps them for
/// ever.
const COALESCED: TimeDelta = TimeDelta::hours(1);

/// An address as it is counted: not the address itself.
pub(crate) type Key = [u8; 32];

/// The key of an address, in whatever form it was typed.
pub(crate) fn key(bus: &Bus, email: &str) -> Key {
    bus.derived_secret("login-attempts", email.trim().to_lowercase().as_bytes())
}

/// Refuses a locked address before its password is looked at.
///
/// # Errors
/// [`IdentityError::Locked`].
pub(crate) async fn check(
    conn: &mut PgConnection,
    key: &Key,
    now: DateTime<Utc>,
) -> Result<(), IdentityError> {
    let until: Option<Option<DateTime<Utc>>> =
        sqlx::query_scalar("select locked_until from identity.login_attempt where email_key = $1")
            .bind(key.as_slice())
            .fetch_optional(conn)
            .await?;
    refuse(until.flatten(), now)
}

fn refuse(locked_until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), IdentityError> {
    match locked_until {
        Some(until) if until > now => Err(IdentityError::Locked),
        _ => Ok(()),
    }
}

/// A row of what was counted, locked until the transaction ends.
struct Counted {
    n_failed: i32,
    last_failed_at: DateTime<Utc>,
    locked_until: Option<DateTime<Utc>>,
    n_untold: i32,
    told_at: Option<DateTime<Utc>>,
}

impl Counted {
    fn read(row: &sqlx::postgres::PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            n_failed: row.try_get("n_failed")?,
            last_failed_at: row.try_get("last_failed_at")?,
            locked_until: row.try_get("locked_until")?,
            n_untold: row.try_get("n_untold")?,
            told_at: row.try_get("told_at")?,
        })
    }
}

/// Counts a failure, and answers whether the address was locked before it. Several at once are counted
/// one after the other, so that of many guesses at once five are answered.
pub(crate) async fn failed(
    tx: &mut PgConnection,
    bus: &Bus,
    key: &Key,
    account: Option<AccountId>,
) -> Result<bool, IdentityError> {
    let now = bus.now();
    let row = sqlx::query(
        "insert into identity.login_attempt (email_key, account_id, last_failed_at)
         values ($1, $2, $3)
         on conflict (email_key) do update set account_id = excluded.account_id
         returning n_failed, last_failed_at, locked_until, n_untold, told_at",
    )
    .bind(key.as_slice())
    .bind(account.map(|account| account.0))
    .bind(now)
    .fetch_one(&mut *tx)
    .await?;
    let mut counted = Counted::read(&row)?;
    let was_locked = counted.locked_until.is_some_and(|until| until > now);
    if !was_locked {
        if now - counted.last_failed_at > LOCKED_FOR || counted.locked_until.is_some() {
            counted.n_failed = 0;
        }
        counted.n_failed += 1;
        counted.locked_until = (counted.n_failed >= MAX_FAILED).then(|| now + LOCKED_FOR);
    }
    let is_locked_now = !was_locked && counted.locked_until.is_some();
    counted.n_untold += 1;
    let is_due = counted.told_at.is_none_or(|at| now - at >= COALESCED);
    if is_due {
        let count = u32::try_from(counted.n_untold).unwrap_or_default();
        outbox::tell(tx, bus, account, &Event::SignInFailed { count, at: now }).await?;
        (counted.n_untold, counted.told_at) = (0, Some(now));
    }
    if let Some(until) = counted.locked_until.filter(|_| is_locked_now) {
        metrics::counter!("colloquy_lockouts_total").increment(1);
        outbox::tell(tx, bus, account, &Event::Locked { until }).await?;
    }
    sqlx::query(
        "update identity.login_attempt
            set n_failed = $2, last_failed_at = $3, locked_until = $4, n_untold = $5, told_at = $6
          where email_key = $1",
    )
    .bind(key.as_slice())
    .bind(counted.n_failed)
    .bind(now)
    .bind(counted.locked_until)
    .bind(counted.n_untold)
    .bind(counted.told_at)
    .execute(tx)
    .await?;
    Ok(was_locked)
}

/// Forgets the failures of an address whose holder has come. Whoever was right while others failed
/// often enough is refused like them, so that trying many at once gains nothing.
///
/// # Errors
/// [`IdentityError::Locked`].
pub(crate) async fn passed(
    tx: &mut PgConnection,
    bus: &Bus,
    key: &Key,
    account: AccountId,
) -> Result<(), IdentityError> {
    let now = bus.now();
    let row = sqlx::query(
        "select n_failed, last_failed_at, locked_until, n_untold, told_at
           from identity.login_attempt where email_key = $1 for update",
    )
    .bind(key.as_slice())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let counted = Counted::read(&row)?;
    refuse(counted.locked_until, now)?;
    if counted.n_untold > 0 {
        let count = u32::try_from(counted.n_untold).unwrap_or_default();
        let failed = Event::SignInFailed { count, at: counted.last_failed_at };
        outbox::tell(tx, bus, Some(account), &failed).await?;
    }
    sqlx::query("delete from identity.login_attempt where email_key = $1")
        .bind(key.as_slice())
        .execute(tx)
        .await?;
    Ok(())
}

/// Lifts the lock of an address whose holder has shown another proof, and forgets its failures.
pub(crate) async fn lift(
    tx: &mut PgConnection,
    bus: &Bus,
    key: &Key,
    account: AccountId,
) -> Result<(), IdentityError> {
    let now = bus.now();
    let until: Option<Option<DateTime<Utc>>> = sqlx::query_scalar(
        "update identity.login_attempt set n_failed = 0, locked_until = null
           from (select locked_until from identity.login_attempt where email_key = $1) was
          where email_key = $1 returning was.locked_until",
    )
    .bind(key.as_slice())
    .fetch_optional(&mut *tx)
    .await?;
    match refuse(until.flatten(), now) {
        Ok(()) => Ok(()),
        Err(_) => outbox::tell(tx, bus, Some(account), &Event::Unlocked { at: now }).await,
    }
}

/// Tells of failures that nothing followed for an hour.
pub(crate) async fn tell_late(tx: &mut PgConnection, bus: &Bus) -> Result<(), IdentityError> {
    let late = sqlx::query(
        "with late as (
           select email_key, account_id, n_untold, last_failed_at from identity.login_attempt
            where n_untold > 0 and told_at <= $1 for update skip locked
         ), told as (
           update identity.login_attempt a set n_untold = 0, told_at = $2
             from late where a.email_key = late.email_key
         )
         select account_id, n_untold, last_failed_at from late",
    )
    .bind(bus.now() - COALESCED)
    .bind(bus.now())
    .fetch_all(&mut *tx)
    .await?;
    for row in late {
        let account: Option<Uuid> = row.try_get("account_id")?;
        let n_untold: i32 = row.try_get("n_untold")?;
        let count = u32::try_from(n_untold).unwrap_or_default();
        let failed = Event::SignInFailed { count, at: row.try_get("last_failed_at")? };
        outbox::tell(tx, bus, account.map(AccountId), &failed).await?;
    }
    Ok(())
}

/// Forgets addresses that have not failed since then.
pub(crate) async fn forget(
    tx: &mut PgConnection,
    since: DateTime<Utc>,
) -> Result<(), IdentityError> {
    sqlx::query("delete from identity.login_attempt where last_failed_at < $1 and n_untold = 0")
        .bind(since)
        .execute(tx)
        .await?;
    Ok(())
}
