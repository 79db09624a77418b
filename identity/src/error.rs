//! Why somebody may not enter.

use commands::CommandError;
use domain::values::Invalid;

/// Why somebody may not enter, or something could not be arranged.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// E-mail and password do not fit together; which of them is wrong is not told.
    #[error("e-mail or password is wrong")]
    BadCredentials,
    /// The token is none of ours, was changed, or stands for nobody any more.
    #[error("the token is not valid")]
    InvalidToken,
    /// The token was good once.
    #[error("the token has expired")]
    ExpiredToken,
    /// The token was good once, and its session was ended.
    #[error("the session was ended")]
    Revoked,
    /// Too many failures with this address, known or not.
    #[error("signing in with this address failed too often; try again in 15 minutes")]
    Locked,
    /// The password is right, and a second proof is wanted.
    #[error("a second proof is needed")]
    SecondStepNeeded(Box<crate::SecondStep>),
    /// The code is wrong or was used, or the step is over.
    #[error("the code is not right, or not any more")]
    WrongCode,
    /// Whoever runs the platform enters a company only by a session of two proofs.
    #[error("entering a company takes a session that was opened by two proofs")]
    SecondFactorMissing,
    /// A second proof is asked for already.
    #[error("the account asks for a second proof already")]
    SecondFactorOn,
    /// The company has no such key.
    #[error("there is no such key")]
    NoKey,
    /// The company has no provider to sign in by.
    #[error("the company has no provider to sign in by")]
    NoSignOn,
    /// What the provider answered is not to be believed, or names nobody who is invited.
    #[error("the provider's answer does not let anybody in")]
    SignOnRefused,
    /// The provider does not answer as providers do.
    #[error("the company's provider fails")]
    ProviderFailed,
    /// The account has no such session.
    #[error("there is no such session")]
    NoSession,
    /// The person is no active member of the company that was asked for.
    #[error("not a member of that company")]
    NoMember,
    /// There is no such company.
    #[error("there is no such company")]
    NoCompany,
    /// The interview's access token is unknown, expired or taken back.
    #[error("the interview cannot be entered with this token")]
    InvalidAccess,
    /// The invitation is unknown, expired or taken up by another.
    #[error("the invitation is not valid")]
    InvalidInvitation,
    /// So many companies ask to be let in that no more can.
    #[error("too many requests wait to be decided")]
    TooManyRequests,
    /// The token of a letter is unknown, expired or used.
    #[error("the token is not valid any more")]
    InvalidLetter,
    /// The password does not meet the rules, or another field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// What should be recorded was refused.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The database cannot be reached; trying again helps.
    #[error("sign-in is not available at present")]
    Unavailable,
}

impl IdentityError {
    /// The public code, see `schemas/errors.md`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadCredentials => "AUTH_001",
            Self::ExpiredToken => "AUTH_002",
            Self::InvalidToken => "INVALID_TOKEN",
            Self::Revoked => "AUTH_004",
            Self::Locked => "AUTH_LOCKED",
            Self::SecondStepNeeded(_) => "SECOND_STEP_NEEDED",
            Self::WrongCode => "SECOND_FACTOR_WRONG",
            Self::SecondFactorMissing => "SECOND_FACTOR_MISSING",
            Self::SecondFactorOn => "SECOND_FACTOR_ON",
            Self::NoKey => "API_KEY_NOT_FOUND",
            Self::NoSignOn => "SIGN_ON_NOT_CONFIGURED",
            Self::SignOnRefused => "SIGN_ON_REFUSED",
            Self::ProviderFailed => "SIGN_ON_PROVIDER_FAILED",
            Self::NoSession => "SESSION_NOT_FOUND",
            Self::NoMember | Self::NoCompany => "COMPANY_NOT_FOUND",
            Self::InvalidAccess => "INT_002",
            Self::InvalidInvitation => "INVITATION_INVALID",
            Self::TooManyRequests => "COMPANY_REQUESTS_FULL",
            Self::InvalidLetter => "LETTER_INVALID",
            Self::Invalid(_) => "VALIDATION_FAILED",
            Self::Command(error) => error.code(),
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

impl From<sqlx::Error> for IdentityError {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(%error, "identity's tables cannot be reached");
        Self::Unavailable
    }
}
