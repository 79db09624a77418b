//! What goes wrong, phrased for clients. The only place that does.
//!
//! One rule decides where an error stands, and it is the kind of its code that decides
//! ([`domain::codes`]): what whoever sent the input can mend by sending another one, which is the
//! kinds `VALIDATION_FAILED` and `CONFLICT`, stands in the `errors` of a mutation's payload, with
//! the entity null and nothing among the top-level errors. All else (nobody signed in, no right,
//! not found, too fast, unavailable, our own failure) is a top-level error with `extensions {code,
//! kind, status, requestId, timestamp, retryAfter}`. A query or a subscription has no payload, so
//! that all its errors are top-level.

use async_graphql::{Error, ErrorExtensionValues, Name, SimpleObject, Value};
use commands::{CommandError, FileError};
use domain::claims::Kind as Claim;
use domain::codes::{self, Entry, Kind};
use domain::values::Invalid;
use domain::{
    PublicCode, account, application, candidate, company, company_request, interview, job, member,
};
use domain::{observation, resume, verdict};
use identity::IdentityError;
use projections::QueryError;
use projections::applied::{Behind, WaitError};
use projections::as_of::AsOfError;
use projections::live::LiveError;
use projections::page::PageError;
use projections::parked::ParkedError;
use projections::token::TokenInvalid;

/// Why something was not done or not answered. It has no `Display`, because async-graphql turns
/// whatever has one into an error without a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    code: &'static str,
    message: String,
    /// The input's field that is wrong, where one is.
    field: Option<&'static str>,
    /// Seconds after which it makes sense to try again, where that is known.
    retry_after_s: Option<u64>,
}

/// A rule or the state of things stands against a mutation. Another input, or the same one later,
/// may pass; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, SimpleObject)]
pub struct UserError {
    /// Public code that never changes its meaning, such as `VERDICT_ALREADY_SIGNED`; each has its
    /// entry in `schemas/errors.md`.
    pub code: String,
    /// What is wrong, in English, for people.
    pub message: String,
    /// Where in the arguments it is wrong, such as `["input", "profile", "email"]`; items of lists go
    /// by their place, 0, 1, 2 …. It ends where no single field further down is to blame.
    pub path: Vec<String>,
}

const INTERNAL: &Entry = &Entry {
    code: "INTERNAL_ERROR",
    kind: Kind::InternalError,
    status: 500,
    meaning: "The server failed.",
    remedy: "Repeat the request.",
};

impl ApiError {
    /// An error with a public code; its text is shown to the caller.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, retry_after_s: None }
    }

    /// A field of the input or an argument has a value that it cannot take.
    #[must_use]
    pub fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        let message = format!("{field}: {}", why.into());
        Self { field: Some(field), ..Self::new("VALIDATION_FAILED", message) }
    }

    /// There is nothing of that id that the caller could know of; the code says of what kind.
    #[must_use]
    pub fn not_found(code: &'static str) -> Self {
        let meaning = entry(code).meaning.trim_end_matches('.');
        let mut rest = meaning.chars();
        let first = rest.next().into_iter().flat_map(char::to_lowercase);
        Self::new(code, first.chain(rest).collect::<String>())
    }

    /// The caller has no right to it.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new("AUTH_003", "not allowed")
    }

    /// Nobody is signed in.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new("AUTH_REQUIRED", "sign in first")
    }

    /// We failed. The cause is logged here and shown to nobody.
    #[must_use]
    pub fn internal(cause: &str) -> Self {
        tracing::error!(cause, "a request failed");
        Self::new("INTERNAL_ERROR", "internal error")
    }

    /// The same, and when it makes sense to try again.
    #[must_use]
    pub fn after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Seconds after which it makes sense to try again, where it does at all.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_s.or_else(|| retry_after_s(entry(self.code)))
    }

    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What is told to the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// HTTP status of the plain HTTP edges.
    #[must_use]
    pub fn status(&self) -> u16 {
        entry(self.code).status
    }

    /// Whether another input, or the same one later, can mend it: it then stands in a payload.
    #[must_use]
    pub fn is_of_input(&self) -> bool {
        matches!(entry(self.code).kind, Kind::ValidationFailed | Kind::Conflict)
    }

    /// The error as it stands in a payload, with its place in the arguments that were given.
    #[must_use]
    pub fn into_user_error(self, given: &[(Name, Value)]) -> UserError {
        let path = self.field.and_then(|field| path_to(field, given));
        let path = path.unwrap_or_else(|| vec!["input".to_owned()]);
        UserError { code: self.code.to_owned(), message: self.message, path }
    }

    /// `code`, `kind`, `status` and `retryAfter`; the transports add `requestId` and `timestamp`.
    pub fn extensions(&self) -> impl Iterator<Item = (&'static str, Value)> + use<> {
        let entry = entry(self.code);
        let retry = self.retry_after_s().map(|s| ("retryAfter", Value::from(s)));
        let code = ("code", Value::from(self.code));
        let kind = ("kind", Value::from(entry.kind.as_str()));
        let status = ("status", Value::from(entry.status));
        [code, kind, status].into_iter().chain(retry)
    }
}

/// Seconds after which it makes sense to try again, where it does at all.
fn retry_after_s(entry: &Entry) -> Option<u64> {
    match entry.kind {
        Kind::Unavailable => Some(1),
        Kind::RateLimited => Some(60),
        Kind::AuthRequired
        | Kind::InvalidToken
        | Kind::AccessDenied
        | Kind::NotFound
        | Kind::ValidationFailed
        | Kind::Conflict
        | Kind::InternalError => None,
    }
}

/// Where the arguments have a field of this name. Rules know fields by their names only: of several,
/// the one that lies highest is meant, and of several equally high, what they lie in together.
fn path_to(field: &str, given: &[(Name, Value)]) -> Option<Vec<String>> {
    let mut found = vec![];
    for (name, value) in given {
        collect(field, value, vec![name.to_string()], &mut found);
    }
    let height = found.iter().map(Vec::len).min()?;
    let mut highest = found.into_iter().filter(|path| path.len() == height);
    let first = highest.next()?;
    Some(highest.fold(first, |common, other| {
        let same = common.iter().zip(&other).take_while(|(a, b)| a == b).count();
        common[..same].to_vec()
    }))
}

fn collect(field: &str, value: &Value, at: Vec<String>, found: &mut Vec<Vec<String>>) {
    let within = |segment: &str| at.iter().cloned().chain([segment.to_owned()]).collect();
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path: Vec<String> = within(name);
                if name == field {
                    found.push(path);
                } else {
                    collect(field, value, path, found);
                }
            }
        }
        Value::List(items) => {
            for (n, item) in items.iter().enumerate() {
                collect(field, item, within(&n.to_string()), found);
            }
        }
        _ => {}
    }
}

fn entry(code: &str) -> &'static Entry {
    codes::find(code).unwrap_or(INTERNAL)
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        let mut extensions = ErrorExtensionValues::default();
        for (name, value) in error.extensions() {
            extensions.set(name, value);
        }
        let mut graphql = Self::new(error.message);
        graphql.extensions = Some(extensions);
        graphql
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let (code, message) = (error.code(), error.to_string());
        let field = match &error {
            CommandError::Refused(refusal) => field_of(refusal.as_ref()),
            CommandError::VersionConflict { .. } => Some("expectedVersion"),
            CommandError::CommandIdReused => Some("commandId"),
            CommandError::Taken { kind } => Some(of_claim(*kind)),
            CommandError::Forbidden
            | CommandError::SubjectErased
            | CommandError::TooLarge
            | CommandError::NewerHistory
            | CommandError::Contended
            | CommandError::Unavailable
            | CommandError::OutcomeUnknown
            | CommandError::Unreadable => None,
        };
        Self { field, ..Self::new(code, message) }
    }
}

/// The field whose value must be unique.
fn of_claim(kind: Claim) -> &'static str {
    match kind {
        Claim::AccountEmail | Claim::MemberEmail | Claim::CandidateEmail => "email",
        Claim::CandidateAccount => "token",
        Claim::CompanyDomain => "domain",
        Claim::OpenApplication => "jobId",
        Claim::RoundNumber => "roundNumber",
        Claim::VerdictOfInterview => "interviewId",
    }
}

/// The field that a refusal blames, where it blames one.
fn field_of(refusal: &(dyn PublicCode + Send + Sync + 'static)) -> Option<&'static str> {
    let error: &(dyn std::error::Error + 'static) = refusal;
    macro_rules! of {
        ($($module:ident),*) => {$(
            if let Some($module::Refusal::Invalid(invalid)) = error.downcast_ref() {
                return Some(invalid.field);
            }
        )*};
    }
    of!(account, application, candidate, company, company_request, interview, job, member);
    of!(observation, resume, verdict);
    Some(match refusal.code() {
        "INT_NEEDS_INTERVIEWER" | "INT_NO_INTERVIEWER_WANTED" => "interviewerId",
        "INT_NOT_RESTARTABLE" => "restartOf",
        "INT_NEEDS_REASON" => "reason",
        "INT_QUESTION_CLOSED" | "INT_ALREADY_ANSWERED" => "questionId",
        "JOB_NO_SUCH_MANAGER" => "hiringManagerId",
        "JOB_UNKNOWN_DIMENSION" => "dimensions",
        "MEMBER_PLATFORM_ROLE" => "role",
        "MEMBER_NO_SUCH_MANAGER" => "managerId",
        "ROLE_NAME_TAKEN" => "name",
        "ROLE_RIGHT_NOT_GIVABLE" => "permissions",
        "ROLE_NOT_FOUND" => "roleId",
        "APPLICATION_ILLEGAL_MOVE" => "status",
        "VERDICT_NO_EVIDENCE"
        | "VERDICT_FOREIGN_EVIDENCE"
        | "VERDICT_MISPLACED_EVIDENCE"
        | "VERDICT_WRONG_DIMENSION"
        | "VERDICT_NOTHING_SCORED"
        | "VERDICT_WRONG_SCORES" => "scores",
        _ => return None,
    })
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.field, invalid.why)
    }
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Command(error) => error.into(),
            IdentityError::Invalid(invalid) => invalid.into(),
            error => Self::new(error.code(), error.to_string()),
        }
    }
}

/// Errors of the read side say their own codes.
macro_rules! of_reads {
    ($($error:ty),*) => {$(
        impl From<$error> for ApiError {
            fn from(error: $error) -> Self {
                Self::new(error.code(), error.to_string())
            }
        }
    )*};
}

of_reads!(QueryError, PageError, AsOfError, LiveError);

impl From<ParkedError> for ApiError {
    fn from(error: ParkedError) -> Self {
        match error {
            ParkedError::NotParked => Self::not_found("PARKED_NOT_FOUND"),
            ParkedError::Reason => Self::invalid("reason", error.to_string()),
            ParkedError::Unavailable(_) => QueryError::Unavailable.into(),
        }
    }
}

impl From<TokenInvalid> for ApiError {
    fn from(error: TokenInvalid) -> Self {
        // An access token has a code of its own.
        Self::new("CONSISTENCY_TOKEN_INVALID", error.to_string())
    }
}

impl From<WaitError> for ApiError {
    fn from(error: WaitError) -> Self {
        let behind_by = match &error {
            WaitError::Token(invalid) => return (*invalid).into(),
            WaitError::Unavailable => return Self::new(error.code(), error.to_string()),
            WaitError::Stale { behind_by } => behind_by,
        };
        let behind = behind_by.iter().map(|behind| {
            let Behind { model, stream, n_versions } = behind;
            format!("{model} by {n_versions} of {} {}", stream.aggregate, stream.id)
        });
        let behind = behind.collect::<Vec<_>>().join(", ");
        Self::new(error.code(), format!("the read models are behind: {behind}"))
    }
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::SubjectErased => Self::new("SUBJECT_ERASED", error.to_string()),
            FileError::Missing => Self::not_found("RESUME_NOT_FOUND"),
            FileError::Unavailable => Self::new("UNAVAILABLE", error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::value;
    use domain::ids::MemberId;
    use uuid::Uuid;

    use super::*;

    fn refused(refusal: impl PublicCode + Send + Sync + 'static) -> ApiError {
        CommandError::Refused(Box::new(refusal)).into()
    }

    #[test]
    fn what_the_sender_can_mend_stands_in_the_payload_and_all_else_does_not() {
        let signer = MemberId(Uuid::from_u128(1));
        let of_input: [ApiError; 5] = [
            refused(verdict::Refusal::AlreadySigned { signer }),
            refused(interview::Refusal::NeedsReason),
            CommandError::CommandIdReused.into(),
            CommandError::SubjectErased.into(),
            CommandError::Contended.into(),
        ];
        assert!(of_input.iter().all(ApiError::is_of_input), "{of_input:?}");
        let top_level: [ApiError; 7] = [
            refused(interview::Refusal::Missing),
            CommandError::Forbidden.into(),
            CommandError::Unavailable.into(),
            CommandError::OutcomeUnknown.into(),
            CommandError::Unreadable.into(),
            QueryError::Unavailable.into(),
            ApiError::unauthenticated(),
        ];
        assert!(!top_level.iter().any(ApiError::is_of_input), "{top_level:?}");
    }

    fn path(error: ApiError, input: Value) -> Vec<String> {
        error.into_user_error(&[(Name::new("input"), input)]).path
    }

    #[test]
    fn an_error_in_a_payload_names_the_path_to_the_field_that_is_wrong() {
        let invalid =
            |field| refused(candidate::Refusal::Invalid(Invalid { field, why: "is wrong".into() }));
        let input = value!({
            "email": "other@mail.example",
            "profile": { "phone": "7", "fullName": "Mira" },
            "dimensions": [{ "weight": 1, "key": "a" }, { "weight": 200, "key": "b" }],
            "one": [{ "share": 1 }],
        });
        let path = |field| path(invalid(field), input.clone());
        assert_eq!(path("phone"), ["input", "profile", "phone"]);
        assert_eq!(path("email"), ["input", "email"]);
        assert_eq!(path("share"), ["input", "one", "0", "share"]);
        assert_eq!(path("weight"), ["input", "dimensions"], "either may be meant");
        assert_eq!(path("notGiven"), ["input"]);
        let error = invalid("email").into_user_error(&[]);
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("VALIDATION_FAILED", "email: is wrong")
        );
    }

    #[test]
    fn refusals_that_blame_one_field_name_it() {
        let input = || value!({ "round": { "new": { "interviewerId": "memb_7", "email": "a" } } });
        let error = refused(interview::Refusal::NeedsInterviewer);
        assert_eq!(path(error, input()), ["input", "round", "new", "interviewerId"]);
        let error = CommandError::Taken { kind: Claim::CandidateEmail };
        assert_eq!(path(error.into(), input()), ["input", "round", "new", "email"]);
        assert_eq!(path(refused(job::Refusal::NotReady), input()), ["input"]);
    }

    #[test]
    fn a_top_level_error_carries_code_kind_status_and_when_to_try_again() {
        let error = Error::from(ApiError::from(CommandError::Unavailable));
        let extensions = error.extensions.expect("extensions");
        let text = |name| extensions.get(name).map(ToString::to_string);
        assert_eq!(text("code").as_deref(), Some("\"UNAVAILABLE\""));
        assert_eq!(text("kind").as_deref(), Some("\"UNAVAILABLE\""));
        assert_eq!(text("status").as_deref(), Some("503"));
        assert_eq!(text("retryAfter").as_deref(), Some("1"));
    }

    #[test]
    fn every_code_of_the_edge_has_its_entry() {
        let behind = WaitError::Stale { behind_by: vec![] };
        let errors: [ApiError; 9] = [
            TokenInvalid.into(),
            ApiError::forbidden(),
            ApiError::invalid("first", "is out of range"),
            PageError::CursorInvalid.into(),
            QueryError::Unavailable.into(),
            behind.into(),
            AsOfError::InFuture.into(),
            AsOfError::UnknownVersion.into(),
            LiveError::CursorAhead.into(),
        ];
        for error in errors {
            assert!(codes::find(error.code()).is_some(), "{}", error.code());
        }
    }
}
