//! The database stops in the middle of everything and comes back.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use eventlog::envelope::{Position, Version};
use eventlog::store::{AppendError, EventStore, Filter};
use futures::future::{join_all, try_join_all};

use crate::database::Database;
use crate::samples::{append, stream};

/// A server of the test's own, which flushes to the disk and is gone when the test is.
struct Server {
    binaries: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let server = Self { binaries: binaries(), folder, port };
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(server.folder.path()).status();
            assert!(owned.expect("chown runs").success());
        }
        server.run("initdb", &["--username=postgres", "--auth=trust", "--no-sync", "-D", "data"]);
        server.resume();
        server
    }

    fn resume(&self) {
        let options = format!("-p {} -c listen_addresses=127.0.0.1 -k .", self.port);
        self.run("pg_ctl", &["start", "-w", "-D", "data", "-l", "log", "-o", &options]);
    }

    /// Stops at once and without a farewell, like a power cut.
    fn stop(&self) {
        self.run("pg_ctl", &["stop", "-w", "-m", "immediate", "-D", "data"]);
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.binaries.join(program);
        let mut command = if is_root() {
            // The server refuses to run as root.
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let status = command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("PostgreSQL's programs run").success(), "{arguments:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.folder.path().join("data/postmaster.pid").exists() {
            self.stop();
        }
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout.trim_ascii() == b"0"
}

fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path().join("bin")).max();
    let is_there = |folder: &PathBuf| folder.join("initdb").exists();
    newest.filter(is_there).unwrap_or_else(|| {
        let asked = Command::new("pg_config").arg("--bindir").output();
        let asked = asked.expect("PostgreSQL's programs are installed").stdout;
        Path::new(String::from_utf8_lossy(&asked).trim()).to_path_buf()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_loses_nothing_that_was_acknowledged() {
    let server = Server::start();
    let database = Database::create_on(&server.url()).await;
    let store = database.store_with_deadline(Duration::from_millis(1500));
    let (over, n_stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers = (0..8).map(|_| {
        let (store, over, n_stored) =
            (Arc::clone(&store), Arc::clone(&over), Arc::clone(&n_stored));
        tokio::spawn(async move {
            let (own, mut expected, mut stored) = (stream(), 0, Vec::new());
            let mut sent = append(&own, expected, 1);
            let mut is_unclear = false;
            while !over.load(Ordering::Acquire) || is_unclear {
                match store.append(sent.clone()).await {
                    Ok(appended) => assert_eq!(appended.version, Version(expected + 1)),
                    Err(AppendError::Unavailable) => continue,
                    Err(AppendError::OutcomeUnknown) => {
                        is_unclear = true;
                        continue;
                    }
                    // The one that was unclear had been stored after all.
                    Err(AppendError::Conflict { found }) => {
                        assert!(is_unclear);
                        assert_eq!(found, Version(expected + 1));
                    }
                    Err(other) => panic!("{other}"),
                }
                is_unclear = false;
                stored.push(sent.events[0].event_id);
                n_stored.fetch_add(1, Ordering::AcqRel);
                expected += 1;
                sent = append(&own, expected, 1);
            }
            stored
        })
    });
    let writers: Vec<_> = writers.collect();
    let until = async |n: u64| {
        while n_stored.load(Ordering::Acquire) < n {
            tokio::task::yield_now().await;
        }
    };
    until(200).await;
    server.stop();
    // Whoever comes now has sent nothing and is told so when time is up.
    let answers = join_all((0..3).map(|_| store.append(append(&stream(), 0, 1)))).await;
    assert!(answers.iter().all(|answer| *answer == Err(AppendError::Unavailable)), "{answers:?}");
    server.resume();
    until(n_stored.load(Ordering::Acquire) + 200).await;
    over.store(true, Ordering::Release);
    let stored = try_join_all(writers).await.expect("all writers end").concat();

    let page = store.read_log(Position(0), &Filter::default(), 100_000).await.expect("reads");
    assert!(page.events.iter().map(|event| event.position.0).eq(1..=page.head.0));
    let found: HashSet<_> = page.events.iter().map(|event| event.event_id).collect();
    assert_eq!(found, stored.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_may_start_before_its_database() {
    let server = Server::start();
    let database = Database::create_on(&server.url()).await;
    server.stop();
    let store = database.store();
    let early = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.append(append(&stream(), 0, 1)).await }
    });
    server.resume();
    early.await.expect("ends").expect("waits for the database");
    assert_eq!(store.head().await, Ok(Position(1)));
}
