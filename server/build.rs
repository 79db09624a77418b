//! Embeds the committed schemas of events, so that every version that was ever published is served.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo says in the environment where a build script writes"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/events").canonicalize()?;
    let mut list = String::from("&[\n");
    for part in ["", "public/"] {
        let folder = schemas.join(part);
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut names: Vec<String> = std::fs::read_dir(&folder)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".json") && !name.ends_with(".sample.json"))
            .collect();
        names.sort();
        for name in names {
            let path = folder.join(&name);
            writeln!(list, "    ({:?}, include_str!({path:?})),", format!("{part}{name}"))?;
        }
    }
    list.push_str("]\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no folder")?);
    std::fs::write(out.join("event_schemas.rs"), list)?;
    Ok(())
}
