//! The bare limit: the rows that a projector wrote, batch by batch, each batch by one upsert of all
//! its rows, which is a transaction of its own. The rows stand ready in the types of their columns.

use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Decode, PgConnection, Postgres, Row, Type};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::pair::Pair;
use crate::database::Database;

/// A table, and what is to be written to it.
pub struct Bare {
    table: String,
    columns: Vec<Column>,
    statement: String,
    batches: Arc<Vec<Batch>>,
}

struct Column {
    name: String,
    kind: String,
}

/// The values of one column, row by row.
enum Values {
    Uuid(Vec<Option<Uuid>>),
    /// Texts, and JSON as the text that the server makes its own form of.
    Text(Vec<Option<String>>),
    Int(Vec<Option<i32>>),
    BigInt(Vec<Option<i64>>),
    Bool(Vec<Option<bool>>),
    Time(Vec<Option<DateTime<Utc>>>),
    Double(Vec<Option<f64>>),
}

/// The rows that one transaction wrote.
struct Batch {
    columns: Vec<Values>,
    n_rows: usize,
}

impl Bare {
    /// Reads the table's columns and key; there is nothing to be written yet.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn new(connection: &mut PgConnection, table: &str) -> anyhow::Result<Self> {
        let found = sqlx::query(
            "select quote_ident(attname), format_type(atttypid, null), attnum = any(k.indkey)
               from pg_attribute a join pg_index k on k.indrelid = a.attrelid and k.indisprimary
              where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum",
        )
        .bind(table)
        .fetch_all(connection)
        .await?;
        let (mut columns, mut key) = (vec![], vec![]);
        for row in &found {
            let name: String = row.try_get(0)?;
            if row.try_get(2)? {
                key.push(name.clone());
            }
            columns.push(Column { name, kind: row.try_get(1)? });
        }
        let statement = upsert(table, &columns, &key);
        Ok(Self { table: table.to_owned(), columns, statement, batches: Arc::default() })
    }

    /// Takes in what was noted of this model's rows.
    ///
    /// # Errors
    /// The database refuses, or a column has a type that is not known here.
    pub async fn read_notes(
        &mut self,
        connection: &mut PgConnection,
        model: &str,
    ) -> anyhow::Result<()> {
        let wanted = self.columns.iter().map(|Column { name, kind }| match kind.as_str() {
            "jsonb" => format!("r.{name}::text"),
            _ => format!("r.{name}"),
        });
        let statement = format!(
            "select {}, n.transaction::text::bigint
               from bench_note n cross join lateral jsonb_populate_record(null::{}, n.written) r
              where n.model = $1 order by n.id",
            wanted.collect::<Vec<_>>().join(", "),
            self.table
        );
        let rows = sqlx::query(AssertSqlSafe(statement)).bind(model).fetch_all(connection).await?;
        let transaction = |row: &PgRow| row.try_get::<i64, _>(self.columns.len()).ok();
        let batches = rows
            .chunk_by(|a, b| transaction(a) == transaction(b))
            .map(|rows| Batch::read(&self.columns, rows));
        self.batches = Arc::new(batches.collect::<anyhow::Result<_>>()?);
        Ok(())
    }

    /// How many batches there are to be written.
    pub fn n_batches(&self) -> usize {
        self.batches.len()
    }

    /// How many rows they have together.
    pub fn n_rows(&self) -> usize {
        self.batches.iter().map(|batch| batch.n_rows).sum()
    }
}

/// Writes what is to be written for all of these models at once, each on a connection of its own;
/// answers the seconds that it took.
///
/// # Errors
/// The database refuses.
pub async fn write(database: &Database, pairs: &[&Pair]) -> anyhow::Result<f64> {
    let mut ready = vec![];
    for Pair { bare, .. } in pairs {
        let mut connection = PgConnection::connect_with(&database.options).await?;
        // So that none has its plan still to make.
        let nothing = Batch::read(&bare.columns, &[])?;
        nothing.upsert(&bare.statement).execute(&mut connection).await?;
        ready.push((connection, bare.statement.clone(), Arc::clone(&bare.batches)));
    }
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for (mut connection, statement, batches) in ready {
        writers.spawn(async move {
            for batch in batches.iter() {
                batch.upsert(&statement).execute(&mut connection).await?;
            }
            anyhow::Ok(connection)
        });
    }
    let mut used = vec![];
    while let Some(connection) = writers.join_next().await {
        used.push(connection??);
    }
    let seconds = began.elapsed().as_secs_f64();
    for connection in used {
        connection.close().await?;
    }
    Ok(seconds)
}

fn upsert(table: &str, columns: &[Column], key: &[String]) -> String {
    let each =
        |of: &dyn Fn(&Column) -> String| columns.iter().map(of).collect::<Vec<_>>().join(", ");
    let arrays = columns.iter().zip(1..).map(|(Column { kind, .. }, n)| match kind.as_str() {
        "jsonb" => format!("${n}::text[]"),
        kind => format!("${n}::{kind}[]"),
    });
    let values = |column: &Column| match column.kind.as_str() {
        "jsonb" => format!("{}::jsonb", column.name),
        _ => column.name.clone(),
    };
    format!(
        "insert into {table} ({names}) select {values} from unnest({arrays}) as u({names})
         on conflict ({key}) do update set {set}",
        names = each(&|column| column.name.clone()),
        values = each(&values),
        arrays = arrays.collect::<Vec<_>>().join(", "),
        key = key.join(", "),
        set = each(&|Column { name, .. }| format!("{name} = excluded.{name}")),
    )
}

impl Batch {
    fn read(columns: &[Column], rows: &[PgRow]) -> anyhow::Result<Self> {
        let columns = columns.iter().enumerate().map(|(i, column)| {
            Ok(match column.kind.as_str() {
                "uuid" => Values::Uuid(each(rows, i)?),
                "text" | "jsonb" => Values::Text(each(rows, i)?),
                "integer" => Values::Int(each(rows, i)?),
                "bigint" => Values::BigInt(each(rows, i)?),
                "boolean" => Values::Bool(each(rows, i)?),
                "timestamp with time zone" => Values::Time(each(rows, i)?),
                "double precision" => Values::Double(each(rows, i)?),
                kind => bail!("column {} has the type {kind}, which is new", column.name),
            })
        });
        Ok(Self { columns: columns.collect::<anyhow::Result<_>>()?, n_rows: rows.len() })
    }

    fn upsert<'q>(&'q self, statement: &str) -> Query<'q, Postgres, PgArguments> {
        let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
        self.columns.iter().fold(query, |query, values| match values {
            Values::Uuid(values) => query.bind(values),
            Values::Text(values) => query.bind(values),
            Values::Int(values) => query.bind(values),
            Values::BigInt(values) => query.bind(values),
            Values::Bool(values) => query.bind(values),
            Values::Time(values) => query.bind(values),
            Values::Double(values) => query.bind(values),
        })
    }
}

fn each<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
    rows: &'r [PgRow],
    i: usize,
) -> sqlx::Result<Vec<Option<T>>> {
    rows.iter().map(|row| row.try_get(i)).collect()
}
