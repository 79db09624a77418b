//! The buckets that all processes share: a row each, by the database's clock.

use std::time::Duration;

use sqlx::Row;

use super::bucket::Bucket;
use super::local::Seen;
use crate::wall::{About, Wall};

/// A bucket's name: no address, no person.
pub(super) type Key = [u8; 32];

/// Rows that are deleted at once.
const AT_ONCE: i64 = 1000;

/// Takes `most` tokens, or as many as there are, unless they are fewer than `least`. One statement, the
/// same arithmetic as [`Bucket`]; several at once queue for the row.
pub(super) async fn take(
    wall: &Wall,
    key: &Key,
    bucket: Bucket,
    least: u32,
    most: u32,
) -> sqlx::Result<Seen> {
    let row = sqlx::query(
        "insert into identity.rate_bucket as bucket (bucket_key, full_at, n_granted)
         select $1, clock_timestamp() + n * $3::bigint * interval '1 microsecond', n
           from (select case when $2::bigint >= $4::bigint then least($2::bigint, $5::bigint) else 0 end as n) as first
         on conflict (bucket_key) do update set (full_at, n_granted) = (
           select greatest(bucket.full_at, now) + n * $3::bigint * interval '1 microsecond', n
             from (select now, case when free >= $4::bigint then least(free, $5::bigint) else 0 end as n
                     from (select now, ($2::bigint * $3::bigint - greatest(0, extract(epoch from bucket.full_at - now)
                                                              * 1000000)::bigint) / $3::bigint as free
                             from (select clock_timestamp() as now) as clock) as seen) as taken)
         returning n_granted,
                   greatest(0, extract(epoch from full_at - clock_timestamp()) * 1000000)::bigint
                     as full_in_us",
    )
    .bind(key.as_slice())
    .bind(i64::from(bucket.capacity))
    .bind(i64::try_from(bucket.step_us).unwrap_or(i64::MAX))
    .bind(i64::from(least))
    .bind(i64::from(most))
    .fetch_one(&mut *wall.of(About::nobody()).await?)
    .await?;
    let granted: i64 = row.try_get("n_granted")?;
    Ok(Seen { granted: u32::try_from(granted).unwrap_or(0), full_in: full_in(&row)? })
}

/// How long until these buckets are full; those that are have no row or an old one.
pub(super) async fn look(wall: &Wall, keys: &[Key]) -> sqlx::Result<Vec<(Key, Duration)>> {
    let keys: Vec<&[u8]> = keys.iter().map(<[u8; 32]>::as_slice).collect();
    let rows = sqlx::query(
        "select bucket_key,
                greatest(0, extract(epoch from full_at - clock_timestamp()) * 1000000)::bigint
                  as full_in_us
           from identity.rate_bucket where bucket_key = any($1)",
    )
    .bind(keys)
    .fetch_all(&mut *wall.of(About::nobody()).await?)
    .await?;
    rows.iter()
        .map(|row| {
            let key: Vec<u8> = row.try_get("bucket_key")?;
            let key = key.try_into().unwrap_or_default();
            Ok((key, full_in(row)?))
        })
        .collect()
}

fn full_in(row: &sqlx::postgres::PgRow) -> sqlx::Result<Duration> {
    let us: i64 = row.try_get("full_in_us")?;
    Ok(Duration::from_micros(u64::try_from(us).unwrap_or(0)))
}

/// Deletes buckets that are full again, which is as good as never used; at most a thousand. Answers
/// how many.
pub(super) async fn forget(wall: &Wall) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "delete from identity.rate_bucket where bucket_key in (
           select bucket_key from identity.rate_bucket
            where full_at < now() order by full_at limit $1 for update skip locked)",
    )
    .bind(AT_ONCE)
    .execute(&mut *wall.of(About::nobody()).await?)
    .await?;
    Ok(deleted.rows_affected())
}
