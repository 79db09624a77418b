//! Documents that are small to write and large to carry out.

use std::fmt::Write;

/// Writes a piece for each number.
fn many(n: usize, piece: impl Fn(usize) -> String) -> String {
    (0..n).fold(String::new(), |mut text, i| {
        let _ = write!(text, "{}", piece(i));
        text
    })
}

/// What it is, its text, and the code it is refused with, whoever asks.
pub fn all() -> Vec<(&'static str, String, &'static str)> {
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
    vec![
        (
            "10,000 aliases",
            format!("{{ {} }}", many(10_000, |i| format!("a{i}:__typename "))),
            "DOCUMENT_TOO_LARGE",
        ),
        (
            "4,000 aliases",
            format!("{{ {} }}", many(4_000, |i| format!("a{i}:__typename "))),
            "DOCUMENT_TOO_MANY_FIELDS",
        ),
        (
            "5,000 directives",
            format!("{{ __typename {} }}", "@a ".repeat(5_000)),
            "DOCUMENT_TOO_MANY_DIRECTIVES",
        ),
        (
            "5,000 directives on the operation",
            format!("query {} {{ __typename }}", "@a ".repeat(5_000)),
            "DOCUMENT_TOO_MANY_DIRECTIVES",
        ),
        (
            "depth 500",
            format!("{}__typename{}", "{ viewer ".repeat(500), "}".repeat(500)),
            "DOCUMENT_TOO_DEEP",
        ),
        (
            "depth 30 in inline fragments",
            format!("{}__typename{}", "{ ... ".repeat(39), "}".repeat(39)),
            "DOCUMENT_TOO_DEEP",
        ),
        (
            "a fragment of itself",
            "{ ...a } fragment a on Query { ...a }".to_owned(),
            "FRAGMENT_CYCLE",
        ),
        (
            "three fragments in a ring",
            "{ ...a } fragment a on Query { ...b } fragment b on Query { ...c } \
             fragment c on Query { ... { ...a } }"
                .to_owned(),
            "FRAGMENT_CYCLE",
        ),
        (
            "a ring that nothing spreads",
            "{ __typename } fragment a on Query { ...b } fragment b on Query { ...a }".to_owned(),
            "FRAGMENT_CYCLE",
        ),
        ("ten fragments, two deep", spread(3), "DOCUMENT_TOO_MANY_FIELDS"),
        ("ten fragments, seven deep", spread(7), "DOCUMENT_TOO_MANY_FIELDS"),
        (
            "1,000 brackets of lists",
            format!("{{ nodes(ids: {}) {{ id }} }}", nested(1_000, "[", "]")),
            "DOCUMENT_TOO_DEEP",
        ),
        (
            "1,000 brackets of objects",
            format!("{{ jobs(filter: {}) {{ totalCount }} }}", nested(1_000, "{a:", "}")),
            "DOCUMENT_TOO_DEEP",
        ),
        ("1,000 parentheses", nested(1_000, "(", ")"), "DOCUMENT_TOO_DEEP"),
        ("10,000 open braces", "{".repeat(10_000), "DOCUMENT_TOO_DEEP"),
        (
            "1,000 brackets of a type",
            format!("query($a: {}) {{ __typename }}", nested(1_000, "[", "]")),
            "DOCUMENT_TOO_DEEP",
        ),
        (
            "1,000 operations",
            many(1_000, |i| format!("query q{i} {{ __typename }} ")),
            "DOCUMENT_TOO_MANY_OPERATIONS",
        ),
        (
            "900 kB of comments",
            format!("{}{{ __typename }}", "# text\n".repeat(130_000)),
            "DOCUMENT_TOO_LARGE",
        ),
        (
            "5 MB of comments",
            format!("{}{{ __typename }}", "# text\n".repeat(750_000)),
            "REQUEST_TOO_LARGE",
        ),
        (
            "90 kB of commas",
            format!("{{ {} nothing }}", ",".repeat(90_000)),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "3,000 variables",
            format!("query({}) {{ __typename }}", many(3_000, |i| format!("$a{i}:Int "))),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("600 fields", format!("{{ {} }}", "__typename ".repeat(600)), "DOCUMENT_TOO_MANY_FIELDS"),
        (
            "lists in lists in lists",
            "{ candidates(first: 100) { nodes { applications { interviews { \
             transcript(first: 100) { nodes { id } } } } } } }"
                .to_owned(),
            "DOCUMENT_TOO_COSTLY",
        ),
        (
            "a page of a million",
            "{ jobs(first: 1000000) { nodes { id } } }".to_owned(),
            "DOCUMENT_TOO_COSTLY",
        ),
        ("a text without an end", "{ node(id: \"abc) { id } }".to_owned(), "GRAPHQL_PARSE_FAILED"),
        (
            "a block without an end",
            "{ node(id: \"\"\"abc) { id } }".to_owned(),
            "GRAPHQL_PARSE_FAILED",
        ),
        (
            "a number of 50,000 digits",
            format!("{{ jobs(first: {}) {{ totalCount }} }}", "9".repeat(50_000)),
            "GRAPHQL_PARSE_FAILED",
        ),
        ("a definition of a type", "type A { b: Int }".to_owned(), "GRAPHQL_PARSE_FAILED"),
    ]
}
