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

pub use change::{Change, Refused};
pub use edit::{EditError, apply};
pub use file::{create, read_text, replace};

use crate::files::Unread;
use crate::seal::{Keyring, KeyringError};
use crate::watch::{Follow, Readings, Signature};
use arc_swap::{ArcSwap, Guard};
use file::read;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Why a keyring could not be had. Says what to do; never holds a secret.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum KeyfileError {
    #[error("there is no keyring file {0}; make one with `authseal keys new {0}`")]
    Missing(PathBuf),
    #[error("the keyring file {0}: {1}")]
    Unread(PathBuf, Unread),
    #[error("in the keyring file {0}: {1}")]
    InFile(PathBuf, KeyringError),
    #[error("in the keyring given as text: {0}")]
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

impl KeyfileError {
    fn unread(path: &Path, error: Unread) -> Self {
        match error {
            Unread::Missing => Self::Missing(path.to_owned()),
            error => Self::Unread(path.to_owned(), error),
        }
    }
}

/// A keyring that follows its file.
pub struct LiveKeyring {
    file: Option<PathBuf>,
    first: Option<Signature>,
    keyring: ArcSwap<Keyring>,
    readings: Readings,
    /// Held from reading to swapping, so that an older content never replaces a newer one.
    reloading: Mutex<()>,
}

impl LiveKeyring {
    /// Reads the keyring file `path`; symlinks are followed.
    ///
    /// # Errors
    /// When it is missing, unreadable, open to others, or faulty.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, KeyfileError> {
        let path = path.into();
        let (keyring, signature) = read(&path)?;
        Ok(Self::new(Some(path), Some(signature), keyring))
    }

    /// Takes a keyring's text itself; it never changes.
    ///
    /// # Errors
    /// When it is faulty.
    pub fn from_text(text: &str) -> Result<Self, KeyfileError> {
        Keyring::parse(text).map(|keyring| Self::new(None, None, keyring)).map_err(KeyfileError::InText)
    }

    fn new(file: Option<PathBuf>, first: Option<Signature>, keyring: Keyring) -> Self {
        let (keyring, readings) = (ArcSwap::from_pointee(keyring), Readings::begun());
        Self { file, first, keyring, readings, reloading: Mutex::default() }
    }

    /// The keyring in force. Costs no lock; one request should use one, so that it sees one state.
    pub fn load(&self) -> Guard<Arc<Keyring>> {
        self.keyring.load()
    }

    /// When the keyring in force was read, and whether a later reading failed.
    pub fn readings(&self) -> &Readings {
        &self.readings
    }

    /// Reads the file again. A fault is logged, and the keyring in force stays.
    pub fn reload(&self) {
        let Some(path) = &self.file else { return };
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = read(path);
        self.readings.note(outcome.is_ok());
        match outcome {
            Ok((keyring, _)) => {
                let (epochs, digest) = (describe(&keyring), keyring.digest());
                if digest == self.keyring.load().digest() {
                    tracing::info!(epochs, "keyring loaded; it does what it did before");
                } else {
                    tracing::info!(target: "authseal::audit", event = "keyring_changed", epochs, digest, "keyring loaded");
                }
                self.keyring.store(Arc::new(keyring));
            }
            Err(error) => tracing::error!(%error, "keyring not loaded; the one loaded before stays in force"),
        }
    }

    /// What to hand to [`Watch::start`](crate::watch::Watch::start); `None` for a keyring that was given as text.
    pub fn follow(self: &Arc<Self>) -> Option<Follow> {
        let keyring = Arc::clone(self);
        self.file.as_ref().map(|path| Follow::new(path, self.first, move || keyring.reload()))
    }
}

/// Every epoch with its state, for the log: `3 open, 4 primary, 5 staged`.
fn describe(keyring: &Keyring) -> String {
    let epochs: Vec<_> = keyring.entries().map(|(epoch, state, _)| format!("{epoch} {state}")).collect();
    epochs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Epoch, new_secret_text};
    use crate::watch::Watch;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::mpsc::channel;
    use std::time::Duration;
    use zeroize::Zeroizing;

    pub(super) fn secret_text(number: i64) -> Zeroizing<String> {
        new_secret_text(Epoch::try_from(number).unwrap()).unwrap()
    }

    /// A keyring of all epochs up to `newest`.
    pub(super) fn keyring_text(primary: i64, newest: i64, retired: &[i64]) -> String {
        let key = |number: i64| match retired.contains(&number) {
            true => format!("[[key]]\nepoch = {number}\nretired = 2026-11-23T10:00:00Z\n"),
            false => format!("[[key]]\nepoch = {number}\nsecret = \"{}\"\n", *secret_text(number)),
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
    fn what_cannot_be_a_keyring_is_refused_by_its_fault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        assert!(error_of(&path).contains(&format!("`authseal keys new {}`", path.display())));
        assert!(error_of(dir.path()).contains("is no regular file"));
        assert!(error_of(Path::new("/dev/null")).contains("is no regular file"));
        write(&path, vec![b'#'; 1024 * 1024 + 1], 0o600);
        assert!(error_of(&path).contains("longer than 1048576 bytes"));
        write(&path, b"\xff\xfe", 0o600);
        assert!(error_of(&path).contains("not UTF-8"));
        write(&path, "primary = 1\n", 0o600);
        assert!(error_of(&path).contains("`primary = 1`"));
        assert!(error_of(&path).contains("keys.toml"));
        assert!(LiveKeyring::from_text("").err().unwrap().to_string().contains("given as text"));
    }

    #[test]
    fn a_keyring_given_as_text_is_not_followed() {
        let live = Arc::new(LiveKeyring::from_text(&keyring(2)).unwrap());
        assert!(live.follow().is_none());
        live.reload();
        assert_eq!(describe(&live.load()), "1 open, 2 primary");
    }

    #[test]
    fn an_edit_is_picked_up_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        write(&path, keyring(1), 0o600);
        let live = Arc::new(LiveKeyring::open(&path).unwrap());
        let (sender, reloads) = channel();
        let watched = Arc::clone(&live);
        let reload = move || {
            watched.reload();
            sender.send(()).unwrap();
        };
        let _watch = Watch::start(vec![Follow::new(&path, live.first, reload)]).unwrap();
        let now_primary = || {
            reloads.recv_timeout(Duration::from_secs(20)).unwrap();
            live.load().primary().epoch().number()
        };
        write(&path, keyring(2), 0o600);
        assert_eq!(now_primary(), 2);
        write(&path, "primary = 9\n", 0o600);
        assert_eq!(now_primary(), 2);
        write(&path, keyring(3), 0o644);
        assert_eq!(now_primary(), 2);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(now_primary(), 3, "chmod alone mends it");
    }

    #[test]
    fn a_change_before_the_watcher_starts_is_picked_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        write(&path, keyring(1), 0o600);
        let live = Arc::new(LiveKeyring::open(&path).unwrap());
        write(&path, keyring(2), 0o600);
        let (sender, looks) = channel();
        let after = Follow::new(&path, None, move || sender.send(()).unwrap());
        let _watch = Watch::start(vec![live.follow().unwrap(), after]).unwrap();
        looks.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(live.load().primary().epoch().number(), 2);
    }
}
