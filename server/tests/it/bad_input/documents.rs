//! Documents that cost more than they look, and pages that there are not.

use serde_json::json;

use super::Stage;
use crate::costly;

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_cost_more_than_they_look_are_refused_before_they_run() {
    let stage = Stage::set().await;
    let mut others = vec![];
    for who in [&stage.ours.hr, &stage.ours.hr.stranger()] {
        for (what, document, code) in costly::all() {
            let answer = stage.timed(who, &document).await;
            if !answer.as_ref().is_err_and(|refused| refused.code == code) {
                others.push(format!("{what}: {answer:?}"));
                continue;
            }
            stage.refused(&format!("a document: {what}"), &answer, &[code]).await;
        }
    }
    assert!(others.is_empty(), "{others:#?}");
    // Who may not read the schema cannot guess it by mistakes that are close to it.
    let close = "{ job { nodes { id } } viewers { __typename } }";
    let answer = stage.timed(&stage.ours.hr.stranger(), close).await;
    let refused = answer.expect_err("it went through");
    assert!(!refused.message.contains("Did you mean"), "{}", refused.message);
    stage.lived();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_asked_for_by_what_their_list_gave_and_by_sizes_that_there_are() {
    let stage = Stage::set().await;
    let hr = &stage.ours.hr;
    stage.ours.apply(&stage.job, "Mira").await;
    stage.ours.apply(&stage.job, "Noor").await;
    let other = stage.theirs.open_job().await;
    stage.world.until_projected().await;
    let of = async |who: &crate::client::Client, list: &str| {
        let document = format!("{{ {list}(first: 1) {{ edges {{ cursor }} }} }}");
        let found = who.query(&document, json!({})).await;
        found[list]["edges"][0]["cursor"].as_str().expect("a cursor").to_owned()
    };
    let round = stage.ours.schedule(&stage.job, "Lena").await;
    stage.world.until_projected().await;
    let both = "query($id: ID!) { interview(id: $id) { transcript(first: 1, last: 1) {
        totalCount } } }";
    stage.ask(hr, both, json!({ "id": round.id }), &["PAGE_INVALID"]).await;
    let good = of(hr, "jobs").await;
    let theirs = of(&stage.theirs.hr, "jobs").await;
    let page = "query($after: String) { jobs(first: 1, after: $after) { edges { cursor } } }";
    let mut cursors = vec![
        ("of another list", of(hr, "candidates").await),
        ("of another company", theirs),
        ("cut", good[..good.len() - 4].to_owned()),
        ("cut to a byte", good[..2].to_owned()),
        ("doubled", good.repeat(2)),
        ("with its first letter changed", format!("B{}", &good[1..])),
        ("with NUL", "\0".to_owned()),
        ("of 100 kB", "A".repeat(100_000)),
        ("that is an id", other),
        ("of SQL", "' or 1=1 --".to_owned()),
    ];
    let middle = good.len() / 2;
    let flipped = if good.as_bytes()[middle] == b'A' { "B" } else { "A" };
    cursors.push(("damaged", format!("{}{flipped}{}", &good[..middle], &good[middle + 1..])));
    for (what, cursor) in cursors {
        let answer = hr.try_ask(page, &json!({ "after": cursor })).await.expect("an answer");
        let code = if what == "with NUL" { "INVALID_TEXT" } else { "CURSOR_INVALID" };
        stage.refused(&format!("a cursor: {what}"), &answer, &[code]).await;
    }
    for (first, code) in [
        ("0", "PAGE_INVALID"),
        ("-1", "PAGE_INVALID"),
        ("101", "PAGE_INVALID"),
        ("1000000", "DOCUMENT_TOO_COSTLY"),
        ("2147483648", "DOCUMENT_TOO_COSTLY"),
        ("-9223372036854775809", "BAD_USER_INPUT"),
        ("1.5", "BAD_USER_INPUT"),
        ("\"1\"", "BAD_USER_INPUT"),
    ] {
        let document = format!("{{ jobs(first: {first}) {{ nodes {{ id }} }} }}");
        let answer = stage.timed(hr, &document).await;
        stage.refused(&format!("a page: first {first}"), &answer, &[code]).await;
    }
    stage.lived();
}
