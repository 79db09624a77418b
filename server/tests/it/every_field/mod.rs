//! Every field of the schema, asked with what a rule gives for each of its arguments. A field that
//! takes an id for which there is no rule fails these tests.

mod custom_role;
mod matrix;
mod roles;
pub mod schema;
mod tenants;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::candidates;
use crate::client::{Client, text};
use crate::job::{Company, Round, days, now};
use crate::world::{World, until};

/// What an argument that is an id names, by the type or field that has it (`*` is any) and its name.
/// An argument called `id` of a query names what the query is called after.
const IDS: &[(&str, &str, &str)] = &[
    ("node", "id", "interview"),
    ("nodes", "ids", "interview"),
    ("SubmitAnswerInput", "questionId", "asked"),
    ("*", "questionId", "question"),
    ("*", "jobQuestionId", "question"),
    ("*", "jobId", "job"),
    ("*", "candidateId", "candidate"),
    ("*", "applicationId", "application"),
    ("*", "interviewId", "interview"),
    ("*", "memberId", "member"),
    ("*", "viewerId", "member"),
    ("*", "subjectId", "interview"),
    ("*", "interviewerId", "member"),
    ("*", "hiringManagerId", "member"),
    ("*", "managerId", "member"),
    ("*", "assignedToId", "member"),
    ("*", "resumeId", "resume"),
    ("*", "verdictId", "verdict"),
    ("*", "answerId", "answer"),
    ("*", "accessId", "access"),
    ("*", "plannedId", "planned"),
    ("*", "restartOfId", "interview"),
    ("member", "id", "member"),
    ("job", "id", "job"),
    ("candidate", "id", "candidate"),
    ("application", "id", "application"),
    ("resume", "id", "resume"),
    ("interview", "id", "interview"),
    ("verdict", "id", "verdict"),
    ("*", "keyId", "key"),
    ("*", "roleId", "role"),
    ("*", "customRoleIds", "role"),
    ("*", "companyId", "company"),
    ("*", "sessionId", "session"),
    // Of what runs, and of requests for companies that are not there yet: only operators see them.
    ("RetryParkedStreamInput", "id", OF_NO_COMPANY),
    ("SkipParkedEventInput", "id", OF_NO_COMPANY),
    ("ApproveCompanyRequestInput", "requestId", OF_NO_COMPANY),
    ("companyRequests", "after", OF_NO_COMPANY),
    ("RejectCompanyRequestInput", "requestId", OF_NO_COMPANY),
];

/// What belongs to no company.
const OF_NO_COMPANY: &str = "of no company";

/// One of each kind of thing that a company has, by the names of [`IDS`].
struct Things {
    company: Company,
    /// Whose job it is.
    manager: Client,
    round: Round,
    /// Who is signed in as the candidate of the round.
    candidate: Client,
    ids: BTreeMap<&'static str, String>,
}

impl Things {
    /// A company with an interview that goes on, one that was held, whose verdict is open, and one that
    /// is planned. The candidate of the first is assigned to its interviewer, and has a login. Letters
    /// must link to [`crate::letters::APP`].
    async fn make(world: &World, client: &Client, name: &str) -> Self {
        let company = Company::found(world, client, name).await;
        let (manager, manager_id) = company.invite(client, "hugo", name, "HIRING_MANAGER").await;
        let job = company.open_job_of(Some(&manager_id)).await;
        let round = company.schedule(&job, &format!("Mira-{name}")).await;
        round.begin(&company).await;
        let asked = round.ask(&company.interviewer, "What about fog?").await;
        round.answer(&round.guest, &asked, "The horn.").await;
        let held = company.schedule(&job, "Lena").await;
        held.begin(&company).await;
        let question = held.ask(&company.interviewer, "What about ice?").await;
        let input = json!({
            "interviewId": held.id, "questionId": question, "text": "I kept the lamp alight.",
        });
        let answered = held.guest.carry_out("submitAnswer", input, "answerId").await;
        company.interviewer.carry_out("completeInterview", held.input(), "version").await;
        let application = company.apply(&job, "Noor").await;
        let mut plan = company.round(&application, now() + days(1));
        let plan = json!({ "round": plan["round"]["new"].take() });
        let planned = company.hr.carry_out("planInterview", plan, "interview { id }").await;
        world.until_projected().await;
        let document = "query($id: ID!, $job: ID!) {
            interview(id: $id) { accesses { accessId } application { candidate { id } } }
            job(id: $job) { questions { id } } company { id } }";
        let variables = json!({ "id": round.id, "job": job });
        let found = company.hr.query(document, variables).await;
        let candidate = text(&found, "/interview/application/candidate/id").to_owned();
        let input = json!({ "candidateId": candidate, "memberId": company.interviewer_id });
        company.hr.carry_out("assignCandidate", input, "version").await;
        let resume = upload(&company.hr, &candidate).await;
        let verdict = until("the verdict is opened", async || {
            let list = "query($id: ID) { verdicts(filter: { interviewId: $id }) { nodes { id } } }";
            let found = company.hr.query(list, json!({ "id": held.id })).await;
            found.pointer("/verdicts/nodes/0/id").and_then(Value::as_str).map(str::to_owned)
        })
        .await;
        let create = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) {
            apiKey { id } errors { code message } } }";
        let input = json!({
            "commandId": uuid::Uuid::new_v4(), "name": "Careers page", "rights": ["READ_JOB"],
        });
        let key = company.admin.query(create, json!({ "input": input })).await;
        let permission = json!({ "right": "READ_HISTORY", "reaches": ["ALL"] });
        let input = json!({ "name": "Historian", "permissions": [permission] });
        let role = company.admin.carry_out("createRole", input, "role { id }").await;
        let sessions = company.admin.query("{ sessions { sessionId } }", json!({})).await;
        let ids = BTreeMap::from([
            ("key", text(&key, "/apiKey/id").to_owned()),
            ("role", text(&role, "/role/id").to_owned()),
            ("session", text(&sessions, "/sessions/0/sessionId").to_owned()),
            ("company", text(&found, "/company/id").to_owned()),
            ("member", company.interviewer_id.clone()),
            ("question", text(&found, "/job/questions/0/id").to_owned()),
            ("access", text(&found, "/interview/accesses/0/accessId").to_owned()),
            ("answer", text(&answered, "/answerId").to_owned()),
            ("planned", text(&planned, "/interview/id").to_owned()),
            ("interview", round.id.clone()),
            ("application", round.application.clone()),
            ("verdict", verdict),
            ("asked", asked),
            ("job", job),
            ("candidate", candidate),
            ("resume", resume),
        ]);
        let email = Self::candidate_email(name);
        let signed_in = candidates::signed_in(world, client, &ids["company"], &email).await;
        Self { company, manager, round, candidate: signed_in, ids }
    }

    /// The address of the candidate who is signed in.
    fn candidate_email(name: &str) -> String {
        format!("mira-{name}@mail.example")
    }

    /// The same kind of id that names nothing.
    fn absent(id: &str) -> String {
        match id.split_once('_') {
            Some((kind, _)) => format!("{kind}_{}", uuid::Uuid::new_v4().simple()),
            None => uuid::Uuid::new_v4().to_string(),
        }
    }
}

async fn upload(who: &Client, candidate: &str) -> String {
    let field = |name: &str, value: &str| {
        format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let file = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"cv.txt\"\r\n\
                content-type: text/plain\r\n\r\nKeeper of lights\r\n--x--\r\n";
    let command = uuid::Uuid::new_v4().to_string();
    let body = field("commandId", &command) + &field("candidateId", candidate) + file;
    let request = reqwest::Client::new()
        .post(format!("{}/files/resumes", who.base()))
        .bearer_auth(who.token())
        .header("content-type", "multipart/form-data; boundary=x")
        .body(body);
    let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    text(&answer, "/resumeId").to_owned()
}
