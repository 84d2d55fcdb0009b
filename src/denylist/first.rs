//! The very first start of a server that may make its own denylist. A list that is not there may also be one that was
//! lost, and without it what was revoked would work again: so one is made in an empty folder alone, where nothing tells
//! that a server was there before.

use super::error::DenylistError;
use super::live::Denylist;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The mode of a folder that is made: what is in it is nobody else's.
const FOLDER_MODE: u32 = 0o750;
/// What file systems put into the top of a new volume.
const OF_VOLUMES: &str = "lost+found";

impl Denylist {
    /// Whether there is no denylist at `path` and [`Denylist::init_first`] would make one.
    ///
    /// # Errors
    /// As [`Denylist::init_first`].
    pub fn would_be_first(path: &Path) -> Result<bool, DenylistError> {
        if fs::symlink_metadata(path).is_ok() {
            return Ok(false);
        }
        let not_made = |error| DenylistError::NotMade(path.to_owned(), error);
        let folder = match fs::read_dir(path.parent().unwrap_or(Path::new("/"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            folder => folder.map_err(not_made)?,
        };
        for entry in folder {
            if entry.map_err(not_made)?.file_name() != OF_VOLUMES {
                return Err(DenylistError::NotFirst(path.to_owned()));
            }
        }
        Ok(true)
    }

    /// Makes a denylist at `path`, and its folder, if there is none and nothing else is in that folder; whether it did.
    ///
    /// # Errors
    /// When something else is there, or the file cannot be made.
    pub fn init_first(path: &Path) -> Result<bool, DenylistError> {
        if !Self::would_be_first(path)? {
            return Ok(false);
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
        made.map_err(|error| DenylistError::NotMade(path.to_owned(), error))?;
        match Self::init(path) {
            Err(DenylistError::Exists(_)) => Ok(false), // another replica was first
            made => made.map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_list_is_made_in_an_empty_folder_alone() {
        let top = tempfile::tempdir().unwrap();
        let new = top.path().join("a/b/denylist");
        assert!(Denylist::would_be_first(&new).unwrap());
        assert!(!new.parent().unwrap().exists(), "asking makes nothing");
        assert!(Denylist::init_first(&new).unwrap() && Denylist::open(&new).is_ok());
        assert!(!Denylist::would_be_first(&new).unwrap() && !Denylist::init_first(&new).unwrap());
        fs::create_dir_all(top.path().join("volume/lost+found")).unwrap();
        assert!(Denylist::init_first(&top.path().join("volume/denylist")).unwrap());
        // What was lost, a link that leads nowhere, and no folder.
        fs::rename(&new, new.with_file_name("denylist.old")).unwrap();
        let link = top.path().join("link");
        symlink("nowhere", &link).unwrap();
        for act in [Denylist::would_be_first, Denylist::init_first] {
            assert!(matches!(act(&new), Err(DenylistError::NotFirst(_))));
            assert!(!act(&link).unwrap());
            assert!(matches!(act(&link.join("denylist")), Ok(true) | Err(DenylistError::NotMade(..))));
            assert!(matches!(act(&new.with_file_name("denylist.old/x")), Err(DenylistError::NotMade(..))));
        }
        assert!(!new.exists());
    }
}
