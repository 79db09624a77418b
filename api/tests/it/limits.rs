//! What a document may cost.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{Server, code, send};

async fn refused(server: &Server, query: &str, expected: &str) {
    let started = Instant::now();
    let (status, answer) = server.ask_as_ada(query).await;
    let start: String = query.chars().take(80).collect();
    assert_eq!((status, code(&answer)), (400, expected), "{start}: {answer}");
    // Expanded walks take minutes, so this holds on the slowest machine.
    assert!(started.elapsed() < Duration::from_secs(5), "{start}: {:?}", started.elapsed());
}

async fn taken(server: &Server, query: &str) {
    let (status, answer) = server.ask_as_ada(query).await;
    let start: String = query.chars().take(80).collect();
    assert_eq!((status, code(&answer)), (200, "no error"), "{start}: {answer}");
}

/// `depth` fields inside each other.
fn nested(depth: usize) -> String {
    let inner = depth - 2;
    format!("{{ node {}{{ name }}{} }}", "{ child ".repeat(inner), " }".repeat(inner))
}

fn aliases(n: usize) -> String {
    let fields: String = (0..n).map(|n| format!("a{n}: hello ")).collect();
    format!("{{ {fields} }}")
}

fn fields(n: usize) -> String {
    format!("{{ {} }}", "hello ".repeat(n))
}

#[tokio::test]
async fn depth_is_limited() {
    let server = Server::start().await;
    taken(&server, &nested(15)).await;
    refused(&server, &nested(16), "DOCUMENT_TOO_DEEP").await;
    let through_fragments = "{ node { ...A } } \
        fragment A on Node { child { child { child { child { ...B } } } } } \
        fragment B on Node { child { child { child { child { ...C } } } } } \
        fragment C on Node { child { child { child { child { ...D } } } } } \
        fragment D on Node { child { child { child { child { name } } } } }";
    refused(&server, through_fragments, "DOCUMENT_TOO_DEEP").await;
}

#[tokio::test]
async fn brackets_beyond_any_parser_are_refused_before_it() {
    let server = Server::start().await;
    for open in ["{", "[", "(", "{a", "{a(b:[", "{a(b:{c:", "{...{", "query($a:["] {
        refused(&server, &open.repeat(90_000 / open.len()), "DOCUMENT_TOO_DEEP").await;
    }
    let deep = format!("{{ hello(name: {}\"a\"{}) }}", "[".repeat(5_000), "]".repeat(5_000));
    refused(&server, &deep, "DOCUMENT_TOO_DEEP").await;
    // Brackets in texts and comments are only text.
    let text = "{".repeat(1_000);
    taken(&server, &format!("# {text}\n{{ hello(name: \"{text}\\\"{text}\") }}")).await;
    taken(&server, &format!("{{ hello(name: \"\"\"{text}\\\"\"\"{text}\"\"\") }}")).await;
}

#[tokio::test]
async fn nesting_of_selections_without_fields_is_limited() {
    let server = Server::start().await;
    let inline = format!("{{ {}hello{} }}", "... { ".repeat(35), " }".repeat(35));
    refused(&server, &inline, "DOCUMENT_TOO_DEEP").await;
    let chain: String =
        (0..1_000).map(|n| format!("fragment F{n} on Query {{ ...F{} }} ", n + 1)).collect();
    let chain = format!("{{ ...F0 }} {chain} fragment F1000 on Query {{ hello }}");
    refused(&server, &chain, "DOCUMENT_TOO_DEEP").await;
}

#[tokio::test]
async fn fields_are_counted_with_fragments_expanded() {
    let server = Server::start().await;
    taken(&server, &fields(500)).await;
    refused(&server, &fields(501), "DOCUMENT_TOO_MANY_FIELDS").await;
    let spread =
        format!("{{ {} }} fragment F on Query {{ {} }}", "...F ".repeat(51), "hello ".repeat(10));
    refused(&server, &spread, "DOCUMENT_TOO_MANY_FIELDS").await;
}

#[tokio::test]
async fn fragments_that_multiply_each_other_are_priced_at_once() {
    let server = Server::start().await;
    let levels: String = (0..6)
        .map(|n| {
            let spreads = format!("...F{} ", n + 1).repeat(10);
            format!("fragment F{n} on Query {{ {spreads} }} ")
        })
        .collect();
    let bomb = format!("{{ ...F0 }} {levels} fragment F6 on Query {{ hello }}");
    assert!(bomb.len() < 1_000);
    refused(&server, &bomb, "DOCUMENT_TOO_MANY_FIELDS").await;
    // Nor does it help to spread it nowhere.
    let unused = format!("{{ hello }} {levels} fragment F6 on Query {{ hello }}");
    refused(&server, &unused, "DOCUMENT_TOO_MANY_FIELDS").await;
    let wide: String =
        (0..25).map(|n| format!("fragment F{n} on Query {{ ...F{0} ...F{0} }} ", n + 1)).collect();
    let wide = format!("{{ ...F0 }} {wide} fragment F25 on Query {{ hello }}");
    refused(&server, &wide, "DOCUMENT_TOO_MANY_FIELDS").await;
}

#[tokio::test]
async fn aliases_are_limited() {
    let server = Server::start().await;
    taken(&server, &aliases(30)).await;
    refused(&server, &aliases(31), "DOCUMENT_TOO_MANY_ALIASES").await;
}

#[tokio::test]
async fn directives_are_limited() {
    let server = Server::start().await;
    let many = "@include(if: true) ".repeat(61);
    refused(&server, &format!("{{ hello {many} }}"), "DOCUMENT_TOO_MANY_DIRECTIVES").await;
    refused(&server, &format!("query {many} {{ hello }}"), "DOCUMENT_TOO_MANY_DIRECTIVES").await;
}

#[tokio::test]
async fn operations_are_limited() {
    let server = Server::start().await;
    let operations = |n| (0..n).map(|n| format!("query Q{n} {{ hello }} ")).collect::<String>();
    let ask = async |n: usize| {
        let body = json!({ "query": operations(n), "operationName": "Q0" }).to_string();
        send(server.post().body(body)).await
    };
    assert_eq!(ask(10).await.0, 200);
    let (status, answer) = ask(11).await;
    assert_eq!((status, code(&answer)), (400, "DOCUMENT_TOO_MANY_OPERATIONS"));
}

#[tokio::test]
async fn fragments_in_a_circle_are_refused() {
    let server = Server::start().await;
    for circle in [
        "{ node { ...A } } fragment A on Node { child { ...A } }",
        "{ node { ...A } } fragment A on Node { ...B } fragment B on Node { name ...A }",
        "{ hello } fragment A on Node { ... { ...A } }",
    ] {
        refused(&server, circle, "FRAGMENT_CYCLE").await;
    }
}

#[tokio::test]
async fn a_document_is_limited_in_bytes_and_tokens() {
    let server = Server::start().await;
    let comment = format!("{{ hello }} # {}", "x".repeat(100_000));
    refused(&server, &comment, "DOCUMENT_TOO_LARGE").await;
    refused(&server, &"!".repeat(20_000), "DOCUMENT_TOO_LARGE").await;
}

#[tokio::test]
async fn list_sizes_multiply_the_cost() {
    let server = Server::start().await;
    let lists = |outer: &str, inner: &str| {
        format!(
            "{{ nodes{outer} {{ edges {{ node {{ children{inner} {{ edges {{ node {{ name }} }} }} }} }} }} }}"
        )
    };
    taken(&server, &lists("(first: 10)", "(first: 10)")).await;
    taken(&server, &lists("", "(first: 20)")).await;
    refused(&server, &lists("(first: 100)", "(first: 100)"), "DOCUMENT_TOO_COSTLY").await;
    refused(&server, &lists("(first: 100)", ""), "DOCUMENT_TOO_COSTLY").await;
    refused(
        &server,
        "{ nodes(first: 2147483647) { edges { node { name } } } }",
        "DOCUMENT_TOO_COSTLY",
    )
    .await;

    let query = "query($n: Int = 5) { nodes(first: $n) { edges { node { name } } } }";
    let ask = async |variables| {
        let body = json!({ "query": query, "variables": variables }).to_string();
        send(server.post().body(body)).await
    };
    let (status, answer) = ask(json!({})).await;
    assert_eq!(status, 200);
    let cost = &answer["extensions"]["cost"];
    assert_eq!((&cost["requested"], &cost["allowed"]), (&json!(11), &json!(2000)));
    let (_, answer) = ask(json!({ "n": 5_000 })).await;
    assert_eq!(code(&answer), "DOCUMENT_TOO_COSTLY");
}

#[tokio::test]
async fn the_introspection_query_of_common_tools_is_within_the_limits() {
    let server = Server::start().await;
    taken(&server, include_str!("introspection.graphql")).await;
}
