//! Counts for HR.

use chrono::TimeDelta;
use domain::application::Status as ApplicationStatus;
use domain::interview::Status;
use domain::permission::Scope;
use projections::dashboard::{self, Today};
use projections::model::MODELS;
use projections::page::PageRequest;
use projections::{View, interviews, lag, verdicts};

use crate::database::Database;
use crate::world::noon;

#[tokio::test]
async fn the_dashboard_counts_each_entity_once_as_it_stands() {
    let database = Database::create().await;
    let world = database.world(1);
    world.found().await;
    for n in 1..=3 {
        world.tell(&world.story(n)).await;
    }
    let running = world.story(4);
    let stream = world.stream("interview", running.interview.0);
    world.append(&stream, world.opening(&running)).await;
    database.catch_up(MODELS).await;

    let day = noon() - TimeDelta::hours(12)..noon() + TimeDelta::hours(12);
    let counts = dashboard::counts(&database.reads, &world.all(), day.clone()).await;
    let counts = counts.expect("it can be counted");
    assert_eq!(counts.interviews[&Status::Completed], 3);
    assert_eq!(counts.interviews[&Status::InProgress], 1);
    assert_eq!(counts.interviews[&Status::NoShow], 0);
    assert_eq!(counts.applications[&ApplicationStatus::Interviewing], 3);
    assert_eq!(counts.verdicts[&verdicts::Status::Signed], 3);
    let today = Today { n_scheduled: 4, n_started: 4, n_completed: 3, n_signed: 3 };
    assert_eq!(counts.today, today);

    let tomorrow = day.end..day.end + TimeDelta::hours(24);
    let counts = dashboard::counts(&database.reads, &world.all(), tomorrow).await;
    assert_eq!(counts.expect("it can be counted").today, Today::default());
    let nobody = View { company: world.company(), scope: Scope::default() };
    let counts = dashboard::counts(&database.reads, &nobody, day).await;
    let counts = counts.expect("it can be counted");
    assert!(counts.interviews.values().chain(counts.jobs.values()).all(|n| *n == 0));

    let board =
        interviews::live_board(&database.reads, &world.all(), &PageRequest::default()).await;
    let board = board.expect("the board can be read");
    assert_eq!(board.edges.len(), 1);
    assert_eq!(board.edges[0].node.interview_id, running.interview);
}

#[tokio::test]
async fn lag_is_counted_in_events_and_seconds() {
    let database = Database::create().await;
    let world = database.world(1);
    let of = async || {
        let lags = lag::lag(&database.reads).await.expect("lag can be read");
        lags.into_iter().find(|lag| lag.model == "interviews").expect("it is listed")
    };
    assert_eq!((of().await.n_events, of().await.seconds), (0, 0.0));
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    world.append(&stream, world.interview_events(&story)).await;
    assert_eq!(of().await.n_events, 17);
    assert!((0.0..600.0).contains(&of().await.seconds));
    database.catch_up(&[interviews::MODEL]).await;
    assert_eq!((of().await.n_events, of().await.seconds), (0, 0.0));
}
