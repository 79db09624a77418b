//! Consistency tokens: what a mutation answers, and what a query presents to read its own write.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use domain::event::AGGREGATES;
use domain::ids::CompanyId;
use eventlog::envelope::{Position, StreamId, Version};
use uuid::Uuid;

use crate::page::checksum;

/// Names a version of a stream that somebody has seen or made. Printed, it is opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The stream.
    pub stream: StreamId,
    /// The version.
    pub version: Version,
    /// Position of that version's event.
    pub position: Position,
}

/// The text is no token, or names what the caller cannot have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the consistency token is not valid")]
pub struct TokenInvalid;

impl TokenInvalid {
    /// The public code.
    #[must_use]
    pub fn code(self) -> &'static str {
        "CONSISTENCY_TOKEN_INVALID"
    }
}

const FORMAT: u8 = 1;

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![FORMAT];
        bytes.extend(self.stream.company.0.as_bytes());
        bytes.extend(self.stream.id.as_bytes());
        bytes.extend(self.version.0.to_be_bytes());
        bytes.extend(self.position.0.to_be_bytes());
        bytes.extend(self.stream.aggregate.as_bytes());
        bytes.extend(checksum(&[&bytes]));
        f.write_str(&BASE64.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = TokenInvalid;

    fn from_str(text: &str) -> Result<Self, TokenInvalid> {
        read(text).ok_or(TokenInvalid)
    }
}

fn read(text: &str) -> Option<Token> {
    let bytes = BASE64.decode(text).ok()?;
    let (content, seal) = bytes.split_last_chunk::<8>()?;
    if *seal != checksum(&[content]) {
        return None;
    }
    let (format, rest) = content.split_first()?;
    let (company, rest) = rest.split_first_chunk::<16>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let (position, aggregate) = rest.split_first_chunk::<8>()?;
    let aggregate = AGGREGATES.iter().find(|name| name.as_bytes() == aggregate)?;
    (*format == FORMAT).then(|| Token {
        stream: StreamId {
            company: CompanyId(Uuid::from_bytes(*company)),
            aggregate: Cow::Borrowed(aggregate),
            id: Uuid::from_bytes(*id),
        },
        version: Version(u64::from_be_bytes(*version)),
        position: Position(u64::from_be_bytes(*position)),
    })
}
