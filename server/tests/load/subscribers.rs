//! Subscribers that hear all, and such that stop listening.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::Plan;
use crate::client::text;
use crate::job::{Company, Round};
use crate::report::percentiles;
use crate::socket::{Item, Socket};
use crate::world::DEADLINE;

const EVENTS: &str = "subscription($id: ID!, $after: String) {
    interviewEvents(interviewId: $id, after: $after) { cursor version } }";

/// The next event's version and cursor.
async fn heard(socket: &mut Socket) -> (u64, String) {
    match socket.next().await {
        Item::Next(item) => {
            let version = item["version"].as_u64().expect("a version");
            (version, text(&item, "/cursor").to_owned())
        }
        other => panic!("{other:?}"),
    }
}

async fn note(company: &Company, round: &Round, said: &str) -> u64 {
    let input = json!({ "interviewId": round.id, "text": said });
    let made = company.interviewer.carry_out("addInterviewNote", input, "version").await;
    made["version"].as_u64().expect("a version")
}

/// All are there before the first event; each hears each event once and in order.
pub async fn all_hear_all(plan: &Plan, company: &Company, round: &Round) -> String {
    let before = note(company, round, "Calm.").await;
    let mut sockets = vec![];
    for _ in 0..plan.n_subscribers {
        let variables = json!({ "id": round.id, "after": null });
        let mut socket =
            Socket::subscribe(&company.hr, EVENTS, variables).await.expect("a connection");
        let mut last = 0;
        while last < before {
            let (version, _) = heard(&mut socket).await;
            assert_eq!(version, last + 1);
            last = version;
        }
        sockets.push(socket);
    }
    let n_events = plan.n_events as u64;
    let mut listening = JoinSet::new();
    for mut socket in sockets {
        listening.spawn(async move {
            let mut times = vec![];
            for n in 1..=n_events {
                let (version, _) = heard(&mut socket).await;
                assert_eq!(version, before + n, "each once and in order");
                times.push(Instant::now());
            }
            assert!(socket.next_within(Duration::from_millis(500)).await.is_none(), "one too many");
            times
        });
    }
    let mut told = vec![];
    for _ in 0..plan.n_events {
        note(company, round, "Calm.").await;
        told.push(Instant::now());
    }
    let listened = tokio::time::timeout(2 * DEADLINE, listening.join_all()).await;
    let late = |times: Vec<Instant>| {
        let pairs = times.into_iter().zip(told.clone());
        pairs.map(|(heard, told)| heard.saturating_duration_since(told)).collect::<Vec<_>>()
    };
    let times = listened.expect("all is heard").into_iter().flat_map(late).collect();
    format!(
        "{} subscribers, {} events each: none missed, none twice; after the answer to its command an \
         event is heard, {}",
        plan.n_subscribers,
        plan.n_events,
        percentiles(times)
    )
}

/// Readers of much that take nothing are cut off, and go on after their last cursor.
pub async fn slow_readers_go_on(plan: &Plan, company: &Company, round: &Round) -> String {
    // Enough that no buffer between holds it: 130 kB each.
    const N_NOTES: u64 = 50;
    let last = note(company, round, "Calm.").await;
    let names: String = (0..28).map(|n| format!("v{n}: text ")).collect();
    let document = format!(
        "subscription($id: ID!) {{ interviewEvents(interviewId: $id) {{
            cursor version ... on InterviewNoteAdded {{ {names} }} }} }}"
    );
    for _ in 0..N_NOTES {
        note(company, round, &"Calm. ".repeat(800)).await;
    }
    let last = last + N_NOTES;
    let body = json!({ "query": document, "variables": { "id": round.id } }).to_string();
    let address = company.hr.base().trim_start_matches("http://").to_owned();
    let mut reading = JoinSet::new();
    for _ in 0..plan.n_slow {
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\naccept: \
             text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            company.hr.token(),
            body.len()
        );
        let address = address.parse().expect("an address");
        reading.spawn(async move {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_recv_buffer_size(4096).expect("a size");
            let mut stream = socket.connect(address).await.expect("a connection");
            stream.write_all(request.as_bytes()).await.expect("sent");
            // It does something else meanwhile.
            tokio::time::sleep(Duration::from_secs(8)).await;
            let mut taken = vec![];
            let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut taken)).await;
            let _ = ended.expect("a reader that takes nothing is cut off");
            last_cursor(&taken)
        });
    }
    let cursors = reading.join_all().await;
    for cursor in &cursors {
        let variables = json!({ "id": round.id, "after": cursor.as_ref().map(|(_, at)| at) });
        let mut socket =
            Socket::subscribe(&company.hr, EVENTS, variables).await.expect("a connection");
        let mut version = cursor.as_ref().map_or(0, |(version, _)| *version);
        assert!(version < last, "all was sent to who took nothing");
        while version < last {
            let (next, _) = heard(&mut socket).await;
            assert_eq!(next, version + 1, "each once and in order");
            version = next;
        }
    }
    format!(
        "{} readers that took nothing: cut off, and each went on after its last cursor without a gap",
        cursors.len()
    )
}

/// Version and cursor of the last whole event of a stream that was cut.
fn last_cursor(taken: &[u8]) -> Option<(u64, String)> {
    let text = String::from_utf8_lossy(taken);
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    // The last one may be cut in the middle.
    let last = events.rev().find_map(|event| serde_json::from_str::<Value>(event).ok())?;
    let event = &last["data"]["interviewEvents"];
    Some((event["version"].as_u64()?, event["cursor"].as_str()?.to_owned()))
}
