//! Lines on their way to standard error, which a thread of their own writes: whoever logs never waits for whoever reads.
//! When nobody reads, lines are left out and counted; when reading is taken up again, one line tells how many.
//!
//! Not by tracing-appender: at its end it prints to standard output, which may be the same pipe that nobody reads.

use crate::cli::plain::plain;
use crate::meter::LOG_LINES_DROPPED;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many lines wait at most.
const MAX_LINES: usize = 4096;
/// And how many bytes.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// How long the end of the process waits for them.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait where standard error takes nothing and does not wait itself.
const PAUSE: Duration = Duration::from_millis(10);

/// Of the process, as standard error is.
static QUEUE: Mutex<Queue> =
    Mutex::new(Queue { started: false, lines: VecDeque::new(), bytes: 0, writing: false, untold: 0 });
static CHANGED: Condvar = Condvar::new();

struct Queue {
    started: bool,
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether a line was taken out and is not written yet.
    writing: bool,
    /// How many were left out since the log last told of it.
    untold: u64,
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread.
///
/// # Errors
/// When the system gives none.
pub(in crate::cli) fn start() -> io::Result<()> {
    let mut queue = queue();
    if !queue.started {
        thread::Builder::new().name("log".to_owned()).spawn(write_all)?;
        queue.started = true;
    }
    Ok(())
}

/// The last words of a command, for standard error: behind the lines of the log where there are any.
pub(in crate::cli) fn say(words: &str) {
    if queue().started {
        push(format!("{}\n", plain(words)).as_bytes());
    } else {
        eprintln!("{words}");
    }
}

/// Waits at its end until all lines are written; a second at most, since nobody may read them.
pub(in crate::cli) struct Finish;

impl Drop for Finish {
    fn drop(&mut self) {
        let mut queue = queue();
        let end = Instant::now() + PATIENCE;
        while queue.started && (queue.writing || !queue.lines.is_empty()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = CHANGED.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Where the log writes its lines, each in one piece.
pub(super) struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn push(line: &[u8]) {
    let mut queue = queue();
    if queue.lines.len() >= MAX_LINES || queue.bytes + line.len() > MAX_BYTES {
        return queue.drop_one();
    }
    queue.bytes += line.len();
    queue.lines.push_back(line.to_owned());
    CHANGED.notify_all();
}

impl Queue {
    fn drop_one(&mut self) {
        self.untold += 1;
        LOG_LINES_DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

fn write_all() {
    let mut written = true;
    loop {
        let line = next(written);
        written = write(&line).is_ok();
        let mut queue = queue();
        queue.writing = false;
        if !written {
            queue.drop_one();
        }
        CHANGED.notify_all();
    }
}

/// Waits for the next line. Where all were read and some had been left out, this is the moment to tell.
fn next(read: bool) -> Vec<u8> {
    loop {
        let mut queue = queue();
        if let Some(line) = queue.lines.pop_front() {
            queue.bytes -= line.len();
            queue.writing = true;
            return line;
        }
        if read && queue.untold > 0 {
            let lines = std::mem::take(&mut queue.untold);
            drop(queue); // the line comes back here
            tracing::warn!(lines, "lines of the log were left out: nobody read standard error");
            continue;
        }
        drop(CHANGED.wait(queue));
    }
}

fn write(mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match io::stderr().write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => line = line.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
