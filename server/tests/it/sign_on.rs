//! Providers of OpenID Connect as they are reached over HTTP.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Redirect;
use axum::routing::{get, post};
use identity::sign_on::Web;
use secrecy::SecretString;
use serde_json::json;
use server::web::Providers;

/// Answers with what it was sent, redirects, grows too long, and breaks off.
async fn provider() -> SocketAddr {
    let told = async |headers: HeaderMap, body: String| {
        let by = headers[header::AUTHORIZATION].to_str().expect("text").to_owned();
        axum::Json(json!({ "by": by, "form": body }))
    };
    let routes = Router::new()
        .route("/said", get(async || axum::Json(json!({ "issuer": "me" }))))
        .route("/elsewhere", get(async || Redirect::temporary("/said")))
        .route("/long", get(async || format!("\"{}\"", "x".repeat(1024 * 1024))))
        .route("/page", get(async || "<html>"))
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/token", post(told));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[tokio::test]
async fn a_provider_is_asked_and_never_followed_elsewhere() {
    let address = provider().await;
    let issuer = format!("http://{address}");
    let providers = Providers::new(std::slice::from_ref(&issuer)).expect("on this machine");
    assert!(providers.is_allowed(&issuer));
    assert!(!providers.is_allowed(&format!("{issuer}/")) && !providers.is_allowed(""));
    assert_eq!(providers.get(&format!("{issuer}/said")).await, Ok(json!({ "issuer": "me" })));
    for path in ["elsewhere", "long", "page", "broken", "nothing"] {
        assert!(providers.get(&format!("{issuer}/{path}")).await.is_err(), "{path}");
    }
    let secret = SecretString::from("s3cret");
    let form = [("code", "a b&c"), ("grant_type", "authorization_code")];
    let told = providers.post(&format!("{issuer}/token"), ("us", &secret), &form).await;
    let form = "code=a+b%26c&grant_type=authorization_code";
    assert_eq!(told, Ok(json!({ "by": "Basic dXM6czNjcmV0", "form": form })));
}

#[test]
fn a_provider_that_anybody_could_overhear_is_refused() {
    for issuer in ["http://login.example.com", "ftp://login.example.com", ""] {
        assert!(Providers::new(&[issuer.to_owned()]).is_err(), "{issuer}");
    }
    assert!(Providers::new(&["https://login.example.com".to_owned()]).is_ok());
}
