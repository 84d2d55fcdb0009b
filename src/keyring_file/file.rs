//! The keyring's file itself: reading it, making it, and putting a new text in its place. A symlink is followed and its
//! target replaced, since the link may be what a deployment manages.

use super::KeyringFileError;
use crate::files::{self, Place, Readers, Unread};
use crate::seal::Keyring;
use crate::watch::FileStamp;
use std::io::{self, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// The largest keyring file, in bytes; room for thousands of epochs.
const MAX_LEN: u64 = 1024 * 1024;
/// The mode of what is made here: the owner's alone.
const MODE: u32 = 0o600;

/// Reads and checks the keyring file `path`: its text, too.
///
/// # Errors
/// When it is missing, unreadable, open to others, or faulty.
pub fn read_text(path: &Path) -> Result<(Zeroizing<String>, Keyring), KeyringFileError> {
    let (text, _) =
        files::read_text(path, MAX_LEN, Readers::Group).map_err(|error| KeyringFileError::unread(path, error))?;
    let keyring = parse(path, &text)?;
    Ok((text, keyring))
}

/// Reads and checks a keyring file.
pub(super) fn read(path: &Path) -> Result<(Keyring, FileStamp), KeyringFileError> {
    let (text, metadata) =
        files::read_text(path, MAX_LEN, Readers::Group).map_err(|error| KeyringFileError::unread(path, error))?;
    Ok((parse(path, &text)?, FileStamp::new(&metadata)))
}

fn parse(path: &Path, text: &str) -> Result<Keyring, KeyringFileError> {
    Keyring::parse(text).map_err(|error| KeyringFileError::InFile(path.to_owned(), error))
}

/// Makes a keyring file that its owner alone can read. It appears whole or not at all.
///
/// # Errors
/// When there is a file already, whatever it holds, or none can be made.
pub fn create(path: &Path, text: &str) -> Result<(), KeyringFileError> {
    files::create(path, MODE, text).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyringFileError::Exists(path.to_owned()),
        _ => KeyringFileError::NotMade(path.to_owned(), error),
    })
}

/// Puts `new` in the place of the keyring file `path`, which still has to hold `old`, with the same owner and mode. When
/// this returns, it is on the disk.
///
/// # Errors
/// When the file holds something else by now or cannot be replaced, or `new` is no keyring. It then stays as it is.
pub fn replace(path: &Path, old: &str, new: &str) -> Result<(), KeyringFileError> {
    let failed = |error| KeyringFileError::NotReplaced(path.to_owned(), error);
    let place = Place::of_target(path).map_err(failed)?;
    let _lock = place.lock().map_err(failed)?;
    let (text, metadata) =
        place.read_text(MAX_LEN, Readers::Group).map_err(|error| KeyringFileError::unread(path, error))?;
    if *text != old {
        return Err(KeyringFileError::Changed(path.to_owned()));
    }
    if new.len() as u64 > MAX_LEN {
        return Err(KeyringFileError::unread(path, Unread::TooLong(MAX_LEN)));
    }
    parse(path, new)?;
    let aside = place.aside(MODE).map_err(failed)?;
    aside.file().write_all(new.as_bytes()).map_err(failed)?;
    match aside.replace(&metadata).map_err(failed)? {
        true => Ok(()),
        false => Err(KeyringFileError::Changed(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::keyring_text;
    use super::super::{Change, EditError, apply};
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::thread;

    /// A folder with a keyring, and the keyring's path and text.
    fn fresh() -> (tempfile::TempDir, PathBuf, String) {
        let dir = tempfile::tempdir().unwrap();
        let (path, text) = (dir.path().join("keys.toml"), keyring_text(1, 1, &[]));
        create(&path, &text).unwrap();
        (dir, path, text)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_keyring_is_made_for_its_owner_alone_and_never_over_another() {
        let (dir, path, text) = fresh();
        assert_eq!((mode(&path), fs::read_to_string(&path).unwrap()), (0o600, text.clone()));
        let error = create(&path, &keyring_text(1, 1, &[])).err().unwrap().to_string();
        assert!(error.ends_with("already; it stays as it is"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let nowhere = create(&dir.path().join("none/keys.toml"), &text).err().unwrap();
        assert!(matches!(nowhere, KeyringFileError::NotMade(..)), "{nowhere}");
        assert_eq!(names(dir.path()), ["keys.toml"], "nothing is left beside it");
    }

    #[test]
    fn a_new_text_takes_the_old_ones_place_with_its_mode_and_owner() {
        let (dir, path, old) = fresh();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        // Only root can give a file away; for anybody else there is nothing to lose here.
        let given = rustix::process::geteuid().is_root();
        if given {
            std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).unwrap();
        }
        let before = fs::metadata(&path).unwrap();
        let new = keyring_text(1, 2, &[]);
        replace(&path, &old, &new).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), new);
        assert_ne!(after.ino(), before.ino(), "a reader of the old file never sees half of the new one");
        assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
        assert_eq!((after.uid() == 12_345, mode(&dir.path().join("keys.toml.lock"))), (given, 0o600));
        assert_eq!(names(dir.path()), ["keys.toml", "keys.toml.lock"]);
    }

    #[test]
    fn a_symlink_stays_and_its_target_is_replaced() {
        let (dir, path, old) = fresh();
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("link");
        symlink(&path, &link).unwrap();
        let new = keyring_text(1, 2, &[]);
        replace(&link, &old, &new).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), path);
        assert_eq!(fs::read_to_string(&path).unwrap(), new);
        assert_eq!((names(elsewhere.path()).len(), names(dir.path()).len()), (1, 2), "the lock is beside the target");
    }

    #[test]
    fn what_cannot_be_put_into_place_leaves_the_file_as_it_was() {
        let (dir, path, old) = fresh();
        let new = keyring_text(1, 2, &[]);
        let unchanged = |error: KeyringFileError, expected: &str| {
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), old);
            assert_eq!(names(dir.path()), ["keys.toml", "keys.toml.lock"]);
        };
        unchanged(replace(&path, &new, &new).err().unwrap(), "changed by somebody else");
        unchanged(replace(&path, &old, "primary = 1\n").err().unwrap(), "`primary = 1`");
        let long = format!("{old}# {}\n", "x".repeat(1024 * 1024));
        unchanged(replace(&path, &old, &long).err().unwrap(), "longer than 1048576 bytes");
        fs::remove_file(dir.path().join("keys.toml.lock")).unwrap();
        fs::create_dir(dir.path().join("keys.toml.lock")).unwrap();
        let error = replace(&path, &old, &new).err().unwrap();
        unchanged(error, "change the original: with `--print` the new text goes to standard output");
    }

    #[test]
    fn of_several_who_edit_at_once_none_loses_a_step() {
        let (_dir, path, _) = fresh();
        let stage = || {
            let (text, keyring) = read_text(&path).unwrap();
            let new = apply(&text, Change::stage(&keyring, 1_795_428_000).unwrap())?;
            Ok::<_, EditError>(replace(&path, &text, &new))
        };
        let several = || {
            for _ in 0..10 {
                while !matches!(stage().unwrap(), Ok(())) {}
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(several))));
        assert_eq!(read_text(&path).unwrap().1.entries().count(), 1 + 4 * 10);
    }
}
