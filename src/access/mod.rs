//! Who may begin a login, where the operator wants that asked: whoever knows a shared password. Strangers then cannot
//! spend the quota of the operator's registrations at providers.
//!
//! A browser in which the password was given gets a *pass*: a time, sealed, and bound to the password's hash, so that a
//! new password ends all passes. Nothing is stored. A check costs memory and time by design, so few run side by side
//! and few tries are taken.

mod hash;
mod password_file;
mod tries;

pub use hash::{MIN_LEN, Unhashable, hash};
pub use password_file::{PasswordFile, PasswordFileError};

use crate::clock::Clock;
use crate::keyfile::LiveKeyring;
use crate::login::ClientNet;
use crate::seal::{Purpose, SealError};
use crate::watch::{Follow, Readings};
use hash::PasswordHash;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Semaphore;
use tries::Tries;

/// How long a pass lives, in seconds: 30 days.
pub const PASS_LIFETIME: i64 = 30 * 86_400;
/// How far apart two replicas' clocks may be, in seconds.
const CLOCK_SKEW: i64 = 120;
/// How many passwords are checked at a time; each takes the memory that its hash asks for, usually 19 MiB.
const CHECKS_AT_A_TIME: usize = 2;

/// Asks for the password and remembers who gave it.
pub struct Access {
    password: Arc<PasswordFile>,
    keyring: Arc<LiveKeyring>,
    tries: Tries,
    checks: Arc<Semaphore>,
    clock: Clock,
}

/// Why a try gave no pass.
#[derive(Debug, Error)]
pub enum Refused {
    /// It is another password.
    #[error("it is another password")]
    Wrong,
    /// It was not looked at, because there were too many in the last minute.
    #[error("there were too many tries in the last minute")]
    TooMany {
        /// How long until the next is taken.
        retry_after: Duration,
    },
    /// It could not be checked, or no pass be made.
    #[error("a fault of this server")]
    Fault,
}

impl From<SealError> for Refused {
    fn from(_: SealError) -> Self {
        Self::Fault
    }
}

impl Access {
    /// Asks for the password of this file.
    pub fn new(password: PasswordFile, keyring: Arc<LiveKeyring>, clock: Clock) -> Self {
        let checks = Arc::new(Semaphore::new(CHECKS_AT_A_TIME));
        Self { password: Arc::new(password), keyring, tries: Tries::new(clock.clone()), checks, clock }
    }

    /// What to hand to [`Watch::start`](crate::watch::Watch::start).
    pub fn follow(&self) -> Option<Follow> {
        self.password.follow()
    }

    /// When the password in force was read, and how later readings went.
    pub fn readings(&self) -> &Arc<Readings> {
        self.password.readings()
    }

    /// Checks a password that a visitor at this address gave; the pass that it earns. A right one does not count as a
    /// try: many people may sit behind one address.
    ///
    /// # Errors
    /// When it is wrong, or was not looked at.
    pub async fn check(&self, password: SecretString, from: ClientNet) -> Result<String, Refused> {
        let this_try = self.tries.begin(from).map_err(|retry_after| Refused::TooMany { retry_after })?;
        let turn = self.checks.clone().acquire_owned().await.map_err(|_| Refused::Fault)?;
        let hash = Arc::clone(&self.password.load());
        let check = {
            let hash = Arc::clone(&hash);
            // The turn goes along: a check runs to its end even when the visitor has left.
            move || (hash.fits(password.expose_secret()), turn)
        };
        let (fits, _turn) = tokio::task::spawn_blocking(check).await.map_err(|_| Refused::Fault)?;
        if !fits {
            return Err(Refused::Wrong);
        }
        self.tries.forgive(this_try);
        Ok(self.pass(&hash)?)
    }

    /// Whether a pass was earned with the password of now, in the last 30 days.
    pub fn admits(&self, pass: &str) -> bool {
        self.issued(pass).is_some_and(|time| (-CLOCK_SKEW..PASS_LIFETIME).contains(&(self.clock.now() - time)))
    }

    /// The time (8, big endian), sealed with the password's fingerprint as associated data.
    fn pass(&self, hash: &PasswordHash) -> Result<String, SealError> {
        let time = self.clock.now().to_be_bytes();
        self.keyring.load().pack(Purpose::AccessPass, hash.fingerprint().as_slice(), &time).map(|(text, _)| text)
    }

    fn issued(&self, pass: &str) -> Option<i64> {
        let hash = self.password.load();
        let parcel = self.keyring.load().unpack(pass, Purpose::AccessPass, hash.fingerprint().as_slice())?;
        Some(i64::from_be_bytes(parcel.plaintext.as_slice().try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Epoch, new_secret_text};
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;

    fn keyring() -> Arc<LiveKeyring> {
        let secret = new_secret_text(Epoch::FIRST).unwrap();
        let text = format!("primary = 1\n[[key]]\nepoch = 1\nsecret = \"{}\"\n", *secret);
        Arc::new(LiveKeyring::from_text(&text).unwrap())
    }

    fn access(folder: &Path, password: &str, keyring: &Arc<LiveKeyring>, clock: &Clock) -> Access {
        let file = folder.join("password");
        fs::write(&file, hash(password).unwrap()).unwrap();
        Access::new(PasswordFile::open(file).unwrap(), keyring.clone(), clock.clone())
    }

    fn here() -> ClientNet {
        IpAddr::from(Ipv4Addr::LOCALHOST).into()
    }

    #[tokio::test]
    async fn a_pass_admits_for_thirty_days() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        let access = access(folder.path(), "correct horse", &keyring(), &clock);
        let pass = access.check("correct horse".into(), here()).await.unwrap();
        assert!(access.admits(&pass));
        assert_eq!(pass.len(), 70);
        clock.advance(Duration::from_secs(30 * 86_400 - 60));
        assert!(access.admits(&pass));
        clock.advance(Duration::from_secs(60));
        assert!(!access.admits(&pass));
    }

    #[tokio::test]
    async fn a_pass_for_another_password_or_of_another_key_admits_nobody() {
        let (folder, clock, ours) = (tempfile::tempdir().unwrap(), Clock::system(), keyring());
        let old = access(folder.path(), "correct horse", &ours, &clock);
        let pass = old.check("correct horse".into(), here()).await.unwrap();
        let same_password_hashed_again = access(folder.path(), "correct horse", &ours, &clock);
        assert!(!same_password_hashed_again.admits(&pass));
        let other_key = Access::new(PasswordFile::open(folder.path().join("password")).unwrap(), keyring(), clock);
        assert!(!other_key.admits(&same_password_hashed_again.check("correct horse".into(), here()).await.unwrap()));
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
        let access = access(folder.path(), "correct horse", &keyring(), &Clock::system());
        for _ in 0..8 {
            access.check("correct horse".into(), here()).await.unwrap();
        }
        for _ in 0..5 {
            assert!(matches!(access.check("wrong horse".into(), here()).await, Err(Refused::Wrong)));
        }
        assert!(matches!(access.check("correct horse".into(), here()).await, Err(Refused::TooMany { .. })));
    }

    #[tokio::test]
    async fn two_passwords_are_checked_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(folder.path(), "correct horse", &keyring(), &Clock::system());
        let turns = access.checks.clone().acquire_many_owned(2).await.unwrap();
        let check = access.check("correct horse".into(), here());
        tokio::pin!(check);
        tokio::select! {
            biased;
            _ = &mut check => panic!("a third check runs"),
            () = tokio::task::yield_now() => {}
        }
        drop(turns);
        assert!(check.await.is_ok());
        assert_eq!(access.checks.available_permits(), CHECKS_AT_A_TIME);
    }
}
