//! The keyring as a file: of a running server, read, kept up to date and cheap to look at on every request; and of an
//! operator, made and changed step by step.
//!
//! A file that others could read is refused rather than reported: the keys in it are worth every login. A faulty file
//! never replaces a good keyring in memory; the fault goes to the log. What a keyring's text means is [`seal`]'s.
//!
//! [`seal`]: crate::seal

mod change;
mod edit;
mod file;
mod packed;

pub use change::{Change, Refused};
pub use edit::{EditError, apply};
pub use file::{create, read_text, replace};
pub use packed::{pack, unpack};

use crate::files::Unread;
use crate::seal::{Epoch, Keyring, KeyringError, NoKey};
use crate::watch::{FileStamp, Live, Source};
use file::read;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a keyring could not be had. Says what to do; never holds a secret.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum KeyringFileError {
    #[error(
        "there is no keyring file {0}; make one with `authseal keys new {0}`, or if there was one, put it back: without it, every AuthID is worthless"
    )]
    Missing(PathBuf),
    #[error("the keyring file {0}: {1}{hint}", hint = as_text(.1))]
    Unread(PathBuf, Unread),
    #[error("in the keyring file {0}: {1}")]
    InFile(PathBuf, KeyringError),
    #[error("in the keyring given as text: {0}{hint}", hint = line_ends(.0))]
    InText(KeyringError),
    #[error("there is a keyring {0} already; it stays as it is")]
    Exists(PathBuf),
    #[error("the keyring {0} cannot be made: {1}")]
    NotMade(PathBuf, io::Error),
    #[error(
        "the keyring {0} cannot be replaced: {1}. If it is a copy (a Kubernetes secret, a systemd credential, a file that is distributed), change the original: with `--print` the new text goes to standard output and no file is touched"
    )]
    NotReplaced(PathBuf, io::Error),
    #[error("the keyring {0} was changed by somebody else at this moment; look at it and try again")]
    Changed(PathBuf),
}

impl KeyringFileError {
    fn unread(path: &Path, error: Unread) -> Self {
        match error {
            Unread::Missing => Self::Missing(path.to_owned()),
            error => Self::Unread(path.to_owned(), error),
        }
    }
}

/// The way round rights, for who cannot change them.
fn as_text(why: &Unread) -> &'static str {
    match why {
        Unread::Denied(_) | Unread::OpenToOthers(_) => {
            "; or give what is in it as `keyring.text`: `base64 -w0` makes one line of it"
        }
        _ => "",
    }
}

fn line_ends(fault: &KeyringError) -> &'static str {
    match fault {
        KeyringError::Toml(_) => {
            "; where a variable holds no line breaks, write each as `\\n`, or take base64: `authseal keys new --one-line` prints that, `base64 -w0 keys.toml` makes it of a file"
        }
        _ => "",
    }
}

/// A keyring that follows its file.
pub type LiveKeyring = Live<KeyringFile>;

/// The file that a keyring is read from; none for one that was given as text.
pub struct KeyringFile(PathBuf);

impl LiveKeyring {
    /// Reads the keyring file `path`; symlinks are followed.
    ///
    /// # Errors
    /// When it is missing, unreadable, open to others, or faulty.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, KeyringFileError> {
        Self::read(KeyringFile(path.into()))
    }

    /// Takes a keyring's text itself; it never changes.
    ///
    /// # Errors
    /// When it is faulty.
    pub fn from_text(text: &str) -> Result<Self, KeyringFileError> {
        let keyring = Keyring::parse(text).map_err(KeyringFileError::InText)?;
        Ok(Self::new(KeyringFile(PathBuf::new()), keyring, Vec::new()))
    }
}

impl Source for KeyringFile {
    type Value = Keyring;
    type Fault = KeyringFileError;

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.clone()]
    }

    fn read(&self) -> Result<(Keyring, Vec<FileStamp>), KeyringFileError> {
        read(&self.0).map(|(keyring, stamp)| (keyring, vec![stamp]))
    }

    fn is_unread(fault: &KeyringFileError) -> bool {
        match fault {
            KeyringFileError::Missing(_) => true,
            KeyringFileError::Unread(_, why) => why.may_pass(),
            _ => false,
        }
    }

    fn loaded(&mut self, old: &Keyring, new: &Keyring, _: &[FileStamp]) {
        let epochs = describe(new);
        let digest = new.digest();
        if digest == old.digest() {
            tracing::info!(?epochs, "keyring loaded; it does what it did before");
        } else {
            tracing::info!(target: "authseal::audit", event = "keyring_changed", ?epochs, digest, "keyring loaded");
        }
        let lost = lost(old, new);
        if !lost.is_empty() {
            tracing::warn!(epochs = ?lost, "the keyring lacks keys of the one before; their AuthIDs do not open any more");
        }
    }

    fn not_loaded(&self, error: &KeyringFileError) {
        let error = match error {
            // The one in memory is perhaps the last there is, and a new file would take its place.
            KeyringFileError::Missing(path) => {
                format!("the keyring file {} is gone; put it back, and make no new one", path.display())
            }
            error => error.to_string(),
        };
        tracing::error!(error, "keyring not loaded; the one loaded before stays in force");
    }
}

/// The epochs whose keys are in `old` and not in `new`, although nobody retired them.
fn lost(old: &Keyring, new: &Keyring) -> Vec<String> {
    let is_lost = |epoch: &Epoch| match (old.keys(*epoch), new.keys(*epoch)) {
        (Ok(old), Ok(new)) => old.fingerprint() != new.fingerprint(),
        (Ok(_), Err(NoKey::Newer | NoKey::Absent)) => true,
        _ => false,
    };
    old.entries().map(|(epoch, ..)| epoch).filter(is_lost).map(|epoch| epoch.to_string()).collect()
}

/// Every epoch with its state, for the log: `["3 open", "4 primary", "5 staged"]`.
fn describe(keyring: &Keyring) -> Vec<String> {
    keyring.entries().map(|(epoch, state, _)| format!("{epoch} {state}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::new_secret_text;
    use crate::seal::testing::key_table;
    use crate::watch::Watch;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    use zeroize::Zeroizing;

    pub(super) fn secret_text(number: i64) -> Zeroizing<String> {
        new_secret_text(Epoch::try_from(number).unwrap()).unwrap()
    }

    /// A keyring of all epochs up to `newest`.
    pub(super) fn keyring_text(primary: i64, newest: i64, retired: &[i64]) -> String {
        let key = |number: i64| match retired.contains(&number) {
            true => format!("[[key]]\nepoch = {number}\nretired = 2026-11-23T10:00:00Z\n"),
            false => key_table(number),
        };
        (1..=newest).fold(format!("primary = {primary}\n"), |text, number| text + &key(number))
    }

    fn keyring(primary: i64) -> String {
        keyring_text(primary, primary, &[])
    }

    fn write(path: &Path, text: impl AsRef<[u8]>, mode: u32) {
        let aside = path.with_extension("aside");
        fs::write(&aside, text).unwrap();
        fs::set_permissions(&aside, Permissions::from_mode(mode)).unwrap();
        fs::rename(aside, path).unwrap();
    }

    fn until(is: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is() {
            assert!(Instant::now() < end, "it does not come about");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn error_of(path: &Path) -> String {
        LiveKeyring::open(path).err().unwrap().to_string()
    }

    #[test]
    fn a_file_that_lets_others_in_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        for mode in [0o644, 0o602, 0o601, 0o777] {
            write(&path, keyring(1), mode);
            let error = error_of(&path);
            let expected =
                format!("{}: it lets every user of this machine in (mode {mode:04o}); run `chmod", path.display());
            assert!(error.contains(&expected), "{error}");
        }
        for mode in [0o600, 0o400, 0o640, 0o660] {
            write(&path, keyring(1), mode);
            assert_eq!(LiveKeyring::open(&path).unwrap().load().primary().epoch().number(), 1);
        }
    }

    #[test]
    fn a_symlink_is_followed_and_its_target_judged() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("keys.toml"), dir.path().join("link"));
        symlink("keys.toml", &link).unwrap();
        write(&path, keyring(1), 0o600);
        assert!(LiveKeyring::open(&link).is_ok());
        write(&path, keyring(1), 0o644);
        assert!(error_of(&link).contains("chmod"));
    }

    #[test]
    fn a_keyring_that_may_not_be_read_names_the_ways_of_each_container_engine() {
        for why in [Unread::from(io::Error::from(io::ErrorKind::PermissionDenied)), Unread::OpenToOthers(0o444)] {
            let error = KeyringFileError::unread(Path::new("/run/secrets/keys.toml"), why).to_string();
            assert!(error.contains("Compose or Swarm") && error.contains("`mode: 0400`"), "{error}");
            assert!(error.contains("`keyring.text`"), "{error}");
        }
        let denied = Unread::from(io::Error::from(io::ErrorKind::PermissionDenied)).to_string();
        assert!(denied.contains("Podman") && denied.contains("`:Z`"), "{denied}");
    }

    #[test]
    fn what_cannot_be_a_keyring_is_refused_by_its_fault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        assert!(error_of(&path).contains(&format!("`authseal keys new {}`", path.display())));
        assert!(error_of(dir.path()).contains("is no regular file"));
        assert!(error_of(Path::new("/dev/null")).contains("is no regular file"));
        write(&path, vec![b'#'; 1024 * 1024 + 1], 0o600);
        assert!(error_of(&path).contains("longer than 1048576 bytes"));
        write(&path, b"\xff\xfe", 0o600);
        assert!(error_of(&path).contains("UTF-16"));
        write(&path, "primary = 1\n", 0o600);
        assert!(error_of(&path).contains("`primary = 1`"));
        assert!(error_of(&path).contains("keys.toml"));
        assert!(LiveKeyring::from_text("").err().unwrap().to_string().contains("given as text"));
    }

    #[test]
    fn a_key_is_lost_that_is_gone_or_another_one_and_that_nobody_retired() {
        let (one, two, three) = (key_table(1), key_table(2), key_table(3));
        let parse = |text: String| Keyring::parse(&text).unwrap();
        let old = parse(format!("primary = 2\n{one}{two}{three}"));
        let retired = "[[key]]\nepoch = 1\nretired = 2026-11-23T10:00:00Z\n";
        for (new, expected) in [
            (format!("primary = 3\n{three}{two}{one}{}", key_table(4)), &[][..]),
            (format!("primary = 3\n{retired}{two}{three}"), &[]),
            (format!("primary = 2\nmin_epoch = 2\n{two}{three}"), &[]),
            (format!("primary = 2\n{two}{three}"), &["1"]),
            (format!("primary = 2\n{one}{two}"), &["3"]),
            (format!("primary = 2\n{}{two}{three}", key_table(1)), &["1"]),
            (format!("primary = 8\n{}", key_table(8)), &["1", "2", "3"]),
        ] {
            assert_eq!(lost(&old, &parse(new.clone())), expected, "{new}");
        }
        let after = format!("primary = 2\nmin_epoch = 2\n{two}");
        assert!(lost(&parse(after.clone()), &parse(after)).is_empty());
    }

    #[test]
    fn a_keyring_given_as_text_is_not_followed() {
        let live = Arc::new(LiveKeyring::from_text(&keyring(2)).unwrap());
        assert!(live.follow().is_none());
        live.hold().reload();
        assert_eq!(describe(&live.load()), ["1 open", "2 primary"]);
    }

    #[test]
    fn an_edit_is_picked_up_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        write(&path, keyring(1), 0o600);
        let live = Arc::new(LiveKeyring::open(&path).unwrap());
        let _watch = Watch::start(vec![live.follow().unwrap()]).unwrap();
        let becomes = |primary, failed| {
            until(|| (live.load().primary().epoch().number(), live.load_status().failed()) == (primary, failed));
        };
        write(&path, keyring(2), 0o600);
        becomes(2, false);
        write(&path, "primary = 9\n", 0o600);
        becomes(2, true);
        write(&path, keyring(3), 0o600);
        becomes(3, false);
        write(&path, keyring(4), 0o644);
        becomes(3, true);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        becomes(4, false); // chmod alone is enough
    }

    #[test]
    fn a_change_before_the_watcher_starts_is_picked_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        write(&path, keyring(1), 0o600);
        let live = Arc::new(LiveKeyring::open(&path).unwrap());
        write(&path, keyring(2), 0o600);
        let _watch = Watch::start(vec![live.follow().unwrap()]).unwrap();
        until(|| live.load().primary().epoch().number() == 2);
    }
}
