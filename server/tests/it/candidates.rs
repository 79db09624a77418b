//! Candidates with a login of their own: from registering until the record is put away.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::authenticator::{self, Authenticator};
use crate::client::{Answer, Client, text};
use crate::job::{Company, PASSWORD};
use crate::letters::{APP, letters_to, token_of_letter};
use crate::rights::end;
use crate::socket::{Item, Socket};
use crate::subscriptions::EVENTS;
use crate::uploads::upload;
use crate::world::{World, until};

const PAGE: &str = "confirm-candidate-account";

/// Asks to be registered, as anybody may; the whole answer.
async fn register(client: &Client, company: &str, email: &str) -> Answer {
    let document = "mutation($input: RegisterCandidateAccountInput!) {
        registerCandidateAccount(input: $input) { isDone errors { code message path } } }";
    let input = json!({
        "companyId": company, "email": email, "password": PASSWORD, "fullName": "Mira Okafor",
    });
    client.stranger().ask(document, json!({ "input": input })).await
}

/// A candidate of the company who has registered with this address and is signed in. Letters must link
/// to [`APP`].
pub async fn signed_in(world: &World, client: &Client, company: &str, email: &str) -> Client {
    let registered = register(client, company, email).await.expect("registered");
    assert_eq!(registered["isDone"], true);
    let token = token_of_letter(world, email, PAGE).await;
    let input = json!({ "token": token, "password": PASSWORD });
    client.stranger().enter("confirmCandidateAccount", input).await
}

async fn company_id(company: &Company) -> String {
    let found = company.hr.query("{ company { id } }", json!({})).await;
    text(&found, "/company/id").to_owned()
}

async fn code(who: &Client, document: &str, variables: Value) -> String {
    who.ask(document, variables).await.map_or_else(|refused| refused.code, |_| "ok".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_registers_takes_part_and_sees_what_is_their_own() {
    let world = World::without_kafka().await;
    let mut all = world.start_with("all", &[("COLLOQUY_MAIL__APP_URL", APP)]);
    let client = all.client().await;
    let company = Company::found(&world, &client, "lights").await;
    let id = company_id(&company).await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Mira").await;
    let other = company.schedule(&job, "Fred").await;

    // A known address is answered as one that nobody knows.
    let [known, unknown] = ["mira@mail.example", "nobody@mail.example"];
    let answers = [register(&client, &id, known).await, register(&client, &id, unknown).await];
    assert_eq!(answers[0], answers[1]);
    let nowhere = format!("comp_{}", Uuid::new_v4().simple());
    let refused = register(&client, &nowhere, known).await.expect_err("no company");
    assert_eq!(refused.code, "COMPANY_NOT_FOUND");
    let token = token_of_letter(&world, known, PAGE).await;
    token_of_letter(&world, unknown, PAGE).await;

    let confirm = "mutation($input: ConfirmCandidateAccountInput!) {
        confirmCandidateAccount(input: $input) { accessToken viewer { __typename
            ... on CandidateViewer { id companyName permissions { right reaches } } }
            errors { code } } }";
    let input = |password: &str| json!({ "input": { "token": token, "password": password } });
    assert_eq!(code(&client, confirm, input("Wrong-pass-1")).await, "AUTH_001");
    let session = client.query(confirm, input(PASSWORD)).await;
    let mira = client.with_token(text(&session, "/accessToken"));
    assert_eq!(text(&session, "/viewer/companyName"), "lights");
    let own = |right: &str| json!({ "right": right, "reaches": ["OWN"] });
    let rights = [
        "READ_CANDIDATE",
        "UPLOAD_RESUME",
        "TAKE_PART_AS_CANDIDATE",
        "CONDUCT_INTERVIEW",
        "READ_INTERVIEW",
    ];
    assert_eq!(session["viewer"]["permissions"], json!(rights.map(own)));
    assert_eq!(code(&client, confirm, input(PASSWORD)).await, "LETTER_INVALID");
    let candidate = text(&session, "/viewer/id").to_owned();

    // The record is the one that the company had made, and the company sees that it has a login.
    world.until_projected().await;
    let document = "query($id: ID!) { candidate(id: $id) {
        fullName source accountStatus notes { text } applications { id jobTitle job { id }
            status interviews { id } } } }";
    let input = json!({ "candidateId": candidate, "text": "Strong in storms." });
    company.hr.carry_out("addCandidateNote", input, "version").await;
    world.until_projected().await;
    let seen = company.hr.query(document, json!({ "id": candidate })).await;
    assert_eq!(text(&seen, "/candidate/fullName"), "Mira Stone");
    assert_eq!(text(&seen, "/candidate/accountStatus"), "ACTIVE");
    assert_eq!(seen["candidate"]["notes"].as_array().map(Vec::len), Some(1));
    let seen = mira.query(document, json!({ "id": candidate })).await;
    assert_eq!(seen["candidate"]["notes"], json!([]), "what the company thinks is its own");
    let applications = json!([{
        "id": round.application, "jobTitle": "Lighthouse keeper", "job": null, "status": "NEW",
        "interviews": [{ "id": round.id }],
    }]);
    assert_eq!(seen["candidate"]["applications"], applications);

    let others = "query($id: ID!) { application(id: $id) { candidate { id } } }";
    let others = company.hr.query(others, json!({ "id": other.application })).await;
    let other_candidate = text(&others, "/application/candidate/id").to_owned();
    sees_nothing_of_others(&mira, &round.id, &other.id, &other.application).await;
    takes_part(&mira, &company, &round).await;
    uploads_the_own_resume(&mira, &candidate, &other_candidate).await;
    world.until_projected().await;

    // What is their own is not recorded as a read, and what happens live is told.
    let log = "query($id: ID!) { accessLog(filter: { candidateId: $id }, first: 100) {
        nodes { viewer { kind } } } }";
    let log = company.auditor.query(log, json!({ "id": candidate })).await;
    let readers = log["accessLog"]["nodes"].as_array().expect("nodes");
    assert!(!readers.is_empty() && readers.iter().all(|node| node["viewer"]["kind"] == "MEMBER"));

    // Two proofs, another session, and the end of it all.
    let authenticator = Authenticator::enrol(&mira, PASSWORD).await;
    let step = authenticator::sign_in(&client, known, PASSWORD, &authenticator.code(30)).await;
    let viewer = "{ viewer { __typename } login { email isEmailVerified hasSecondFactor }
        sessions { companyId } }";
    let shown = step.query(viewer, json!({})).await;
    assert_eq!(text(&shown, "/viewer/__typename"), "CandidateViewer");
    let login = json!({ "email": known, "isEmailVerified": true, "hasSecondFactor": true });
    assert_eq!(shown["login"], login);
    assert_eq!(shown["sessions"], json!([{ "companyId": id }, { "companyId": id }]));
    let watching = Socket::subscribe(&step, EVENTS, json!({ "id": round.id })).await;
    let watching = watching.expect("a socket");
    company.hr.carry_out("archiveCandidate", json!({ "candidateId": candidate }), "version").await;
    assert_eq!(end(watching).await, "INVALID_TOKEN");
    for who in [&mira, &step] {
        until("the record lets nobody in any more", async || {
            (code(who, viewer, json!({})).await == "INVALID_TOKEN").then_some(())
        })
        .await;
    }
    world.until_projected().await;
    let seen = company.hr.query(document, json!({ "id": candidate })).await;
    assert_eq!(text(&seen, "/candidate/accountStatus"), "INACTIVE");
    assert_eq!(letters_to(&world, known).len(), 2, "of the registration and the second proof");
    all.is_running();
}

async fn sees_nothing_of_others(mira: &Client, own: &str, other: &str, application: &str) {
    let lists = "{ interviews { nodes { id } totalCount } candidates { totalCount }
        applications { totalCount } liveBoard { totalCount } }";
    let seen = mira.query(lists, json!({})).await;
    assert_eq!(seen["interviews"], json!({ "nodes": [{ "id": own }], "totalCount": 1 }));
    assert_eq!(
        (&seen["candidates"]["totalCount"], &seen["applications"]["totalCount"]),
        (&json!(1), &json!(1))
    );
    let interview = "query($id: ID!) { interview(id: $id) { id } }";
    assert_eq!(code(mira, interview, json!({ "id": other })).await, "INT_001");
    let found = "query($id: ID!) { application(id: $id) { id } }";
    assert_eq!(code(mira, found, json!({ "id": application })).await, "APPLICATION_NOT_FOUND");
    let watched = Socket::subscribe(mira, EVENTS, json!({ "id": other })).await;
    assert_eq!(end(watched.expect("a socket")).await, "INT_001");
    for closed in [
        "{ jobs { totalCount } }",
        "{ members { totalCount } }",
        "{ company { id } }",
        "{ verdicts { totalCount } }",
        "{ hrDashboard { interviews { count } } }",
        "{ apiKeys { id } }",
    ] {
        assert_eq!(code(mira, closed, json!({})).await, "AUTH_003", "{closed}");
    }
    let refused = mira.order("joinInterview", json!({ "interviewId": other }), "version").await;
    assert_eq!(refused.expect_err("another's").code, "AUTH_003");
    let hidden = "query($id: ID!) { interview(id: $id) { difficulty verdict { id } insights { id }
        accesses { accessId } notes { text } interviewer { id } hiringManager { id } job { id } } }";
    let hidden = mira.query(hidden, json!({ "id": own })).await;
    let nothing = json!({
        "difficulty": null, "verdict": null, "insights": [], "accesses": [], "notes": [],
        "interviewer": null, "hiringManager": null, "job": null,
    });
    assert_eq!(hidden["interview"], nothing);
    let past = "query($id: ID!) { interview(id: $id, asOf: { version: 1 }) { id } }";
    assert_eq!(code(mira, past, json!({ "id": own })).await, "AUTH_003");
}

/// Joins, consents, answers and listens, as the guest of the interview does by its token.
async fn takes_part(mira: &Client, company: &Company, round: &crate::job::Round) {
    let mut live = Socket::subscribe(mira, EVENTS, json!({ "id": round.id })).await.expect("open");
    let Item::Next(_) = live.next().await else { panic!("the conversation is told") };
    let consent = json!({ "interviewId": round.id, "purposes": ["AI_ANALYSIS"] });
    mira.carry_out("recordConsent", consent, "version").await;
    for party in [mira, &company.interviewer] {
        party.carry_out("joinInterview", round.input(), "interview { status }").await;
    }
    let question = round.ask(&company.interviewer, "What about fog?").await;
    round.answer(mira, &question, "The horn.").await;
    let document = "query($id: ID!) { interview(id: $id) { status candidatePresent transcript {
        nodes { text difficulty dimensions } } } }";
    let shown = until("the answer is shown", async || {
        let shown = mira.query(document, json!({ "id": round.id })).await;
        shown.pointer("/interview/transcript/nodes/1").is_some().then_some(shown)
    })
    .await;
    assert_eq!(shown["interview"]["candidatePresent"], true);
    let turns = json!([
        { "text": "What about fog?", "difficulty": null, "dimensions": [] },
        { "text": "The horn.", "difficulty": null, "dimensions": [] },
    ]);
    assert_eq!(shown["interview"]["transcript"]["nodes"], turns);
}

async fn uploads_the_own_resume(mira: &Client, own: &str, other: &str) {
    let kind = ("cv.txt", "text/plain");
    let put = async |candidate: &str| {
        upload(mira, Uuid::new_v4(), candidate, kind, b"Mira Stone\nKeeper of lights\n").await
    };
    let (status, refused) = put(other).await;
    assert_eq!((status, text(&refused, "/errors/0/extensions/code")), (403, "AUTH_003"));
    let (status, done) = put(own).await;
    assert_eq!(status, 201, "{done}");
    let document = "query($id: ID!, $seen: [String!]) {
        resume(id: $id, consistentWith: $seen) { fileName downloadPath candidate { id } } }";
    let variables = json!({ "id": done["resumeId"], "seen": [done["cursor"]] });
    let seen = mira.query(document, variables).await;
    assert_eq!(text(&seen, "/resume/fileName"), "cv.txt");
    assert_eq!(text(&seen, "/resume/candidate/id"), own);
    let path = text(&seen, "/resume/downloadPath");
    let file = reqwest::Client::new().get(format!("{}{path}", mira.base()));
    assert_eq!(file.bearer_auth(mira.token()).send().await.expect("an answer").status(), 200);
}
