//! The store in a folder, for one machine: a file for each blob, `<folder>/<shelf>/<2 hex digits>/<64 hex digits>`.
//! Several processes may share it; a network file system may not be under it, since its locks and renames promise less.
//!
//! Work whose caller was told [`StoreError::TimedOut`] may be done later, when the disk moves again. That is harmless:
//! compare-and-swap compares under the lock, and whoever gets the lock too late does nothing. So only a call that hangs
//! in its very last step takes effect late: a put of which nobody was told, or an entry taken for nobody.

use super::disk::Disk;
use super::folder::{Folder, hex};
use super::sweep::Sweeps;
use super::{LIMIT, Name, Shelf, StoreError, limited, place};
use crate::clock::Clock;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

/// How many threads may wait for the disk: more would not make it faster, and the names of providers' hosts are looked
/// up on threads from the same pool.
const THREADS: usize = 32;
/// How many files a listing reads between two looks at the time.
const BATCH: usize = 500;

pub(super) struct Dir {
    folder: Arc<Folder>,
    threads: Arc<Semaphore>,
    /// Nothing is cleared away by commands: what they see may not be what the server sees.
    sweeps: Option<Arc<Sweeps>>,
}

impl Dir {
    /// Uses a folder as it is; makes nothing.
    pub(super) fn of(disk: Arc<dyn Disk>, root: &Path, clock: Clock) -> Self {
        let folder = Arc::new(Folder { disk, root: root.to_owned(), clock });
        Self { folder, threads: Arc::new(Semaphore::new(THREADS)), sweeps: None }
    }

    /// Uses a folder as its server: makes what is not there, tries whether files can be written, and clears away what
    /// has ended.
    pub(super) fn serving(disk: Arc<dyn Disk>, root: &Path, clock: Clock) -> Result<Self, StoreError> {
        let dir = Self::of(disk, root, clock);
        dir.folder.make().map_err(|cause| dir.folder.error(cause))?;
        Ok(Self { sweeps: Some(Arc::new(Sweeps::new())), ..dir })
    }

    pub(super) async fn put(
        &self,
        shelf: Shelf,
        name: &Name,
        bytes: &[u8],
        lifetime: Duration,
    ) -> Result<(), StoreError> {
        let (name, file) = (*name, self.folder.file(bytes, lifetime));
        self.run(move |folder, end| {
            let _lock = folder.lock(&hex(&name[..1]), end)?;
            folder.write(shelf, &name, file)
        })
        .await
    }

    pub(super) async fn read(&self, shelf: Shelf, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        let name = *name;
        self.run(move |folder, _| folder.read(shelf, &name)).await
    }

    pub(super) async fn take(&self, shelf: Shelf, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        let name = *name;
        self.run(move |folder, end| {
            let _lock = folder.lock(&hex(&name[..1]), end)?;
            let there = folder.read(shelf, &name)?;
            if there.is_some() {
                folder.remove(shelf, &name)?;
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
        let file = new.map(|new| self.folder.file(new, lifetime));
        self.run(move |folder, end| {
            let _lock = folder.lock(&hex(&name[..1]), end)?;
            if folder.read(shelf, &name)? != expected {
                return Ok(false);
            }
            match (file, expected) {
                (Some(file), _) => folder.write(shelf, &name, file)?,
                (None, Some(_)) => folder.remove(shelf, &name)?,
                (None, None) => {}
            }
            Ok(true)
        })
        .await
    }

    /// Calls `each` with the beginnings of a shelf's blobs, in short steps.
    pub(super) async fn heads(
        &self,
        shelf: Shelf,
        length: usize,
        each: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), StoreError> {
        for path in limited(self.run(move |folder, _| folder.disk.list(&folder.shelf(shelf)))).await? {
            let mut paths = limited(self.run(move |folder, _| folder.disk.list(&path))).await?;
            while !paths.is_empty() {
                let batch = paths.split_off(paths.len().saturating_sub(BATCH));
                let read = self.run(move |folder, _| {
                    batch.iter().map(|path| folder.head(path, length)).collect::<io::Result<Vec<_>>>()
                });
                limited(read).await?.iter().flatten().for_each(|head| each(head));
            }
        }
        Ok(())
    }

    /// What an operator should know of the file system.
    pub(super) async fn advice(&self) -> Result<Vec<String>, StoreError> {
        let network = self.run(|folder, _| place::network(&folder.root)).await?;
        Ok(Vec::from_iter(network.map(|kind| {
            format!(
                "the state folder {} is on {kind}, whose locks and renames may not hold what they promise; put it on a \
                 disk of this machine, or use Redis",
                self.folder.root.display()
            )
        })))
    }

    /// Does work that waits for the disk where that holds up nobody else. The work gets the time at which nobody waits
    /// for it any more.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder, Instant) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let end = Instant::now() + LIMIT;
        self.sweep();
        let thread = self.threads.clone().acquire_owned().await.map_err(|_| StoreError::Interrupted)?;
        let folder = self.folder.clone();
        let done = on(thread, move || work(&folder, end).map_err(|cause| folder.error(cause)));
        done.await.unwrap_or(Err(StoreError::Interrupted))
    }

    /// Clears away what has ended, if it is time for that. Nobody waits for it.
    fn sweep(&self) {
        let (folder, sweeps) = (self.folder.clone(), self.sweeps.clone());
        if let Some(sweeps) = sweeps.filter(|sweeps| sweeps.is_due(folder.clock.uptime()))
            && let Ok(thread) = self.threads.clone().try_acquire_owned()
        {
            drop(on(thread, move || {
                if let Err(error) = sweeps.sweep(&folder) {
                    tracing::warn!(%error, folder = %folder.root.display(), "the state folder could not be tidied up");
                }
            }));
        }
    }
}

/// Does work on a thread, which is taken until the disk lets go of it, however long the caller has left.
fn on<T: Send + 'static>(
    thread: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    spawn_blocking(move || {
        let _thread = thread;
        work()
    })
}
