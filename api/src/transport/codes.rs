//! The codes that the transports themselves answer with. `schemas/errors.md` is made from this table.

use async_graphql::Pos;
use domain::codes::Kind;

/// Which part of the edge refuses, which decides whether the HTTP status tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The request never became a GraphQL request, or the server failed: the status always tells.
    Transport,
    /// A well-formed request whose document or variables are refused: clients that accept
    /// `application/json` only get status 200, as the GraphQL-over-HTTP specification asks.
    Document,
}

/// One public code. Its name never changes its meaning.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// What stands in `extensions.code`.
    pub name: &'static str,
    /// The HTTP status, also in `extensions.status`.
    pub status: u16,
    /// Where it is decided.
    pub level: Level,
    /// What happened, in one sentence.
    pub meaning: &'static str,
    /// What the caller can do, in one sentence.
    pub remedy: &'static str,
}

impl Code {
    /// The coarse class, as [`domain::codes::Kind`] spells it: what stands in `extensions.kind`.
    pub fn kind(&self) -> &'static str {
        let kind = match self.status {
            401 => Kind::InvalidToken,
            403 => Kind::AccessDenied,
            429 => Kind::RateLimited,
            503 | 504 => Kind::Unavailable,
            500 => Kind::InternalError,
            _ => Kind::ValidationFailed,
        };
        kind.as_str()
    }
}

/// A refusal on its way to the caller: a code, and a text that names what is wrong in this request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The public code.
    pub code: &'static Code,
    /// What is wrong; safe to show to the caller.
    pub message: String,
    /// Places in the document, if the refusal is about it.
    pub locations: Vec<Pos>,
    /// A code of another table that replaces the name in `code`, such as an authenticator's.
    pub named: Option<&'static str>,
    /// Whole seconds after which it is worth while to try again, where it is.
    pub retry_after_s: Option<u64>,
}

impl Refusal {
    /// A refusal without a place in the document.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            locations: Vec::new(),
            named: None,
            retry_after_s: None,
        }
    }

    /// A refusal about one place in the document.
    pub fn at(code: &'static Code, message: impl Into<String>, pos: Pos) -> Self {
        Self { locations: vec![pos], ..Self::new(code, message) }
    }

    /// What stands in `extensions.code`.
    pub fn code_name(&self) -> &'static str {
        self.named.unwrap_or(self.code.name)
    }
}

/// Writes the constants and the table of all of them, so that neither can lack an entry.
macro_rules! codes {
    ($($name:ident $status:literal $level:ident $meaning:literal $remedy:literal)+) => {
        $(
            #[doc = $meaning]
            pub const $name: Code = Code {
                name: stringify!($name),
                status: $status,
                level: Level::$level,
                meaning: $meaning,
                remedy: $remedy,
            };
        )+

        /// Every code of the transports, in the order of a request's way through them.
        pub const CODES: &[&Code] = &[$(&$name),+];
    };
}

codes! {
    ORIGIN_FORBIDDEN 403 Transport
        "A page of another origin sent a change, and the settings do not name its origin."
        "Let the operator add the page's origin to http.cors_origins."
    PATH_NOT_FOUND 404 Transport
        "There is nothing at this path."
        "The API is at /graphql; ARCHITECTURE.md lists the other edges."
    METHOD_NOT_ALLOWED 405 Transport
        "The HTTP method does not fit: a mutation over GET, or a method other than GET and POST."
        "Send the operation with POST."
    NOT_ACCEPTABLE 406 Transport
        "The Accept header allows no media type that this endpoint can answer with."
        "Accept application/graphql-response+json, application/json or text/event-stream."
    UNSUPPORTED_MEDIA_TYPE 415 Transport
        "The body is not declared as application/json in UTF-8, or it is compressed."
        "Send content-type: application/json and no content-encoding."
    REQUEST_TOO_LARGE 413 Transport
        "The body or the message is larger than the limit."
        "Send less; files have their own upload edge."
    REQUEST_TIMEOUT 408 Transport
        "The body did not arrive in time."
        "Repeat the request over a connection that is fast enough."
    INVALID_ENCODING 400 Transport
        "The body or the query string is not UTF-8."
        "Encode the text as UTF-8."
    MALFORMED_JSON 400 Transport
        "The body or the variables are not valid JSON, lone surrogates included."
        "Send one JSON object whose texts are well-formed Unicode."
    MALFORMED_REQUEST 400 Transport
        "The JSON is not a GraphQL request: a member is missing or has the wrong type."
        "Send query as text, operationName as text or null, variables and extensions as object or null."
    BATCHING_NOT_SUPPORTED 400 Transport
        "The body is a list of requests."
        "Send one request per call, or one document with several fields."
    INVALID_TEXT 400 Transport
        "A text contains the character NUL."
        "Remove the character U+0000 from the named text."
    TOKEN_INVALID 401 Transport
        "The token is malformed, unknown, revoked or expired."
        "Sign in again and send the new access token."
    SESSION_EXPIRED 401 Transport
        "The token ended while a stream was open."
        "Take a new token, connect again and continue after the last cursor received."
    RATE_LIMITED 429 Transport
        "Too much was asked in too short a time; the message says of what."
        "Wait for the seconds in extensions.retryAfter, over HTTP also in the header Retry-After."
    PERSISTED_QUERY_NOT_FOUND 400 Document
        "The document is named by a hash that this server does not know, or no longer."
        "Send the text with the same hash; clients of automatic persisted queries do so by themselves."
    PERSISTED_QUERY_HASH_MISMATCH 400 Document
        "The hash in extensions.persistedQuery is not the SHA-256 of the query."
        "Hash the very text that is sent, in UTF-8, as 64 hex digits."
    DOCUMENT_NOT_TRUSTED 403 Document
        "The operator has listed the documents that are carried out, and this is none of them."
        "Let the operator add the document to http.trusted_documents."
    GRAPHQL_PARSE_FAILED 400 Document
        "The document is not GraphQL."
        "Correct the syntax at the given place."
    GRAPHQL_VALIDATION_FAILED 400 Document
        "The document does not fit the schema."
        "Compare the document with the schema at the given place."
    BAD_USER_INPUT 400 Document
        "A variable or an argument is missing or has a value that its type does not allow."
        "Correct the named value."
    OPERATION_RESOLUTION_FAILED 400 Document
        "It is not clear which operation of the document is meant."
        "Name an operation that the document contains in operationName."
    SUBSCRIPTION_NEEDS_STREAM 400 Document
        "A subscription was sent over a transport that answers once."
        "Use the graphql-transport-ws protocol, or accept text/event-stream."
    INTROSPECTION_FORBIDDEN 400 Document
        "The schema is shown to the signed-in only."
        "Sign in and send the access token."
    DOCUMENT_TOO_LARGE 400 Document
        "The document has too many bytes or tokens."
        "Split the document, and move values into variables."
    DOCUMENT_TOO_DEEP 400 Document
        "The document nests too deep."
        "Ask for less depth, or follow ids with a second request."
    DOCUMENT_TOO_MANY_FIELDS 400 Document
        "The document selects too many fields once its fragments are expanded."
        "Split the document."
    DOCUMENT_TOO_MANY_ALIASES 400 Document
        "The document uses too many aliases once its fragments are expanded."
        "Split the document, or use a field that takes a list."
    DOCUMENT_TOO_MANY_DIRECTIVES 400 Document
        "The document uses too many directives once its fragments are expanded."
        "Split the document."
    DOCUMENT_TOO_MANY_OPERATIONS 400 Document
        "The document contains too many operations."
        "Send only the operation that is meant."
    FRAGMENT_CYCLE 400 Document
        "A fragment spreads itself, directly or through others."
        "Break the cycle."
    DOCUMENT_TOO_COSTLY 400 Document
        "The operation could load too many objects, list sizes multiplied."
        "Ask for smaller pages with first, or for fewer nested lists."
    TOO_MANY_OPERATIONS 429 Transport
        "The socket already runs as many operations as it may."
        "Complete some of them first."
    TIMEOUT 504 Transport
        "The operation did not end in time; whether a mutation took effect is unknown."
        "Repeat it; a mutation with the same commandId takes effect once."
    SERVICE_UNAVAILABLE 503 Transport
        "A part of the service that is needed does not answer."
        "Repeat the request after a moment."
    INTERNAL_ERROR 500 Transport
        "The server failed; the cause is in its log under the request id."
        "Repeat the request; if it fails again, report the request id."
}

/// The entry with this name.
pub fn by_name(name: &str) -> Option<&'static Code> {
    CODES.iter().copied().find(|code| code.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_stands_in_the_table_once() {
        let names: BTreeSet<_> = CODES.iter().map(|code| code.name).collect();
        assert_eq!(names.len(), CODES.len());
        assert!(CODES.iter().all(|code| (400..600).contains(&code.status)));
    }
}
