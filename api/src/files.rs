//! Files over plain HTTP: résumés go in as multipart forms and come out as they were.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, Multipart, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use commands::{CommandError, Order, derive_id};
use domain::Caller;
use domain::access::{Fields, Purpose, View, What};
use domain::candidate::Candidate;
use domain::file_kind::FileKind;
use domain::ids::{CandidateId, ResumeId};
use domain::permission::{self, Action, Relation};
use domain::personal::Subject;
use domain::resume::{Command, MAX_FILE_BYTES, Resume};
use projections::resumes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ApiState;
use crate::auth::Auth;
use crate::error::ApiError;
use crate::etag;
use crate::inputs;
use crate::payload::token;
use crate::peer::Peer;
use crate::rate_limits::{self, Asker};
use crate::scope::view;
use crate::transport::{Charge, RequestId, TraceParent, bearer_of, purpose};

/// What a form may have beside the file itself.
const FORM_BYTES: usize = 64 * 1024;
/// How long an upload may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The edges `POST /files/resumes` and `GET /files/resumes/{id}`.
pub fn router(state: ApiState) -> Router {
    let limit = usize::try_from(MAX_FILE_BYTES).unwrap_or(usize::MAX).saturating_add(FORM_BYTES);
    Router::new()
        .route("/files/resumes", post(upload).layer(DefaultBodyLimit::max(limit)))
        .route("/files/resumes/{id}", get(download))
        .with_state(state)
}

/// Takes a form with the fields `commandId` (UUID), `candidateId` and `file`, and answers 201 with
/// `{resumeId, candidateId, fileName, mediaType, sizeBytes, version, cursor}`. A repeat of the same
/// form answers the same.
async fn upload(
    State(state): State<ApiState>,
    peer: Peer,
    headers: HeaderMap,
    form: Result<Multipart, axum::extract::multipart::MultipartRejection>,
) -> Response {
    let request_id = RequestId::from_headers(&headers);
    let uploaded = async {
        let caller = caller(&state, &headers, peer, &[Charge::Request, Charge::Upload]).await?;
        let form = form.map_err(|_| {
            ApiError::invalid("body", "must be multipart/form-data with candidateId and file")
        })?;
        let reading = tokio::time::timeout(PATIENCE, Form::read(form)).await;
        let form = reading.map_err(|_| ApiError::invalid("file", "did not arrive in time"))??;
        let trace_parent = TraceParent::from_headers(&headers).map(|trace| trace.to_string());
        store(&state, &caller, form, trace_parent).await
    };
    let response = match uploaded.await {
        Ok(answer) => (StatusCode::CREATED, Json(answer)).into_response(),
        Err(error) => refused(&state, &error, &request_id),
    };
    finish(response, &request_id)
}

/// Answers the file to whoever may see the candidate.
async fn download(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    peer: Peer,
    headers: HeaderMap,
) -> Response {
    let request_id = RequestId::from_headers(&headers);
    let found = async {
        let caller = caller(&state, &headers, peer, &[Charge::Request]).await?;
        let view = view(&caller, Action::ReadCandidate).ok_or_else(ApiError::forbidden)?;
        let id: ResumeId = id.parse().map_err(|_| ApiError::not_found("RESUME_NOT_FOUND"))?;
        let row = resumes::get(&state.reads, &view, id).await?;
        let row = row.ok_or_else(|| ApiError::not_found("RESUME_NOT_FOUND"))?;
        let purpose = purpose::of_headers(&headers);
        let purpose = purpose.map_err(|refusal| ApiError::invalid("purpose", refusal.message))?;
        // Opened before a kept copy is called good: that of a person who was forgotten is not.
        let bytes = state.files.get(caller.company, &row.file_hash).await?;
        let view = View {
            what: What::Resume,
            subject_id: id.0,
            candidate_id: row.candidate_id,
            fields: vec![Fields::ResumeFile],
        };
        let trace_parent = TraceParent::from_headers(&headers).map(|trace| trace.to_string());
        let purpose = purpose.unwrap_or(Purpose::Hiring);
        state.access.record(&caller, purpose, vec![view], trace_parent).await?;
        let tag = format!("\"{}\"", row.file_hash);
        if etag::is_known(&headers, &tag) {
            return Ok(described(StatusCode::NOT_MODIFIED.into_response(), &row, &tag));
        }
        Ok(described(Response::new(Body::from(bytes)), &row, &tag))
    };
    let response = match found.await {
        Ok(response) => response,
        Err(error) => refused(&state, &error, &request_id),
    };
    finish(response, &request_id)
}

/// Who asks, after it was charged.
async fn caller(
    state: &ApiState,
    headers: &HeaderMap,
    peer: Peer,
    charges: &[Charge<'_>],
) -> Result<Arc<Caller>, ApiError> {
    let invalid = |_| ApiError::new("INVALID_TOKEN", "the authorization is not a bearer token");
    let session = Auth(state.clone()).counted(bearer_of(headers).map_err(invalid)?, peer).await?;
    let principal = session.principal()?;
    let asker = Asker { principal: Some(&principal), address: peer.0 };
    for what in charges {
        rate_limits::charge(&state.rate_limits, asker, *what).await?;
    }
    session.caller()
}

/// What a form brought.
struct Form {
    command_id: Uuid,
    candidate: CandidateId,
    name: String,
    bytes: Bytes,
}

impl Form {
    async fn read(mut form: Multipart) -> Result<Self, ApiError> {
        let (mut command_id, mut candidate, mut file) = (None, None, None);
        while let Some(field) = form.next_field().await.map_err(broken)? {
            match field.name() {
                Some("commandId") => {
                    let id = Uuid::try_parse(text(field).await?.trim());
                    let id = id.map_err(|_| ApiError::invalid("commandId", "is not a UUID"))?;
                    command_id = Some(id);
                }
                Some("candidateId") => {
                    let id = inputs::id("candidateId", &text(field).await?.trim().into())?;
                    candidate = Some(id);
                }
                Some("file") => {
                    let name = field.file_name().unwrap_or("resume").to_owned();
                    file = Some((name, field.bytes().await.map_err(broken)?));
                }
                _ => return Err(ApiError::invalid("body", "has a field that is not known")),
            }
        }
        let missing = |field| ApiError::invalid(field, "is missing");
        let (name, bytes) = file.ok_or_else(|| missing("file"))?;
        Ok(Self {
            command_id: command_id.ok_or_else(|| missing("commandId"))?,
            candidate: candidate.ok_or_else(|| missing("candidateId"))?,
            name,
            bytes,
        })
    }
}

async fn text(mut field: Field<'_>) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > 256 {
            return Err(ApiError::invalid("body", "has a field that is too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| ApiError::invalid("body", "is not UTF-8"))
}

fn broken(error: MultipartError) -> ApiError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => ApiError::invalid("body", "is not a whole multipart form"),
    }
}

fn too_large() -> ApiError {
    let mib = MAX_FILE_BYTES / (1024 * 1024);
    ApiError::new("RESUME_TOO_LARGE", format!("a file has at most {mib} MiB"))
}

fn unsupported() -> ApiError {
    let why = "a résumé is a PDF, a DOCX or a plain text; a DOC is kept, but not read";
    ApiError::new("RESUME_UNSUPPORTED_KIND", why)
}

async fn store(
    state: &ApiState,
    caller: &Caller,
    form: Form,
    trace_parent: Option<String>,
) -> Result<Value, ApiError> {
    let Form { command_id, candidate, name, bytes } = form;
    // Sealing and storing come before the bus, so that the right is asked for here, too.
    if !permission::allows(caller, Action::UploadResume, Relation::to_own(caller, candidate)) {
        return Err(ApiError::forbidden());
    }
    let size_bytes = bytes.len() as u64;
    if size_bytes > MAX_FILE_BYTES {
        return Err(too_large());
    }
    if bytes.is_empty() {
        return Err(ApiError::invalid("file", "is empty"));
    }
    let media_type = FileKind::of(&bytes).ok_or_else(unsupported)?.media_type();
    let resume = ResumeId(derive_id(caller, command_id, "resume", 0));
    // A repeat stores nothing, whatever became of the candidate: sealed bytes differ each time, and
    // the bus answers by the clear ones.
    let hash = match state.bus.state::<Resume>(caller.company, resume.0).await? {
        Some(_) => None,
        None => {
            let known = state.bus.state::<Candidate>(caller.company, candidate.0).await?;
            if !known.is_some_and(|candidate| candidate.is_active()) {
                return Err(ApiError::not_found("CAND_001"));
            }
            let put = state.files.put(caller.company, Subject::Candidate(candidate), &bytes);
            Some(put.await?)
        }
    };
    let upload = Command::Upload {
        candidate_id: candidate,
        hash: hash.clone().unwrap_or_default(),
        name: name.clone(),
        size_bytes,
        media_type: media_type.to_owned(),
    };
    let fields = json!({ "candidateId": candidate.to_string(), "fileName": name });
    let input = [b"uploadResume\0", fields.to_string().as_bytes(), b"\0", &bytes].concat();
    let mut order = Order::of_client(command_id, input);
    order.trace_parent = trace_parent;
    let done = state.bus.execute::<Resume>(caller, resume.0, upload, order).await;
    if let Some(hash) = hash
        && !matches!(done, Err(CommandError::OutcomeUnknown))
    {
        drop_unless_recorded(state, caller, resume, &hash, done.is_ok()).await;
    }
    let receipt = done?;
    Ok(json!({
        "resumeId": resume.to_string(),
        "candidateId": candidate.to_string(),
        "fileName": name,
        "mediaType": media_type,
        "sizeBytes": size_bytes,
        "version": receipt.version.0,
        "cursor": token(&receipt).to_string(),
    }))
}

/// Takes away the sealed file of an upload that was refused, or that another one of the same command
/// was faster than. Once the command was carried out, a read that does not know of it yet says nothing
/// about whose file it names.
async fn drop_unless_recorded(
    state: &ApiState,
    caller: &Caller,
    resume: ResumeId,
    hash: &str,
    is_carried_out: bool,
) {
    let dropped = async {
        let known = state.bus.state::<Resume>(caller.company, resume.0).await?;
        let named = known.as_ref().and_then(Resume::file_hash);
        if is_left_over(known.is_some(), named, hash, is_carried_out) {
            state.files.remove(caller.company, hash).await?;
        }
        Ok::<(), ApiError>(())
    };
    if let Err(error) = dropped.await {
        tracing::warn!(error.code = error.code(), "a sealed file that nobody names may be left");
    }
}

/// Whether nobody names a sealed file, by whether its résumé is known and which file that names.
fn is_left_over(is_known: bool, named: Option<&str>, hash: &str, is_carried_out: bool) -> bool {
    named != Some(hash) && (is_known || !is_carried_out)
}

fn described(mut response: Response, row: &resumes::Row, tag: &str) -> Response {
    let name = row.file_name.as_deref().unwrap_or("resume");
    let disposition = format!("attachment; filename*=UTF-8''{}", percent_encoded(name));
    let headers = response.headers_mut();
    let values = [
        (header::CONTENT_TYPE, row.media_type.as_str()),
        (header::CONTENT_DISPOSITION, disposition.as_str()),
        (header::ETAG, tag),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    // It is a person's: kept by nobody in between, and asked for again each time.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

fn percent_encoded(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

/// An error in the form that GraphQL answers have, so that clients read one form only.
fn refused(state: &ApiState, error: &ApiError, request_id: &RequestId) -> Response {
    let mut extensions = serde_json::Map::new();
    for (name, value) in error.extensions() {
        extensions.insert(name.to_owned(), value.into_json().unwrap_or_default());
    }
    extensions.insert("requestId".to_owned(), json!(request_id.as_str()));
    extensions.insert("timestamp".to_owned(), json!(state.bus.now()));
    let body = json!({ "errors": [{ "message": error.message(), "extensions": extensions }] });
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::TOO_MANY_REQUESTS
        && let Some(seconds) = error.retry_after_s()
    {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn finish(mut response: Response, request_id: &RequestId) -> Response {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(RequestId::HEADER, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_whose_upload_was_carried_out_is_kept_until_another_is_known_to_be_named() {
        for (is_known, named, is_carried_out, is_gone) in [
            (false, None, true, false),
            (false, None, false, true),
            (true, Some("ours"), true, false),
            (true, Some("ours"), false, false),
            (true, Some("theirs"), true, true),
            (true, None, true, true),
        ] {
            let gone = is_left_over(is_known, named, "ours", is_carried_out);
            assert_eq!(gone, is_gone, "{is_known} {named:?} {is_carried_out}");
        }
    }

    #[test]
    fn a_file_name_cannot_break_out_of_its_header() {
        assert_eq!(percent_encoded("a\"b\r\nc é.pdf"), "a%22b%0D%0Ac%20%C3%A9.pdf");
    }
}
