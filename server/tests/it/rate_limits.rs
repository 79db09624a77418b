//! How much may be asked, on running servers.

use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use reqwest::Response;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::client::Client;
use crate::job::Company;
use crate::process::Process;
use crate::socket::{Item, Socket};
use crate::world::{World, until};

const LIMITED: (&str, &str) = ("COLLOQUY_LIMITS__ENABLED", "true");
const VIEWER: &str = "{ viewer { member { id } } }";
const LEFT: &str = "{ rateLimit { limit cost remaining resetAt
    buckets { class limit windowSeconds remaining resetAt } } }";

/// A server that limits as these settings say, with one company.
async fn limited(settings: &[(&str, &str)]) -> (World, Process, Client, Company) {
    let world = World::without_kafka().await;
    let settings = [&[LIMITED], settings].concat();
    let mut all = world.start_with("all", &settings);
    let client = all.client().await;
    let company = Company::found(&world, &client, "lights").await;
    (world, all, client, company)
}

/// Sends a body; with a token, if there is one, and as a proxy of this address, if there is one.
async fn send(base: &str, token: Option<&str>, forwarded: Option<&str>, body: &Value) -> Response {
    let mut request = reqwest::Client::new().post(format!("{base}/graphql")).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(address) = forwarded {
        request = request.header("x-forwarded-for", address);
    }
    request.send().await.expect("an answer")
}

async fn ask(who: &Client, document: &str) -> Response {
    send(who.base(), Some(who.token()), None, &json!({ "query": document })).await
}

/// Asserts that an answer is a refusal with a time to wait, and answers that in seconds.
async fn refused(answer: Response) -> u64 {
    assert_eq!(answer.status(), 429);
    let after = answer.headers()["retry-after"].to_str().expect("text").to_owned();
    let after: u64 = after.parse().expect("whole seconds");
    let answer: Value = answer.json().await.expect("JSON");
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!(extensions["code"], "RATE_LIMITED", "{answer}");
    assert_eq!(extensions["kind"], "RATE_LIMITED");
    assert_eq!(extensions["retryAfter"], after);
    assert!(after >= 1 && answer.get("data").is_none(), "{answer}");
    after
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_a_hundred_times_a_minute_waits_and_nobody_else_does() {
    let (_world, _all, _, company) = limited(&[]).await;
    let before = company.hr.query(LEFT, json!({})).await;
    assert_eq!(before["rateLimit"]["limit"], 100);
    // After this request, and what may have come while it was answered.
    let left = before["rateLimit"]["remaining"].as_u64().expect("a number");
    assert!((99..=100).contains(&left), "{before}");
    let buckets = before["rateLimit"]["buckets"].as_array().expect("a list");
    let names: Vec<_> = buckets.iter().map(|bucket| bucket["class"].as_str()).collect();
    let expected = [
        "USER",
        "COMPANY",
        "SIGN_IN_ADDRESS",
        "SIGN_IN_ACCOUNT",
        "UPLOAD",
        "AI",
        "INTERVIEW_START",
        "LETTER",
        "SOCKET",
    ];
    assert_eq!(names, expected.map(Some));

    let began_at = Instant::now();
    let mut n_passed = 1;
    // Many at once, so that they come faster than time brings new ones.
    let last = loop {
        let asked = (0..100).map(|_| ask(&company.hr, VIEWER));
        let answers = futures::future::join_all(asked).await;
        let (passed, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status() == 200);
        for answer in &passed {
            let policy = answer.headers()["ratelimit-policy"].to_str().expect("text");
            assert_eq!(policy, "\"user\";q=100;w=60");
            let left = answer.headers()["ratelimit"].to_str().expect("text");
            assert!(left.starts_with("\"user\";r="), "{left}");
        }
        n_passed += passed.len() as u128;
        if let Some(last) = refused.into_iter().next_back() {
            break last;
        }
        assert!(n_passed < 1000, "nobody is refused");
    };
    assert!(n_passed >= 100, "{n_passed}");
    let brought = began_at.elapsed().as_millis() / 600;
    assert!(n_passed <= 101 + brought, "{n_passed} with {brought} in the meantime");
    assert_eq!(refused(last).await, 1, "every 0.6 seconds one comes");

    assert_eq!(ask(&company.interviewer, VIEWER).await.status(), 200);
    until("time brings another one", async || {
        (ask(&company.hr, VIEWER).await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_to_sign_in_counts_under_whatever_alias() {
    let (world, _all, client, _company) = limited(&[("COLLOQUY_LIMITS__ANONYMOUS", "off")]).await;
    let attempts = |names: &[&str]| {
        let attempt = |name: &&str| {
            format!(
                r#"{name}: signIn(input: {{ email: "no.body@lights.example", password: "x{name}" }})
                   {{ accessToken errors {{ code }} }}"#
            )
        };
        let fields: Vec<String> = names.iter().map(attempt).collect();
        json!({ "query": format!("mutation {{ {} }}", fields.join(" ")) })
    };
    let n_failed = async || {
        let failed =
            sqlx::query_scalar("select coalesce(sum(n_failed), 0) from identity.login_attempt");
        let failed: i64 = failed.fetch_one(&world.pool).await.expect("counted");
        failed
    };
    let stranger = async |body: &Value| send(client.base(), None, None, body).await;
    refused(stranger(&attempts(&["a", "b", "c", "d", "e", "f"])).await).await;
    assert_eq!(n_failed().await, 0, "nothing of it was executed");
    let answer = stranger(&attempts(&["a", "b", "c"])).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(n_failed().await, 3);
    let wait = refused(stranger(&attempts(&["a", "b", "c"])).await).await;
    assert!(wait <= 12, "two are left, and the third comes every twelve seconds: {wait}");
    assert_eq!(n_failed().await, 3);
    let batch = json!([attempts(&["a"]), attempts(&["b"])]);
    let answer = stranger(&batch).await;
    assert_eq!(answer.status(), 400);
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "BATCHING_NOT_SUPPORTED");
    assert_eq!(n_failed().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_what_one_person_may_ask() {
    let settings = [("COLLOQUY_LIMITS__USER", "20/h"), ("COLLOQUY_LIMITS__UPLOAD", "1/h")];
    let (world, _all, _, company) = limited(&settings).await;
    let mut serve = world.start_with("serve", &[&[LIMITED], &settings[..]].concat());
    let other = company.viewer.with_base(&serve.client().await);
    let asked = (0..100).map(|n| {
        let who = if n % 2 == 0 { &company.viewer } else { &other };
        async move { ask(who, VIEWER).await.status().as_u16() }
    });
    let statuses = futures::future::join_all(asked).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 20);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 80);

    let upload = async |who: &Client| {
        let request = reqwest::Client::new().post(format!("{}/files/resumes", who.base()));
        request.bearer_auth(who.token()).body("no form").send().await.expect("an answer")
    };
    assert_eq!(upload(&company.hr).await.status(), 400);
    let wait = refused(upload(&company.hr.with_base(&other)).await).await;
    assert!((3500..=3600).contains(&wait), "{wait}");
}

/// Opens a socket and says hello; answers the close code, or `None` once it is taken.
async fn hello(who: &Client) -> Option<u16> {
    hello_from(who, None).await
}

/// The same as a proxy of this address, if there is one.
async fn hello_from(who: &Client, forwarded: Option<&'static str>) -> Option<u16> {
    let address = who.base().replacen("http", "ws", 1);
    let mut request = format!("{address}/graphql").into_client_request().expect("an address");
    let protocol = HeaderValue::from_static("graphql-transport-ws");
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    if let Some(address) = forwarded {
        request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static(address));
    }
    let (mut socket, _) = connect_async(request).await.expect("a socket");
    let payload = json!({ "authorization": format!("Bearer {}", who.token()) });
    let init = json!({ "type": "connection_init", "payload": payload });
    socket.send(Message::text(init.to_string())).await.expect("sent");
    let heard =
        tokio::time::timeout(Duration::from_secs(30), socket.next()).await.expect("in time");
    match heard.expect("a message").expect("readable") {
        Message::Close(Some(close)) => Some(close.code.into()),
        Message::Text(text) if text.contains("connection_ack") => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_too_many_sockets_is_closed_out() {
    let settings = [("COLLOQUY_LIMITS__SOCKET", "5/h"), ("COLLOQUY_LIMITS__USER", "20/h")];
    let (_world, _all, _, company) = limited(&settings).await;
    for _ in 0..20 {
        ask(&company.hr, VIEWER).await;
    }
    assert_eq!(ask(&company.hr, VIEWER).await.status(), 429);
    // The socket is open to who may ask nothing more, and its operation is refused.
    let socket = Socket::subscribe(&company.hr, VIEWER, json!({})).await;
    match socket.expect("a socket").next().await {
        Item::End(Some(refused)) => assert_eq!(refused.code, "RATE_LIMITED"),
        other => panic!("{other:?}"),
    }
    for _ in 0..4 {
        assert_eq!(hello(&company.hr).await, None);
    }
    assert_eq!(hello(&company.hr).await, Some(4429));
    assert_eq!(hello(&company.interviewer).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_count_by_the_address_that_a_known_proxy_tells() {
    let world = World::without_kafka().await;
    let few = ("COLLOQUY_LIMITS__ANONYMOUS", "2/h");
    let believed = ("COLLOQUY_HTTP__TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8");
    let body = json!({ "query": "{ __typename }" });
    for (settings, is_believed) in
        [(vec![LIMITED, few, believed], true), (vec![LIMITED, few], false)]
    {
        let mut all = world.start_with("serve", &settings);
        let base = all.client().await.base().to_owned();
        let from = async |address| send(&base, None, Some(address), &body).await.status().as_u16();
        assert_eq!(from("203.0.113.1").await, 200);
        assert_eq!(from("203.0.113.1").await, 200);
        assert_eq!(from("203.0.113.1").await, 429);
        assert_eq!(from("198.51.100.9, 203.0.113.1").await, 429, "what the sender wrote itself");
        assert_eq!(from("203.0.113.2").await, if is_believed { 200 } else { 429 });
        assert!(!all.said().contains("203.0.113."), "an address in the log");
        all.terminate().await;
        let reset = sqlx::query("truncate identity.rate_bucket").execute(&world.pool);
        reset.await.expect("emptied");
    }
    let wrong = [("COLLOQUY_HTTP__TRUSTED_PROXIES", "proxy.example.com")];
    let mut command = world.command(&["serve"]);
    command.envs(wrong);
    let (code, said) = crate::process::run(command).await;
    assert!(!code.success() && said.contains("http.trusted_proxies"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_refused_count_as_requests_of_strangers_from_one_address() {
    let settings =
        [("COLLOQUY_LIMITS__ANONYMOUS", "30/h"), ("COLLOQUY_HTTP__TRUSTED_PROXIES", "127.0.0.1")];
    let (_world, _all, _, company) = limited(&settings).await;
    let tried = company.hr.with_token("no.good.token");
    let file = async |who: &Client, address: &str| {
        let request = reqwest::Client::new().get(format!("{}/files/resumes/1", who.base()));
        let request = request.bearer_auth(who.token()).header("x-forwarded-for", address);
        request.send().await.expect("an answer")
    };
    let body = json!({ "query": VIEWER });
    let graphql = async |who: &Client, address: &str| {
        send(who.base(), Some(who.token()), Some(address), &body).await
    };
    let (there, elsewhere) = ("203.0.113.1", "203.0.113.2");
    assert_eq!(hello_from(&tried, Some(there)).await, Some(4403));
    for _ in 0..14 {
        assert_eq!(graphql(&tried, there).await.status(), 401);
        assert_eq!(file(&tried, there).await.status(), 401);
    }
    assert_eq!(graphql(&tried, there).await.status(), 401, "the thirtieth");
    refused(graphql(&tried, there).await).await;
    assert_eq!(file(&tried, there).await.status(), 429);
    assert_eq!(hello_from(&tried, Some(there)).await, Some(4429));

    assert_eq!(graphql(&tried, elsewhere).await.status(), 401);
    assert_eq!(graphql(&company.hr, there).await.status(), 200, "a good one is not counted there");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_renewed_where_strangers_of_the_same_address_may_ask_nothing_more() {
    let world = World::without_kafka().await;
    let few = ("COLLOQUY_LIMITS__ANONYMOUS", "3/h");
    let mut all = world.start_with("all", &[LIMITED, few]);
    let client = all.client().await;
    let post = async |cookie: &str, document: &str| {
        let request = reqwest::Client::new().post(format!("{}/graphql", client.base()));
        let request = request.header("cookie", cookie).json(&json!({ "query": document }));
        request.send().await.expect("an answer")
    };
    let cookie_of = |answer: &Response| {
        let cookie = answer.headers()["set-cookie"].to_str().expect("text");
        cookie.split(';').next().expect("a pair").to_owned()
    };
    let (email, password) = world.operator();
    let sign_in = format!(
        "mutation {{ signIn(input: {{ email: \"{email}\", password: \"{password}\" }}) \
         {{ accessToken errors {{ code }} }} }}"
    );
    let mut cookie = cookie_of(&post("", &sign_in).await);

    // What any page can have a browser send costs nothing.
    let get = async |site: &str, document: &str| {
        let request =
            reqwest::Client::new().get(format!("{}/graphql?query={document}", client.base()));
        let request = request.header("sec-fetch-site", site);
        request.send().await.expect("an answer").status().as_u16()
    };
    for _ in 0..5 {
        assert_eq!(get("cross-site", "{ __typename }").await, 403);
        assert_eq!(get("none", "mutation { signOut(input: {}) { ended } }").await, 405);
    }
    assert_eq!(get("none", "{ __typename }").await, 200);
    assert_eq!(get("none", "{ __typename }").await, 200);
    assert_eq!(get("none", "{ __typename }").await, 429);

    let refresh = "mutation { refreshSession(input: {}) { accessToken } }";
    for _ in 0..4 {
        let answer = post(&cookie, refresh).await;
        assert_eq!(answer.status(), 200);
        cookie = cookie_of(&answer);
    }
    refused(post("__Host-colloquy_refresh=unknown", refresh).await).await;
}
