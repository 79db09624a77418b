//! What browsers may send, and what they are told about answers.

use api::browsers::guarded;
use axum::Router;
use axum::http::header;
use axum::routing::{get, post};
use reqwest::{Method, RequestBuilder, Response};
use tokio::{net::TcpListener, task::JoinSet};

const OURS: &str = "https://app.example.com";
const FOREIGN: &str = "https://other.example";

/// A server with a route to read, one to write to, and one with headers of its own.
struct Routes {
    address: String,
    client: reqwest::Client,
    _task: JoinSet<()>,
}

impl Routes {
    async fn open_to(origins: &[&str]) -> Self {
        let own = [(header::CACHE_CONTROL, "public"), (header::CONTENT_SECURITY_POLICY, "own")];
        let routes = Router::new()
            .route("/read", get(|| async { "text" }))
            .route("/write", post(|| async { "done" }))
            .route("/graphql", get(|| async { "answer" }))
            .route("/own", get(move || async move { (own, "text") }));
        let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        let routes = guarded(routes, &origins).expect("origins");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, routes).await.expect("the server runs") });
        Self { address, client: reqwest::Client::new(), _task: task }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// What a browser asks before it sends JSON with a token to another origin.
    async fn ask_for(&self, origin: &str) -> Response {
        self.request(Method::OPTIONS, "/write")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .send()
            .await
            .expect("an answer")
    }

    async fn post(&self, headers: &[(&str, &str)]) -> Response {
        let request = self.request(Method::POST, "/write").body("{}");
        let with =
            |request: RequestBuilder, &(name, value): &(&str, &str)| request.header(name, value);
        headers.iter().fold(request, with).send().await.expect("an answer")
    }
}

fn told<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().expect("text"))
}

#[tokio::test]
async fn every_answer_binds_the_browser_that_gets_it() {
    let routes = Routes::open_to(&[OURS]).await;
    for (method, path, status) in [
        (Method::GET, "/read", 200),
        (Method::GET, "/nothing-here", 404),
        (Method::GET, "/write", 405),
        (Method::GET, "/own", 200),
    ] {
        let answer = routes.request(method, path).send().await.expect("an answer");
        assert_eq!(answer.status(), status);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("x-xss-protection", "1; mode=block"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(told(&answer, name), Some(value), "{path} {name}");
        }
        let policy = told(&answer, "content-security-policy").expect("a policy");
        let caching = told(&answer, "cache-control");
        match path {
            "/own" => assert_eq!((policy, caching), ("own", Some("public"))),
            _ => assert!(policy.starts_with("default-src 'self';") && caching == Some("no-store")),
        }
        let time = told(&answer, "x-response-time").and_then(|time| time.strip_suffix("ms"));
        time.and_then(|time| time.parse::<f64>().ok()).expect("a time in milliseconds");
    }
}

#[tokio::test]
async fn what_is_no_path_or_not_asked_like_this_is_refused_with_a_code() {
    let routes = Routes::open_to(&[]).await;
    for (path, code, allowed) in
        [("/nothing-here", "PATH_NOT_FOUND", None), ("/write", "METHOD_NOT_ALLOWED", Some("POST"))]
    {
        let answer = routes.request(Method::GET, path).send().await.expect("an answer");
        assert_eq!(told(&answer, "allow"), allowed);
        let answer: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!(answer["errors"][0]["extensions"]["code"], code);
    }
}

#[tokio::test]
async fn a_page_of_another_origin_reads_nothing_unless_the_settings_name_it() {
    let (closed, open) = (Routes::open_to(&[]).await, Routes::open_to(&[OURS]).await);
    for (routes, origin, allowed) in
        [(&closed, OURS, None), (&open, FOREIGN, None), (&open, OURS, Some(OURS))]
    {
        let asked = routes.ask_for(origin).await;
        assert_eq!(told(&asked, "access-control-allow-origin"), allowed);
        let read = routes.request(Method::GET, "/read").header("origin", origin).send().await;
        assert_eq!(told(&read.expect("an answer"), "access-control-allow-origin"), allowed);
    }
    let asked = open.ask_for(OURS).await;
    assert_eq!(told(&asked, "access-control-allow-credentials"), Some("true"));
    assert_eq!(told(&asked, "access-control-allow-methods"), Some("GET,POST"));
    let headers = told(&asked, "access-control-allow-headers").expect("headers");
    assert!(["authorization", "content-type"].iter().all(|name| headers.contains(name)));
    assert!(told(&asked, "vary").is_some_and(|vary| vary.contains("origin")), "caches keep apart");
}

#[tokio::test]
async fn a_post_that_a_page_of_another_origin_sends_is_refused() {
    let routes = Routes::open_to(&[OURS]).await;
    let own = format!("http://{}", routes.address);
    // The first three are sent without asking before.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json",
    ] {
        for refused in [
            vec![("origin", FOREIGN)],
            vec![("origin", "null")],
            vec![("origin", FOREIGN), ("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-site")],
        ] {
            let answer = routes.post(&[&refused[..], &[("content-type", kind)]].concat()).await;
            assert_eq!(answer.status(), 403, "{kind} {refused:?}");
            assert!(told(&answer, "x-request-id").is_some());
            let answer: serde_json::Value = answer.json().await.expect("JSON");
            assert_eq!(crate::code(&answer), "ORIGIN_FORBIDDEN");
            assert_eq!(answer["errors"][0]["extensions"]["kind"], "ACCESS_DENIED");
        }
        for passing in [
            vec![],
            vec![("origin", OURS), ("sec-fetch-site", "cross-site")],
            vec![("origin", own.as_str())],
            vec![("origin", own.as_str()), ("sec-fetch-site", "same-origin")],
        ] {
            let answer = routes.post(&[&passing[..], &[("content-type", kind)]].concat()).await;
            assert_eq!(answer.status(), 200, "{kind} {passing:?}");
        }
    }
}

#[tokio::test]
async fn a_socket_is_opened_for_pages_whose_posts_would_be_taken() {
    let routes = Routes::open_to(&[OURS]).await;
    let own = format!("http://{}", routes.address);
    for (headers, status) in [
        (vec![], 200),
        (vec![("origin", OURS)], 200),
        (vec![("origin", own.as_str())], 200),
        (vec![("origin", own.as_str()), ("sec-fetch-site", "same-origin")], 200),
        (vec![("origin", FOREIGN)], 403),
        (vec![("origin", "null")], 403),
        (vec![("origin", FOREIGN), ("sec-fetch-site", "cross-site")], 403),
        (vec![("sec-fetch-site", "same-site")], 403),
    ] {
        // The route upgrades nothing: that it is reached is all there is to see.
        let request = routes.request(Method::GET, "/read").header("upgrade", "WebSocket");
        let with =
            |request: RequestBuilder, &(name, value): &(&str, &str)| request.header(name, value);
        let answer = headers.iter().fold(request, with).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{headers:?}");
        if status == 403 {
            let answer: serde_json::Value = answer.json().await.expect("JSON");
            assert_eq!(crate::code(&answer), "ORIGIN_FORBIDDEN");
        }
    }
}

#[tokio::test]
async fn no_page_of_another_site_has_a_browser_ask_as_nobody() {
    let routes = Routes::open_to(&[OURS]).await;
    let cross = ("sec-fetch-site", "cross-site");
    for (path, headers, status) in [
        ("/graphql", vec![cross], 403),
        ("/graphql", vec![cross, ("origin", FOREIGN)], 403),
        ("/graphql", vec![cross, ("origin", OURS)], 200),
        ("/graphql", vec![cross, ("authorization", "Bearer token")], 200),
        ("/graphql", vec![("sec-fetch-site", "same-origin")], 200),
        ("/graphql", vec![], 200),
        ("/read", vec![cross], 200),
    ] {
        let request = routes.request(Method::GET, path);
        let with =
            |request: RequestBuilder, &(name, value): &(&str, &str)| request.header(name, value);
        let answer = headers.iter().fold(request, with).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{path} {headers:?}");
        if status == 403 {
            let answer: serde_json::Value = answer.json().await.expect("JSON");
            assert_eq!(crate::code(&answer), "ORIGIN_FORBIDDEN");
        }
    }
}

#[tokio::test]
async fn what_browsers_never_send_as_an_origin_is_refused_by_its_text() {
    for origin in [
        "",
        "*",
        "null",
        "app.example.com",
        "https://App.example.com",
        "https://app.example.com/",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://user@app.example.com",
        "file:///tmp",
    ] {
        let refused = guarded(Router::new(), &[origin.to_owned()]).expect_err(origin);
        assert!(refused.to_string().contains(&format!("{origin:?}")), "{refused}");
    }
    for origin in ["http://localhost:5173", "https://app.example.com:8443"] {
        assert!(guarded(Router::new(), &[origin.to_owned()]).is_ok(), "{origin}");
    }
}
