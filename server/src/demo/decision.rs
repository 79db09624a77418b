//! From the interview's end to the signed verdict: the proposal and its evidence, and what people
//! make of it.

use anyhow::bail;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cast::Cast;
use super::client::{list, text, until};
use super::examples::Job;
use super::probes::refused;
use super::script::{Stage, id};
use super::socket::{Item, Subscription};
use super::talk::Talk;

/// The proposal for the well prepared candidate must be at least this much higher, of 100.
const CLEARLY: f64 = 25.0;

const LIVE: &str = "subscription($id: ID!, $after: String) {
    verdictEvents(interviewId: $id, after: $after) { cursor eventType version } }";

const VERDICT: &str = "query($id: ID!, $seen: [String!]) {
    interview(id: $id, consistentWith: $seen) { verdict {
    id status attempt interviewEnd aiMayPropose failureCode citableAnswerIds
    dimensions { key weight }
    proposal { overall recommendation unscored strengths weaknesses summary
        provenance { callId provider model promptVersion }
        scores { dimension score confidence evidence { answerId quote why } } } } } }";

const AI_CALLS: &str = "query($id: ID!) { aiCalls(interviewId: $id, first: 100) {
    nodes { callId purpose status provider } } }";

const SIGNED: &str = "query($id: ID!, $seen: [String!]) { verdict(id: $id, consistentWith: $seen) {
    status hasPrivateNotes privateNotes { text }
    signature { decision signerId notes strengths proposalSeen
        scores { kind score grounds { isOwnNote answerId } } } } }";

/// Waits until the verdict is open and a proposal stands, and answers the verdict.
///
/// # Errors
/// When one of them does not come in time.
pub async fn proposal(
    stage: &Stage,
    cast: &Cast,
    interview: &str,
    talk: &Talk,
) -> anyhow::Result<Value> {
    let cursor = assessed(stage, cast, interview).await?;
    let variables = json!({ "id": interview, "seen": [talk.end, cursor] });
    let seen = cast.hr.query(VERDICT, variables).await?;
    let verdict = seen["interview"]["verdict"].clone();
    let checks = &stage.checks;
    let seen = (verdict["status"].as_str(), verdict["interviewEnd"].as_str());
    let expected = (Some("PROPOSED"), Some("COMPLETED"));
    checks.equal("the completed interview has a verdict with a proposal", &seen, &expected);
    let recorded: Vec<_> = talk.answers().map(|answer| &answer["id"]).collect();
    let citable: Vec<_> = list(&verdict, "/citableAnswerIds").iter().collect();
    checks.equal("the verdict rests on all recorded answers", &citable, &recorded);

    let call_id = verdict.pointer("/proposal/provenance/callId");
    let otherwise = "the AI call behind the proposal was not shown";
    let call = until(stage.manner.patience, otherwise, async || {
        let calls = cast.auditor.query(AI_CALLS, id(interview)).await?;
        let mut calls = list(&calls, "/aiCalls/nodes").iter();
        Ok(calls.find(|call| Some(&call["callId"]) == call_id).cloned())
    });
    let call = call.await?;
    checks.equal(
        "the proposal names the recorded AI call that it comes from",
        &(&call["status"], &call["purpose"], &call["provider"]),
        &(
            &json!("COMPLETED"),
            &json!("PROPOSE_SCORES"),
            &verdict["proposal"]["provenance"]["provider"],
        ),
    );
    let overall = verdict.pointer("/proposal/overall").unwrap_or(&Value::Null);
    let advice = verdict.pointer("/proposal/recommendation").unwrap_or(&Value::Null);
    stage.say(&format!("proposed: {overall} of 100, {advice}"));
    Ok(verdict)
}

/// Follows the verdict's live events until its assessment has ended, and answers the last cursor.
async fn assessed(stage: &Stage, cast: &Cast, interview: &str) -> anyhow::Result<String> {
    let patience = stage.manner.patience;
    let mut events = Subscription::new(&cast.hr, LIVE, id(interview));
    let mut opened = false;
    loop {
        let event = match events.next(Instant::now() + patience).await? {
            Some(Item::Next(event)) => event,
            Some(Item::End) => bail!("the verdict's live events ended"),
            Some(Item::Refused(refused)) => bail!("the verdict's live events: {refused}"),
            None if opened => {
                bail!("nothing was proposed within {patience:?}, as if no reactor ran")
            }
            None => bail!("no verdict was opened within {patience:?}, as if no reactor ran"),
        };
        opened = true;
        if matches!(
            event["eventType"].as_str(),
            Some("verdict.proposed" | "verdict.assessment_failed")
        ) {
            return text(&event, "/cursor");
        }
    }
}

/// Each score cites answers that were given, in their own words, to questions about its dimension.
pub fn check_evidence(stage: &Stage, job: &Job, who: &str, verdict: &Value, talk: &Talk) {
    let scores = list(verdict, "/proposal/scores");
    let evidence = || {
        scores.iter().flat_map(|score| {
            list(score, "/evidence").iter().map(move |evidence| (&score["dimension"], evidence))
        })
    };
    let checks = &stage.checks;
    checks.check(
        format!("each proposed score of {who} cites at least one answer"),
        !scores.is_empty() && scores.iter().all(|s| !list(s, "/evidence").is_empty()),
        || format!("{} scores, {} citations", scores.len(), evidence().count()),
    );
    let misplaced: Vec<_> = evidence()
        .filter(|(dimension, evidence)| {
            !talk.dimensions_of(&evidence["answerId"]).contains(&dimension.as_str().unwrap_or(""))
        })
        .map(|(dimension, evidence)| format!("{dimension} cites {}", evidence["answerId"]))
        .collect();
    checks.check(
        format!("each citation about {who} belongs to the dimension that it is cited for"),
        misplaced.is_empty(),
        || misplaced.join(", "),
    );
    let invented: Vec<_> = evidence()
        .filter(|(_, evidence)| {
            let quote = evidence["quote"].as_str().unwrap_or_default();
            let said = talk.text_of(&evidence["answerId"]).unwrap_or_default();
            quote.is_empty() || !said.contains(quote)
        })
        .map(|(_, evidence)| evidence.to_string())
        .collect();
    checks.check(
        format!("each quote about {who} occurs in the answer that it is taken from"),
        invented.is_empty(),
        || invented.join(", "),
    );
    let scored = scores.iter().map(|score| score["dimension"].as_str().unwrap_or_default());
    let unscored = list(verdict, "/proposal/unscored").iter().filter_map(Value::as_str);
    let mut covered: Vec<_> = scored.chain(unscored).collect();
    let mut rubric: Vec<_> = job.rubric.iter().map(|d| d.key.as_str()).collect();
    covered.sort_unstable();
    rubric.sort_unstable();
    let sentence = format!("each dimension of the rubric is scored for {who}, or said not to be");
    checks.equal(sentence, &covered, &rubric);

    let weight = |score: &Value| {
        let dimension = job.rubric.iter().find(|d| score["dimension"] == d.key.as_str());
        dimension.map_or(0.0, |d| d.weight)
    };
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let whole: f64 = scores.iter().map(weight).sum();
    let sum: f64 = scores.iter().map(|s| weight(s) * number(&s["score"])).sum();
    let overall = verdict.pointer("/proposal/overall").map_or(-1.0, number);
    checks.check(
        format!("the overall score of {who} is the mean of the scores by the rubric's weights"),
        whole > 0.0 && (sum / whole - overall).abs() < 0.1,
        || format!("{} by the weights, {overall} proposed", sum / whole),
    );
}

/// Strong answers are told from weak ones.
pub fn compare(stage: &Stage, good: &Value, poor: &Value) {
    let overall = |verdict: &Value| {
        verdict.pointer("/proposal/overall").and_then(Value::as_f64).unwrap_or_default()
    };
    let advice = |verdict: &Value| verdict.pointer("/proposal/recommendation").cloned();
    let checks = &stage.checks;
    checks.check(
        format!("the proposal for good answers is at least {CLEARLY} higher than for poor ones"),
        overall(good) - overall(poor) >= CLEARLY,
        || format!("{} and {}", overall(good), overall(poor)),
    );
    checks.check(
        "the recommendations differ",
        advice(good).is_some() && advice(good) != advice(poor),
        || format!("{:?} for both", advice(good)),
    );
    stage.say(&format!("{} for good answers, {} for poor ones", overall(good), overall(poor)));
}

/// What may not be signed is refused; then the hiring manager advances the first candidate and HR
/// rejects the second. Answers the tokens of what was written.
///
/// # Errors
/// When a step is refused or not seen in time.
pub async fn sign(
    stage: &Stage,
    cast: &Cast,
    good: &Value,
    poor: &Value,
) -> anyhow::Result<Vec<String>> {
    let own = text(good, "/citableAnswerIds/0")?;
    let second = text(good, "/citableAnswerIds/1")?;
    let foreign = text(poor, "/citableAnswerIds/0")?;
    let signature = |score: u8, grounds: Value| {
        json!({
            "verdictId": good["id"],
            "decision": "ADVANCE",
            "scores": [
                { "kind": "OVERALL", "score": score, "grounds": grounds },
                { "kind": "TECHNICAL", "score": 8, "grounds": [{ "answerId": second }] },
            ],
            "strengths": ["Knows what retries cost"],
            "weaknesses": ["Little front end, which the role does not need"],
            "notes": "Clear, exact, and honest about what went wrong.",
            "privateNotes": "Would take the offer before Friday.",
        })
    };
    let selection = "verdict { status }";
    let wrong = [
        ("a score without grounds is refused", json!([]), "VERDICT_NO_EVIDENCE"),
        (
            "a score that cites an answer of another interview is refused",
            json!([{ "answerId": foreign }]),
            "VERDICT_FOREIGN_EVIDENCE",
        ),
    ];
    for (sentence, grounds, code) in wrong {
        let answer = cast.manager.order("signVerdict", signature(9, grounds), selection).await?;
        refused(stage, sentence, &answer, &[code]);
    }
    let fine = signature(9, json!([{ "answerId": own }]));
    let eleven = signature(11, json!([{ "answerId": own }]));
    let answer = cast.manager.order("signVerdict", eleven, selection).await?;
    refused(stage, "a score of 11 out of 10 is refused", &answer, &["VALIDATION_FAILED"]);
    let strangers =
        [("a viewer", &cast.viewer), ("an interviewer of other rounds", &cast.interviewer)];
    for (who, session) in strangers {
        let answer = session.order("signVerdict", fine.clone(), selection).await?;
        refused(stage, format!("{who} cannot sign"), &answer, &["AUTH_003"]);
    }

    let signed = cast.manager.carry_out("signVerdict", fine, selection).await?;
    let first = text(&signed, "/cursor")?;
    check_signed(stage, cast, good, &first).await?;
    let rejection = json!({
        "verdictId": poor["id"],
        "decision": "REJECT",
        "scores": [{ "kind": "OVERALL", "score": 2, "grounds": [{ "ownNote": true }] }],
        "notes": "Has not yet built what this role is about.",
    });
    let signed = cast.hr.carry_out("signVerdict", rejection, selection).await?;
    stage.checks.equal(
        "HR signs the second verdict on grounds of an own note",
        &signed["verdict"]["status"],
        &json!("SIGNED"),
    );
    stage.say("one candidate goes on, the other does not");
    Ok(vec![first, text(&signed, "/cursor")?])
}

/// The signature stands as it was given, and the private notes are seen by those alone who may.
async fn check_signed(
    stage: &Stage,
    cast: &Cast,
    good: &Value,
    cursor: &str,
) -> anyhow::Result<()> {
    let checks = &stage.checks;
    let variables = json!({ "id": good["id"], "seen": [cursor] });
    let seen = cast.hr.query(SIGNED, variables.clone()).await?;
    let verdict = &seen["verdict"];
    let signature = &verdict["signature"];
    checks.equal(
        "the hiring manager's signature stands with its decision",
        &(&verdict["status"], &signature["decision"], &signature["signerId"]),
        &(&json!("SIGNED"), &json!("ADVANCE"), &json!(cast.manager_id)),
    );
    checks.equal(
        "people's scores are kept as entered, with their grounds",
        &(&signature["scores"][0]["score"], &signature["scores"][0]["grounds"][0]["answerId"]),
        &(&json!(9), &good["citableAnswerIds"][0]),
    );
    checks.equal(
        "the signature says that a proposal was seen",
        &signature["proposalSeen"],
        &json!(true),
    );
    checks.equal("HR reads the private notes", &list(verdict, "/privateNotes").len(), &1);
    for (who, session) in [("the hiring manager", &cast.manager), ("the viewer", &cast.viewer)] {
        let seen = session.query(SIGNED, variables.clone()).await?;
        let notes = &seen["verdict"]["privateNotes"];
        checks.check(format!("{who} does not read the private notes"), notes.is_null(), || {
            notes.to_string()
        });
    }
    let seen = cast.auditor.query(SIGNED, variables).await?;
    checks.equal(
        "the auditor sees that there are private notes, and not what they say",
        &(&seen["verdict"]["hasPrivateNotes"], &seen["verdict"]["privateNotes"]),
        &(&json!(true), &Value::Null),
    );
    Ok(())
}
