//! What came to the file since somebody last read it. Nothing is kept for that: a tag names the file, how long it was, and
//! a hash of the end that it had. Where these still fit, only lines were added behind; where not, all is read again.

use super::change::Change;
use super::error::DenylistError;
use super::file::{open_to_read, unread};
use super::live::Denylist;
use super::parse::each_line;
use super::rule::{HEADER, MAX_LINE};
use super::rules::Rules;
use crate::clock::UnixTime;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

/// How much of the end is hashed, in bytes: what is inserted anywhere before moves it.
const END: u64 = 4096;

/// The lines of a denylist from somewhere on.
pub struct Tail {
    path: PathBuf,
    file: File,
    from: u64,
    to: u64,
    tag: String,
}

impl Denylist {
    /// The lines that came after what `tag` names, or all; `None` where none did.
    ///
    /// # Errors
    /// When the file is missing or unreadable.
    pub fn tail(&self, tag: Option<&str>) -> Result<Option<Tail>, DenylistError> {
        let path = self.path();
        let (file, _) = open_to_read(path)?;
        let failed = |error| unread(path, error);
        let metadata = file.metadata().map_err(failed)?;
        let to = whole_lines(&file, metadata.len()).map_err(failed)?;
        let tag_at = |length| Ok(format!("{:x}-{length:x}-{}", metadata.ino(), hash_before(&file, length)?));
        let known = tag.and_then(|tag| u64::from_str_radix(tag.split('-').nth(1)?, 16).ok());
        let known = known.filter(|length| *length <= to);
        let is_known = known.is_some_and(|length| tag_at(length).is_ok_and(|same| Some(same.as_str()) == tag));
        let from = known.filter(|_| is_known).unwrap_or(0);
        if from == to {
            return Ok(None);
        }
        let tag = tag_at(to).map_err(failed)?;
        Ok(Some(Tail { path: path.to_owned(), file, from, to, tag }))
    }
}

impl Tail {
    /// Names the end of these lines.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Hands what each line has to tell to `visit`, until that says that it has enough. `rules` are those of the whole file,
    /// `now` is the time.
    ///
    /// # Errors
    /// When the file is unreadable or faulty.
    pub fn changes(
        self,
        rules: &Rules,
        now: UnixTime,
        mut visit: impl FnMut(Change) -> bool,
    ) -> Result<(), DenylistError> {
        let head = if self.from == 0 { String::new() } else { format!("{HEADER}\n") };
        let lines = At { file: &self.file, at: self.from }.take(self.to - self.from);
        let read = each_line(BufReader::new(head.as_bytes().chain(lines)), |line| {
            match Change::of(line, rules, now).is_none_or(&mut visit) {
                true => Ok(()),
                false => Err(io::ErrorKind::Interrupted.into()),
            }
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            read => match read.map_err(|error| unread(&self.path, error))? {
                Ok(_) => Ok(()),
                Err(faults) => Err(DenylistError::Faulty(self.path, faults)),
            },
        }
    }
}

/// A file from some place on, wherever others read it.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The end of the last line that has one.
fn whole_lines(file: &File, length: u64) -> io::Result<u64> {
    let from = length.saturating_sub(MAX_LINE as u64);
    let mut end = Vec::new();
    At { file, at: from }.take(length - from).read_to_end(&mut end)?;
    Ok(from + end.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline as u64 + 1))
}

/// Of the bytes before `length`.
fn hash_before(file: &File, length: u64) -> io::Result<String> {
    let from = length.saturating_sub(END);
    let mut end = Vec::new();
    At { file, at: from }.take(length - from).read_to_end(&mut end)?;
    Ok(Sha256::digest(&end).iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{AT, epoch, grant};
    use super::*;
    use std::fs;

    fn told(denylist: &Denylist, tag: Option<&str>) -> Option<(String, Vec<String>)> {
        let tail = denylist.tail(tag).unwrap()?;
        let (tag, mut told) = (tail.tag().to_owned(), Vec::new());
        tail.changes(&denylist.rules(), AT, |change| {
            told.push(change.to_string());
            true
        })
        .unwrap();
        Some((tag, told))
    }

    #[test]
    fn only_what_came_behind_is_told_and_all_where_something_else_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("denylist");
        fs::write(&path, "authseal-denylist 1\nepoch 3\nremoved 2026-11-23T10:00:00Z epoch 4\n").unwrap();
        let denylist = Denylist::open(&path).unwrap();
        let (tag, all) = told(&denylist, None).unwrap();
        assert_eq!(all, ["+0 epoch 3", "-1795428000 epoch 4"]);
        assert!(told(&denylist, Some(&tag)).is_none());
        denylist.append(grant(1), epoch(4), AT).unwrap();
        let (newer, news) = told(&denylist, Some(&tag)).unwrap();
        assert_eq!(news, [format!("+{AT} grant {} through 4 at 2026-11-23T10:00:00Z", grant(1))]);
        for other in ["", "x", "1-1-1", "ffff-ffffffff-00", &tag.replace('-', "")] {
            assert_eq!(told(&denylist, Some(other)).unwrap().1.len(), 3, "{other}");
        }
        // A torn line is told when it has its end.
        fs::write(&path, fs::read_to_string(&path).unwrap() + "epoch 1").unwrap();
        assert!(told(&denylist, Some(&newer)).is_none());
        fs::write(&path, fs::read_to_string(&path).unwrap() + "2\n").unwrap();
        assert_eq!(told(&denylist, Some(&newer)).unwrap().1, ["+0 epoch 12"]);
        // In place, by an editor.
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("epoch 3", "epoch 33")).unwrap();
        assert_eq!(told(&denylist, Some(&newer)).unwrap().1.len(), 4);
        // A rule that is there although it was taken out was added again, by now.
        fs::write(&path, fs::read_to_string(&path).unwrap() + "epoch 4\n").unwrap();
        let denylist = Denylist::open(&path).unwrap();
        assert!(told(&denylist, None).unwrap().1.contains(&format!("+{AT} epoch 4")));
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("denylist");
        // A folder opens as a file does, and nothing can be read from it.
        for from in [0, 7] {
            let file = File::open(dir.path()).unwrap();
            let tail = Tail { path: path.clone(), file, from, to: 100, tag: String::new() };
            let read = tail.changes(&Rules::default(), AT, |_| true);
            assert!(matches!(read, Err(DenylistError::Unread(..))), "{read:?}");
        }
    }

    #[test]
    fn behind_more_lines_than_are_hashed_only_what_came_is_told_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("denylist");
        let many: String = (0..6000).map(|number| format!("epoch {}\n", 10_000 + number)).collect();
        assert!(many.len() > MAX_LINE && MAX_LINE as u64 > END);
        fs::write(&path, format!("authseal-denylist 1\n{many}")).unwrap();
        let denylist = Denylist::open(&path).unwrap();
        let (tag, all) = told(&denylist, None).unwrap();
        assert_eq!(all.len(), 6000);
        let mut told_first = Vec::new();
        let enough = |change: Change| {
            told_first.push(change.to_string());
            false
        };
        denylist.tail(None).unwrap().unwrap().changes(&denylist.rules(), AT, enough).unwrap();
        assert_eq!(told_first, ["+0 epoch 10000"]);
        fs::write(&path, fs::read_to_string(&path).unwrap() + "epoch 5\n").unwrap();
        assert_eq!(told(&denylist, Some(&tag)).unwrap().1, ["+0 epoch 5"]);
        // What comes while it is told is told the next time.
        let (tail, mut now) = (denylist.tail(Some(&tag)).unwrap().unwrap(), Vec::new());
        fs::write(&path, fs::read_to_string(&path).unwrap() + "epoch 6\n").unwrap();
        let next = tail.tag().to_owned();
        tail.changes(&denylist.rules(), AT, |change| {
            now.push(change.to_string());
            true
        })
        .unwrap();
        assert_eq!(
            (now, told(&denylist, Some(&next)).unwrap().1),
            (vec!["+0 epoch 5".to_owned()], vec!["+0 epoch 6".to_owned()])
        );
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("epoch 10000\n", "epoch 9999\n")).unwrap();
        assert_eq!(told(&denylist, Some(&tag)).unwrap().1.len(), 6002);
    }
}
