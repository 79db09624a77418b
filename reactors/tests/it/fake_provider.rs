//! An HTTP server that speaks chat completions: as it should, or as told to misbehave.
//!
//! When it behaves, it answers by the built-in rules from the data in the prompt, so what a test
//! sees has really travelled through prompt, HTTP, schema and checks.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, header};
use axum::routing::post;
use futures::{StreamExt, stream};
use reactors::ai::guard::Sleeper;
use reactors::ai::rules::RulesAi;
use reactors::ai::{
    Ai, Brief, JudgeAnswer, NextQuestion, NextStep, ProposeScores, ReadResume, RemainingQuestion,
};
use serde_json::{Value, json};

/// How the next request is answered.
pub enum Reply {
    /// As it should be.
    Honest,
    /// The right answer, but changed.
    Changed(fn(&mut Value)),
    /// This text as the model's.
    Says(&'static str),
    /// The right answer, cut by the token limit.
    OutOfTokens,
    /// The model refuses.
    Declines,
    /// This status, with this retry-after.
    Status(u16, Option<&'static str>),
    /// A body that ends in the middle of its JSON.
    CutBody,
    /// A connection that breaks in the middle of the body.
    BrokenConnection,
    /// No answer, ever.
    Silence,
}

/// A request as it arrived.
#[derive(Clone)]
pub struct Seen {
    pub authorization: Option<String>,
    pub body: Value,
}

#[derive(Clone, Default)]
pub struct FakeProvider {
    script: Arc<Mutex<VecDeque<Reply>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl FakeProvider {
    /// Starts a server that answers by the script and honestly after it. Returns its base URL.
    #[expect(clippy::disallowed_methods, reason = "the server ends with the test's runtime")]
    pub async fn start(script: impl IntoIterator<Item = Reply>) -> (Self, String) {
        let fake = Self {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            seen: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router =
            Router::new().route("/v1/chat/completions", post(complete)).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (fake, format!("http://{address}/v1"))
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn complete(
    State(fake): State<FakeProvider>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let authorization = headers.get(header::AUTHORIZATION).map(|v| v.to_str().unwrap().to_owned());
    fake.seen.lock().unwrap().push(Seen { authorization, body: body.clone() });
    let reply = fake.script.lock().unwrap().pop_front().unwrap_or(Reply::Honest);
    let honest = || async { by_the_rules(&body).await };
    match reply {
        Reply::Honest => completion(&honest().await.to_string(), "stop"),
        Reply::Changed(change) => {
            let mut answer = honest().await;
            change(&mut answer);
            completion(&answer.to_string(), "stop")
        }
        Reply::Says(text) => completion(text, "stop"),
        Reply::OutOfTokens => completion(&honest().await.to_string(), "length"),
        Reply::Declines => respond(
            200,
            json!({ "choices": [{
                "message": { "content": null, "refusal": "I would rather not." },
                "finish_reason": "stop",
            }]})
            .to_string(),
        ),
        Reply::Status(status, retry_after) => {
            let mut response = respond(status, json!({ "error": "no" }).to_string());
            if let Some(after) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, after.parse().unwrap());
            }
            response
        }
        Reply::CutBody => respond(200, r#"{"choices": [{"message": {"content": "{\"sc"#.into()),
        Reply::BrokenConnection => {
            let start = stream::iter([Ok::<_, std::io::Error>("{\"choices\"")]);
            let end = stream::iter([Err(std::io::ErrorKind::ConnectionReset.into())]);
            Response::new(Body::from_stream(start.chain(end)))
        }
        Reply::Silence => std::future::pending().await,
    }
}

fn respond(status: u16, body: String) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap()
}

fn completion(text: &str, finish_reason: &str) -> Response<Body> {
    let reply = json!({
        "choices": [{ "message": { "content": text }, "finish_reason": finish_reason }],
        "usage": { "prompt_tokens": 1000, "completion_tokens": 500 },
    });
    respond(200, reply.to_string())
}

/// The answer in the shape the schema asks for, computed from the data in the prompt.
async fn by_the_rules(body: &Value) -> Value {
    let user = body["messages"][1]["content"].as_str().unwrap();
    let data = user.strip_prefix("<data>\n").unwrap().strip_suffix("\n</data>").unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    let rules = RulesAi;
    match body["response_format"]["json_schema"]["name"].as_str().unwrap() {
        "judge_answer" => {
            let request: JudgeAnswer = serde_json::from_value(data).unwrap();
            let judged = rules.judge_answer(&request).await.unwrap().value;
            json!({
                "completeness": judged.completeness,
                "score": judged.score,
                "feedback": judged.feedback,
                "matched_keywords": judged.matched_keywords,
                "follow_up": judged.follow_up,
            })
        }
        "next_question" => {
            let remaining = data["remaining"].as_array().unwrap().iter().zip(0..);
            let remaining = remaining.map(|(q, order)| RemainingQuestion {
                id: q["id"].as_str().unwrap().into(),
                text: q["text"].as_str().unwrap().into(),
                difficulty: serde_json::from_value(q["difficulty"].clone()).unwrap(),
                weight: q["weight"].as_f64().unwrap(),
                order,
            });
            let request = NextQuestion {
                brief: Brief::default(),
                remaining: remaining.collect(),
                transcript: vec![],
                wanted: serde_json::from_value(data["wanted"].clone()).unwrap(),
                may_invent: false,
            };
            let id = match rules.next_question(&request).await.unwrap().value {
                NextStep::Job(id) => Some(id),
                NextStep::Own(_) | NextStep::Close => None,
            };
            json!({ "question_id": id, "own_text": null })
        }
        "propose_scores" => {
            let request: ProposeScores = serde_json::from_value(data).unwrap();
            let proposal = rules.propose_scores(&request).await.unwrap().value;
            json!({
                "scores": proposal.scores,
                "recommendation": proposal.recommendation,
                "strengths": proposal.strengths,
                "weaknesses": proposal.weaknesses,
                "summary": proposal.summary,
            })
        }
        "read_resume" => {
            let request: ReadResume = serde_json::from_value(data).unwrap();
            let facts = rules.read_resume(&request).await.unwrap().value;
            let domains = facts.technical_domains.iter();
            let domains: Vec<_> =
                domains.map(|(d, l)| json!({ "domain": d, "level": l })).collect();
            json!({
                "skills": facts.skills,
                "experience_years": facts.experience_years,
                "education": facts.education,
                "previous_roles": facts.previous_roles,
                "technical_domains": domains,
            })
        }
        other => panic!("an unknown task: {other}"),
    }
}

/// Notes the waits and waits for none of them.
#[derive(Clone, Default)]
pub struct NoWait(Arc<Mutex<Vec<Duration>>>);

impl NoWait {
    /// The waits so far, in milliseconds.
    pub fn waits_ms(&self) -> Vec<u128> {
        self.0.lock().unwrap().iter().map(Duration::as_millis).collect()
    }
}

impl Sleeper for NoWait {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.lock().unwrap().push(duration);
        Box::pin(std::future::ready(()))
    }
}
