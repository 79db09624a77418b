//! The database role that reads: whom the program takes, and whom it refuses.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use uuid::Uuid;

use crate::process::run;
use crate::world::World;

const READ_URL: &str = "COLLOQUY_DATABASE__READ_URL";

async fn does(admin: &mut PgConnection, statements: String) {
    let done = sqlx::raw_sql(AssertSqlSafe(statements.clone())).execute(admin).await;
    done.unwrap_or_else(|error| panic!("{statements}: {error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_could_pass_the_wall_between_companies_stops_the_start() {
    let world = World::without_kafka().await;
    world.migrate().await;
    let superuser = world.url.clone();
    let (_, place) = superuser.split_once('@').expect("the superuser's name");
    let unknown = format!("postgres://nobody_at_all:their-password@{place}");
    let cases = [
        (superuser.as_str(), "superuser"),
        (unknown.as_str(), "nobody_at_all"),
        ("their-password", "database.read_url is no address"),
    ];
    for (url, what) in cases {
        let mut command = world.command(&["serve"]);
        command.env(READ_URL, url);
        let (code, said) = run(command).await;
        assert!(!code.success() && said.contains(what), "{said}");
        assert!(!said.contains("their-password"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_may_make_no_roles_names_the_one_that_reads() {
    let server = std::env::var("TEST_DATABASE_URL").expect("`make test` sets it");
    let options: PgConnectOptions = server.parse().expect("an address");
    let mut admin = options.connect().await.expect("the test server answers");
    let name = Uuid::new_v4().simple();
    let [owner, reader, database] = ["owner", "reader", "walls"].map(|of| format!("{of}_{name}"));
    does(&mut admin, format!("create role {owner} login; create role {reader} login")).await;
    does(&mut admin, format!("create database {database} owner {owner}")).await;
    let place = format!("{}:{}/{database}", options.get_host(), options.get_port());
    {
        let world = World::on(format!("postgres://{owner}@{place}"));
        let (code, said) = world.run(&["serve"]).await;
        assert!(
            !code.success() && said.contains("give its address as database.read_url"),
            "{said}"
        );
        let read_url = format!("postgres://{reader}@{place}");
        let mut serve = world.start_with("serve", &[(READ_URL, &read_url)]);
        serve.address().await;
        // The owner owns, and is as little let read as anybody who does.
        let mut command = world.command(&["serve"]);
        command.env(READ_URL, &world.url);
        let (code, said) = run(command).await;
        assert!(!code.success() && said.contains("it owns the database"), "{said}");
        assert!(serve.terminate().await.success());
        world.pool.close().await;
    }
    does(&mut admin, format!("drop database {database} with (force)")).await;
    does(&mut admin, format!("drop role {owner}; drop role {reader}")).await;
}
