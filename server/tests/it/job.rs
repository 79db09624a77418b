//! A company with its people, a published job, and rounds that a person conducts.

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::client::{Client, text};
use crate::orders::stream;
use crate::process::Process;
use crate::world::World;

/// With which everybody signs in.
pub const PASSWORD: &str = "Lights-on-7!";

/// People of one company, signed in.
pub struct Company {
    pub operator: Client,
    pub admin: Client,
    pub hr: Client,
    pub interviewer: Client,
    pub interviewer_id: String,
    pub auditor: Client,
    pub viewer: Client,
}

impl Company {
    /// A server of its own with one company, and a stranger at it. The server goes first.
    pub async fn lights() -> (World, Process, Client, Self) {
        let world = World::without_kafka().await;
        let mut all = world.start("all");
        let client = all.client().await;
        let company = Self::found(&world, &client, "lights").await;
        (world, all, client, company)
    }

    /// Registers a company of this name at the API of `client`, and lets its people join.
    pub async fn found(world: &World, client: &Client, name: &str) -> Self {
        let (email, password) = world.operator();
        let credentials = json!({ "email": email, "password": password });
        let operator = client.enter("signIn", credentials).await;
        let input = json!({
            "name": name,
            "adminEmail": format!("ada@{name}.example"),
            "adminFullName": "Ada Admin",
        });
        let made = operator.carry_out("registerCompany", input, "invitationToken").await;
        let admin = join(client, &made).await;
        let invite =
            async |first: &str, role: &str| invited(&admin, client, first, name, role).await;
        let (hr, _) = invite("hana", "HR").await;
        let (interviewer, interviewer_id) = invite("ivo", "EMPLOYEE").await;
        let (auditor, _) = invite("aude", "AUDITOR").await;
        let (viewer, _) = invite("vera", "VIEWER").await;
        Self { operator, admin, hr, interviewer, interviewer_id, auditor, viewer }
    }

    /// One more member of the company of this name, signed in, and their id.
    pub async fn invite(
        &self,
        client: &Client,
        first: &str,
        name: &str,
        role: &str,
    ) -> (Client, String) {
        invited(&self.admin, client, first, name, role).await
    }

    /// A job with a rubric and a question, published; answers its id.
    pub async fn open_job(&self) -> String {
        self.open_job_of(None).await
    }

    /// The same as the job of a hiring manager.
    pub async fn open_job_of(&self, manager: Option<&str>) -> String {
        let input = json!({
            "title": "Lighthouse keeper", "description": "Keeps the light.",
            "hiringManagerId": manager,
        });
        let made = self.hr.carry_out("createJob", input, "job { id }").await;
        let job = text(&made, "/job/id").to_owned();
        let dimension = json!({ "key": "watch", "label": "Keeping watch", "weight": 1.0 });
        let input = json!({ "jobId": job, "dimensions": [dimension] });
        self.hr.carry_out("setRubric", input, "job { id }").await;
        let input = json!({
            "jobId": job, "text": "What do you do in a storm?", "type": "SITUATIONAL",
            "difficulty": "WARMUP", "dimensions": ["watch"], "expectedKeywords": ["lamp|light"],
        });
        self.hr.carry_out("addQuestion", input, "questionId").await;
        self.hr.carry_out("publishJob", json!({ "jobId": job }), "job { id }").await;
        job
    }

    /// An application of a new candidate whose name begins like this; answers its id.
    pub async fn apply(&self, job: &str, name: &str) -> String {
        let email = format!("{}@mail.example", name.to_lowercase());
        let input = json!({ "fullName": format!("{name} Stone"), "email": email });
        let made = self.hr.carry_out("createCandidate", input, "candidate { id }").await;
        let input = json!({ "candidateId": made["candidate"]["id"], "jobId": job });
        let made = self.hr.carry_out("submitApplication", input, "application { id }").await;
        text(&made, "/application/id").to_owned()
    }

    /// The input that schedules a round which the interviewer conducts without AI.
    pub fn round(&self, application: &str, begin: DateTime<Utc>) -> Value {
        let round = json!({
            "applicationId": application,
            "roundType": "SCREENING_HUMAN",
            "mode": "HUMAN_ONLY",
            "interviewerId": self.interviewer_id,
        });
        json!({ "round": { "new": round }, "scheduledAt": begin })
    }

    /// A round that is scheduled for now, and its candidate.
    pub async fn schedule(&self, job: &str, name: &str) -> Round {
        let application = self.apply(job, name).await;
        let input = self.round(&application, now());
        let made = self.hr.carry_out("scheduleInterview", input, "interview { id }").await;
        let id = text(&made, "/interview/id").to_owned();
        let input = json!({ "interviewId": id });
        let access = self.hr.carry_out("issueInterviewAccess", input, "accessToken").await;
        let token = text(&access, "/accessToken").to_owned();
        let guest = self.hr.stranger();
        let guest = guest.enter("openInterviewSession", json!({ "token": token })).await;
        Round { id, application, guest, token }
    }
}

async fn invited(
    admin: &Client,
    client: &Client,
    first: &str,
    name: &str,
    role: &str,
) -> (Client, String) {
    let email = format!("{first}@{name}.example");
    let input = json!({ "email": email, "fullName": first, "role": role });
    let invited = admin.carry_out("inviteMember", input, "member { id } invitationToken").await;
    (join(client, &invited).await, text(&invited, "/member/id").to_owned())
}

async fn join(client: &Client, invited: &Value) -> Client {
    let token = text(invited, "/invitationToken");
    client.enter("acceptInvitation", json!({ "token": token, "password": PASSWORD })).await
}

pub fn now() -> DateTime<Utc> {
    SystemClock.now()
}

pub fn days(n: i64) -> TimeDelta {
    TimeDelta::days(n)
}

/// One interview round.
pub struct Round {
    pub id: String,
    pub application: String,
    pub guest: Client,
    /// What the candidate was sent.
    pub token: String,
}

impl Round {
    pub fn input(&self) -> Value {
        json!({ "interviewId": self.id })
    }

    /// Lets both sides come, which begins the talk.
    pub async fn begin(&self, company: &Company) {
        for party in [&self.guest, &company.interviewer] {
            party.carry_out("joinInterview", self.input(), "interview { status }").await;
        }
    }

    /// A question and its answer.
    pub async fn talk(&self, interviewer: &Client, guest: &Client, n: usize) {
        let question = self.ask(interviewer, &format!("What about storm {n}?")).await;
        self.answer(guest, &question, &format!("In storm {n} I kept the lamp alight.")).await;
    }

    /// Asks a question and answers its id.
    pub async fn ask(&self, interviewer: &Client, question: &str) -> String {
        let own = json!({
            "text": question, "type": "TECHNICAL", "difficulty": "STANDARD",
            "dimensions": ["watch"],
        });
        let input = json!({ "interviewId": self.id, "question": { "own": own } });
        let asked = interviewer.carry_out("askQuestion", input, "questionId").await;
        text(&asked, "/questionId").to_owned()
    }

    pub async fn answer(&self, guest: &Client, question: &str, answer: &str) {
        let input = json!({ "interviewId": self.id, "questionId": question, "text": answer });
        guest.carry_out("submitAnswer", input, "answerId").await;
    }

    /// The id of its stream.
    pub fn stream(&self) -> uuid::Uuid {
        stream(&self.id)
    }
}
