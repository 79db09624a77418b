//! Repeats and contradictions, values that cannot be, and cursors that were not given.

use serde_json::json;
use uuid::Uuid;

use super::Stage;
use crate::client::{document, read};
use crate::job::{days, now};
use crate::socket::{Item, Socket};

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_repeat_or_contradict_are_refused() {
    let stage = Stage::set().await;
    let hr = &stage.ours.hr;
    let input = json!({ "commandId": Uuid::new_v4(), "title": "One", "description": "Text." });
    let first = hr.carry_out("createJob", input.clone(), "job { id title }").await;
    let again = hr.carry_out("createJob", input.clone(), "job { id title }").await;
    assert_eq!(first, again);
    let mut other = input;
    other["title"] = json!("Two");
    let variables = json!({ "input": other });
    let document = document("createJob", "job { id title }");
    stage.ask(hr, &document, variables, &["COMMAND_ID_REUSED"]).await;

    let stale = |version: i64| json!({ "jobId": stage.job, "expectedVersion": version });
    for (version, code) in [
        (1, "VERSION_CONFLICT"),
        (999, "VERSION_CONFLICT"),
        (-1, "VALIDATION_FAILED"),
        (5_000_000_000, "BAD_USER_INPUT"),
    ] {
        stage.order(hr, "closeJob", stale(version), &[code]).await;
    }
    let without_id = json!({ "input": { "title": "One", "description": "Text." } });
    stage.ask(hr, &document, without_id, &["BAD_USER_INPUT"]).await;
    let bad_id = json!({ "input": { "commandId": "7", "title": "One", "description": "Text." } });
    stage.ask(hr, &document, bad_id, &["BAD_USER_INPUT"]).await;

    let person = json!({ "fullName": "Mira Stone", "email": "mira@mail.example" });
    hr.carry_out("createCandidate", person.clone(), "candidate { id }").await;
    stage.order(hr, "createCandidate", person, &["CAND_002"]).await;
    let application = stage.ours.apply(&stage.job, "Noor").await;
    let moved = |status: &str| json!({ "applicationId": application, "status": status });
    for status in ["HIRED", "OFFERED"] {
        let input = moved(status);
        stage.order(hr, "changeApplicationStatus", input, &["APPLICATION_ILLEGAL_MOVE"]).await;
    }
    stage.lived();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_cannot_be_are_refused() {
    let stage = Stage::set().await;
    let (ours, hr) = (&stage.ours, &stage.ours.hr);
    let round = ours.schedule(&stage.job, "Mira").await;
    round.begin(ours).await;
    let of_type = ["BAD_USER_INPUT"];
    let person = json!({ "email": "x@lights.example", "fullName": "X", "role": "EMPEROR" });
    stage.order(&ours.admin, "inviteMember", person, &of_type).await;
    let document = "{ jobs(filter: { statuses: [SOMEHOW] }) { nodes { id } } }";
    stage.ask(hr, document, json!({}), &of_type).await;
    stage.ask(hr, "{ nonsense }", json!({}), &["GRAPHQL_VALIDATION_FAILED"]).await;
    stage.ask(hr, "{ jobs {", json!({}), &["GRAPHQL_PARSE_FAILED"]).await;

    let text = |text: &str| json!({ "title": text, "description": "Text." });
    stage.order(hr, "createJob", text("NUL \u{0} here"), &["INVALID_TEXT"]).await;
    for empty in ["", "   ", "\u{200b}"] {
        stage.order(hr, "createJob", text(empty), &["VALIDATION_FAILED"]).await;
    }
    stage.order(hr, "createJob", text(&"x".repeat(256)), &["VALIDATION_FAILED"]).await;
    let job = r#"{ jobs(after: \"\ud800\") { nodes { id } } }"#;
    stage.send("a lone surrogate", format!(r#"{{"query":"{job}"}}"#), 400, "MALFORMED_JSON").await;
    let escaped = r#"{"query":"{ node(id: \"\\ud800\") { id } }"}"#;
    let (status, answer) = hr.send_bytes(escaped.into()).await.expect("an answer");
    let codes = ["GRAPHQL_PARSE_FAILED"];
    stage.refused("a lone surrogate in a document", &read(status, &answer), &codes).await;
    let escaped = r#"{"query":"{ node(id: \"a\\u0000b\") { id } }"}"#;
    let (status, answer) = hr.send_bytes(escaped.into()).await.expect("an answer");
    stage.refused("NUL in a document", &read(status, &answer), &["INVALID_TEXT"]).await;
    stage.send("bytes that are no UTF-8", b"{\"query\":\"\xff\"}", 400, "INVALID_ENCODING").await;

    let question = round.ask(&ours.interviewer, "What about fog?").await;
    let answer =
        |text: &str| json!({ "interviewId": round.id, "questionId": question, "text": text });
    let long = "lamp alight ".repeat(80_000);
    stage.order(&round.guest, "submitAnswer", answer(&long), &["VALIDATION_FAILED"]).await;
    let longer = "lamp alight ".repeat(100_000);
    stage.order(&round.guest, "submitAnswer", answer(&longer), &["REQUEST_TOO_LARGE"]).await;
    let body = format!(r#"{{"query":"{}"}}"#, " ".repeat(64 << 20));
    stage.send("a body of 64 MB", body, 413, "REQUEST_TOO_LARGE").await;
    let body = format!(r#"{{"query":"{{ {} }}"}}"#, "viewer{__typename}".repeat(30_000));
    stage.send("a document of 540 KB", body, 400, "DOCUMENT_TOO_LARGE").await;
    stage.send("no JSON", "nonsense", 400, "MALFORMED_JSON").await;
    stage
        .send(
            "a batch",
            r#"[{"query":"{ viewer { __typename } }"}]"#,
            400,
            "BATCHING_NOT_SUPPORTED",
        )
        .await;

    let application = ours.apply(&stage.job, "Noor").await;
    for (date, codes) in [
        ("9999-12-31T23:59:59Z", &["VALIDATION_FAILED"][..]),
        ("1900-01-01T00:00:00Z", &["VALIDATION_FAILED"]),
        ("+262142-12-31T23:59:59Z", &["VALIDATION_FAILED"]),
        ("2026-02-30T00:00:00Z", &of_type),
        ("tomorrow", &of_type),
    ] {
        let mut input = ours.round(&application, now());
        input["scheduledAt"] = json!(date);
        stage.order(hr, "scheduleInterview", input, codes).await;
    }
    let long = json!({ "interviewId": round.id, "scheduledAt": now(), "durationMinutes": 99_999 });
    stage.order(hr, "rescheduleInterview", long, &["VALIDATION_FAILED"]).await;
    let as_of = "query($id: ID!, $t: DateTime!) { interview(id: $id, asOf: { time: $t }) { id } }";
    stage.world.until_projected().await;
    let variables = json!({ "id": round.id, "t": now() + days(1) });
    stage.ask(&ours.auditor, as_of, variables, &["AS_OF_IN_FUTURE"]).await;
    let as_of = "query($id: ID!) { interview(id: $id, asOf: { version: -1 }) { id } }";
    let id = json!({ "id": round.id });
    stage.ask(&ours.auditor, as_of, id, &["VALIDATION_FAILED"]).await;

    stage.lived();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_none_is_answered_like_one_that_names_nothing() {
    let stage = Stage::set().await;
    let hr = &stage.ours.hr;
    let unknown = super::absent(&stage.job.replace("jobd", "intv"));
    for malformed in ["intv_7", "", "\u{1F4A1}", stage.job.as_str()] {
        let document = "query($id: ID!) { interview(id: $id) { id } }";
        let ask = async |id: &str| {
            let answer = hr.try_ask(document, &json!({ "id": id })).await.expect("an answer");
            answer.map_err(|refused| (refused.code, refused.message))
        };
        assert_eq!(ask(malformed).await, ask(&unknown).await);
        let order = async |id: &str| {
            let input = json!({ "interviewId": id, "reason": "Fog." });
            let refused = hr.order("cancelInterview", input, "version").await.expect_err("refused");
            (refused.code, refused.message, refused.in_payload)
        };
        assert_eq!(order(malformed).await, order(&unknown).await);
        let apply = async |id: &str| {
            let person = json!({ "candidateId": id, "jobId": stage.job });
            let refused = hr.order("submitApplication", person, "version").await;
            refused.expect_err("refused").code
        };
        let unknown = super::absent(&stage.job.replace("jobd", "cand"));
        assert_eq!(apply(malformed).await, apply(&unknown).await);
    }
    stage.lived();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_payload_says_where_in_the_input_it_lies() {
    let stage = Stage::set().await;
    let (ours, hr) = (&stage.ours, &stage.ours.hr);
    let path = async |mutation: &str, input: serde_json::Value| {
        let input = crate::client::with_id(input);
        let body = json!({ "query": document(mutation, ""), "variables": { "input": input } });
        let (_, answer) = hr.send_bytes(body.to_string().into()).await.expect("an answer");
        answer["data"][mutation]["errors"][0]["path"].clone()
    };
    let application = ours.apply(&stage.job, "Noor").await;
    let mut input = ours.round(&application, now());
    input["round"]["new"]["interviewerId"] = json!(null);
    let found = path("scheduleInterview", input).await;
    assert_eq!(found, json!(["input", "round", "new", "interviewerId"]));
    let input = ours.round(&application, now() + days(100_000));
    assert_eq!(path("scheduleInterview", input).await, json!(["input", "scheduledAt"]));
    let taken = json!({ "fullName": "Noor Stone", "email": "noor@mail.example" });
    assert_eq!(path("createCandidate", taken).await, json!(["input", "email"]));
    stage.lived();
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_that_were_not_given_are_refused() {
    let stage = Stage::set().await;
    let (ours, hr) = (&stage.ours, &stage.ours.hr);
    let round = ours.schedule(&stage.job, "Mira").await;
    stage.world.until_projected().await;
    let page = "query($after: String) { jobs(first: 1, after: $after) { edges { cursor } } }";
    for garbage in ["", "garbage", "AAAA", "💡", &"A".repeat(3000)] {
        stage.ask(hr, page, json!({ "after": garbage }), &["CURSOR_INVALID"]).await;
    }
    let found = hr.query("{ candidates(first: 1) { edges { cursor } } }", json!({})).await;
    let foreign = found.pointer("/candidates/edges/0/cursor").expect("a cursor");
    stage.ask(hr, page, json!({ "after": foreign }), &["CURSOR_INVALID"]).await;
    for (first, code) in [
        (0, "PAGE_INVALID"),
        (-1, "PAGE_INVALID"),
        (101, "PAGE_INVALID"),
        (i32::MAX, "DOCUMENT_TOO_COSTLY"),
    ] {
        let document = format!("{{ jobs(first: {first}) {{ nodes {{ id }} }} }}");
        stage.ask(hr, &document, json!({}), &[code]).await;
    }
    let seen = "query($seen: [String!]) { jobs(consistentWith: $seen) { nodes { id } } }";
    for garbage in ["", "garbage", "💡"] {
        stage.ask(hr, seen, json!({ "seen": [garbage] }), &["CONSISTENCY_TOKEN_INVALID"]).await;
    }
    for after in ["", "garbage", "-1", "99999999999999999999999", "999999999"] {
        let variables = json!({ "id": round.id, "after": after });
        let socket = Socket::subscribe(hr, crate::subscriptions::EVENTS, variables).await;
        match socket.expect("a connection").next().await {
            Item::End(Some(refused)) => {
                let what = format!("interviewEvents after {after:?}");
                stage.refused(&what, &Err(refused), &["CURSOR_INVALID"]).await;
            }
            other => panic!("{after}: {other:?}"),
        }
    }
    // Well-formed ones of something else are no better.
    let other = ours.schedule(&stage.job, "Noor").await;
    let noted = json!({ "interviewId": other.id, "text": "Calm." });
    let noted = ours.interviewer.carry_out("addInterviewNote", noted, "version").await;
    let job = hr.carry_out("closeJob", json!({ "jobId": stage.job }), "version").await;
    let of_interview = |field: &str| {
        format!(
            "subscription($id: ID!, $after: String) {{
            {field}(interviewId: $id, after: $after) {{ cursor }} }}"
        )
    };
    let board = "subscription($after: String) { liveBoard(after: $after) { cursor } }";
    for (document, after) in [
        (of_interview("interviewEvents"), &noted),
        (of_interview("interviewEvents"), &job),
        (of_interview("verdictEvents"), &noted),
        (of_interview("interviewInsights"), &noted),
        (board.to_owned(), &job),
    ] {
        let variables = json!({ "id": round.id, "after": after["cursor"] });
        let socket = Socket::subscribe(hr, &document, variables).await;
        match socket.expect("a connection").next().await {
            Item::End(Some(refused)) => {
                stage.refused(&document, &Err(refused), &["CURSOR_INVALID"]).await;
            }
            other => panic!("{document}: {other:?}"),
        }
    }
    stage.lived();
}
