//! A read model with two tables of the same shape: one that its projector keeps, one for the bare
//! upsert of the rows that the projector was seen to write.

use anyhow::{Context, ensure};
use projections::generation::{self, Generation};
use projections::model::Model;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use super::bare::Bare;
use super::ours;
use crate::database::Database;

/// Every row that a projector writes is noted as it stands then, with the transaction that wrote it.
const NOTES: &str = "
create table bench_note (
    id bigint generated always as identity primary key,
    model text not null, transaction xid8 not null, written jsonb not null);
create function bench_note() returns trigger language plpgsql as $$
begin
  insert into bench_note (model, transaction, written)
  values (tg_argv[0], pg_current_xact_id(), to_jsonb(new));
  return null;
end $$;";

/// A read model and what is measured of it.
pub struct Pair {
    /// The read model.
    pub model: Model,
    /// The generation that the projector writes to.
    pub ours: Generation,
    /// The table that is written to by bare upserts, and with what.
    pub bare: Bare,
    /// Another generation of the model, only for its table.
    twin: Generation,
}

impl Pair {
    /// Makes both tables and lets the projectors run once over the log, to see what they write.
    ///
    /// # Errors
    /// The database refuses, or an event cannot be projected.
    pub async fn prepare(database: &Database, models: &[Model]) -> anyhow::Result<Vec<Self>> {
        let mut connection = database.pool.acquire().await?;
        let mut pairs = vec![];
        for model in models {
            let ours = create(&mut connection, model).await?;
            let twin = create(&mut connection, model).await?;
            let bare = Bare::new(&mut connection, &twin.table).await?;
            pairs.push(Self { model: *model, ours, bare, twin });
        }
        connection.execute(NOTES).await?;
        for Self { model, ours, .. } in &pairs {
            let statement = format!(
                "create trigger bench_note after insert or update on {} for each row
                 execute function bench_note('{}')",
                ours.table, model.name
            );
            connection.execute(AssertSqlSafe(statement)).await?;
        }
        ours::follow(database, &pairs.iter().collect::<Vec<_>>()).await?;
        for Self { model, ours, bare, .. } in &mut pairs {
            bare.read_notes(&mut connection, model.name).await?;
            let statement = format!("drop trigger bench_note on {}", ours.table);
            connection.execute(AssertSqlSafe(statement)).await?;
        }
        connection.execute("drop table bench_note").await?;
        Ok(pairs)
    }

    /// Makes sure that both tables hold the same rows, and some.
    ///
    /// # Errors
    /// They do not, or the database refuses.
    pub async fn compare(&self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let (ours, bare) = (&self.ours.table, &self.twin.table);
        let statement = format!(
            "select (select count(*) from {ours}) as rows, (select count(*) from (
                (select * from {ours} except all select * from {bare}) union all
                (select * from {bare} except all select * from {ours})) d) as different"
        );
        let found = sqlx::query(AssertSqlSafe(statement)).fetch_one(connection).await?;
        let (n_rows, n_different): (i64, i64) = (found.try_get(0)?, found.try_get(1)?);
        ensure!(n_rows > 0, "{} has no rows", self.model.name);
        ensure!(n_different == 0, "{n_different} rows of {} differ", self.model.name);
        Ok(())
    }
}

/// Takes all rows away, and all that projectors know of having written them.
///
/// # Errors
/// The database refuses.
pub async fn empty(connection: &mut PgConnection, pairs: &[&Pair]) -> anyhow::Result<()> {
    let tables = pairs.iter().flat_map(|pair| [pair.ours.table.clone(), pair.twin.table.clone()]);
    let tables: Vec<String> = tables.collect();
    let statement =
        format!("truncate consumer_applied, consumer_checkpoint, {}", tables.join(", "));
    connection.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

async fn create(connection: &mut PgConnection, model: &Model) -> anyhow::Result<Generation> {
    let number: i32 = sqlx::query_scalar("select rm_create_generation($1, $2, $3)")
        .bind(model.name)
        .bind(i32::try_from(model.version)?)
        .bind(model.table)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query("select rm_finish_generation($1, $2)")
        .bind(model.name)
        .bind(number)
        .execute(&mut *connection)
        .await?;
    let generations = generation::of_model(connection, model).await?;
    generations.into_iter().find(|made| made.number == number).context("a generation is missing")
}
