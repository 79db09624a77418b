//! How much of what may be asked: the classes, and a rate for each, which is a setting.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is counted apart from all else, each in buckets of its own subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Requests of one person or program.
    User,
    /// Requests of all of a company.
    Company,
    /// Requests of strangers from one address.
    Anonymous,
    /// Attempts to sign in, and the like, with one address of mail or one token.
    SignInAccount,
    /// The same from one network address.
    SignInAddress,
    /// Fields that let a model work.
    Ai,
    /// Files of one person or program.
    Upload,
    /// Files of one candidate.
    CandidateUpload,
    /// Interviews started.
    InterviewStart,
    /// Letters that a person of a company has sent to others.
    Letter,
    /// Sockets opened.
    Socket,
    /// Calls to models that all workers make together.
    AiCall,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 12] = [
        Self::User,
        Self::Company,
        Self::Anonymous,
        Self::SignInAccount,
        Self::SignInAddress,
        Self::Ai,
        Self::Upload,
        Self::CandidateUpload,
        Self::InterviewStart,
        Self::Letter,
        Self::Socket,
        Self::AiCall,
    ];

    /// Its name in keys, headers and measurements.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Company => "company",
            Self::Anonymous => "anonymous",
            Self::SignInAccount => "sign_in_account",
            Self::SignInAddress => "sign_in_address",
            Self::Ai => "ai",
            Self::Upload => "upload",
            Self::CandidateUpload => "candidate_upload",
            Self::InterviewStart => "interview_start",
            Self::Letter => "letter",
            Self::Socket => "socket",
            Self::AiCall => "ai_call",
        }
    }

    /// How many tokens a process takes at once at most from a bucket of this size. Requests are many, so
    /// that of a rush every tenth only costs a statement. What is rare or guards a secret is counted one
    /// by one.
    pub(super) fn lease(self, capacity: u32) -> u32 {
        match self {
            Self::User | Self::Company | Self::Anonymous => (capacity / 10).max(1),
            _ => 1,
        }
    }

    /// Whether it is let through while nobody can count: that counting fails or is slow must not keep
    /// everybody out, and what the requests then ask is bounded by connections of their own. A secret
    /// must not be guessed at, nor a model kept busy, because counting fails.
    pub(super) fn passes_uncounted(self) -> bool {
        matches!(self, Self::User | Self::Company | Self::Anonymous | Self::Socket)
    }
}

/// So many in so long, or without an end: a bucket of `limit` tokens that fills evenly, whole in `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    limit: u32,
    per: Duration,
}

/// What is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a rate such as 100/min, 10/5min, 3/h, or off")]
pub struct RateInvalid;

impl Rate {
    /// Nothing is limited.
    pub const OFF: Self = Self { limit: 0, per: Duration::from_secs(1) };

    /// `limit` in `seconds`. Zero of either limits nothing.
    #[must_use]
    pub const fn new(limit: u32, seconds: u32) -> Self {
        if limit == 0 || seconds == 0 {
            return Self::OFF;
        }
        Self { limit, per: Duration::from_secs(seconds as u64) }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_off(self) -> bool {
        self.limit == 0
    }

    /// Size of the bucket.
    #[must_use]
    pub fn limit(self) -> u32 {
        self.limit
    }

    /// How long an empty bucket takes to fill.
    #[must_use]
    pub fn per(self) -> Duration {
        self.per
    }
}

impl FromStr for Rate {
    type Err = RateInvalid;

    fn from_str(text: &str) -> Result<Self, RateInvalid> {
        let text = text.trim();
        if text == "off" || text == "0" {
            return Ok(Self::OFF);
        }
        let (limit, per) = text.split_once('/').ok_or(RateInvalid)?;
        let limit: u32 = limit.trim().parse().map_err(|_| RateInvalid)?;
        let per = per.trim();
        let unit_at = per.find(|c: char| !c.is_ascii_digit()).ok_or(RateInvalid)?;
        let (count, unit) = per.split_at(unit_at);
        let count: u32 = match count {
            "" => 1,
            count => count.parse().map_err(|_| RateInvalid)?,
        };
        let unit = match unit {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return Err(RateInvalid),
        };
        let seconds = count.checked_mul(unit).filter(|seconds| (1..=86_400).contains(seconds));
        Ok(Self::new(limit, seconds.ok_or(RateInvalid)?))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_off() {
            return f.write_str("off");
        }
        let seconds = self.per.as_secs();
        let (count, unit) = match seconds {
            s if s % 3600 == 0 => (s / 3600, "h"),
            s if s % 60 == 0 => (s / 60, "min"),
            s => (s, "s"),
        };
        match count {
            1 => write!(f, "{}/{unit}", self.limit),
            _ => write!(f, "{}/{count}{unit}", self.limit),
        }
    }
}

impl TryFrom<String> for Rate {
    type Error = RateInvalid;

    fn try_from(text: String) -> Result<Self, RateInvalid> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

/// The rate of each class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates([Rate; Class::ALL.len()]);

impl Rates {
    /// No class is limited.
    pub const OFF: Self = Self([Rate::OFF; Class::ALL.len()]);

    /// What a function says of each class.
    #[must_use]
    pub fn of(rate: impl Fn(Class) -> Rate) -> Self {
        Self(Class::ALL.map(rate))
    }

    /// The rate of a class.
    #[must_use]
    pub fn get(&self, class: Class) -> Rate {
        self.0[class as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        for (text, limit, seconds) in
            [("100/min", 100, 60), ("10/5min", 10, 300), ("3/h", 3, 3600), ("7/90s", 7, 90)]
        {
            let rate: Rate = text.parse().expect(text);
            assert_eq!((rate.limit(), rate.per().as_secs()), (limit, seconds));
            assert_eq!(rate.to_string(), text);
        }
        for text in ["off", "0", "0/min"] {
            assert_eq!(text.parse(), Ok(Rate::OFF));
        }
        for text in ["", "100", "/min", "1/", "1/0s", "1/day", "-1/min", "1/25h", "9/4294967295h"] {
            assert_eq!(text.parse::<Rate>(), Err(RateInvalid), "{text}");
        }
    }

    #[test]
    fn every_class_has_the_rate_that_was_said_of_it() {
        let rates = Rates::of(|class| Rate::new(class as u32 + 1, 60));
        for (class, n) in Class::ALL.into_iter().zip(1..) {
            assert_eq!(rates.get(class).limit(), n, "{class:?}");
        }
    }
}
