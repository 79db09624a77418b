//! What it costs that reads of persons' data are recorded before they are shown.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Plan;
use crate::client::{Client, text};
use crate::job::Company;
use crate::report::percentiles;
use crate::world::World;

/// Shows nothing personal, so that nothing is recorded; reads the same row.
const BARE: &str = "query($id: ID!) { candidate(id: $id) { id status version } }";
const NAMED: &str = "query($id: ID!) { candidate(id: $id) { id fullName email } }";

async fn timed(who: &Client, document: &str, id: &str) -> Duration {
    let began_at = Instant::now();
    who.query(document, json!({ "id": id })).await;
    began_at.elapsed()
}

fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// One candidate's record, not recorded, opened for the first time, and opened again, by turns, so that
/// all three meet the same conditions. One client without a pause.
pub async fn are_recorded(plan: &Plan, world: &World, company: &Company) -> String {
    let n_candidates = if plan.is_whole { 500 } else { 20 };
    let mut ids = vec![];
    for n in 0..n_candidates {
        let input = json!({ "fullName": "Mira Stone", "email": format!("m{n}@mail.example") });
        let made = company.hr.carry_out("createCandidate", input, "candidate { id }").await;
        ids.push(text(&made, "/candidate/id").to_owned());
    }
    world.until_projected().await;
    let before = world.log_of("access").await.len();
    let (mut bare, mut first, mut again) = (vec![], vec![], vec![]);
    for id in &ids {
        bare.push(timed(&company.viewer, BARE, id).await);
        first.push(timed(&company.viewer, NAMED, id).await);
        again.push(timed(&company.viewer, NAMED, id).await);
    }
    let recorded = world.log_of("access").await.len() - before;
    assert_eq!(recorded, n_candidates, "one record of each that was opened");
    let listed: Value =
        company.viewer.query("{ candidates { nodes { fullName } } }", json!({})).await;
    assert!(listed["candidates"]["nodes"].as_array().is_some_and(|nodes| !nodes.is_empty()));
    assert_eq!(world.log_of("access").await.len() - before, recorded, "all of them were known");
    let (without, with, known) = (median(&bare), median(&first), median(&again));
    format!(
        "reads recorded: of {n_candidates} candidates, each opened without what is personal: {}; \
         for the first time, recorded: {}, **{:.2}** of it by the median; again: {}, **{:.2}** of it",
        percentiles(bare),
        percentiles(first),
        with / without,
        percentiles(again),
        known / without,
    )
}
