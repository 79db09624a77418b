//! Bad input along the way: each gets its code, nothing is written, and the next request is served.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::cast::Cast;
use super::client::{Answer, command_id, list};
use super::hiring::{Invited, OpenJob};
use super::script::{Stage, id};
use super::socket::{Item, Subscription};
use super::talk::Talk;

const VIEWER: &str = "{ viewer { __typename } }";
const INTERVIEW: &str = "query($id: ID!) { interview(id: $id) { id } }";
const CANDIDATE: &str = "query($id: ID!) { candidate(id: $id) { id } }";
const HIDDEN: &str = "query($id: ID!) { interview(id: $id) { verdict { id } difficulty
    insights { id } notes { text } transcript(first: 100) { nodes { judgement { score } } } } }";
const INSIGHTS: &str = "subscription($id: ID!, $after: String) {
    interviewInsights(interviewId: $id, after: $after) { cursor } }";
const LIVE: &str = "subscription($id: ID!, $after: String) {
    interviewEvents(interviewId: $id, after: $after) { cursor } }";
const NODE: &str = "query($id: ID!) { node(id: $id) { id } }";

/// Notes whether an answer is the refusal that it must be.
pub fn refused(stage: &Stage, sentence: impl Into<String>, answer: &Answer, codes: &[&str]) {
    let fits = matches!(answer, Err(refused) if codes.contains(&refused.code.as_str()));
    let detail = || match answer {
        Ok(_) => format!("it went through, expected {codes:?}"),
        Err(refused) => format!("{refused}, expected {codes:?}"),
    };
    stage.checks.check(sentence, fits, detail);
}

/// What is wrong with a request before any rule looks at it.
///
/// # Errors
/// When the server does not answer.
pub async fn doors(stage: &Stage, cast: &Cast) -> anyhow::Result<()> {
    let stranger = stage.api.stranger("nobody");
    let answer = stranger.with_token("not.a.token").ask(VIEWER, json!({})).await?;
    let sentence = "a token that was not issued here admits nobody";
    refused(stage, sentence, &answer, &["INVALID_TOKEN", "TOKEN_INVALID"]);

    let answer = stranger.ask("{ jobs { nodes { id } } }", json!({})).await?;
    refused(stage, "without a token there is nothing to see", &answer, &["AUTH_REQUIRED"]);

    let credentials = json!({ "email": "nobody@nowhere.example", "password": "Wrong-1234!" });
    let entered = stranger.enter("signIn", credentials).await?.map(|_| Value::Null);
    refused(stage, "wrong sign-in data do not say what is wrong", &entered, &["AUTH_001"]);

    let token = json!({ "token": "not-an-access-token" });
    let entered = stranger.enter("openInterviewSession", token).await?.map(|_| Value::Null);
    refused(stage, "a wrong access token opens no interview", &entered, &["INT_002"]);

    let input = json!({ "title": "A job", "description": "Text." });
    let answer = cast.viewer.order("createJob", input, "job { id }").await?;
    refused(stage, "a viewer cannot open a job", &answer, &["AUTH_003"]);

    let filter = "{ jobs(filter: { statuses: [SOMEHOW] }) { nodes { id } } }";
    let answer = cast.hr.ask(filter, json!({})).await?;
    let codes = ["GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT"];
    refused(stage, "an unknown enum value in a document is refused with a code", &answer, &codes);

    let input = json!({ "email": "x@harbor.example", "fullName": "X", "role": "EMPEROR" });
    let answer = cast.admin.order("inviteMember", input, "member { id }").await?;
    refused(stage, "an unknown enum value in a variable is refused with a code", &answer, &codes);

    let input = json!({ "title": "NUL \u{0}", "description": "Text." });
    let answer = cast.hr.order("createJob", input, "job { id }").await?;
    let codes = ["INVALID_TEXT", "VALIDATION_FAILED"];
    refused(stage, "a text with the character NUL is refused", &answer, &codes);

    let body = r#"{"query":"{ viewer { __typename } }","operationName":"\ud800"}"#;
    let (_, answer) = stage.api.raw(cast.hr.token(), body.to_owned()).await?;
    let code = answer.pointer("/errors/0/extensions/code").and_then(Value::as_str);
    stage.checks.equal("a lone surrogate is refused", &code, &Some("MALFORMED_JSON"));

    let answer = cast.hr.ask("{ jobs(after: \"garbage\") { nodes { id } } }", json!({})).await?;
    refused(stage, "a cursor of no list is refused", &answer, &["CURSOR_INVALID"]);

    let answer = cast.hr.ask(VIEWER, json!({})).await?;
    let seen = answer.as_ref().map(|data| data["viewer"]["__typename"].clone()).ok();
    stage.checks.equal(
        "after all of these the next request is served",
        &seen,
        &Some(json!("MemberViewer")),
    );
    Ok(())
}

/// Repeats, stale versions and what the rules say to a job.
///
/// # Errors
/// When the server does not answer.
pub async fn orders(stage: &Stage, cast: &Cast, job: &OpenJob) -> anyhow::Result<()> {
    let hr = &cast.hr;
    let input = json!({
        "commandId": command_id(),
        "title": "Night porter",
        "description": "Keeps the house while it sleeps.",
        "hiringManagerId": cast.manager_id,
    });
    let selection = "job { id title }";
    let first = hr.order("createJob", input.clone(), selection).await?;
    let again = hr.order("createJob", input.clone(), selection).await?;
    stage.checks.check(
        "the same command sent again has the same answer",
        first.is_ok() && first == again,
        || format!("first {first:?}, then {again:?}"),
    );
    let mut other = input;
    other["title"] = json!("Day porter");
    let answer = hr.order("createJob", other, selection).await?;
    let sentence = "a command id that was used with another input is refused";
    refused(stage, sentence, &answer, &["COMMAND_ID_REUSED"]);

    let stale = json!({ "jobId": job.id, "expectedVersion": job.version - 1, "nWarmup": 3 });
    let answer = hr.order("configureInterviewing", stale, "job { id }").await?;
    refused(stage, "a stale expected version is refused", &answer, &["VERSION_CONFLICT"]);

    let question = json!({
        "jobId": job.id,
        "text": "What is your favourite colour?",
        "type": "BEHAVIORAL",
        "difficulty": "WARMUP",
        "dimensions": ["colours"],
    });
    let answer = hr.order("addQuestion", question, "questionId").await?;
    let sentence = "a question about something that the rubric does not score is refused";
    refused(stage, sentence, &answer, &["JOB_UNKNOWN_DIMENSION"]);

    let porter = first.as_ref().ok().and_then(|payload| payload.pointer("/job/id"));
    let answer = hr.order("publishJob", json!({ "jobId": porter }), "job { id }").await?;
    refused(stage, "a job without questions is not published", &answer, &["JOB_NOT_READY"]);

    let answer = cast.outsider.order("closeJob", json!({ "jobId": job.id }), "job { id }").await?;
    let sentence = "another company cannot close the job: it is not there for them";
    refused(stage, sentence, &answer, &["JOB_001"]);
    Ok(())
}

/// What the candidate must not see or do, and what nobody can do once the interview is over.
///
/// # Errors
/// When the server does not answer.
pub async fn guest(
    stage: &Stage,
    cast: &Cast,
    invited: &Invited,
    talk: &Talk,
) -> anyhow::Result<()> {
    let guest = &talk.guest;
    let own = guest.query(HIDDEN, id(&invited.interview)).await?;
    let own = &own["interview"];
    stage.checks.check(
        "the candidate sees neither verdict nor insights, notes, judgements or difficulty",
        own["verdict"].is_null()
            && own["difficulty"].is_null()
            && list(own, "/insights").is_empty()
            && list(own, "/notes").is_empty()
            && list(own, "/transcript/nodes").iter().all(|turn| turn["judgement"].is_null()),
        || own.to_string(),
    );
    let staff_only = [
        (
            "list verdicts",
            "query($id: ID!) { verdicts(filter: { interviewId: $id }) { nodes { id } } }",
        ),
        ("read AI calls", "query($id: ID!) { aiCalls(interviewId: $id) { nodes { callId } } }"),
        (
            "replay the history",
            "query($id: ID!) { interviewHistory(interviewId: $id) { nodes { hash } } }",
        ),
    ];
    for (what, document) in staff_only {
        let answer = guest.ask(document, id(&invited.interview)).await?;
        refused(stage, format!("the candidate cannot {what}"), &answer, &["AUTH_003"]);
    }
    let answer = guest.ask(CANDIDATE, id(&invited.candidate)).await?;
    let sentence = "the candidate cannot read the company's record about candidates";
    refused(stage, sentence, &answer, &["AUTH_003"]);
    let mut insights = Subscription::new(guest, INSIGHTS, id(&invited.interview));
    let item = insights.next(Instant::now() + stage.manner.patience).await?;
    let fits = matches!(&item, Some(Item::Refused(r)) if matches!(r.code.as_str(), "INT_001" | "AUTH_003"));
    let sentence = "the candidate cannot subscribe to insights";
    stage.checks.check(sentence, fits, || format!("{item:?}"));
    let mut garbage = Subscription::new(guest, LIVE, id(&invited.interview)).after("not-a-cursor");
    let item = garbage.next(Instant::now() + stage.manner.patience).await?;
    let fits = matches!(&item, Some(Item::Refused(r)) if r.code == "CURSOR_INVALID");
    let sentence = "live events after garbage are refused";
    stage.checks.check(sentence, fits, || format!("{item:?}"));

    let answer = cast.interviewer.ask(INTERVIEW, id(&invited.interview)).await?;
    let sentence = "an interviewer does not see a round that is not assigned to them";
    refused(stage, sentence, &answer, &["INT_001"]);

    let late = json!({
        "interviewId": invited.interview,
        "questionId": talk.last_question,
        "text": "One more thing.",
    });
    let answer = guest.order("submitAnswer", late, "answerId").await?;
    refused(stage, "nobody answers after the end", &answer, &["INT_003"]);
    let input = json!({ "interviewId": invited.interview });
    let answer = guest.order("completeInterview", input, "interview { id }").await?;
    refused(stage, "an interview is completed only once", &answer, &["INT_003"]);
    let answer = guest
        .order("startInterview", json!({ "interviewId": invited.interview }), "interview { id }")
        .await?;
    let codes = ["INT_003", "INT_ILLEGAL_TRANSITION"];
    refused(stage, "a completed interview cannot be started", &answer, &codes);

    let token = json!({ "token": invited.access_token });
    let stranger = stage.api.stranger("the candidate");
    let entered = stranger.enter("openInterviewSession", token).await?.map(|_| Value::Null);
    let sentence = "the access token opens nothing once the interview is over";
    refused(stage, sentence, &entered, &["INT_002"]);
    Ok(())
}

/// Another company's interview looks like one that is not there.
///
/// # Errors
/// When the server does not answer.
pub async fn outsider(stage: &Stage, cast: &Cast, invited: &Invited) -> anyhow::Result<()> {
    let absent = "intv_00000000000070008000000000000000";
    for (what, document) in [("interview", INTERVIEW), ("node", NODE)] {
        let foreign = cast.outsider.ask(document, id(&invited.interview)).await?;
        let missing = cast.outsider.ask(document, id(absent)).await?;
        let is_hidden = match &foreign {
            Ok(data) => data[what].is_null(),
            Err(refused) => matches!(refused.code.as_str(), "INT_001" | "NOT_FOUND"),
        };
        stage.checks.check(
            format!("{what}: another company's interview cannot be told from an absent one"),
            is_hidden && foreign == missing,
            || format!("foreign {foreign:?}, absent {missing:?}"),
        );
    }
    Ok(())
}

/// A verdict is signed once, and only with grounds.
///
/// # Errors
/// When the server does not answer.
pub async fn signed(stage: &Stage, cast: &Cast, verdict: &Value) -> anyhow::Result<()> {
    let input = json!({
        "verdictId": verdict["id"],
        "decision": "REJECT",
        "scores": [{ "kind": "OVERALL", "score": 2, "grounds": [{ "ownNote": true }] }],
        "notes": "A second thought.",
    });
    let answer = cast.hr.order("signVerdict", input, "verdict { id }").await?;
    refused(stage, "a verdict is signed only once", &answer, &["VERDICT_ALREADY_SIGNED"]);
    Ok(())
}
