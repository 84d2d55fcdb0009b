//! Who changes a file holds a lock on `<file>.lock` beside it: not on the file itself, which is replaced, and not on the
//! folder, which others may open too, so that they could hold up every revocation, and which NFS does not lock. Only the
//! file's owner, and root, can open the lock.

use super::place::{Place, own};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;
use std::ffi::OsStr;
use std::fs::{File, Metadata, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait for others, who take moments.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look whether they are done.
const LOOK: Duration = Duration::from_millis(10);
/// The owner's alone: who can open a lock can hold it.
const MODE: u32 = 0o600;

impl Place {
    /// Waits until nobody else changes the file that is there; holds others off until it is dropped. A lock that is made
    /// gets the owner of the file: root must not lock out the server whose file it is.
    ///
    /// # Errors
    /// When there is no file, when something else is in the lock's place, or when the lock cannot be had within ten
    /// seconds.
    pub fn lock(&self) -> io::Result<File> {
        self.lock_within(PATIENCE)
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// As for [`Place::lock`]; [`io::ErrorKind::TimedOut`] while another process has it.
    pub fn lock_now(&self) -> io::Result<File> {
        self.lock_within(Duration::ZERO)
    }

    fn lock_within(&self, patience: Duration) -> io::Result<File> {
        let like = self.open(OFlags::PATH)?.metadata()?;
        let mut name = self.name().to_owned();
        name.push(".lock");
        let lock = self.path().with_file_name(&name);
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", lock.display()));
        let file = self.open_lock(&name, &like).map_err(told)?;
        let end = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(told(error)),
                Err(TryLockError::WouldBlock) if Instant::now() > end => {
                    return Err(told(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "another process has held this lock for too long",
                    )));
                }
                Err(TryLockError::WouldBlock) => sleep(LOOK),
            }
        }
    }

    /// Opens the lock of the file that is `like` this. One that was there is given to nobody.
    fn open_lock(&self, name: &OsStr, like: &Metadata) -> io::Result<File> {
        match self.open_name(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, MODE) {
            Ok(made) => {
                // Who may not give it away shares it with those who could open it.
                let _ = own(&made, like);
                return Ok(made);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let foreign =
            || io::Error::other("this is not the lock that authseal makes; look who put it there, and remove it");
        let there = self.open_name(name, OFlags::WRONLY, 0).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => foreign(),
            _ => error,
        })?;
        let metadata = there.metadata()?;
        let owners = [0, geteuid().as_raw(), like.uid()];
        if !metadata.is_file() || metadata.nlink() != 1 || !owners.contains(&metadata.uid()) {
            return Err(foreign());
        }
        if metadata.mode() & 0o7777 != MODE {
            // It was made wider before. Who is not its owner leaves it to him.
            let _ = there.set_permissions(Permissions::from_mode(MODE));
        }
        Ok(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::fs;
    use std::os::unix::fs::{chown, symlink};
    use std::path::{Path, PathBuf};

    /// A folder of its own with a file, and the path of the file's lock.
    fn fresh() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("file");
        fs::write(&path, "").unwrap();
        let lock = path.with_file_name("file.lock");
        (dir, path, lock)
    }

    fn lock_of(path: &Path) -> io::Result<File> {
        Place::of_target(path).unwrap().lock_within(Duration::from_millis(50))
    }

    /// Owner, group and mode.
    fn rights(path: &Path) -> (u32, u32, u32) {
        let metadata = fs::symlink_metadata(path).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    }

    #[test]
    fn who_means_the_same_file_takes_the_same_lock_and_nobody_waits_for_ever() {
        let (dir, path, lock) = fresh();
        let link = dir.path().join("link");
        symlink("file", &link).unwrap();
        let held = lock_of(&path).unwrap();
        let error = lock_of(&link).unwrap_err().to_string();
        assert_eq!(error, format!("{}: another process has held this lock for too long", lock.display()));
        drop(held);
        lock_of(&link).unwrap();
        assert!(!dir.path().join("link.lock").exists());
    }

    #[test]
    fn a_lock_is_for_the_owner_of_the_file_alone_whoever_makes_it() {
        let (_dir, path, lock) = fresh();
        // Only root can give a file away; for anybody else it is his own.
        let given = chown(&path, Some(12_345), Some(54_321)).is_ok();
        drop(lock_of(&path).unwrap());
        let (owner, group, _) = rights(&path);
        assert_eq!(rights(&lock), (owner, group, 0o600));
        fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
        drop(lock_of(&path).unwrap());
        assert_eq!(rights(&lock).2, 0o600, "one that was made wider");
        assert_eq!(given, owner == 12_345);
    }

    #[test]
    fn what_is_planted_in_the_place_of_a_lock_is_neither_opened_nor_made_nor_given_away() {
        let (dir, path, lock) = fresh();
        let [secret, absent] = ["secret", "absent"].map(|name| dir.path().join(name));
        fs::write(&secret, "root:…").unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o640)).unwrap();
        let _ = chown(&path, Some(12_345), Some(12_345));
        let before = rights(&secret);
        let plants: [(&str, &dyn Fn()); 5] = [
            ("a link", &|| symlink(&secret, &lock).unwrap()),
            ("a link to nothing", &|| symlink(&absent, &lock).unwrap()),
            ("a second name", &|| fs::hard_link(&secret, &lock).unwrap()),
            ("a pipe", &|| mkfifoat(CWD, &lock, Mode::RUSR | Mode::WUSR).unwrap()),
            ("a folder", &|| fs::create_dir(&lock).unwrap()),
        ];
        for (what, plant) in plants {
            plant();
            let error = lock_of(&path).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: this is not the lock", lock.display())), "{what}: {error}");
            assert_eq!((rights(&secret), absent.exists()), (before, false), "{what}");
            fs::remove_file(&lock).or_else(|_| fs::remove_dir(&lock)).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_exchanged_for_a_link_is_not_followed_any_more() {
        let (dir, path, _) = fresh();
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("file");
        fs::write(&target, "").unwrap();
        let place = Place::of_target(&path).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&target, &path).unwrap();
        assert!(place.lock().is_err() && place.open(OFlags::RDONLY).is_err());
        // Its folder, too: what was opened is what is used.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        let place = Place::of_target(&path).unwrap();
        let moved = dir.path().with_extension("moved");
        fs::rename(dir.path(), &moved).unwrap();
        symlink(elsewhere.path(), dir.path()).unwrap();
        let _held = place.lock().unwrap();
        let made = [elsewhere.path(), &moved].map(|folder| folder.join("file.lock").exists());
        fs::remove_file(dir.path()).unwrap();
        fs::rename(&moved, dir.path()).unwrap();
        assert_eq!(made, [false, true]);
    }
}
