//! How much may be asked: buckets that all replicas share, by the database's clock.

use std::net::IpAddr;
use std::time::Duration;

use identity::rate_limits::{Class, Limited, Rate, RateLimits, Rates, Subject};

use crate::*;

const MINE: Subject<'static> = Subject::Company(CompanyId(Uuid::from_u128(7)));
const HOUR: u32 = 3600;

/// A replica whose every class has this rate.
fn replica(w: &World, rate: Rate) -> RateLimits {
    RateLimits::new(w.wall.clone(), w.bus.clone(), Rates::of(|_| rate))
}

/// Lets the database's time pass for all buckets.
async fn pass(w: &World, seconds: i32) {
    sqlx::query("update identity.rate_bucket set full_at = full_at - $1 * interval '1 second'")
        .bind(seconds)
        .execute(&w.database.pool)
        .await
        .expect("updated");
}

async fn n_rows(w: &World) -> i64 {
    let counting = sqlx::query_scalar("select count(*) from identity.rate_bucket");
    counting.fetch_one(&w.database.pool).await.expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_at_once_on_two_replicas_exactly_the_limit_passes() {
    let w = World::new().await;
    // Requests are taken from the shared bucket in advance, attempts to sign in one by one.
    for class in [Class::User, Class::SignInAccount] {
        let replicas = [(); 2].map(|()| replica(&w, Rate::new(100, 10 * HOUR)));
        let takes = (0..200).map(|n| {
            let replica = replicas[n % 2].clone();
            async move { replica.take(class, MINE, 1).await.is_ok() }
        });
        let passed = futures::future::join_all(takes).await;
        assert_eq!(passed.into_iter().filter(|passed| *passed).count(), 100, "{class:?}");
    }
}

#[tokio::test]
async fn a_bucket_gives_all_that_is_asked_for_or_nothing_and_refills_evenly() {
    let w = World::new().await;
    let rate = Rate::new(10, HOUR);
    let fresh = || replica(&w, rate);
    let n_left = async || {
        let stands = fresh().look(&[(Class::Ai, MINE)]).await.expect("the database answers");
        stands[0].remaining
    };
    assert_eq!(n_left().await, 10);
    let standing = fresh().take(Class::Ai, MINE, 7).await.expect("there").expect("counted");
    assert_eq!((standing.remaining, standing.rate), (3, rate));
    let full_in = standing.full_in.as_secs();
    assert!((7 * 360 - 5..=7 * 360).contains(&full_in), "{full_in}");
    let refused = fresh().take(Class::Ai, MINE, 4).await.expect_err("three are left");
    let Limited::TooMany { class: Class::Ai, wait, .. } = refused else { panic!("{refused:?}") };
    assert!(wait <= Duration::from_secs(360) && wait > Duration::from_secs(350), "{wait:?}");
    assert_eq!(n_left().await, 3, "who is refused takes nothing");
    pass(&w, 2 * 360).await;
    assert_eq!(n_left().await, 5);
    fresh().take(Class::Ai, MINE, 5).await.expect("there");
    pass(&w, 100 * HOUR as i32).await;
    assert_eq!(n_left().await, 10, "never more than full");
    fresh().take(Class::Ai, MINE, 10).await.expect("there");
    assert_eq!(n_left().await, 0);
    let never = fresh().take(Class::Ai, MINE, 11).await.expect_err("more than it ever holds");
    assert!(matches!(never, Limited::TooMany { wait, .. } if wait == rate.per()), "{never:?}");
}

#[tokio::test]
async fn classes_and_subjects_have_buckets_of_their_own() {
    let w = World::new().await;
    let limits = replica(&w, Rate::new(1, HOUR));
    let address = |text: &str| Subject::Address(Some(text.parse::<IpAddr>().expect("an address")));
    let subjects = [
        MINE,
        Subject::Company(CompanyId(Uuid::from_u128(8))),
        Subject::Named("ada@acme.example"),
        address("192.0.2.1"),
        address("2001:db8::1"),
        Subject::Address(None),
    ];
    for subject in subjects {
        for class in Class::ALL {
            limits.take(class, subject, 1).await.expect("a bucket of its own");
            assert!(limits.take(class, subject, 1).await.is_err(), "{class:?} {subject:?}");
        }
    }
    assert!(limits.take(Class::User, address("2001:db8::2"), 1).await.is_err(), "one network");
    let kept: Vec<Vec<u8>> = sqlx::query_scalar("select bucket_key from identity.rate_bucket")
        .fetch_all(&w.database.pool)
        .await
        .expect("read");
    assert_eq!(kept.len(), subjects.len() * Class::ALL.len());
    let other = World::new().await;
    replica(&other, Rate::new(1, HOUR)).take(Class::User, MINE, 1).await.expect("there");
    let elsewhere: Vec<u8> = sqlx::query_scalar("select bucket_key from identity.rate_bucket")
        .fetch_one(&other.database.pool)
        .await
        .expect("read");
    assert!(!kept.contains(&elsewhere), "a key says nothing without the installation's secret");
}

#[tokio::test]
async fn what_is_not_limited_is_not_counted() {
    let w = World::new().await;
    let limits = replica(&w, Rate::OFF);
    for class in Class::ALL {
        assert_eq!(limits.take(class, MINE, 1000).await, Ok(None));
        assert_eq!(limits.look(&[(class, MINE)]).await, Ok(vec![]));
    }
    assert_eq!(n_rows(&w).await, 0);
}

#[tokio::test]
async fn buckets_that_are_full_again_are_forgotten() {
    let w = World::new().await;
    let limits = replica(&w, Rate::new(10, HOUR));
    for n in 0..1500_u32 {
        let subject = Subject::Company(CompanyId(Uuid::from_u128(n.into())));
        limits.take(Class::Ai, subject, 1).await.expect("there");
    }
    pass(&w, 361).await;
    limits.take(Class::Ai, Subject::Named("now"), 1).await.expect("there");
    identity::outbox::drain(&w.wall, &w.bus).await.expect("drained");
    assert_eq!(n_rows(&w).await, 501, "a bounded piece at a time");
    identity::outbox::drain(&w.wall, &w.bus).await.expect("drained");
    assert_eq!(n_rows(&w).await, 1);
}

#[tokio::test]
async fn while_nobody_can_count_requests_pass_and_attempts_to_sign_in_do_not() {
    let w = World::new().await;
    let limits = replica(&w, Rate::new(1, HOUR));
    sqlx::query("alter table identity.rate_bucket rename to away")
        .execute(&w.database.pool)
        .await
        .expect("renamed");
    for class in Class::ALL {
        let taken = limits.take(class, MINE, 1).await;
        match class {
            Class::User | Class::Company | Class::Anonymous | Class::Socket => {
                assert_eq!(taken, Ok(None), "{class:?}");
            }
            _ => assert_eq!(taken, Err(Limited::Unavailable), "{class:?}"),
        }
    }
}
