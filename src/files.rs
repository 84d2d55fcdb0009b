//! Files that are whole at every moment, for a power cut and for every process that follows them: made beside their
//! place, put on the disk, and then moved into it. What is in them, and who may read them, their rooms say.
//!
//! Who changes a file holds a lock on `<file>.lock`, not on the file itself, which is replaced. Editors do not ask for
//! it, so whoever replaces a file looks at its [signature](crate::watch::Signature) once more before.

use crate::watch::{Signature, directory};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Waits until nobody else changes `path`, which exists; holds others off until it is dropped. A symlink is followed, so
/// that all who mean the same file take the same lock. A lock that is made gets `mode`.
///
/// # Errors
/// When there is no `path`, or the lock cannot be had.
pub fn lock(path: &Path, mode: u32) -> io::Result<File> {
    let mut lock = fs::canonicalize(path)?.into_os_string();
    lock.push(".lock");
    let lock = PathBuf::from(lock);
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", lock.display()));
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(mode).open(&lock).map_err(told)?;
    file.lock().map_err(told)?;
    Ok(file)
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
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid())).map_err(|error| {
            io::Error::new(error.kind(), format!("its owner {}:{} cannot be kept ({error})", like.uid(), like.gid()))
        })?;
    }
    file.set_permissions(Permissions::from_mode(like.mode() & 0o7777))
}

/// A name is durable only when its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}
