//! Tokens that were tampered with, made up, or are good for something else.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Stage;
use crate::client::{read, text};
use crate::job::{PASSWORD, now};
use crate::session::{Signer, hmac, token_of};
use crate::world::until;

/// What the server reads of a request's head.
const HEAD_BYTES: usize = 64 * 1024;

const VIEWER: &str = "{ viewer { __typename } }";

/// What is refused, whichever code says so.
const CODES: [&str; 2] = ["INVALID_TOKEN", "TOKEN_INVALID"];

fn part(json: &Value) -> String {
    BASE64.encode(json.to_string())
}

/// The parts of a token that are read without its key.
fn opened(token: &str) -> (Value, Value, &str) {
    let mut parts = token.split('.');
    let mut next = || parts.next().expect("three parts");
    let [header, claims] = [next(), next()]
        .map(|part| serde_json::from_slice(&BASE64.decode(part).expect("base64")).expect("JSON"));
    (header, claims, next())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_wrong_make_admit_nobody() {
    let stage = Stage::set().await;
    let stranger = stage.ours.hr.stranger();
    let own = stage.ours.hr.token().to_owned();
    let (header, claims, signature) = opened(&own);
    let unsigned = |header: &Value| format!("{}.{}", part(header), part(&claims));
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header
    };
    let jwks = stranger.get("/.well-known/jwks.json").await.expect("the public keys").1;
    let jwks: Value = serde_json::from_str(&jwks).expect("JSON");
    let public = &jwks["keys"][0];
    let x = public["x"].as_str().expect("a key");
    let raw = BASE64.decode(x).expect("base64");

    let mut tokens: Vec<(String, String)> = vec![];
    let mut add = |what: &str, token: String| tokens.push((what.to_owned(), token));
    for none in ["none", "None", "NONE", "nOnE"] {
        let start = unsigned(&with("alg", json!(none)));
        add(&format!("alg {none}, no signature"), format!("{start}."));
        add(&format!("alg {none}, the old signature"), format!("{start}.{signature}"));
    }
    let start = unsigned(&header);
    add("no signature", format!("{start}."));
    add("two parts", start.clone());
    add("four parts", format!("{own}.{signature}"));
    add("a cut signature", own[..own.len() - 4].to_owned());
    add("half a signature", format!("{start}.{}", &signature[..signature.len() / 2]));
    add("a longer signature", format!("{own}AAAA"));
    add("a signature of zeros", format!("{start}.{}", BASE64.encode([0; 64])));
    let symmetric = unsigned(&with("alg", json!("HS256")));
    for (key, bytes) in [
        ("the public key", raw.clone()),
        ("the public key's text", x.as_bytes().to_vec()),
        ("the JWK", public.to_string().into_bytes()),
        ("the JWK set", jwks.to_string().into_bytes()),
        ("nothing", vec![]),
    ] {
        add(&format!("HMAC with {key}"), format!("{symmetric}.{}", hmac(&bytes, &symmetric)));
    }
    // Whose server would be asked if a header could name it.
    let trap = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let trap_at = format!("http://{}/keys.json", trap.local_addr().expect("an address"));
    let attacker = Signer::of_seed([7; 32]);
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA",
        "x": "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw",
    });
    add("an unknown signer", attacker.sign(&header, &claims));
    add("an embedded jwk", attacker.sign(&with("jwk", jwk), &claims));
    for name in ["jku", "x5u"] {
        add(name, attacker.sign(&with(name, json!(trap_at)), &claims));
    }
    add("x5c", attacker.sign(&with("x5c", json!(["AAAA"])), &claims));
    for (what, kid) in [
        ("a kid of a folder above", "../../../../../../dev/null".to_owned()),
        ("a kid of SQL", "k1' or '1'='1".to_owned()),
        ("a kid with NUL", "k1\0".to_owned()),
        ("an empty kid", String::new()),
        ("a kid of 20 kB", "k".repeat(20_000)),
        ("a kid of 100 kB", "k".repeat(100_000)),
    ] {
        add(what, attacker.sign(&with("kid", json!(kid)), &claims));
        let mut header = with("alg", json!("HS256"));
        header["kid"] = json!(kid);
        let start = unsigned(&header);
        add(&format!("{what}, signed with nothing"), format!("{start}.{}", hmac(b"", &start)));
    }
    add("no kid", {
        let mut header = header.clone();
        header.as_object_mut().expect("an object").remove("kid");
        attacker.sign(&header, &claims)
    });
    // From here on signed with the installation's own key, as by mistake.
    let signer = Signer::of_world(&stage.world).await;
    let good = signer.sign(&header, &claims);
    let claim = |name: &str, value: Value| {
        let mut claims = claims.clone();
        // A token of its own, so that it is not taken for one that was judged before.
        claims["jti"] = json!(uuid::Uuid::new_v4());
        claims[name] = value;
        signer.sign(&header, &claims)
    };
    add("crit", signer.sign(&with("crit", json!(["exp"])), &claims));
    let mut b64 = with("b64", json!(false));
    b64["crit"] = json!(["b64"]);
    add("b64 with crit", signer.sign(&b64, &claims));
    let in_an_hour = now().timestamp() + 3600;
    add("not yet valid by nbf", claim("nbf", json!(in_an_hour)));
    add("issued in the future", claim("iat", json!(in_an_hour)));
    add("another audience", claim("aud", json!("other-api")));
    add("another issuer", claim("iss", json!("other")));
    add("no subject", claim("sub", json!(null)));
    add("another subject", claim("sub", json!(uuid::Uuid::new_v4())));
    let found = stage.theirs.admin.query("{ company { id } }", json!({})).await;
    let other = text(&found, "/company/id").strip_prefix("comp_").expect("a company");
    let other: uuid::Uuid = other.parse().expect("a UUID");
    add("another company", claim("company_id", json!(other)));
    add("an absent company", claim("company_id", json!(uuid::Uuid::new_v4())));
    add("an unknown kind", claim("type", json!("emperor")));
    add("an end that is no number", claim("exp", json!("never")));
    add("an end beyond all time", claim("exp", json!(i64::MAX)));
    add("claims that are a list", signer.sign(&header, &json!([claims])));
    for (what, token) in [
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("many dots", ".".repeat(3000)),
        ("spaces", "a b c".to_owned()),
        ("text that is no base64", "💡".repeat(3)),
    ] {
        add(what, token);
    }

    let answer = stranger.with_token(&good).try_ask(VIEWER, &json!({})).await;
    let shown = answer.expect("an answer").expect("what is signed again as it was is good");
    assert_eq!(shown["viewer"]["__typename"], "MemberViewer");
    // A head that is longer than the server reads is refused before anybody knows what it asks for.
    let (long, tokens): (Vec<_>, Vec<_>) =
        tokens.iter().partition(|(_, token)| token.len() > HEAD_BYTES);
    assert_eq!(long.len(), 2);
    for (what, token) in long {
        let body = json!({ "query": VIEWER }).to_string();
        let refused = stranger.with_token(token).send_bytes(body.into_bytes()).await;
        assert_eq!(refused, Err("431 without JSON".to_owned()), "{what}");
        let next = stage.ours.hr.try_ask(VIEWER, &json!({})).await;
        next.expect("the next request is served").expect("and not refused");
    }
    for (what, token) in tokens {
        let answer = stage.timed(&stranger.with_token(token), VIEWER).await;
        assert_eq!(answer.as_ref().expect_err(what).status, 401, "{what}");
        // That subject has no such session, as if it had been ended.
        let codes = if what == "another subject" { &["AUTH_004"][..] } else { &CODES };
        stage.refused(&format!("a token: {what}"), &answer, codes).await;
    }
    let asked = tokio::time::timeout(Duration::from_millis(50), trap.accept()).await;
    assert!(asked.is_err(), "a header of a token made the server fetch keys");
    let (email, password) = ("hana@lights.example", PASSWORD);
    let later = token_of(&stage.world, (email, password), TimeDelta::hours(-1)).await;
    let answer = stage.timed(&stranger.with_token(&later), VIEWER).await;
    stage.refused("a token: of a clock that is ahead", &answer, &CODES).await;
    stage.lived();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_in_its_header_alone_and_only_while_it_stands() {
    let stage = Stage::set().await;
    let token = stage.ours.hr.token().to_owned();
    let base = stage.ours.hr.base().to_owned();
    let http = reqwest::Client::new();
    let ask = async |request: reqwest::RequestBuilder| {
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        read(status, &response.json().await.expect("JSON"))
    };
    let document = "%7Bviewer%7B__typename%7D%7D";
    for name in ["token", "access_token", "authorization", "Authorization"] {
        for value in [token.clone(), format!("Bearer%20{token}")] {
            let url = format!("{base}/graphql?query={document}&{name}={value}");
            let answer = ask(http.get(url)).await;
            match &answer {
                Ok(shown) => assert_eq!(shown["viewer"], Value::Null, "{name}"),
                Err(_) => stage.refused(name, &answer, &["AUTH_REQUIRED"]).await,
            }
        }
    }
    let body = json!({ "query": VIEWER }).to_string();
    let post = || {
        let post = http.post(format!("{base}/graphql")).header("content-type", "application/json");
        post.header("accept", "application/graphql-response+json").body(body.clone())
    };
    for (what, request) in [
        ("a scheme of its own", post().header("authorization", format!("Token {token}"))),
        ("no scheme", post().header("authorization", &token)),
        ("a name and a password", post().basic_auth("hana@lights.example", Some(PASSWORD))),
        ("two tokens", post().bearer_auth(&token).bearer_auth(&token)),
        ("a scheme alone", post().header("authorization", "Bearer ")),
    ] {
        let answer = ask(request).await;
        stage.refused(&format!("authorization: {what}"), &answer, &CODES).await;
    }
    // No server reads headers of any length; it says so or hangs up.
    let huge = post().bearer_auth("x".repeat(1 << 20)).send().await;
    if let Ok(response) = huge {
        assert_eq!(response.status().as_u16(), 431, "{response:?}");
    }
    println!("{:<28} a token: of 1 MB", "431 or cut off");
    let alive =
        stage.ours.hr.try_ask(VIEWER, &json!({})).await.expect("the next request is served");
    alive.expect("and not refused");

    let input = json!({ "memberId": stage.ours.interviewer_id });
    stage.ours.admin.carry_out("deactivateMember", input, "member { id }").await;
    let gone = &stage.ours.interviewer;
    until("a token stands for nobody", async || {
        gone.try_ask(VIEWER, &json!({})).await.expect("an answer").err()
    })
    .await;
    let answer = gone.try_ask(VIEWER, &json!({})).await.expect("an answer");
    stage.refused("a token: of a member who was sent away", &answer, &CODES).await;
    stage.lived();
}
