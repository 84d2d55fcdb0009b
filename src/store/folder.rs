//! The blocking half of the store in a folder: one file's way through its life, on the thread that waits for the disk.
//!
//! A blob is written aside, synced, renamed, and the folder synced, so that after a loss of power there is the old one
//! or the new one, whole. The file begins with the end of its life, 8 bytes, in seconds since 1970. A record can be read
//! until it is removed, also after its end: the clock may be wrong, and the provider knows better. For the same reason
//! a record that is replaced never gets an earlier end than it had.

use super::disk::{Disk, Locked};
use super::error::in_folder;
use super::{MAX_BLOB_LEN, Name, Shelf, StoreError};
use crate::clock::{Clock, UnixTime};
use crate::seal::random;
use std::fmt::Write;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a lock is looked at that somebody else holds, for milliseconds as a rule.
const LOOK: Duration = Duration::from_millis(2);
/// Bytes before the blob.
const HEAD: usize = 8;
/// How files begin that are not finished; one that a crash left behind is cleared away with the next sweep.
const ASIDE: &str = "aside-";

pub(super) struct Folder {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) root: PathBuf,
    pub(super) clock: Clock,
}

impl Folder {
    /// Makes the folders that are not there, and tries whether files can be written.
    pub(super) fn make(&self) -> io::Result<()> {
        let root = &self.root;
        self.disk.make_folder(&root.join("locks"))?;
        for shelf in Shelf::ALL {
            self.disk.make_folder(&self.shelf(shelf))?;
        }
        self.disk.sync_folder(root)?;
        // Who holds it does not matter; it must only be possible to ask for it.
        let _lock = self.disk.try_lock(&root.join("locks").join("00"))?;
        let probe = self.aside(root)?;
        self.disk.create(&probe, b"")?;
        self.disk.remove(&probe)
    }

    pub(super) fn error(&self, cause: io::Error) -> StoreError {
        in_folder(&self.root, cause)
    }

    /// One lock of 256, the same for all shelves: what is done under it takes milliseconds.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] when it cannot be had before `end`: then nobody waits for what it is for.
    pub(super) fn lock(&self, name: &str, end: Instant) -> io::Result<Locked> {
        let path = self.root.join("locks").join(name);
        loop {
            let lock = match self.disk.try_lock(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.disk.make_folder(&self.root.join("locks"))?;
                    self.disk.try_lock(&path)?
                }
                lock => lock?,
            };
            match lock {
                _ if Instant::now() >= end => return Err(ErrorKind::TimedOut.into()),
                Some(lock) => return Ok(lock),
                None => sleep(LOOK),
            }
        }
    }

    pub(super) fn shelf(&self, shelf: Shelf) -> PathBuf {
        self.root.join(shelf.as_str())
    }

    fn path(&self, shelf: Shelf, name: &Name) -> (PathBuf, PathBuf) {
        let folder = self.shelf(shelf).join(hex(&name[..1]));
        let path = folder.join(hex(name));
        (folder, path)
    }

    fn aside(&self, folder: &Path) -> io::Result<PathBuf> {
        let random = random::<16>().map_err(io::Error::other)?;
        Ok(folder.join(format!("{ASIDE}{}", hex(&random))))
    }

    pub(super) fn file(&self, bytes: &[u8], lifetime: Duration) -> Vec<u8> {
        // Rounded up, so that nothing ends early.
        let until = self.clock.now().saturating_add_unsigned(lifetime.as_secs()).saturating_add(1);
        [&until.to_be_bytes(), bytes].concat()
    }

    /// Whether the time of a file is over, by our clock, or it is none of ours.
    pub(super) fn has_ended(&self, file: &[u8]) -> bool {
        Self::until(file).is_none_or(|until| until <= self.clock.now())
    }

    pub(super) fn read(&self, shelf: Shelf, name: &Name) -> io::Result<Option<Vec<u8>>> {
        // One byte more than can be: what was made longer by somebody else is then another blob, and does not open.
        let file = self.beginning(&self.path(shelf, name).1, MAX_BLOB_LEN + 1)?;
        let file = file.filter(|file| shelf.is_durable() || !self.has_ended(file));
        // A file that is too short was not written by us.
        Ok(file.and_then(|file| file.get(HEAD..).map(<[u8]>::to_vec)))
    }

    /// The first `length` bytes of a blob whose time is not over.
    pub(super) fn head(&self, path: &Path, length: usize) -> io::Result<Option<Vec<u8>>> {
        let file = self.beginning(path, length)?.filter(|file| !is_aside(path) && !self.has_ended(file));
        Ok(file.and_then(|file| file.get(HEAD..).map(<[u8]>::to_vec)))
    }

    /// The first bytes of a file, up to `length` of its blob; `None` if there is none.
    pub(super) fn beginning(&self, path: &Path, length: usize) -> io::Result<Option<Vec<u8>>> {
        match self.disk.read(path, (HEAD + length) as u64) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The end of a file's life.
    fn until(file: &[u8]) -> Option<UnixTime> {
        file.first_chunk::<HEAD>().map(|until| UnixTime::from_be_bytes(*until))
    }

    pub(super) fn write(&self, shelf: Shelf, name: &Name, mut file: Vec<u8>) -> io::Result<()> {
        let (folder, path) = self.path(shelf, name);
        let aside = self.aside(&folder)?;
        // What cannot be read can be replaced all the same.
        let before = if shelf.is_durable() { self.beginning(&path, 0).ok().flatten() } else { None };
        if let Some(before) = before.filter(|before| Self::until(before) > Self::until(&file)) {
            file[..HEAD].copy_from_slice(&before);
        }
        let created = match self.disk.create(&aside, &file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.disk.make_folder(&folder)?;
                self.disk.sync_folder(&self.shelf(shelf))?;
                self.disk.create(&aside, &file)
            }
            created => created,
        };
        let place = || {
            created?;
            if shelf.is_durable() {
                self.disk.sync(&aside)?;
            }
            self.disk.rename(&aside, &path)
        };
        if let Err(error) = place() {
            let _ = self.disk.remove(&aside);
            return Err(error);
        }
        if shelf.is_durable() { self.disk.sync_folder(&folder) } else { Ok(()) }
    }

    pub(super) fn remove(&self, shelf: Shelf, name: &Name) -> io::Result<()> {
        let (folder, path) = self.path(shelf, name);
        self.disk.remove(&path)?;
        if shelf.is_durable() { self.disk.sync_folder(&folder) } else { Ok(()) }
    }
}

/// Whether a file was not finished.
pub(super) fn is_aside(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ASIDE))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
