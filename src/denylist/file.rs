//! The denylist as a file: making it, reading it, adding a line so that it survives a power cut, and taking lines out.
//!
//! All of it happens under the [lock](Place::lock) beside the file, and the file is opened after the lock is held,
//! since taking lines out puts a new file in its place. Editors do not ask for the lock: after writing, whoever writes
//! asks whether the file [is in place](Locked::in_place) still.

use super::error::{DenylistError, FaultyLines};
use super::parse::{Line, Parsed, each_line, parse};
use super::rule::{HEADER, MAX_LINE, header, parse_line};
use super::rules::Rules;
use crate::files::{self, Place, Readers, Unread};
use crate::watch::FileStamp;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Owner writes, group reads; the server's umask may take more away.
const MODE: u32 = 0o640;
/// How a denylist is opened to be changed. Never created: a list that vanished must not come back with one line for all
/// of it.
const CHANGE: OFlags = OFlags::RDWR.union(OFlags::APPEND);

/// How often a line is written to a file that was replaced meanwhile.
pub(super) const WRITES: usize = 3;

const EXPLANATION: &str = "\
# AuthIDs that are refused, one rule a line; a change is in force within two seconds. Behind # stand notes.
#
#   epoch 3                                    every AuthID sealed under epoch 3
#   epoch 3 service dropbox                    only those for this service
#   epoch 3 login-before 2026-11-01T00:00:00Z  only logins older than this (no help if the key leaked)
#   grant 00112233445566778899aabbccddeeff     one login, in every epoch
#   legacy <SHA-256 of it>                     one AuthID of duplicati/oauth-server, and what was sealed of it
#   removed 2026-11-27T07:00:00Z epoch 3       that rule was taken out, and no other server brings it back
#
# Revoking adds `grant` lines, with `through` the newest epoch of that day and `at` the time.

";

/// Makes a denylist without rules. It appears whole or not at all.
pub(super) fn create(path: &Path) -> io::Result<()> {
    files::create(path, MODE, &format!("{HEADER}\n{EXPLANATION}"))
}

/// Opens the denylist to be read.
pub(super) fn open_to_read(path: &Path) -> Result<(File, FileStamp), DenylistError> {
    match files::open(path, Readers::All) {
        Ok((file, metadata)) => Ok((file, FileStamp::new(&metadata))),
        Err(Unread::Missing) => Err(DenylistError::Missing(path.to_owned())),
        Err(error) => Err(DenylistError::Unread(path.to_owned(), error)),
    }
}

/// What reading an open denylist says.
pub(super) fn unread(path: &Path, error: io::Error) -> DenylistError {
    DenylistError::Unread(path.to_owned(), Unread::Failed(error))
}

/// Reads the rules of the denylist `path`.
pub(super) fn read(path: &Path) -> Result<(Rules, FileStamp), DenylistError> {
    let (file, stamp) = open_to_read(path)?;
    let parsed = parse(BufReader::with_capacity(64 * 1024, file)).map_err(|error| unread(path, error))?;
    let Parsed { rules, torn } = parsed.map_err(|faults| DenylistError::Faulty(path.to_owned(), faults))?;
    if torn {
        tracing::warn!(file = %path.display(), "the denylist's last line is cut short and left out");
    }
    Ok((rules, stamp))
}

/// The denylist, open to be changed; nobody else changes it until this is dropped.
pub(super) struct Locked {
    path: PathBuf,
    place: Place,
    file: File,
    _lock: File,
}

impl Locked {
    /// Waits for the lock, then opens the file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let open = || {
            let place = Place::of_target(path)?;
            let lock = place.lock()?;
            Ok(Self { path: path.to_owned(), file: place.open(CHANGE)?, place, _lock: lock })
        };
        open().map_err(|error| at(path, &error))
    }

    /// Opens what is there now. The lock stays held.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        let open = || {
            let place = Place::of_target(&self.path)?;
            Ok((place.open(CHANGE)?, place))
        };
        (self.file, self.place) = open().map_err(|error| at(&self.path, &error))?;
        Ok(())
    }

    /// Whether the open file is the one that readers find. If not, what was written into it is lost; so it is in a file
    /// without a name, which a container may still see after it was replaced outside.
    pub(super) fn in_place(&self) -> io::Result<bool> {
        let there = std::fs::metadata(&self.path).map_err(|error| at(&self.path, &error))?;
        let open = self.file.metadata().map_err(|error| at(&self.path, &error))?;
        Ok((there.dev(), there.ino()) == (open.dev(), open.ino()) && open.nlink() > 0)
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Adds whole lines with their newlines, in one write. When this returns, they are on the disk; when it fails, the file
    /// is as long as before, since the beginning of a rule may be a wider one: `epoch 1` of `epoch 12`.
    pub(super) fn append(&mut self, lines: &str) -> io::Result<()> {
        let append = || {
            let before = self.file.metadata()?.len();
            self.append_unsynced(lines).and_then(|()| self.file.sync_all()).inspect_err(|_| {
                let _ = self.file.set_len(before);
            })
        };
        append().map_err(|error| at(&self.path, &error))
    }

    /// Puts a file with the lines that `keep` wants in the place of this one, all else as it was. When this returns true,
    /// it is on the disk; false: an editor has replaced the file meanwhile, and nothing was done.
    pub(super) fn rewrite(&self, mut keep: impl FnMut(&Line<'_>) -> bool) -> io::Result<Result<bool, FaultyLines>> {
        let before = self.file.metadata()?;
        let aside = self.place.aside(MODE)?;
        let mut new = BufWriter::new(aside.file());
        let read = each_line(BufReader::new(self.place.open(OFlags::RDONLY)?), |line| match keep(&line) {
            true => new.write_all(line.bytes),
            false => Ok(()),
        })?;
        new.flush()?;
        drop(new);
        match read {
            Ok(_) => aside.replace(&before).map(Ok),
            Err(faults) => Ok(Err(faults)),
        }
    }

    /// Makes sure that what was read from the file is on the disk, too.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all().map_err(|error| at(&self.path, &error))
    }

    fn append_unsynced(&self, line: &str) -> io::Result<()> {
        let mut start = [0; 128];
        let read = self.file.read_at(&mut start, 0)?;
        let first = start.get(..read).unwrap_or_default().split_inclusive(|byte| *byte == b'\n').next();
        header(first.unwrap_or_default()).map_err(|wrong| io::Error::new(io::ErrorKind::InvalidData, wrong))?;
        let newline = match self.unended_line()? {
            None => "",
            Some((start, text)) => {
                if start > 0 && parse_line(&text).is_err() {
                    self.comment_out(start)?;
                }
                "\n"
            }
        };
        (&self.file).write_all(format!("{newline}{line}").as_bytes())
    }

    /// Where the last line begins, and the line, if it has no newline.
    fn unended_line(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let from = self.file.metadata()?.len().saturating_sub(MAX_LINE as u64);
        let mut text = Vec::new();
        (&self.file).seek(SeekFrom::Start(from))?;
        (&self.file).take(MAX_LINE as u64).read_to_end(&mut text)?;
        if text.ends_with(b"\n") {
            return Ok(None);
        }
        let start = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Ok(Some((from + start as u64, text.split_off(start))))
    }

    /// Makes a note of a line that somebody was cut short in writing, by one byte over its first: no crash can leave
    /// anything between, and the line grows no longer.
    fn comment_out(&self, start: u64) -> io::Result<()> {
        // The file as it is open can only append; what is opened here must be the same.
        let file = self.place.open(OFlags::WRONLY)?;
        if FileStamp::new(&file.metadata()?) != FileStamp::new(&self.file.metadata()?) {
            return Err(io::Error::other("the file was replaced at this very moment; try again"));
        }
        file.write_all_at(b"#", start)
    }
}

/// What is said after [`WRITES`].
pub(super) fn replaced_time_and_again(path: &Path) -> io::Error {
    io::Error::other(format!("{} was replaced time and again while it was written to", path.display()))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_file_that_has_no_name_any_more_is_not_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("denylist");
        create(&path).unwrap();
        let mut file = Locked::open(&path).unwrap();
        // Found by its path as long as it is open, as one is in a container that was mounted alone.
        file.path = format!("/proc/self/fd/{}", file.file.as_raw_fd()).into();
        assert!(file.in_place().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!file.in_place().unwrap());
    }
}
