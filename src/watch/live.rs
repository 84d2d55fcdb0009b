//! A value that follows its files: what was read last without a fault is in force, and nothing else ever is.
//!
//! A reading can go wrong in two ways. Where the content is faulty, it waits for the next change. Where the file could not
//! be read at all (no descriptors left, a disk that fails, no such file), the change would be lost if it were taken for
//! seen: it is read again at every look until that succeeds, and the log hears of it at growing distances.

use super::{FileStamp, LoadStatus, WatchedFile};
use arc_swap::{ArcSwap, Guard};
use std::fmt::{self, Display};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a [`Live`] has its value from.
pub trait Source: Send + 'static {
    /// What is read.
    type Value: Send + Sync + 'static;
    /// Why it could not be.
    type Fault: Display;

    /// The files that are read, together; always the same.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads them; with the stamps that they had before.
    ///
    /// # Errors
    /// When a file could not be read or has a fault.
    fn read(&self) -> Result<(Self::Value, Vec<FileStamp>), Self::Fault>;

    /// Whether a file could not be read, so that only another try tells what is in it.
    fn is_unread(fault: &Self::Fault) -> bool;

    /// `new` has taken the place of `old`, and was read from files with these stamps.
    fn loaded(&mut self, old: &Self::Value, new: &Self::Value, from: &[FileStamp]);

    /// Says so in the log.
    fn not_loaded(&self, fault: &Self::Fault);
}

/// A value that follows its files.
pub struct Live<S: Source> {
    value: ArcSwap<S::Value>,
    load_status: Arc<LoadStatus>,
    turn: Mutex<Turn<S>>,
}

/// Held from reading to swapping, so that an older content never replaces a newer one.
struct Turn<S> {
    source: S,
    files: Vec<PathBuf>,
    /// The stamps at the last reading that came to an end.
    seen: Vec<Option<FileStamp>>,
    /// Which of them were replaced outside of the container that this runs in, as far as the log was told.
    detached: Vec<bool>,
    /// How often in a row a file could not be read, and why.
    unread: (u32, String),
    reserve: Reserve,
}

impl<S: Source> Live<S> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When a file could not be read or has a fault.
    pub fn read(source: S) -> Result<Self, S::Fault> {
        let (value, from) = source.read()?;
        Ok(Self::new(source, value, from))
    }

    /// Begins with a value that was read from files with these stamps; without any it never changes.
    pub fn new(source: S, value: S::Value, from: Vec<FileStamp>) -> Self {
        let files = if from.is_empty() { Vec::new() } else { source.files() };
        Self {
            value: ArcSwap::from_pointee(value),
            load_status: Arc::new(LoadStatus::begun(!files.is_empty())),
            turn: Mutex::new(Turn {
                source,
                files,
                detached: from.iter().map(|stamp| stamp.is_detached()).collect(),
                seen: from.into_iter().map(Some).collect(),
                unread: (0, String::new()),
                reserve: Reserve::default(),
            }),
        }
    }

    /// The value in force. Costs no lock; one request should use one, so that it sees one state.
    pub fn load(&self) -> Guard<Arc<S::Value>> {
        self.value.load()
    }

    /// When the value in force was read, and how later readings went.
    pub fn load_status(&self) -> &Arc<LoadStatus> {
        &self.load_status
    }

    /// Waits until nobody else reads or holds it.
    pub fn hold(&self) -> Held<'_, S> {
        Held { live: self, turn: self.turn.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// What to hand to [`Watch::start`](super::Watch::start); `None` without files.
    pub fn follow(self: &Arc<Self>) -> Option<WatchedFile> {
        let live = Arc::clone(self);
        let files = self.hold().turn.files.clone();
        (!files.is_empty()).then(|| WatchedFile { files, look: Box::new(move |told| live.look(told)) })
    }

    /// Reads the files again if one of them differs from what was read last, or if `told` to.
    pub(super) fn look(&self, told: bool) {
        self.load_status.look_begins();
        // A panic would end the thread, and nobody would look any more. What made it is taken for seen.
        if catch_unwind(AssertUnwindSafe(|| self.hold().look(told))).is_err() {
            self.load_status.note(false);
            let files = self.hold().turn.files.clone();
            tracing::error!(
                ?files,
                "reading these files ran into a defect of authseal; they are read again when they change"
            );
        }
        self.load_status.look_ends();
    }
}

impl<S: Source> fmt::Debug for Live<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

/// A [`Live`] that nobody else reads at the moment.
pub struct Held<'a, S: Source> {
    live: &'a Live<S>,
    turn: MutexGuard<'a, Turn<S>>,
}

impl<S: Source> Held<'_, S> {
    /// Where the value comes from.
    pub fn source(&mut self) -> &mut S {
        &mut self.turn.source
    }

    /// Reads the files again. A fault is logged, and the value in force stays.
    pub fn reload(&mut self) {
        let turn = &mut *self.turn;
        if turn.files.is_empty() {
            return;
        }
        // Before the reading: a file that changes while it is read differs at the next look.
        turn.seen = turn.stamps();
        let outcome = turn.reserve.lend(|| turn.source.read());
        self.live.load_status.note(outcome.is_ok());
        let fault = match outcome {
            Ok((value, from)) => {
                turn.unread = (0, String::new());
                let new = Arc::new(value);
                let old = self.live.value.swap(Arc::clone(&new));
                return turn.source.loaded(&old, &new, &from);
            }
            Err(fault) => fault,
        };
        let (times, why) = &mut turn.unread;
        if S::is_unread(&fault) {
            turn.seen.fill(None);
            let text = fault.to_string();
            *times = if text == *why { times.saturating_add(1) } else { 1 };
            *why = text;
        } else {
            *times = 1;
        }
        if times.is_power_of_two() {
            turn.source.not_loaded(&fault);
        }
    }

    fn look(&mut self, told: bool) {
        let turn = &mut *self.turn;
        turn.reserve.fill();
        let now = turn.stamps();
        turn.tell_detached(&now);
        if told {
            turn.unread.0 = 0;
        }
        // What is not there was not seen, however often it was looked for.
        if told || now != turn.seen || now.contains(&None) {
            self.reload();
        }
    }
}

impl<S: Source> Turn<S> {
    /// Tells the log of files that were replaced outside of the container since the last look.
    fn tell_detached(&mut self, now: &[Option<FileStamp>]) {
        for ((file, told), now) in self.files.iter().zip(&mut self.detached).zip(now) {
            let detached = now.is_some_and(FileStamp::is_detached);
            if detached && !*told {
                tracing::warn!(
                    file = %file.display(),
                    "this file was replaced or removed outside this container, which goes by the old one; mount its folder instead"
                );
            }
            *told = detached;
        }
    }

    fn stamps(&self) -> Vec<Option<FileStamp>> {
        self.files.iter().map(|path| FileStamp::at(path)).collect()
    }
}

/// A descriptor that is kept back, so that a file can be read when all others are taken.
#[derive(Debug)]
pub struct Reserve(Option<File>);

impl Default for Reserve {
    fn default() -> Self {
        Self(File::open("/dev/null").ok())
    }
}

impl Reserve {
    /// Takes one, if there is none and one can be had.
    fn fill(&mut self) {
        if self.0.is_none() {
            *self = Self::default();
        }
    }

    /// Gives it back for as long as `read` takes.
    pub fn lend<T>(&mut self, read: impl FnOnce() -> T) -> T {
        self.0 = None;
        let read = read();
        self.fill();
        read
    }
}
