//! Starts the server's process and waits until it answers.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use sqlx::{Connection, PgConnection};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::account::Account;
use super::{
    EmbeddedError, POLL, code_of, command, files, folder, last_lines, over_socket, signal_child,
};

const START_ATTEMPTS: u32 = 60;
/// How long a server may live without saying anything; one that says it recovers may take as long as it needs.
const SILENT_START: Duration = Duration::from_secs(60);

/// What it takes to start the server, once more if need be.
pub(super) struct Server {
    pub(super) programs: PathBuf,
    pub(super) cluster: PathBuf,
    pub(super) sockets: PathBuf,
    pub(super) account: Option<Account>,
    pub(super) options: Vec<String>,
}

enum Started {
    Ready,
    Ended,
}

impl Server {
    /// Answers the process and its port once it serves.
    pub(super) async fn start(&self, data: &Path) -> Result<(Child, u16), EmbeddedError> {
        let path = data.join("pg.log");
        let mut log = folder::open_log(&path).map_err(files("open", &path))?;
        let mut attempt = 1;
        loop {
            let from = log.seek(SeekFrom::End(0)).map_err(files("read", &path))?;
            let port = free_port()?;
            let mut child = self.spawn(port, &log)?;
            if let Started::Ready = self.wait_until_ready(&mut child, port).await? {
                return Ok((child, port));
            }
            let said = read_from(&mut log, from).map_err(files("read", &path))?;
            if attempt == START_ATTEMPTS || !passes_by_itself(&said) {
                return Err(EmbeddedError::DidNotStart { log: last_lines(&said) });
            }
            attempt += 1;
            sleep(Duration::from_millis(500)).await;
        }
    }

    fn spawn(&self, port: u16, log: &File) -> Result<Child, EmbeddedError> {
        let program = self.programs.join("postgres");
        let failed =
            |source| EmbeddedError::Files { action: "start", path: program.clone(), source };
        let mut command = command(&program, self.account.as_ref());
        command.arg("-D").arg(&self.cluster).arg("-k").arg(&self.sockets);
        command.args(["-p", &port.to_string()]);
        let ours = [
            "listen_addresses=127.0.0.1",
            // What a statement was about can name people; the log says only what went wrong.
            "log_error_verbosity=terse",
            "log_min_error_statement=panic",
        ];
        for option in ours.into_iter().chain(self.options.iter().map(String::as_str)) {
            command.args(["-c", option]);
        }
        command
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log.try_clone().map_err(failed)?)
            // A Ctrl-C at the terminal reaches only this process, which then decides the order of stopping.
            .process_group(0);
        command.spawn().map_err(failed)
    }

    async fn wait_until_ready(
        &self,
        child: &mut Child,
        port: u16,
    ) -> Result<Started, EmbeddedError> {
        let mut patience = Instant::now() + SILENT_START;
        loop {
            if child.try_wait().map_err(files("wait for", &self.programs))?.is_some() {
                return Ok(Started::Ended);
            }
            match timeout(
                Duration::from_secs(5),
                PgConnection::connect_with(&over_socket(&self.sockets, port)),
            )
            .await
            {
                Ok(Ok(connection)) => {
                    // A failed goodbye says nothing about the server: it has just answered.
                    drop(connection.close().await);
                    return Ok(Started::Ready);
                }
                // "The database system is starting up": it recovers, and that takes what it takes.
                Ok(Err(error)) if code_of(&error).as_deref() == Some("57P03") => {
                    patience = Instant::now() + SILENT_START;
                }
                Ok(Err(_)) | Err(_) => {}
            }
            if Instant::now() > patience {
                signal_child(child, Signal::SIGQUIT);
                let log = format!("no answer within {} s", SILENT_START.as_secs());
                return Err(EmbeddedError::DidNotStart { log });
            }
            sleep(POLL).await;
        }
    }
}

/// A lost race for the port, or the last processes of a killed server which are about to end.
fn passes_by_itself(log: &str) -> bool {
    ["Address already in use", "is still in use", "could not create any TCP/IP sockets"]
        .iter()
        .any(|sign| log.contains(sign))
}

/// A port that is free now. Another program may take it before the server does; then another one is tried.
fn free_port() -> Result<u16, EmbeddedError> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(files("find a free port on", Path::new("127.0.0.1")))
}

fn read_from(log: &mut File, from: u64) -> io::Result<String> {
    log.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
