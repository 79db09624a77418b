//! What an auditor can see afterwards: the whole history, and the interview as it stood.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cast::Cast;
use super::client::{list, number, text, until};
use super::hiring::Invited;
use super::probes::refused;
use super::script::{Stage, id};
use super::talk::{self, MOMENT, Talk};
use super::topic::Expected;

const HISTORY: &str = "query($id: ID!, $after: String) {
    interviewHistory(interviewId: $id, first: 10, after: $after) {
        nodes { version position eventType schemaVersion hash isIntact unreadable recordedAt
            actor { kind } payload }
        pageInfo { hasNextPage endCursor } } }";

const READS: &str = "query($filter: AccessLogFilter) { accessLog(filter: $filter, first: 100) {
    nodes { viewer { kind } subject fields purpose } } }";

const DASHBOARD: &str = "query($seen: [String!]) { hrDashboard(consistentWith: $seen) {
    interviews { status count } applications { status count } verdicts { status count }
    jobs { status count } candidates { status count } } }";

const FINAL_STATE: &str = "query($id: ID!) { interview(id: $id) {
    id status version roundNumber roundType mode rubricVersion difficulty completionReason
    nQuestions nFollowUps nAnswers nTimedOut consent candidatePresent
    candidate { id fullName email status
        resumes { id mediaType sizeBytes parsingStatus parsedFacts {
            skills experienceYears education previousRoles } } }
    job { id title status version }
    application { id status version steps { from to reason } }
    transcript(first: 100) { nodes { id kind sequence text questionId followUpOf questionType
        difficulty dimensions outcome judgement { completeness score feedback } } }
    verdict { id status version attempt interviewEnd hasPrivateNotes
        proposal { overall recommendation unscored strengths weaknesses summary
            scores { dimension score confidence evidence { answerId quote why } } }
        signature { decision signerId notes strengths weaknesses proposalSeen
            scores { kind score grounds { isOwnNote answerId } } } } } }";

/// Reads the whole history page by page and checks that nothing is missing in it.
///
/// # Errors
/// When it cannot be read.
pub async fn history(
    stage: &Stage,
    cast: &Cast,
    interview: &str,
    talk: &Talk,
) -> anyhow::Result<Expected> {
    let events = events(cast, interview).await?;
    let checks = &stage.checks;
    let versions: Vec<_> = events.iter().map(|e| e["version"].as_u64().unwrap_or(0)).collect();
    let without_hole: Vec<u64> = (1..=versions.len() as u64).collect();
    checks.equal("the history has the versions 1 to n without a hole", &versions, &without_hole);
    let hashes: BTreeSet<_> = events.iter().filter_map(|event| event["hash"].as_str()).collect();
    checks.check(
        "each event has a SHA-256 of its own, and its bytes still match it",
        hashes.len() == events.len()
            && hashes.iter().all(|hash| hash.len() == 64)
            && events.iter().all(|event| event["isIntact"] == true),
        || format!("{} hashes for {} events", hashes.len(), events.len()),
    );
    checks.check(
        "each event can be read",
        events.iter().all(|event| event["payload"].is_object() && event["unreadable"].is_null()),
        || "an event has no payload".to_owned(),
    );
    let positions: Vec<u64> =
        events.iter().filter_map(|event| event["position"].as_str()?.parse().ok()).collect();
    checks.check(
        "positions in the log rise with the versions",
        positions.len() == events.len() && positions.windows(2).all(|pair| pair[0] < pair[1]),
        || format!("{positions:?}"),
    );
    let watched: Vec<_> = talk.watched.iter().map(|e| (talk::version(e), talk::name(e))).collect();
    let stored: Vec<_> = events
        .iter()
        .map(|event| (talk::version(event), event["eventType"].as_str().unwrap_or_default()))
        .collect();
    checks.check(
        "HR's live events were the history's, each once and in its order",
        watched == stored,
        || format!("live {watched:?}, history {stored:?}"),
    );
    let by = |name: &str, kind: &str| {
        let mut named = events.iter().filter(|e| e["eventType"] == name).peekable();
        named.peek().is_some() && named.all(|event| event["actor"]["kind"] == kind)
    };
    checks.check(
        "the history says who acted: the AI asked and judged, the candidate answered",
        by("interview.question_asked", "AI")
            && by("interview.answer_judged", "AI")
            && by("interview.answer_recorded", "CANDIDATE")
            && by("interview.consent_given", "CANDIDATE")
            && by("interview.scheduled", "MEMBER"),
        || "an actor of another kind stands in it".to_owned(),
    );
    let answer = cast.hr.ask(HISTORY, id(interview)).await?;
    refused(stage, "who may not replay histories is refused", &answer, &["AUTH_003"]);

    let stream = interview.split_once('_').map_or(interview, |(_, id)| id);
    let stream = uuid::Uuid::try_parse(stream)?.to_string();
    let event = |event: &Value| -> anyhow::Result<_> {
        Ok((number(event, "/version")?, text(event, "/eventType")?, text(event, "/hash")?))
    };
    let events = events.iter().map(event).collect::<anyhow::Result<Vec<_>>>()?;
    stage.say(&format!("the history has {} events", events.len()));
    Ok(Expected { stream, events })
}

/// The access log says who was shown what of the candidate.
///
/// # Errors
/// When it cannot be read, or does not show it in time.
pub async fn reads(stage: &Stage, cast: &Cast, invited: &Invited) -> anyhow::Result<()> {
    let variables = json!({ "filter": { "candidateId": invited.candidate } });
    let expected: BTreeSet<_> = ["CANDIDATE", "REPORT", "RESUME", "TRANSCRIPT"].into();
    let otherwise = "the access log does not show each kind of read";
    let entries = until(stage.manner.patience, otherwise, async || {
        let shown = cast.auditor.query(READS, variables.clone()).await?;
        let entries = list(&shown["accessLog"], "/nodes").to_vec();
        let found: BTreeSet<_> =
            entries.iter().filter_map(|entry| entry["subject"].as_str()).collect();
        Ok((expected == found).then_some(entries))
    });
    let entries = entries.await?;
    stage.checks.check(
        "the access log says which members were shown the candidate, and that the candidate is none of them",
        entries.iter().all(|entry| entry["viewer"]["kind"] == "MEMBER"),
        || format!("{entries:?}"),
    );
    let answer = cast.hr.ask(READS, variables).await?;
    refused(stage, "the access log is for auditors and administrators", &answer, &["AUTH_003"]);
    Ok(())
}

async fn events(cast: &Cast, interview: &str) -> anyhow::Result<Vec<Value>> {
    let (mut events, mut after) = (vec![], Value::Null);
    loop {
        let variables = json!({ "id": interview, "after": after });
        let page = cast.auditor.query(HISTORY, variables).await?;
        let page = &page["interviewHistory"];
        events.extend(list(page, "/nodes").iter().cloned());
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] != true {
            return Ok(events);
        }
    }
}

/// The interview as it stood right after the third answer is what was seen then.
///
/// # Errors
/// When it cannot be read.
pub async fn as_of_third_answer(
    stage: &Stage,
    cast: &Cast,
    interview: &str,
    talk: &Talk,
) -> anyhow::Result<()> {
    let checks = &stage.checks;
    let Some(moment) = &talk.third_answer else {
        checks.check("there was a third answer", false, String::new);
        return Ok(());
    };
    let document = format!(
        "query($id: ID!, $asOf: AsOfInput!) {{ interview(id: $id, asOf: $asOf) {{
            {MOMENT} asOf {{ version isFinal }}
            transcript(first: 100) {{ nodes {{ kind text }} }} }} }}"
    );
    let variables = json!({ "id": interview, "asOf": { "version": moment.version } });
    let past = cast.auditor.query(&document, variables).await?;
    let past = &past["interview"];
    checks.equal(
        "as of the third answer the interview is in progress and has three answers",
        &(&past["status"], &past["nAnswers"]),
        &(&json!("IN_PROGRESS"), &json!(3)),
    );
    checks.equal("that point of the history is final", &past["asOf"]["isFinal"], &json!(true));
    let seen = moment.interview.as_object().into_iter().flatten();
    let differing: Vec<_> = seen
        .filter(|(name, value)| past[name.as_str()] != **value)
        .map(|(name, value)| format!("{name}: {value} then, {} now", past[name.as_str()]))
        .collect();
    checks.check(
        "as of the third answer the interview is what the candidate saw right after it",
        differing.is_empty(),
        || differing.join(", "),
    );
    let texts: Vec<_> =
        list(past, "/transcript/nodes").iter().filter_map(|turn| turn["text"].as_str()).collect();
    checks.equal(
        "and so is the conversation, word for word",
        &texts,
        &moment.said.iter().map(String::as_str).collect(),
    );

    let before = json!({ "id": interview, "asOf": { "version": 1_000_000 } });
    let answer = cast.auditor.ask(&document, before).await?;
    let sentence = "a version that does not exist cannot be replayed";
    refused(stage, sentence, &answer, &["AS_OF_VERSION_UNKNOWN"]);
    let answer =
        cast.hr.ask(&document, json!({ "id": interview, "asOf": { "version": 1 } })).await?;
    refused(stage, "HR cannot replay, which is the auditor's right", &answer, &["AUTH_003"]);
    Ok(())
}

/// The dashboard counts each thing once, as it stands.
///
/// # Errors
/// When it cannot be read.
pub async fn dashboard(stage: &Stage, cast: &Cast, seen: &[String]) -> anyhow::Result<()> {
    let counts = cast.hr.query(DASHBOARD, json!({ "seen": seen })).await?;
    let count = |kind: &str, status: &str| {
        let counts = list(&counts, &format!("/hrDashboard/{kind}"));
        let found = counts.iter().find(|count| count["status"] == status);
        found.and_then(|count| count["count"].as_u64()).unwrap_or_default()
    };
    let expected = [
        ("interviews", "COMPLETED", 2),
        ("interviews", "IN_PROGRESS", 0),
        ("verdicts", "SIGNED", 2),
        ("verdicts", "PROPOSED", 0),
        ("applications", "OFFERED", 1),
        ("applications", "REJECTED", 1),
        ("candidates", "ACTIVE", 2),
        ("jobs", "PUBLISHED", 1),
    ];
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(kind, status, n)| count(kind, status) != *n)
        .map(|(kind, status, n)| format!("{kind} {status}: {}, not {n}", count(kind, status)))
        .collect();
    stage.checks.check(
        "the dashboard counts interviews, verdicts, applications, candidates and jobs as they stand",
        wrong.is_empty(),
        || wrong.join("; "),
    );
    Ok(())
}

/// What HR and the auditor see at the end.
///
/// # Errors
/// When it cannot be read.
pub async fn final_states(cast: &Cast, rounds: &[&Invited]) -> anyhow::Result<Value> {
    let mut states = vec![];
    for round in rounds {
        let mut state = cast.admin.query(FINAL_STATE, id(&round.interview)).await?;
        let names: Vec<_> = events(cast, &round.interview)
            .await?
            .iter()
            .map(|event| json!([event["version"], event["eventType"], event["actor"]["kind"]]))
            .collect();
        state["history"] = Value::Array(names);
        states.push(state);
    }
    let dashboard = cast.hr.query(DASHBOARD, json!({})).await?;
    Ok(json!({ "rounds": states, "dashboard": dashboard }))
}
