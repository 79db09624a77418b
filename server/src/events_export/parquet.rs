//! Parquet: the envelope in typed columns, the payload as JSON text, so that one table holds events of
//! every type and version.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use domain::ids::CompanyId;

use super::file::Hashed;
use super::{Row, Sink};

const SCHEMA: &str = "
message colloquy_event {
  required int64 position;
  required int64 recorded_at (TIMESTAMP(MICROS, true));
  required int64 occurred_at (TIMESTAMP(MICROS, true));
  optional binary company_id (UTF8);
  required binary aggregate (UTF8);
  required binary stream_id (UTF8);
  required int64 stream_version;
  required binary event_id (UTF8);
  required binary type (UTF8);
  required binary dataschema (UTF8);
  required binary correlation_id (UTF8);
  optional binary causation_id (UTF8);
  required binary actor_kind (UTF8);
  required binary hash (UTF8);
  required binary data (UTF8);
}";

/// A row group holds at most this many events.
const MAX_ROWS: usize = 10_000;

/// A row group is closed once its payloads take this many bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// One column's values of the row group that is being filled.
enum Column {
    Numbers(Vec<i64>),
    Texts(Vec<ByteArray>),
    /// Values, and for each row whether it has one.
    Optional(Vec<ByteArray>, Vec<i16>),
}

/// Writes row groups.
pub struct Parquet {
    writer: SerializedFileWriter<Hashed>,
    columns: Vec<Column>,
    n_rows: usize,
    n_bytes: usize,
}

impl Parquet {
    /// Into this file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(file: Hashed) -> anyhow::Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
        Ok(Self { writer, columns: vec![], n_rows: 0, n_bytes: 0 })
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.n_rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for column in std::mem::take(&mut self.columns) {
            let Some(mut writer) = group.next_column()? else { break };
            match column {
                Column::Numbers(values) => {
                    writer.typed::<Int64Type>().write_batch(&values, None, None)?
                }
                Column::Texts(values) => {
                    writer.typed::<ByteArrayType>().write_batch(&values, None, None)?
                }
                Column::Optional(values, present) => {
                    writer.typed::<ByteArrayType>().write_batch(&values, Some(&present), None)?
                }
            };
            writer.close()?;
        }
        group.close()?;
        (self.n_rows, self.n_bytes) = (0, 0);
        Ok(())
    }
}

impl Sink for Parquet {
    fn push(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        if self.columns.is_empty() {
            self.columns = empty();
        }
        let Row { event, record } = row;
        let stream = &event.stream;
        let header = |name: &str| record.header(name).unwrap_or_default();
        let company =
            Some(stream.company.0.to_string()).filter(|_| stream.company != CompanyId::NONE);
        let mut cells = [
            Cell::Number(i64::try_from(event.position.0)?),
            Cell::Number(event.recorded_at.timestamp_micros()),
            Cell::Number(event.occurred_at.timestamp_micros()),
            Cell::Optional(company),
            Cell::Text(stream.aggregate.as_bytes().into()),
            Cell::Text(header("ce_subject").into()),
            Cell::Number(i64::try_from(event.version.0)?),
            Cell::Text(header("ce_id").into()),
            Cell::Text(header("ce_type").into()),
            Cell::Text(header("ce_dataschema").into()),
            Cell::Text(header("ce_correlationid").into()),
            Cell::Optional(record.header("ce_causationid").map(str::to_owned)),
            Cell::Text(header("ce_actorkind").into()),
            Cell::Text(header("ce_hash").into()),
            Cell::Text(ByteArray::from(record.value.to_vec())),
        ]
        .into_iter();
        for column in &mut self.columns {
            match (column, cells.next()) {
                (Column::Numbers(values), Some(Cell::Number(value))) => values.push(value),
                (Column::Texts(values), Some(Cell::Text(value))) => values.push(value),
                (Column::Optional(values, present), Some(Cell::Optional(value))) => {
                    present.push(i16::from(value.is_some()));
                    values.extend(value.map(|value| ByteArray::from(value.into_bytes())));
                }
                _ => anyhow::bail!("the columns are not those of the schema"),
            }
        }
        self.n_rows += 1;
        self.n_bytes += record.value.len();
        if self.n_rows >= MAX_ROWS || self.n_bytes >= MAX_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<(u64, String)> {
        self.flush()?;
        Ok(self.writer.into_inner()?.finish()?)
    }
}

enum Cell {
    Number(i64),
    Text(ByteArray),
    Optional(Option<String>),
}

/// The columns of [`SCHEMA`], in its order.
fn empty() -> Vec<Column> {
    let number = || Column::Numbers(vec![]);
    let text = || Column::Texts(vec![]);
    let optional = || Column::Optional(vec![], vec![]);
    vec![
        number(),
        number(),
        number(),
        optional(),
        text(),
        text(),
        number(),
        text(),
        text(),
        text(),
        text(),
        optional(),
        text(),
        text(),
        text(),
    ]
}
