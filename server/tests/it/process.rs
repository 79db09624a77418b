//! The product's real processes: started, watched, killed.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use uuid::Uuid;

use crate::client::Client;
use crate::world::{root, until};

/// The product's program, with none of this process' settings.
pub fn colloquy() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_colloquy"));
    for (name, _) in std::env::vars() {
        let is_alias = ["DATABASE_URL", "EVENTSTORE_URL", "KAFKA_BOOTSTRAP"].contains(&&*name);
        if is_alias || name.starts_with("COLLOQUY_") {
            command.env_remove(name);
        }
    }
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// A port that is free now, and that no connection is given by the system before a server takes it.
pub fn free_port() -> u16 {
    let below_those_given = std::iter::repeat_with(|| rand::random_range(12_000..32_000));
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    below_those_given.take(1000).find(is_free).expect("a free port")
}

/// Runs a program to its end and answers what it printed, errors last.
pub async fn run(mut command: Command) -> (ExitStatus, String) {
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let output = ran.expect("the program can be started");
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    (output.status, said.concat())
}

/// A running process of the product. It is killed when this is dropped; its log is shown if the test
/// fails.
pub struct Process {
    pub role: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the command. Its output goes to a file in `folder`.
    pub fn start(role: &str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{role}-{}.log", Uuid::new_v4().simple()));
        let file = File::create(&log).expect("a log file");
        let same = file.try_clone().expect("the same file");
        let child = command.stdout(same).stderr(file).spawn().expect("the program starts");
        Self { role: role.to_owned(), child, log }
    }

    /// What it has printed up to now.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The lines of its log as JSON.
    pub fn lines(&self) -> Vec<Value> {
        self.said().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until it serves, and answers where: the log tells it of `serve`, the greeting of `all`.
    pub async fn address(&mut self) -> SocketAddr {
        let what = format!("{} serves", self.role);
        until(&what, async || {
            self.is_running();
            let logged = self.lines().into_iter().find(|line| line["message"] == "serving");
            let logged = logged.and_then(|line| line["address"].as_str().map(str::to_owned));
            let greeting = || {
                let said = self.said();
                let (_, rest) = said.split_once("running at http://")?;
                rest.split_once('\n').map(|(address, _)| address.to_owned())
            };
            let address = logged.or_else(greeting)?;
            Some(address.parse().expect("an address"))
        })
        .await
    }

    /// Waits until it is ready for requests, and answers a client of it.
    pub async fn client(&mut self) -> Client {
        let client = Client::new(self.address().await);
        until("the API is ready", async || {
            (client.get("/ready").await.is_some_and(|(status, _)| status == 200)).then_some(())
        })
        .await;
        client
    }

    /// Asserts that it has not ended by itself.
    #[track_caller]
    pub fn is_running(&mut self) {
        let ended = self.child.try_wait().expect("a process of ours");
        assert!(ended.is_none(), "{} ended: {ended:?}\n{}", self.role, self.said());
    }

    /// The most memory that it has had at once, in bytes, since [`Process::forget_peak`].
    pub fn peak_bytes(&self) -> u64 {
        self.n_bytes("VmHWM:")
    }

    /// Lets the peak begin at the memory that it has now, in bytes, which is answered.
    pub fn forget_peak(&self) -> u64 {
        // See proc_pid_clear_refs(5).
        let path = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(path, "5").expect("a process of ours");
        self.n_bytes("VmRSS:")
    }

    fn n_bytes(&self, name: &str) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("a running process");
        let peak = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        kilobytes.and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).expect("a process of ours");
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process of ours");
        self.child.wait().expect("a process of ours");
    }

    /// Asks it to stop and waits until it has.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.until_ended().await
    }

    /// Waits until it ends.
    pub async fn until_ended(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.role);
        until(&what, async || self.child.try_wait().expect("a process of ours")).await
    }

    /// Waits until its fail point has killed it.
    pub async fn until_killed(mut self) {
        self.until_ended().await;
        self.was_killed();
    }

    /// Asserts that it ended because of its fail point and not by itself.
    #[track_caller]
    pub fn was_killed(&mut self) {
        let status = self.child.wait().expect("a process of ours");
        let signal = status.signal();
        assert_eq!(signal, Some(Signal::SIGKILL as i32), "{status}\n{}", self.said());
    }

    /// Whether it has ended already.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a process of ours").is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            // A private database is a child of its own and must be stopped by its parent.
            self.signal(Signal::SIGTERM);
            let began_at = Instant::now();
            while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
                if began_at.elapsed() > Duration::from_secs(30) {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if std::thread::panicking() {
            let said = self.said();
            let from = said.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
            eprintln!("── the end of {}'s log ──\n{}", self.role, &said[from..]);
        }
    }
}
