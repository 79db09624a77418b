//! What HR does before an interview: job with rubric and questions, candidate with résumé,
//! application, schedule, access.

use std::collections::BTreeSet;

use anyhow::bail;
use serde_json::{Value, json};

use super::cast::Cast;
use super::client::{list, text, until};
use super::examples;
use super::script::Stage;

/// The job as the API knows it.
pub struct OpenJob {
    /// Global id.
    pub id: String,
    /// Version after it was published.
    pub version: u64,
}

/// An interview whose candidate can come.
pub struct Invited {
    /// Global id of the candidate.
    pub candidate: String,
    /// Global id of the application.
    pub application: String,
    /// Global id of the interview.
    pub interview: String,
    /// The candidate's access token.
    pub access_token: String,
}

const JOB: &str = "query($id: ID!, $seen: [String!]) { job(id: $id, consistentWith: $seen) {
    id title department location language status version
    rubric { version dimensions { key label weight } }
    questions { id text type difficulty weight dimensions expectedKeywords } } }";

const RESUME: &str = "query($id: ID!, $seen: [String!]) {
    candidate(id: $id, consistentWith: $seen) { fullName
    resumes { id mediaType downloadPath parsingStatus failureCode text
        parsedFacts { skills experienceYears } } } }";

/// Writes the job, its rubric and its questions, and publishes it.
///
/// # Errors
/// When a step is refused or not seen in time.
pub async fn publish(stage: &Stage, cast: &Cast, job: &examples::Job) -> anyhow::Result<OpenJob> {
    let hr = &cast.hr;
    let input = json!({
        "title": job.title,
        "department": job.department,
        "location": job.location,
        "language": job.language,
        "description": job.description,
        "hiringManagerId": cast.manager_id,
    });
    let made = hr.carry_out("createJob", input, "job { id }").await?;
    let id = text(&made, "/job/id")?;
    let dimensions: Vec<_> = job.rubric.iter().map(dimension).collect();
    let rubric = json!({ "jobId": id, "dimensions": dimensions });
    hr.carry_out("setRubric", rubric, "job { id }").await?;
    for question in &job.questions {
        let input = json!({
            "jobId": id,
            "text": question.text,
            "type": question.question_type,
            "difficulty": question.difficulty,
            "weight": question.weight,
            "dimensions": question.dimensions,
            "expectedKeywords": question.expected_keywords,
        });
        hr.carry_out("addQuestion", input, "questionId").await?;
    }
    let published =
        hr.carry_out("publishJob", json!({ "jobId": id }), "job { status version }").await?;
    let cursor = text(&published, "/cursor")?;
    let version = super::client::number(&published, "/version")?;
    stage.say(&format!("the job {:?} is published with its questions", job.title));

    let seen = hr.query(JOB, json!({ "id": id, "seen": [cursor] })).await?;
    checks_of_job(stage, job, &seen["job"]);
    Ok(OpenJob { id, version })
}

fn dimension(dimension: &examples::Dimension) -> Value {
    json!({ "key": dimension.key, "label": dimension.label, "weight": dimension.weight })
}

fn checks_of_job(stage: &Stage, job: &examples::Job, seen: &Value) {
    let checks = &stage.checks;
    checks.equal(
        "a published job can be read with the token of its last change",
        &(seen["status"].as_str(), seen["title"].as_str()),
        &(Some("PUBLISHED"), Some(job.title.as_str())),
    );
    let texts: Vec<_> = list(seen, "/questions").iter().map(|q| q["text"].as_str()).collect();
    let written: Vec<_> = job.questions.iter().map(|q| Some(q.text.as_str())).collect();
    checks.equal(
        "the job shows its questions in the order in which they were added",
        &texts,
        &written,
    );
    let weights: Vec<_> = list(seen, "/rubric/dimensions")
        .iter()
        .map(|d| (d["key"].as_str().unwrap_or_default(), d["weight"].as_f64().unwrap_or_default()))
        .collect();
    let written: Vec<_> = job.rubric.iter().map(|d| (d.key.as_str(), d.weight)).collect();
    checks.equal("the rubric shows its dimensions with their weights", &weights, &written);
}

/// Makes the candidate, has the résumé read, lets the candidate apply, and schedules a round
/// conducted by AI.
///
/// # Errors
/// When a step is refused or not seen in time.
pub async fn invite(
    stage: &Stage,
    cast: &Cast,
    job: &OpenJob,
    interview: &examples::Interview,
) -> anyhow::Result<Invited> {
    let (hr, person) = (&cast.hr, &interview.candidate);
    let input = json!({
        "fullName": person.full_name,
        "email": person.email,
        "phone": person.phone,
        "source": "careers page",
    });
    let made = hr.carry_out("createCandidate", input, "candidate { id }").await?;
    let candidate = text(&made, "/candidate/id")?;
    let seen = json!({ "id": candidate, "seen": [text(&made, "/cursor")?] });
    let resume = resume(stage, cast, seen, interview).await?;

    let input = json!({ "candidateId": candidate, "jobId": job.id });
    let applied =
        hr.carry_out("submitApplication", input, "application { id status createdAt }").await?;
    let application = text(&applied, "/application/id")?;
    for status in ["SCREENING", "INTERVIEWING"] {
        let input = json!({ "applicationId": application, "status": status });
        let moved =
            hr.carry_out("changeApplicationStatus", input, "application { status }").await?;
        stage.checks.equal(
            format!("the application of {} moves to {status}", person.full_name),
            &moved["application"]["status"],
            &json!(status),
        );
    }
    let input = json!({
        "round": { "new": {
            "applicationId": application,
            "roundNumber": 1,
            "roundType": "TECHNICAL_AI",
            "mode": "AI_CONDUCTED",
            "resumeId": resume,
        } },
        // The server's own time, so that the two clocks need not agree.
        "scheduledAt": applied["application"]["createdAt"],
        "durationMinutes": 60,
    });
    let scheduled =
        hr.carry_out("scheduleInterview", input, "interview { id status mode }").await?;
    let id = text(&scheduled, "/interview/id")?;
    stage.checks.equal(
        format!("the interview of {} is scheduled", person.full_name),
        &(scheduled["interview"]["status"].as_str(), scheduled["interview"]["mode"].as_str()),
        &(Some("SCHEDULED"), Some("AI_CONDUCTED")),
    );
    let access =
        hr.carry_out("issueInterviewAccess", json!({ "interviewId": id }), "accessToken").await?;
    stage.say(&format!("{} is invited to an interview", person.full_name));
    let access_token = text(&access, "/accessToken")?;
    Ok(Invited { candidate, application, interview: id, access_token })
}

/// Uploads the résumé and waits until it was read; answers its id. `candidate` is the query's
/// variables: the candidate, with the token of its registration.
async fn resume(
    stage: &Stage,
    cast: &Cast,
    candidate: Value,
    interview: &examples::Interview,
) -> anyhow::Result<String> {
    let hr = &cast.hr;
    let (name, bytes) = interview.resume(&stage.settings.examples)?;
    match hr.upload_resume(&text(&candidate, "/id")?, name, bytes.clone()).await? {
        Ok(_) => {}
        Err(refused) => bail!("the résumé {name} was refused: {refused}"),
    }
    let otherwise =
        format!("the résumé {name} was not read, as if no reactor, no relay or no projector ran,");
    let resume = until(stage.manner.patience, &otherwise, async || {
        let seen = hr.query(RESUME, candidate.clone()).await?;
        let resume = list(&seen, "/candidate/resumes").first().cloned();
        let ended = |r: &Value| matches!(r["parsingStatus"].as_str(), Some("COMPLETED" | "FAILED"));
        Ok(resume.filter(ended))
    })
    .await?;
    stage.checks.check(
        format!("the résumé {name} is read, and facts are found in it"),
        resume["parsingStatus"] == "COMPLETED"
            && resume["text"].as_str().is_some_and(|text| text.len() > 500)
            && !list(&resume, "/parsedFacts/skills").is_empty(),
        || resume.to_string(),
    );
    let stored = hr.download(&text(&resume, "/downloadPath")?).await?;
    stage.checks.check(
        format!("the résumé {name} comes back byte for byte"),
        stored == bytes,
        || format!("{} bytes went in, {} came back", bytes.len(), stored.len()),
    );
    let skills: BTreeSet<_> =
        list(&resume, "/parsedFacts/skills").iter().filter_map(Value::as_str).collect();
    stage.say(&format!("the résumé names {}", Vec::from_iter(skills).join(", ")));
    text(&resume, "/id")
}

/// Moves the application as the verdict says, and answers the token of the change.
///
/// # Errors
/// When it is refused.
pub async fn follow(cast: &Cast, invited: &Invited, status: &str) -> anyhow::Result<String> {
    let input = json!({
        "applicationId": invited.application,
        "status": status,
        "reason": "As the signed verdict says.",
    });
    let moved = cast.hr.carry_out("changeApplicationStatus", input, "application { id }").await?;
    text(&moved, "/cursor")
}
