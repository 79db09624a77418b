//! Logins of another system, brought along by the hashes of their passwords.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use identity::Identity;
use serde::Deserialize;

/// What `colloquy logins` does.
#[derive(Subcommand)]
pub enum LoginsVerb {
    /// Makes a login for each line of a file, `{"email": "…", "passwordHash": "…"}`, with a hash by
    /// bcrypt or Argon2id. Addresses that have a login keep it. A person then takes up an invitation
    /// with the old password.
    Import {
        /// The file, one JSON object a line.
        file: PathBuf,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    email: String,
    password_hash: String,
}

/// Carries out a verb and prints what it did.
///
/// # Errors
/// Names the first line that cannot be taken, never its content; those before it are in, and a repeat
/// passes over them.
pub async fn administer(identity: &Identity, verb: &LoginsVerb) -> anyhow::Result<()> {
    let LoginsVerb::Import { file } = verb;
    let (n_new, n_known) = import(identity, file).await?;
    println!("{n_new} logins made, {n_known} known before");
    Ok(())
}

async fn import(identity: &Identity, file: &Path) -> anyhow::Result<(u64, u64)> {
    let opened = std::fs::File::open(file);
    let opened = opened.with_context(|| format!("{} cannot be read", file.display()))?;
    let (mut n_new, mut n_known) = (0, 0);
    for (line, n) in std::io::BufReader::new(opened).lines().zip(1..) {
        let line = line.with_context(|| format!("line {n} cannot be read"))?;
        if line.trim().is_empty() {
            continue;
        }
        let line: Line =
            serde_json::from_str(&line).map_err(|_| anyhow::anyhow!("line {n} is no login"))?;
        let imported = identity.import_account(&line.email, &line.password_hash).await;
        match imported.with_context(|| format!("line {n}"))? {
            true => n_new += 1,
            false => n_known += 1,
        }
    }
    Ok((n_new, n_known))
}
