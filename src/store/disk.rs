//! What the store in a folder asks of a file system, as one trait: tests put a disk in its place that loses power
//! between any two of these calls.
//!
//! The folder belongs to a service that may have been taken over, and root's commands work in it as well. So below the
//! folder no link is followed, and whatever root makes there is given to the folder's owner.

use crate::watch::directory;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fchown, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::process::{Gid, Uid, geteuid};
use std::any::Any;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A file system. Every call says by itself what it needs; there is no open file between two of them.
pub(crate) trait Disk: Debug + Send + Sync {
    /// The first `limit` bytes of a file.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;
    /// Makes a file that was not there. What is in it may not survive a loss of power yet.
    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// From now on the file's content survives.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name in the same folder, in place of the file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// From now on the names in a folder survive.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder and those above it, whose names survive; it is no error if it is there.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;
    /// The paths of what is in a folder; none if there is no such folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
    /// The lock of that name, which ends when dropped; `None` while somebody else, in this or another process, has it.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Locked>>;
}

/// A lock, held until this is dropped.
pub(crate) struct Locked(#[allow(dead_code, reason = "it is for its end that it is kept")] pub(crate) Box<dyn Any>);

/// The system's own, below one folder.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
/// A pipe that somebody put in a file's place must hold up nobody.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

impl Files {
    pub(crate) fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Opens a folder. Links are followed on the way to the root, which is the operator's, and nowhere below.
    fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let root = openat(CWD, &self.root, FOLDER, Mode::empty())?;
        let below = path.strip_prefix(&self.root).map_err(io::Error::other)?;
        below.components().try_fold(root, |folder, name| {
            Ok(openat(&folder, name.as_os_str(), FOLDER | OFlags::NOFOLLOW, Mode::empty())?)
        })
    }

    /// Does something with a path's folder and its name there. An error names the path.
    fn at<T>(&self, path: &Path, act: impl FnOnce(&OwnedFd, &OsStr) -> io::Result<T>) -> io::Result<T> {
        let name = path.file_name().unwrap_or_default();
        let folder = self.folder(path.parent().unwrap_or(path));
        folder.and_then(|folder| act(&folder, name)).map_err(|error| self.named(path, &error))
    }

    fn named(&self, path: &Path, error: &io::Error) -> io::Error {
        let below = path.strip_prefix(&self.root).ok().filter(|below| !below.as_os_str().is_empty());
        match below {
            Some(below) => io::Error::new(error.kind(), format!("{}: {error}", below.display())),
            None => io::Error::new(error.kind(), error.to_string()),
        }
    }

    /// Gives what root has just made in `folder` to the owner of the state folder; where that is root as well, to the
    /// owner of `folder`. Who is not root can give nothing away.
    fn own(&self, made: impl AsFd, folder: &OwnedFd) -> io::Result<()> {
        if geteuid().is_root() {
            let root: Stat = fstat(openat(CWD, &self.root, FOLDER, Mode::empty())?)?;
            let like = if root.st_uid == 0 { fstat(folder)? } else { root };
            let made = made.as_fd();
            if like.st_uid != 0 {
                fchown(made, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)))?;
            }
        }
        Ok(())
    }

    /// Makes a file that was not there.
    fn made(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<File> {
        let flags = FILE | OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let file = File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
        self.own(&file, folder)?;
        Ok(file)
    }
}

impl Disk for Files {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.at(path, |folder, name| {
            let mut bytes = Vec::new();
            let file = openat(folder, name, FILE, Mode::empty())?;
            if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
                return Err(io::Error::other("is no regular file"));
            }
            File::from(file).take(limit).read_to_end(&mut bytes)?;
            Ok(bytes)
        })
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.at(path, |folder, name| self.made(folder, name)?.write_all(bytes))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.at(path, |folder, name| File::from(openat(folder, name, FILE, Mode::empty())?).sync_all())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let new_name = to.file_name().unwrap_or_default();
        self.at(from, |folder, name| Ok(renameat(folder, name, folder, new_name)?))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let synced = self.folder(folder).and_then(|folder| File::from(folder).sync_all());
        synced.map_err(|error| self.named(folder, &error))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.at(path, |folder, name| Ok(unlinkat(folder, name, AtFlags::empty())?))
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        let Ok(below) = folder.strip_prefix(&self.root) else { return Err(ErrorKind::InvalidInput.into()) };
        make_root(&self.root)?;
        let mut path = self.root.clone();
        for name in below.components() {
            path.push(name);
            self.at(&path, |folder, name| {
                match mkdirat(folder, name, Mode::RWXU) {
                    Err(rustix::io::Errno::EXIST) => return Ok(()),
                    made => made?,
                }
                self.own(openat(folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?, folder)?;
                rustix::fs::fsync(folder)?;
                Ok(())
            })?;
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let listed = self.folder(folder).and_then(|open| {
            let mut paths = Vec::new();
            for entry in Dir::new(open)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    paths.push(folder.join(OsStr::from_bytes(name)));
                }
            }
            Ok(paths)
        });
        match listed {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|error| self.named(folder, &error)),
        }
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Locked>> {
        self.at(path, |folder, name| {
            let file = match self.made(folder, name) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    File::from(openat(folder, name, FILE | OFlags::RDWR, Mode::empty())?)
                }
                made => made?,
            };
            match file.try_lock() {
                Ok(()) => Ok(Some(Locked(Box::new(file)))),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            }
        })
    }
}

/// Makes a folder and those above it, each of which has its name on the disk before the next is made.
fn make_root(root: &Path) -> io::Result<()> {
    if fs::metadata(root).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    let above = directory(root);
    make_root(above)?;
    match DirBuilder::new().mode(0o700).create(root) {
        // Another process was faster; if it is no folder, that shows soon.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| File::open(above)?.sync_all()),
    }
}
