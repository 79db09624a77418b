//! Puts in order what a crash of this process, of the server or of the machine left behind.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::{EmbeddedError, FAST_STOP, IMMEDIATE_STOP, POLL, files, folder};

/// Stops a server that still runs on the cluster and makes a pid file that misleads harmless. Our lock is held, so no
/// other process of this product is at work there.
pub(super) async fn take_over(cluster: &Path) -> Result<(), EmbeddedError> {
    let path = cluster.join("postmaster.pid");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(files("read", &path)(error)),
    };
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.trim().parse::<i32>().ok());
    // The fifth line is the folder of the socket.
    let sockets = lines.nth(3).map(Path::new);

    match pid.filter(|pid| *pid > 0) {
        // Torn by a power loss. With the machine's memory went every process it could have named.
        None => fs::remove_file(&path).map_err(files("remove", &path))?,
        Some(pid) if is_server_of(pid, cluster) => {
            tracing::info!(pid, "stopping the PostgreSQL that an earlier process left running");
            end(pid, cluster).await?;
        }
        Some(pid) if exists(pid) => {
            // The id now belongs to somebody else, and the server would refuse to start beside it. Removing the file
            // would also take away the note of the shared memory by which the server notices processes of a killed
            // predecessor. Our own id keeps the note: a server knows that its parent is not a server.
            let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
            let harmless = format!("{}\n{rest}", std::process::id());
            fs::write(&path, harmless).map_err(files("write", &path))?;
        }
        Some(_) => {}
    }
    if let Some(sockets) = sockets {
        folder::remove_temporary_sockets(sockets);
    }
    Ok(())
}

async fn end(pid: i32, cluster: &Path) -> Result<(), EmbeddedError> {
    for (signal, patience) in [(Signal::SIGINT, FAST_STOP), (Signal::SIGQUIT, IMMEDIATE_STOP)] {
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) => {}
            Err(Errno::ESRCH) => return Ok(()),
            Err(_) => return Err(EmbeddedError::DoesNotEnd { pid }),
        }
        if ended_within(patience, pid, cluster).await {
            return Ok(());
        }
    }
    Err(EmbeddedError::DoesNotEnd { pid })
}

async fn ended_within(patience: Duration, pid: i32, cluster: &Path) -> bool {
    let until = Instant::now() + patience;
    while is_server_of(pid, cluster) {
        if Instant::now() > until {
            return false;
        }
        sleep(POLL).await;
    }
    true
}

/// Whether the process lives and is a server on this very cluster. One that has ended and only waits to be asked for
/// its exit code has no command line any more.
fn is_server_of(pid: i32, cluster: &Path) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).or_else(|_| {
        let pid = pid.to_string();
        Command::new("ps").args(["-o", "args=", "-p", &pid]).output().map(|output| output.stdout)
    });
    let Ok(command) = command else { return false };
    let has = |part: &[u8]| command.windows(part.len()).any(|window| window == part);
    has(b"postgres") && has(cluster.as_os_str().as_encoded_bytes())
}

fn exists(pid: i32) -> bool {
    !matches!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH))
}
