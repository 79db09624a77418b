//! Small values: parsed once, valid ever after.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value that a field cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// The field's public name.
    pub field: &'static str,
    /// What is wrong, for the person who sent it.
    pub why: String,
}

impl crate::PublicCode for Invalid {
    fn code(&self) -> &'static str {
        "VALIDATION_FAILED"
    }
}

/// A line of at most 255 characters, not empty.
///
/// # Errors
/// [`Invalid`] names the field and what is wrong with it.
pub fn line(field: &'static str, text: &str) -> Result<String, Invalid> {
    short_line(field, text, 255)
}

/// One line of at most `max` characters, not empty.
///
/// # Errors
/// [`Invalid`] names the field and what is wrong with it.
pub fn short_line(field: &'static str, text: &str, max: usize) -> Result<String, Invalid> {
    let text = bounded(field, text, max)?;
    if text.chars().any(char::is_control) {
        return Err(Invalid { field, why: "must not contain control characters".into() });
    }
    Ok(text)
}

/// A text of at most `max` characters, not empty; NUL is refused, other white space stays.
///
/// # Errors
/// [`Invalid`] names the field and what is wrong with it.
pub fn bounded(field: &'static str, text: &str, max: usize) -> Result<String, Invalid> {
    let text = text.trim();
    if text.chars().all(is_invisible) {
        return Err(Invalid { field, why: "must not be empty".into() });
    }
    if text.contains('\0') {
        return Err(Invalid { field, why: "must not contain NUL".into() });
    }
    let n_chars = text.chars().count();
    if n_chars > max {
        return Err(Invalid { field, why: format!("has {n_chars} characters, at most {max}") });
    }
    Ok(text.to_owned())
}

/// White space, and what takes no space at all: a text of nothing else is empty to its reader.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Longest answer, in characters.
pub const MAX_ANSWER_CHARS: usize = 20_000;
/// Longest job description, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 20_000;
/// Longest note, reason, feedback or question, in characters.
pub const MAX_NOTE_CHARS: usize = 5_000;

/// An e-mail address in the form in which it is compared: trimmed, lower case.
///
/// # Errors
/// [`Invalid`] when it has not the form of an address or more than 255 characters.
pub fn email(field: &'static str, text: &str) -> Result<String, Invalid> {
    let text = line(field, text)?.to_lowercase();
    let well_formed = text.split_once('@').is_some_and(|(local, host)| {
        !local.is_empty()
            && host.contains('.')
            && !host.starts_with('.')
            && !host.ends_with('.')
            && !host.contains('@')
            && !text.contains(char::is_whitespace)
    });
    if well_formed {
        Ok(text)
    } else {
        Err(Invalid { field, why: "is not an e-mail address".into() })
    }
}

macro_rules! decimals {
    ($($(#[$doc:meta])* $name:ident($unit:ty) = $scale:literal, $min:literal ..= $max:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name($unit);

        impl $name {
            /// Reads a number, rounded to the steps of this kind.
            ///
            /// # Errors
            /// [`Invalid`] when it is out of range or not a number.
            pub fn parse(field: &'static str, number: f64) -> Result<Self, Invalid> {
                if !(f64::from($min)..=f64::from($max)).contains(&number) {
                    let why = format!("must be between {} and {}", $min, $max);
                    return Err(Invalid { field, why });
                }
                #[expect(
                    clippy::cast_possible_truncation, clippy::cast_sign_loss,
                    reason = "the range was checked above"
                )]
                Ok(Self((number * f64::from($scale)).round() as $unit))
            }

            /// The number.
            #[must_use]
            pub fn get(self) -> f64 {
                f64::from(self.0) / f64::from($scale)
            }
        }

        impl TryFrom<f64> for $name {
            type Error = Invalid;

            fn try_from(number: f64) -> Result<Self, Invalid> {
                Self::parse(stringify!($name), number)
            }
        }

        impl From<$name> for f64 {
            fn from(value: $name) -> Self {
                value.get()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.get())
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "number", "minimum": $min, "maximum": $max })
            }
        }
    )*};
}

decimals! {
    /// A machine's score, 0 to 100 in steps of 0.01.
    Score(u16) = 100, 0.0 ..= 100.0;
    /// A machine's confidence or a share, 0 to 1 in steps of 0.001.
    Share(u16) = 1000, 0.0 ..= 1.0;
    /// Weight of a rubric dimension, 0.001 to 1000 in steps of 0.001; normalised when used.
    Weight(u32) = 1000, 0.001 ..= 1000.0;
}

/// A person's score, 1 to 10, kept as entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "u8", into = "u8")]
pub struct HumanScore(#[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10)))] u8);

impl HumanScore {
    /// Reads a score.
    ///
    /// # Errors
    /// [`Invalid`] when it is not between 1 and 10.
    pub fn parse(field: &'static str, number: i64) -> Result<Self, Invalid> {
        match u8::try_from(number) {
            Ok(score @ 1..=10) => Ok(Self(score)),
            _ => Err(Invalid { field, why: "must be between 1 and 10".into() }),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for HumanScore {
    type Error = Invalid;

    fn try_from(number: u8) -> Result<Self, Invalid> {
        Self::parse("score", i64::from(number))
    }
}

impl From<HumanScore> for u8 {
    fn from(score: HumanScore) -> Self {
        score.0
    }
}

/// Weighted mean, normalised by the sum of the weights given (80 at 0.3 and 70 at 0.2 make 76.0);
/// `None` when nothing was scored.
#[must_use]
pub fn weighted_mean(scores: &[(Score, Weight)]) -> Option<Score> {
    let total: u64 = scores.iter().map(|(_, weight)| u64::from(weight.0)).sum();
    let sum: u64 = scores.iter().map(|(s, w)| u64::from(s.0) * u64::from(w.0)).sum();
    let mean = (sum + total / 2).checked_div(total)?;
    u16::try_from(mean).ok().map(Score)
}

/// Where an AI result comes from; everything else about the call is found by its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Provenance {
    /// The recorded call.
    pub call_id: uuid::Uuid,
    /// Such as `openai`, or `rules` for the built-in one.
    pub provider: String,
    /// The model's name.
    pub model: String,
    /// Version of the prompt, or of the rules.
    pub prompt_version: String,
    /// Whether it came from another provider than the first of the list.
    pub fallback: bool,
}

/// Spelling shared by the log, the read models and the API for each value of an enum.
pub trait Spelled: Sized + Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];
    /// The stored and public spelling, upper snake case.
    fn as_str(self) -> &'static str;
    /// Reads the spelling.
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.as_str() == text)
    }
}

/// Declares an enum whose values have one stored and public spelling. Attributes beside the
/// documentation, such as further derives, go to the enum.
#[macro_export]
macro_rules! spelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, serde::Deserialize,
        )]
        pub enum $name {
            $($(#[$value_doc])* #[serde(rename = $text)] $value,)*
        }

        impl $crate::values::Spelled for $name {
            const ALL: &'static [Self] = &[$(Self::$value,)*];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overall_score_is_the_mean_weighted_by_the_weights_given() {
        let score = |s| Score::parse("score", s).expect("in range");
        let weight = |w| Weight::parse("weight", w).expect("in range");
        let pair = [(score(80.0), weight(0.3)), (score(70.0), weight(0.2))];
        assert_eq!(weighted_mean(&pair), Some(score(76.0)));
        assert_eq!(weighted_mean(&[]), None);
    }

    #[test]
    fn a_score_out_of_range_is_refused() {
        for number in [-0.01, 100.01, f64::NAN, f64::INFINITY] {
            assert!(Score::parse("score", number).is_err(), "{number}");
        }
        for number in [0, 11, -1, i64::MAX] {
            assert!(HumanScore::parse("score", number).is_err(), "{number}");
        }
    }

    #[test]
    fn an_email_is_compared_in_lower_case() {
        assert_eq!(email("email", " Ada@Example.COM "), Ok("ada@example.com".into()));
        for text in ["", "ada", "ada@", "@example.com", "a b@example.com", "a@b@c.d", "a@.com"] {
            assert!(email("email", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn text_with_nul_or_too_long_is_refused() {
        assert!(bounded("notes", "a\0b", 10).is_err());
        assert!(bounded("notes", "\u{200b} \u{feff}", 10).is_err());
        assert!(bounded("notes", "ünïcödé!!!!", 10).is_err());
        assert_eq!(bounded("notes", " ünïcödé ", 10), Ok("ünïcödé".into()));
    }
}
