//! Everything in one process, with a private database and without Kafka.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};

use crate::client::{Client, text};
use crate::process::{Process, colloquy, run};
use crate::world::until;

/// `colloquy all` with nothing but a data folder.
fn start(folder: &Path) -> Process {
    let mut command = colloquy();
    command.arg("all").env("COLLOQUY_DATA_DIR", folder);
    command.env("COLLOQUY_HTTP__LISTEN", "127.0.0.1:0");
    Process::start("all", command, folder)
}

/// What the greeting says about how to sign in as the administrator.
struct Greeting {
    address: SocketAddr,
    email: String,
    password: String,
}

async fn greeted(process: &mut Process) -> Greeting {
    until("everything greets", async || {
        process.is_running();
        let said = process.said();
        if !said.contains("Ctrl-C stops it") {
            return None;
        }
        assert!(said.contains("/graphiql"), "{said}");
        let (_, rest) = said.split_once("running at http://")?;
        let address = rest.split_whitespace().next()?.parse().expect("an address");
        let (_, rest) = said.split_once("administrator")?;
        let mut words = rest.split_whitespace();
        let (email, password) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(Greeting { address, email, password })
    })
    .await
}

async fn sign_in(greeting: &Greeting) -> Client {
    let input = json!({ "email": greeting.email, "password": greeting.password });
    Client::new(greeting.address).enter("signIn", input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_starts_everything_and_the_data_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = start(folder.path());
    let greeting = greeted(&mut first).await;
    let admin = sign_in(&greeting).await;
    let (status, page) = admin.get("/graphiql").await.expect("served");
    assert!(status == 200 && page.contains("<html"), "{page}");
    let (status, said) = admin.get("/health").await.expect("served");
    assert_eq!(status, 200, "{said}");
    let input = json!({ "title": "Lighthouse keeper", "description": "Keeps the light." });
    let made = admin.carry_out("createJob", input, "job { id }").await;
    let id = text(&made, "/job/id").to_owned();
    let code = first.terminate().await;
    assert!(code.success(), "{code}");
    assert!(!folder.path().join("pg/postmaster.pid").exists(), "the database was left running");

    let mut second = start(folder.path());
    let again = greeted(&mut second).await;
    assert_eq!((&again.email, &again.password), (&greeting.email, &greeting.password));
    let admin = sign_in(&again).await;
    let found =
        admin.query("query($id: ID!) { job(id: $id) { title } }", json!({ "id": id })).await;
    assert_eq!(found["job"]["title"], "Lighthouse keeper");
    assert!(second.terminate().await.success());
}

/// How the private database is reached by its superuser, whose password lies in the data folder.
fn private_database(folder: &Path) -> PgConnectOptions {
    let read = |name| std::fs::read_to_string(folder.join(name)).expect("a file");
    let port = read("pg/postmaster.pid").lines().nth(3).and_then(|port| port.parse().ok());
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port.expect("a port"))
        .username("app")
        .password(read("pg.password").trim())
        .database("colloquy")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_database_is_used_as_roles_that_own_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = start(folder.path());
    let admin = sign_in(&greeted(&mut first).await).await;
    admin.query("{ jobs { totalCount } }", json!({})).await;
    let options = private_database(folder.path());
    let mut owner = options.connect().await.expect("the superuser enters");
    for purpose in ["reader", "identity"] {
        let role = sqlx::query_as(
            "select r.rolname::text, r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb,
                    (select count(*) from pg_stat_activity a where a.usename = r.rolname)
               from pg_roles r where r.rolname = product_role($1)",
        );
        let (role, is_mighty, n_connections): (String, bool, i64) =
            role.bind(purpose).fetch_one(&mut owner).await.expect("the role");
        assert!(!is_mighty && n_connections > 0, "{role} has {n_connections} connections");
        let guessed = options.clone().username(&role).password("guessed").connect().await;
        let refused = guessed.err().and_then(|e| e.as_database_error()?.code().map(String::from));
        assert_eq!(refused.as_deref(), Some("28P01"));
        // Whatever happened to its password: the next start gives it the right one.
        let other = AssertSqlSafe(format!("alter role {role} password 'other'"));
        sqlx::query(other).execute(&mut owner).await.expect("altered");
    }
    drop(owner);
    assert!(first.terminate().await.success());
    let mut second = start(folder.path());
    let admin = sign_in(&greeted(&mut second).await).await;
    admin.query("{ jobs { totalCount } }", json!({})).await;
    assert!(second.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_passes_in_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = colloquy();
    command.arg("demo").env("COLLOQUY_DATA_DIR", folder.path());
    let (code, said) = run(command).await;
    assert!(code.success(), "{said}");
    let n_asserted = said.lines().filter(|line| line.contains("ok  ")).count();
    assert!(n_asserted >= 30, "the demo lists {n_asserted} things:\n{said}");
    assert!(!folder.path().join("pg/postmaster.pid").exists(), "the database was left running");
}

#[tokio::test]
async fn the_doctor_lists_what_is_there_and_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let doctor = || {
        let mut command = colloquy();
        command.arg("doctor").env("COLLOQUY_DATA_DIR", folder.path());
        command
    };
    let (code, said) = run(doctor()).await;
    assert!(code.success(), "{said}");
    assert!(said.contains("ok       PostgreSQL programs: found in"), "{said}");
    assert!(!said.contains("MISSING"), "{said}");

    let mut command = doctor();
    command.env("COLLOQUY_EMBEDDED__PG_BIN", folder.path());
    command.env("COLLOQUY_SECRETS__MASTER_KEY", "not hex");
    command.env("KAFKA_BOOTSTRAP", "127.0.0.1:1");
    command.env("COLLOQUY_AI__PROVIDERS", "[\"main\"]");
    let (code, said) = run(command).await;
    assert!(!code.success(), "{said}");
    for what in ["PostgreSQL programs", "master key", "Kafka", "AI providers"] {
        assert!(said.contains(&format!("MISSING  {what}: ")), "{what}: {said}");
    }
    assert!(said.contains("ok       files folder"), "{said}");
    assert!(!said.contains("not hex"), "{said}");

    let mut command = doctor();
    command.env("DATABASE_URL", "postgres://someone:their-password@127.0.0.1:1/none");
    let (code, said) = run(command).await;
    assert!(!code.success() && said.contains("MISSING  database"), "{said}");
    assert!(said.contains("MISSING  master key"), "{said}");
    assert!(!said.contains("their-password"), "{said}");
}
