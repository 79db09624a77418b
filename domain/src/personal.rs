//! `Personal<T>`: a field that belongs to a person and can be erased by forgetting that person's key.
//!
//! In memory a personal field knows whose it is. Serialized here it is a marker that only the
//! event codec understands: the codec seals it before anything reaches the log, and opens it again.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{AccountId, CandidateId, CompanyRequestId, MemberId};

/// Whose key seals a field: a candidate where the text concerns one, else its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Subject {
    /// A login.
    Account(AccountId),
    /// A candidate's record in a company.
    Candidate(CandidateId),
    /// Who asks for a company to be let in.
    CompanyRequest(CompanyRequestId),
    /// A person of a company.
    Member(MemberId),
}

impl Subject {
    /// The stored name of the subject's kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Candidate(_) => "candidate",
            Self::CompanyRequest(_) => "company_request",
            Self::Member(_) => "member",
        }
    }

    /// The bare id of the subject.
    #[must_use]
    pub fn id(&self) -> Uuid {
        match self {
            Self::Account(id) => id.0,
            Self::Candidate(id) => id.0,
            Self::CompanyRequest(id) => id.0,
            Self::Member(id) => id.0,
        }
    }

    /// Reads a subject from its stored kind and id; `None` for an unknown kind.
    #[must_use]
    pub fn from_parts(kind: &str, id: Uuid) -> Option<Self> {
        match kind {
            "account" => Some(Self::Account(AccountId(id))),
            "candidate" => Some(Self::Candidate(CandidateId(id))),
            "company_request" => Some(Self::CompanyRequest(CompanyRequestId(id))),
            "member" => Some(Self::Member(MemberId(id))),
            _ => None,
        }
    }
}

/// A value about or by a person. Never printed; `None` inside once the person is forgotten.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personal<T> {
    /// Marks the field for the codec; the only content is the sealed form's clear text.
    #[serde(rename = "$personal")]
    inner: Clear<T>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Clear<T> {
    subject: Subject,
    #[serde(default = "none")]
    value: Option<T>,
}

fn none<T>() -> Option<T> {
    None
}

impl<T> Personal<T> {
    /// Name of the marker which the codec looks for.
    pub const MARKER: &'static str = "$personal";

    /// A value of `subject`.
    pub fn new(subject: Subject, value: T) -> Self {
        Self { inner: Clear { subject, value: Some(value) } }
    }

    /// What is left when the subject was forgotten.
    #[must_use]
    pub fn erased(subject: Subject) -> Self {
        Self { inner: Clear { subject, value: None } }
    }

    /// Whose value it is.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.inner.subject
    }

    /// The value, unless its subject was forgotten.
    pub fn get(&self) -> Option<&T> {
        self.inner.value.as_ref()
    }

    /// The value by value, unless its subject was forgotten.
    pub fn into_inner(self) -> Option<T> {
        self.inner.value
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.inner.value.is_some() { "Personal(…)" } else { "Personal(erased)" })
    }
}

/// The sealed form of a personal field as it stands in the log and on a topic.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes stored bytes for the published schemas only")]
struct Sealed {
    /// Id of the subject's key.
    key: Uuid,
    /// Base64 of the 12-byte AES-256-GCM nonce.
    nonce: String,
    /// Base64 of the 32-byte commitment to the key.
    commitment: String,
    /// Base64 of the ciphertext followed by the 16-byte tag.
    ciphertext: String,
}

#[cfg(feature = "schema")]
impl<T> schemars::JsonSchema for Personal<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sealed".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Sealed::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_personal_value_is_never_printed() {
        let name = Personal::new(Subject::Candidate(CandidateId(Uuid::nil())), "Ada".to_owned());
        assert_eq!(format!("{name:?}"), "Personal(…)");
    }
}
