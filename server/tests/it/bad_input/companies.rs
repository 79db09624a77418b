//! What belongs to another company looks like what is not there.

use serde_json::json;
use uuid::Uuid;

use super::{Stage, absent};
use crate::client::{Answer, document};
use crate::job::{days, now};
use crate::orders::n_stored;

#[tokio::test(flavor = "multi_thread")]
async fn another_companys_ids_look_like_absent_ones() {
    let stage = Stage::set().await;
    let round = stage.ours.schedule(&stage.job, "Mira").await;
    stage.world.until_projected().await;
    let found = stage
        .ours
        .hr
        .query(
            "query($id: ID!) { application(id: $id) { candidate { id } } }",
            json!({ "id": round.application }),
        )
        .await;
    let candidate = found["application"]["candidate"]["id"].as_str().expect("an id").to_owned();
    let member = stage.ours.interviewer_id.clone();
    let outsider = &stage.theirs.admin;
    for (field, id) in [
        ("job", &stage.job),
        ("interview", &round.id),
        ("application", &round.application),
        ("candidate", &candidate),
        ("member", &member),
        ("node", &stage.job),
        ("node", &round.id),
        ("node", &candidate),
    ] {
        let document = format!("query($id: ID!) {{ {field}(id: $id) {{ id }} }}");
        let answer = async |id: &str| {
            outsider.try_ask(&document, &json!({ "id": id })).await.expect("an answer")
        };
        let (foreign, missing) = (answer(id).await, answer(&absent(id)).await);
        assert_eq!(foreign, missing, "{field}");
        if let Ok(data) = &foreign {
            assert!(data[field].is_null(), "{field}: {data}");
        }
        println!("{:<28} {field} of another company", code(&foreign));
    }
    for (field, pair) in
        [("interviewHistory", "{ nodes { version } }"), ("interviewSession", "{ status }")]
    {
        let document = format!("query($id: ID!) {{ {field}(interviewId: $id) {pair} }}");
        let answer = async |id: &str| {
            outsider.try_ask(&document, &json!({ "id": id })).await.expect("an answer")
        };
        let (foreign, missing) = (answer(&round.id).await, answer(&absent(&round.id)).await);
        assert!(foreign.is_err(), "{field}: {foreign:?}");
        assert_eq!(foreign, missing, "{field}");
        println!("{:<28} {field} of another company", code(&foreign));
    }
    let begin = now() + days(1);
    for (mutation, name, id, rest) in [
        ("closeJob", "jobId", &stage.job, json!({})),
        ("publishJob", "jobId", &stage.job, json!({})),
        ("archiveCandidate", "candidateId", &candidate, json!({})),
        ("addCandidateNote", "candidateId", &candidate, json!({ "text": "A note." })),
        ("withdrawApplication", "applicationId", &round.application, json!({})),
        ("cancelInterview", "interviewId", &round.id, json!({})),
        ("rescheduleInterview", "interviewId", &round.id, json!({ "scheduledAt": begin })),
        ("issueInterviewAccess", "interviewId", &round.id, json!({})),
        ("joinInterview", "interviewId", &round.id, json!({})),
        ("deactivateMember", "memberId", &member, json!({})),
        ("assignRole", "memberId", &member, json!({ "role": "HR" })),
        ("updateMember", "memberId", &member, json!({ "fullName": "Somebody Else" })),
    ] {
        let answer = async |id: &str| {
            let command = Uuid::new_v4();
            let mut input = rest.clone();
            input[name] = json!(id);
            input["commandId"] = json!(command);
            let document = document(mutation, "__typename");
            let answer = outsider.try_ask(&document, &json!({ "input": input })).await;
            assert_eq!(n_stored(&stage.world, command).await, 0, "{mutation} has written");
            answer.expect("an answer")
        };
        let (foreign, missing) = (answer(id).await, answer(&absent(id)).await);
        assert!(foreign.is_err(), "{mutation}: {foreign:?}");
        assert_eq!(foreign, missing, "{mutation}");
        println!("{:<28} {mutation} in another company", code(&foreign));
    }
    let there = "query($id: ID!, $seen: [String!]) { job(id: $id, consistentWith: $seen) { id } }";
    let input = json!({ "title": "Ours", "description": "Ours alone." });
    let made = stage.ours.hr.carry_out("createJob", input, "job { id }").await;
    let variables = json!({ "id": absent(&stage.job), "seen": [made["cursor"]] });
    stage.ask(outsider, there, variables, &["CONSISTENCY_TOKEN_INVALID"]).await;
    stage.lived();
}

fn code(answer: &Answer) -> &str {
    answer.as_ref().map_or_else(|refused| refused.code.as_str(), |_| "null")
}
