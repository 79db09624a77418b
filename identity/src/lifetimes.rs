//! How long tokens and sessions live (C01).

use chrono::TimeDelta;

/// Longest life of an access token: a signing key that is retired verifies so long.
pub(crate) const LONGEST_ACCESS: TimeDelta = TimeDelta::minutes(60);
/// Longest time in which a session is prolonged.
const LONGEST_SESSION: TimeDelta = TimeDelta::days(90);

/// How long what lives. A right that is taken away is gone within a second all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    pub(crate) access: TimeDelta,
    pub(crate) interview: TimeDelta,
    pub(crate) refresh: TimeDelta,
}

/// What is no lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access tokens live 1 to 60 minutes, and sessions 1 to 90 days without being prolonged")]
pub struct LifetimeInvalid;

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            access: TimeDelta::minutes(15),
            interview: TimeDelta::minutes(60),
            refresh: TimeDelta::days(7),
        }
    }
}

impl Lifetimes {
    /// Of a person's access token, of one for an interview, which is renewed with the interview's own,
    /// and of a refresh token.
    ///
    /// # Errors
    /// [`LifetimeInvalid`].
    pub fn new(
        access: TimeDelta,
        interview: TimeDelta,
        refresh: TimeDelta,
    ) -> Result<Self, LifetimeInvalid> {
        let is_within = |life: TimeDelta, least: TimeDelta, most| (least..=most).contains(&life);
        let minute = TimeDelta::minutes(1);
        let is_valid = is_within(access, minute, LONGEST_ACCESS)
            && is_within(interview, minute, LONGEST_ACCESS)
            && is_within(refresh, TimeDelta::days(1), LONGEST_SESSION);
        is_valid.then_some(Self { access, interview, refresh }).ok_or(LifetimeInvalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_outlive_a_retired_key_is_no_lifetime() {
        let lives = |access, interview, days| {
            let minutes = TimeDelta::minutes;
            Lifetimes::new(minutes(access), minutes(interview), TimeDelta::days(days))
        };
        assert_eq!(lives(15, 60, 7), Ok(Lifetimes::default()));
        for (access, interview, days) in
            [(0, 60, 7), (61, 60, 7), (15, 61, 7), (15, 0, 7), (15, 60, 0), (15, 60, 91)]
        {
            assert_eq!(lives(access, interview, days), Err(LifetimeInvalid));
        }
    }
}
