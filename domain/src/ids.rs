//! The registry of id kinds, one line each: a bare `Uuid` never stands in a signature of the rules.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text given was not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of kind {prefix}")]
pub struct InvalidId {
    /// Prefix of the expected kind, such as `intv`.
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What the printed form starts with.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|rest| rest.len() == 32)
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or(InvalidId { prefix: $prefix })
            }
        }
    )*};
}

ids! {
    /// One login, which belongs to no company.
    AccountId = "acct";
    /// Results of model calls about one interview, résumé or task; shares the id of what it is about.
    AiCallId = "aicl";
    /// One key by which a program of a company comes in.
    ApiKeyId = "akey";
    /// One candidate for one job.
    ApplicationId = "appl";
    /// One person's record in one company.
    CandidateId = "cand";
    /// A tenant. The nil id stands for what belongs to no company.
    CompanyId = "comp";
    /// A company that asks to be let onto the platform.
    CompanyRequestId = "creq";
    /// One interview round.
    InterviewId = "intv";
    /// One job description with its questions and rubric.
    JobId = "jobd";
    /// One person of a company.
    MemberId = "memb";
    /// Insights and integrity flags of one interview; shares the interview's id.
    ObservationId = "obsv";
    /// One question of a job, or one asked in an interview.
    QuestionId = "ques";
    /// One answer recorded in an interview.
    AnswerId = "answ";
    /// One custom role of a company.
    RoleId = "role";
    /// One uploaded résumé.
    ResumeId = "resm";
    /// One verdict on one interview.
    VerdictId = "vrdt";
}

impl CompanyId {
    /// The tenant of what belongs to no company.
    pub const NONE: Self = Self(Uuid::nil());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_what_it_names_and_is_read_back() {
        let id = InterviewId(Uuid::from_u128(7));
        assert_eq!(id.to_string(), "intv_00000000000000000000000000000007");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn an_id_of_another_kind_or_form_is_refused() {
        let invalid = Err(InvalidId { prefix: "intv" });
        for text in ["", "intv_", "vrdt_00000000000000000000000000000007", "intv_\u{0}", "7"] {
            assert_eq!(text.parse::<InterviewId>(), invalid, "{text:?}");
        }
        assert_eq!("intv_00000000-0000-0000-0000-000000000007".parse::<InterviewId>(), invalid);
    }
}
