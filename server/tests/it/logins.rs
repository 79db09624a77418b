//! Logins over HTTP: the cookie that prolongs a session, signing out on several servers, lock-out,
//! and logins of another system.

use reqwest::header;
use serde_json::{Value, json};

use crate::client::{Client, text};
use crate::job::Company;
use crate::world::{World, until};

/// An answer as a browser has it: the cookie beside the payload.
struct Answered {
    cookie: Option<String>,
    answer: Value,
}

impl Answered {
    #[track_caller]
    fn token(&self, field: &str) -> &str {
        text(&self.answer, &format!("/data/{field}/accessToken"))
    }

    fn code(&self) -> &str {
        self.answer.pointer("/errors/0/extensions/code").and_then(Value::as_str).unwrap_or("ok")
    }

    /// The pair that a browser sends back.
    #[track_caller]
    fn pair(&self) -> String {
        let cookie = self.cookie.as_deref().expect("a cookie");
        cookie.split(';').next().expect("a pair").to_owned()
    }
}

async fn ask(client: &Client, document: &str, cookie: &str, bearer: Option<&str>) -> Answered {
    let http = reqwest::Client::new();
    let mut request = http.post(format!("{}/graphql", client.base())).header("cookie", cookie);
    if let Some(token) = bearer {
        request = request.bearer_auth(token);
    }
    let response = request.json(&json!({ "query": document })).send().await.expect("an answer");
    let cookie = response.headers().get(header::SET_COOKIE);
    let cookie = cookie.map(|cookie| cookie.to_str().expect("text").to_owned());
    Answered { cookie, answer: response.json().await.expect("JSON") }
}

const REFRESH: &str =
    "mutation { refreshSession(input: {}) { accessToken viewer { __typename } } }";
const SESSIONS: &str = "{ sessions { sessionId device isPresent companyId } }";

fn sign_in(world: &World) -> String {
    let (email, password) = world.operator();
    format!(
        "mutation {{ signIn(input: {{ email: \"{email}\", password: \"{password}\" }}) \
         {{ accessToken errors {{ code }} }} }}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_prolongs_its_session_by_a_cookie_and_ends_it_on_every_server() {
    let world = World::without_kafka().await;
    world.migrate().await;
    let (mut one, mut two) = (world.start("serve"), world.start("serve"));
    let _reacting = world.start("react");
    let (one, two) = (one.client().await, two.client().await);

    let first = ask(&one, &sign_in(&world), "", None).await;
    let cookie = first.cookie.clone().expect("a cookie");
    assert!(cookie.starts_with("__Host-"), "browsers take it from this host only");
    for attribute in ["HttpOnly", "Secure", "SameSite=Strict", "Path=/; ", "Max-Age=604"] {
        assert!(cookie.contains(attribute), "{attribute}");
    }
    let second = ask(&two, REFRESH, &first.pair(), None).await;
    assert_eq!(second.code(), "ok", "{}", second.answer);
    assert_ne!(first.pair(), second.pair());
    let present = second.token("refreshSession").to_owned();
    let listed = ask(&one, SESSIONS, "", Some(&present)).await;
    assert_eq!(listed.answer.pointer("/data/sessions/0/isPresent"), Some(&json!(true)));
    assert_eq!(listed.answer.pointer("/data/sessions/1"), None, "{}", listed.answer);

    assert_eq!(ask(&one, REFRESH, "", None).await.code(), "AUTH_REQUIRED");
    let garbage = ask(&one, REFRESH, "__Host-colloquy_refresh=garbage", None).await;
    assert_eq!(garbage.code(), "INVALID_TOKEN");
    assert!(garbage.cookie.expect("taken away").contains("Max-Age=0"));

    let signed_out = "mutation { signOut(input: {}) { ended errors { code } } }";
    let signed_out = ask(&one, signed_out, "", Some(&present)).await;
    assert_eq!(signed_out.answer.pointer("/data/signOut/ended"), Some(&json!(1)));
    let since = std::time::Instant::now();
    until("the other server refuses the token", async || {
        (ask(&two, SESSIONS, "", Some(&present)).await.code() == "AUTH_004").then_some(())
    })
    .await;
    assert!(since.elapsed() < std::time::Duration::from_secs(2));
    assert_eq!(ask(&two, REFRESH, &second.pair(), None).await.code(), "AUTH_004");

    until("the log tells of it", async || {
        let told: Vec<String> =
            world.log_of("account").await.into_iter().map(|event| event.event_type).collect();
        (told == ["account.registered", "account.signed_in", "account.signed_out"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_locked_on_all_servers_and_after_a_restart() {
    let world = World::without_kafka().await;
    let mut one = world.start("all");
    let client = one.client().await;
    let (email, password) = world.operator();
    let wrong = json!({ "email": email, "password": "Wrong-pass-1" });
    let document = crate::client::sign_in_document("signIn");
    for _ in 0..5 {
        let refused = client.ask(&document, json!({ "input": wrong })).await.expect_err("wrong");
        assert_eq!((refused.code.as_str(), refused.status), ("AUTH_001", 200));
    }
    one.kill();
    let mut again = world.start("all");
    let client = again.client().await;
    let right = json!({ "input": { "email": email, "password": password } });
    let refused = client.ask(&document, right).await.expect_err("locked");
    assert_eq!(refused.code, "AUTH_LOCKED");
    until("the log tells of it", async || {
        let told = world.log_of("account").await;
        told.iter().any(|event| event.event_type == "account.locked").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_another_system_is_brought_along_and_kept() {
    let world = World::without_kafka().await;
    world.migrate().await;
    let file = world.data.path().join("logins.ndjson");
    // "old system 1" by bcrypt of cost 10.
    let hash = "$2b$10$abcdefghijklmnopqrstuu3y9DYWJhowZA1zOnXWcJCOPXh77n/ju";
    let line = json!({ "email": "cy@acme.example", "passwordHash": hash });
    std::fs::write(&file, format!("{line}\n")).expect("written");
    let path = file.to_str().expect("a path");
    let (code, said) = world.run(&["logins", "import", path]).await;
    assert!(code.success() && said.contains("1 logins made, 0 known before"), "{said}");
    let (code, said) = world.run(&["logins", "import", path]).await;
    assert!(code.success() && said.contains("0 logins made, 1 known before"), "{said}");
    std::fs::write(&file, "{\"email\": \"cy@acme.example\"}").expect("written");
    let (code, said) = world.run(&["logins", "import", path]).await;
    assert!(!code.success() && said.contains("line 1") && !said.contains("cy@"), "{said}");

    let mut all = world.start("all");
    let client = all.client().await;
    let company = Company::found(&world, &client, "lights").await;
    let input = json!({ "email": "cy@acme.example", "fullName": "Cy", "role": "VIEWER" });
    let invited = company.admin.carry_out("inviteMember", input, "invitationToken").await;
    let input = json!({ "token": text(&invited, "/invitationToken"), "password": "old system 1" });
    client.enter("acceptInvitation", input).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_comes_in_by_a_key_and_does_what_the_key_says() {
    let world = World::without_kafka().await;
    let mut all = world.start("all");
    let client = all.client().await;
    let company = Company::found(&world, &client, "lights").await;
    let create = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) \
                  { apiKey { id rights } secret errors { code path } } }";
    let input = json!({
        "commandId": uuid::Uuid::new_v4(), "name": "Careers page",
        "rights": ["READ_JOB", "WRITE_CANDIDATE"],
    });
    let refused = company.hr.ask(create, json!({ "input": input })).await;
    assert_eq!(refused.expect_err("no administrator").code, "AUTH_003");
    let made = company.admin.ask(create, json!({ "input": input })).await.expect("made");
    let program = client.with_token(text(&made, "/secret"));
    let viewer = program.query("{ viewer { __typename } jobs { nodes { id } } }", json!({})).await;
    assert_eq!(text(&viewer, "/viewer/__typename"), "ServiceViewer");
    let input = json!({ "fullName": "Mira Stone", "email": "mira@mail.example" });
    program.carry_out("createCandidate", input, "candidate { id }").await;
    let refused = program.ask("{ verdicts { nodes { id } } }", json!({})).await;
    assert_eq!(refused.expect_err("not among its rights").code, "AUTH_003");
    let revoke = format!(
        "mutation {{ revokeApiKey(input: {{ keyId: \"{}\" }}) {{ apiKey {{ revokedAt }} \
         errors {{ code }} }} }}",
        text(&made, "/apiKey/id")
    );
    company.admin.ask(&revoke, json!({})).await.expect("taken back");
    until("the key is refused", async || {
        let answer = program.ask("{ jobs { nodes { id } } }", json!({})).await;
        (answer.err()?.code == "AUTH_004").then_some(())
    })
    .await;
}
