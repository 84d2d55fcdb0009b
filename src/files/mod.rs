//! Files that are whole at every moment, for a power cut and for every process that follows them: made beside their
//! place, put on the disk, and then moved into it. What is in them, and who may read them, their rooms say.
//!
//! Who changes a file holds a lock on `<file>.lock`, not on the file itself, which is replaced. Editors do not ask for
//! it, so whoever replaces a file looks at its [signature](crate::watch::Signature) once more before.

mod read;
mod trust;

pub use read::{Readers, Unread, open, read, read_text};
pub use trust::{Untrusted, shared, trust, trust_found};

use crate::watch::{Signature, directory};
use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// How long to wait for others, who take moments.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look whether they are done.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until nobody else changes `path`, which exists; holds others off until it is dropped. A symlink is followed, so
/// that all who mean the same file take the same lock. A lock that is made gets `mode`, and the owner of `path`: root
/// must not lock out the server whose file it is.
///
/// # Errors
/// When there is no `path`, or the lock cannot be had within ten seconds.
pub fn lock(path: &Path, mode: u32) -> io::Result<File> {
    lock_within(PATIENCE, path, mode)
}

fn lock_within(patience: Duration, path: &Path, mode: u32) -> io::Result<File> {
    let target = fs::canonicalize(path)?;
    let like = fs::metadata(&target)?;
    let mut lock = target.into_os_string();
    lock.push(".lock");
    let lock = PathBuf::from(lock);
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", lock.display()));
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(mode).open(&lock).map_err(told)?;
    // Who may not give it away shares it with those who could open it.
    let _ = own(&file, &like);
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(told(error)),
            Err(TryLockError::WouldBlock) if Instant::now() > end => {
                return Err(told(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another process has held this lock for too long",
                )));
            }
            Err(TryLockError::WouldBlock) => sleep(LOOK),
        }
    }
}

/// An empty file beside `path`, with `mode`; it goes away unless it is put into place.
///
/// # Errors
/// When none can be made.
pub fn aside(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".authseal-").permissions(Permissions::from_mode(mode)).tempfile_in(directory(path))
}

/// Puts a new file at `path`, where there is none.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when there is one, and whatever the disk says.
pub fn place(aside: NamedTempFile, path: &Path) -> io::Result<()> {
    aside.as_file().sync_all()?;
    aside.persist_noclobber(path).map_err(|error| error.error)?;
    sync_directory(path)
}

/// Puts a new file in the place of the one at `path`, of which `old` was taken when it was read; the new one gets its
/// owner, group and mode. `path` is no symlink. When this returns true, it is on the disk; false: somebody else changed
/// the old one meanwhile, and it stays.
///
/// # Errors
/// When the owner cannot be kept, and whatever the disk says. The old one stays.
pub fn replace(aside: NamedTempFile, path: &Path, old: &Metadata) -> io::Result<bool> {
    dress(aside.as_file(), old)?;
    aside.as_file().sync_all()?;
    if Signature::of(&fs::metadata(path)?) != Signature::of(old) {
        return Ok(false);
    }
    aside.persist(path).map_err(|error| error.error)?;
    sync_directory(path)?;
    Ok(true)
}

fn dress(file: &File, like: &Metadata) -> io::Result<()> {
    own(file, like).map_err(|error| {
        io::Error::new(error.kind(), format!("its owner {}:{} cannot be kept ({error})", like.uid(), like.gid()))
    })?;
    file.set_permissions(Permissions::from_mode(like.mode() & 0o7777))
}

/// Gives `file` the owner and group of another one.
fn own(file: &File, like: &Metadata) -> io::Result<()> {
    let has = file.metadata()?;
    match (has.uid(), has.gid()) == (like.uid(), like.gid()) {
        true => Ok(()),
        false => fchown(file, Some(like.uid()), Some(like.gid())),
    }
}

/// A name is durable only when its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn who_means_the_same_file_takes_the_same_lock_and_nobody_waits_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&path, "").unwrap();
        symlink("file", &link).unwrap();
        let held = lock(&path, 0o600).unwrap();
        let error = lock_within(Duration::from_millis(50), &link, 0o600).unwrap_err().to_string();
        assert!(error.contains("file.lock: another process has held this lock for too long"), "{error}");
        drop(held);
        lock(&link, 0o600).unwrap();
        assert!(!dir.path().join("link.lock").exists());
    }

    #[test]
    fn a_lock_that_root_makes_belongs_to_the_owner_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        // Only root can give a file away; for anybody else it is his own.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).unwrap();
        }
        drop(lock(&path, 0o600).unwrap());
        let owner = |path: &Path| fs::metadata(path).map(|metadata| (metadata.uid(), metadata.gid())).unwrap();
        assert_eq!(owner(&dir.path().join("file.lock")), owner(&path));
    }
}
