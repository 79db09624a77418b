//! `manifest.json`: what an export holds, and how far it has come.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{Format, Request, file};

const NAME: &str = "manifest.json";

/// What an export holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// How the files are written.
    pub format: Format,
    /// First position asked for.
    pub from: u64,
    /// Last position asked for, or the log's last one when the export began.
    pub to: u64,
    /// Aggregates asked for; all where empty.
    pub aggregates: BTreeSet<String>,
    /// What the schemas' `$id`s begin with.
    pub schema_base: String,
    /// Every event asked for up to this position is in the files.
    pub through: u64,
    /// Whether that is all.
    pub complete: bool,
    /// Events in all files.
    pub events: u64,
    /// `$id`s of the schemas that the events' data fit.
    pub schemas: BTreeSet<String>,
    /// The files by position.
    pub files: Vec<PartFile>,
}

/// One file of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFile {
    /// Its name in the folder.
    pub name: String,
    /// First position that it covers.
    pub from: u64,
    /// Last position that it covers.
    pub to: u64,
    /// Position of its first event.
    pub first: u64,
    /// Position of its last event.
    pub last: u64,
    /// Events in it.
    pub events: u64,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// `$id`s of its events' schemas.
    pub schemas: BTreeSet<String>,
}

impl PartFile {
    pub(super) fn new(name: String, from: u64, to: u64) -> Self {
        let (first, last, events, bytes) = (0, 0, 0, 0);
        let (sha256, schemas) = (String::new(), BTreeSet::new());
        Self { name, from, to, first, last, events, bytes, sha256, schemas }
    }

    pub(super) fn count(&mut self, position: u64, schema: &str) {
        if self.events == 0 {
            self.first = position;
        }
        self.last = position;
        self.events += 1;
        if !self.schemas.contains(schema) {
            self.schemas.insert(schema.to_owned());
        }
    }
}

impl Manifest {
    /// The manifest to go on with: that of the folder as far as its files are whole, else a new one.
    pub(super) fn resume(request: &Request, head: u64) -> anyhow::Result<Self> {
        let found = Self::read(&request.folder)?;
        let to = request.to.or(found.as_ref().map(|found| found.to)).unwrap_or(head);
        anyhow::ensure!(to <= head, "the log ends at position {head}");
        anyhow::ensure!(to + 1 >= request.from, "position {} is behind {to}", request.from);
        let through = request.from - 1;
        let fresh = Self {
            format: request.format,
            from: request.from,
            to,
            aggregates: request.aggregates.clone(),
            schema_base: request.schema_base.clone(),
            through,
            complete: through == to,
            events: 0,
            schemas: BTreeSet::new(),
            files: vec![],
        };
        let Some(found) = found else {
            return Ok(fresh);
        };
        let asked =
            |m: &Self| (m.format, m.from, m.to, m.aggregates.clone(), m.schema_base.clone());
        anyhow::ensure!(
            asked(&found) == asked(&fresh),
            "{} holds another export; choose another folder",
            request.folder.display()
        );
        let mut resumed = fresh;
        let n_files = found.files.len();
        for part in found.files {
            let is_whole = file::sha256(&request.folder.join(&part.name))
                .is_ok_and(|digest| digest == part.sha256);
            if !is_whole {
                break;
            }
            resumed.advance(part.to);
            resumed.add(part);
        }
        if resumed.files.len() == n_files {
            resumed.advance(found.through);
        }
        Ok(resumed)
    }

    /// The manifest of a folder, where there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(NAME);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is no manifest", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn add(&mut self, part: PartFile) {
        self.events += part.events;
        self.schemas.extend(part.schemas.iter().cloned());
        self.files.push(part);
    }

    pub(super) fn advance(&mut self, through: u64) {
        self.through = through;
        self.complete = through == self.to;
    }

    pub(super) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        let unfinished = folder.join(format!(".{NAME}.unfinished"));
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        std::fs::rename(unfinished, folder.join(NAME))?;
        // The names too are to be on the disk.
        File::open(folder)?.sync_all()?;
        Ok(())
    }
}
