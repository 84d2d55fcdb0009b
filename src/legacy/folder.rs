//! The old server's folder beside a server that is asked all the time. To open one of its files takes some milliseconds of
//! computing, which only who knows the password should cause more than a few times: what came of an AuthID is remembered,
//! also where it is wrong, for as long as its file stays the same; and of one file few wrong passwords are tried in a
//! minute. One file is opened at a time, on a thread that may wait for a disk, and few may wait for that.

use super::aes_crypt::AesCryptError;
use super::old::Digest;
use super::stored::{Stored, StoredError, open, place};
use crate::clock::Clock;
use crate::files::Unread;
use crate::lru::Lru;
use crate::rate_limit::Limit;
use crate::watch::FileStamp;
use secrecy::SecretString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Most files whose content is remembered, about 1 KiB each.
const MOST_GOOD: u64 = 50_000;
/// Most wrong passwords that are remembered.
const MOST_WRONG: u64 = 50_000;
/// How long the content of a file is taken to hold without a look at the file.
const CURRENT: Duration = Duration::from_secs(60);
/// How many wrong passwords of one file are tried in a minute.
const GUESSES: u32 = 10;
/// How many may wait for a file, and how long.
const QUEUE: usize = 512;
const PATIENCE: Duration = Duration::from_secs(5);

/// Why an AuthID of version 1 was not opened.
#[derive(Debug, Error)]
pub enum FolderError {
    /// What there is under its name, if anything, is not for it.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// The folder itself is gone: nothing is known of any AuthID.
    #[error("the folder of legacy.v1_dir cannot be found")]
    Gone,
    /// Too many wrong passwords were tried for this file, until then.
    #[error("too many wrong passwords came for this file of the old store")]
    Guessed(Duration),
    /// Too many wait for the disk, or it does not answer.
    #[error("too many wait for files of the old store")]
    Busy,
}

/// The old server's folder of tokens.
pub struct Folder {
    path: PathBuf,
    good: Lru<Digest, Arc<Known>>,
    wrong: Lru<Digest, FileStamp>,
    /// Wrong passwords, by the file's name.
    guesses: Limit<u128>,
    queue: Semaphore,
    one: Arc<Semaphore>,
    clock: Clock,
}

/// What a file holds.
struct Known {
    file: FileStamp,
    looked_at: Duration,
    stored: Arc<Stored>,
}

impl Folder {
    /// Nothing read yet.
    pub fn new(path: PathBuf, clock: Clock) -> Self {
        Self {
            path,
            good: Lru::new(MOST_GOOD, Duration::MAX, &clock),
            wrong: Lru::new(MOST_WRONG, Duration::MAX, &clock),
            guesses: Limit::new(&clock),
            queue: Semaphore::new(QUEUE),
            one: Arc::new(Semaphore::new(1)),
            clock,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the old server kept for an AuthID of this digest: the file of this name, [32 hex digits](super::OldAuthId),
    /// opened with this password.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub async fn open(
        self: &Arc<Self>,
        digest: Digest,
        file: &str,
        password: &SecretString,
    ) -> Result<Arc<Stored>, FolderError> {
        if let Some(stored) = self.remembered(digest) {
            return Ok(stored);
        }
        let _waits = self.queue.try_acquire().map_err(|_| FolderError::Busy)?;
        let turn = timeout(PATIENCE, self.one.clone().acquire_owned()).await.ok().and_then(Result::ok);
        let turn = turn.ok_or(FolderError::Busy)?;
        let (this, file, password) = (self.clone(), file.to_owned(), password.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            this.look(digest, &file, &password)
        });
        timeout(PATIENCE, work).await.ok().and_then(Result::ok).unwrap_or(Err(FolderError::Busy))
    }

    fn remembered(&self, digest: Digest) -> Option<Arc<Stored>> {
        let known = self.good.get(&digest)?;
        (self.clock.uptime() < known.looked_at + CURRENT).then(|| known.stored.clone())
    }

    /// Blocks.
    fn look(&self, digest: Digest, file: &str, password: &SecretString) -> Result<Arc<Stored>, FolderError> {
        // Whoever was here meanwhile may have had the same AuthID.
        if let Some(stored) = self.remembered(digest) {
            return Ok(stored);
        }
        let stamp = match fs::metadata(place(&self.path, file)) {
            Ok(metadata) => FileStamp::new(&metadata),
            Err(error) if error.kind() == ErrorKind::NotFound && !self.path.is_dir() => return Err(FolderError::Gone),
            Err(error) => return Err(StoredError::from(Unread::from(error)).into()),
        };
        let looked_at = self.clock.uptime();
        if let Some(known) = self.good.get(&digest).filter(|known| known.file == stamp) {
            let stored = known.stored.clone();
            self.good.insert(digest, Arc::new(Known { file: stamp, looked_at, stored: stored.clone() }));
            return Ok(stored);
        }
        if self.wrong.get(&digest) == Some(stamp) {
            return Err(StoredError::Closed(AesCryptError::WrongPassword).into());
        }
        let name = u128::from_str_radix(file, 16).unwrap_or_default();
        self.guesses.admit(name, GUESSES).map_err(FolderError::Guessed)?;
        match open(&self.path, file, password) {
            Ok(stored) => {
                self.guesses.give_back(name);
                let stored = Arc::new(stored);
                self.good.insert(digest, Arc::new(Known { file: stamp, looked_at, stored: stored.clone() }));
                Ok(stored)
            }
            Err(error) => {
                match error {
                    StoredError::Closed(AesCryptError::WrongPassword) => self.wrong.insert(digest, stamp),
                    _ => self.guesses.give_back(name),
                }
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::OldAuthId;
    use super::*;
    use secrecy::ExposeSecret;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    const AUTHID: &str = "c0b443e7c4704d71abd0b2905ed76a13:e6_dD_b-5D4Pz-4.0b_3t.e1L8.nK6_z";
    const OTHER: &str = "35daa3b2adff443d8e84f6fb2a9048bd:a.F0w!D.mI_L-1Tu4!Cb.v-7j5-7!5!O";

    /// A copy of a running server's folder.
    fn folder() -> (tempfile::TempDir, Arc<Folder>, Clock) {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oauth-server/tokens");
        for entry in fs::read_dir(fixture).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        let clock = Clock::system();
        let folder = Arc::new(Folder::new(dir.path().to_owned(), clock.clone()));
        (dir, folder, clock)
    }

    async fn ask(folder: &Arc<Folder>, authid: &str) -> Result<Arc<Stored>, FolderError> {
        let old = OldAuthId::parse(authid).unwrap();
        let OldAuthId::Version1 { file, password } = &old else { panic!("{authid}") };
        folder.open(old.digest(), file, password).await
    }

    fn is_wrong(outcome: &Result<Arc<Stored>, FolderError>) -> bool {
        matches!(outcome, Err(FolderError::Stored(StoredError::Closed(AesCryptError::WrongPassword))))
    }

    #[tokio::test]
    async fn a_file_is_opened_once_and_again_when_it_was_written_again() {
        let (dir, folder, clock) = folder();
        let first = ask(&folder, AUTHID).await.unwrap();
        assert_eq!(first.service_id.as_str(), "googledrive");
        let same = |again: &Arc<Stored>| Arc::ptr_eq(&first, again);
        assert!(same(&ask(&folder, AUTHID).await.unwrap()));
        let (file, aside) = (dir.path().join(&AUTHID[..32]), dir.path().join("aside"));
        fs::copy(&file, &aside).unwrap();
        fs::rename(&aside, &file).unwrap();
        assert!(same(&ask(&folder, AUTHID).await.unwrap()), "it is looked at once in a minute");
        clock.advance(CURRENT);
        let again = ask(&folder, AUTHID).await.unwrap();
        assert!(!same(&again));
        clock.advance(CURRENT);
        assert!(Arc::ptr_eq(&again, &ask(&folder, AUTHID).await.unwrap()), "it has not changed");
        clock.advance(CURRENT);
        fs::remove_file(&file).unwrap();
        assert!(matches!(ask(&folder, AUTHID).await, Err(FolderError::Stored(StoredError::Missing))));
        fs::rename(dir.path(), dir.path().with_extension("away")).unwrap();
        assert!(matches!(ask(&folder, AUTHID).await, Err(FolderError::Gone)));
        fs::rename(dir.path().with_extension("away"), dir.path()).unwrap();
    }

    #[tokio::test]
    async fn guessing_ends_after_a_few_tries_and_hinders_nobody_who_knows_the_password() {
        let (_dir, folder, clock) = folder();
        let known = ask(&folder, AUTHID).await.unwrap();
        for guess in 0..GUESSES {
            assert!(is_wrong(&ask(&folder, &format!("{AUTHID}{guess}")).await));
        }
        assert!(matches!(ask(&folder, &format!("{AUTHID}x")).await, Err(FolderError::Guessed(_))));
        assert!(is_wrong(&ask(&folder, &format!("{AUTHID}0")).await), "what was wrong is known to be");
        assert!(Arc::ptr_eq(&known, &ask(&folder, AUTHID).await.unwrap()));
        assert!(ask(&folder, OTHER).await.is_ok(), "each file by itself");
        clock.advance(Duration::from_secs(60));
        assert!(is_wrong(&ask(&folder, &format!("{AUTHID}x")).await));
    }

    #[tokio::test]
    async fn of_many_who_ask_at_once_one_causes_the_work() {
        let (_dir, folder, _clock) = folder();
        let all = futures_util::future::join_all((0..50).map(|_| ask(&folder, AUTHID))).await;
        let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        assert!(all.iter().all(|one| Arc::ptr_eq(one, &all[0])));
    }

    #[tokio::test]
    async fn whatever_lies_in_the_folder_is_refused_by_its_fault() {
        let (dir, folder, _clock) = folder();
        let put = |number: u8| (dir.path().join(format!("{number:032x}")), format!("{number:032x}:password"));
        let (long, authid) = put(1);
        fs::write(&long, [b"AES\x02\0\0\0".as_slice(), &vec![7; 1 << 20]].concat()).unwrap();
        assert!(matches!(
            ask(&folder, &authid).await,
            Err(FolderError::Stored(StoredError::Unread(Unread::TooLong(_))))
        ));
        let (text, authid) = put(2);
        fs::write(text, "{\"ServiceId\":\"googledrive\",\"RefreshToken\":\"clear-text\"}").unwrap();
        let not_one = AesCryptError::NotAesCrypt;
        assert!(
            matches!(ask(&folder, &authid).await, Err(FolderError::Stored(StoredError::Closed(error))) if error == not_one)
        );
        let (link, authid) = put(3);
        symlink("/dev/zero", link).unwrap();
        assert!(matches!(ask(&folder, &authid).await, Err(FolderError::Stored(StoredError::Unread(Unread::NoFile)))));
        let (deep, authid) = put(4);
        fs::create_dir(deep).unwrap();
        assert!(matches!(ask(&folder, &authid).await, Err(FolderError::Stored(StoredError::Unread(Unread::NoFile)))));
        let (open, authid) = put(5);
        fs::copy(dir.path().join(&AUTHID[..32]), &open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(
            ask(&folder, &authid).await,
            Err(FolderError::Stored(StoredError::Unread(Unread::Untrusted(_))))
        ));
        let stored = ask(&folder, AUTHID).await.unwrap();
        assert!(stored.refresh_token.expose_secret().starts_with("rt-"));
    }
}
