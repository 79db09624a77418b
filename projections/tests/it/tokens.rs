//! Reading one's own write.

use std::time::Duration;

use eventlog::envelope::Version;
use projections::applied::{Caught, WaitError, wait_for};
use projections::model::MODELS;
use projections::token::TokenInvalid;
use projections::{Token, interviews, jobs, transcripts};
use tokio::time::Instant;

use crate::database::Database;
use crate::world::memory;

const SHORT: Duration = Duration::from_millis(60);
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_token_is_printed_and_read_back() {
    let world = memory();
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    let token = world.append(&stream, world.opening(&story)).await;
    let text = token.to_string();
    assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    assert_eq!(text.parse(), Ok(token));
    let mut garbage: Vec<String> = ["", "x", "🦀", "AAAA", "\0"].map(str::to_owned).to_vec();
    garbage.extend((0..text.len()).map(|n| text[..n].to_owned()));
    garbage.extend((0..text.len()).map(|n| {
        let flipped = if &text[n..=n] == "A" { "B" } else { "A" };
        format!("{}{flipped}{}", &text[..n], &text[n + 1..])
    }));
    for text in garbage {
        assert_eq!(text.parse::<Token>(), Err(TokenInvalid), "{text:?}");
    }
}

#[tokio::test]
async fn a_query_waits_for_the_write_it_names() {
    let database = Database::create().await;
    let world = database.world(1);
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    let token = world.append(&stream, world.opening(&story)).await;
    let tokens = [token];
    let models = [interviews::MODEL, transcripts::MODEL];
    let waiting = wait_for(&database.reads, &tokens, &models, world.company(), LONG);
    let (caught, ()) = tokio::join!(waiting, database.catch_up(&models));
    assert_eq!(caught, Ok(Caught::default()));
    let row = interviews::get(&database.reads, &world.all(), story.interview).await;
    assert_eq!(row.expect("read").expect("there").version, tokens[0].version.0);
}

#[tokio::test]
async fn a_wait_is_bounded_and_says_what_is_behind() {
    let database = Database::create().await;
    let world = database.world(1);
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    let token = world.append(&stream, world.opening(&story)).await;
    database.catch_up(&[transcripts::MODEL]).await;
    let began = Instant::now();
    let tokens = [token];
    let stale = wait_for(&database.reads, &tokens, MODELS, world.company(), SHORT).await;
    let Err(WaitError::Stale { behind_by }) = stale else {
        panic!("it cannot have caught up");
    };
    assert!(began.elapsed() >= SHORT);
    let behind: Vec<_> = behind_by.iter().map(|b| (b.model, b.n_versions)).collect();
    assert_eq!(behind, [("interviews", 7)]);
    // A model that does not listen has nothing to wait for.
    let caught =
        wait_for(&database.reads, &tokens, &[jobs::MODEL], world.company(), Duration::ZERO).await;
    assert_eq!(caught, Ok(Caught::default()));
}

#[tokio::test]
async fn a_token_of_what_the_caller_cannot_have_seen_is_refused_at_once() {
    let database = Database::create().await;
    let (world, foreign) = (database.world(1), database.world(2));
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    let token = world.append(&stream, world.opening(&story)).await;
    let ahead = Token { version: Version(token.version.0 + 1), ..token.clone() };
    let nothing = Token { version: Version(0), ..token.clone() };
    let absent = Token { stream: foreign.stream("job", foreign.job(0).0), ..token.clone() };
    let cases = [
        (ahead, world.company()),
        (nothing, world.company()),
        (absent, foreign.company()),
        (token, foreign.company()),
    ];
    for (token, company) in cases {
        let began = Instant::now();
        let refused = wait_for(&database.reads, &[token], MODELS, company, LONG).await;
        assert_eq!(refused, Err(WaitError::Token(TokenInvalid)));
        assert!(began.elapsed() < LONG / 2);
    }
}

#[tokio::test]
async fn a_parked_stream_answers_at_once() {
    let database = Database::create().await;
    let world = database.world(1);
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    world.append(&stream, world.opening(&story)).await;
    world.append_raw(&stream, "interview.teleported", "{}").await;
    let token = world.append(&stream, vec![world.asked(&story, 0, 1)]).await;
    database.catch_up(&[interviews::MODEL]).await;
    let (tokens, models) = ([token], [interviews::MODEL]);
    let caught = wait_for(&database.reads, &tokens, &models, world.company(), Duration::ZERO).await;
    assert_eq!(caught, Ok(Caught { parked: vec!["interviews"] }));
}
