//! Orders that an interview's status does not allow.

use serde_json::{Value, json};

use super::{Stage, absent};
use crate::client::sign_in_document;
use crate::job::{Round, days, now};

/// Gives each order to a round in this status and asserts the code that it is refused with.
async fn transitions(stage: &Stage, round: &Round, status: &str, orders: &[(&str, &[&str])]) {
    let (ours, at) = (&stage.ours, now() + days(3));
    for (order, codes) in orders {
        let with = |mut rest: Value| {
            rest["interviewId"] = json!(round.id);
            rest
        };
        let (who, input) = match *order {
            "scheduleInterview" => {
                (&ours.hr, json!({ "round": { "plannedId": round.id }, "scheduledAt": at }))
            }
            "rescheduleInterview" => (&ours.hr, with(json!({ "scheduledAt": at }))),
            "askQuestion" => {
                let own = json!({ "text": "?", "type": "TECHNICAL", "difficulty": "STANDARD" });
                (&ours.interviewer, with(json!({ "question": { "own": own } })))
            }
            "submitAnswer" => {
                let input = json!({ "questionId": absent("ques_0"), "text": "Late." });
                (&round.guest, with(input))
            }
            "joinInterview" => (&ours.interviewer, round.input()),
            "startInterview" | "completeInterview" => (&ours.interviewer, round.input()),
            _ => (&ours.hr, round.input()),
        };
        println!("in {status}:");
        stage.order(who, order, input, codes).await;
    }
}

const ILLEGAL: &[&str] = &["INT_ILLEGAL_TRANSITION"];
const OVER: &[&str] = &["INT_003"];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_status_does_not_allow_is_refused_in_every_status() {
    let stage = Stage::set().await;
    let ours = &stage.ours;

    let later = ours.schedule(&stage.job, "Lena").await;
    let input = json!({ "interviewId": later.id, "scheduledAt": now() + days(1) });
    ours.hr.carry_out("rescheduleInterview", input, "interview { status }").await;
    transitions(
        &stage,
        &later,
        "SCHEDULED",
        &[
            ("scheduleInterview", ILLEGAL),
            ("startInterview", ILLEGAL),
            ("askQuestion", ILLEGAL),
            ("submitAnswer", ILLEGAL),
            ("completeInterview", ILLEGAL),
            ("markNoShow", &["INT_TOO_EARLY"]),
        ],
    )
    .await;

    let waiting = ours.schedule(&stage.job, "Walt").await;
    ours.interviewer.carry_out("joinInterview", waiting.input(), "interview { status }").await;
    let not_begun: &[(&str, &[&str])] = &[
        ("scheduleInterview", ILLEGAL),
        ("startInterview", ILLEGAL),
        ("askQuestion", ILLEGAL),
        ("submitAnswer", ILLEGAL),
        ("completeInterview", ILLEGAL),
    ];
    transitions(&stage, &waiting, "WAITING_FOR_CANDIDATE", not_begun).await;

    let round = ours.schedule(&stage.job, "Mira").await;
    round.guest.carry_out("joinInterview", round.input(), "interview { status }").await;
    transitions(&stage, &round, "WAITING_FOR_INTERVIEWER", not_begun).await;

    ours.interviewer.carry_out("joinInterview", round.input(), "interview { status }").await;
    transitions(
        &stage,
        &round,
        "IN_PROGRESS",
        &[
            ("scheduleInterview", ILLEGAL),
            ("rescheduleInterview", ILLEGAL),
            ("markNoShow", ILLEGAL),
            ("cancelInterview", &["INT_NEEDS_REASON"]),
            ("submitAnswer", &["INT_QUESTION_NOT_FOUND"]),
        ],
    )
    .await;
    let question = round.ask(&ours.interviewer, "What about fog?").await;
    transitions(&stage, &round, "IN_PROGRESS", &[("askQuestion", &["INT_QUESTION_OPEN"])]).await;
    round.answer(&round.guest, &question, "I sound the horn.").await;
    let input = json!({ "interviewId": round.id, "questionId": question, "text": "Or not." });
    stage.order(&round.guest, "submitAnswer", input.clone(), &["INT_ALREADY_ANSWERED"]).await;
    ours.interviewer.carry_out("completeInterview", round.input(), "interview { status }").await;
    stage.order(&round.guest, "submitAnswer", input, OVER).await;
    transitions(
        &stage,
        &round,
        "COMPLETED",
        &[
            ("scheduleInterview", OVER),
            ("rescheduleInterview", OVER),
            ("issueInterviewAccess", OVER),
            ("joinInterview", OVER),
            ("startInterview", OVER),
            ("askQuestion", OVER),
            ("submitAnswer", OVER),
            ("completeInterview", OVER),
            ("cancelInterview", OVER),
            ("markNoShow", OVER),
        ],
    )
    .await;
    let input = json!({ "input": { "token": round.token } });
    let document = sign_in_document("openInterviewSession");
    stage.ask(&ours.hr.stranger(), &document, input, &["INT_002"]).await;

    let ended: &[(&str, &[&str])] = &[
        ("scheduleInterview", ILLEGAL),
        ("joinInterview", ILLEGAL),
        ("startInterview", ILLEGAL),
        ("askQuestion", ILLEGAL),
        ("submitAnswer", ILLEGAL),
        ("completeInterview", ILLEGAL),
    ];
    ours.hr.carry_out("cancelInterview", later.input(), "interview { status }").await;
    transitions(&stage, &later, "CANCELLED", ended).await;
    let closed: &[(&str, &[&str])] = &[
        ("rescheduleInterview", ILLEGAL),
        ("issueInterviewAccess", ILLEGAL),
        ("markNoShow", ILLEGAL),
    ];
    transitions(&stage, &later, "CANCELLED", closed).await;
    ours.hr.carry_out("markNoShow", waiting.input(), "interview { status }").await;
    transitions(&stage, &waiting, "NO_SHOW", ended).await;
    stage.lived();
}
