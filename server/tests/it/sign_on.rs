//! Signing in by a company's own provider (OpenID Connect), and how providers are reached over HTTP.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Redirect;
use axum::routing::{get, post};
use identity::sign_on::Web;
use secrecy::SecretString;
use serde_json::json;
use server::web::Providers;

use crate::client::text;
use crate::job::Company;
use crate::provider::{Fault, Provider, begin, finish, sign_on};
use crate::world::World;

/// Answers with what it was sent, redirects, grows too long, and breaks off.
async fn crooked() -> SocketAddr {
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
    let address = crooked().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn people_come_in_by_their_company_s_provider_and_not_by_one_that_misbehaves() {
    let world = World::without_kafka().await;
    let provider = Provider::start().await;
    let issuers = [("COLLOQUY_SIGN_ON__ISSUERS", provider.issuer.as_str())];
    let mut all = world.start_with("all", &issuers);
    let client = all.client().await;
    let people = Company::found(&world, &client, "lights").await;
    let company = people.admin.query("{ company { id } }", json!({})).await;
    let company = text(&company, "/company/id");
    assert_eq!(begin(&client, company).await.err().as_deref(), Some("SIGN_ON_NOT_CONFIGURED"));
    provider.configure(&people.admin).await;
    let input = json!({ "email": "cy@lights.example", "fullName": "Cy", "role": "VIEWER" });
    let invited = people.admin.carry_out("inviteMember", input, "member { id }").await;
    let member = text(&invited, "/member/id");

    provider.is_visited_by("person 7", "stranger@lights.example");
    let stranger = sign_on(&client, company).await;
    assert_eq!(stranger.err().as_deref(), Some("SIGN_ON_REFUSED"), "nobody has invited them");
    provider.is_visited_by("person 1", "Cy@lights.example");
    let viewer = "{ viewer { ... on MemberViewer { id roles companyId } } }";
    let comes_in = async || {
        let cy = sign_on(&client, company).await.expect("in");
        let found = cy.query(viewer, json!({})).await;
        assert_eq!(found["viewer"]["id"], member, "{found}");
        assert_eq!(found["viewer"]["roles"], json!(["VIEWER"]));
        assert_eq!(found["viewer"]["companyId"], company);
    };
    comes_in().await;
    for (fault, code) in [
        (Fault::Issuer, "SIGN_ON_REFUSED"),
        (Fault::Audience, "SIGN_ON_REFUSED"),
        (Fault::Nonce, "SIGN_ON_REFUSED"),
        (Fault::Expired, "SIGN_ON_REFUSED"),
        (Fault::AlgNone, "SIGN_ON_REFUSED"),
        (Fault::HmacOfThePublicKey, "SIGN_ON_REFUSED"),
        (Fault::UnknownKey, "SIGN_ON_REFUSED"),
        (Fault::Fails, "SIGN_ON_PROVIDER_FAILED"),
        (Fault::Oversized, "SIGN_ON_PROVIDER_FAILED"),
        (Fault::Stalls, "SIGN_ON_PROVIDER_FAILED"),
        (Fault::SpeaksForAnother, "SIGN_ON_PROVIDER_FAILED"),
    ] {
        provider.misbehave(fault);
        let refused = sign_on(&client, company).await.err();
        assert_eq!(refused.as_deref(), Some(code), "{fault:?}");
        println!("{code:<28} {fault:?}");
        provider.misbehave(Fault::None);
        comes_in().await;
    }

    let code = async |attempt| match finish(&client, attempt).await {
        Ok(_) => "ok".to_owned(),
        Err(refused) => refused.code,
    };
    let first = begin(&client, company).await.expect("begun");
    assert_eq!(code(&first).await, "ok");
    assert_eq!(code(&first).await, "SIGN_ON_REFUSED", "an answer that came before");
    let mut second = begin(&client, company).await.expect("begun");
    second.code.clone_from(&first.code);
    assert_eq!(code(&second).await, "SIGN_ON_PROVIDER_FAILED", "a code is good once");
    let mut third = begin(&client, company).await.expect("begun");
    third.state = begin(&client, company).await.expect("begun").state;
    assert_eq!(code(&third).await, "SIGN_ON_REFUSED", "an answer to somebody else");
    comes_in().await;
    all.is_running();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_not_allowed_is_refused_at_the_field_that_names_it() {
    let (_world, _all, _, company) = Company::lights().await;
    let document = "mutation($input: ConfigureSignOnInput!) { configureSignOn(input: $input) \
                    { errors { code path } } }";
    let input = json!({
        "issuer": "https://sign-on.example", "clientId": "colloquy", "clientSecret": "s3cret",
        "redirectUri": "https://lights.example/signed-on",
    });
    let body = json!({ "query": document, "variables": { "input": input } }).to_string();
    let (_, answer) = company.admin.send_bytes(body.into_bytes()).await.expect("an answer");
    let errors = json!([{ "code": "VALIDATION_FAILED", "path": ["input", "issuer"] }]);
    assert_eq!(answer.pointer("/data/configureSignOn/errors"), Some(&errors), "{answer}");
}
