//! Bad input of every kind: each gets its code, nothing is written, and the next request is served.

use std::sync::Arc;

use chrono::TimeDelta;
use commands::{Bus, BusSettings};
use eventlog::clock::ManualClock;
use eventlog::codec::Codec;
use eventlog::store::postgres::{PostgresSettings, PostgresStore};
use eventlog::vault::postgres::PostgresVault;
use eventlog::vault::{MasterKey, secrets};
use identity::Identity;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Answer, Client, document, read, sign_in_document};
use crate::faults::n_stored;
use crate::job::{Company, Round, days, now};
use crate::socket::{Item, Socket};
use crate::world::{Process, World};

/// One API, two companies, and what they tried.
struct Stage {
    world: World,
    all: Process,
    ours: Company,
    theirs: Company,
    job: String,
}

impl Stage {
    async fn set() -> Self {
        let world = World::without_kafka().await;
        let mut all = world.start("all");
        let client = all.client().await;
        let ours = Company::found(&world, &client, "lights").await;
        let theirs = Company::found(&world, &client, "shades").await;
        let job = ours.open_job().await;
        Self { world, all, ours, theirs, job }
    }

    /// Asserts the code, that nothing was written, and that the next request is served.
    #[track_caller]
    fn refused(
        &self,
        what: &str,
        answer: &Answer,
        codes: &[&str],
    ) -> impl Future<Output = ()> + use<'_> {
        let refused = match answer {
            Err(refused) => refused,
            Ok(data) => panic!("{what}: it went through: {data}"),
        };
        assert!(codes.contains(&refused.code.as_str()), "{what}: {refused:?} and not {codes:?}");
        println!("{:<28} {what}", refused.code);
        async {
            let viewer = self.ours.admin.try_ask("{ viewer { __typename } }", &json!({})).await;
            let viewer = viewer.expect("the next request is served").expect("and not refused");
            assert_eq!(viewer["viewer"]["__typename"], "MemberViewer");
        }
    }

    /// The same for a mutation, sent once.
    async fn order(&self, who: &Client, mutation: &str, mut input: Value, codes: &[&str]) {
        let id = Uuid::new_v4();
        input["commandId"] = json!(id);
        let selection = match mutation {
            "askQuestion" | "addQuestion" => "questionId",
            "submitAnswer" => "answerId",
            "issueInterviewAccess" => "accessId",
            _ => "__typename",
        };
        let variables = json!({ "input": input });
        let answer = who.try_ask(&document(mutation, selection), &variables).await;
        let answer = answer.unwrap_or_else(|error| panic!("{mutation}: {error}"));
        let mut shown = input.to_string();
        shown.truncate(shown.char_indices().nth(90).map_or(shown.len(), |(at, _)| at));
        self.refused(&format!("{mutation} {shown}"), &answer, codes).await;
        assert_eq!(n_stored(&self.world, id).await, 0, "{mutation} has written");
    }

    /// The same for a query.
    async fn ask(&self, who: &Client, document: &str, variables: Value, codes: &[&str]) {
        let answer = who.try_ask(document, &variables).await.expect("an answer");
        self.refused(document, &answer, codes).await;
    }

    /// The same for a body.
    async fn send(&self, what: &str, body: impl Into<Vec<u8>>, status: u16, code: &str) {
        let (found, answer) = self.ours.hr.send_bytes(body.into()).await.expect("an answer");
        assert_eq!(found, status, "{what}: {answer}");
        self.refused(what, &read(found, &answer), &[code]).await;
    }

    /// Asserts that the process lived through it, and told nothing personal to its log.
    fn lived(mut self) {
        self.all.is_running();
        let said = self.all.said();
        assert!(!said.contains("panicked"), "{said}");
        for personal in ["Stone", "@mail.example", "@lights.example", "lamp alight"] {
            assert!(!said.contains(personal), "the log shows {personal:?}:\n{said}");
        }
    }
}

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
    let session = identity.sign_in(&email, SecretString::from(password)).await.expect("a session");
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

/// An id of the same kind that names nothing.
fn absent(id: &str) -> String {
    let (kind, _) = id.split_once('_').expect("a global id");
    format!("{kind}_{}", Uuid::new_v4().simple())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_companys_ids_look_like_absent_ones() {
    let stage = Stage::set().await;
    let round = stage.ours.schedule(&stage.job, "Mira").await;
    stage.world.until_projected().await;
    let found = stage
        .ours
        .hr
        .query(
            "query($id: ID!) { application(id: $id) { candidate { id } } }",
            json!({ "id": round.application }),
        )
        .await;
    let candidate = found["application"]["candidate"]["id"].as_str().expect("an id").to_owned();
    let member = stage.ours.interviewer_id.clone();
    let outsider = &stage.theirs.admin;
    for (field, id) in [
        ("job", &stage.job),
        ("interview", &round.id),
        ("application", &round.application),
        ("candidate", &candidate),
        ("member", &member),
        ("node", &stage.job),
        ("node", &round.id),
        ("node", &candidate),
    ] {
        let document = format!("query($id: ID!) {{ {field}(id: $id) {{ id }} }}");
        let answer = async |id: &str| {
            outsider.try_ask(&document, &json!({ "id": id })).await.expect("an answer")
        };
        let (foreign, missing) = (answer(id).await, answer(&absent(id)).await);
        assert_eq!(foreign, missing, "{field}");
        if let Ok(data) = &foreign {
            assert!(data[field].is_null(), "{field}: {data}");
        }
        println!("{:<28} {field} of another company", code(&foreign));
    }
    for (field, pair) in
        [("interviewHistory", "{ nodes { version } }"), ("interviewSession", "{ status }")]
    {
        let document = format!("query($id: ID!) {{ {field}(interviewId: $id) {pair} }}");
        let answer = async |id: &str| {
            outsider.try_ask(&document, &json!({ "id": id })).await.expect("an answer")
        };
        let (foreign, missing) = (answer(&round.id).await, answer(&absent(&round.id)).await);
        assert!(foreign.is_err(), "{field}: {foreign:?}");
        assert_eq!(foreign, missing, "{field}");
        println!("{:<28} {field} of another company", code(&foreign));
    }
    let begin = now() + days(1);
    for (mutation, name, id, rest) in [
        ("closeJob", "jobId", &stage.job, json!({})),
        ("publishJob", "jobId", &stage.job, json!({})),
        ("archiveCandidate", "candidateId", &candidate, json!({})),
        ("addCandidateNote", "candidateId", &candidate, json!({ "text": "A note." })),
        ("withdrawApplication", "applicationId", &round.application, json!({})),
        ("cancelInterview", "interviewId", &round.id, json!({})),
        ("rescheduleInterview", "interviewId", &round.id, json!({ "scheduledAt": begin })),
        ("issueInterviewAccess", "interviewId", &round.id, json!({})),
        ("joinInterview", "interviewId", &round.id, json!({})),
        ("deactivateMember", "memberId", &member, json!({})),
        ("assignRole", "memberId", &member, json!({ "role": "HR" })),
    ] {
        let answer = async |id: &str| {
            let command = Uuid::new_v4();
            let mut input = rest.clone();
            input[name] = json!(id);
            input["commandId"] = json!(command);
            let document = document(mutation, "__typename");
            let answer = outsider.try_ask(&document, &json!({ "input": input })).await;
            assert_eq!(n_stored(&stage.world, command).await, 0, "{mutation} has written");
            answer.expect("an answer")
        };
        let (foreign, missing) = (answer(id).await, answer(&absent(id)).await);
        assert!(foreign.is_err(), "{mutation}: {foreign:?}");
        assert_eq!(foreign, missing, "{mutation}");
        println!("{:<28} {mutation} in another company", code(&foreign));
    }
    let there = "query($id: ID!, $seen: [String!]) { job(id: $id, consistentWith: $seen) { id } }";
    let input = json!({ "title": "Ours", "description": "Ours alone." });
    let made = stage.ours.hr.carry_out("createJob", input, "job { id }").await;
    let variables = json!({ "id": absent(&stage.job), "seen": [made["cursor"]] });
    stage.ask(outsider, there, variables, &["CONSISTENCY_TOKEN_INVALID"]).await;
    stage.lived();
}

fn code(answer: &Answer) -> &str {
    answer.as_ref().map_or_else(|refused| refused.code.as_str(), |_| "null")
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

/// What each order is answered in each status; `-` is not asked.
async fn transitions(stage: &Stage, round: &Round, status: &str, orders: &[(&str, &[&str])]) {
    let (ours, at) = (&stage.ours, now() + days(3));
    for (order, codes) in orders {
        let with = |mut rest: Value| {
            rest["interviewId"] = json!(round.id);
            rest
        };
        let (who, input) = match *order {
            "scheduleInterview" => {
                (&ours.hr, json!({ "round": { "plannedId": round.id }, "scheduledAt": at }))
            }
            "rescheduleInterview" => (&ours.hr, with(json!({ "scheduledAt": at }))),
            "askQuestion" => {
                let own = json!({ "text": "?", "type": "TECHNICAL", "difficulty": "STANDARD" });
                (&ours.interviewer, with(json!({ "question": { "own": own } })))
            }
            "submitAnswer" => {
                let input = json!({ "questionId": absent("ques_0"), "text": "Late." });
                (&round.guest, with(input))
            }
            "joinInterview" => (&ours.interviewer, round.input()),
            "startInterview" | "completeInterview" => (&ours.interviewer, round.input()),
            _ => (&ours.hr, round.input()),
        };
        println!("in {status}:");
        stage.order(who, order, input, codes).await;
    }
}

const ILLEGAL: &[&str] = &["INT_ILLEGAL_TRANSITION"];
const OVER: &[&str] = &["INT_003"];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_status_does_not_allow_is_refused_in_every_status() {
    let stage = Stage::set().await;
    let ours = &stage.ours;

    let later = ours.schedule(&stage.job, "Lena").await;
    let input = json!({ "interviewId": later.id, "scheduledAt": now() + days(1) });
    ours.hr.carry_out("rescheduleInterview", input, "interview { status }").await;
    transitions(
        &stage,
        &later,
        "SCHEDULED",
        &[
            ("scheduleInterview", ILLEGAL),
            ("startInterview", ILLEGAL),
            ("askQuestion", ILLEGAL),
            ("submitAnswer", ILLEGAL),
            ("completeInterview", ILLEGAL),
            ("markNoShow", &["INT_TOO_EARLY"]),
        ],
    )
    .await;

    let waiting = ours.schedule(&stage.job, "Walt").await;
    ours.interviewer.carry_out("joinInterview", waiting.input(), "interview { status }").await;
    let not_begun: &[(&str, &[&str])] = &[
        ("scheduleInterview", ILLEGAL),
        ("startInterview", ILLEGAL),
        ("askQuestion", ILLEGAL),
        ("submitAnswer", ILLEGAL),
        ("completeInterview", ILLEGAL),
    ];
    transitions(&stage, &waiting, "WAITING_FOR_CANDIDATE", not_begun).await;

    let round = ours.schedule(&stage.job, "Mira").await;
    round.guest.carry_out("joinInterview", round.input(), "interview { status }").await;
    transitions(&stage, &round, "WAITING_FOR_INTERVIEWER", not_begun).await;

    ours.interviewer.carry_out("joinInterview", round.input(), "interview { status }").await;
    transitions(
        &stage,
        &round,
        "IN_PROGRESS",
        &[
            ("scheduleInterview", ILLEGAL),
            ("rescheduleInterview", ILLEGAL),
            ("markNoShow", ILLEGAL),
            ("cancelInterview", &["INT_NEEDS_REASON"]),
            ("submitAnswer", &["INT_QUESTION_NOT_FOUND"]),
        ],
    )
    .await;
    let question = round.ask(&ours.interviewer, "What about fog?").await;
    transitions(&stage, &round, "IN_PROGRESS", &[("askQuestion", &["INT_QUESTION_OPEN"])]).await;
    round.answer(&round.guest, &question, "I sound the horn.").await;
    let input = json!({ "interviewId": round.id, "questionId": question, "text": "Or not." });
    stage.order(&round.guest, "submitAnswer", input.clone(), &["INT_ALREADY_ANSWERED"]).await;
    ours.interviewer.carry_out("completeInterview", round.input(), "interview { status }").await;
    stage.order(&round.guest, "submitAnswer", input, OVER).await;
    transitions(
        &stage,
        &round,
        "COMPLETED",
        &[
            ("scheduleInterview", OVER),
            ("rescheduleInterview", OVER),
            ("issueInterviewAccess", OVER),
            ("joinInterview", OVER),
            ("startInterview", OVER),
            ("askQuestion", OVER),
            ("submitAnswer", OVER),
            ("completeInterview", OVER),
            ("cancelInterview", OVER),
            ("markNoShow", OVER),
        ],
    )
    .await;
    let input = json!({ "input": { "token": round.token } });
    let document = sign_in_document("openInterviewSession");
    stage.ask(&ours.hr.stranger(), &document, input, &["INT_002"]).await;

    let ended: &[(&str, &[&str])] = &[
        ("scheduleInterview", ILLEGAL),
        ("joinInterview", ILLEGAL),
        ("startInterview", ILLEGAL),
        ("askQuestion", ILLEGAL),
        ("submitAnswer", ILLEGAL),
        ("completeInterview", ILLEGAL),
    ];
    ours.hr.carry_out("cancelInterview", later.input(), "interview { status }").await;
    transitions(&stage, &later, "CANCELLED", ended).await;
    let closed: &[(&str, &[&str])] = &[
        ("rescheduleInterview", ILLEGAL),
        ("issueInterviewAccess", ILLEGAL),
        ("markNoShow", ILLEGAL),
    ];
    transitions(&stage, &later, "CANCELLED", closed).await;
    ours.hr.carry_out("markNoShow", waiting.input(), "interview { status }").await;
    transitions(&stage, &waiting, "NO_SHOW", ended).await;
    stage.lived();
}

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
    stage.ask(hr, &document, without_id, &["BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"]).await;
    let bad_id = json!({ "input": { "commandId": "7", "title": "One", "description": "Text." } });
    stage.ask(hr, &document, bad_id, &["BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"]).await;

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
    let of_type = ["BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"];
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
    let codes = ["GRAPHQL_PARSE_FAILED", "INVALID_TEXT", "BAD_USER_INPUT", "VALIDATION_FAILED"];
    stage.refused("a lone surrogate in a document", &read(status, &answer), &codes).await;
    let escaped = r#"{"query":"{ node(id: \"a\\u0000b\") { id } }"}"#;
    let (status, answer) = hr.send_bytes(escaped.into()).await.expect("an answer");
    stage.refused("NUL in a document", &read(status, &answer), &codes).await;
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
        ("+262142-12-31T23:59:59Z", &["VALIDATION_FAILED", "BAD_USER_INPUT"]),
        ("2026-02-30T00:00:00Z", &of_type),
        ("tomorrow", &of_type),
    ] {
        let mut input = ours.round(&application, now());
        input["scheduledAt"] = json!(date);
        stage.order(hr, "scheduleInterview", input, codes).await;
    }
    let long = json!({ "interviewId": round.id, "scheduledAt": now(), "durationMinutes": 99_999 });
    let codes = ["VALIDATION_FAILED", "INT_ILLEGAL_TRANSITION"];
    stage.order(hr, "rescheduleInterview", long, &codes).await;
    let as_of = "query($id: ID!, $t: DateTime!) { interview(id: $id, asOf: { time: $t }) { id } }";
    stage.world.until_projected().await;
    let variables = json!({ "id": round.id, "t": now() + days(1) });
    stage.ask(&ours.auditor, as_of, variables, &["AS_OF_IN_FUTURE"]).await;
    let as_of = "query($id: ID!) { interview(id: $id, asOf: { version: -1 }) { id } }";
    let id = json!({ "id": round.id });
    stage.ask(&ours.auditor, as_of, id, &["VALIDATION_FAILED"]).await;

    let id = json!({ "id": "intv_7" });
    let document = "query($id: ID!) { interview(id: $id) { id } }";
    stage.ask(hr, document, id, &["VALIDATION_FAILED"]).await;
    let id = json!({ "id": stage.job });
    stage.ask(hr, document, id, &["VALIDATION_FAILED"]).await;
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
    for first in [0, -1, 101, i32::MAX] {
        let document = format!("{{ jobs(first: {first}) {{ nodes {{ id }} }} }}");
        let codes = ["PAGE_INVALID", "DOCUMENT_TOO_COSTLY"];
        stage.ask(hr, &document, json!({}), &codes).await;
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
    stage.lived();
}
