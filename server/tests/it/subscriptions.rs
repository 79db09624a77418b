//! Live events without a seam, whatever happens to the connection.

use std::time::Duration;

use projections::Token;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::client::{Client, text};
use crate::job::{Company, Round};
use crate::socket::{Item, Socket};
use crate::world::{DEADLINE, Logged, World};

/// The live events of an interview.
pub const EVENTS: &str = "subscription($id: ID!, $after: String) {
    interviewEvents(interviewId: $id, after: $after) { cursor version } }";

/// How often each client is cut.
const CUTS: usize = 10;
const CLIENTS: u64 = 20;
/// Each is a question and its answer.
const TURNS: usize = 40;

/// What candidates do not see.
const HIDDEN: [&str; 3] =
    ["interview.access_issued", "interview.access_first_used", "interview.note_added"];

/// One client: where it may connect, and what it holds.
struct Listener {
    doors: [Client; 2],
    interview: String,
    chance: StdRng,
    after: Option<String>,
    held: Vec<(i64, i64)>,
}

impl Listener {
    async fn connect(&mut self) -> Socket {
        loop {
            let door = &self.doors[self.chance.random_range(0..2)];
            let variables = json!({ "id": self.interview, "after": self.after });
            if let Some(socket) = Socket::subscribe(door, EVENTS, variables).await {
                return socket;
            }
        }
    }

    fn take(&mut self, item: &Value) {
        let cursor = text(item, "/cursor");
        let token: Token = cursor.parse().expect("a cursor is a token");
        let place = |n: u64| i64::try_from(n).expect("a small number");
        assert_eq!(item["version"], token.version.0);
        self.held.push((place(token.version.0), place(token.position.0)));
        self.after = Some(cursor.to_owned());
    }

    /// Listens over as many connections as there are cuts and one more, until it holds the event at
    /// `last`, which it is told once it is known.
    async fn listen(mut self, mut last: tokio::sync::watch::Receiver<Option<i64>>) -> Self {
        for _ in 0..CUTS {
            let mut socket = self.connect().await;
            // From a cut before anything came, in the middle of a replay, to one while waiting.
            for _ in 0..self.chance.random_range(0..12) {
                let patience = Duration::from_millis(self.chance.random_range(1..400));
                match socket.next_within(patience).await {
                    Some(Item::Next(item)) => self.take(&item),
                    None => break,
                    Some(other) => panic!("{other:?}"),
                }
            }
            socket.cut();
        }
        let mut socket = self.connect().await;
        loop {
            let end = *last.borrow_and_update();
            if end.is_some_and(|end| self.held.last().is_some_and(|(_, at)| *at >= end)) {
                return self;
            }
            tokio::select! {
                item = socket.next() => match item {
                    Item::Next(item) => self.take(&item),
                    other => panic!("{other:?}"),
                },
                changed = last.changed() => changed.expect("the interview ends"),
            }
        }
    }
}

/// Plays an interview in bursts, through either door.
async fn talk(round: &Round, company: &Company, doors: [std::net::SocketAddr; 2]) {
    let mut chance = StdRng::seed_from_u64(7);
    let mut n = 0;
    while n < TURNS {
        for _ in 0..chance.random_range(1..8) {
            let through =
                |who: &Client, chance: &mut StdRng| who.at(doors[chance.random_range(0..2)]);
            let interviewer = through(&company.interviewer, &mut chance);
            let guest = through(&round.guest, &mut chance);
            round.talk(&interviewer, &guest, n).await;
            n += 1;
        }
        // A pause is part of what is tried: listeners come to wait for the next burst.
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..300))).await;
        let input = json!({ "interviewId": round.id, "text": "Calm." });
        company.interviewer.carry_out("addInterviewNote", input, "interview { id }").await;
    }
    let input = round.input();
    company.interviewer.carry_out("completeInterview", input, "interview { status }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_cut_again_and_again_hold_each_event_once_in_order() {
    let world = World::without_kafka().await;
    world.migrate().await;
    let (mut one, mut two) = (world.start("serve"), world.start("serve"));
    let (client, other) = (one.client().await, two.client().await);
    let doors = [one.address().await, two.address().await];
    assert_eq!(other.base(), format!("http://{}", doors[1]));
    let company = Company::found(&world, &client, "lights").await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Mira").await;
    let beside = company.schedule(&job, "Noor").await;
    round.begin(&company).await;
    beside.begin(&company).await;

    let (ended, last) = tokio::sync::watch::channel(None);
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let roles = [&company.hr, &company.auditor, &round.guest, &company.interviewer];
    let listeners: Vec<_> = (0..CLIENTS)
        .zip(roles.into_iter().cycle())
        .map(|(n, who)| {
            let listener = Listener {
                doors: doors.map(|door| who.at(door)),
                interview: round.id.clone(),
                chance: StdRng::seed_from_u64(seed.wrapping_add(n)),
                after: None,
                held: vec![],
            };
            tokio::spawn(listener.listen(last.clone()))
        })
        .collect();
    // Another interview goes on at the same time and is nobody's business here.
    tokio::join!(talk(&round, &company, doors), async {
        for n in 0..TURNS {
            beside.talk(&company.interviewer, &beside.guest, n).await;
        }
    });
    let log: Vec<Logged> = world.log_of("interview").await;
    let log: Vec<_> = log.into_iter().filter(|e| e.stream_id == round.stream()).collect();
    assert!(log.len() >= 60, "{} events", log.len());
    ended.send_replace(log.last().map(|event| event.position));

    let whole: Vec<_> = log.iter().map(|e| (e.version, e.position)).collect();
    let of_candidate: Vec<_> = log
        .iter()
        .filter(|event| !HIDDEN.contains(&event.event_type.as_str()))
        .map(|e| (e.version, e.position))
        .collect();
    assert!(of_candidate.len() < whole.len());
    for (n, listener) in listeners.into_iter().enumerate() {
        let listened = tokio::time::timeout(2 * DEADLINE, listener).await;
        let held = listened.expect("all is heard in time").expect("no panic").held;
        let expected = if n % 4 == 2 { &of_candidate } else { &whole };
        assert_eq!(&held, expected, "client {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_the_process_that_served_it() {
    let world = World::without_kafka().await;
    world.migrate().await;
    let (mut one, mut two) = (world.start("serve"), world.start("serve"));
    let (client, other) = (one.client().await, two.client().await);
    let company = Company::found(&world, &client, "lights").await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Mira").await;
    let variables = |after: &Value| json!({ "id": round.id, "after": after });
    let hr = company.hr.clone();
    let mut socket =
        Socket::subscribe(&hr, EVENTS, variables(&Value::Null)).await.expect("a socket");
    round.begin(&company).await;
    let mut cursors = vec![];
    while cursors.len() < 3 {
        match socket.next().await {
            Item::Next(item) => cursors.push(item["cursor"].clone()),
            other => panic!("{other:?}"),
        }
    }
    one.kill();
    // What was on its way may still come; then the connection ends.
    while let Item::Next(item) = socket.next().await {
        cursors.push(item["cursor"].clone());
    }
    let (hr, interviewer) = (hr.with_base(&other), company.interviewer.with_base(&other));
    let guest = round.guest.with_base(&other);
    let after = cursors.last().expect("a cursor");
    let mut socket = Socket::subscribe(&hr, EVENTS, variables(after)).await.expect("a socket");
    round.talk(&interviewer, &guest, 1).await;
    let log = world.log_of("interview").await;
    let rest = log.len() - cursors.len();
    for _ in 0..rest {
        match socket.next().await {
            Item::Next(item) => cursors.push(item["cursor"].clone()),
            other => panic!("{other:?}"),
        }
    }
    let held: Vec<i64> = cursors
        .iter()
        .map(|cursor| {
            let token: Token = cursor.as_str().expect("a text").parse().expect("a token");
            i64::try_from(token.position.0).expect("a small number")
        })
        .collect();
    let positions: Vec<i64> = log.iter().map(|event| event.position).collect();
    assert_eq!(held, positions);
}
