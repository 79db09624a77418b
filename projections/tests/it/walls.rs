//! The second wall between companies: what the role that reads sees where a query forgets its company.

use domain::ids::CompanyId;
use eventlog::fail_point::no_fail_point;
use futures::future::join_all;
use projections::model::MODELS;
use projections::wall::{Readers, WallError};
use projections::{View, companies, generation};
use serde_json::{Map, Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, PgPool, Row as _};
use uuid::Uuid;

use crate::database::{Database, reader};

const OURS: CompanyId = CompanyId(Uuid::from_u128(0xa));
const THEIRS: CompanyId = CompanyId(Uuid::from_u128(0xb));

/// A table or view with a column that names the company.
struct Relation {
    name: String,
    column: String,
    is_table: bool,
}

impl Relation {
    fn is_read_model(&self) -> bool {
        self.name.starts_with("public.rm_")
    }
}

/// Everything in the database that is of companies, whatever made it.
async fn of_companies(pool: &PgPool) -> Vec<Relation> {
    let rows = sqlx::query(
        "select format('%I.%I', n.nspname, c.relname) as name, a.attname::text as column,
                c.relkind in ('r', 'p') as is_table
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
           join pg_attribute a on a.attrelid = c.oid and a.attname in ('company_id', 'tenant_id')
          where c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
            and n.nspname not in ('pg_catalog', 'information_schema') order by 1",
    )
    .fetch_all(pool)
    .await
    .expect("the catalogue");
    let relation = |row: &sqlx::postgres::PgRow| Relation {
        name: row.get("name"),
        column: row.get("column"),
        is_table: row.get("is_table"),
    };
    rows.iter().map(relation).collect()
}

/// Puts a row of a company into a table, with something of its type in every column.
async fn fill(pool: &PgPool, table: &Relation, company: CompanyId) {
    let columns = sqlx::query(
        "select attname::text as name, atttypid::regtype::text as type from pg_attribute
          where attrelid = $1::regclass and attnum > 0 and not attisdropped",
    );
    let columns = columns.bind(&table.name).fetch_all(pool).await.expect("the catalogue");
    let value = |row: &sqlx::postgres::PgRow| {
        let (name, kind): (String, String) = (row.get("name"), row.get("type"));
        let value = match kind.as_str() {
            _ if name == table.column => json!(company.0),
            "uuid" => json!(Uuid::from_u128(1)),
            "text" => json!("x"),
            "boolean" => json!(false),
            "jsonb" => json!({}),
            "timestamp with time zone" => json!("2026-01-01T00:00:00Z"),
            "integer" | "bigint" | "double precision" => json!(1),
            other => panic!("{}.{name} is of type {other}, which is not known here", table.name),
        };
        (name, value)
    };
    let row: Map<String, Value> = columns.iter().map(value).collect();
    let name = &table.name;
    let insert =
        format!("insert into {name} select * from jsonb_populate_record(null::{name}, $1)");
    let insert = sqlx::query(AssertSqlSafe(insert)).bind(Value::Object(row));
    insert.execute(pool).await.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// A connection of the role that reads, as nobody's query makes it.
async fn connect(options: &PgConnectOptions, company: Option<CompanyId>) -> PgConnection {
    let mut conn = options.connect().await.expect("the role can connect");
    if let Some(company) = company {
        let name = sqlx::query("select set_config('colloquy.company_id', $1, false)");
        let name = name.bind(company.0.to_string());
        name.execute(&mut conn).await.expect("a setting");
    }
    conn
}

/// The companies whose rows a query without any condition shows.
async fn shown(conn: &mut PgConnection, relation: &Relation) -> Result<Vec<Uuid>, String> {
    let Relation { name, column, .. } = relation;
    let all = AssertSqlSafe(format!("select {column} from {name} order by 1"));
    let found = sqlx::query_scalar(all).fetch_all(conn).await;
    found.map_err(|error| sqlstate(&error))
}

fn sqlstate(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(|error| error.code());
    code.map_or_else(|| error.to_string(), Into::into)
}

const DENIED: &str = "42501";

#[tokio::test]
async fn a_query_that_forgets_its_company_shows_no_rows_of_another_one() {
    let database = Database::create().await;
    database.rebuild(MODELS, no_fail_point()).await.expect("there are second generations");
    let options = reader(&database.pool).await;
    let relations = of_companies(&database.pool).await;
    for table in relations.iter().filter(|r| r.is_table && r.is_read_model()) {
        for company in [OURS, THEIRS] {
            fill(&database.pool, table, company).await;
        }
    }
    let mut n_read = 0;
    let mut conn = connect(&options, Some(OURS)).await;
    let mut of_nobody = connect(&options, None).await;
    let mut emptied = connect(&options, Some(OURS)).await;
    sqlx::query("reset all").execute(&mut emptied).await.expect("a setting");
    for relation in &relations {
        let (ours, none) =
            (shown(&mut conn, relation).await, shown(&mut of_nobody, relation).await);
        let name = &relation.name;
        if relation.is_read_model() {
            assert_eq!(ours, Ok(vec![OURS.0]), "{name}");
            assert_eq!(none, Ok(vec![]), "{name} to one that names no company");
            assert_eq!(shown(&mut emptied, relation).await, Ok(vec![]), "{name} after a reset");
            n_read += 1;
        } else {
            assert_eq!(ours, Err(DENIED.to_owned()), "{name}");
            assert_eq!(none, Err(DENIED.to_owned()), "{name}");
        }
    }
    // Each model's shape, its second generation, and the view of that.
    assert_eq!(n_read, 3 * MODELS.len());
    assert!(relations.len() > n_read + 10, "{} relations of companies", relations.len());
}

#[tokio::test]
async fn the_role_that_reads_changes_nothing_and_cannot_leave_its_wall() {
    let database = Database::create().await;
    let options = reader(&database.pool).await;
    let owner: String = sqlx::query_scalar("select current_user::text")
        .fetch_one(&database.pool)
        .await
        .expect("the owner");
    let mut conn = connect(&options, Some(OURS)).await;
    let refused = [
        "insert into rm_company values (gen_random_uuid(), 'x', null, '[]', 1, now(), now())"
            .to_owned(),
        "update rm_company set name = 'x'".to_owned(),
        "update rm_company_v1 set name = 'x'".to_owned(),
        "delete from rm_company".to_owned(),
        "truncate rm_company".to_owned(),
        "copy rm_company from program 'true'".to_owned(),
        "select * from rm_company for update".to_owned(),
        "set row_security = off; select * from rm_company".to_owned(),
        "alter table rm_company disable row level security".to_owned(),
        "alter table rm_company no force row level security".to_owned(),
        "drop policy company on rm_company".to_owned(),
        "create policy mine on rm_company for select using (true)".to_owned(),
        "create table mine (company_id uuid)".to_owned(),
        "create view public.mine as select * from rm_company".to_owned(),
        "alter role current_user bypassrls".to_owned(),
        "alter role current_user superuser".to_owned(),
        format!("set role {owner}"),
        format!("set session authorization {owner}"),
        format!("grant {owner} to current_user"),
        "select * from read_model_generation".to_owned(),
        "select * from consumer_applied".to_owned(),
        "select * from identity.account".to_owned(),
        "select * from vault.secret".to_owned(),
        "select * from proof_key".to_owned(),
        "select es_ensure_partitions()".to_owned(),
        "select vault.forget(gen_random_uuid(), 'x', gen_random_uuid(), gen_random_uuid())"
            .to_owned(),
        "select rm_drop_generation('companies', 1)".to_owned(),
        "select rm_go_live('companies', 1)".to_owned(),
    ];
    for statement in refused {
        let tried = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut conn).await;
        let error = tried.err().unwrap_or_else(|| panic!("{statement}: was carried out"));
        assert_eq!(sqlstate(&error), DENIED, "{statement}: {error}");
    }
    // Functions that run with their owner's rights would be a door of another kind.
    let doors: Vec<String> = sqlx::query_scalar(
        "select p.oid::regprocedure::text from pg_proc p
          where p.prosecdef and has_function_privilege(p.oid, 'execute')
            and has_schema_privilege(p.pronamespace, 'usage')",
    )
    .fetch_all(&mut conn)
    .await
    .expect("the catalogue");
    assert_eq!(doors, Vec::<String>::new());
}

#[tokio::test]
async fn connections_that_serve_many_companies_in_turn_show_each_its_own() {
    let database = Database::create().await;
    let worlds: Vec<_> = (1..=3).map(|n| database.world(n)).collect();
    for world in &worlds {
        world.found().await;
    }
    database.catch_up(MODELS).await;
    // Far more at once than there are connections.
    let asked = (0..60).map(|n| {
        let (database, world) = (&database, &worlds[n % worlds.len()]);
        async move {
            let view = View::all(world.company());
            let found = companies::get(&database.reads, &view).await.expect("it answers");
            assert_eq!(found.map(|row| row.company_id), Some(world.company()));
        }
    });
    join_all(asked).await;
    // All that lay idle are cut; nobody notices.
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where usename = 'projections_reader' and datname = current_database()";
    let n_cut: i64 = sqlx::query_scalar(cut).fetch_one(&database.pool).await.expect("superuser");
    assert!(n_cut > 1, "{n_cut} connections");
    let view = View::all(worlds[0].company());
    assert!(companies::get(&database.reads, &view).await.expect("it answers").is_some());
}

/// Makes a role with these attributes for one check, and lets it read.
async fn role(database: &Database, name: &str, attributes: &str, then: &str) -> PgConnectOptions {
    let make =
        format!("create role {name} login {attributes}; select rm_let_read('{name}'); {then}");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&database.pool).await.expect("a role");
    database.pool.connect_options().as_ref().clone().username(name)
}

#[tokio::test]
async fn a_role_that_could_pass_the_wall_is_not_read_by() {
    let database = Database::create().await;
    let unique: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&database.pool)
        .await
        .expect("a name of its own");
    let cases = [
        ("superuser", "", "superuser"),
        ("bypassrls", "", "superuser"),
        ("createrole", "", "superuser"),
        ("in role pg_read_all_data", "", "superuser"),
        ("", "create table {n}_t (id int); alter table {n}_t owner to {n};", "owns"),
        ("", "grant update on rm_job to {n};", "change"),
        ("", "grant select on es_event to {n};", "no row-level security"),
        ("", "grant select on consumer_skip to {n};", "no row-level"),
        (
            "",
            "grant usage on schema identity to {n}; grant insert on identity.api_key to {n};",
            "change",
        ),
        (
            "",
            "create view {n}_v as select * from rm_job; grant select on {n}_v to {n};",
            "no row-level",
        ),
    ];
    let mut made = vec![];
    for (i, (attributes, then, what)) in cases.into_iter().enumerate() {
        let name = format!("reader_{i}_{unique}");
        let options = role(&database, &name, attributes, &then.replace("{n}", &name)).await;
        made.push(name.clone());
        let readers = Readers::new(options, 1);
        match readers.check().await {
            Err(WallError::Open { role, hole }) => {
                assert!(role == name && hole.contains(what), "{attributes} {then}: {hole}");
            }
            other => panic!("{attributes} {then}: {other:?}"),
        }
    }
    let plain = format!("reader_{unique}");
    let options = role(&database, &plain, "", "").await;
    made.push(plain);
    let readers = Readers::new(options, 1);
    readers.check().await.expect("one that can do nothing is as it should be");
    // The same role, once a table loses its wall.
    let raze = "alter table rm_verdict disable row level security";
    sqlx::query(raze).execute(&database.pool).await.expect("the owner may");
    assert!(matches!(readers.check().await, Err(WallError::Open { .. })));
    for name in made {
        let gone = format!(
            "reassign owned by {name} to current_user; drop owned by {name}; drop role {name}"
        );
        sqlx::raw_sql(AssertSqlSafe(gone)).execute(&database.pool).await.expect("it goes");
    }
    let live = generation::followed(&database.pool).await.expect("generations");
    assert_eq!(live.len(), MODELS.len());
}

#[tokio::test]
async fn a_page_far_into_a_list_is_found_by_an_index_behind_the_wall() {
    let database = Database::create().await;
    let options = reader(&database.pool).await;
    let relations = of_companies(&database.pool).await;
    let sorts = [
        (
            "rm_interview",
            "case when scheduled_at is null then created_at else scheduled_at end",
            "interview_id",
        ),
        ("rm_job", "created_at", "job_id"),
        ("rm_ai_call", "at", "call_id"),
    ];
    for (table, sort, id) in sorts {
        let relation = relations.iter().find(|r| r.name == format!("public.{table}"));
        fill(&database.pool, relation.expect("a table"), OURS).await;
        let many = format!(
            "insert into {table} select r.* from {table} t, generate_series(1, 3000) n,
               jsonb_populate_record(t, jsonb_build_object('{id}', gen_random_uuid(),
                 'created_at', now() + n * interval '1 minute', 'at', now() + n * interval '1 minute',
                 'scheduled_at', now() + n * interval '1 minute')) r;
             analyze {table}"
        );
        sqlx::raw_sql(AssertSqlSafe(many)).execute(&database.pool).await.expect("rows");
        let explain = format!(
            "explain select * from {table}_v1 where company_id = '{ours}' and ({sort}, {id}) > (now() + interval '1 day', '{ours}')
              order by {sort}, {id} limit 21",
            ours = OURS.0,
        );
        let mut conn = connect(&options, Some(OURS)).await;
        let plan: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut conn).await.expect("a plan");
        let by_index = |line: &String| line.contains("Index Cond") && line.contains("ROW(");
        assert!(plan.iter().any(by_index), "{table}: {}", plan.join("\n"));
    }
}
