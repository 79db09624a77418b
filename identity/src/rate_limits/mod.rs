//! How much may be asked in how long, counted over all processes together (SEC-17 to SEC-24).
//!
//! Each class has a token bucket for each of its subjects, shared in the database; a process takes
//! tokens of the frequent classes in advance, the more the faster it spends them, up to a tenth of a
//! bucket, so that of a rush not every request costs a statement. Together the processes never let more through than the bucket holds and
//! time brings; what one has taken and not spent is missed by the others until time has brought it
//! again.

mod bucket;
mod local;
mod rate;
mod store;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use commands::Bus;
use domain::ids::{AccountId, CompanyId};
use moka::sync::Cache;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub use self::rate::{Class, Rate, RateInvalid, Rates};

use self::bucket::Bucket;
use self::local::{Decision, Local};
use self::store::Key;
use crate::Principal;
use crate::wall::Wall;

/// How long counting may take. After that, and for as long again, it is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Buckets that a process keeps in mind.
const KEPT: u64 = 100_000;
/// How long it does so after their last use: longer than any bucket that is leased from takes to fill.
const IDLE: Duration = Duration::from_secs(600);

/// Whose bucket it is.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'s> {
    /// A person with a login, a candidate, or a program with a key: wherever they come from.
    Principal(&'s Principal),
    /// A person with a login, as [`Subject::Principal`] has them.
    Account(AccountId),
    /// A tenant.
    Company(CompanyId),
    /// Where a request comes from, an IPv6 one by its network of 64 bits, which one subscriber has;
    /// `None` where that cannot be told.
    Address(Option<IpAddr>),
    /// Whom an attempt to enter is about, in the words of whoever attempts it: an address of mail or a
    /// token.
    Named(&'s str),
    /// All workers of the installation.
    Workers,
}

impl Subject<'_> {
    fn text(&self) -> String {
        match self {
            Self::Principal(principal) => match principal.account_id {
                Some(account) => Self::Account(account).text(),
                None => principal.caller.actor.to_string(),
            },
            Self::Account(account) => format!("account:{}", account.0),
            Self::Company(company) => format!("company:{}", company.0),
            Self::Address(None) => "address:".to_owned(),
            Self::Address(Some(address)) => format!("address:{}", network(*address)),
            Self::Named(name) => format!("named:{}", name.trim().to_lowercase()),
            Self::Workers => "workers".to_owned(),
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// How a bucket stands, as far as this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is counted.
    pub class: Class,
    /// Size of the bucket, and how long it takes to fill.
    pub rate: Rate,
    /// Tokens that can be had at once.
    pub remaining: u32,
    /// When it is full, if nobody takes more.
    pub full_in: Duration,
}

/// Why something is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limited {
    /// Too much in too short a time.
    #[error("more than {} of the class {} were asked for", rate, class.as_str())]
    TooMany {
        /// Of what.
        class: Class,
        /// What is allowed.
        rate: Rate,
        /// When it is worth while to try again.
        wait: Duration,
    },
    /// Nobody can count at present, and uncounted it must not pass.
    #[error("it cannot be counted at present how often this was asked")]
    Unavailable,
}

/// The buckets. Clones share what the process has taken in advance.
#[derive(Clone)]
pub struct RateLimits(Arc<Parts>);

struct Parts {
    wall: Wall,
    bus: Arc<Bus>,
    rates: Rates,
    locals: Cache<Key, Arc<Mutex<Local>>>,
    /// Nobody is asked before.
    silent_until: SyncMutex<Option<Instant>>,
}

impl RateLimits {
    /// Buckets of these rates, reached by these connections.
    #[must_use]
    pub fn new(wall: Wall, bus: Arc<Bus>, rates: Rates) -> Self {
        let locals = Cache::builder().max_capacity(KEPT).time_to_idle(IDLE).build();
        Self(Arc::new(Parts { wall, bus, rates, locals, silent_until: SyncMutex::default() }))
    }

    /// Takes `n` tokens of a class from a subject's bucket, all or none, and answers how it stands
    /// then; `None` where nothing is limited or counted. More than a full bucket holds never passes.
    ///
    /// # Errors
    /// [`Limited`].
    pub async fn take(
        &self,
        class: Class,
        subject: Subject<'_>,
        n: u32,
    ) -> Result<Option<Standing>, Limited> {
        let rate = self.0.rates.get(class);
        let Some(bucket) = Bucket::of(rate) else { return Ok(None) };
        if n > bucket.capacity {
            return Err(refused(class, rate, rate.per()));
        }
        let key = self.key(class, subject);
        let local =
            self.0.locals.get_with(key, || Arc::new(Mutex::new(Local::new(Instant::now()))));
        // One asks for all who wait for the same bucket.
        let mut local = local.lock().await;
        let decision = match local.spend(bucket, n, Instant::now()) {
            Decision::Ask => match self
                .ask(&key, bucket, n, local.wish(class.lease(bucket.capacity), Instant::now()))
                .await
            {
                Some(seen) => local.learn(bucket, n, seen, Instant::now()),
                None if class.passes_uncounted() => return Ok(None),
                None => return Err(Limited::Unavailable),
            },
            decision => decision,
        };
        match decision {
            Decision::Passed => {
                let now = Instant::now();
                let remaining = local.remaining(bucket, now);
                Ok(Some(Standing { class, rate, remaining, full_in: local.full_in(now) }))
            }
            Decision::Wait(wait) => Err(refused(class, rate, wait)),
            Decision::Ask => Err(Limited::Unavailable),
        }
    }

    /// How buckets stand, without taking anything; those of classes that are not limited are left out.
    ///
    /// # Errors
    /// [`Limited::Unavailable`].
    pub async fn look(&self, asked: &[(Class, Subject<'_>)]) -> Result<Vec<Standing>, Limited> {
        let buckets: Vec<(Class, Key, Bucket)> = asked
            .iter()
            .filter_map(|(class, subject)| {
                let bucket = Bucket::of(self.0.rates.get(*class))?;
                Some((*class, self.key(*class, *subject), bucket))
            })
            .collect();
        let keys: Vec<Key> = buckets.iter().map(|(_, key, _)| *key).collect();
        let looking = timeout(PATIENCE, store::look(&self.0.wall, &keys)).await;
        let seen = looking.ok().and_then(Result::ok).ok_or(Limited::Unavailable)?;
        let mut standings = Vec::with_capacity(buckets.len());
        for (class, key, bucket) in buckets {
            let full_in = seen.iter().find(|(seen, _)| *seen == key).map(|(_, full_in)| *full_in);
            let full_in = full_in.unwrap_or_default();
            let mut remaining = bucket.free(full_in);
            if let Some(local) = self.0.locals.get(&key) {
                remaining = remaining.saturating_add(local.lock().await.leased(Instant::now()));
            }
            let (rate, remaining) = (self.0.rates.get(class), remaining.min(bucket.capacity));
            standings.push(Standing { class, rate, remaining, full_in });
        }
        Ok(standings)
    }

    fn key(&self, class: Class, subject: Subject<'_>) -> Key {
        let name = format!("{}\0{}", class.as_str(), subject.text());
        self.0.bus.derived_secret("rate-limits", name.as_bytes())
    }

    /// What the shared bucket answers; `None` if it does not.
    async fn ask(&self, key: &Key, bucket: Bucket, n: u32, wish: u32) -> Option<local::Seen> {
        let silent_until = *lock(&self.0.silent_until);
        if silent_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let most = wish.max(n);
        let error = match timeout(PATIENCE, store::take(&self.0.wall, key, bucket, n, most)).await {
            Ok(Ok(seen)) => return Some(seen),
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::warn!(error, "requests cannot be counted");
        *lock(&self.0.silent_until) = Some(Instant::now() + PATIENCE);
        None
    }
}

fn refused(class: Class, rate: Rate, wait: Duration) -> Limited {
    metrics::counter!("colloquy_rate_limited_total", "class" => class.as_str()).increment(1);
    Limited::TooMany { class, rate, wait }
}

fn lock(silent_until: &SyncMutex<Option<Instant>>) -> std::sync::MutexGuard<'_, Option<Instant>> {
    silent_until.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Deletes what is not needed any more, a bounded piece at a time.
///
/// # Errors
/// When the database cannot be reached.
pub(crate) async fn forget(wall: &Wall) -> sqlx::Result<u64> {
    store::forget(wall).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_by_what_one_subscriber_has() {
        let text = |address: &str| {
            let address = address.parse().expect("an address");
            Subject::Address(Some(address)).text()
        };
        assert_eq!(text("2001:db8:1:2:3:4:5:6"), text("2001:db8:1:2:ffff::1"));
        assert_ne!(text("2001:db8:1:2::1"), text("2001:db8:1:3::1"));
        assert_eq!(text("::ffff:192.0.2.7"), text("192.0.2.7"));
        assert_ne!(text("192.0.2.7"), text("192.0.2.8"));
        let named = |name| Subject::Named(name).text();
        assert_eq!(named(" Ada@Example.com"), named("ada@example.com"));
    }
}
