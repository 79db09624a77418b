//! The settings of how much may be asked.

use identity::rate_limits::{Class, Rate, Rates};
use serde::{Deserialize, Serialize};

/// How much may be asked: rates such as `100/min`, `10/5min` or `3/h`; `off` limits nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Whether anything is limited at all.
    pub enabled: bool,
    /// Requests of one person or program.
    pub user: Rate,
    /// Requests of all of a company.
    pub company: Rate,
    /// Requests of strangers from one network address.
    pub anonymous: Rate,
    /// Attempts to sign in, and the like, about one login.
    pub sign_in_account: Rate,
    /// The same from one network address.
    pub sign_in_address: Rate,
    /// Fields that let a model work, of one person.
    pub ai: Rate,
    /// Calls to models that all workers of the installation make together, tries again included.
    pub ai_call: Rate,
    /// Files of one person or program.
    pub upload: Rate,
    /// Files of one candidate.
    pub candidate_upload: Rate,
    /// Interviews that one person starts.
    pub interview_start: Rate,
    /// Letters to others that one person causes.
    pub letter: Rate,
    /// Sockets that one person opens.
    pub socket: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        const MINUTE: u32 = 60;
        const HOUR: u32 = 60 * MINUTE;
        Self {
            enabled: true,
            user: Rate::new(100, MINUTE),
            company: Rate::new(1000, MINUTE),
            anonymous: Rate::new(10, MINUTE),
            sign_in_account: Rate::new(5, MINUTE),
            sign_in_address: Rate::new(10, MINUTE),
            ai: Rate::new(10, MINUTE),
            ai_call: Rate::new(50, MINUTE),
            upload: Rate::new(10, 5 * MINUTE),
            candidate_upload: Rate::new(3, HOUR),
            interview_start: Rate::new(10, HOUR),
            letter: Rate::new(30, MINUTE),
            socket: Rate::new(5, MINUTE),
        }
    }
}

impl Limits {
    /// The rate of each class.
    #[must_use]
    pub fn rates(&self) -> Rates {
        if !self.enabled {
            return Rates::OFF;
        }
        Rates::of(|class| match class {
            Class::User => self.user,
            Class::Company => self.company,
            Class::Anonymous => self.anonymous,
            Class::SignInAccount => self.sign_in_account,
            Class::SignInAddress => self.sign_in_address,
            Class::Ai => self.ai,
            Class::AiCall => self.ai_call,
            Class::Upload => self.upload,
            Class::CandidateUpload => self.candidate_upload,
            Class::InterviewStart => self.interview_start,
            Class::Letter => self.letter,
            Class::Socket => self.socket,
        })
    }
}
