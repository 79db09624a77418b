//! Who looks at whose data is written down before it is shown.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::{Client, Refused, read, text};
use crate::job::Company;
use crate::socket::{Item, Socket};
use crate::world::World;

const CANDIDATE: &str = "query($id: ID!) { candidate(id: $id) { id fullName email } }";

/// A candidate's record; answers its id.
async fn candidate(company: &Company, name: &str) -> String {
    let input = json!({ "fullName": name, "email": format!("{name}@mail.example") });
    let made = company.hr.carry_out("createCandidate", input, "candidate { id }").await;
    text(&made, "/candidate/id").to_owned()
}

/// The access log as the auditor sees it, newest first.
async fn log(world: &World, auditor: &Client, filter: Value) -> Vec<Value> {
    world.until_projected().await;
    let document = "query($filter: AccessLogFilter) { accessLog(filter: $filter, first: 100) {
        totalCount nodes { viewer { kind name member { fullName } } subject subjectId candidateId
            fields purpose at } } }";
    let shown = auditor.query(document, json!({ "filter": filter })).await;
    let nodes = shown["accessLog"]["nodes"].as_array().expect("nodes").clone();
    assert_eq!(shown["accessLog"]["totalCount"], nodes.len());
    nodes
}

/// One request with a purpose.
async fn for_purpose(who: &Client, id: &str, purpose: &str) -> Result<Value, Refused> {
    let body = json!({
        "query": CANDIDATE, "variables": { "id": id }, "extensions": { "purpose": purpose },
    });
    let (status, answer) = who.send_bytes(body.to_string().into_bytes()).await.expect("an answer");
    read(status, &answer)
}

fn seen(log: &[Value]) -> BTreeSet<(String, String)> {
    let of = |entry: &Value, place| text(entry, place).to_owned();
    log.iter().map(|entry| (of(entry, "/viewer/member/fullName"), of(entry, "/purpose"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_sees_who_opened_a_candidate_and_what_for() {
    let (world, _all, client, company) = Company::lights().await;
    let mira = candidate(&company, "mira").await;
    let lena = candidate(&company, "lena").await;
    world.until_projected().await;

    // Opened four times, written down once; at once, too.
    let id = json!({ "id": mira });
    for _ in 0..2 {
        let [one, two] = [(); 2].map(|()| company.hr.query(CANDIDATE, id.clone()));
        let (one, two) = tokio::join!(one, two);
        assert_eq!(one, two);
    }
    // More of the same person is something else, and so is another purpose.
    company.viewer.query(CANDIDATE, id.clone()).await;
    for_purpose(&company.hr, &mira, "DATA_SUBJECT_REQUEST").await.expect("shown");
    let refused = for_purpose(&company.hr, &mira, "CURIOSITY").await.expect_err("no purpose");
    assert_eq!(refused.code, "BAD_USER_INPUT");
    assert!(refused.message.contains("HIRING, AUDIT, SUPPORT"), "{refused:?}");

    let log_of = async |filter| log(&world, &company.auditor, filter).await;
    let entries = log_of(json!({ "candidateId": mira })).await;
    let pair = |who: &str, purpose: &str| (who.to_owned(), purpose.to_owned());
    let expected =
        [pair("hana", "DATA_SUBJECT_REQUEST"), pair("hana", "HIRING"), pair("vera", "HIRING")];
    assert_eq!(seen(&entries), BTreeSet::from(expected));
    assert_eq!(entries.len(), 3, "{entries:?}");
    for entry in &entries {
        assert_eq!(entry["viewer"]["kind"], "MEMBER");
        assert_eq!(entry["subject"], "CANDIDATE");
        assert_eq!((&entry["subjectId"], &entry["candidateId"]), (&json!(mira), &json!(mira)));
        assert_eq!(entry["fields"], json!(["CONTACT"]));
    }
    let viewer = entries.iter().find(|entry| entry["viewer"]["member"]["fullName"] == "vera");
    let viewer = text(viewer.expect("vera"), "/viewer/name");
    assert_eq!(log_of(json!({ "viewerId": viewer })).await.len(), 1);
    assert_eq!(log_of(json!({ "candidateId": lena })).await, Vec::<Value>::new());
    assert_eq!(log_of(json!({ "subject": "REPORT" })).await, Vec::<Value>::new());
    assert_eq!(log_of(json!({ "before": entries[2]["at"] })).await, Vec::<Value>::new());
    // Each viewer's reads are in a stream of their own, for which no other waits.
    let written = world.log_of("access").await;
    let streams: BTreeSet<_> = written.iter().map(|event| event.stream_id).collect();
    assert_eq!((written.len(), streams.len()), (3, 2), "{written:?}");
    // To read the log adds nothing to it.
    assert_eq!(log_of(json!({})).await.len(), 3);

    // It is for auditors and administrators, of the own company.
    let document = "{ accessLog { totalCount } }";
    for who in [&company.hr, &company.viewer, &company.interviewer] {
        let refused = who.ask(document, json!({})).await.expect_err("no right");
        assert_eq!(refused.code, "AUTH_003");
    }
    assert_eq!(company.admin.query(document, json!({})).await["accessLog"]["totalCount"], 3);
    let other = Company::found(&world, &client, "ships").await;
    let shown = other.auditor.query(document, json!({})).await;
    assert_eq!(shown["accessLog"]["totalCount"], 0);
    let theirs = log(&world, &other.auditor, json!({ "candidateId": mira })).await;
    assert_eq!(theirs, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_shows_names_is_a_read_of_each_and_one_that_shows_none_of_nobody() {
    let (world, _all, _, company) = Company::lights().await;
    let all: BTreeSet<String> =
        [candidate(&company, "mira").await, candidate(&company, "lena").await].into();
    world.until_projected().await;
    let bare = "{ candidates { totalCount nodes { id status version notes { at } } } }";
    company.viewer.query(bare, json!({})).await;
    assert_eq!(log(&world, &company.auditor, json!({})).await, Vec::<Value>::new());

    let named = "{ candidates { nodes { id name: fullName } } }";
    company.viewer.query(named, json!({})).await;
    let entries = log(&world, &company.auditor, json!({})).await;
    let of: Vec<_> = entries.iter().map(|entry| text(entry, "/candidateId").to_owned()).collect();
    assert_eq!(of.len(), 2);
    assert_eq!(BTreeSet::from_iter(of), all);
    let appended = world.log_of("access").await;
    assert_eq!(appended.len(), 1, "one append for one page: {appended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_searches_by_name_has_read_the_names_of_those_that_are_found() {
    let (world, _all, _, company) = Company::lights().await;
    let [mira, milo] = [candidate(&company, "mira").await, candidate(&company, "milo").await];
    candidate(&company, "lena").await;
    world.until_projected().await;
    let search = async |who: &Client, text: &str, rest: &str| {
        let document = format!(
            "query($text: String!) {{
                candidates(filter: {{ text: $text }}, first: 1) {{ {rest} }} }}"
        );
        who.query(&document, json!({ "text": text })).await
    };
    let read_by = async |name: &str| -> BTreeSet<String> {
        let entries = log(&world, &company.auditor, json!({})).await;
        let by = entries.iter().filter(|entry| entry["viewer"]["member"]["fullName"] == name);
        by.map(|entry| {
            assert_eq!(entry["fields"], json!(["CONTACT"]));
            text(entry, "/candidateId").to_owned()
        })
        .collect()
    };

    // Nobody was found, so nothing was shown of anybody.
    let none = search(&company.viewer, "nobody", "totalCount nodes { id }").await;
    assert_eq!(none, json!({ "candidates": { "totalCount": 0, "nodes": [] } }));
    assert_eq!(read_by("vera").await, BTreeSet::new());
    // An id tells as much as the name would.
    search(&company.viewer, "MIRA@", "nodes { id }").await;
    assert_eq!(read_by("vera").await, BTreeSet::from([mira.clone()]));
    // Even whether there is anybody does.
    search(&company.auditor, "mir", "pageInfo { hasNextPage }").await;
    assert_eq!(read_by("aude").await, BTreeSet::from([mira.clone()]));
    // A count is of all that are found, whatever the page.
    let two = search(&company.hr, "mi", "totalCount nodes { id }").await;
    assert_eq!(two["candidates"]["totalCount"], 2);
    assert_eq!(two["candidates"]["nodes"].as_array().map(Vec::len), Some(1));
    assert_eq!(read_by("hana").await, BTreeSet::from([mira, milo]));
}

/// Listens to an interview until its answer was told.
async fn until_answered(who: &Client, id: &Value) {
    let talk = "subscription($id: ID!) { interviewEvents(interviewId: $id) {
        eventType ... on AnswerRecorded { text } } }";
    let mut live = Socket::subscribe(who, talk, id.clone()).await.expect("a socket");
    loop {
        match live.next().await {
            Item::Next(event) if event["eventType"] == "interview.answer_recorded" => {
                return assert!(text(&event, "/text").contains("lamp"));
            }
            Item::Next(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transcripts_histories_and_live_talk_are_read_by_staff_and_are_a_guests_own() {
    let (world, _all, _, company) = Company::lights().await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Mira").await;
    round.begin(&company).await;
    round.talk(&company.interviewer, &round.guest, 1).await;
    world.until_projected().await;

    let id = json!({ "id": round.id });
    let transcript = "query($id: ID!) { interview(id: $id) { status
        transcript { nodes { text } } currentQuestion { text } } }";
    round.guest.query(transcript, id.clone()).await;
    until_answered(&round.guest, &id).await;
    assert_eq!(log(&world, &company.auditor, json!({})).await, Vec::<Value>::new());

    company.viewer.query(transcript, id.clone()).await;
    let history = "query($id: ID!) { interviewHistory(interviewId: $id) { nodes { payload } } }";
    company.admin.query(history, id.clone()).await;
    until_answered(&company.hr, &id).await;
    let entries = log(&world, &company.auditor, json!({ "subjectId": round.id })).await;
    let mut found: Vec<_> = entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["subject"], "TRANSCRIPT");
            (text(entry, "/viewer/member/fullName"), text(entry, "/fields/0"))
        })
        .collect();
    found.sort_unstable();
    let expected = [("Ada Admin", "HISTORY"), ("hana", "TRANSCRIPT"), ("vera", "TRANSCRIPT")];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_down_is_not_shown() {
    let (world, mut all, _, company) = Company::lights().await;
    let mira = candidate(&company, "mira").await;
    let lena = candidate(&company, "lena").await;
    world.until_projected().await;
    world.until_told().await;
    company.hr.query(CANDIDATE, json!({ "id": lena })).await;

    // The log can be read and takes nothing.
    let mut held = world.pool.begin().await.expect("the database answers");
    sqlx::query("lock table es_event in exclusive mode").execute(&mut *held).await.expect("held");
    let answer = company.hr.try_ask(CANDIDATE, &json!({ "id": mira })).await.expect("an answer");
    let refused = answer.expect_err("nothing is shown");
    assert_eq!((refused.code.as_str(), refused.status), ("UNAVAILABLE", 503), "{refused:?}");
    let body = json!({ "query": CANDIDATE, "variables": { "id": mira } }).to_string();
    let (_, answer) = company.hr.send_bytes(body.into_bytes()).await.expect("an answer");
    assert!(!answer.to_string().contains("mira@"), "{answer}");
    assert_eq!(answer["errors"][0]["extensions"]["kind"], "UNAVAILABLE", "{answer}");
    // What was written down a moment ago is shown again, and so is what is nobody's.
    let shown = company.hr.try_ask(CANDIDATE, &json!({ "id": lena })).await.expect("an answer");
    assert_eq!(text(&shown.expect("known"), "/candidate/fullName"), "lena");
    let bare = "query($id: ID!) { candidate(id: $id) { id status } }";
    company.hr.try_ask(bare, &json!({ "id": mira })).await.expect("an answer").expect("shown");
    held.rollback().await.expect("let go");

    company.hr.query(CANDIDATE, json!({ "id": mira })).await;
    let entries = log(&world, &company.auditor, json!({ "candidateId": mira })).await;
    assert!(!entries.is_empty());
    all.is_running();
}
