//! Who is nobody, or has no right.

use std::sync::Arc;

use chrono::TimeDelta;
use commands::{Bus, BusSettings};
use eventlog::clock::ManualClock;
use eventlog::codec::Codec;
use eventlog::store::postgres::{PostgresSettings, PostgresStore};
use eventlog::vault::postgres::PostgresVault;
use eventlog::vault::{MasterKey, secrets};
use identity::{Entrance, Identity};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{Stage, absent};
use crate::client::sign_in_document;
use crate::job::now;
use crate::socket::Socket;
use crate::world::World;

/// A token of the operator's, signed by this installation, which ended a while ago.
async fn expired_token(world: &World) -> String {
    let clock = Arc::new(ManualClock::new(now() - TimeDelta::hours(1)));
    let master = || {
        let bytes = world.master_key().as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
        let bytes: Vec<u8> = bytes.map(|pair| byte(pair).expect("hex")).collect();
        MasterKey::new(bytes.try_into().expect("32 bytes"))
    };
    let secrets = secrets::load_or_create(&world.pool, &master()).await.expect("the keys");
    let settings = PostgresSettings::new(world.url.clone().into());
    let store = Arc::new(PostgresStore::start(&settings).expect("a log"));
    let vault = Arc::new(PostgresVault::start(world.pool.clone(), master()));
    let bus = Bus::new(store.clone(), Codec::new(vault), secrets, clock, BusSettings::default());
    let identity = Identity::start(world.pool.clone(), Arc::new(bus)).await.expect("identity");
    let (email, password) = world.operator();
    let session =
        identity.sign_in(&email, SecretString::from(password), &Entrance::default()).await;
    let session = session.expect("a session");
    store.stop().await;
    session.access_token.expose_secret().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_no_good_admit_nobody() {
    let stage = Stage::set().await;
    let stranger = stage.ours.hr.stranger();
    let own = stage.ours.hr.token().to_owned();
    let (start, signature) = own.rsplit_once('.').expect("a signed token");
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let altered = format!("{start}.{first}{}", &signature[1..]);
    let viewer = "{ viewer { __typename } }";
    for token in ["not-a-token", "a.b.c", altered.as_str(), &"x".repeat(5000)] {
        let answer = stranger.with_token(token).try_ask(viewer, &json!({})).await;
        let answer = answer.expect("an answer");
        let codes = ["INVALID_TOKEN", "TOKEN_INVALID"];
        assert_eq!(answer.as_ref().expect_err("refused").status, 401);
        stage.refused("a wrong token", &answer, &codes).await;
    }
    let expired = stranger.with_token(&expired_token(&stage.world).await);
    stage.ask(&expired, viewer, json!({}), &["AUTH_002"]).await;
    let jobs = "{ jobs { nodes { id } } }";
    stage.ask(&stranger, jobs, json!({}), &["AUTH_REQUIRED"]).await;
    stage
        .ask(&stranger, "{ __schema { types { name } } }", json!({}), &["INTROSPECTION_FORBIDDEN"])
        .await;
    for (mutation, input, code) in [
        (
            "signIn",
            json!({ "email": "hana@lights.example", "password": "Wrong-one-7!" }),
            "AUTH_001",
        ),
        ("signIn", json!({ "email": "nobody@lights.example", "password": "x" }), "AUTH_001"),
        ("signIn", json!({ "email": "", "password": "" }), "AUTH_001"),
        ("openInterviewSession", json!({ "token": "nonsense" }), "INT_002"),
        (
            "acceptInvitation",
            json!({ "token": "nonsense", "password": "Lights-on-7!" }),
            "INVITATION_INVALID",
        ),
    ] {
        stage.ask(&stranger, &sign_in_document(mutation), json!({ "input": input }), &[code]).await;
    }
    let socket = Socket::subscribe(&stranger.with_token("nonsense"), viewer, json!({})).await;
    assert!(socket.is_none(), "a socket was opened for a wrong token");
    stage.lived();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_right_is_told_so() {
    let stage = Stage::set().await;
    let (ours, forbidden) = (&stage.ours, ["AUTH_003"]);
    let round = ours.schedule(&stage.job, "Mira").await;
    let other = ours.schedule(&stage.job, "Noor").await;
    stage.world.until_projected().await;
    let job = json!({ "title": "A job", "description": "Text." });
    for who in [&ours.viewer, &ours.auditor, &ours.interviewer, &round.guest, &ours.operator] {
        stage.order(who, "createJob", job.clone(), &forbidden).await;
    }
    let company = json!({
        "name": "Mine", "adminEmail": "me@mine.example", "adminFullName": "Me",
    });
    stage.order(&ours.admin, "registerCompany", company, &forbidden).await;
    let person = json!({ "email": "x@lights.example", "fullName": "X", "role": "HR" });
    stage.order(&ours.viewer, "inviteMember", person, &forbidden).await;
    let answer = json!({
        "interviewId": round.id, "questionId": absent("ques_0"), "text": "In another's name.",
    });
    stage.order(&ours.interviewer, "submitAnswer", answer, &forbidden).await;
    let consent = json!({ "interviewId": round.id, "purposes": ["AI_ANALYSIS"] });
    stage.order(&ours.admin, "recordConsent", consent, &forbidden).await;
    let note = json!({ "interviewId": round.id, "text": "About myself." });
    stage.order(&round.guest, "addInterviewNote", note, &forbidden).await;
    stage.order(&round.guest, "joinInterview", other.input(), &["INT_001"]).await;

    let history = "query($id: ID!) { interviewHistory(interviewId: $id) { nodes { version } } }";
    let id = json!({ "id": round.id });
    for who in [&ours.hr, &ours.viewer, &round.guest] {
        stage.ask(who, history, id.clone(), &["AUTH_003"]).await;
    }
    for list in ["jobs", "candidates", "applications", "verdicts", "members"] {
        let document = format!("{{ {list} {{ nodes {{ id }} }} }}");
        stage.ask(&round.guest, &document, json!({}), &forbidden).await;
    }
    let interview = "query($id: ID!) { interview(id: $id) { id } }";
    stage.ask(&round.guest, interview, json!({ "id": other.id }), &["INT_001"]).await;
    stage.lived();
}
