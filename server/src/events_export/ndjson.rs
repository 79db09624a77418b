//! One CloudEvent a line, in the JSON format of CloudEvents 1.0.

use std::io::Write as _;

use serde_json::{Map, Value, json};

use super::file::Hashed;
use super::{Row, Sink};

/// Writes lines.
pub struct Ndjson {
    file: Hashed,
}

impl Ndjson {
    /// Into this file.
    pub fn new(file: Hashed) -> Self {
        Self { file }
    }
}

impl Sink for Ndjson {
    fn push(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        let mut line: Map<String, Value> = row
            .record
            .headers
            .iter()
            .map(|(name, value)| match name.strip_prefix("ce_") {
                Some(attribute) => (attribute.to_owned(), json!(value)),
                None => ("datacontenttype".to_owned(), json!(value)),
            })
            .collect();
        line.insert("data".to_owned(), serde_json::from_slice(&row.record.value)?);
        serde_json::to_writer(&mut self.file, &line)?;
        Ok(self.file.write_all(b"\n")?)
    }

    fn finish(self: Box<Self>) -> anyhow::Result<(u64, String)> {
        Ok(self.file.finish()?)
    }
}
