//! Where this machine keeps PostgreSQL's programs, and how to get them when it does not.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

use super::{EmbeddedError, files};

/// Older servers lack what the migrations use.
pub(super) const OLDEST_MAJOR: u32 = 15;

/// Places that hold one folder per version: parent, and what stands before the version in the folder's name.
const VERSIONED: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/Applications/Postgres.app/Contents/Versions", ""),
];

/// The folder of `postgres` and `initdb` to use for `cluster`: of its own version if it exists already, else the first
/// that is new enough. An explicit folder is the only one looked at.
pub(super) fn find(explicit: Option<&Path>, cluster: &Path) -> Result<PathBuf, EmbeddedError> {
    let wanted = version_of(cluster)?;
    let folders = match explicit {
        Some(folder) => vec![folder.to_owned()],
        None => candidates(),
    };
    let found: Vec<(PathBuf, u32)> = folders
        .into_iter()
        .filter_map(|folder| major_of(&folder).map(|major| (folder, major)))
        .filter(|(_, major)| *major >= OLDEST_MAJOR)
        .collect();
    let fitting = found.iter().find(|(_, major)| wanted.is_none_or(|wanted| wanted == *major));
    match (fitting, explicit, wanted) {
        (Some((folder, _)), _, _) => Ok(folder.clone()),
        (None, _, Some(wanted)) => Err(EmbeddedError::OtherVersion {
            data: cluster.to_owned(),
            cluster: wanted,
            install: install_command(Some(wanted)),
        }),
        (None, Some(folder), None) => {
            Err(EmbeddedError::NoProgramsIn { folder: folder.to_owned() })
        }
        (None, None, None) => Err(EmbeddedError::NotInstalled { install: install_command(None) }),
    }
}

/// The major version that made the cluster; `None` when there is no cluster.
fn version_of(cluster: &Path) -> Result<Option<u32>, EmbeddedError> {
    let path = cluster.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(files("read", &path)(error)),
    }
}

fn candidates() -> Vec<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH is the system's list of programs, not a setting of this product"
    )]
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output()
        && output.status.success()
    {
        folders.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    for (parent, prefix) in VERSIONED {
        folders.extend(newest_first(Path::new(parent), prefix));
    }
    folders
}

fn newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|left, right| right.cmp(left));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

/// `None` unless both programs are there and tell their version.
fn major_of(folder: &Path) -> Option<u32> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    parse_major(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`; of a pre-release such as `19beta1`, the number.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL)")?.1.trim_start();
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

fn install_command(major: Option<u32>) -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    install_command_for(&release, geteuid().is_root(), major)
}

/// The command for a system that describes itself as in `/etc/os-release`; macOS has no such file.
fn install_command_for(os_release: &str, root: bool, major: Option<u32>) -> String {
    let field = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let systems = format!("{} {}", field("ID"), field("ID_LIKE"));
    let is = |names: &[&str]| systems.split_whitespace().any(|system| names.contains(&system));
    let command = if is(&["debian", "ubuntu"]) {
        match major {
            Some(major) => format!("apt-get install -y postgresql-{major}"),
            None => "apt-get install -y postgresql".to_owned(),
        }
    } else if is(&["fedora", "rhel", "centos"]) {
        "dnf install -y postgresql-server".to_owned()
    } else if is(&["suse", "opensuse"]) {
        "zypper install -y postgresql-server".to_owned()
    } else if is(&["arch"]) {
        "pacman -S --noconfirm postgresql".to_owned()
    } else if is(&["alpine"]) {
        "apk add postgresql".to_owned()
    } else if cfg!(target_os = "macos") {
        return format!("brew install postgresql@{}", major.unwrap_or(17));
    } else {
        let major = major.unwrap_or(OLDEST_MAJOR);
        return format!("this system's package manager (PostgreSQL {major}, server programs)");
    };
    if root { command } else { format!("sudo {command}") }
}

#[cfg(test)]
mod tests {
    use super::{install_command_for, parse_major};

    #[test]
    fn the_version_is_read_from_releases_and_pre_releases() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_major("no server at all"), None);
    }

    #[test]
    fn the_install_command_is_the_one_of_this_system() {
        let check = |release: &str, root, major, expected: &str| {
            assert_eq!(install_command_for(release, root, major), expected);
        };
        check("ID=debian\n", true, None, "apt-get install -y postgresql");
        check("ID=debian\n", true, Some(15), "apt-get install -y postgresql-15");
        check(
            "NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
            false,
            None,
            "sudo apt-get install -y postgresql",
        );
        check(
            "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
            true,
            None,
            "dnf install -y postgresql-server",
        );
        check("ID=alpine", true, None, "apk add postgresql");
    }
}
