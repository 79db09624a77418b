//! Why a command did not go through: whose fault it is, and whether trying again helps.

use domain::PublicCode;
use domain::claims::Kind;
use eventlog::envelope::Version;

/// Why a command did not go through. Nothing was written, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A rule forbids it.
    #[error("{0}")]
    Refused(Box<dyn PublicCode + Send + Sync>),
    /// The caller has no right to it.
    #[error("not allowed")]
    Forbidden,
    /// The client's expected version is not the one found.
    #[error("the version is {found}, not {expected}")]
    VersionConflict {
        /// What the client expected.
        expected: Version,
        /// What it is.
        found: Version,
    },
    /// The command id was used with another body.
    #[error("the command id was used before with another input")]
    CommandIdReused,
    /// What must be unique is held by another.
    #[error("{}", kind.refusal())]
    Taken {
        /// What.
        kind: Kind,
    },
    /// The person that the command is about was forgotten.
    #[error("the person was erased")]
    SubjectErased,
    /// The events would be larger than events may be.
    #[error("the input is too large")]
    TooLarge,
    /// The history was written by a newer version of the product.
    #[error("the record was written by a newer version of the product")]
    NewerHistory,
    /// Others changed the same again and again; trying again helps.
    #[error("the record is being changed by others, try again")]
    Contended,
    /// The log cannot be reached; trying again helps.
    #[error("the record cannot be reached at present, try again")]
    Unavailable,
    /// It may have been written: sending the same command again tells.
    #[error("it is not known whether the command was carried out; send it again with the same id")]
    OutcomeUnknown,
    /// The history cannot be read. Details are logged where it happened.
    #[error("the record cannot be read")]
    Unreadable,
}

impl CommandError {
    /// The public code, see `schemas/errors.md`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Forbidden => "AUTH_003",
            Self::VersionConflict { .. } => "VERSION_CONFLICT",
            Self::CommandIdReused => "COMMAND_ID_REUSED",
            Self::Taken { kind } => kind.code(),
            Self::SubjectErased => "SUBJECT_ERASED",
            Self::TooLarge => "TOO_LARGE",
            Self::NewerHistory => "NEWER_HISTORY",
            Self::Contended => "CONTENDED",
            Self::Unavailable => "UNAVAILABLE",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::Unreadable => "INTERNAL_ERROR",
        }
    }

    /// Whether sending the same command again can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Contended | Self::Unavailable | Self::OutcomeUnknown)
    }
}
