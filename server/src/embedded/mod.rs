//! A private PostgreSQL for one process: found, initialised, started, watched and stopped here.
//!
//! The data folder holds `lock` (one process at a time), `pg` (the cluster), `pg.password`, `pg.log` and `pg.sock`.
//! The server is a direct child, durable by default, and reachable from this machine alone. What a crash leaves behind
//! is put in order by the next start: a server that still runs is stopped, a half-made cluster is made anew, and a
//! process id that now belongs to somebody else does not stand in the way.

mod account;
mod folder;
mod programs;
mod server;
mod takeover;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use account::Account;
use server::Server;

/// The database that [`EmbeddedPostgres::start`] creates when it is absent.
pub const DATABASE: &str = "colloquy";

const SUPERUSER: &str = "app";
const FAST_STOP: Duration = Duration::from_secs(60);
const IMMEDIATE_STOP: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(30);

/// Where the private server lives and how it is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The installation's data folder; made when absent.
    pub data: PathBuf,
    /// The folder of `postgres` and `initdb`; searched for when `None`.
    pub pg_bin: Option<PathBuf>,
    /// Server options as `name=value`, stronger than ours.
    pub options: Vec<String>,
}

impl Settings {
    /// A durable server in `data`, run by the programs that are found on this machine.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), pg_bin: None, options: Vec::new() }
    }
}

/// Why there is no private server.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error(
        "no PostgreSQL of version {} or newer was found; install it with: {install}",
        programs::OLDEST_MAJOR
    )]
    NotInstalled { install: String },
    #[error(
        "{} does not hold postgres and initdb of version {} or newer",
        folder.display(),
        programs::OLDEST_MAJOR
    )]
    NoProgramsIn { folder: PathBuf },
    #[error(
        "the data in {} are PostgreSQL {cluster}'s, which was not found; install it with: {install}",
        data.display()
    )]
    OtherVersion { data: PathBuf, cluster: u32, install: String },
    #[error("the data folder {} is in use by another process", data.display())]
    InUse { data: PathBuf },
    #[error(
        "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` for it"
    )]
    NoAccount,
    #[error(
        "PostgreSQL refuses to run as root and runs as `{user}`, who cannot enter {folder}; choose another data \
         folder, start as another user than root, or run: chmod o+x {folder}",
        folder = folder.display()
    )]
    NotPassable { folder: PathBuf, user: String },
    #[error("cannot {action} {}", path.display())]
    Files { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} failed: {output}", program.display())]
    Program { program: PathBuf, output: String },
    #[error("PostgreSQL did not start: {log}")]
    DidNotStart { log: String },
    #[error("an earlier PostgreSQL on the same data, process {pid}, does not end")]
    DoesNotEnd { pid: i32 },
    #[error("the private PostgreSQL answers with an error")]
    Database(#[from] sqlx::Error),
}

/// Names what was done to which path when an operation on files fails.
fn files(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    move |source| EmbeddedError::Files { action, path: path.to_owned(), source }
}

/// A running private server. Dropping it asks the server to stop without waiting; [`Self::stop`] waits.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    /// Absent once stopped.
    child: Option<Child>,
    port: u16,
    password: SecretString,
    sockets: PathBuf,
    /// The operating system lets go of the lock when this closes, however the process ends.
    _lock: File,
}

impl EmbeddedPostgres {
    /// Starts the server of `settings.data`, making the cluster and the database [`DATABASE`] when they are absent.
    /// Returns once it answers. A second process on the same folder gets [`EmbeddedError::InUse`].
    pub async fn start(settings: Settings) -> Result<Self, EmbeddedError> {
        let data = folder::prepare(&settings.data)?;
        let lock = folder::lock(&data)?;
        let cluster = data.join("pg");
        let account = account::for_cluster(&cluster)?;
        if let Some(account) = &account {
            account.check_passable(&data)?;
        }
        let programs = programs::find(settings.pg_bin.as_deref(), &cluster)?;
        takeover::take_over(&cluster).await?;

        let password = folder::password(&data, account.as_ref())?;
        if !cluster.join("PG_VERSION").exists() {
            folder::initialise(&programs, &data, account.as_ref()).await?;
        } else if let Some(account) = &account {
            account.own_all(&cluster)?;
        }
        let sockets = folder::socket_folder(&data, account.as_ref())?;

        let server = Server { programs, cluster, sockets, account, options: settings.options };
        let (child, port) = server.start(&data).await?;
        // Made before anything else can fail, so that every way out from here stops the server.
        let postgres =
            Self { child: Some(child), port, password, sockets: server.sockets, _lock: lock };
        postgres.prepare_database().await?;
        tracing::info!(port, "private PostgreSQL started");
        Ok(postgres)
    }

    /// The URL of one of the server's databases, password included, over 127.0.0.1.
    pub fn url(&self, database: &str) -> SecretString {
        let (password, port) = (self.password.expose_secret(), self.port);
        format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
            .into()
    }

    /// The port on 127.0.0.1; another one after each start.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the server ends by itself, which it should not. Safe to drop and call again.
    pub async fn exited(&mut self) -> io::Result<ExitStatus> {
        match &mut self.child {
            Some(child) => child.wait().await,
            None => Ok(ExitStatus::default()),
        }
    }

    /// Stops cleanly: open transactions are rolled back, what is committed is written out. After 60 s less gently.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        for (signal, patience) in [(Signal::SIGINT, FAST_STOP), (Signal::SIGQUIT, IMMEDIATE_STOP)] {
            signal_child(&child, signal);
            if timeout(patience, child.wait()).await.is_ok() {
                folder::remove_temporary_sockets(&self.sockets);
                return Ok(());
            }
            tracing::warn!(%signal, "private PostgreSQL does not stop");
        }
        let pid = child.id().map_or(0, |pid| pid.cast_signed());
        child.kill().await.map_err(|_| EmbeddedError::DoesNotEnd { pid })
    }

    /// Lets the password work over TCP, even when its file was lost, and creates the product's database.
    async fn prepare_database(&self) -> Result<(), EmbeddedError> {
        let mut local = PgConnection::connect_with(&over_socket(&self.sockets, self.port)).await?;
        let over_tcp: PgConnectOptions = self.url("postgres").expose_secret().parse()?;
        match over_tcp.connect().await {
            Ok(connection) => connection.close().await?,
            Err(error) if code_of(&error).as_deref() == Some("28P01") => {
                // The password is ours and alphanumeric, and a role's password takes no parameter.
                let password = self.password.expose_secret();
                let sql = format!("ALTER ROLE {SUPERUSER} PASSWORD '{password}'");
                sqlx::query(AssertSqlSafe(sql)).execute(&mut local).await?;
            }
            Err(error) => return Err(error.into()),
        }
        let exists: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
                .bind(DATABASE)
                .fetch_one(&mut local)
                .await?;
        if !exists {
            sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {DATABASE}")))
                .execute(&mut local)
                .await?;
        }
        local.close().await?;
        Ok(())
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            signal_child(child, Signal::SIGINT);
        }
    }
}

/// A command that speaks English, whatever the machine's language, for its words are read here.
fn command(program: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    // The present folder may be closed to the account.
    command.current_dir("/").env("LC_ALL", "C").stdin(Stdio::null());
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

fn over_socket(sockets: &Path, port: u16) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(sockets)
        .port(port)
        .username(SUPERUSER)
        .database("postgres")
        .ssl_mode(PgSslMode::Disable)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}

fn code_of(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(Into::into)
}

fn signal_child(child: &Child, signal: Signal) {
    let Some(pid) = child.id() else { return };
    if let Err(error) = kill(Pid::from_raw(pid.cast_signed()), signal) {
        tracing::warn!(pid, %signal, %error, "cannot signal the private PostgreSQL");
    }
}

/// The folder of the programs that a new private server would be run by.
///
/// # Errors
/// [`EmbeddedError::NotInstalled`] with the command that installs them.
pub fn find_programs(explicit: Option<PathBuf>) -> Result<PathBuf, EmbeddedError> {
    programs::find(explicit.as_deref(), Path::new(""))
}
