//! The second wall: what the role that uses identity's tables sees and changes where a query forgets its
//! condition.

use std::collections::BTreeMap;

use identity::wall::WallError;
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::*;

/// Whose rows there are: two of everything, each of its own company, login, address and keys.
const OURS: u128 = 0xa;
const THEIRS: u128 = 0xb;

/// What has nothing of a company or a person.
const OPEN: [&str; 2] = ["rate_bucket", "signing_key"];

/// What a connection names, of one of the two.
const COMPANY: &str = "company_id";
const ACCOUNT: &str = "account_id";
const KEY: &str = "key";
const EMAIL: &str = "email";
const PLATFORM: &str = "platform";

fn named(what: &str, who: u128) -> String {
    match what {
        KEY => format!("{who:064x}"),
        EMAIL => format!("{who:x}@example.com"),
        PLATFORM => "true".to_owned(),
        _ => Uuid::from_u128(who).to_string(),
    }
}

/// Tables of the schema, with the names and types of their columns.
async fn tables(pool: &PgPool) -> BTreeMap<String, Vec<(String, String)>> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text, udt_name::text
           from information_schema.columns join information_schema.tables using (table_schema, table_name)
          where table_schema = 'identity' and table_type = 'BASE TABLE'",
    )
    .fetch_all(pool)
    .await
    .expect("the catalogue");
    let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (table, column, kind) in rows {
        tables.entry(table).or_default().push((column, kind));
    }
    tables
}

/// A row of somebody, with something of its type in every column.
fn row(columns: &[(String, String)], who: u128) -> Value {
    let value = |(name, kind): &(String, String)| {
        let value = match kind.as_str() {
            "uuid" => json!(Uuid::from_u128(who)),
            "bytea" => json!(format!("\\x{}", self::named(KEY, who))),
            "text" if name.contains("email") => json!(self::named(EMAIL, who)),
            "text" => json!("x"),
            "bool" => json!(false),
            "jsonb" => json!({}),
            "timestamptz" => json!("2026-01-01T00:00:00Z"),
            "int4" | "int8" => json!(who),
            other => panic!("{name} is of type {other}, which is not known here"),
        };
        (name.clone(), value)
    };
    Value::Object(columns.iter().map(value).collect::<Map<_, _>>())
}

async fn insert(conn: &mut PgConnection, table: &str, row: &Value) -> Result<(), String> {
    let insert = format!(
        "insert into identity.{table} overriding system value
         select * from jsonb_populate_record(null::identity.{table}, $1)"
    );
    let inserted = sqlx::query(AssertSqlSafe(insert)).bind(row).execute(conn).await;
    inserted.map(drop).map_err(|error| error.to_string())
}

struct Walls {
    database: TestDatabase,
    tables: BTreeMap<String, Vec<(String, String)>>,
    options: PgConnectOptions,
}

impl Walls {
    /// Both have a row in every table that is not open to all.
    async fn filled() -> Self {
        let database = TestDatabase::create().await;
        let options = user(&database.pool).await;
        let tables = tables(&database.pool).await;
        let walls = Self { database, tables, options };
        for table in walls.walled() {
            walls.refill(table, &[OURS, THEIRS]).await;
        }
        walls
    }

    /// Lets a table have a row of each of these, and no other.
    async fn refill(&self, table: &str, whose: &[u128]) {
        let mut owner = self.database.pool.begin().await.expect("begun");
        // In whatever order tables refer to each other.
        let unordered = sqlx::query("set local session_replication_role = replica");
        unordered.execute(&mut *owner).await.expect("the superuser may");
        let empty = AssertSqlSafe(format!("delete from identity.{table}"));
        sqlx::query(empty).execute(&mut *owner).await.expect("emptied");
        for who in whose {
            insert(&mut owner, table, &row(&self.tables[table], *who)).await.expect(table);
        }
        owner.commit().await.expect("committed");
    }

    /// A connection that names this of one of them, as nobody's query makes it.
    async fn about(&self, what: &str, who: u128) -> PgConnection {
        let mut conn = PgConnection::connect_with(&self.options).await.expect("it connects");
        let name = sqlx::query("select set_config('colloquy.' || $1, $2, false)");
        let name = name.bind(what).bind(named(what, who));
        name.execute(&mut conn).await.expect("a setting");
        conn
    }

    fn walled(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str).filter(|table| !OPEN.contains(table))
    }

    /// Whose rows a table has, as its owner sees it.
    async fn kept(&self, table: &str) -> Vec<Value> {
        let all = format!("select to_jsonb(t) from identity.{table} t order by 1");
        let all = sqlx::query_scalar(AssertSqlSafe(all));
        all.fetch_all(&self.database.pool).await.expect("the owner sees it")
    }
}

/// The rows that a query without any condition shows.
async fn shown(conn: &mut PgConnection, table: &str) -> Vec<Value> {
    let all = format!("select to_jsonb(t) from identity.{table} t order by 1");
    let all = sqlx::query_scalar(AssertSqlSafe(all)).fetch_all(conn).await;
    all.unwrap_or_else(|error| panic!("{table}: {error}"))
}

/// Whether a row is of this one, as far as it is anybody's.
fn is_of(row: &Value, who: u128) -> bool {
    let own = [named(COMPANY, who), named(KEY, who), named(EMAIL, who)];
    let text = row.to_string();
    own.iter().any(|own| text.contains(own.as_str()))
}

#[tokio::test]
async fn a_query_that_forgets_its_condition_sees_nothing_of_another_company_or_person() {
    let walls = Walls::filled().await;
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for what in [COMPANY, ACCOUNT, KEY, EMAIL, PLATFORM] {
        let mut conn = walls.about(what, OURS).await;
        for table in walls.walled() {
            let rows = shown(&mut conn, table).await;
            match what {
                PLATFORM => assert!([0, 2].contains(&rows.len()), "{table}"),
                _ => assert!(rows.iter().all(|row| is_of(row, OURS)), "{table} by {what}"),
            }
            if !rows.is_empty() {
                seen.entry(what).or_default().push(table);
            }
        }
    }
    // And what is shown is no more than is needed: another table here is a decision.
    let expected = BTreeMap::from([
        (COMPANY, vec!["api_key", "invitation", "membership", "sign_on", "sign_on_link"]),
        (
            ACCOUNT,
            vec![
                "account",
                "candidacy",
                "letter_token",
                "membership",
                "operator",
                "recovery_code",
                "refresh_token",
                "second_factor",
                "second_step",
                "session",
            ],
        ),
        (
            KEY,
            vec![
                "api_key",
                "candidate_registration",
                "interview_access",
                "invitation",
                "letter_pause",
                "letter_token",
                "login_attempt",
                "refresh_token",
                "second_step",
                "sign_on_attempt",
            ],
        ),
        (EMAIL, vec!["account"]),
        (
            PLATFORM,
            vec![
                "candidate_registration",
                "company_request",
                "letter_pause",
                "letter_token",
                "login_attempt",
                "mail",
                "outbox",
                "second_step",
                "sign_on_attempt",
            ],
        ),
    ]);
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_query_that_forgets_its_condition_changes_nothing_of_another_company_or_person() {
    let walls = Walls::filled().await;
    for what in [COMPANY, ACCOUNT, KEY, EMAIL] {
        let mut conn = walls.about(what, OURS).await;
        for table in walls.walled() {
            let column = &walls.tables[table][0].0;
            let theirs = walls.kept(table).await.into_iter().find(|row| is_of(row, THEIRS));
            let theirs = theirs.expect(table);
            for change in [
                format!("update identity.{table} set {column} = {column}"),
                format!("delete from identity.{table}"),
            ] {
                // Refused, or done to one's own.
                let _ = sqlx::query(AssertSqlSafe(change.clone())).execute(&mut conn).await;
                assert!(walls.kept(table).await.contains(&theirs), "{change} by {what}");
            }
            // Nor is a row made that is theirs. Letters are ordered by whoever has one to send.
            walls.refill(table, &[]).await;
            let made = insert(&mut conn, table, &row(&walls.tables[table], THEIRS)).await;
            match (table, made) {
                ("mail", made) => made.expect("ordered"),
                (_, Err(why)) if why.contains("violates row-level security policy") => {}
                (_, made) => panic!("{table} by {what}: {made:?}"),
            }
            walls.refill(table, &[OURS, THEIRS]).await;
        }
    }
}

#[tokio::test]
async fn a_login_does_not_move_its_own_membership_anywhere() {
    let walls = Walls::filled().await;
    let mut conn = walls.about(ACCOUNT, OURS).await;
    for column in ["company_id", "member_id", "account_id"] {
        let moved = format!("update identity.membership set {column} = gen_random_uuid()");
        let moved = sqlx::query(AssertSqlSafe(moved)).execute(&mut conn).await;
        let refused = moved.expect_err(column).to_string();
        assert!(refused.contains("permission denied"), "{column}: {refused}");
    }
    let came = sqlx::query("update identity.membership set last_signed_in_at = now()");
    assert_eq!(came.execute(&mut conn).await.expect("told").rows_affected(), 1);
}

#[tokio::test]
async fn a_connection_that_names_nothing_sees_and_changes_nothing() {
    let walls = Walls::filled().await;
    let mut conn = PgConnection::connect_with(&walls.options).await.expect("it connects");
    let mut emptied = walls.about(COMPANY, OURS).await;
    sqlx::query("reset all").execute(&mut emptied).await.expect("a setting");
    for conn in [&mut conn, &mut emptied] {
        for table in walls.walled() {
            assert_eq!(shown(conn, table).await, Vec::<Value>::new(), "{table}");
            let before = walls.kept(table).await;
            let delete = format!("delete from identity.{table}");
            let _ = sqlx::query(AssertSqlSafe(delete)).execute(&mut *conn).await;
            assert_eq!(walls.kept(table).await, before, "{table}");
        }
    }
}

#[tokio::test]
async fn the_role_cannot_leave_its_wall() {
    let walls = Walls::filled().await;
    let mut conn = walls.about(ACCOUNT, OURS).await;
    let owner: String = sqlx::query_scalar("select current_user::text")
        .fetch_one(&walls.database.pool)
        .await
        .expect("the owner");
    let refused = [
        "truncate identity.session".to_owned(),
        "set row_security = off; select * from identity.account".to_owned(),
        "alter table identity.account disable row level security".to_owned(),
        "drop policy own on identity.session".to_owned(),
        "create policy mine on identity.session using (true)".to_owned(),
        "create table identity.mine (company_id uuid)".to_owned(),
        "alter role current_user bypassrls".to_owned(),
        format!("set role {owner}"),
        format!("grant {owner} to current_user"),
        "delete from identity.account".to_owned(),
        "select * from rm_company".to_owned(),
        "select * from es_event".to_owned(),
        "select * from vault.secret".to_owned(),
        "grant select on vault.secret to public".to_owned(),
    ];
    for statement in refused {
        let tried = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut conn).await;
        let error = tried.err().unwrap_or_else(|| panic!("{statement}: was carried out"));
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
    }
    // The only function that runs with its owner's rights tells of everybody at once.
    let doors: Vec<String> = sqlx::query_scalar(
        "select p.oid::regprocedure::text from pg_proc p
          where p.prosecdef and has_function_privilege(p.oid, 'execute')
            and has_schema_privilege(p.pronamespace, 'usage')",
    )
    .fetch_all(&mut conn)
    .await
    .expect("the catalogue");
    assert_eq!(doors, ["identity.has_imported_hashes()"]);
}

#[tokio::test]
async fn a_role_that_could_pass_the_wall_is_refused() {
    let database = TestDatabase::create().await;
    let unique: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&database.pool)
        .await
        .expect("a name of its own");
    let cases = [
        ("superuser", "", "superuser"),
        ("bypassrls", "", "superuser"),
        ("in role pg_write_all_data", "", "superuser"),
        ("", "alter table identity.signing_key owner to {n}", "owns"),
        ("", "grant truncate on identity.session to {n}", "change"),
        ("", "grant insert on rm_job to {n}", "change"),
        ("", "grant select on es_event to {n}", "no row-level security"),
        ("", "", ""),
        ("", "alter table identity.session disable row level security", "change"),
    ];
    for (i, (attributes, then, what)) in cases.into_iter().enumerate() {
        let name = format!("user_{i}_{unique}");
        let make = format!(
            "create role {name} login {attributes}; select identity.let_in('{name}'); {}",
            then.replace("{n}", &name)
        );
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&database.pool).await.expect("a role");
        let options = database.pool.connect_options().as_ref().clone().username(&name);
        let wall = Wall::new(options, 1);
        match wall.check().await {
            Err(WallError::Open { role, hole }) => {
                assert!(role == name && !what.is_empty() && hole.contains(what), "{then}: {hole}");
            }
            other => assert!(other.is_ok() && what.is_empty(), "{attributes} {then}: {other:?}"),
        }
        let gone = format!(
            "reassign owned by {name} to current_user; drop owned by {name}; drop role {name}"
        );
        sqlx::raw_sql(AssertSqlSafe(gone)).execute(&database.pool).await.expect("it goes");
    }
}

#[tokio::test]
async fn connections_that_were_cut_are_noticed_by_nobody() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let account = session.principal.account_id.expect("an account");
    let all = (0..12).map(|_| w.identity.sessions(account));
    futures::future::join_all(all).await;
    let cut = async || {
        let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                    where usename = 'identity_user' and datname = current_database()";
        let n_cut = sqlx::query_scalar(cut).fetch_one(&w.database.pool).await;
        let n_cut: i64 = n_cut.expect("the superuser may");
        assert!(n_cut > 1, "{n_cut} connections");
    };
    cut().await;
    assert_eq!(w.identity.sessions(account).await.expect("listed").len(), 1);
    let all = (0..12).map(|_| w.identity.sessions(account));
    futures::future::join_all(all).await;
    cut().await;
    assert_eq!(w.identity.sign_out_everywhere(account, None).await.expect("ended"), 1);
}
