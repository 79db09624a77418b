//! The page for trying the API by hand: GraphiQL, served from files of our own.
//!
//! The page has a content security policy that lets it reach this server and nothing else. How the
//! files are made is written in `api/assets/README.md`.

use std::sync::LazyLock;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::etag;

const PAGE: &[u8] = include_bytes!("../assets/graphiql.html");
const SCRIPT: &[u8] = include_bytes!("../assets/graphiql.js");
const STYLE: &[u8] = include_bytes!("../assets/graphiql.css");
const LICENSES: &[u8] = include_bytes!("../assets/LICENSES.txt");

/// Styles are set from the script by parts of GraphiQL, hence `unsafe-inline` for them alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// Serves the page at `/graphiql`; it speaks to `/graphql` of the same origin.
pub fn router() -> Router {
    Router::new()
        .route("/graphiql", get(page))
        .route("/graphiql/graphiql.js", get(script))
        .route("/graphiql/graphiql.css", get(style))
        .route("/graphiql/LICENSES.txt", get(licenses))
}

async fn page(headers: HeaderMap) -> Response {
    static TAG: LazyLock<String> = LazyLock::new(|| etag::of(PAGE));
    file(&headers, &TAG, "text/html; charset=utf-8", PAGE)
}

async fn script(headers: HeaderMap) -> Response {
    static TAG: LazyLock<String> = LazyLock::new(|| etag::of(SCRIPT));
    file(&headers, &TAG, "text/javascript; charset=utf-8", SCRIPT)
}

async fn style(headers: HeaderMap) -> Response {
    static TAG: LazyLock<String> = LazyLock::new(|| etag::of(STYLE));
    file(&headers, &TAG, "text/css; charset=utf-8", STYLE)
}

async fn licenses(headers: HeaderMap) -> Response {
    static TAG: LazyLock<String> = LazyLock::new(|| etag::of(LICENSES));
    file(&headers, &TAG, "text/plain; charset=utf-8", LICENSES)
}

fn file(headers: &HeaderMap, tag: &str, media: &'static str, content: &'static [u8]) -> Response {
    let known = etag::is_known(headers, tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(content))
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
