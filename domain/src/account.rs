//! An account: one login. Credentials are rows of `identity`; here stands what happened.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::ids::{AccountId, ApiKeyId, CompanyId};
use crate::permission::{Action, Relation};
use crate::personal::{Personal, Subject};
use crate::spelled;
use crate::values::{self, Invalid};

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// What somebody who signed in has proved.
    SignInMethod {
        /// The password.
        Password = "PASSWORD",
        /// An invitation, with the password.
        Invitation = "INVITATION",
        /// The letter of who registers as a candidate, with the password.
        Registration = "REGISTRATION",
        /// The password, and a code of an authenticator.
        PasswordAndCode = "PASSWORD_AND_CODE",
        /// The password, and a recovery code.
        PasswordAndRecoveryCode = "PASSWORD_AND_RECOVERY_CODE",
        /// What the company's own provider asked for.
        SignOn = "SIGN_ON",
    }
}

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// Why sessions were ended that their holder did not sign out of one by one.
    RevocationReason {
        /// The holder asked for it.
        SignedOutEverywhere = "SIGNED_OUT_EVERYWHERE",
        /// A refresh token came a second time, so that somebody else may have it.
        TokenReused = "TOKEN_REUSED",
        /// The password was changed by who knew the old one.
        PasswordChanged = "PASSWORD_CHANGED",
        /// A new password was set by the token of a letter.
        PasswordReset = "PASSWORD_RESET",
        /// The second proof was taken away by who looks after the company's people.
        SecondFactorTakenAway = "SECOND_FACTOR_TAKEN_AWAY",
    }
}

/// What can be asked of an account.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make it.
    Register {
        /// Its id, whose key seals the address.
        account_id: AccountId,
        /// E-mail address, unique everywhere.
        email: String,
    },
    /// Keep what identity, where credentials are, saw happen to it.
    Record(Event),
}

/// What has happened to an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The login was made.
    Registered {
        /// E-mail address.
        email: Personal<String>,
    },
    /// Its holder came in.
    SignedIn {
        /// The session that began.
        session_id: Uuid,
        /// What was proved.
        method: SignInMethod,
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// Somebody tried to come in with its address and failed. The first time is told at once, what
    /// follows once an hour.
    SignInFailed {
        /// How often since it was told last.
        count: u32,
        /// When the last time was, UTC.
        at: DateTime<Utc>,
    },
    /// Nobody comes in by password for a while, because it failed too often.
    Locked {
        /// Until when, UTC.
        until: DateTime<Utc>,
    },
    /// The lock was lifted before its time.
    Unlocked {
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// Its holder has shown that the address is theirs.
    EmailVerified {
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// It has a new password.
    PasswordChanged {
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// A letter for a new password was ordered.
    PasswordResetRequested {
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// From now on signing in asks for a second proof.
    SecondFactorEnrolled {
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// Signing in asks for no second proof any more.
    SecondFactorRemoved {
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// Signing in asks for no second proof any more, by the word of somebody else: the holder has lost
    /// it.
    SecondFactorTakenAway {
        /// The company whose member the holder is.
        company_id: CompanyId,
        /// Who did it, as `kind:id`, like the actor of any event.
        by: String,
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// Its holder made a key for a program of a company.
    ApiKeyCreated {
        /// The key, under which the program acts.
        key_id: ApiKeyId,
        /// The company.
        company_id: CompanyId,
        /// What the program may do.
        rights: Vec<Action>,
        /// When the key ends, UTC.
        expires_at: DateTime<Utc>,
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// Its holder took a program's key back.
    ApiKeyRevoked {
        /// The key.
        key_id: ApiKeyId,
        /// The company.
        company_id: CompanyId,
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// Its holder named the provider by which people of a company sign in.
    SignOnConfigured {
        /// The company.
        company_id: CompanyId,
        /// The provider's issuer identifier.
        issuer: String,
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// A session was ended by its holder.
    SignedOut {
        /// Which.
        session_id: Uuid,
        /// When, UTC.
        at: DateTime<Utc>,
    },
    /// Several sessions were ended, or one by somebody else than its holder.
    SessionsRevoked {
        /// Why.
        reason: RevocationReason,
        /// How many.
        count: u32,
        /// When, UTC.
        at: DateTime<Utc>,
    },
}

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The account exists already.
    #[error("the account exists already")]
    AlreadyRegistered,
    /// There is no such account.
    #[error("there is no such account")]
    Missing,
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::AlreadyRegistered => "ACCOUNT_ALREADY_REGISTERED",
            Self::Missing => "ACCOUNT_NOT_FOUND",
        }
    }
}

/// What decisions about an account read.
#[derive(Clone, Debug, Default)]
pub struct Account {
    registered: Option<Subject>,
}

impl Aggregate for Account {
    const NAME: &'static str = "account";
    const OF_PLATFORM: bool = true;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Account(event) => Some(event),
            _ => None,
        }
    }

    fn action(command: &Command) -> Action {
        match command {
            Command::Register { .. } | Command::Record(_) => Action::KeepAccount,
        }
    }

    fn relation(&self, _: &Caller, _: &Command, _: &Facts) -> Relation {
        Relation::default()
    }

    fn references(&self, _: &Command) -> Vec<Reference> {
        vec![]
    }

    fn subject(&self) -> Option<Subject> {
        self.registered
    }

    fn decide(&self, command: Command, _: Context<'_>) -> Result<Vec<Event>, Refusal> {
        match (command, self.registered) {
            (Command::Register { account_id, email }, None) => {
                let email = values::email("email", &email)?;
                let email = Personal::new(Subject::Account(account_id), email);
                Ok(vec![Event::Registered { email }])
            }
            (Command::Register { .. } | Command::Record(Event::Registered { .. }), Some(_)) => {
                Err(Refusal::AlreadyRegistered)
            }
            (Command::Record(_), None) => Err(Refusal::Missing),
            (Command::Record(event), Some(_)) => Ok(vec![event]),
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Registered { email } => self.registered = Some(email.subject()),
            Event::SignedIn { .. }
            | Event::SignInFailed { .. }
            | Event::Locked { .. }
            | Event::Unlocked { .. }
            | Event::EmailVerified { .. }
            | Event::PasswordChanged { .. }
            | Event::PasswordResetRequested { .. }
            | Event::SecondFactorEnrolled { .. }
            | Event::SecondFactorRemoved { .. }
            | Event::SecondFactorTakenAway { .. }
            | Event::ApiKeyCreated { .. }
            | Event::ApiKeyRevoked { .. }
            | Event::SignOnConfigured { .. }
            | Event::SignedOut { .. }
            | Event::SessionsRevoked { .. } => {}
        }
        self
    }
}
