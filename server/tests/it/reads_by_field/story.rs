//! A company in which there is something to read of each kind.

use std::collections::BTreeMap;

use serde_json::json;
use uuid::Uuid;

use crate::client::{Client, text};
use crate::job::{Company, now};
use crate::uploads::upload;
use crate::world::{World, root, until};

/// What is said first is thin, so that something is asked back and noticed.
const THIN: &str = "No idea.";
const GOOD: &str = "In a storm I keep the lamp alight, because ships look for the light.";

/// Plays it. Answers the ids that documents name, by name.
pub async fn play(world: &World, company: &Company) -> BTreeMap<&'static str, String> {
    let (hr, job) = (&company.hr, company.open_job().await);
    let person = json!({
        "fullName": "Mira Stone", "email": "mira@mail.example",
        "phone": "+44 20 7946 0958", "source": "referral",
    });
    let made = hr.carry_out("createCandidate", person, "candidate { id }").await;
    let candidate = text(&made, "/candidate/id").to_owned();
    let note = json!({ "candidateId": candidate, "text": "Called back at once." });
    hr.carry_out("addCandidateNote", note, "version").await;
    let input = json!({ "candidateId": candidate, "jobId": job });
    let made = hr.carry_out("submitApplication", input, "application { id }").await;
    let application = text(&made, "/application/id").to_owned();
    let step = json!({
        "applicationId": application, "status": "SCREENING", "reason": "Has kept lights before.",
    });
    hr.carry_out("changeApplicationStatus", step, "version").await;
    let resume = resume(hr, &candidate).await;
    let held = interview(company, &application).await;
    let verdict = verdict(hr, &held).await;

    // One that waits for an answer, and one that was called off.
    let round = company.schedule(&job, "Lena").await;
    round.begin(company).await;
    round.ask(&company.interviewer, "What about fog?").await;
    let note = json!({ "interviewId": round.id, "text": "Takes time to think." });
    company.interviewer.carry_out("addInterviewNote", note, "version").await;
    let cancelled = company.schedule(&job, "Noor").await;
    let input = json!({ "interviewId": cancelled.id, "reason": "Found another light." });
    hr.carry_out("cancelInterview", input, "version").await;
    world.until_projected().await;
    let mut ids = BTreeMap::from([
        ("$candidate", candidate),
        ("$application", application),
        ("$resume", resume),
        ("$held", held),
        ("$verdict", verdict),
        ("$waiting", round.id),
        ("$cancelled", cancelled.id),
    ]);
    // Quoted as they stand in a document.
    ids.values_mut().for_each(|id| *id = format!("\"{id}\""));
    for (name, of) in [("$heldVersion", "$held"), ("$waitingVersion", "$waiting")] {
        let document = format!("{{ interview(id: {}) {{ version }} }}", ids[of]);
        let found = hr.query(&document, json!({})).await;
        ids.insert(name, found["interview"]["version"].to_string());
    }
    ids
}

/// A résumé that was read.
async fn resume(hr: &Client, candidate: &str) -> String {
    let file = root().join("examples/resumes/zaneta-brzozkiewicz.pdf");
    let file = std::fs::read(file).expect("a file");
    let kind = ("cv.pdf", "application/pdf");
    let (_, uploaded) = upload(hr, Uuid::new_v4(), candidate, kind, &file).await;
    let id = text(&uploaded, "/resumeId").to_owned();
    until("the résumé is read", async || {
        let document = "query($id: ID!) { resume(id: $id) { parsingStatus } }";
        let found = hr.ask(document, json!({ "id": id })).await.ok()?;
        (found["resume"]["parsingStatus"] == "COMPLETED").then_some(())
    })
    .await;
    id
}

/// An interview that the AI side held to its end.
async fn interview(company: &Company, application: &str) -> String {
    let input = json!({
        "round": { "new": {
            "applicationId": application, "roundType": "TECHNICAL_AI", "mode": "AI_CONDUCTED",
        } },
        "scheduledAt": now(),
    });
    let made = company.hr.carry_out("scheduleInterview", input, "interview { id }").await;
    let id = text(&made, "/interview/id").to_owned();
    let input = json!({ "interviewId": id });
    let access = company.hr.carry_out("issueInterviewAccess", input.clone(), "accessToken").await;
    let token = json!({ "token": text(&access, "/accessToken") });
    let guest = company.hr.stranger().enter("openInterviewSession", token).await;
    guest.carry_out("joinInterview", input.clone(), "version").await;
    let consent = json!({ "interviewId": id, "purposes": ["AI_ANALYSIS"] });
    guest.carry_out("recordConsent", consent, "version").await;
    guest.carry_out("startInterview", input, "version").await;
    let mut answered = vec![];
    until("the interview is held", async || {
        let document = "query($id: ID!) { interviewSession(interviewId: $id) {
            status currentQuestion { questionId } } }";
        let found = guest.query(document, json!({ "id": id })).await;
        if found["interviewSession"]["status"] == "COMPLETED" {
            return Some(());
        }
        let question = &found["interviewSession"]["currentQuestion"]["questionId"];
        if question.is_string() && !answered.contains(question) {
            let said = if answered.is_empty() { THIN } else { GOOD };
            let input = json!({ "interviewId": id, "questionId": question, "text": said });
            guest.carry_out("submitAnswer", input, "answerId").await;
            answered.push(question.clone());
        }
        None
    })
    .await;
    id
}

/// A verdict with the AI side's proposal and a person's decision.
async fn verdict(hr: &Client, interview: &str) -> String {
    let document = "query($id: ID!) { interview(id: $id) {
        verdict { id status citableAnswerIds } } }";
    let open = until("a verdict is proposed", async || {
        let found = hr.query(document, json!({ "id": interview })).await;
        let verdict = found["interview"]["verdict"].clone();
        (verdict["status"] == "PROPOSED").then_some(verdict)
    })
    .await;
    let grounds = json!([{ "answerId": open["citableAnswerIds"][0] }, { "ownNote": true }]);
    let input = json!({
        "verdictId": open["id"], "decision": "ADVANCE",
        "scores": [{ "kind": "OVERALL", "score": 8, "grounds": grounds }],
        "strengths": ["Keeps the light"], "weaknesses": ["Says little"],
        "notes": "Calm.", "privateNotes": "Would begin in May.",
    });
    hr.carry_out("signVerdict", input, "version").await;
    text(&open, "/id").to_owned()
}
