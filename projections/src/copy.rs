//! Rows into a table by `COPY`, which costs the database a fraction of what an insert does.

use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, PgPool, Row as _};

use crate::rows::without_nul;

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    name: String,
    is_json: bool,
}

/// The columns of a table.
pub(crate) async fn columns(pool: &PgPool, table: &str) -> sqlx::Result<Vec<Column>> {
    let rows = sqlx::query(
        "select attname::text as name, atttypid = 'jsonb'::regtype as is_json
           from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped
          order by attnum",
    )
    .bind(table)
    .fetch_all(pool)
    .await?;
    let column = |row: &sqlx::postgres::PgRow| {
        Ok(Column { name: row.try_get("name")?, is_json: row.try_get("is_json")? })
    };
    rows.iter().map(column).collect()
}

/// Inserts rows that the table does not have. Columns that a row has no field for keep their
/// default.
pub(crate) async fn insert<R: Serialize>(
    conn: &mut PgConnection,
    table: &str,
    columns: &[Column],
    rows: &[R],
) -> sqlx::Result<()> {
    let Some(first) = rows.first() else {
        return Ok(());
    };
    let first = encode(first)?;
    let columns: Vec<&Column> =
        columns.iter().filter(|column| first.get(&column.name).is_some()).collect();
    let mut text = String::new();
    for row in rows {
        let row = encode(row)?;
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                text.push('\t');
            }
            push(&mut text, row.get(&column.name).unwrap_or(&Value::Null), column.is_json)?;
        }
        text.push('\n');
    }
    let names: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let statement = format!("copy {table} ({}) from stdin", names.join(", "));
    let mut copying = conn.copy_in_raw(&statement).await?;
    copying.send(text.into_bytes()).await?;
    copying.finish().await.map(drop)
}

fn encode<R: Serialize>(row: &R) -> sqlx::Result<Value> {
    let mut row = serde_json::to_value(row).map_err(|error| sqlx::Error::Encode(error.into()))?;
    without_nul(&mut row);
    Ok(row)
}

/// A value in the database's text format.
fn push(text: &mut String, value: &Value, is_json: bool) -> sqlx::Result<()> {
    match value {
        Value::Null => text.push_str("\\N"),
        Value::String(value) if !is_json => escape(text, value),
        value => {
            let json = serde_json::to_string(value);
            escape(text, &json.map_err(|error| sqlx::Error::Encode(error.into()))?);
        }
    }
    Ok(())
}

fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pushed(value: &Value, is_json: bool) -> String {
        let mut text = String::new();
        push(&mut text, value, is_json).expect("a value is JSON");
        text
    }

    #[test]
    fn what_would_end_a_field_or_row_is_escaped() {
        assert_eq!(pushed(&json!("a\tb\nc\\.\r"), false), "a\\tb\\nc\\\\.\\r");
        assert_eq!(pushed(&json!("a\tb"), true), "\"a\\\\tb\"");
        assert_eq!(pushed(&json!({"a": [1, null]}), true), "{\"a\":[1,null]}");
        assert_eq!(pushed(&json!(true), false), "true");
        assert_eq!(pushed(&Value::Null, true), "\\N");
        assert_eq!(pushed(&json!("\\N"), false), "\\\\N");
    }
}
