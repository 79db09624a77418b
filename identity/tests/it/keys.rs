//! Keys that access tokens are signed with: made, published, and retired.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::keys::{self, RotationError};
use serde_json::Value;

use super::*;

/// The key a token names.
fn named(token: &SecretString) -> String {
    let head = token.expose_secret().split('.').next().expect("a head").to_owned();
    let head: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).expect("base64")).expect("JSON");
    head["kid"].as_str().expect("a key").to_owned()
}

async fn published(identity: &Identity) -> Vec<String> {
    let keys = identity.jwks().await.expect("keys");
    let keys = keys["keys"].as_array().expect("a set");
    keys.iter().map(|key| key["kid"].as_str().expect("an id").to_owned()).collect()
}

/// Lets the keys be as if they had been made so much earlier.
async fn later(w: &World, minutes: i32) {
    let earlier = "update identity.signing_key
                      set created_at = created_at - make_interval(mins => $1)";
    sqlx::query(earlier).bind(minutes).execute(&w.database.pool).await.expect("moved");
}

#[tokio::test]
async fn a_new_key_is_published_for_five_minutes_before_it_signs() {
    let w = World::new().await;
    let (_, before) = w.admin().await;
    later(&w, 60).await;
    assert_eq!(keys::rotate(&w.wall).await.expect("made").number, 2);
    let replica = w.replica().await;
    assert_eq!(published(&replica).await, ["k1", "k2"]);
    let signed_in = async |identity: &Identity| {
        let session = identity.sign_in("ada@acme.example", password(), &anywhere()).await;
        session.expect("signed in")
    };
    assert_eq!(named(&signed_in(&replica).await.access_token), "k1");
    later(&w, 5).await;
    let replica = w.replica().await;
    assert_eq!(named(&signed_in(&replica).await.access_token), "k2");
    let old = before.access_token.expose_secret();
    assert!(replica.verify(old).await.is_ok(), "a token of the key before still runs");
}

#[tokio::test]
async fn a_retired_key_opens_nothing_anywhere_within_a_second() {
    let w = World::new().await;
    let (_, before) = w.admin().await;
    let wall = &w.wall;
    keys::rotate(wall).await.expect("made");
    let replica = w.replica().await;
    let token = before.access_token.expose_secret();
    assert!(replica.verify(token).await.is_ok());
    keys::retire(wall, 1, true).await.expect("cut off");
    let since = std::time::Instant::now();
    loop {
        let asked_after = since.elapsed();
        if replica.verify(token).await.is_err() {
            break;
        }
        assert!(asked_after < Duration::from_secs(1), "still let in");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(published(&w.replica().await).await, ["k2"]);
}

#[tokio::test]
async fn a_key_is_kept_for_as_long_as_a_token_of_its_may_run() {
    let w = World::new().await;
    let wall = &w.wall;
    let retired = async |number| keys::retire(wall, number, false).await;
    assert!(matches!(retired(1).await, Err(RotationError::LastKey)));
    assert!(matches!(keys::retire(wall, 1, true).await, Err(RotationError::LastKey)));
    assert!(matches!(retired(7).await, Err(RotationError::NoKey)));
    keys::rotate(wall).await.expect("made");
    assert!(matches!(retired(1).await, Err(RotationError::Signs)), "the other is too young");
    later(&w, 65).await;
    assert!(matches!(retired(1).await, Err(RotationError::InUse(_))));
    assert!(matches!(retired(2).await, Err(RotationError::Signs)));
    later(&w, 2).await;
    retired(1).await.expect("no token of its runs any more");
    assert!(matches!(retired(1).await, Err(RotationError::NoKey)));
}
