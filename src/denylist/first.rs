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
