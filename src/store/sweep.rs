//! Clears away what has ended in a folder, with a care that differs by shelf: who loses an entry of the mailbox copies
//! the AuthID, who loses a record loses the login.
//!
//! Whether a record has ended the clock says, and the clock may be wrong: by years where a machine starts without its
//! battery. So no record is removed when it is first seen to have ended, but after three days in which every sweep of
//! this process saw that, with a clock that did not jump; and none as long as most records seem to have ended. Which
//! were seen is in memory only: a process that does not live for three days removes none.

use super::Shelf;
use super::folder::{Folder, is_aside};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often: with the first request after this time.
pub(super) const EVERY: Duration = Duration::from_secs(3600);
/// For how long a record must have been seen to have ended, by [`Clock::uptime`](crate::clock::Clock::uptime).
pub(super) const GRACE: Duration = Duration::from_secs(3 * 24 * 3600);
/// How far the wall clock may move, beside the other, between two sweeps; NTP moves it by less.
const JUMP: i64 = 600;
/// Up to so many ended records it is no news if they are most of all.
const FEW: usize = 8;
/// For how long a sweep waits for a lock; the next one comes by again.
const PATIENCE: Duration = Duration::from_millis(100);

/// What the sweeps of a process know.
pub(super) struct Sweeps(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// When the next one is due, by uptime.
    due: Duration,
    /// The wall clock less the uptime, in seconds.
    offset: Option<i64>,
    /// Records that have ended, and since when that is seen, by uptime.
    ended: HashMap<PathBuf, Duration>,
}

impl Sweeps {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Whether it is time for one; says so once.
    pub(super) fn is_due(&self, uptime: Duration) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = uptime >= seen.due;
        if is_due {
            seen.due = uptime + EVERY;
        }
        is_due
    }

    /// One sweep.
    pub(super) fn sweep(&self, folder: &Folder) -> io::Result<()> {
        for shelf in Shelf::ALL {
            let (mut all, mut ended) = (0, Vec::new());
            walk(folder, shelf, |path| {
                let unfinished = is_aside(path);
                all += usize::from(!unfinished);
                if unfinished || has_ended(folder, path)? {
                    match shelf.is_durable() && !unfinished {
                        true => ended.push(path.to_owned()),
                        false => remove(folder, path)?,
                    }
                }
                Ok(())
            })?;
            if shelf.is_durable() {
                self.removable(folder, all, ended).iter().try_for_each(|path| remove(folder, path))?;
            }
        }
        Ok(())
    }

    /// Which of the records that have ended, of `all` that there are, may be removed.
    fn removable(&self, folder: &Folder, all: usize, ended: Vec<PathBuf>) -> Vec<PathBuf> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let uptime = folder.clock.uptime();
        let offset = folder.clock.now() - i64::try_from(uptime.as_secs()).unwrap_or(i64::MAX);
        let jumped = seen.offset.replace(offset).is_some_and(|before| before.abs_diff(offset) > JUMP.unsigned_abs());
        let before = std::mem::take(&mut seen.ended);
        let most = 2 * ended.len() > all;
        if most && ended.len() > FEW {
            tracing::warn!(
                ended = ended.len(),
                all,
                "most records in the state folder have ended by this machine's clock; none is removed"
            );
        }
        let since = |path: &PathBuf| before.get(path).copied().filter(|_| !jumped && !most).unwrap_or(uptime);
        seen.ended = ended.into_iter().map(|path| (path.clone(), since(&path))).collect();
        let long = seen.ended.iter().filter(|(_, since)| uptime.saturating_sub(**since) >= GRACE);
        long.map(|(path, _)| path.clone()).collect()
    }
}

/// Calls `each` with every file of a shelf.
fn walk(folder: &Folder, shelf: Shelf, mut each: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for inside in folder.disk.list(&folder.shelf(shelf))? {
        folder.disk.list(&inside)?.iter().try_for_each(|path| each(path))?;
    }
    Ok(())
}

fn has_ended(folder: &Folder, path: &Path) -> io::Result<bool> {
    Ok(folder.beginning(path, 0)?.is_some_and(|file| folder.has_ended(&file)))
}

/// Removes a file whose time is over, or that nobody will finish, unless that is no longer so under the lock that
/// whoever writes here holds.
fn remove(folder: &Folder, path: &Path) -> io::Result<()> {
    let Some(lock) = path.parent().and_then(Path::file_name) else { return Ok(()) };
    match folder.lock(&lock.to_string_lossy(), Instant::now() + PATIENCE) {
        Ok(_lock) if is_aside(path) || has_ended(folder, path)? => match folder.disk.remove(path) {
            // Finished by its writer since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        },
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
        Err(error) => Err(error),
    }
}
