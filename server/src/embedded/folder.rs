//! What stands in the data folder: the lock, the password, the cluster, the socket and the log.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use rand::distr::{Alphanumeric, SampleString};
use secrecy::SecretString;

use super::account::Account;
use super::{EmbeddedError, SUPERUSER, command, files, last_lines};

/// A socket's path may have 103 bytes on macOS and 107 on Linux; the server appends `/.s.PGSQL.65535`.
const SOCKET_FOLDER_BYTES: usize = 103 - "/.s.PGSQL.65535".len();
const TEMPORARY_SOCKETS: &str = "/tmp/colloquy-";
const LOG_BYTES: u64 = 8 << 20;

/// Makes the folder and answers its absolute path.
pub(super) fn prepare(data: &Path) -> Result<PathBuf, EmbeddedError> {
    fs::create_dir_all(data).map_err(files("create", data))?;
    let data = fs::canonicalize(data).map_err(files("find", data))?;
    // For root, the server's account must be able to pass through; it cannot list what is there.
    let mode = if geteuid().is_root() { 0o711 } else { 0o700 };
    fs::set_permissions(&data, fs::Permissions::from_mode(mode))
        .map_err(files("set the permissions of", &data))?;
    Ok(data)
}

/// Locks the folder for this process, until the file is closed.
pub(super) fn lock(data: &Path) -> Result<File, EmbeddedError> {
    let path = data.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(files("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::InUse { data: data.to_owned() }),
        Err(TryLockError::Error(source)) => Err(files("lock", &path)(source)),
    }
}

/// The stored password, or a new one that is stored first. `initdb` reads the file, so it is the account's.
pub(super) fn password(
    data: &Path,
    account: Option<&Account>,
) -> Result<SecretString, EmbeddedError> {
    let path = data.join("pg.password");
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let stored = stored.trim();
    if !stored.is_empty() && stored.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(stored.into());
    }
    let password = Alphanumeric.sample_string(&mut rand::rng(), 32);
    let write = || {
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
        // Also where the file was there before, with other permissions.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(password.as_bytes())?;
        file.sync_all()
    };
    write().map_err(files("write", &path))?;
    if let Some(account) = account {
        account.own(&path)?;
    }
    Ok(password.into())
}

/// Makes the cluster beside its place and moves it there when it is whole and on disk.
pub(super) async fn initialise(
    programs: &Path,
    data: &Path,
    account: Option<&Account>,
) -> Result<(), EmbeddedError> {
    let (fresh, cluster) = (data.join("pg.new"), data.join("pg"));
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(files("remove", &fresh))?;
    }
    fs::create_dir(&fresh).map_err(files("create", &fresh))?;
    if let Some(account) = account {
        account.own(&fresh)?;
    }
    let program = programs.join("initdb");
    // Byte order never changes with an update of the system's locales, so no index is ever silently out of order.
    let ctype = if cfg!(target_os = "macos") { "en_US.UTF-8" } else { "C.UTF-8" };
    let mut create = command(&program, account);
    create.arg("-D").arg(&fresh).arg("--pwfile").arg(data.join("pg.password"));
    create.args(["-U", SUPERUSER, "--auth-local=trust", "--auth-host=scram-sha-256"]);
    create.args(["--encoding=UTF8", "--locale=C", "--lc-ctype", ctype]);
    create.args(["--data-checksums", "--no-sync"]);
    let mut sync = command(&program, account);
    sync.arg("-D").arg(&fresh).arg("--sync-only");
    for mut step in [create, sync] {
        let output = step.output().await.map_err(files("start", &program))?;
        if !output.status.success() {
            let output = last_lines(&String::from_utf8_lossy(&output.stderr));
            return Err(EmbeddedError::Program { program, output });
        }
    }
    fs::rename(&fresh, &cluster).map_err(files("create", &cluster))?;
    File::open(data).and_then(|folder| folder.sync_all()).map_err(files("write", data))
}

/// The data folder's own place for the socket, or a short one under /tmp when the path would be too long or would be
/// read as a list. Only the server's account can enter it, for whoever reaches the socket is trusted.
pub(super) fn socket_folder(
    data: &Path,
    account: Option<&Account>,
) -> Result<PathBuf, EmbeddedError> {
    let mut folder = data.join("pg.sock");
    let text = folder.as_os_str().as_encoded_bytes();
    if text.len() > SOCKET_FOLDER_BYTES || text.iter().any(|byte| b",\"'\n".contains(byte)) {
        let unique = Alphanumeric.sample_string(&mut rand::rng(), 16);
        folder = PathBuf::from(format!("{TEMPORARY_SOCKETS}{unique}"));
        fs::create_dir(&folder).map_err(files("create", &folder))?;
    } else {
        // A killed server leaves its socket file, under a port that comes no more.
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(files("remove", &folder))?;
        }
        fs::create_dir(&folder).map_err(files("create", &folder))?;
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
        .map_err(files("set the permissions of", &folder))?;
    if let Some(account) = account {
        account.own(&folder)?;
    }
    Ok(folder)
}

/// Removes a socket folder that [`socket_folder`] made under /tmp, and touches no other.
pub(super) fn remove_temporary_sockets(folder: &Path) {
    let ours = folder.to_str().and_then(|path| path.strip_prefix(TEMPORARY_SOCKETS));
    if !ours.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return;
    }
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "cannot remove the socket folder");
    }
}

/// Opens the server's log to append; one that has grown too long becomes the last one.
pub(super) fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)
}
