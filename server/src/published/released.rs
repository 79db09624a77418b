//! The schemas as they were released, kept for ever: `schemas/released/<release>.json`.
//!
//! A release holds the schemas that are new or were changed since the one before, and the digest of
//! every golden sample. What is generated today is compared with all of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::compatibility::breaks;

/// Contracts as one release published them; paths are those under `schemas/events`.
#[derive(Clone, Debug, Deserialize)]
pub struct Release {
    /// Its number.
    pub release: String,
    /// Schemas that it published first or in a changed form.
    pub schemas: BTreeMap<String, Value>,
    /// SHA-256 of each golden sample that it published first, in hexadecimal digits.
    pub samples: BTreeMap<String, String>,
}

/// All releases by the names of their files; `folder` stands for `schemas`.
///
/// # Errors
/// When a file cannot be read.
pub fn history(folder: &Path) -> anyhow::Result<Vec<Release>> {
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder.join("released")) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => vec![],
        Err(error) => return Err(error).context("the released schemas cannot be read"),
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path)?;
        let release = serde_json::from_str(&text);
        release.with_context(|| format!("{} is no release", path.display()))
    };
    paths.into_iter().map(read).collect()
}

/// What of the released contracts does not hold any more, a line each, when these files (by their
/// path from the repository's root) stand in `folder` beside those of older versions.
///
/// # Errors
/// When a file cannot be read.
pub fn broken(folder: &Path, files: &BTreeMap<PathBuf, String>) -> anyhow::Result<Vec<String>> {
    let mut broken = vec![];
    let now = |path: &str| match files.get(&Path::new("schemas/events").join(path)) {
        Some(text) => Some(text.clone()),
        None => std::fs::read_to_string(folder.join("events").join(path)).ok(),
    };
    for release in history(folder)? {
        for (path, old) in &release.schemas {
            match now(path) {
                None => broken.push(format!("{path}: published in {} and gone", release.release)),
                Some(text) => {
                    let new = serde_json::from_str(&text)?;
                    let found = breaks(old, &new).into_iter();
                    broken.extend(found.map(|found| format!("{path} {found}")));
                }
            }
        }
        for (path, digest) in &release.samples {
            if now(path).map(|text| sha256(&text)).as_ref() != Some(digest) {
                broken.push(format!("{path}: the sample of {} was changed", release.release));
            }
        }
    }
    Ok(broken)
}

/// Writes what is new or changed since the last release as one of its own.
///
/// # Errors
/// When the name is none for a file, the release exists, or a file cannot be read or written.
pub fn release(folder: &Path, name: &str) -> anyhow::Result<()> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    anyhow::ensure!(!name.is_empty() && name.chars().all(is_name), "{name} is no release's name");
    let path = folder.join("released").join(format!("{name}.json"));
    anyhow::ensure!(!path.exists(), "{} exists: what was released stays", path.display());
    let history = history(folder)?;
    let last = |file: &str| history.iter().rev().find_map(|release| release.schemas.get(file));
    let is_sampled = |file: &str| history.iter().any(|old| old.samples.contains_key(file));
    let (mut schemas, mut samples) = (vec![], vec![]);
    for part in ["", "public/"] {
        for entry in std::fs::read_dir(folder.join("events").join(part))? {
            let entry = entry?;
            let Some(file) = entry.file_name().to_str().map(|name| format!("{part}{name}")) else {
                continue;
            };
            if !file.ends_with(".json") {
                continue;
            }
            let text = std::fs::read_to_string(entry.path())?;
            if !file.ends_with(".sample.json") {
                let schema: Value = serde_json::from_str(&text)?;
                if last(&file) != Some(&schema) {
                    schemas.push((file, schema));
                }
            } else if !is_sampled(&file) {
                samples.push((file, json!(sha256(&text))));
            }
        }
    }
    std::fs::create_dir_all(folder.join("released"))?;
    let text = format!(
        "{{\n\"release\": {},\n\"schemas\": {},\n\"samples\": {}\n}}\n",
        json!(name),
        lines(schemas),
        lines(samples)
    );
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// An object with a line for each member, so that a diff shows what is meant.
fn lines(mut members: Vec<(String, Value)>) -> String {
    members.sort_by(|a, b| a.0.cmp(&b.0));
    let mut text = String::from("{");
    for (i, (name, value)) in members.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}\n{}: {value}", json!(name));
    }
    text + "\n}"
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with one schema and its sample, released.
    fn released() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("events/public")).expect("a folder");
        write(&folder, "events/x.v1.json", r#"{"properties":{"a":{"type":"string"}}}"#);
        write(&folder, "events/x.v1.sample.json", r#"{"value":{"a":"b"}}"#);
        release(folder.path(), "1.0.0").expect("released");
        folder
    }

    fn write(folder: &tempfile::TempDir, path: &str, text: &str) {
        std::fs::write(folder.path().join(path), text).expect("written");
    }

    fn check(folder: &tempfile::TempDir) -> Vec<String> {
        broken(folder.path(), &BTreeMap::new()).expect("readable")
    }

    #[test]
    fn what_was_released_holds_while_nothing_or_nothing_that_matters_changes() {
        let folder = released();
        assert!(check(&folder).is_empty());
        let more = r#"{"properties":{"a":{"type":"string"},"b":{"type":"string"}}}"#;
        write(&folder, "events/x.v1.json", more);
        assert!(check(&folder).is_empty());
        release(folder.path(), "1.1.0").expect("released");
        write(&folder, "events/x.v1.json", r#"{"properties":{"a":{"type":"string"}}}"#);
        assert_eq!(check(&folder), ["x.v1.json /: member `b` is gone"]);
    }

    #[test]
    fn a_changed_shape_a_lost_file_and_a_changed_sample_are_found() {
        let folder = released();
        write(&folder, "events/x.v1.json", r#"{"properties":{"a":{"type":"integer"}}}"#);
        write(&folder, "events/x.v1.sample.json", r#"{"value":{"a":1}}"#);
        assert_eq!(
            check(&folder),
            [
                "x.v1.json /a: `type` was \"string\" and is \"integer\"",
                "x.v1.sample.json: the sample of 1.0.0 was changed",
            ]
        );
        std::fs::remove_file(folder.path().join("events/x.v1.json")).expect("removed");
        assert_eq!(check(&folder)[0], "x.v1.json: published in 1.0.0 and gone");
    }

    #[test]
    fn what_was_released_is_not_released_again() {
        let folder = released();
        assert!(release(folder.path(), "1.0.0").is_err());
        assert!(release(folder.path(), "../1").is_err());
    }
}
