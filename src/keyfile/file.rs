//! The keyring's file itself: reading it, making it, and putting a new text in its place so that there is always a whole
//! keyring, for a power cut and for every server that follows the file.
//!
//! Editing takes a lock on `<file>.lock`, not on the file itself, which is replaced. A symlink is followed and its target
//! replaced, since the link may be what a deployment manages.

use super::KeyfileError;
use crate::seal::Keyring;
use crate::watch::{Signature, directory};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// The largest keyring file, in bytes; room for thousands of epochs.
pub(super) const MAX_LEN: u64 = 1024 * 1024;
/// Permission bits that let other users in.
const OTHERS: u32 = 0o007;
/// The mode of what is made here, the lock included: the owner's alone.
const MODE: u32 = 0o600;

/// Reads and checks the keyring file `path`: its text, too.
///
/// # Errors
/// When it is missing, unreadable, open to others, or faulty.
pub fn read_text(path: &Path) -> Result<(Zeroizing<String>, Keyring), KeyfileError> {
    read_open(path).map(|(text, keyring, _)| (text, keyring))
}

/// Reads and checks a keyring file.
pub(super) fn read(path: &Path) -> Result<(Keyring, Signature), KeyfileError> {
    read_open(path).map(|(_, keyring, metadata)| (keyring, Signature::of(&metadata)))
}

/// All is asked of the one open file, so nothing can be swapped in between.
fn read_open(path: &Path) -> Result<(Zeroizing<String>, Keyring, Metadata), KeyfileError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyfileError::Missing(path.to_owned()),
        _ => KeyfileError::Unreadable(path.to_owned(), error),
    };
    // Before it is opened: opening a pipe would wait for somebody to write.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(KeyfileError::NoFile(path.to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyfileError::OpenToOthers(path.to_owned(), mode));
    }
    // All the room at once: a buffer that grew would leave copies of the keys behind.
    let room = metadata.len().min(MAX_LEN) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or_default()));
    file.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(KeyfileError::TooLong(path.to_owned()));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyfileError::NotText(path.to_owned()))?;
    let keyring = Keyring::parse(text).map_err(|error| KeyfileError::InFile(path.to_owned(), error))?;
    Ok((Zeroizing::new(text.to_owned()), keyring, metadata))
}

/// Makes a keyring file that its owner alone can read. It appears whole or not at all.
///
/// # Errors
/// When there is a file already, whatever it holds, or none can be made.
pub fn create(path: &Path, text: &str) -> Result<(), KeyfileError> {
    let made = aside(path, text).and_then(|aside| aside.persist_noclobber(path).map_err(|error| error.error));
    made.and_then(|_| sync_directory(path)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyfileError::Exists(path.to_owned()),
        _ => KeyfileError::NotMade(path.to_owned(), error),
    })
}

/// Puts `new` in the place of the keyring file `path`, which still has to hold `old`, with the same owner and mode. When
/// this returns, it is on the disk.
///
/// # Errors
/// When the file holds something else by now or cannot be replaced, or `new` is no keyring. It then stays as it is.
pub fn replace(path: &Path, old: &str, new: &str) -> Result<(), KeyfileError> {
    let failed = |error| KeyfileError::NotReplaced(path.to_owned(), error);
    let target = fs::canonicalize(path).map_err(failed)?;
    let _lock = lock(&target).map_err(failed)?;
    let (text, _, metadata) = read_open(&target)?;
    if *text != old {
        return Err(KeyfileError::Changed(path.to_owned()));
    }
    let aside = aside(&target, new).and_then(|aside| dress(&aside, &metadata).map(|()| aside)).map_err(failed)?;
    read_open(aside.path()).map_err(|error| failed(io::Error::other(error)))?; // as a server will
    // Editors ask for no lock.
    let now = fs::metadata(&target).map_err(failed)?;
    if Signature::of(&now) != Signature::of(&metadata) {
        return Err(KeyfileError::Changed(path.to_owned()));
    }
    aside.persist(&target).map_err(|error| failed(error.error))?;
    sync_directory(&target).map_err(failed)
}

/// Waits until nobody else edits `path`; holds others off until it is dropped.
fn lock(path: &Path) -> io::Result<File> {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(MODE).open(PathBuf::from(lock))?;
    file.lock()?;
    Ok(file)
}

/// A file beside `path` with `text`, on the disk; it goes away unless it is put into place.
fn aside(path: &Path, text: &str) -> io::Result<NamedTempFile> {
    let mut aside = tempfile::Builder::new()
        .prefix(".authseal-keys-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(directory(path))?;
    aside.write_all(text.as_bytes())?;
    aside.as_file().sync_all()?;
    Ok(aside)
}

/// Gives a new file the owner, group and mode of the one that it replaces.
fn dress(aside: &NamedTempFile, like: &Metadata) -> io::Result<()> {
    let own = aside.as_file().metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(aside.as_file(), Some(like.uid()), Some(like.gid())).map_err(|error| {
            io::Error::new(error.kind(), format!("its owner {}:{} cannot be kept ({error})", like.uid(), like.gid()))
        })?;
    }
    aside.as_file().set_permissions(Permissions::from_mode(like.mode() & 0o7777))?;
    aside.as_file().sync_all()
}

/// A name is durable only when its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}
