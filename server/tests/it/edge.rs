//! The edge as browsers see it, on a running server.

use serde_json::{Value, json};

use crate::job::Company;
use crate::process::run;
use crate::world::World;

const OURS: &str = "https://app.example.com";

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_name_whose_pages_may_call() {
    let world = World::without_kafka().await;
    let origins = format!("http://localhost:5173, {OURS}");
    let mut all = world.start_with("all", &[("COLLOQUY_HTTP__CORS_ORIGINS", &origins)]);
    let client = all.client().await;
    let http = reqwest::Client::new();
    let at = |path: &str| format!("{}{path}", client.base());
    for (origin, allowed, status, code) in [
        (OURS, Some(OURS), 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("https://other.example", None, 403, "ORIGIN_FORBIDDEN"),
    ] {
        let asked = http
            .request(reqwest::Method::OPTIONS, at("/graphql"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        let asked = asked.send().await.expect("an answer");
        let named = asked.headers().get("access-control-allow-origin");
        assert_eq!(named.map(|origin| origin.to_str().expect("text")), allowed);
        // Sent by a page without a question before.
        let form = http.post(at("/graphql")).header("origin", origin).body("{}");
        let form = form.header("content-type", "text/plain").send().await.expect("an answer");
        assert_eq!(form.status(), status);
        assert_eq!(form.headers()["x-frame-options"], "DENY");
        let form: Value = form.json().await.expect("JSON");
        assert_eq!(form["errors"][0]["extensions"]["code"], code);
    }
    for path in ["/health", "/graphiql", "/asyncapi.json", "/nothing-here"] {
        let answer = http.get(at(path)).send().await.expect("an answer");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
        assert!(answer.headers().contains_key("content-security-policy"), "{path}");
    }
    let contract = http.get(at("/asyncapi.json")).header("origin", "https://other.example");
    let contract = contract.send().await.expect("an answer");
    assert_eq!(contract.headers()["access-control-allow-origin"], "*", "contracts are no secret");

    let mut command = world.command(&["serve"]);
    command.env("COLLOQUY_HTTP__CORS_ORIGINS", "*");
    let (code, said) = run(command).await;
    assert!(!code.success() && said.contains("http.cors_origins"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_of_an_interviews_history_is_not_sent_again_to_who_has_it() {
    let world = World::without_kafka().await;
    let mut all = world.start("all");
    let client = all.client().await;
    let company = Company::found(&world, &client, "lights").await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Wilma").await;
    world.until_projected().await;
    let http = reqwest::Client::new();
    let get = async |document: &str, known: &str| {
        let variables = json!({ "id": round.id });
        let path = format!("/graphql?query={document}&variables={variables}");
        let request = http.get(format!("{}{path}", client.base()));
        let request = request.bearer_auth(company.auditor.token()).header("if-none-match", known);
        request.send().await.expect("an answer")
    };
    let then = "query($id: ID!) { interview(id: $id, asOf: { version: 1 }) { status version } }";
    let answer = get(then, "\"none\"").await;
    let headers = answer.headers().clone();
    let shown: Value = answer.json().await.expect("JSON");
    assert_eq!(shown["data"]["interview"]["version"], 1, "{shown}");
    assert_eq!(headers["cache-control"], "private, no-cache");
    let tag = headers["etag"].to_str().expect("text").to_owned();
    assert_eq!(get(then, &tag).await.status(), 304);
    let now = "query($id: ID!) { interview(id: $id) { status version } }";
    let answer = get(now, "*").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["cache-control"]),
        (200, &"no-store".parse().expect("a value"))
    );
}
