//! The database roles behind the wall: whom the program takes, and whom it refuses.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use uuid::Uuid;

use crate::process::run;
use crate::world::World;

const READ_URL: &str = "COLLOQUY_DATABASE__READ_URL";
const IDENTITY_URL: &str = "COLLOQUY_DATABASE__IDENTITY_URL";

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
        ("their-password", "is no address"),
    ];
    for (variable, setting, role) in [
        (READ_URL, "database.read_url", "serve"),
        (IDENTITY_URL, "database.identity_url", "serve"),
        (IDENTITY_URL, "database.identity_url", "react"),
    ] {
        for (url, what) in cases {
            let mut command = world.command(&[role]);
            command.env(variable, url);
            let (code, said) = run(command).await;
            let is_told = said.contains(what) && said.contains(setting);
            assert!(!code.success() && is_told, "{setting}: {said}");
            assert!(!said.contains("their-password"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_may_make_no_roles_names_those_that_own_nothing() {
    let server = std::env::var("TEST_DATABASE_URL").expect("`make test` sets it");
    let options: PgConnectOptions = server.parse().expect("an address");
    let mut admin = options.connect().await.expect("the test server answers");
    let name = Uuid::new_v4().simple();
    let [owner, reader, user, database] =
        ["owner", "reader", "user", "walls"].map(|of| format!("{of}_{name}"));
    for role in [&owner, &reader, &user] {
        does(&mut admin, format!("create role {role} login")).await;
    }
    does(&mut admin, format!("create database {database} owner {owner}")).await;
    let place = format!("{}:{}/{database}", options.get_host(), options.get_port());
    {
        let world = World::on(format!("postgres://{owner}@{place}"));
        let [read_url, identity_url] =
            [&reader, &user].map(|role| format!("postgres://{role}@{place}"));
        let refused = async |settings: [(&str, &str); 2], what: &str| {
            let mut command = world.command(&["serve"]);
            command.envs(settings.into_iter().filter(|(_, url)| !url.is_empty()));
            let (code, said) = run(command).await;
            assert!(!code.success() && said.contains(what), "{what}: {said}");
        };
        refused([(READ_URL, ""), (IDENTITY_URL, "")], "its address as database.identity_url").await;
        let settings = [(READ_URL, ""), (IDENTITY_URL, identity_url.as_str())];
        refused(settings, "give its address as database.read_url").await;
        let settings = [(READ_URL, read_url.as_str()), (IDENTITY_URL, &identity_url)];
        let mut serve = world.start_with("serve", &settings);
        serve.address().await;
        // The owner owns, and is as little let in as anybody who does.
        refused([settings[0], (IDENTITY_URL, &world.url)], "it owns the database").await;
        refused([(READ_URL, &world.url), settings[1]], "it owns the database").await;
        // Who changes logins is not who reads the read models.
        refused([(READ_URL, &identity_url), settings[1]], "it may change tables").await;
        assert!(serve.terminate().await.success());
        world.pool.close().await;
    }
    does(&mut admin, format!("drop database {database} with (force)")).await;
    does(&mut admin, format!("drop role {owner}, {reader}, {user}")).await;
}
