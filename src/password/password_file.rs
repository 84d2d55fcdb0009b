//! The file with the shared password's hash, followed while the server runs. A faulty edit never replaces a good hash.

use super::hash::{HashFault, PasswordHash};
use crate::files::{self, Readers, Unread};
use crate::unseen;
use crate::watch::{FileStamp, Live, Source};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The longest file, in bytes; a hash has about a hundred.
const MAX_LEN: u64 = 4 * 1024;

/// Why the hash could not be had. Says what to do; never holds the file's content, which may be the password itself.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum PasswordFileError {
    #[error("there is no file {0}, which `access.password_file` names; make its content with `authseal access hash`")]
    Missing(PathBuf),
    #[error("the file {0}, which `access.password_file` names: {1}")]
    Unread(PathBuf, Unread),
    #[error("the file {0}, which `access.password_file` names, {1}")]
    NotAHash(PathBuf, HashFault),
}

/// A hash that follows its file.
pub type PasswordFile = Live<HashFile>;

/// The file that a hash is read from.
pub struct HashFile(PathBuf);

impl PasswordFile {
    /// Reads the file; symlinks are followed.
    ///
    /// # Errors
    /// When it is missing, unreadable, open to others, or holds no hash.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, PasswordFileError> {
        Self::read(HashFile(path.into()))
    }
}

impl Source for HashFile {
    type Value = PasswordHash;
    type Fault = PasswordFileError;

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.clone()]
    }

    fn read(&self) -> Result<(PasswordHash, Vec<FileStamp>), PasswordFileError> {
        read(&self.0).map(|(hash, stamp)| (hash, vec![stamp]))
    }

    fn is_unread(fault: &PasswordFileError) -> bool {
        match fault {
            PasswordFileError::Missing(_) => true,
            PasswordFileError::Unread(_, why) => why.may_pass(),
            PasswordFileError::NotAHash(..) => false,
        }
    }

    fn loaded(&mut self, old: &PasswordHash, new: &PasswordHash, _: &[FileStamp]) {
        if new.fingerprint() == old.fingerprint() {
            tracing::info!("password loaded; it is the same as before");
        } else {
            tracing::info!("another password is asked for from now on; whoever gave the old one is asked again");
        }
    }

    fn not_loaded(&self, error: &PasswordFileError) {
        tracing::error!(%error, "password not loaded; the one loaded before stays in force");
    }
}

/// Reads and checks the file. That others may read it is not refused: the hash is made to be of no use to its readers.
fn read(path: &Path) -> Result<(PasswordHash, FileStamp), PasswordFileError> {
    let not_a_hash = |fault| PasswordFileError::NotAHash(path.to_owned(), fault);
    let (text, metadata) = files::read_text(path, MAX_LEN, Readers::All).map_err(|error| match error {
        Unread::Missing => PasswordFileError::Missing(path.to_owned()),
        Unread::TooLong(_) | Unread::NotText => not_a_hash(HashFault::NotAHash),
        error => PasswordFileError::Unread(path.to_owned(), error),
    })?;
    let hash = PasswordHash::parse(text.trim_matches(|char| unseen::is_blank(char) || unseen::is_quote(char)))
        .map_err(not_a_hash)?;
    Ok((hash, FileStamp::new(&metadata)))
}

#[cfg(test)]
mod tests {
    use super::super::hash;
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn fault(path: &Path) -> String {
        PasswordFile::open(path).err().unwrap().to_string()
    }

    #[test]
    fn a_file_without_one_hash_is_refused_with_the_command_that_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        assert!(fault(&path).contains("there is no file") && fault(&path).contains("`authseal access hash`"));
        let hash = hash("correct horse").unwrap();
        for bad in ["hunter2-Zw3", "", "\n", &format!("{hash}\n{hash}\n"), &"x".repeat(5000)] {
            fs::write(&path, bad).unwrap();
            let fault = fault(&path);
            assert!(fault.contains("`authseal access hash`") && fault.contains("not the password itself"), "{fault}");
            assert!(!fault.contains("hunter2"));
        }
        fs::write(&path, b"\xff").unwrap();
        assert!(fault(&path).contains("`authseal access hash`"));
        for (before, after) in
            [("", "\r\n"), ("\u{feff}", "\0"), ("\u{a0}\"", "\"\n"), ("'", "'"), ("\u{200b}", "\u{200b}")]
        {
            fs::write(&path, format!("{before}{hash}{after}")).unwrap();
            assert!(PasswordFile::open(&path).unwrap().load().matches("correct horse"), "{before:?}");
        }
        fs::write(&path, hash.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()).unwrap();
        assert!(fault(&path).contains("it is text in UTF-16"));
        fs::set_permissions(&path, Permissions::from_mode(0o646)).unwrap();
        assert!(fault(&path).contains("every user of this machine can write to"));
    }

    #[test]
    fn an_edit_is_picked_up_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, hash("correct horse").unwrap()).unwrap();
        let file = PasswordFile::open(&path).unwrap();
        fs::write(&path, hash("battery staple").unwrap()).unwrap();
        file.hold().reload();
        assert!(file.load().matches("battery staple") && !file.load().matches("correct horse"));
        fs::write(&path, "battery staple").unwrap();
        file.hold().reload();
        fs::remove_file(&path).unwrap();
        file.hold().reload();
        assert!(file.load().matches("battery staple"));
    }
}
