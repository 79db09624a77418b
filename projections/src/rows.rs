//! Rows in their tables: load by keys, save and delete a batch in one statement each. Whatever the
//! model, a row travels as JSON and the table's own types give it its columns.

use std::collections::BTreeMap;

use eventlog::codec::Recorded;
use eventlog::envelope::StreamId;
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _};

use crate::copy;
pub(crate) use crate::copy::{Column, columns};
use crate::projector::{Projector, StreamRows, fold_into, keys_of};

/// A stream's next events.
pub(crate) type Work<'a> = (&'a StreamId, &'a [Recorded]);

/// Folds the next events of some streams into the rows of `table`, in the caller's transaction.
/// Each stream stands in `work` once.
pub(crate) async fn project<P: Projector>(
    conn: &mut PgConnection,
    table: &str,
    work: &[Work<'_>],
) -> sqlx::Result<()> {
    let streams = load::<P>(conn, table, work).await?;
    let mut changes = Changes::<P>::default();
    changes.fold(work, streams);
    changes.insert.append(&mut changes.update);
    upsert::<P>(conn, table, &changes.insert).await?;
    delete::<P>(conn, table, &changes.delete).await
}

/// The same in bulk: `new` are streams from their first event on, `more` those that go on.
pub(crate) async fn fill<P: Projector>(
    conn: &mut PgConnection,
    table: &str,
    columns: &[Column],
    new: &[Work<'_>],
    more: &[Work<'_>],
) -> sqlx::Result<()> {
    let mut changes = Changes::<P>::default();
    changes.fold(new, new.iter().map(|(_, events)| unwritten::<P>(events)).collect());
    changes.fold(more, load::<P>(conn, table, more).await?);
    copy::insert(conn, table, columns, &changes.insert).await?;
    upsert::<P>(conn, table, &changes.update).await?;
    delete::<P>(conn, table, &changes.delete).await
}

/// What becomes of a table's rows.
struct Changes<P: Projector> {
    insert: Vec<P::Row>,
    update: Vec<P::Row>,
    delete: Vec<P::Key>,
}

impl<P: Projector> Default for Changes<P> {
    fn default() -> Self {
        Self { insert: vec![], update: vec![], delete: vec![] }
    }
}

impl<P: Projector> Changes<P> {
    /// Folds events into the rows that there are.
    fn fold(&mut self, work: &[Work<'_>], streams: Vec<StreamRows<P>>) {
        for ((_, events), mut rows) in work.iter().zip(streams) {
            let before: StreamRows<P> = rows
                .iter()
                .filter(|(_, row)| row.is_some())
                .map(|(k, r)| (k.clone(), r.clone()))
                .collect();
            for recorded in *events {
                fold_into::<P>(&mut rows, recorded);
            }
            for (key, row) in rows {
                match (row, before.get(&key)) {
                    (Some(row), None | Some(None)) => self.insert.push(row),
                    (Some(row), Some(Some(was))) if row != *was => self.update.push(row),
                    (None, Some(Some(_))) => self.delete.push(key),
                    (Some(_) | None, _) => {}
                }
            }
        }
    }
}

/// The rows of a stream that has none yet.
fn unwritten<P: Projector>(events: &[Recorded]) -> StreamRows<P> {
    let keys = keys_of::<P>(events).unwrap_or_default();
    keys.into_iter().map(|key| (key, None)).collect()
}

/// The rows that the events touch, by stream in the order of `work`.
async fn load<P: Projector>(
    conn: &mut PgConnection,
    table: &str,
    work: &[Work<'_>],
) -> sqlx::Result<Vec<StreamRows<P>>> {
    let mut owners = BTreeMap::new();
    let mut streams: Vec<StreamRows<P>> = vec![];
    for (i, (stream, events)) in work.iter().enumerate() {
        let rows = match keys_of::<P>(events) {
            Some(keys) => {
                owners.extend(keys.iter().cloned().map(|key| (key, i)));
                keys.into_iter().map(|key| (key, None)).collect()
            }
            None => of_stream::<P>(conn, table, stream).await?,
        };
        streams.push(rows);
    }
    if owners.is_empty() {
        return Ok(streams);
    }
    let keys: Vec<&P::Key> = owners.keys().collect();
    let on = P::KEY.iter().map(|column| format!("t.\"{column}\" = k.\"{column}\""));
    let on: Vec<String> = on.collect();
    let statement = format!(
        "select to_jsonb(k) as key, to_jsonb(t) as row
           from jsonb_populate_recordset(null::{table}, $1) k join {table} t on {}",
        on.join(" and ")
    );
    let query = planned_anew(statement).bind(json(&keys)?);
    for found in &query.fetch_all(conn).await? {
        let Json(key): Json<P::Key> = found.try_get("key")?;
        let Json(row) = found.try_get("row")?;
        if let Some(i) = owners.get(&key) {
            streams[*i].insert(key, Some(row));
        }
    }
    Ok(streams)
}

async fn of_stream<P: Projector>(
    conn: &mut PgConnection,
    table: &str,
    stream: &StreamId,
) -> sqlx::Result<StreamRows<P>> {
    let statement = format!(
        "select to_jsonb(t) as row from {table} t where t.company_id = $1 and t.\"{}\" = $2",
        P::STREAM
    );
    let query = planned_anew(statement).bind(stream.company.0).bind(stream.id);
    let found = query.fetch_all(conn).await?;
    let rows = found.iter().map(|found| {
        // A key's fields are fields of the row.
        let Json(key) = found.try_get("row")?;
        let Json(row) = found.try_get("row")?;
        Ok((key, Some(row)))
    });
    rows.collect()
}

async fn upsert<P: Projector>(
    conn: &mut PgConnection,
    table: &str,
    rows: &[P::Row],
) -> sqlx::Result<()> {
    let Json(rows) = json(&rows)?;
    let Some(first) = rows.get(0).and_then(Value::as_object) else {
        return Ok(());
    };
    let columns: Vec<String> = first.keys().map(|column| format!("\"{column}\"")).collect();
    let set: Vec<String> = columns.iter().map(|c| format!("{c} = excluded.{c}")).collect();
    let statement = format!(
        "insert into {table} ({columns})
         select {columns} from jsonb_populate_recordset(null::{table}, $1)
         on conflict ({key}) do update set {set}",
        columns = columns.join(", "),
        key = P::KEY.join(", "),
        set = set.join(", "),
    );
    sqlx::query(AssertSqlSafe(statement)).bind(Json(rows)).execute(conn).await.map(drop)
}

async fn delete<P: Projector>(
    conn: &mut PgConnection,
    table: &str,
    keys: &[P::Key],
) -> sqlx::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let on: Vec<String> = P::KEY.iter().map(|c| format!("t.\"{c}\" = k.\"{c}\"")).collect();
    let statement = format!(
        "delete from {table} t using jsonb_populate_recordset(null::{table}, $1) k where {}",
        on.join(" and ")
    );
    planned_anew(statement).bind(json(&keys)?).execute(conn).await.map(drop)
}

/// A statement whose plan is made each time: one made while the table was empty would read all of
/// it for every batch once it is large.
fn planned_anew(statement: String) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(AssertSqlSafe(statement)).persistent(false)
}

fn json<T: Serialize>(value: &T) -> sqlx::Result<Json<Value>> {
    let mut value = serde_json::to_value(value).map_err(|e| sqlx::Error::Encode(e.into()))?;
    without_nul(&mut value);
    Ok(Json(value))
}

/// The database has no text with NUL: what a machine wrote with one is kept with a mark instead.
pub(crate) fn without_nul(value: &mut Value) {
    let mend = |text: &str| text.replace('\0', "\u{fffd}");
    match value {
        Value::String(text) if text.contains('\0') => *text = mend(text),
        Value::Array(values) => values.iter_mut().for_each(without_nul),
        Value::Object(fields) => {
            fields.values_mut().for_each(without_nul);
            if fields.keys().any(|name| name.contains('\0')) {
                let old = std::mem::take(fields);
                *fields = old.into_iter().map(|(name, value)| (mend(&name), value)).collect();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
