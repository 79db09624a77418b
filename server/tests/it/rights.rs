//! Rights that are taken away while streams are open.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, text};
use crate::job::Company;
use crate::socket::{Item, Socket};
use crate::subscriptions::EVENTS;
use crate::world::{DEADLINE, until};

async fn opened(client: &Client, document: &str, variables: Value) -> Socket {
    Socket::subscribe(client, document, variables).await.expect("a socket")
}

/// The code with which a subscription ends, whatever it still tells before.
pub async fn end(mut socket: Socket) -> String {
    let ended = async {
        loop {
            match socket.next().await {
                Item::Next(_) => {}
                Item::End(refused) => break refused.expect("a reason").code,
                Item::Gone => panic!("the connection is gone"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.expect("the stream ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_end_by_themselves_when_the_right_to_them_does() {
    let (world, _all, _, company) = Company::lights().await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Wilma").await;
    let other = company.schedule(&job, "Fred").await;
    world.until_projected().await;

    // Quiet streams: nothing happens in this interview any more.
    let id = json!({ "id": round.id });
    let board = opened(&company.interviewer, "subscription { liveBoard { cursor } }", json!({}));
    let (board, watched) = (board.await, opened(&company.interviewer, EVENTS, id.clone()).await);
    let guest = opened(&round.guest, EVENTS, id).await;
    let other_guest = opened(&other.guest, EVENTS, json!({ "id": other.id })).await;

    let document = "query($id: ID!) { interview(id: $id) { accesses { accessId } } }";
    let accesses = company.hr.query(document, json!({ "id": round.id })).await;
    let input = json!({
        "interviewId": round.id, "accessId": text(&accesses, "/interview/accesses/0/accessId"),
    });
    company.hr.carry_out("revokeInterviewAccess", input, "interview { id }").await;
    assert_eq!(end(guest).await, "INVALID_TOKEN");

    let input = json!({ "memberId": company.interviewer_id });
    company.admin.carry_out("deactivateMember", input, "member { id }").await;
    assert_eq!(end(board).await, "INVALID_TOKEN");
    assert_eq!(end(watched).await, "INVALID_TOKEN");

    // Whose right stands goes on.
    let mut other_guest = other_guest;
    let input = json!({ "interviewId": other.id, "reason": "Fog." });
    company.hr.carry_out("cancelInterview", input, "interview { id }").await;
    match other_guest.next().await {
        Item::Next(_) => {}
        Item::End(refused) => panic!("{refused:?}"),
        Item::Gone => panic!("the connection is gone"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_live_event_nests_is_shown_by_the_rights_of_its_time() {
    let (_world, _all, _, company) = Company::lights().await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Wilma").await;

    let document = "subscription { liveBoard { interview { status job { title } } } }";
    let mut board = opened(&company.hr, document, json!({})).await;
    round.begin(&company).await;
    let shown = until_told(&mut board, "IN_PROGRESS").await;
    assert_eq!(text(&shown, "/interview/job/title"), "Lighthouse keeper");

    // An auditor sees interviews, too, but no jobs.
    let viewer = company.hr.query("{ viewer { ... on MemberViewer { id } } }", json!({})).await;
    let input = json!({ "memberId": text(&viewer, "/viewer/id"), "role": "AUDITOR" });
    company.admin.carry_out("assignRole", input, "member { id }").await;
    company.interviewer.carry_out("completeInterview", round.input(), "interview { id }").await;
    let shown = until_told(&mut board, "COMPLETED").await;
    assert_eq!(shown["interview"]["job"], Value::Null);
}

/// Stands on the stream of an interview where something happens until it is told.
async fn told(who: &Client, hr: &Client, interview: &str) -> Socket {
    let mut socket = opened(who, EVENTS, json!({ "id": interview })).await;
    until("the stream tells what happens", async || {
        let note = json!({ "interviewId": interview, "text": "Still here." });
        hr.carry_out("addInterviewNote", note, "version").await;
        match socket.next_within(Duration::from_secs(1)).await? {
            Item::Next(_) => Some(()),
            other => panic!("{other:?}"),
        }
    })
    .await;
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_a_custom_role_opened_end_by_themselves_with_what_it_gave() {
    let (_world, _all, client, company) = Company::lights().await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Wilma").await;
    let (otto, id) = company.invite(&client, "otto", "lights", "EMPLOYEE").await;
    let elsewhere = end(opened(&otto, EVENTS, json!({ "id": round.id })).await).await;
    assert_eq!(elsewhere, "INT_001");

    let admin = &company.admin;
    let reads = |right: &str| json!([{ "right": right, "reaches": ["ALL"] }]);
    let input = json!({ "name": "Listener", "permissions": reads("READ_INTERVIEW") });
    let role = admin.carry_out("createRole", input, "role { id }").await;
    let role = text(&role, "/role/id");
    let assign = async |role: Option<&str>| {
        let input = json!({ "memberId": id, "roleId": role });
        admin.carry_out("assignCustomRole", input, "version").await;
        let document = "query($id: ID!) { interview(id: $id) { id } }";
        until("the role is in force", async || {
            let seen = otto.ask(document, json!({ "id": round.id })).await.is_ok();
            (seen == role.is_some()).then_some(())
        })
        .await;
    };
    let update = async |right: &str| {
        let input = json!({ "roleId": role, "name": "Listener", "permissions": reads(right) });
        admin.carry_out("updateRole", input, "version").await;
    };

    assign(Some(role)).await;
    let stream = told(&otto, &company.hr, &round.id).await;
    assign(None).await;
    assert_eq!(end(stream).await, "AUTH_003");

    assign(Some(role)).await;
    let stream = told(&otto, &company.hr, &round.id).await;
    update("READ_JOB").await;
    assert_eq!(end(stream).await, "AUTH_003");

    update("READ_INTERVIEW").await;
    assign(Some(role)).await;
    let stream = told(&otto, &company.hr, &round.id).await;
    admin.carry_out("removeRole", json!({ "roleId": role }), "version").await;
    assert_eq!(end(stream).await, "AUTH_003");
}

/// The first item that shows the interview so.
async fn until_told(socket: &mut Socket, status: &str) -> Value {
    loop {
        match socket.next().await {
            Item::Next(item) if item["interview"]["status"] == status => return item,
            Item::Next(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_are_told_that_insights_are_none_of_theirs_and_what_they_may_do() {
    let (world, _all, _, company) = Company::lights().await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Wilma").await;
    let id = json!({ "id": round.id });
    for field in ["interviewInsights", "verdictEvents"] {
        let document =
            format!("subscription($id: ID!) {{ {field}(interviewId: $id) {{ cursor }} }}");
        assert_eq!(end(opened(&round.guest, &document, id.clone()).await).await, "AUTH_003");
    }
    let document = "{ viewer { ... on GuestViewer { permissions { right reaches } } } }";
    let viewer = round.guest.query(document, json!({})).await;
    let own = |right: &str| json!({ "right": right, "reaches": ["OWN"] });
    let rights = ["TAKE_PART_AS_CANDIDATE", "CONDUCT_INTERVIEW", "READ_INTERVIEW"].map(own);
    assert_eq!(viewer["viewer"]["permissions"], json!(rights));

    // How hard a question is, and what it measures, is thought of the talk and no part of it.
    round.begin(&company).await;
    round.ask(&company.interviewer, "What about fog?").await;
    world.until_projected().await;
    let document = "query($id: ID!) { interview(id: $id) { transcript {
        nodes { text difficulty dimensions } } } }";
    let turn = "/interview/transcript/nodes/0";
    let shown = company.hr.query(document, id.clone()).await;
    let expected =
        json!({ "text": "What about fog?", "difficulty": "STANDARD", "dimensions": ["watch"] });
    assert_eq!(shown.pointer(turn), Some(&expected));
    let shown = round.guest.query(document, id).await;
    let expected = json!({ "text": "What about fog?", "difficulty": null, "dimensions": [] });
    assert_eq!(shown.pointer(turn), Some(&expected));
}
