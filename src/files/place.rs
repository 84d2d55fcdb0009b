//! A file's place: its folder, held open, and its name there. A new file is made aside, in the same folder, put on the
//! disk, and then moved into the place.

use super::trust::Way;
use crate::seal::random;
use crate::watch::{FileStamp, directory};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags, linkat, openat, openat2, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// No link is followed, and nothing is waited for.
const PLAIN: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A name in an open folder.
#[derive(Debug)]
pub struct Place {
    folder: File,
    name: OsString,
    /// For messages.
    path: PathBuf,
}

impl Place {
    /// The place at `path` itself, whatever is there.
    fn at(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let way = Way::to(directory(path))?;
        let place = Self::without_links(&way.end.join(name))?;
        way.judge_links(place.folder.metadata()?.uid()).map_err(io::Error::other)?;
        Ok(place)
    }

    /// The place of the file that `path` leads to, which exists: a link may be what a deployment manages, and stays.
    ///
    /// # Errors
    /// When there is none, or a link leads there that somebody else could have made.
    pub fn of_target(path: &Path) -> io::Result<Self> {
        let way = Way::to(path)?;
        let place = Self::without_links(&way.end)?;
        let owner = place.open(OFlags::PATH)?.metadata()?.uid();
        way.judge_links(owner).map_err(io::Error::other)?;
        Ok(place)
    }

    /// The place at a path on which no link was found.
    fn without_links(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
        let folder = open_without_links(directory(path), OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Self { folder, name, path: path.to_owned() })
    }

    /// Opens the regular file that is there.
    ///
    /// # Errors
    /// When there is none, or something else.
    pub fn open(&self, how: OFlags) -> io::Result<File> {
        let file = self.open_name(&self.name, how, 0)?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("this is no regular file")),
        }
    }

    pub(super) fn open_name(&self, name: &OsStr, how: OFlags, mode: u32) -> io::Result<File> {
        Ok(File::from(openat(&self.folder, name, how | PLAIN, Mode::from_raw_mode(mode))?))
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An empty file beside it, with `mode`; it goes away unless it is put into the place.
    ///
    /// # Errors
    /// When none can be made.
    pub fn aside(&self, mode: u32) -> io::Result<Aside<'_>> {
        let mut name = ".authseal-".to_owned();
        for byte in random::<8>().map_err(io::Error::other)? {
            let _ = write!(name, "{byte:02x}"); // to a String: cannot fail
        }
        let file = self.open_name(name.as_ref(), OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode)?;
        Ok(Aside { place: self, name, file })
    }
}

/// Opens what is at a path on which no link was found; one that is there now was put there meanwhile.
pub(super) fn open_without_links(path: &Path, how: OFlags) -> io::Result<File> {
    let opened = match openat2(CWD, path, how | PLAIN, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Not every sandbox lets it through.
        Err(Errno::NOSYS | Errno::PERM) => openat(CWD, path, how | PLAIN, Mode::empty()),
        opened => opened,
    };
    Ok(File::from(opened?))
}

/// Makes the file `path`, whole or not at all, where there is nothing. If root makes it, it belongs to the folder's owner
/// and group, as if he had made it.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when there is something, and whatever the disk says.
pub fn create(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let place = Place::at(path)?;
    let aside = place.aside(mode)?;
    aside.file().write_all(text.as_bytes())?;
    aside.put()
}

/// A file that is not in its place yet.
#[derive(Debug)]
pub struct Aside<'p> {
    place: &'p Place,
    name: String,
    file: File,
}

impl Aside<'_> {
    /// The file, to be written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Puts it into the place, where there is nothing.
    fn put(self) -> io::Result<()> {
        // Not before: the folder's owner could write to it meanwhile.
        if rustix::process::geteuid().is_root() {
            // A file system without owners keeps it as it is.
            let _ = own(&self.file, &self.place.folder.metadata()?);
        }
        self.file.sync_all()?;
        let folder = &self.place.folder;
        let name = &self.place.name;
        match renameat_with(folder, &self.name, folder, name, RenameFlags::NOREPLACE) {
            // Not every file system can. Then the first name goes with the drop.
            Err(Errno::INVAL | Errno::NOSYS) => linkat(folder, &self.name, folder, name, AtFlags::empty())?,
            done => done?,
        }
        folder.sync_all()
    }

    /// Puts it into the place of the file there, of which `old` was taken when it was read; it gets the owner, group and
    /// mode of that. When this returns true, it is on the disk; false: somebody else changed the old one meanwhile, and
    /// that stays. Editors ask for no lock.
    ///
    /// # Errors
    /// When the owner cannot be kept, and whatever the disk says. The old one stays.
    pub fn replace(self, old: &Metadata) -> io::Result<bool> {
        own(&self.file, old).map_err(|error| {
            io::Error::new(error.kind(), format!("its owner {}:{} cannot be kept ({error})", old.uid(), old.gid()))
        })?;
        self.file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        self.file.sync_all()?;
        if FileStamp::new(&self.place.open(OFlags::PATH)?.metadata()?) != FileStamp::new(old) {
            return Ok(false);
        }
        let folder = &self.place.folder;
        renameat(folder, &self.name, folder, &self.place.name)?;
        folder.sync_all()?;
        Ok(true)
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(&self.place.folder, &self.name, AtFlags::empty());
    }
}

/// Gives `file`, which this process made, the owner and group of another one.
pub(super) fn own(file: &File, like: &Metadata) -> io::Result<()> {
    let has = file.metadata()?;
    match (has.uid(), has.gid()) == (like.uid(), like.gid()) {
        true => Ok(()),
        false => fchown(file, Some(like.uid()), Some(like.gid())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{chown, lchown, symlink};

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_is_put_where_there_is_nothing_and_belongs_to_the_owner_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let _ = chown(dir.path(), Some(12_345), Some(54_321));
        let owner = |path: &Path| fs::metadata(path).map(|metadata| (metadata.uid(), metadata.gid())).unwrap();
        let path = dir.path().join("new");
        create(&path, 0o600, "first").unwrap();
        assert_eq!(owner(&path), owner(dir.path()));
        symlink("nowhere", dir.path().join("link")).unwrap();
        for there in ["new", "link"] {
            let error = create(&dir.path().join(there), 0o600, "second").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(
            (names(dir.path()), fs::read_to_string(&path).unwrap()),
            (vec!["link".into(), "new".into()], "first".into())
        );
    }

    #[test]
    fn a_link_that_somebody_else_made_leads_to_no_place() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&path, "").unwrap();
        symlink("file", &link).unwrap();
        assert!(Place::of_target(&link).is_ok());
        let folder = dir.path().join("folder");
        symlink(".", &folder).unwrap();
        create(&folder.join("through"), 0o600, "").unwrap();
        if [&link, &folder].iter().all(|link| lchown(link, Some(12_345), None).is_ok()) {
            let to_folder = create(&folder.join("new"), 0o600, "").unwrap_err();
            for error in [Place::of_target(&link).unwrap_err(), to_folder] {
                let error = error.to_string();
                assert!(error.starts_with("a link on the way to it belongs to user 12345"), "{error}");
            }
        }
    }
}
