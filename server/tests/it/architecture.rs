//! Who may depend on whom. A new edge needs a line here, and with it a reason.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::world::root;

/// Our crates, and which of ours each is built on.
const OURS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("eventlog", &["domain"]),
    ("commands", &["domain", "eventlog"]),
    ("projections", &["domain", "eventlog"]),
    ("reactors", &["commands", "domain", "eventlog"]),
    ("identity", &["commands", "domain", "eventlog"]),
    ("api", &["commands", "domain", "identity", "projections"]),
    ("server", &["api", "commands", "domain", "eventlog", "identity", "projections", "reactors"]),
];

/// Outside crates that mark a layer, and all crates of ours that use them.
const OUTSIDE: &[(&str, &[&str])] = &[
    // What the product is run with, and set up from.
    ("clap", &["server"]),
    ("figment", &["server"]),
    ("indicatif", &["server"]),
    ("metrics-exporter-prometheus", &["server"]),
    ("nix", &["server"]),
    ("parquet", &["server"]),
    ("tracing-subscriber", &["server"]),
    // What is stored: the log, what is kept beside it, and the private server. Topics are written and
    // fed from in the log alone; the demo reads one as any consumer does.
    ("sqlx", &["eventlog", "identity", "projections", "server"]),
    ("kurrentdb", &["eventlog"]),
    ("rdkafka", &["eventlog", "server"]),
    ("object_store", &["eventlog", "server"]),
    // The edge. The server joins its routers and plays the demo through them.
    ("async-graphql", &["api"]),
    ("axum", &["api", "server"]),
    ("hyper", &["server"]),
    ("hyper-util", &["server"]),
    ("tower-http", &["api"]),
    ("tokio-tungstenite", &["server"]),
    ("reqwest", &["reactors", "server"]),
    ("lettre", &["server"]),
    // Keys: of persons, of sessions, of what is shown once.
    ("aes-gcm", &["eventlog"]),
    ("argon2", &["identity"]),
    ("bcrypt", &["identity"]),
    ("hmac", &["commands", "eventlog"]),
    ("jsonwebtoken", &["identity"]),
    ("totp-rs", &["identity"]),
    // Documents of candidates, and what models answer.
    ("jsonschema", &["reactors"]),
    ("pdf-extract", &["reactors"]),
    ("quick-xml", &["reactors"]),
    ("zip", &["reactors"]),
    // What waits for something, which rules never do.
    ("async-trait", &["eventlog", "identity", "projections", "reactors", "server"]),
    ("futures", &["api", "eventlog", "projections", "reactors", "server"]),
    ("tokio", &["api", "commands", "eventlog", "identity", "projections", "reactors", "server"]),
    ("tracing", &["api", "commands", "eventlog", "identity", "projections", "reactors", "server"]),
];

/// All that the rules are made with; what stands behind a feature is marked.
const OF_THE_RULES: &[&str] =
    &["chrono", "schemars (optional)", "serde", "serde_json (optional)", "thiserror", "uuid"];

fn packages() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    metadata.packages
}

/// Names of a crate's dependencies in the product.
fn used(package: &Package) -> BTreeSet<String> {
    let in_product = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
    in_product.map(|dependency| dependency.name.clone()).collect()
}

#[test]
fn our_crates_depend_on_each_other_only_as_the_table_says() {
    let names: BTreeSet<&str> = OURS.iter().map(|(name, _)| *name).collect();
    let found: BTreeMap<String, BTreeSet<String>> = packages()
        .iter()
        .map(|package| {
            let mut ours = used(package);
            ours.retain(|name| names.contains(name.as_str()));
            (package.name.to_string(), ours)
        })
        .collect();
    let expected: BTreeMap<String, BTreeSet<String>> = OURS
        .iter()
        .map(|(name, uses)| ((*name).to_owned(), uses.iter().map(ToString::to_string).collect()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_table_lets_nobody_depend_on_what_stands_above() {
    for (i, (name, uses)) in OURS.iter().enumerate() {
        let below: BTreeSet<&str> = OURS[..i].iter().map(|(name, _)| *name).collect();
        assert!(uses.iter().all(|used| below.contains(used)), "{name} looks up");
    }
}

#[test]
fn outside_crates_that_mark_a_layer_stay_in_it() {
    let packages = packages();
    for (outside, users) in OUTSIDE {
        let found: BTreeSet<&str> = packages
            .iter()
            .filter(|package| used(package).contains(*outside))
            .map(|package| package.name.as_str())
            .collect();
        assert_eq!(found, users.iter().copied().collect(), "who uses {outside}");
    }
}

#[test]
fn the_rules_are_made_without_clock_chance_network_or_waiting() {
    let packages = packages();
    let domain = packages.iter().find(|p| p.name.as_str() == "domain").expect("the rules");
    let in_product = domain.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
    let found: Vec<String> = in_product
        .map(|used| format!("{}{}", used.name, if used.optional { " (optional)" } else { "" }))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    assert_eq!(found, OF_THE_RULES);
    for dependency in &domain.dependencies {
        let clock_or_chance = ["clock", "now", "v4", "v7"];
        let features: Vec<_> =
            dependency.features.iter().filter(|f| clock_or_chance.contains(&f.as_str())).collect();
        assert!(features.is_empty(), "{} has {features:?}", dependency.name);
    }
}

#[test]
fn tests_of_lower_crates_do_not_reach_for_upper_ones() {
    let order: Vec<&str> = OURS.iter().map(|(name, _)| *name).collect();
    let rank = |name: &str| order.iter().position(|known| *known == name);
    for package in packages() {
        for dependency in &package.dependencies {
            if let Some(used) = rank(&dependency.name) {
                let user = rank(&package.name).expect("a crate of the table");
                assert!(used <= user, "{} tests with {}", package.name, dependency.name);
            }
        }
    }
}
