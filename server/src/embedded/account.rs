//! Whom the server runs as. PostgreSQL refuses root, so root lends it the account of somebody else.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User, geteuid};

use super::{EmbeddedError, files};

/// The account of the server's processes, when it is not our own.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// `None` when this process is not root and so runs the server itself. For root: the owner of an existing cluster,
/// else `postgres`, else `nobody`. Each has an entry in the user database, without which the server does not start.
pub(super) fn for_cluster(cluster: &Path) -> Result<Option<Account>, EmbeddedError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let owner = fs::metadata(cluster).ok().map(|cluster| Uid::from_raw(cluster.uid()));
    let owner = owner.filter(|uid| !uid.is_root()).and_then(|uid| User::from_uid(uid).ok()?);
    owner
        .or_else(|| User::from_name("postgres").ok()?)
        .or_else(|| User::from_name("nobody").ok()?)
        .map(|user| {
            Some(Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() })
        })
        .ok_or(EmbeddedError::NoAccount)
}

impl Account {
    /// Makes the account the owner of `path`.
    pub(super) fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        lchown(path, Some(self.uid), Some(self.gid)).map_err(files("change the owner of", path))
    }

    /// Makes the account the owner of a whole folder, as after a restore by root. Nothing to do when it is already.
    pub(super) fn own_all(&self, folder: &Path) -> Result<(), EmbeddedError> {
        let before = fs::metadata(folder).map_err(files("read", folder))?;
        if before.uid() == self.uid {
            return Ok(());
        }
        let mut open = vec![folder.to_owned()];
        while let Some(path) = open.pop() {
            if fs::symlink_metadata(&path).map_err(files("read", &path))?.is_dir() {
                for entry in fs::read_dir(&path).map_err(files("read", &path))? {
                    open.push(entry.map_err(files("read", &path))?.path());
                }
            }
            // The folder itself comes last: until then a next start sees that this one was cut short.
            if path != folder {
                self.own(&path)?;
            }
        }
        self.own(folder)
    }

    /// Refuses a folder that the account cannot enter, naming the first on the way that is closed to it.
    pub(super) fn check_passable(&self, folder: &Path) -> Result<(), EmbeddedError> {
        if self.can_enter(folder)? {
            return Ok(());
        }
        let mut on_the_way: Vec<&Path> = folder.ancestors().collect();
        on_the_way.reverse();
        for step in on_the_way {
            if !self.can_enter(step)? {
                return Err(self.not_passable(step));
            }
        }
        Err(self.not_passable(folder))
    }

    fn not_passable(&self, folder: &Path) -> EmbeddedError {
        EmbeddedError::NotPassable { folder: folder.to_owned(), user: self.name.clone() }
    }

    /// Asks the operating system itself, which also knows of access lists and mount options.
    fn can_enter(&self, folder: &Path) -> Result<bool, EmbeddedError> {
        Command::new("/bin/sh")
            .args(["-c", "cd -- \"$0\""])
            .arg(folder)
            .current_dir("/")
            .uid(self.uid)
            .gid(self.gid)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map(|status| status.success())
            .map_err(files("start", Path::new("/bin/sh")))
    }
}
