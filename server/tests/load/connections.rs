//! Requests over connections of their own, one after the other on each.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Plan;
use crate::client::Client;
use crate::report::percentiles;
use crate::world::DEADLINE;

const ASKED: &str = "{ viewer { __typename } jobs(first: 5) { nodes { id title } } }";

/// A kept connection of HTTP/1.1 that the test has in its own hands.
struct Connection {
    stream: TcpStream,
    request: String,
}

impl Connection {
    async fn open(who: &Client) -> std::io::Result<Self> {
        let address = who.base().trim_start_matches("http://").to_owned();
        let body = json!({ "query": ASKED }).to_string();
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            who.token(),
            body.len()
        );
        Ok(Self { stream: TcpStream::connect(address).await?, request })
    }

    /// The status and the body of an answer.
    async fn ask(&mut self) -> Result<(u16, Value), String> {
        let told = |error: std::io::Error| error.to_string();
        self.stream.write_all(self.request.as_bytes()).await.map_err(told)?;
        let mut answer = vec![];
        let mut chunk = [0; 8192];
        loop {
            let n = self.stream.read(&mut chunk).await.map_err(told)?;
            if n == 0 {
                return Err("the connection ended".to_owned());
            }
            answer.extend_from_slice(&chunk[..n]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize =
                length.and_then(|n| n.parse().ok()).ok_or("an answer without end")?;
            if body.len() >= length {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                let body = serde_json::from_str(body).map_err(|error| error.to_string())?;
                return Ok((status.ok_or("no status")?, body));
            }
        }
    }

    /// The time until a good answer.
    async fn timed(&mut self) -> Result<Duration, String> {
        let began_at = Instant::now();
        match self.ask().await? {
            (200, answer) if answer["errors"].is_null() => Ok(began_at.elapsed()),
            (status, answer) => Err(format!("{status} {answer}")),
        }
    }
}

/// All connections are open before the first request, and stay.
pub async fn many(plan: &Plan, who: &Client) -> String {
    let mut connections = vec![];
    for _ in 0..plan.n_connections {
        connections.push(Connection::open(who).await.expect("a connection"));
    }
    let (began_at, n_each) = (Instant::now(), plan.n_requests / plan.n_connections);
    let mut asking = JoinSet::new();
    for mut connection in connections {
        asking.spawn(async move {
            let mut times = vec![];
            for _ in 0..n_each {
                times.push(connection.timed().await?);
            }
            Ok::<_, String>((times, connection))
        });
    }
    let (mut times, mut kept) = (vec![], vec![]);
    while let Some(asked) = asking.join_next().await {
        let (of_one, connection) = asked.expect("no panic").expect("an answer without an error");
        times.extend(of_one);
        kept.push(connection);
    }
    let (n, seconds) = (times.len(), began_at.elapsed().as_secs_f64());
    assert_eq!((n, kept.len()), (plan.n_requests, plan.n_connections));
    let rate = n as f64 / seconds;
    format!(
        "{n} requests over {} connections at once: no error, {rate:.0} a second; {}",
        kept.len(),
        percentiles(times)
    )
}

/// Requests at a steady rate, whatever else goes on.
pub async fn steady(plan: &Plan, who: &Client) -> String {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / plan.rate);
    let n = u64::from(plan.rate) * plan.seconds;
    let (send, receive) = tokio::sync::watch::channel(0_u64);
    let began_at = Instant::now();
    // Each takes a turn when one is due; there are more than are ever busy at once.
    let mut asking = JoinSet::new();
    let queue = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    for _ in 0..64 {
        let (who, queue, mut over) = (who.clone(), queue.clone(), receive.clone());
        asking.spawn(async move {
            let mut times = vec![];
            let mut connection = Connection::open(&who).await.map_err(|error| error.to_string())?;
            loop {
                tokio::select! {
                    biased;
                    turn = queue.acquire() => turn.map_err(|error| error.to_string())?.forget(),
                    _ = over.changed() => return Ok::<_, String>(times),
                }
                // The connection may have waited for longer than one is kept.
                times.push(match connection.timed().await {
                    Ok(time) => time,
                    Err(_) => {
                        let anew = Connection::open(&who).await;
                        connection = anew.map_err(|error| error.to_string())?;
                        connection.timed().await?
                    }
                });
            }
        });
    }
    for _ in 0..n {
        ticks.tick().await;
        queue.add_permits(1);
    }
    let waited = async {
        while queue.available_permits() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waited).await.expect("all is asked");
    send.send_replace(1);
    let mut times = vec![];
    while let Some(asked) = asking.join_next().await {
        times.extend(asked.expect("no panic").expect("an answer without an error"));
    }
    assert_eq!(times.len() as u64, n);
    let seconds = began_at.elapsed().as_secs_f64();
    format!(
        "{n} requests in {seconds:.0} s beside that, {} a second: no error; {}",
        plan.rate,
        percentiles(times)
    )
}

/// Heads and bodies that come a letter at a time: each connection is ended.
pub async fn slow_senders(who: &Client) -> String {
    const N_EACH: usize = 50;
    let address = who.base().trim_start_matches("http://").to_owned();
    let start = format!("POST /graphql HTTP/1.1\r\nhost: {address}\r\n");
    let body = format!("{start}content-type: application/json\r\ncontent-length: 9999\r\n\r\n");
    let mut lives = vec![];
    for head in [start, body] {
        let mut sending = JoinSet::new();
        for _ in 0..N_EACH {
            let (address, head) = (address.clone(), head.clone());
            sending.spawn(async move {
                let stream = TcpStream::connect(address).await.expect("a connection");
                let (mut reader, mut writer) = stream.into_split();
                writer.write_all(head.as_bytes()).await.expect("sent");
                let began_at = Instant::now();
                let trickling = async {
                    while writer.write_all(b"a").await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    std::future::pending::<()>().await;
                };
                let mut answer = vec![];
                tokio::select! {
                    () = trickling => {}
                    _ = tokio::time::timeout(DEADLINE, reader.read_to_end(&mut answer)) => {}
                }
                began_at.elapsed()
            });
        }
        let times = sending.join_all().await;
        let longest = times.into_iter().max().unwrap_or_default();
        assert!(longest < DEADLINE, "a slow sender was never let go");
        lives.push(longest.as_secs_f64());
    }
    format!(
        "{N_EACH} heads and {N_EACH} bodies that came a letter at a time: ended after {:.1} s and \
         {:.1} s at most",
        lives[0], lives[1]
    )
}
