//! A PostgreSQL and a broker of a test's own, for those that harm them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use secrecy::ExposeSecret;
use server::embedded::{DATABASE, EmbeddedPostgres, Settings};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::door::Door;
use crate::process::free_port;
use crate::world::root;

/// A server that flushes to the disk, behind a door that keeps its address over restarts.
pub struct Postgres {
    /// Its data folder.
    pub settings: Settings,
    pub door: Door,
    server: Option<EmbeddedPostgres>,
    _folder: TempDir,
}

impl Postgres {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::start_with(Settings::new(folder.path()), folder).await
    }

    /// One with other settings, whose data goes with `folder`.
    pub async fn start_with(settings: Settings, folder: TempDir) -> Self {
        let server = EmbeddedPostgres::start(settings.clone()).await.expect("PostgreSQL starts");
        let door = Door::to(address(&server)).await;
        Self { settings, door, server: Some(server), _folder: folder }
    }

    /// Where the database is, through the door.
    pub fn url(&self) -> String {
        let server = self.server.as_ref().expect("a server");
        let (own, through) = (server.port().to_string(), self.door.address.port().to_string());
        server.url(DATABASE).expose_secret().replace(&own, &through)
    }

    /// A connection to the server's own database, past the door.
    pub async fn connect(&self) -> PgConnection {
        let server = self.server.as_ref().expect("a server");
        let url = server.url("postgres");
        PgConnection::connect(url.expose_secret()).await.expect("the server answers")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.settings.data.join("pg.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The process ids of all the server's processes.
    pub fn pids(&self) -> Vec<Pid> {
        let first = self.pid();
        let mut children = Command::new("ps");
        children.args(["-o", "pid=", "--ppid", &first.to_string()]);
        let listed = children.output().expect("ps runs");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let pids = listed.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw);
        std::iter::once(first).chain(pids).collect()
    }

    /// The process id of the server's first process.
    pub fn pid(&self) -> Pid {
        let file = self.settings.data.join("pg/postmaster.pid");
        let text = std::fs::read_to_string(file).expect("a server");
        Pid::from_raw(text.lines().next().and_then(|pid| pid.parse().ok()).expect("a process id"))
    }

    /// Ends it at once: SIGQUIT is PostgreSQL's immediate stop, SIGKILL what a machine does.
    pub async fn end(&mut self, signal: Signal) {
        let mut server = self.server.take().expect("a server");
        // One that has ended by itself leaves nobody to signal.
        if self.settings.data.join("pg/postmaster.pid").exists() {
            let _ = signal::kill(self.pid(), signal);
        }
        server.exited().await.expect("a server of ours");
    }

    /// Starts it again on its data.
    pub async fn resume(&mut self) {
        let server = EmbeddedPostgres::start(self.settings.clone()).await;
        let server = server.expect("PostgreSQL starts");
        self.door.turn_to(address(&server));
        self.server = Some(server);
    }

    /// Stops it in good order.
    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await.expect("stops");
        }
    }
}

fn address(server: &EmbeddedPostgres) -> SocketAddr {
    ([127, 0, 0, 1], server.port()).into()
}

/// A broker that is gone when this is dropped.
pub struct Broker {
    folder: TempDir,
    port: u16,
    /// The port that clients are told.
    advertised: Option<u16>,
}

impl Broker {
    pub fn start() -> Self {
        Self::start_as(None)
    }

    /// One that tells its clients to come to another port of this machine.
    pub fn start_advertising(port: u16) -> Self {
        Self::start_as(Some(port))
    }

    fn start_as(advertised: Option<u16>) -> Self {
        // The next port is taken for the controller.
        let port = std::iter::repeat_with(free_port)
            .find(|port| std::net::TcpListener::bind(("127.0.0.1", port + 1)).is_ok())
            .expect("two free ports");
        let broker = Self { folder: tempfile::tempdir().expect("a folder"), port, advertised };
        broker.resume();
        broker
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub fn bootstrap(&self) -> String {
        self.address().to_string()
    }

    fn run(&self, verb: &str, arguments: &[&str]) {
        let script: PathBuf = root().join("deploy/kafka/broker.sh");
        let status = Command::new(script)
            .arg(verb)
            .arg(self.folder.path())
            .args(arguments)
            .env("KAFKA_HEAP", "256m")
            .env("KAFKA_ADVERTISED_PORT", self.advertised.unwrap_or(self.port).to_string())
            .status()
            .expect("the script runs");
        assert!(status.success(), "{verb}: {status}");
    }

    /// Starts it again with its records.
    pub fn resume(&self) {
        self.run("start", &[&self.port.to_string()]);
    }

    /// Sends it a signal, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: Signal) {
        let text = std::fs::read_to_string(self.folder.path().join("broker.pid"));
        let pid = text.ok().and_then(|pid| pid.trim().parse().ok()).expect("a running broker");
        signal::kill(Pid::from_raw(pid), signal).expect("a broker of ours");
    }

    /// Ends it by SIGKILL.
    pub fn kill(&self) {
        self.run("kill", &[]);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
