//! Documents that are small to write and large to carry out.

use std::fmt::Write;

use serde_json::json;

use super::Stage;

/// Writes a piece for each number.
fn many(n: usize, piece: impl Fn(usize) -> String) -> String {
    (0..n).fold(String::new(), |mut text, i| {
        let _ = write!(text, "{}", piece(i));
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_cost_more_than_they_look_are_refused_before_they_run() {
    let stage = Stage::set().await;
    let nested = |n: usize, open: &str, close: &str| open.repeat(n) + &close.repeat(n);
    let spread = |depth: usize| {
        // Each of ten fragments spreads all ten of the next level.
        let level = |level: usize| {
            many(10, |i| {
                let next = match level + 1 < depth {
                    true => many(10, |j| format!("...f{}x{j} ", level + 1)),
                    false => "__typename".to_owned(),
                };
                format!("fragment f{level}x{i} on Query {{ {next} }} ")
            })
        };
        let all = (0..depth).map(level).collect::<String>();
        format!("{{ {} }} {all}", many(10, |i| format!("...f0x{i} ")))
    };
    let cases: Vec<(&str, String, &[&str])> = vec![
        (
            "10,000 aliases",
            format!("{{ {} }}", many(10_000, |i| format!("a{i}:__typename "))),
            &["DOCUMENT_TOO_LARGE"],
        ),
        (
            "4,000 aliases",
            format!("{{ {} }}", many(4_000, |i| format!("a{i}:__typename "))),
            &["DOCUMENT_TOO_MANY_FIELDS"],
        ),
        (
            "5,000 directives",
            format!("{{ __typename {} }}", "@a ".repeat(5_000)),
            &["DOCUMENT_TOO_MANY_DIRECTIVES"],
        ),
        (
            "5,000 directives on the operation",
            format!("query {} {{ __typename }}", "@a ".repeat(5_000)),
            &["DOCUMENT_TOO_MANY_DIRECTIVES"],
        ),
        (
            "depth 500",
            format!("{}__typename{}", "{ viewer ".repeat(500), "}".repeat(500)),
            &["DOCUMENT_TOO_DEEP"],
        ),
        (
            "depth 30 in inline fragments",
            format!("{}__typename{}", "{ ... ".repeat(39), "}".repeat(39)),
            &["DOCUMENT_TOO_DEEP"],
        ),
        (
            "a fragment of itself",
            "{ ...a } fragment a on Query { ...a }".to_owned(),
            &["FRAGMENT_CYCLE"],
        ),
        (
            "three fragments in a ring",
            "{ ...a } fragment a on Query { ...b } fragment b on Query { ...c } \
             fragment c on Query { ... { ...a } }"
                .to_owned(),
            &["FRAGMENT_CYCLE"],
        ),
        (
            "a ring that nothing spreads",
            "{ __typename } fragment a on Query { ...b } fragment b on Query { ...a }".to_owned(),
            &["FRAGMENT_CYCLE"],
        ),
        ("ten fragments, two deep", spread(3), &["DOCUMENT_TOO_MANY_FIELDS"]),
        ("ten fragments, seven deep", spread(7), &["DOCUMENT_TOO_MANY_FIELDS"]),
        (
            "1,000 brackets of lists",
            format!("{{ nodes(ids: {}) {{ id }} }}", nested(1_000, "[", "]")),
            &["DOCUMENT_TOO_DEEP"],
        ),
        (
            "1,000 brackets of objects",
            format!("{{ jobs(filter: {}) {{ totalCount }} }}", nested(1_000, "{a:", "}")),
            &["DOCUMENT_TOO_DEEP"],
        ),
        ("1,000 parentheses", nested(1_000, "(", ")"), &["DOCUMENT_TOO_DEEP"]),
        ("10,000 open braces", "{".repeat(10_000), &["DOCUMENT_TOO_DEEP"]),
        (
            "1,000 brackets of a type",
            format!("query($a: {}) {{ __typename }}", nested(1_000, "[", "]")),
            &["DOCUMENT_TOO_DEEP"],
        ),
        (
            "1,000 operations",
            many(1_000, |i| format!("query q{i} {{ __typename }} ")),
            &["DOCUMENT_TOO_MANY_OPERATIONS"],
        ),
        (
            "900 kB of comments",
            format!("{}{{ __typename }}", "# text\n".repeat(130_000)),
            &["DOCUMENT_TOO_LARGE"],
        ),
        (
            "5 MB of comments",
            format!("{}{{ __typename }}", "# text\n".repeat(750_000)),
            &["REQUEST_TOO_LARGE"],
        ),
        (
            "90 kB of commas",
            format!("{{ {} nothing }}", ",".repeat(90_000)),
            &["GRAPHQL_VALIDATION_FAILED"],
        ),
        (
            "3,000 variables",
            format!("query({}) {{ __typename }}", many(3_000, |i| format!("$a{i}:Int "))),
            &["GRAPHQL_VALIDATION_FAILED"],
        ),
        (
            "600 fields",
            format!("{{ {} }}", "__typename ".repeat(600)),
            &["DOCUMENT_TOO_MANY_FIELDS"],
        ),
        (
            "lists in lists in lists",
            "{ candidates(first: 100) { nodes { applications { interviews { \
             transcript(first: 100) { nodes { id } } } } } } }"
                .to_owned(),
            &["DOCUMENT_TOO_COSTLY"],
        ),
        (
            "a page of a million",
            "{ jobs(first: 1000000) { nodes { id } } }".to_owned(),
            &["DOCUMENT_TOO_COSTLY"],
        ),
        (
            "a text without an end",
            "{ node(id: \"abc) { id } }".to_owned(),
            &["GRAPHQL_PARSE_FAILED"],
        ),
        (
            "a block without an end",
            "{ node(id: \"\"\"abc) { id } }".to_owned(),
            &["GRAPHQL_PARSE_FAILED"],
        ),
        (
            "a number of 50,000 digits",
            format!("{{ jobs(first: {}) {{ totalCount }} }}", "9".repeat(50_000)),
            &["GRAPHQL_PARSE_FAILED"],
        ),
        ("a definition of a type", "type A { b: Int }".to_owned(), &["GRAPHQL_PARSE_FAILED"]),
    ];
    let mut others = vec![];
    for who in [&stage.ours.hr, &stage.ours.hr.stranger()] {
        for (what, document, codes) in &cases {
            let answer = stage.timed(who, document).await;
            if !answer.as_ref().is_err_and(|r| codes.contains(&r.code.as_str())) {
                others.push(format!("{what}: {answer:?}"));
                continue;
            }
            stage.refused(&format!("a document: {what}"), &answer, codes).await;
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
