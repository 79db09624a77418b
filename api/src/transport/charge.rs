//! What is charged for, and how it is told what is left.

use async_graphql::Variables;
use async_graphql::parser::types::{ExecutableDocument, OperationDefinition};
use axum::http::{HeaderMap, HeaderValue};
use secrecy::SecretString;

/// What is charged.
#[derive(Clone, Copy, Debug)]
pub enum Charge<'d> {
    /// A request, or an operation of a socket, whatever it asks for.
    Request,
    /// A request with the refresh token of a session, which tells who asks where nothing else does.
    Renewal(&'d SecretString),
    /// A socket.
    Socket,
    /// A file.
    Upload,
    /// What an operation asks for beside being a request. The document was priced.
    Operation {
        /// The whole document.
        document: &'d ExecutableDocument,
        /// The operation that is meant.
        operation: &'d OperationDefinition,
        /// Values for its variables.
        variables: &'d Variables,
    },
}

/// How many requests a caller has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What the limit is called.
    pub name: &'static str,
    /// Most requests at once.
    pub limit: u32,
    /// In which as many come again, in seconds.
    pub window_s: u64,
    /// Those that are left.
    pub remaining: u32,
    /// When all are there again, in seconds.
    pub full_in_s: u64,
}

impl Quota {
    /// The headers of draft-ietf-httpapi-ratelimit-headers-10.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        let Self { name, limit, window_s, remaining, full_in_s } = self;
        let policy = format!("\"{name}\";q={limit};w={window_s}");
        let left = format!("\"{name}\";r={remaining};t={full_in_s}");
        for (name, value) in [("ratelimit-policy", policy), ("ratelimit", left)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}
