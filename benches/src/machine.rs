//! What the figures were measured on.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use eventlog::clock::{Clock, SystemClock};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::report::thousands;
use crate::settings::Settings;
use crate::system::quantile;

const SHOWN: [&str; 7] = [
    "fsync",
    "synchronous_commit",
    "wal_sync_method",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
    "max_connections",
];
const PROBING: Duration = Duration::from_secs(1);
const PAGE: [u8; 8192] = [7; 8192];

/// The section that says what and how.
///
/// # Errors
/// The server cannot be reached, or does not write through to the disk: then there is nothing to
/// compare.
pub async fn describe(settings: &Settings) -> anyhow::Result<String> {
    let mut connection =
        PgConnection::connect(&settings.server).await.context("the server cannot be reached")?;
    let mut shown = vec![];
    for name in SHOWN {
        let value = setting(&mut connection, name).await?;
        if matches!(name, "fsync" | "synchronous_commit") && value == "off" {
            bail!("{name} is off: durable writes are what is measured");
        }
        shown.push(format!("{name} {value}"));
    }
    let version = setting(&mut connection, "server_version").await?;
    let folder = PathBuf::from(setting(&mut connection, "data_directory").await?);
    connection.close().await?;

    let mut text = format!(
        "## What was measured on\n\n\
         - {}, `make bench`{}\n\
         - {} cores ({}), which server and clients share; {}; load average before the run {}\n\
         - PostgreSQL {version}, reached by TCP on the same machine: {}\n",
        SystemClock.now().format("%Y-%m-%d"),
        sizes(settings),
        std::thread::available_parallelism().map_or(0, usize::from),
        first_of("/proc/cpuinfo", "model name"),
        first_of("/proc/meminfo", "MemTotal"),
        load_average(),
        shown.join(", "),
    );
    match probe(&folder) {
        Ok((half, most)) => {
            let _ = writeln!(
                text,
                "- Writing 8 KiB and waiting until the disk has it (fdatasync, one at a time): half \
                 within {half:.3} ms, 99 in a hundred within {most:.3} ms, {} a second",
                thousands(1e3 / half),
            );
        }
        Err(_) => {
            text.push_str("- The time of a flush could not be measured in the server's folder\n")
        }
    }
    Ok(text)
}

async fn setting(connection: &mut PgConnection, name: &str) -> anyhow::Result<String> {
    let query = AssertSqlSafe(format!("show {name}"));
    Ok(sqlx::query_scalar(query).fetch_one(connection).await?)
}

/// How the run differs from the usual one.
fn sizes(settings: &Settings) -> String {
    format!(
        " ({} rounds of {} s a system, {} s of a snapshot, {} events of torture, {} rebuilt, {} \
         projected, {} relayed)",
        settings.rounds,
        settings.turn.as_secs_f64(),
        settings.snapshot.as_secs_f64(),
        thousands(settings.torture_events as f64),
        thousands(settings.rebuild_events as f64),
        thousands(settings.project_events as f64),
        thousands(settings.relay_events as f64),
    )
}

fn first_of(path: &str, key: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.split_once(':').filter(|l| l.0.trim() == key));
    line.map_or_else(|| format!("{key} unknown"), |(_, value)| value.trim().to_owned())
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// Half and 99 in a hundred of the flushes of a page took at most these milliseconds.
fn probe(folder: &Path) -> std::io::Result<(f64, f64)> {
    let path = folder.join("flush_probe");
    let mut file = File::create(&path)?;
    // Written over and over: the log of the server reuses its files, too.
    file.write_all(&PAGE)?;
    file.sync_all()?;
    let mut times = vec![];
    let began = Instant::now();
    while began.elapsed() < PROBING {
        let sent = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&PAGE)?;
        file.sync_data()?;
        times.push(sent.elapsed());
    }
    drop(file);
    std::fs::remove_file(&path)?;
    times.sort_unstable();
    let at = |percent| quantile(&times, percent).as_secs_f64() * 1e3;
    Ok((at(50), at(99)))
}
