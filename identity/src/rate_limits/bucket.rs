//! The arithmetic of a token bucket.
//!
//! A bucket is one number: how long until it is full. Each token that is taken puts that off by one
//! step, and time brings it nearer, so that a bucket refills evenly without anybody counting, never
//! holds less than nothing, and is forgotten once it is full (the generic cell rate algorithm of ATM's
//! traffic management). All in whole microseconds, so that the database reckons alike.

use std::time::Duration;

use super::Rate;

/// The size of a bucket, and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Tokens of a full one.
    pub capacity: u32,
    /// Microseconds for one token.
    pub step_us: u64,
}

impl Bucket {
    /// That of a rate; `None` where nothing is limited.
    pub fn of(rate: Rate) -> Option<Self> {
        if rate.is_off() {
            return None;
        }
        let per_us = u64::try_from(rate.per().as_micros()).unwrap_or(u64::MAX);
        Some(Self { capacity: rate.limit(), step_us: (per_us / u64::from(rate.limit())).max(1) })
    }

    /// The time in which `n` tokens come.
    pub fn time_of(self, n: u32) -> Duration {
        Duration::from_micros(self.step_us.saturating_mul(u64::from(n)))
    }

    /// Tokens in a bucket that is full in this time.
    pub fn free(self, full_in: Duration) -> u32 {
        let left = self.time_of(self.capacity).saturating_sub(full_in);
        let n = u64::try_from(left.as_micros()).unwrap_or(u64::MAX) / self.step_us;
        u32::try_from(n).unwrap_or(u32::MAX)
    }

    /// How long until a bucket that is full in this time holds `n` tokens; nothing if it does, and
    /// until it is full where it never will.
    pub fn wait(self, full_in: Duration, n: u32) -> Duration {
        let filled_up_to = self.time_of(self.capacity).saturating_sub(self.time_of(n));
        full_in.saturating_sub(filled_up_to)
    }

    /// Takes `most` tokens, or as many as there are, from a bucket that is full in this time, and
    /// answers how many and when it is full then. Fewer than `least` are left where they are.
    #[cfg(test)]
    pub fn take(self, full_in: Duration, least: u32, most: u32) -> (u32, Duration) {
        let n = match self.free(full_in) {
            free if free >= least => free.min(most),
            _ => 0,
        };
        (n, full_in + self.time_of(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(limit: u32, seconds: u32) -> Bucket {
        Bucket::of(Rate::new(limit, seconds)).expect("limited")
    }

    #[test]
    fn a_full_bucket_gives_exactly_its_size_and_then_one_a_step() {
        for (limit, seconds) in [(1, 1), (5, 60), (7, 60), (100, 60), (1000, 60), (3, 3600)] {
            let bucket = bucket(limit, seconds);
            let mut full_in = Duration::ZERO;
            for n in 0..limit {
                let (taken, then) = bucket.take(full_in, 1, 1);
                assert_eq!(taken, 1, "token {n} of {limit}");
                full_in = then;
            }
            assert_eq!(bucket.take(full_in, 1, 1), (0, full_in), "{limit}");
            let wait = bucket.wait(full_in, 1);
            assert!(!wait.is_zero() && wait <= bucket.time_of(1));
            assert_eq!(bucket.free(full_in - wait), 1);
            assert_eq!(bucket.free(full_in - wait + Duration::from_micros(1)), 0);
        }
    }

    #[test]
    fn in_any_time_no_more_passes_than_a_full_bucket_and_what_time_brings() {
        // A plain generator, so that the runs are many and always the same.
        let mut seed = 0x9e37_79b9_u64;
        let mut next = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for _ in 0..200 {
            let bucket = bucket(1 + next(200) as u32, 1 + next(3600) as u32);
            let (mut full_in, mut passed, mut elapsed) = (Duration::ZERO, 0_u64, Duration::ZERO);
            for _ in 0..500 {
                let pause = Duration::from_micros(next(bucket.step_us * 3));
                (elapsed, full_in) = (elapsed + pause, full_in.saturating_sub(pause));
                let least = 1 + next(4) as u32;
                let (n, then) = bucket.take(full_in, least, least + next(10) as u32);
                assert!(n == 0 || n >= least);
                passed += u64::from(n);
                full_in = then;
                assert!(full_in <= bucket.time_of(bucket.capacity), "less than nothing");
                let brought = elapsed.as_micros() / u128::from(bucket.step_us);
                assert!(u128::from(passed) <= u128::from(bucket.capacity) + brought);
            }
        }
    }

    #[test]
    fn who_asks_for_more_than_a_bucket_holds_waits_until_it_is_full_and_gets_none() {
        let bucket = bucket(5, 60);
        let full_in = Duration::from_secs(12);
        assert_eq!(bucket.take(full_in, 6, 6), (0, full_in));
        assert_eq!(bucket.wait(full_in, 6), full_in);
        assert_eq!(bucket.wait(full_in, 5), full_in);
        assert_eq!(bucket.wait(full_in, 4), Duration::ZERO);
    }

    #[test]
    fn a_bucket_that_was_larger_before_holds_nothing_rather_than_less() {
        let bucket = bucket(5, 60);
        assert_eq!(bucket.free(Duration::from_secs(3600)), 0);
        assert_eq!(bucket.wait(Duration::from_secs(3600), 1), Duration::from_secs(3600 - 48));
    }
}
