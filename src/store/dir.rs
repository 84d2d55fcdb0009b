//! In a folder: a file for each blob, `<folder>/<shelf>/<2 hex digits>/<64 hex digits>`, for one machine. Several
//! processes may share it; a network file system may not be under it, since its locks and renames promise less.
//!
//! A blob is written aside, synced, renamed, and the folder synced, so that after a loss of power there is the old one
//! or the new one, whole. The file begins with the end of its life, 8 bytes, in seconds since 1970.

use super::disk::{Disk, Locked};
use super::{MAX_BLOB_LEN, Name, Shelf, StoreError};
use crate::clock::{Clock, UnixTime};
use crate::seal::random;
use std::fmt::Write;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often what has ended is cleared away: with the first request after this time.
const SWEEP: Duration = Duration::from_secs(3600);
/// Bytes before the blob.
const HEAD: usize = 8;
/// How files begin that are not finished; one that a crash left behind is cleared away with the next sweep.
const ASIDE: &str = "aside-";

pub(super) struct Dir(Arc<Inner>);

struct Inner {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    clock: Clock,
    /// When the next sweep is due, by [`Clock::uptime`].
    sweep_at: Mutex<Duration>,
}

impl Dir {
    /// Uses `root`, after trying whether it can be written to.
    pub(super) fn open(disk: Arc<dyn Disk>, root: &Path, clock: Clock) -> Result<Self, StoreError> {
        let inner = Inner { disk, root: root.to_owned(), sweep_at: Mutex::new(clock.uptime()), clock };
        let inner = Arc::new(inner);
        let try_out = || {
            inner.disk.make_folder(&root.join("locks"))?;
            for shelf in Shelf::ALL {
                inner.disk.make_folder(&root.join(shelf.as_str()))?;
            }
            inner.disk.sync_folder(root)?;
            let _lock = inner.disk.lock(&root.join("locks").join("00"))?;
            let probe = inner.aside(root)?;
            inner.disk.create(&probe, b"")?;
            inner.disk.remove(&probe)
        };
        try_out().map_err(|cause| inner.error(cause))?;
        Ok(Self(inner))
    }

    pub(super) async fn put(
        &self,
        shelf: Shelf,
        name: &Name,
        bytes: &[u8],
        lifetime: Duration,
    ) -> Result<(), StoreError> {
        let (name, file) = (*name, self.0.file(bytes, lifetime));
        self.run(move |inner| {
            let _lock = inner.lock(&name)?;
            inner.write(shelf, &name, &file)
        })
        .await
    }

    pub(super) async fn read(&self, shelf: Shelf, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        let name = *name;
        self.run(move |inner| inner.read(shelf, &name)).await
    }

    pub(super) async fn take(&self, shelf: Shelf, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        let name = *name;
        self.run(move |inner| {
            let _lock = inner.lock(&name)?;
            let there = inner.read(shelf, &name)?;
            if there.is_some() {
                inner.remove(shelf, &name)?;
            }
            Ok(there)
        })
        .await
    }

    pub(super) async fn swap(
        &self,
        shelf: Shelf,
        name: &Name,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        let (name, expected) = (*name, expected.map(<[u8]>::to_vec));
        let file = new.map(|new| self.0.file(new, lifetime));
        self.run(move |inner| {
            let _lock = inner.lock(&name)?;
            if inner.read(shelf, &name)? != expected {
                return Ok(false);
            }
            match (file, expected) {
                (Some(file), _) => inner.write(shelf, &name, &file)?,
                (None, Some(_)) => inner.remove(shelf, &name)?,
                (None, None) => {}
            }
            Ok(true)
        })
        .await
    }

    pub(super) fn heads(
        &self,
        shelf: Shelf,
        length: usize,
        each: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), StoreError> {
        let inner = &self.0;
        let walked = inner.walk(shelf, |path| {
            match inner.disk.read(path, (HEAD + length) as u64) {
                Ok(file) => {
                    if let Some(blob) = inner.living(&file) {
                        each(blob);
                    }
                }
                // Removed since it was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            Ok(())
        });
        walked.map_err(|cause| inner.error(cause))
    }

    /// Does work that waits for the disk where that holds up nobody else.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.0.sweep_is_due() {
            let inner = self.0.clone();
            // Nobody waits for it.
            drop(tokio::task::spawn_blocking(move || {
                if let Err(error) = inner.sweep() {
                    tracing::warn!(%error, folder = %inner.root.display(), "the state folder could not be tidied up");
                }
            }));
        }
        let inner = self.0.clone();
        match tokio::task::spawn_blocking(move || work(&inner).map_err(|cause| inner.error(cause))).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::Interrupted),
        }
    }
}

impl Inner {
    fn error(&self, cause: io::Error) -> StoreError {
        StoreError::Dir { path: self.root.clone(), cause: Arc::new(cause) }
    }

    /// One lock of 256, the same for all shelves: what is done under it takes milliseconds.
    fn lock(&self, name: &Name) -> io::Result<Locked> {
        self.disk.lock(&self.root.join("locks").join(hex(&name[..1])))
    }

    fn path(&self, shelf: Shelf, name: &Name) -> (PathBuf, PathBuf) {
        let folder = self.root.join(shelf.as_str()).join(hex(&name[..1]));
        let path = folder.join(hex(name));
        (folder, path)
    }

    fn aside(&self, folder: &Path) -> io::Result<PathBuf> {
        let random = random::<16>().map_err(io::Error::other)?;
        Ok(folder.join(format!("{ASIDE}{}", hex(&random))))
    }

    fn file(&self, bytes: &[u8], lifetime: Duration) -> Vec<u8> {
        // Rounded up, so that nothing ends early.
        let until = self.clock.now().saturating_add_unsigned(lifetime.as_secs()).saturating_add(1);
        [&until.to_be_bytes(), bytes].concat()
    }

    /// What is in a file, if its time has not come. A file that is too short was not written by us.
    fn living<'f>(&self, file: &'f [u8]) -> Option<&'f [u8]> {
        let (until, blob) = file.split_first_chunk::<HEAD>()?;
        (self.clock.now() < UnixTime::from_be_bytes(*until)).then_some(blob)
    }

    fn read(&self, shelf: Shelf, name: &Name) -> io::Result<Option<Vec<u8>>> {
        // One byte more than can be: what was made longer by somebody else is then another blob, and does not open.
        match self.disk.read(&self.path(shelf, name).1, (HEAD + MAX_BLOB_LEN + 1) as u64) {
            Ok(file) => Ok(self.living(&file).map(<[u8]>::to_vec)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, shelf: Shelf, name: &Name, file: &[u8]) -> io::Result<()> {
        let (folder, path) = self.path(shelf, name);
        let aside = self.aside(&folder)?;
        let created = match self.disk.create(&aside, file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.disk.make_folder(&folder)?;
                self.disk.sync_folder(&self.root.join(shelf.as_str()))?;
                self.disk.create(&aside, file)
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

    fn remove(&self, shelf: Shelf, name: &Name) -> io::Result<()> {
        let (folder, path) = self.path(shelf, name);
        self.disk.remove(&path)?;
        if shelf.is_durable() { self.disk.sync_folder(&folder) } else { Ok(()) }
    }

    /// Calls `each` with every file of a shelf.
    fn walk(&self, shelf: Shelf, mut each: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
        for folder in self.disk.list(&self.root.join(shelf.as_str()))? {
            self.disk.list(&folder)?.iter().try_for_each(|path| each(path))?;
        }
        Ok(())
    }

    /// Whether it is time to clear away what has ended; says so once.
    fn sweep_is_due(&self) -> bool {
        let now = self.clock.uptime();
        let mut due = self.sweep_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now >= *due;
        if is_due {
            *due = now + SWEEP;
        }
        is_due
    }

    fn sweep(&self) -> io::Result<()> {
        Shelf::ALL.into_iter().try_for_each(|shelf| self.walk(shelf, |path| self.clear_away(path)))
    }

    /// Removes a file whose time is over, or that nobody will finish.
    fn clear_away(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ASIDE));
        let over = || match self.disk.read(path, HEAD as u64) {
            Ok(file) => Ok(unfinished || self.living(&file).is_none()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        };
        let Some(lock) = path.parent().and_then(Path::file_name).filter(|_| over().is_ok_and(|over| over)) else {
            return Ok(());
        };
        // Once more under the lock that whoever writes here holds: it may have been written anew, or finished.
        let _lock = self.disk.lock(&self.root.join("locks").join(lock))?;
        if over()? { self.disk.remove(path) } else { Ok(()) }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
