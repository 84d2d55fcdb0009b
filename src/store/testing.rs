//! A disk for the tests of this crate, on which something happens at a chosen moment.

use super::disk::{Disk, Files, Locked};
use std::fmt::{self, Debug, Formatter};
use std::io;
use std::path::{Path, PathBuf};

/// When something happens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before a file is read, a folder listed or a lock taken.
    Before,
    /// After a file was read.
    AfterRead,
    /// After a file was made.
    AfterCreate,
}

/// Files, and what is called at each such moment; what it says is what the disk says.
pub(crate) struct Hooked<H>(pub(crate) Files, pub(crate) H);

impl<H> Debug for Hooked<H> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Hooked").field(&self.0).finish_non_exhaustive()
    }
}

impl<H: Fn(Moment) -> io::Result<()> + Send + Sync> Disk for Hooked<H> {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.1(Moment::Before)?;
        let read = self.0.read(path, limit);
        self.1(Moment::AfterRead)?;
        read
    }
    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.0.create(path, bytes)?;
        self.1(Moment::AfterCreate)
    }
    fn sync(&self, path: &Path) -> io::Result<()> {
        self.0.sync(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.sync_folder(folder)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.make_folder(folder)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.1(Moment::Before)?;
        self.0.list(folder)
    }
    fn try_lock(&self, path: &Path) -> io::Result<Option<Locked>> {
        self.1(Moment::Before)?;
        self.0.try_lock(path)
    }
}
