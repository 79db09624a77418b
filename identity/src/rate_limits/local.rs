//! What one process knows of a bucket that all share: tokens that it took in advance, and until when
//! there are none to be had.

use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;

/// One process' share of one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local {
    /// Tokens taken and not spent.
    leased: u32,
    /// How many that were.
    lease: u32,
    /// When the shared bucket has refilled what was taken: kept longer, they would come on top of it.
    leased_until: Instant,
    /// When the shared bucket was full as it was last seen. Others only put that off.
    full_at: Instant,
}

/// What becomes of a wish for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// They were at hand.
    Passed,
    /// They are not there before this is over, whoever is asked.
    Wait(Duration),
    /// The shared bucket knows.
    Ask,
}

impl Local {
    /// Nothing is known.
    pub fn new(now: Instant) -> Self {
        Self { leased: 0, lease: 0, leased_until: now, full_at: now }
    }

    /// Spends `n` tokens, if it can be decided here.
    pub fn spend(&mut self, bucket: Bucket, n: u32, now: Instant) -> Decision {
        self.leased = self.leased(now);
        if self.leased >= n {
            self.leased -= n;
            return Decision::Passed;
        }
        let wait = bucket.wait(self.full_in(now), n);
        match wait.is_zero() {
            true => Decision::Ask,
            false => Decision::Wait(wait),
        }
    }

    /// How many tokens to ask for at once: one, and twice as many as the last time where those were spent
    /// before time brought them again. So one who asks little holds nothing back from the others.
    pub fn wish(&self, most: u32, now: Instant) -> u32 {
        let wish = if self.leased_until <= now { 1 } else { self.lease.saturating_mul(2) };
        wish.min(most).max(1)
    }

    /// Takes in what the shared bucket answered to a wish for `n` tokens, and spends them if they came.
    pub fn learn(&mut self, bucket: Bucket, n: u32, seen: Seen, now: Instant) -> Decision {
        self.full_at = now + seen.full_in;
        match seen.granted.checked_sub(n) {
            Some(rest) => {
                (self.leased, self.lease) = (rest, seen.granted);
                self.leased_until = now + bucket.time_of(seen.granted);
                Decision::Passed
            }
            // The last missing part may have come while the answer was on its way.
            None => Decision::Wait(bucket.wait(seen.full_in, n).max(Duration::from_micros(1))),
        }
    }

    /// Tokens that were taken and can still be spent.
    pub fn leased(&self, now: Instant) -> u32 {
        if self.leased_until <= now { 0 } else { self.leased }
    }

    /// Tokens that can be had here, as far as is known.
    pub fn remaining(&self, bucket: Bucket, now: Instant) -> u32 {
        let free = bucket.free(self.full_in(now));
        free.saturating_add(self.leased(now)).min(bucket.capacity)
    }

    /// When the bucket is full again, if nobody takes more.
    pub fn full_in(&self, now: Instant) -> Duration {
        self.full_at.saturating_duration_since(now)
    }
}

/// What a shared bucket answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Tokens that it gave.
    pub granted: u32,
    /// How long until it is full.
    pub full_in: Duration,
}

#[cfg(test)]
mod tests {
    use super::super::Rate;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A shared bucket and processes that draw on it.
    struct Shared {
        bucket: Bucket,
        full_at: Instant,
        n_asked: u32,
    }

    impl Shared {
        fn ask(&mut self, n: u32, lease: u32, now: Instant) -> Seen {
            self.n_asked += 1;
            let full_in = self.full_at.saturating_duration_since(now);
            let (granted, full_in) = self.bucket.take(full_in, n, lease.max(n));
            self.full_at = now + full_in;
            Seen { granted, full_in }
        }

        fn pass(&mut self, local: &mut Local, most: u32, now: Instant) -> bool {
            let decided = match local.spend(self.bucket, 1, now) {
                Decision::Ask => {
                    let seen = self.ask(1, local.wish(most, now), now);
                    local.learn(self.bucket, 1, seen, now)
                }
                decided => decided,
            };
            decided == Decision::Passed
        }
    }

    fn shared(limit: u32, now: Instant) -> Shared {
        let bucket = Bucket::of(Rate::new(limit, 60)).expect("limited");
        Shared { bucket, full_at: now, n_asked: 0 }
    }

    #[tokio::test]
    async fn a_process_alone_that_hurries_gives_the_whole_bucket_for_few_questions() {
        let now = Instant::now();
        let (mut shared, mut local) = (shared(100, now), Local::new(now));
        let n = (0..150).filter(|_| shared.pass(&mut local, 10, now)).count();
        assert_eq!(n, 100);
        assert_eq!(shared.n_asked, 13, "1, 2, 4, 8, 10 and so on, and not for what was refused");
        assert_eq!(local.remaining(shared.bucket, now), 0);
        let later = now + MINUTE / 100;
        assert!(shared.pass(&mut local, 10, later), "one has come");
        assert!(!shared.pass(&mut local, 10, later));
    }

    #[tokio::test]
    async fn two_processes_together_never_give_more_than_the_bucket_and_what_time_brings() {
        let start = Instant::now();
        let mut shared = shared(100, start);
        let mut locals = [Local::new(start), Local::new(start)];
        let mut n_passed = 0;
        for n in 0..3000_u32 {
            // Five at a time.
            let now = start + MINUTE / 6000 * (n / 5 * 5);
            for (i, local) in locals.iter_mut().enumerate() {
                if (n as usize).is_multiple_of(i + 1) && shared.pass(local, 10, now) {
                    n_passed += 1;
                }
            }
            let brought = (now - start).as_micros() / 600_000;
            assert!(n_passed <= 100 + brought, "{n_passed} after {n}");
        }
        assert!(n_passed >= 130, "{n_passed}: no more is held back than two leases");
    }

    #[tokio::test]
    async fn four_processes_that_ask_in_turn_for_six_tenths_of_the_rate_are_never_refused() {
        let start = Instant::now();
        let mut shared = shared(100, start);
        let mut locals = [Local::new(start); 4];
        for n in 0..3000_u32 {
            let now = start + MINUTE / 60 * n;
            assert!(shared.pass(&mut locals[n as usize % 4], 10, now), "request {n}");
        }
    }

    #[tokio::test]
    async fn tokens_that_lay_about_until_the_bucket_was_full_again_are_worth_nothing() {
        let now = Instant::now();
        let (mut shared, mut local) = (shared(100, now), Local::new(now));
        assert!(shared.pass(&mut local, 10, now) && shared.pass(&mut local, 10, now));
        assert_eq!(local.leased(now), 1);
        let later = now + MINUTE;
        assert_eq!(local.spend(shared.bucket, 1, later), Decision::Ask);
    }

    #[tokio::test]
    async fn whoever_is_refused_is_told_when_it_is_worth_while() {
        let now = Instant::now();
        let (mut shared, mut local) = (shared(60, now), Local::new(now));
        while shared.pass(&mut local, 1, now) {}
        let Decision::Wait(wait) = local.spend(shared.bucket, 1, now) else { panic!("empty") };
        assert_eq!(wait, Duration::from_secs(1));
        let Decision::Wait(wait) = local.spend(shared.bucket, 3, now) else { panic!("empty") };
        assert_eq!(wait, Duration::from_secs(3));
    }
}
