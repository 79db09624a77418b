//! Every code that the rules can answer with has its entry in the table of public codes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use domain::claims::Kind;
use domain::codes::{ENTRIES, find};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The texts in upper snake case between `fn code(` and the end of that function.
fn codes_of(source: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for body in source.split("fn code(").skip(1) {
        // The body ends at the first line that closes a block less deep than its own.
        let body = body.split("\n    }\n").next().unwrap_or_default();
        let texts = body.split('"').skip(1).step_by(2);
        codes.extend(texts.filter(|text| is_code(text)).map(str::to_owned));
    }
    codes
}

fn is_code(text: &str) -> bool {
    text.contains('_')
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the rules do no input, their test reads the sources"
)]
fn every_code_of_the_rules_has_its_entry() {
    let mut files = vec![];
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut codes = BTreeSet::new();
    for file in files {
        codes.extend(codes_of(&std::fs::read_to_string(file).expect("a source")));
    }
    assert!(codes.len() > 50, "the codes were not found in the sources");
    let missing: Vec<_> = codes.iter().filter(|code| find(code).is_none()).collect();
    assert!(missing.is_empty(), "without an entry in domain/src/codes.rs: {missing:?}");
}

#[test]
fn every_claim_has_its_entry() {
    for kind in Kind::ALL {
        assert!(find(kind.code()).is_some(), "{}", kind.code());
    }
}

#[test]
fn the_codes_that_clients_have_always_known_keep_their_status() {
    let known = [
        ("AUTH_001", 401),
        ("AUTH_002", 401),
        ("AUTH_003", 403),
        ("AUTH_004", 401),
        ("CAND_001", 404),
        ("CAND_002", 409),
        ("INT_001", 404),
        ("INT_002", 400),
        ("INT_003", 409),
        ("JOB_001", 404),
        ("AI_001", 503),
        ("AI_002", 429),
        ("AUTH_REQUIRED", 401),
        ("INVALID_TOKEN", 401),
        ("ACCESS_DENIED", 403),
        ("NOT_FOUND", 404),
        ("VALIDATION_FAILED", 400),
        ("INTERNAL_ERROR", 500),
    ];
    for (code, status) in known {
        assert_eq!(find(code).map(|entry| entry.status), Some(status), "{code}");
    }
    assert!(ENTRIES.len() > known.len());
}
