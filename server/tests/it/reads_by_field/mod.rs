//! Each field that tells of a candidate is read once by somebody of the company, each of whom is looked
//! up in the access log afterwards: that the product says a read is recorded is not enough.

mod story;

use std::collections::{BTreeMap, BTreeSet};

use domain::access::Fields;
use domain::values::Spelled;
use serde_json::{Value, json};

use crate::client::{Client, read};
use crate::every_field::schema::{Schema, base, text};
use crate::job::Company;
use crate::socket::{Item, Socket};
use crate::world::DEADLINE;

/// What tells of a candidate: the type, its fields, and as what a read of each is recorded, be it where
/// the field is resolved or where what it stands in is.
const RECORDED: &[(&str, &[&str], &str)] = &[
    ("AnswerJudged", &["completeness", "feedback", "score"], "SCORES"),
    ("AnswerRecorded", &["text"], "TRANSCRIPT"),
    ("ApplicationStep", &["reason"], "NOTES"),
    ("Candidate", &["email", "fullName", "phone", "source"], "CONTACT"),
    ("CandidateNote", &["text"], "NOTES"),
    ("CurrentQuestion", &["text"], "TRANSCRIPT"),
    ("DimensionScore", &["confidence", "dimension", "score"], "SCORES"),
    ("Evidence", &["quote", "why"], "SCORES"),
    ("FollowUpAsked", &["text"], "TRANSCRIPT"),
    ("HistoryEvent", &["payload"], "HISTORY"),
    (
        "Insight",
        &["explanation", "kind", "msFromStart", "severity", "type", "value"],
        "OBSERVATIONS",
    ),
    ("Interview", &["cancelReason"], "NOTES"),
    ("InterviewCancelled", &["reason"], "NOTES"),
    ("InterviewNote", &["text"], "NOTES"),
    ("InterviewNoteAdded", &["text"], "NOTES"),
    ("Judgement", &["completeness", "feedback", "score"], "SCORES"),
    ("ParsedFacts", &["education", "experienceYears", "previousRoles", "skills"], "RESUME_TEXT"),
    ("PersonScore", &["kind", "score"], "SCORES"),
    ("PrivateNote", &["text"], "PRIVATE_NOTES"),
    (
        "Proposal",
        &["overall", "recommendation", "strengths", "summary", "unscored", "weaknesses"],
        "SCORES",
    ),
    ("QuestionAsked", &["text"], "TRANSCRIPT"),
    ("Resume", &["fileName", "text"], "RESUME_TEXT"),
    ("ScoreGround", &["isOwnNote"], "SCORES"),
    ("Signature", &["decision", "notes", "proposalSeen", "strengths", "weaknesses"], "SCORES"),
    ("TechnicalDomain", &["level", "name"], "RESUME_TEXT"),
    ("Turn", &["text"], "TRANSCRIPT"),
];

/// What tells of no candidate, or no more than how far things have come; by types and by names.
const OF_THE_PROCESS: &[&str] = &[
    "AccountSession.*",
    "Actor.*",
    "AiCall.*",
    "ApiKey.*",
    "AnswerRecorded.responseTimeMs",
    "Application.jobTitle",
    "ApplicationStep.from",
    "ApplicationStep.to",
    "AsOfPoint.*",
    "Candidate.accountStatus",
    "Candidate.erased",
    "CandidateViewer.companyName",
    "Company.*",
    "CompanyRequest.*",
    "CustomRole.*",
    "EventProof.*",
    "HistoryEvent.hash",
    "HistoryEvent.isIntact",
    "HistoryEvent.position",
    "HistoryEvent.schemaVersion",
    "HistoryEvent.unreadable",
    "Interview.candidatePresent",
    "Interview.completionReason",
    "Interview.consent",
    "Interview.difficulty",
    "Interview.durationMinutes",
    "Interview.interviewerPresent",
    "Interview.jobTitle",
    "Interview.mode",
    "Interview.nAnswers",
    "Interview.nFollowUps",
    "Interview.nQuestions",
    "Interview.nTimedOut",
    "Interview.roundNumber",
    "Interview.roundType",
    "Interview.rubricVersion",
    "InterviewAccess.*",
    "Job.*",
    "JobQuestion.*",
    "Login.*",
    "Member.*",
    "PageInfo.*",
    "ParkedStream.*",
    "Provenance.*",
    "QuestionAsked.difficulty",
    "QuestionAsked.dimensions",
    "QuestionAsked.questionType",
    "ReadModelLag.*",
    "Resume.downloadPath",
    "Resume.mediaType",
    "Resume.parsingStatus",
    "Resume.sizeBytes",
    "Resume.truncated",
    "RubricDimension.*",
    "SignOnProvider.*",
    "Turn.difficulty",
    "Turn.dimensions",
    "Turn.kind",
    "Turn.outcome",
    "Turn.questionType",
    "Turn.responseTimeMs",
    "UserError.*",
    "*.accessToken",
    "*.cursor",
    "*.eventType",
    "*.failureCode",
    "*.invitationToken",
    "*.recoveryCodes",
    "*.secondStepToken",
    "*.secret",
    "*.sequence",
    "*.status",
    "*.token",
    "*.tokenType",
    "*.url",
    "*.version",
];

/// The ways to a type's fields, which stand at `@`. Types of live events have no other than that.
const WAYS: &[(&str, &str)] = &[
    ("ApplicationStep", "{ application(id: $application) { steps { @ } } }"),
    ("Candidate", "{ candidate(id: $candidate) { @ } }"),
    ("CandidateNote", "{ candidate(id: $candidate) { notes { @ } } }"),
    ("CurrentQuestion", "{ interview(id: $waiting) { currentQuestion { @ } } }"),
    (
        "CurrentQuestion",
        "{ interview(id: $waiting, asOf: { version: $waitingVersion }) { currentQuestion { @ } } }",
    ),
    ("CurrentQuestion", "{ interviewSession(interviewId: $waiting) { currentQuestion { @ } } }"),
    ("DimensionScore", "{ verdict(id: $verdict) { proposal { scores { @ } } } }"),
    ("Evidence", "{ verdict(id: $verdict) { proposal { scores { evidence { @ } } } } }"),
    ("HistoryEvent", "{ interviewHistory(interviewId: $held) { nodes { @ } } }"),
    ("Insight", "{ interview(id: $held) { insights { @ } } }"),
    ("Insight", "subscription { interviewInsights(interviewId: $held) { insight { @ } } }"),
    ("Interview", "{ interview(id: $cancelled) { @ } }"),
    ("InterviewNote", "{ interview(id: $waiting) { notes { @ } } }"),
    ("Judgement", "{ interview(id: $held) { transcript { nodes { judgement { @ } } } } }"),
    (
        "Judgement",
        "{ interview(id: $held, asOf: { version: $heldVersion }) {
            transcript { nodes { judgement { @ } } } } }",
    ),
    ("ParsedFacts", "{ resume(id: $resume) { parsedFacts { @ } } }"),
    ("PersonScore", "{ interview(id: $held) { verdict { signature { scores { @ } } } } }"),
    ("PrivateNote", "{ verdict(id: $verdict) { privateNotes { @ } } }"),
    ("Proposal", "{ verdict(id: $verdict) { proposal { @ } } }"),
    ("Resume", "{ candidate(id: $candidate) { resumes { @ } } }"),
    ("Resume", "{ resume(id: $resume) { @ } }"),
    ("ScoreGround", "{ verdict(id: $verdict) { signature { scores { grounds { @ } } } } }"),
    ("Signature", "{ verdict(id: $verdict) { signature { @ } } }"),
    ("TechnicalDomain", "{ resume(id: $resume) { parsedFacts { technicalDomains { @ } } } }"),
    ("Turn", "{ interview(id: $held) { transcript { nodes { @ } } } }"),
    (
        "Turn",
        "{ interview(id: $held, asOf: { version: $heldVersion }) { transcript { nodes { @ } } } }",
    ),
    ("Turn", "{ interviewSession(interviewId: $held) { lastTurns { @ } } }"),
    ("Turn", "{ verdict(id: $verdict) { signature { scores { grounds { answer { @ } } } } } }"),
];

/// Purposes that a request can name; live events are read for the usual one.
const USUAL: &str = "HIRING";
const PURPOSES: [&str; 4] = ["AUDIT", "SUPPORT", "DATA_SUBJECT_REQUEST", "LEGAL"];

/// What of the schema may tell of somebody: all texts and measures, and in types that have a field that
/// does, all else but ids and times.
fn telling(schema: &Schema) -> BTreeSet<String> {
    let personal: BTreeSet<&str> = RECORDED.iter().map(|(of, ..)| *of).collect();
    let mut found = BTreeSet::new();
    for of in schema.types().filter(|of| of["kind"] == "OBJECT") {
        let name = text(of, "name");
        if name.starts_with("__") || ["Query", "Mutation", "Subscription"].contains(&name) {
            continue;
        }
        for field in schema.fields(name) {
            let leaf = base(&field["type"]);
            let is_telling = match leaf {
                "String" | "Float" | "JSON" => true,
                "ID" | "UUID" | "DateTime" => false,
                leaf => personal.contains(name) && !schema.is_composite(leaf),
            };
            if is_telling {
                found.insert(format!("{name}.{}", text(field, "name")));
            }
        }
    }
    found
}

/// Asserts that of each field that may tell of somebody it is known whether a read of it is recorded.
fn is_complete(schema: &Schema) {
    let is_of_the_process = |field: &String| {
        let (of, name) = field.split_once('.').unwrap_or_default();
        let rules = [field.clone(), format!("{of}.*"), format!("*.{name}")];
        rules.iter().any(|rule| OF_THE_PROCESS.contains(&rule.as_str()))
    };
    let fields = RECORDED.iter().flat_map(|(of, fields, _)| fields.iter().map(move |f| (of, f)));
    let recorded: BTreeSet<String> = fields.map(|(of, field)| format!("{of}.{field}")).collect();
    let open = telling(schema).into_iter().filter(|field| !is_of_the_process(field));
    assert_eq!(open.collect::<BTreeSet<_>>(), recorded, "a field without a rule, or the reverse");
}

/// One read, and as what it is to be recorded.
struct Read {
    document: String,
    class: &'static str,
}

/// A read of each recorded field on each way to it.
fn reads(ids: &BTreeMap<&'static str, String>) -> Vec<Read> {
    let mut reads = vec![];
    for (of, fields, class) in RECORDED {
        let known: Vec<&str> = WAYS.iter().filter(|way| way.0 == *of).map(|way| way.1).collect();
        let live = ["$held", "$waiting", "$cancelled"].map(|id| {
            format!(
                "subscription {{ interviewEvents(interviewId: {id}) {{ ... on {of} {{ @ }} }} }}"
            )
        });
        let ways: Vec<String> = match (known.is_empty(), *of) {
            (false, _) => known.into_iter().map(str::to_owned).collect(),
            (true, "InterviewCancelled") => vec![live[2].clone()],
            (true, "InterviewNoteAdded") => vec![live[1].clone()],
            (true, _) => vec![live[0].clone()],
        };
        for (way, field) in ways.iter().flat_map(|way| fields.iter().map(move |f| (way, f))) {
            let mut document = way.replace('@', &format!("it: {field}"));
            // Longer names first, as some begin like others.
            for (name, id) in ids.iter().rev() {
                document = document.replace(name, id);
            }
            reads.push(Read { document, class });
        }
    }
    reads
}

/// Whether something is there that was asked for as `it`.
fn is_shown(answer: &Value) -> bool {
    match answer {
        Value::Object(fields) => fields.iter().any(|(name, value)| match name.as_str() {
            "it" => !value.is_null(),
            _ => is_shown(value),
        }),
        Value::Array(items) => items.iter().any(is_shown),
        _ => false,
    }
}

async fn ask(who: &Client, document: &str, purpose: &str) {
    let body = json!({ "query": document, "extensions": { "purpose": purpose } }).to_string();
    let (status, answer) = who.send_bytes(body.into_bytes()).await.expect("an answer");
    let answer = read(status, &answer).unwrap_or_else(|refused| panic!("{document}: {refused:?}"));
    assert!(is_shown(&answer), "{document} shows nothing: {answer}");
}

async fn listen(who: &Client, document: &str) {
    let mut live = Socket::subscribe(who, document, json!({})).await.expect("a socket");
    loop {
        match live.next_within(DEADLINE).await {
            Some(Item::Next(event)) if is_shown(&event) => return,
            Some(Item::Next(_)) => {}
            other => panic!("{document} shows nothing: {other:?}"),
        }
    }
}

/// What each purpose of a viewer is recorded as.
async fn recorded(auditor: &Client, viewer: &str) -> BTreeSet<(String, String)> {
    let document = "query($id: ID!) { accessLog(filter: { viewerId: $id }, first: 100) {
        nodes { fields purpose } } }";
    let found = auditor.query(document, json!({ "id": viewer })).await;
    let mut recorded = BTreeSet::new();
    for entry in found["accessLog"]["nodes"].as_array().expect("nodes") {
        for class in entry["fields"].as_array().expect("classes") {
            let class = class.as_str().expect("a class").to_owned();
            recorded.insert((text(entry, "purpose").to_owned(), class));
        }
    }
    recorded
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_a_field_that_tells_of_a_candidate_stands_in_the_access_log() {
    let (world, _all, client, company) = Company::lights().await;
    let schema = Schema::read(&company.hr).await;
    is_complete(&schema);
    let ids = story::play(&world, &company).await;

    // What was recorded once is not recorded again, so that each has a viewer and purpose of its own.
    let (mut usual, mut others, mut viewers) = (vec![], vec![], vec![]);
    let mut expected: Vec<(String, &str, &str, String)> = vec![];
    for Read { document, class } in reads(&ids) {
        let is_live = document.starts_with("subscription");
        let (viewer, purpose) = if class == "HISTORY" {
            viewers.push(company.invite(&client, "abel", "lights", "AUDITOR").await);
            (viewers.len() - 1, USUAL)
        } else {
            let is_taken = if is_live { usual.is_empty() } else { others.is_empty() };
            if is_taken {
                let name = format!("heidi{}", viewers.len());
                viewers.push(company.invite(&client, &name, "lights", "COMPANY_ADMIN").await);
                usual.push((viewers.len() - 1, USUAL));
                others.extend(PURPOSES.map(|purpose| (viewers.len() - 1, purpose)));
            }
            let free = if is_live { usual.pop() } else { others.pop() };
            free.expect("one more")
        };
        let (who, id) = &viewers[viewer];
        match is_live {
            true => listen(who, &document).await,
            false => ask(who, &document, purpose).await,
        }
        expected.push((id.clone(), purpose, class, document));
    }
    let (who, id) = company.invite(&client, "filo", "lights", "HR").await;
    let path = format!("/files/resumes/{}", ids["$resume"].trim_matches('"'));
    let file = reqwest::Client::new().get(format!("{}{path}", who.base())).bearer_auth(who.token());
    assert_eq!(file.send().await.expect("an answer").status(), 200);
    expected.push((id, USUAL, "RESUME_FILE", path));

    world.until_projected().await;
    let mut missing = vec![];
    for (viewer, purpose, class, what) in &expected {
        let found = recorded(&company.auditor, viewer).await;
        if !found.contains(&((*purpose).to_owned(), (*class).to_owned())) {
            missing.push(format!("{what} as {class}"));
        }
    }
    assert!(expected.len() > 60, "{} reads", expected.len());
    assert_eq!(missing, Vec::<String>::new());
    let classes: BTreeSet<&str> = expected.iter().map(|(_, _, class, _)| *class).collect();
    assert_eq!(classes.len(), Fields::ALL.len(), "a class that nothing shows");
}
