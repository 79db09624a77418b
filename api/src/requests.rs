//! What is told of every request, whatever it asks for: how long it took, to who asked, and one line in
//! the log. Neither has anything of what was asked or answered.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::transport::codes::{self, Refusal};
use crate::transport::{self, RequestId};

/// Milliseconds until the answer's head was there (API-14).
pub(crate) const RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");

/// The same routes, where what is none of them is refused with a code, too.
pub(crate) fn complete(routes: Router) -> Router {
    let missing = "there is nothing at this path; /graphql is the API";
    let wrong = "this path is not asked by this method";
    routes
        .fallback(async move || transport::refused(&Refusal::new(&codes::PATH_NOT_FOUND, missing)))
        .method_not_allowed_fallback(async move || {
            let mut refused = transport::refused(&Refusal::new(&codes::METHOD_NOT_ALLOWED, wrong));
            // Which ones it is asked by, the router adds.
            refused.headers_mut().remove(header::ALLOW);
            refused
        })
}

/// The method, if it is one that something is asked by.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Passes a request on and tells of it.
pub(crate) async fn told(request: Request, next: Next) -> Response {
    // Method and path may say anything.
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began_at = Instant::now();
    let mut response = next.run(request).await;
    let ms = began_at.elapsed().as_secs_f64() * 1000.0;
    if let Ok(time) = HeaderValue::from_str(&format!("{ms:.1}ms")) {
        response.headers_mut().insert(RESPONSE_TIME, time);
    }
    let request_id = response.headers().get(RequestId::HEADER);
    tracing::info!(
        request.id = request_id.and_then(|id| id.to_str().ok()),
        http.method = method,
        http.route = route.as_ref().map(MatchedPath::as_str),
        http.status = response.status().as_u16(),
        duration_ms = ms,
        "answered"
    );
    response
}
