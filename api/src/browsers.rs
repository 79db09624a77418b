//! What browsers may do: which pages of other origins call the API, and what becomes of its answers.
//!
//! A page of another origin is refused unless the settings name its origin. Two walls hold that up.
//! A browser shows an answer only to pages that CORS names. And what it would send without asking
//! first, such as a form, is turned away by the `Origin` and `Sec-Fetch-Site` that every browser adds
//! and no page can change. What comes without either header comes from no browser, and passes.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::Response;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::csrf::{CsrfLayer, ProtectionError};

use crate::transport::codes::{self, Refusal};
use crate::transport::{self, RequestId, TraceParent, purpose};
use crate::{GRAPHQL, requests};

/// How long a browser may keep the answer to its question whether a request is allowed.
const KEPT: Duration = Duration::from_secs(600);

/// What every answer says (SEC-15).
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_XSS_PROTECTION, "1; mode=block"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// What an answer says that does not say otherwise.
const UNLESS_SAID: [(HeaderName, &str); 2] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         object-src 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// What is no origin as browsers send it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no origin, such as https://app.example.com: lower case, no usual port, no path")]
pub struct OriginInvalid(String);

/// The same routes, closed to pages of all origins but the own one and these; each request is told of.
///
/// # Errors
/// [`OriginInvalid`].
pub fn guarded(routes: Router, origins: &[String]) -> Result<Router, OriginInvalid> {
    let mut foreign_posts = CsrfLayer::new();
    let mut allowed = Vec::new();
    for origin in origins {
        let invalid = || OriginInvalid(origin.clone());
        if !is_as_sent(origin) {
            return Err(invalid());
        }
        foreign_posts = foreign_posts.add_trusted_origin(origin).map_err(|_| invalid())?;
        allowed.push(HeaderValue::from_str(origin).map_err(|_| invalid())?);
    }
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(allowed))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static(RequestId::HEADER),
            HeaderName::from_static(TraceParent::NAME),
            HeaderName::from_static(purpose::HEADER),
        ])
        .expose_headers([
            HeaderName::from_static(RequestId::HEADER),
            header::ETAG,
            header::CONTENT_DISPOSITION,
            header::RETRY_AFTER,
            requests::RESPONSE_TIME,
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
        ])
        .max_age(KEPT);
    let foreign_posts = foreign_posts.with_rejection_response(refused);
    let judge = Router::new().fallback(async || StatusCode::OK).layer(foreign_posts.clone());
    let sockets = from_fn(move |request, next| as_a_post(judge.clone(), request, next));
    // The last is the outermost.
    let routes = requests::complete(routes).layer(foreign_posts).layer(sockets).layer(cors);
    let routes = routes.layer(map_response(told)).layer(from_fn(requests::told));
    Ok(routes.layer(CompressionLayer::new().compress_when(pays_off())))
}

/// What gets smaller by being packed: no files of people, which are packed already or small, and no
/// streams, whose events would wait for each other.
fn pays_off() -> impl Predicate {
    DefaultPredicate::new()
        .and(NotForContentType::const_new("application/pdf"))
        .and(NotForContentType::const_new("application/vnd.openxmlformats"))
}

/// A page opens a WebSocket with a GET, and CORS does not ask before: it passes if a post would. So does
/// what a page of another site has a visitor's browser ask as nobody: no such page reads the answer,
/// and all who share the visitor's address would pay for it.
async fn as_a_post(judge: Router, request: Request, next: Next) -> Response {
    if !transport::is_upgrade(request.headers()) && !is_foreign_question(&request) {
        return next.run(request).await;
    }
    let mut post = Request::new(Body::empty());
    *post.method_mut() = Method::POST;
    *post.uri_mut() = request.uri().clone();
    *post.headers_mut() = request.headers().clone();
    let Ok(judged) = judge.oneshot(post).await;
    if judged.status() == StatusCode::OK { next.run(request).await } else { judged }
}

fn is_foreign_question(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && request.uri().path() == GRAPHQL
        && headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
        && !headers.contains_key(header::AUTHORIZATION)
}

/// Browsers write an origin in one way only, and it is compared byte by byte.
fn is_as_sent(origin: &str) -> bool {
    let usual_port = match origin.split_once("://") {
        Some(("https", _)) => ":443",
        _ => ":80",
    };
    !origin.bytes().any(|byte| byte.is_ascii_uppercase())
        && !origin.contains('@')
        && !origin.ends_with(usual_port)
}

fn refused(_: ProtectionError) -> Response {
    let message = "a page of another origin sent this, and the settings do not name its origin";
    transport::refused(&Refusal::new(&codes::ORIGIN_FORBIDDEN, message))
}

async fn told(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in UNLESS_SAID {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
