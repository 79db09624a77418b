use std::fs;
use std::mem;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::unistd::geteuid;
use tempfile::TempDir;

use super::*;

/// A data folder below a temporary one that the server's account can pass, as a user's would be.
fn folder() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let data = parent.path().join("data");
    (parent, data)
}

async fn start(data: &Path) -> EmbeddedPostgres {
    EmbeddedPostgres::start(Settings::new(data)).await.unwrap()
}

async fn connect(postgres: &EmbeddedPostgres) -> PgConnection {
    PgConnection::connect(postgres.url(DATABASE).expose_secret()).await.unwrap()
}

async fn ask(postgres: &EmbeddedPostgres, sql: &'static str) -> String {
    sqlx::query_scalar(sql).fetch_one(&mut connect(postgres).await).await.unwrap()
}

async fn note(postgres: &EmbeddedPostgres, text: &str) {
    let mut connection = connect(postgres).await;
    sqlx::query("CREATE TABLE IF NOT EXISTS notes (text text)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("INSERT INTO notes VALUES ($1)").bind(text).execute(&mut connection).await.unwrap();
}

async fn notes(postgres: &EmbeddedPostgres) -> String {
    ask(postgres, "SELECT string_agg(text, ' ' ORDER BY text) FROM notes").await
}

fn server_pid(data: &Path) -> i32 {
    let text = fs::read_to_string(data.join("pg/postmaster.pid")).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

/// Lets go of everything this process holds and leaves the server running, as a SIGKILL of this process would.
fn crash(mut postgres: EmbeddedPostgres) {
    mem::forget(postgres.child.take());
}

#[tokio::test]
async fn what_was_written_survives_a_stop_and_a_start() {
    let (_parent, data) = folder();
    let postgres = start(&data).await;
    let password = fs::metadata(data.join("pg.password")).unwrap();
    assert_eq!(password.mode() & 0o777, 0o600);
    note(&postgres, "first").await;
    postgres.stop().await.unwrap();
    assert!(!data.join("pg/postmaster.pid").exists());

    let postgres = start(&data).await;
    note(&postgres, "second").await;
    assert_eq!(notes(&postgres).await, "first second");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_committed_survives_a_kill_of_the_server() {
    let (_parent, data) = folder();
    let mut postgres = start(&data).await;
    note(&postgres, "committed").await;
    // A session in the middle of a statement outlives its killed server for a while and holds the shared memory.
    let mut busy = connect(&postgres).await;
    let busy = tokio::task::JoinSet::from_iter([async move {
        sqlx::query("SELECT count(*) FROM generate_series(1, 20000000)").execute(&mut busy).await
    }]);
    kill(Pid::from_raw(server_pid(&data)), Signal::SIGKILL).unwrap();
    assert!(!postgres.exited().await.unwrap().success());
    drop(postgres);

    let postgres = start(&data).await;
    assert_eq!(notes(&postgres).await, "committed");
    postgres.stop().await.unwrap();
    drop(busy);
}

#[tokio::test]
async fn a_server_left_running_by_a_crash_is_taken_over() {
    let (_parent, data) = folder();
    let postgres = start(&data).await;
    note(&postgres, "kept").await;
    let left = server_pid(&data);
    crash(postgres);

    let postgres = start(&data).await;
    assert_ne!(server_pid(&data), left);
    assert_eq!(notes(&postgres).await, "kept");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_process_id_that_now_belongs_to_somebody_else_does_not_stand_in_the_way() {
    let (_parent, data) = folder();
    let postgres = start(&data).await;
    let pid_file = data.join("pg/postmaster.pid");
    let text = fs::read_to_string(&pid_file).unwrap();
    kill(Pid::from_raw(server_pid(&data)), Signal::SIGKILL).unwrap();
    drop(postgres);
    // A program of another kind under the server's account: beside one of those the server alone would not start.
    let mut other = Command::new("sleep");
    other.arg("600").kill_on_drop(true);
    if let Some(account) = account::for_cluster(&data.join("pg")).unwrap() {
        other.uid(account.uid);
    }
    let other = other.spawn().unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&pid_file, format!("{}\n{rest}", other.id().unwrap())).unwrap();

    start(&data).await.stop().await.unwrap();
}

#[tokio::test]
async fn a_pid_file_torn_by_a_power_loss_does_not_stand_in_the_way() {
    let (_parent, data) = folder();
    start(&data).await.stop().await.unwrap();
    fs::write(data.join("pg/postmaster.pid"), "").unwrap();
    start(&data).await.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_half_made_is_made_anew() {
    let (_parent, data) = folder();
    fs::create_dir_all(data.join("pg.new/base")).unwrap();
    start(&data).await.stop().await.unwrap();
    assert!(!data.join("pg.new").exists());
}

#[tokio::test]
async fn one_data_folder_serves_one_process() {
    let (_parent, data) = folder();
    let postgres = start(&data).await;
    let refused = EmbeddedPostgres::start(Settings::new(&data)).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::InUse { .. }), "{refused}");
    assert_eq!(ask(&postgres, "SELECT 'unharmed'").await, "unharmed");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn commits_are_durable_unless_a_setting_says_otherwise() {
    let (_parent, data) = folder();
    let postgres = start(&data).await;
    assert_eq!(ask(&postgres, "SHOW fsync").await, "on");
    assert_eq!(ask(&postgres, "SHOW synchronous_commit").await, "on");
    assert_eq!(ask(&postgres, "SHOW listen_addresses").await, "127.0.0.1");
    postgres.stop().await.unwrap();

    let options = vec!["fsync=off".to_owned()];
    let postgres =
        EmbeddedPostgres::start(Settings { options, ..Settings::new(&data) }).await.unwrap();
    assert_eq!(ask(&postgres, "SHOW fsync").await, "off");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_setting_the_server_does_not_know_is_named() {
    let (_parent, data) = folder();
    let options = vec!["no_such_thing=1".to_owned()];
    let refused =
        EmbeddedPostgres::start(Settings { options, ..Settings::new(&data) }).await.unwrap_err();
    assert!(refused.to_string().contains("no_such_thing"), "{refused}");
}

#[tokio::test]
async fn a_lost_password_file_is_replaced() {
    let (_parent, data) = folder();
    let postgres = start(&data).await;
    note(&postgres, "mine").await;
    postgres.stop().await.unwrap();
    fs::remove_file(data.join("pg.password")).unwrap();

    let postgres = start(&data).await;
    assert_eq!(notes(&postgres).await, "mine");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket_that_goes_with_the_server() {
    let (_parent, data) = folder();
    let data = data.join("a, 'quoted' name").join("long".repeat(30));
    if geteuid().is_root() {
        // Closed folders on the way are another test's matter.
        fs::create_dir_all(&data).unwrap();
        for folder in data.ancestors().take(3) {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).unwrap();
        }
    }
    let postgres = start(&data).await;
    let sockets = postgres.sockets.clone();
    assert!(sockets.starts_with("/tmp"));
    note(&postgres, "reached").await;
    crash(postgres);

    let postgres = start(&data).await;
    assert!(!sockets.exists());
    let sockets = postgres.sockets.clone();
    assert_eq!(notes(&postgres).await, "reached");
    postgres.stop().await.unwrap();
    assert!(!sockets.exists());
}

#[tokio::test]
async fn a_folder_without_programs_is_refused() {
    let (parent, data) = folder();
    let pg_bin = Some(parent.path().to_owned());
    let refused =
        EmbeddedPostgres::start(Settings { pg_bin, ..Settings::new(&data) }).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::NoProgramsIn { .. }), "{refused}");
}

#[tokio::test]
async fn data_of_a_version_that_is_not_installed_are_left_alone() {
    let (_parent, data) = folder();
    fs::create_dir_all(data.join("pg")).unwrap();
    fs::write(data.join("pg/PG_VERSION"), "9999\n").unwrap();
    let refused = EmbeddedPostgres::start(Settings::new(&data)).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::OtherVersion { cluster: 9999, .. }), "{refused}");
}

#[tokio::test]
async fn root_hears_which_folder_is_closed_to_the_server() {
    if !geteuid().is_root() {
        return; // Only root lends the server another account.
    }
    let (parent, data) = folder();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let refused = EmbeddedPostgres::start(Settings::new(&data)).await.unwrap_err();
    let closed = fs::canonicalize(parent.path()).unwrap();
    assert!(
        matches!(&refused, EmbeddedError::NotPassable { folder, .. } if *folder == closed),
        "{refused}"
    );
}
