//! "Call me when this file may have changed": a thread for each followed file, woken by inotify, by a poll every
//! second and when told to (SIGHUP). One thread for all would stop at the first file whose disk hangs.
//!
//! inotify watches the parent directory, not the file: editors and Kubernetes swap files by renaming, and a watch on
//! the old inode would sleep through that. The poll is for all that inotify does not see: network file systems,
//! symlinks that lead elsewhere, an exhausted watch limit. Both only prompt a look at the file's [`FileStamp`]; what
//! is read, and what comes of it, is [`Live`]'s.

mod live;

pub use live::{Held, Live, Reserve, Source};

use crate::clock::{Clock, UnixTime};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How often files are looked at unprompted.
const POLL: Duration = Duration::from_secs(1);
/// How long after an event a file is left alone, so that an editor that empties it first has time to fill it.
const SETTLE: Duration = Duration::from_millis(50);

/// What tells one state of a file from another without reading it: device, inode, size and when it was written to or
/// its mode changed, in nanoseconds. The mode counts because a file may be refused for it and fixed by `chmod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
    links: u64,
}

impl FileStamp {
    /// The stamp of the open file that `metadata` is of.
    pub fn new(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            links: metadata.nlink(),
        }
    }

    /// Whether the file has no name any more, although it is found by its path: it was mounted alone into a container,
    /// and outside another took its place, or it was removed.
    fn is_detached(self) -> bool {
        self.links == 0
    }

    /// The stamp of what is at `path`, symlinks followed; `None` when that cannot be told.
    fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::new(&metadata))
    }
}

/// A sentence about the file at `path` if it was replaced where this process cannot see it; `None` for every other.
pub fn detached(path: &Path) -> Option<String> {
    // What a shell hands over as standard input may have no name from the beginning.
    let stamp = FileStamp::at(path).filter(|_| !path.starts_with("/dev"))?;
    stamp.is_detached().then(|| {
        format!(
            "{} was replaced or removed outside this container, which goes by the old file; mount its folder instead of the \
             file alone, and start the container again",
            path.display()
        )
    })
}

/// A [`Live`] to be followed: its files, and how it is told to look at them. The look may block.
pub struct WatchedFile {
    files: Vec<PathBuf>,
    look: Box<dyn Fn(bool) + Send>,
}

/// How long a look may take until its file counts as one that cannot be read, in seconds.
const LONG: i64 = 10;
/// A time that has not come.
const NEVER: i64 = i64::MIN;

/// How the readings of a file went.
#[derive(Debug)]
pub struct LoadStatus {
    good_at: AtomicI64,
    failing_since: AtomicI64,
    /// When the look that is under way began.
    began: AtomicI64,
    looked_at: AtomicI64,
}

impl LoadStatus {
    /// The first one went well, just now. A file that is not `followed` is never looked at.
    pub fn begun(followed: bool) -> Self {
        let now = Clock::system().now();
        Self {
            good_at: now.into(),
            failing_since: NEVER.into(),
            began: NEVER.into(),
            looked_at: if followed { now } else { NEVER }.into(),
        }
    }

    /// Takes notice of another one.
    pub fn note(&self, good: bool) {
        let now = Clock::system().now();
        if good {
            self.good_at.store(now, Ordering::Relaxed);
            self.failing_since.store(NEVER, Ordering::Relaxed);
        } else {
            let _ = self.failing_since.compare_exchange(NEVER, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn look_begins(&self) {
        self.began.store(Clock::system().now(), Ordering::Relaxed);
    }

    fn look_ends(&self) {
        self.began.store(NEVER, Ordering::Relaxed);
        self.looked_at.store(Clock::system().now(), Ordering::Relaxed);
    }

    /// When what is in force was read.
    pub fn good_at(&self) -> UnixTime {
        self.good_at.load(Ordering::Relaxed)
    }

    /// Whether the last one failed, so that something older is in force.
    pub fn failed(&self) -> bool {
        self.failing_since.load(Ordering::Relaxed) != NEVER
    }

    /// Since when the file cannot be read or has a fault; or since when a look at it hangs, longer than ten seconds.
    pub fn stale_since(&self) -> Option<UnixTime> {
        let came = |time: &AtomicI64| Some(time.load(Ordering::Relaxed)).filter(|time| *time != NEVER);
        let hangs = || came(&self.began).filter(|began| Clock::system().now() - began > LONG);
        came(&self.failing_since).or_else(hangs)
    }

    /// When the last look at the file ended, whether it had changed or not; `None` where there is no file to follow.
    pub fn looked_at(&self) -> Option<UnixTime> {
        Some(self.looked_at.load(Ordering::Relaxed)).filter(|time| *time != NEVER)
    }
}

/// The directory that `path` is in.
pub(crate) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A running watcher; it ends when this is dropped.
pub struct Watch {
    wakes: Vec<Wake>,
    _inotify: Option<RecommendedWatcher>,
}

impl Watch {
    /// Starts to follow `files`. Without inotify it says so once in the log and polls only.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(files: Vec<WatchedFile>) -> std::io::Result<Self> {
        Self::start_polling_every(POLL, files)
    }

    fn start_polling_every(poll: Duration, files: Vec<WatchedFile>) -> std::io::Result<Self> {
        let directories: Vec<_> =
            files.iter().flat_map(|follow| &follow.files).map(|path| directory(path).to_owned()).collect();
        // One place is enough: who finds it taken knows that a look is still to come.
        let (wakes, prompts): (Vec<_>, Vec<_>) = files
            .iter()
            .map(|_| sync_channel(1))
            .map(|(sender, prompts)| (Wake { sender, told: Arc::default() }, prompts))
            .unzip();
        let inotify = match watch_directories(&directories, wakes.clone()) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "no inotify: changed files are noticed by a look every second only");
                None
            }
        };
        for ((file, prompts), wake) in files.into_iter().zip(prompts).zip(&wakes) {
            let told = Arc::clone(&wake.told);
            let thread = std::thread::Builder::new().name("watch".to_owned());
            thread.spawn(move || file.follow(&prompts, poll, &told))?;
        }
        Ok(Self { wakes, _inotify: inotify })
    }

    /// Has every file loaded again soon, changed or not. Returns at once.
    pub fn reload_all(&self) {
        for wake in &self.wakes {
            wake.told.store(true, Ordering::Release);
            wake.prompt();
        }
    }
}

impl WatchedFile {
    /// Looks whenever it is prompted, until nobody can prompt it any more.
    fn follow(&self, prompts: &Receiver<()>, poll: Duration, told: &AtomicBool) {
        loop {
            (self.look)(told.swap(false, Ordering::AcqRel));
            match prompts.recv_timeout(poll) {
                Ok(()) => {
                    std::thread::sleep(SETTLE);
                    let _ = prompts.try_recv(); // this look serves what came meanwhile, too
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

#[derive(Clone)]
struct Wake {
    sender: SyncSender<()>,
    told: Arc<AtomicBool>,
}

impl Wake {
    fn prompt(&self) {
        let _ = self.sender.try_send(());
    }
}

fn watch_directories(directories: &[PathBuf], wakes: Vec<Wake>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is an access, too.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            wakes.iter().for_each(Wake::prompt);
        }
    })?;
    for directory in directories {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests;
