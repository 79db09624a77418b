//! The settings and the program's arguments.

use std::collections::BTreeMap;

use serde_json::Value;
use server::config::Config;

use crate::process::{colloquy, run};
use crate::world::root;

/// Every key with its value; an empty table counts as a key.
fn leaves(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(member, &path, found);
            }
        }
        value => {
            found.insert(path.to_owned(), value.clone());
        }
    }
}

fn keys(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    leaves(value, "", &mut found);
    found
}

fn example() -> String {
    std::fs::read_to_string(root().join("deploy/config.example.toml")).expect("the example")
}

/// The program's answer to `doctor` with this settings file and environment.
async fn doctor(settings: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("colloquy.toml");
    std::fs::write(&file, settings).expect("written");
    let mut command = colloquy();
    command.arg("doctor").arg("--config").arg(&file).env("COLLOQUY_DATA_DIR", folder.path());
    command.envs(environment.iter().copied());
    let (code, said) = run(command).await;
    (code.success(), said)
}

#[test]
fn the_example_lists_every_setting_with_its_default() {
    let example: Value = toml::from_str(&example()).expect("TOML");
    let defaults = serde_json::to_value(Config::default()).expect("JSON");
    assert_eq!(keys(&example), keys(&defaults));
}

#[test]
fn the_settings_shown_as_a_comment_can_be_set() {
    let uncommented: String = example()
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let config: Config = toml::from_str(&uncommented).expect("settings");
    assert_eq!(config.ai.openai.len(), 1, "{uncommented}");
}

fn is_setting(text: &str) -> bool {
    text.starts_with('[') || text.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
}

#[tokio::test]
async fn an_unknown_key_is_refused_by_its_name_and_wrong_values_are_not_shown() {
    for (settings, named) in [
        ("[htpp]\nlisten = \"127.0.0.1:1\"", "htpp"),
        ("[http]\nlisten_on = \"127.0.0.1:1\"", "listen_on"),
        ("[log]\nformat = \"xml\"", "log.format"),
        ("[database]\nmax_connections = \"hidden-value\"", "database.max_connections"),
    ] {
        let (passed, said) = doctor(settings, &[]).await;
        assert!(!passed, "{settings} was taken");
        assert!(said.contains(named), "{settings}: {said}");
        assert!(!said.contains("hidden-value"), "{said}");
    }
    let (passed, said) = doctor("", &[("COLLOQUY_HTTP__LISTEN_ON", "127.0.0.1:1")]).await;
    assert!(!passed && said.contains("listen_on"), "{said}");
}

#[tokio::test]
async fn the_environment_is_stronger_than_the_file() {
    let wrong = "[log]\nformat = \"text\"\n[ai]\nproviders = [\"main\"]";
    let (passed, said) = doctor(wrong, &[]).await;
    assert!(!passed && said.contains("main"), "{said}");
    let (passed, said) = doctor(wrong, &[("COLLOQUY_AI__PROVIDERS", "[\"rules\"]")]).await;
    assert!(passed, "{said}");
}

#[tokio::test]
async fn texts_that_look_like_numbers_stay_texts() {
    for (name, text) in [
        ("COLLOQUY_OPERATOR__PASSWORD", "0123456789"),
        ("COLLOQUY_OPERATOR__PASSWORD", "true"),
        ("COLLOQUY_KAFKA__PREFIX", "2026"),
        // What an argument of the demo can be given by is no setting.
        ("COLLOQUY_OPERATOR_PASSWORD", "a-password"),
    ] {
        let (passed, said) = doctor("", &[(name, text)]).await;
        assert!(passed, "{name}={text}: {said}");
    }
    let endpoint = [
        ("COLLOQUY_AI__OPENAI__MAIN__API_KEY", "0123456789"),
        ("COLLOQUY_AI__OPENAI__MAIN__MODEL", "4.1"),
        ("COLLOQUY_AI__OPENAI__MAIN__BASE_URL", "http://127.0.0.1:1/v1"),
        ("COLLOQUY_AI__OPENAI__MAIN__USD_PER_MILLION_IN", "2.5"),
        ("COLLOQUY_AI__PROVIDERS", "[\"main\", \"rules\"]"),
    ];
    let (passed, said) = doctor("", &endpoint).await;
    assert!(passed, "{said}");
}

#[tokio::test]
async fn a_settings_file_that_is_named_must_be_there() {
    let mut command = colloquy();
    command.args(["--config", "no-such-file.toml", "doctor"]);
    let (code, said) = run(command).await;
    assert!(!code.success() && said.contains("no-such-file.toml"), "{said}");
    let mut command = colloquy();
    command.arg("doctor").env("COLLOQUY_CONFIG", "no-such-file.toml");
    let (code, said) = run(command).await;
    assert!(!code.success() && said.contains("no-such-file.toml"), "{said}");
}

#[tokio::test]
async fn the_help_names_every_role() {
    let mut command = colloquy();
    command.arg("--help");
    let (code, said) = run(command).await;
    assert!(code.success(), "{said}");
    for role in [
        "all", "serve", "relay", "project", "react", "migrate", "verify", "export", "proof",
        "models", "doctor", "schema", "demo",
    ] {
        assert!(said.lines().any(|line| line.trim_start().starts_with(role)), "{role}: {said}");
    }
    let mut command = colloquy();
    command.arg("no-such-role");
    let (code, said) = run(command).await;
    assert_eq!(code.code(), Some(2), "{said}");
}
