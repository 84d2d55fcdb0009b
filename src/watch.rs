//! "Call me when this file may have changed": one thread for the process, woken by inotify, by a poll every second
//! and when told to (SIGHUP).
//!
//! inotify watches the parent directory, not the file: editors and Kubernetes swap files by renaming, and a watch on
//! the old inode would sleep through that. The poll is for all that inotify does not see: network file systems,
//! symlinks that lead elsewhere, an exhausted watch limit. Both only prompt a look at the file's [`Signature`]; what
//! is in the file, and whether it is any good, is left to the one who follows it.

use crate::clock::{Clock, UnixTime};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How often files are looked at unprompted.
const POLL: Duration = Duration::from_secs(1);
/// How long after an event a file is left alone, so that an editor that empties it first has time to fill it.
const SETTLE: Duration = Duration::from_millis(50);

/// What tells one state of a file from another without reading it: device, inode, size and when it was written to or
/// its mode changed, in nanoseconds. The mode counts because a file may be refused for it and mended by `chmod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    /// The signature of the open file that `metadata` is of.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The signature of what stands at `path`, symlinks followed; `None` when that cannot be told.
    fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }
}

/// A file, and what to do when it may have changed.
pub struct Follow {
    path: PathBuf,
    seen: Option<Signature>,
    reload: Box<dyn Fn() + Send>,
}

impl Follow {
    /// Follows `path`. `loaded` is the signature that the file had before its content now in use was read, so that a
    /// change between that reading and [`Watch::start`] is not missed. `reload` may block; it runs on the watcher's
    /// thread, and has to live with a file that is missing or half written.
    pub fn new(path: impl Into<PathBuf>, loaded: Option<Signature>, reload: impl Fn() + Send + 'static) -> Self {
        Self { path: path.into(), seen: loaded, reload: Box::new(reload) }
    }

    /// Calls `reload` if the file differs from the last one loaded, or if `told` to. The signature is taken before
    /// the reading: a file that changes while it is read differs again at the next look.
    fn look(&mut self, told: bool) {
        let now = Signature::at(&self.path);
        if told || now != self.seen {
            self.seen = now;
            (self.reload)();
        }
    }
}

/// How the readings of a file went.
#[derive(Debug)]
pub struct Readings {
    good_at: AtomicI64,
    failed: AtomicBool,
}

impl Readings {
    /// The first one went well, just now.
    pub(crate) fn begun() -> Self {
        Self { good_at: AtomicI64::new(Clock::system().now()), failed: AtomicBool::new(false) }
    }

    /// Takes notice of another one.
    pub(crate) fn note(&self, good: bool) {
        if good {
            self.good_at.store(Clock::system().now(), Ordering::Relaxed);
        }
        self.failed.store(!good, Ordering::Relaxed);
    }

    /// When what is in force was read.
    pub fn good_at(&self) -> UnixTime {
        self.good_at.load(Ordering::Relaxed)
    }

    /// Whether the last one failed, so that something older is in force.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// The directory that `path` stands in.
pub(crate) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A running watcher; it ends when this is dropped.
pub struct Watch {
    wake: Wake,
    _inotify: Option<RecommendedWatcher>,
}

impl Watch {
    /// Starts to follow `files`. Without inotify it says so once in the log and polls only.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(files: Vec<Follow>) -> std::io::Result<Self> {
        Self::start_polling_every(POLL, files)
    }

    fn start_polling_every(poll: Duration, mut files: Vec<Follow>) -> std::io::Result<Self> {
        // One place is enough: who finds it taken knows that a look is still to come.
        let (sender, prompts) = sync_channel(1);
        let wake = Wake { sender, all: Arc::default() };
        let all = Arc::clone(&wake.all);
        let inotify = match watch_directories(&files, wake.clone()) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "no inotify: changed files are noticed by a look every second only");
                None
            }
        };
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            loop {
                let told = all.swap(false, Ordering::AcqRel);
                files.iter_mut().for_each(|file| file.look(told));
                match prompts.recv_timeout(poll) {
                    Ok(()) => {
                        std::thread::sleep(SETTLE);
                        let _ = prompts.try_recv(); // this look serves what came meanwhile, too
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { wake, _inotify: inotify })
    }

    /// Has every file loaded again soon, changed or not. Returns at once.
    pub fn reload_all(&self) {
        self.wake.all.store(true, Ordering::Release);
        self.wake.prompt();
    }
}

#[derive(Clone)]
struct Wake {
    sender: SyncSender<()>,
    all: Arc<AtomicBool>,
}

impl Wake {
    fn prompt(&self) {
        let _ = self.sender.try_send(());
    }
}

fn watch_directories(files: &[Follow], wake: Wake) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is an access, too.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            wake.prompt();
        }
    })?;
    for file in files {
        watcher.watch(directory(&file.path), RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::{Receiver, channel};

    const NEVER: Duration = Duration::from_secs(3600);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Follows `path` and sends what it holds after each reload.
    fn follow(path: &Path) -> (Follow, Receiver<Option<String>>) {
        let (sender, reloads) = channel();
        let file = path.to_owned();
        let reload = move || sender.send(fs::read_to_string(&file).ok()).unwrap();
        (Follow::new(path, Signature::at(path), reload), reloads)
    }

    /// Waits until a reload has read `text`; reloads of states on the way there are passed over.
    fn wait_for(reloads: &Receiver<Option<String>>, text: &str) {
        while reloads.recv_timeout(PATIENCE).unwrap().as_deref() != Some(text) {}
    }

    fn replace(path: &Path, text: &str) {
        let aside = path.with_extension("aside");
        fs::write(&aside, text).unwrap();
        fs::rename(aside, path).unwrap();
    }

    #[test]
    fn inotify_reports_writes_renames_and_removals() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "a").unwrap();
        let (file, reloads) = follow(&path);
        let _watch = Watch::start_polling_every(NEVER, vec![file]).unwrap();
        fs::write(&path, "written").unwrap();
        wait_for(&reloads, "written");
        replace(&path, "renamed");
        wait_for(&reloads, "renamed");
        fs::remove_file(&path).unwrap();
        while reloads.recv_timeout(PATIENCE).unwrap().is_some() {}
        fs::write(&path, "back").unwrap();
        wait_for(&reloads, "back");
    }

    #[test]
    fn the_swap_of_a_directory_symlink_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        for (version, text) in [("..1", "old"), ("..2", "new")] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("file"), text).unwrap();
        }
        symlink("..1", dir.path().join("..data")).unwrap();
        let path = dir.path().join("file");
        symlink("..data/file", &path).unwrap();
        let (file, reloads) = follow(&path);
        let _watch = Watch::start_polling_every(NEVER, vec![file]).unwrap();
        symlink("..2", dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        wait_for(&reloads, "new");
    }

    #[test]
    fn the_poll_sees_what_inotify_does_not() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = elsewhere.path().join("file");
        fs::write(&target, "a").unwrap();
        let path = dir.path().join("link");
        symlink(&target, &path).unwrap();
        let (file, reloads) = follow(&path);
        let _watch = Watch::start_polling_every(Duration::from_millis(5), vec![file]).unwrap();
        fs::write(&target, "changed").unwrap();
        wait_for(&reloads, "changed");
    }

    #[test]
    fn without_inotify_the_poll_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made-later").join("file");
        let (file, reloads) = follow(&path);
        let watch = Watch::start_polling_every(Duration::from_millis(5), vec![file]).unwrap();
        assert!(watch._inotify.is_none());
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "there").unwrap();
        wait_for(&reloads, "there");
    }

    #[test]
    fn a_file_is_loaded_once_for_each_change_and_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "a").unwrap();
        let (mut file, reloads) = follow(&path);
        file.look(false);
        assert_eq!(reloads.try_iter().count(), 0);
        replace(&path, "b");
        file.look(false);
        file.look(false);
        assert_eq!(reloads.try_iter().count(), 1);
        file.look(true);
        assert_eq!(reloads.try_iter().count(), 1);
    }

    #[test]
    fn a_change_between_loading_and_following_is_not_missed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "a").unwrap();
        let (file, reloads) = follow(&path);
        replace(&path, "b");
        let _watch = Watch::start_polling_every(NEVER, vec![file]).unwrap();
        wait_for(&reloads, "b");
    }

    #[test]
    fn a_file_that_changed_while_it_was_read_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "a").unwrap();
        let (sender, reloads) = channel();
        let edited = path.clone();
        let reload = move || {
            sender.send(()).unwrap();
            fs::write(&edited, "edited meanwhile").unwrap();
        };
        let mut file = Follow::new(&path, None, reload);
        file.look(false);
        file.look(false);
        assert_eq!(reloads.try_iter().count(), 2);
    }

    #[test]
    fn all_are_loaded_again_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let (one, reloads_of_one) = follow(&dir.path().join("one"));
        let (two, reloads_of_two) = follow(&dir.path().join("two"));
        let watch = Watch::start_polling_every(NEVER, vec![one, two]).unwrap();
        watch.reload_all();
        assert_eq!(reloads_of_one.recv_timeout(PATIENCE), Ok(None));
        assert_eq!(reloads_of_two.recv_timeout(PATIENCE), Ok(None));
    }

    #[test]
    fn the_watcher_ends_when_its_handle_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (file, reloads) = follow(&dir.path().join("file"));
        drop(Watch::start_polling_every(NEVER, vec![file]).unwrap());
        assert_eq!(reloads.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    }
}
