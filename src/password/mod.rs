//! Who may begin a login, where the operator wants that asked: whoever knows a shared password. Strangers then cannot
//! spend the quota of the operator's registrations at providers.
//!
//! A browser in which the password was given gets a *pass*: a time and the hash's fingerprint, sealed, so that a new
//! password ends all passes. Nothing is stored. A check costs memory and time by design, so two run side by side and
//! the others wait in a queue: strangers who guess make everybody wait a little, and lock nobody out.

mod hash;
mod password_file;
mod attempts;

pub use hash::{MIN_LEN, Unhashable, hash};
pub use password_file::{PasswordFile, PasswordFileError};

use crate::clock::Clock;
use crate::keyring_file::LiveKeyring;
use crate::net::Client;
use crate::seal::{OpenedParam, Purpose, SealError};
use crate::watch::{LoadStatus, WatchedFile};
use attempts::{Attempt, Attempts, Pass};
use hash::PasswordHash;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a pass lives, in seconds: 30 days.
pub const PASS_LIFETIME: i64 = 30 * 86_400;
/// How far apart two replicas' clocks may be, in seconds.
const CLOCK_SKEW: i64 = 120;
/// How many passwords are checked at a time; each takes the memory that its hash asks for, usually 19 MiB.
const CHECKS_AT_A_TIME: usize = 2;
/// How many may wait for that, first come, first served; and as many again of those whose address is not known. Whoever
/// guesses from hundreds of networks at once makes the others wait for some seconds, and keeps nobody out.
const QUEUE: usize = 1024;
/// How long the next one waits after a wrong password from an unknown address: those are checked one after the other,
/// so ten a second are guessed through a proxy that is not listed, or by who pretends to be one.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks for the password and remembers who gave it.
pub struct SharedPassword {
    password: Arc<PasswordFile>,
    keyring: Arc<LiveKeyring>,
    attempts: Arc<Attempts>,
    queue: Semaphore,
    checks: Arc<Semaphore>,
    unknown: Unknown,
    clock: Clock,
}

/// Where those wait whose address is not known, and whose turn it is among them.
struct Unknown {
    queue: Semaphore,
    turn: Arc<Semaphore>,
}

/// Why a try gave no pass.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// It is another password.
    #[error("it is another password")]
    Wrong,
    /// It was not looked at, because there were too many from there in the last minute.
    #[error("there were too many tries in the last minute")]
    TooMany {
        /// How long until the next is taken.
        retry_after: Duration,
    },
    /// It was not looked at, because too many wait to be.
    #[error("too many passwords wait to be checked")]
    Busy,
    /// It could not be checked, or no pass be made.
    #[error("a fault of this server")]
    Fault,
}

impl From<SealError> for PasswordError {
    fn from(_: SealError) -> Self {
        Self::Fault
    }
}

impl SharedPassword {
    /// Asks for the password of this file.
    pub fn new(password: PasswordFile, keyring: Arc<LiveKeyring>, clock: Clock) -> Self {
        let (queue, checks) = (Semaphore::new(QUEUE), Arc::new(Semaphore::new(CHECKS_AT_A_TIME)));
        let unknown = Unknown { queue: Semaphore::new(QUEUE), turn: Arc::new(Semaphore::new(1)) };
        let attempts = Arc::new(Attempts::new(&clock));
        Self { password: Arc::new(password), keyring, attempts, queue, checks, unknown, clock }
    }

    /// What to hand to [`Watch::start`](crate::watch::Watch::start).
    pub fn follow(&self) -> Option<WatchedFile> {
        self.password.follow()
    }

    /// When the password in force was read, and how later readings went.
    pub fn load_status(&self) -> &Arc<LoadStatus> {
        self.password.load_status()
    }

    /// Checks a password that a visitor gave; the pass that it earns. `held` is the pass that the browser brought
    /// along. A right password does not count as an attempt: many users may be behind one address. Nor does one that was
    /// not looked at, because there was no room or its visitor left before.
    ///
    /// # Errors
    /// When it is wrong, or was not looked at.
    pub async fn check(
        &self,
        password: SecretString,
        from: Client,
        held: Option<&str>,
    ) -> Result<String, PasswordError> {
        let attempt = self.attempts.begin(from, held.and_then(|held| self.nonce(held)));
        let counted = attempt.map_err(|retry_after| PasswordError::TooMany { retry_after })?;
        let is_unknown = counted.attempt() == Attempt::Unknown;
        let queue = if is_unknown { &self.unknown.queue } else { &self.queue };
        let _place = queue.try_acquire().map_err(|_| PasswordError::Busy)?;
        let turn_among_unknown = match is_unknown {
            true => Some(self.unknown.turn.clone().acquire_owned().await.map_err(|_| PasswordError::Fault)?),
            false => None,
        };
        let turn = self.checks.clone().acquire_owned().await.map_err(|_| PasswordError::Fault)?;
        let hash = Arc::clone(&self.password.load());
        let check = {
            let hash = Arc::clone(&hash);
            // The turns and the attempt go along: a check runs to its end and counts even when the visitor has left.
            move || {
                let is_right = hash.matches(password.expose_secret());
                counted.checked(is_right);
                if let Some(turn) = turn_among_unknown.filter(|_| !is_right) {
                    pause(turn);
                }
                drop(turn);
                is_right
            }
        };
        match tokio::task::spawn_blocking(check).await {
            Ok(true) => Ok(self.pass(&hash)?),
            Ok(false) => Err(PasswordError::Wrong),
            Err(_) => Err(PasswordError::Fault),
        }
    }

    /// Whether a pass was earned with the password of now, in the last 30 days.
    pub fn admits(&self, pass: &str) -> bool {
        let Some(opened) = self.open(pass) else { return false };
        let hash = self.password.load();
        let (time, fingerprint) = opened.plaintext.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let age = self.clock.now().saturating_sub(i64::from_be_bytes(*time));
        fingerprint == half(&hash) && (-CLOCK_SKEW..PASS_LIFETIME).contains(&age)
    }

    /// The time (8, big endian) and the first half of the hash's fingerprint (16), sealed.
    fn pass(&self, hash: &PasswordHash) -> Result<String, SealError> {
        let content = [self.clock.now().to_be_bytes().as_slice(), half(hash)].concat();
        self.keyring.load().seal_param(Purpose::AccessPass, b"", &content).map(|(text, _)| text)
    }

    fn open(&self, pass: &str) -> Option<OpenedParam> {
        self.keyring.load().open_param(pass, Purpose::AccessPass, b"")
    }

    /// What tells a pass from others, though it may have ended or be for another password.
    fn nonce(&self, pass: &str) -> Option<Pass> {
        self.open(pass).map(|opened| opened.nonce)
    }
}

/// Keeps the next one waiting.
fn pause(turn: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        tokio::time::sleep(PAUSE).await;
        drop(turn);
    });
}

fn half(hash: &PasswordHash) -> &[u8] {
    &hash.fingerprint()[..16]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ClientNet;
    use crate::seal::testing::keyring_text;
    use argon2::password_hash::PasswordHasher;
    use argon2::{Argon2, Params};
    use futures_util::FutureExt;
    use std::fs;
    use std::net::IpAddr;
    use std::path::Path;

    fn keyring() -> Arc<LiveKeyring> {
        Arc::new(LiveKeyring::from_text(&keyring_text(1, &[1])).unwrap())
    }

    fn shared(folder: &Path, password: &str, keyring: &Arc<LiveKeyring>, clock: &Clock) -> SharedPassword {
        let file = folder.join("password");
        fs::write(&file, hash(password).unwrap()).unwrap();
        SharedPassword::new(PasswordFile::open(file).unwrap(), keyring.clone(), clock.clone())
    }

    fn at(address: &str) -> Client {
        let net = ClientNet::from(address.parse::<IpAddr>().unwrap());
        Client { address: Some(net), peer: net }
    }

    fn here() -> Client {
        at("192.0.2.1")
    }

    /// Behind a proxy that is not listed.
    fn unknown() -> Client {
        Client { address: None, ..here() }
    }

    #[tokio::test]
    async fn a_pass_admits_for_thirty_days() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        let shared = shared(folder.path(), "correct horse", &keyring(), &clock);
        let pass = shared.check("correct horse".into(), here(), None).await.unwrap();
        assert!(shared.admits(&pass));
        assert_eq!(pass.len(), 91);
        clock.advance(Duration::from_secs(30 * 86_400 - 60));
        assert!(shared.admits(&pass));
        clock.advance(Duration::from_secs(60));
        assert!(!shared.admits(&pass));
    }

    #[tokio::test]
    async fn a_pass_for_another_password_or_of_another_key_admits_nobody() {
        let (folder, clock, ours) = (tempfile::tempdir().unwrap(), Clock::system(), keyring());
        let old = shared(folder.path(), "correct horse", &ours, &clock);
        let pass = old.check("correct horse".into(), here(), None).await.unwrap();
        let same_password_hashed_again = shared(folder.path(), "correct horse", &ours, &clock);
        assert!(!same_password_hashed_again.admits(&pass));
        let other_key =
            SharedPassword::new(PasswordFile::open(folder.path().join("password")).unwrap(), keyring(), clock);
        assert!(
            !other_key.admits(&same_password_hashed_again.check("correct horse".into(), here(), None).await.unwrap())
        );
        for at in 0..pass.len() {
            let mut broken = pass.clone().into_bytes();
            broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
            assert!(!old.admits(std::str::from_utf8(&broken).unwrap()));
            assert!(!old.admits(&pass[..at]));
        }
        assert!(old.admits(&pass));
    }

    #[tokio::test]
    async fn right_passwords_are_no_tries() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(folder.path(), "correct horse", &keyring(), &Clock::system());
        for _ in 0..8 {
            shared.check("correct horse".into(), here(), None).await.unwrap();
        }
        for _ in 0..5 {
            assert!(matches!(shared.check("wrong horse".into(), here(), None).await, Err(PasswordError::Wrong)));
        }
        assert!(matches!(shared.check("correct horse".into(), here(), None).await, Err(PasswordError::TooMany { .. })));
    }

    #[tokio::test]
    async fn two_passwords_are_checked_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared(folder.path(), "correct horse", &keyring(), &Clock::system());
        let turns = shared.checks.clone().acquire_many_owned(2).await.unwrap();
        let check = shared.check("correct horse".into(), here(), None);
        tokio::pin!(check);
        tokio::select! {
            biased;
            _ = &mut check => panic!("a third check runs"),
            () = tokio::task::yield_now() => {}
        }
        drop(turns);
        assert!(check.await.is_ok());
        assert_eq!(shared.checks.available_permits(), CHECKS_AT_A_TIME);
    }

    /// Asks for "correct horse", and checks a password in next to no time.
    fn quick(folder: &Path) -> SharedPassword {
        let cheap =
            Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        let hash = cheap.hash_password_with_salt(b"correct horse", b"salt for tests").unwrap();
        fs::write(folder.join("password"), hash.to_string()).unwrap();
        let file = PasswordFile::open(folder.join("password")).unwrap();
        SharedPassword::new(file, keyring(), Clock::system())
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_strangers_do_not_lock_out_who_knows_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let shared = quick(folder.path());
        for round in 0..20 {
            // From many networks, each a few times, and through a proxy that is not listed.
            let strangers = (0..300).map(|site| at(&format!("2001:db8:{site:x}:{round:x}::1"))).chain([unknown(); 300]);
            let guesses = strangers.map(|from| shared.check("wrong horse".into(), from, None));
            let guesses = futures_util::future::join_all(guesses);
            let honest = shared.check("correct horse".into(), here(), None);
            let (guesses, honest) = tokio::join!(guesses, honest);
            assert!(honest.is_ok(), "{round}: {honest:?}");
            for guess in guesses {
                assert!(matches!(guess, Err(PasswordError::Wrong | PasswordError::TooMany { .. })), "{guess:?}");
            }
            for from in [here(), at("2001:db8:ffff::1"), unknown()] {
                assert!(shared.check("correct horse".into(), from, None).await.is_ok(), "{round}: {from:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn through_a_proxy_that_is_not_listed_ten_a_second_are_guessed_and_nobody_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let shared = quick(folder.path());
        let begun = tokio::time::Instant::now();
        let guesses = (0..60).map(|_| shared.check("wrong horse".into(), unknown(), None));
        let guesses = futures_util::future::join_all(guesses).await;
        assert!(guesses.iter().all(|guess| matches!(guess, Err(PasswordError::Wrong))), "{guesses:?}");
        shared.check("correct horse".into(), unknown(), None).await.unwrap();
        assert!(begun.elapsed() >= 60 * PAUSE, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_thousand_may_wait_and_others_are_told_to_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let shared = quick(folder.path());
        let turns = shared.checks.clone().acquire_many_owned(2).await.unwrap();
        let wait = |site: usize| shared.check("correct horse".into(), at(&format!("2001:db8:{site:x}::1")), None);
        let mut waiting: Vec<_> = (0..QUEUE).map(|site| Box::pin(wait(site))).collect();
        for check in &mut waiting {
            assert!(check.now_or_never().is_none());
        }
        assert!(matches!(wait(QUEUE).await, Err(PasswordError::Busy)));
        assert!(shared.check("correct horse".into(), unknown(), None).now_or_never().is_none(), "a queue of their own");
        drop(turns);
        assert!(futures_util::future::join_all(waiting).await.iter().all(Result::is_ok));
        assert!(wait(QUEUE).await.is_ok(), "who was sent away did not use up a try");
    }

    #[tokio::test]
    async fn who_leaves_before_a_password_is_looked_at_has_used_up_no_try() {
        let folder = tempfile::tempdir().unwrap();
        let shared = quick(folder.path());
        let turns = shared.checks.clone().acquire_many_owned(2).await.unwrap();
        for _ in 0..9 {
            assert!(shared.check("wrong horse".into(), here(), None).now_or_never().is_none());
        }
        drop(turns);
        for _ in 0..5 {
            assert!(matches!(shared.check("wrong horse".into(), here(), None).await, Err(PasswordError::Wrong)));
        }
    }

    #[test]
    fn who_leaves_while_a_password_is_looked_at_has_used_up_a_try_if_it_was_wrong() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().max_blocking_threads(1).build().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let shared = quick(folder.path());
            let leave = async |password: &str, from| {
                // The one thread for checks has something else to do until the visitor has left.
                let (leaves, left) = std::sync::mpsc::channel::<()>();
                drop(tokio::task::spawn_blocking(move || left.recv()));
                assert!(shared.check(password.into(), from, None).now_or_never().is_none());
                drop(leaves);
                drop(shared.checks.acquire_many(2).await.unwrap());
            };
            for _ in 0..9 {
                leave("correct horse", here()).await;
            }
            for _ in 0..5 {
                leave("wrong horse", here()).await;
            }
            let refused = shared.check("correct horse".into(), here(), None).await;
            assert!(matches!(refused, Err(PasswordError::TooMany { .. })), "{refused:?}");
            leave("wrong horse", unknown()).await;
            assert_eq!(shared.unknown.turn.available_permits(), 0, "the next one has to wait all the same");
        });
    }

    #[tokio::test]
    async fn a_browser_that_held_a_pass_is_not_refused_for_the_tries_of_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let shared = quick(folder.path());
        let pass = shared.check("correct horse".into(), here(), None).await.unwrap();
        for _ in 0..5 {
            assert!(matches!(shared.check("wrong horse".into(), here(), None).await, Err(PasswordError::Wrong)));
        }
        assert!(matches!(shared.check("correct horse".into(), here(), None).await, Err(PasswordError::TooMany { .. })));
        for forged in ["", "x", &pass[1..]] {
            let refused = shared.check("correct horse".into(), here(), Some(forged)).await;
            assert!(matches!(refused, Err(PasswordError::TooMany { .. })), "{forged}");
        }
        shared.clock.advance(Duration::from_secs(40 * 86_400));
        for _ in 0..5 {
            assert!(matches!(shared.check("wrong horse".into(), here(), None).await, Err(PasswordError::Wrong)));
        }
        assert!(!shared.admits(&pass), "it has ended");
        assert!(shared.check("correct horse".into(), here(), Some(&pass)).await.is_ok());
        for _ in 0..5 {
            assert!(matches!(shared.check("wrong horse".into(), here(), Some(&pass)).await, Err(PasswordError::Wrong)));
        }
        assert!(matches!(
            shared.check("correct horse".into(), here(), Some(&pass)).await,
            Err(PasswordError::TooMany { .. })
        ));
    }
}
