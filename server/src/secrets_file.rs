//! The master key: from the settings, or made once in the data folder of an embedded installation.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use eventlog::vault::MasterKey;

use crate::config::Config;

/// The master key that wraps all other keys. Whoever loses it loses every personal field.
///
/// # Errors
/// When it is missing or not 64 hex digits.
pub fn master_key(config: &Config) -> anyhow::Result<MasterKey> {
    let given = config.secrets.master_key.expose();
    if !given.is_empty() {
        return parse(given).context("secrets.master_key");
    }
    anyhow::ensure!(
        config.is_embedded(),
        "secrets.master_key is missing: 64 hex digits, for example from `openssl rand -hex 32`; \
         every process of an installation needs the same"
    );
    std::fs::create_dir_all(&config.data_dir)?;
    let file = config.data_dir.join("master.key");
    if !file.exists() {
        make(&file)?;
    }
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("the master key {} cannot be read", file.display()))?;
    parse(text.trim()).with_context(|| file.display().to_string())
}

/// Whether there is a master key, or one can be made at the next start.
///
/// # Errors
/// What is wrong with it.
pub fn master_key_present(config: &Config) -> anyhow::Result<()> {
    let file = config.data_dir.join("master.key");
    if config.secrets.master_key.is_empty() && config.is_embedded() && !file.exists() {
        return Ok(());
    }
    master_key(config).map(drop)
}

/// Writes a new key beside its place and moves it there, so that half a key never stands there.
fn make(file: &Path) -> anyhow::Result<()> {
    let key: [u8; 32] = rand::random();
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let beside = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut written = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writeln!(written, "{text}")?;
    written.sync_all()?;
    std::fs::rename(&beside, file)?;
    Ok(())
}

fn parse(text: &str) -> anyhow::Result<MasterKey> {
    let hash: Result<eventlog::envelope::EventHash, ()> = text.parse();
    hash.map(|bytes| MasterKey::new(bytes.0)).map_err(|()| anyhow::anyhow!("must be 64 hex digits"))
}
