//! The shared password's hash: argon2id (RFC 9106) in a PHC string. Memory-hard, because people choose the password and
//! somebody who reads the file should not find it by trying.

use crate::seal::random;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{ARGON2ID_IDENT, Argon2, Params};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The fewest characters of a password.
pub const MIN_LEN: usize = 8;
/// The most memory that a check may take, in KiB: two at a time must not end the server.
const MAX_MEMORY: u32 = 256 * 1024;
/// The most passes over that memory.
const MAX_PASSES: u32 = 16;
/// The most lanes.
const MAX_LANES: u32 = 16;

/// Why a password was not hashed. Never holds any of it.
#[derive(Debug, Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum Unhashable {
    #[error("there is no password")]
    Empty,
    #[error("the password is too short: it needs at least {MIN_LEN} characters")]
    Short,
    #[error("the password has several lines; a browser's field takes one")]
    SeveralLines,
    #[error("the password cannot be hashed: no memory, or no random bytes")]
    Fault,
}

/// Why a text is no hash that can be used. Never holds any of it.
#[derive(Debug, Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum HashFault {
    #[error(
        "must hold the hash of the password, one line that begins with `$argon2id$`, and not the password itself; make it with `authseal access hash`"
    )]
    NotAHash,
    #[error(
        "holds a hash that is too expensive to check: at most 256 MiB, 16 passes and 16 lanes; make it with `authseal access hash`"
    )]
    TooExpensive,
}

/// Hashes a password with a fresh salt and the parameters that OWASP's cheat sheet recommends first: 19 MiB, 2 passes, 1
/// lane. The PHC string, without a line break.
///
/// # Errors
/// When the password is too short, or not one line.
pub fn hash(password: &str) -> Result<String, Unhashable> {
    match password.chars().count() {
        0 => return Err(Unhashable::Empty),
        _ if password.contains(['\r', '\n']) => return Err(Unhashable::SeveralLines),
        len if len < MIN_LEN => return Err(Unhashable::Short),
        _ => {}
    }
    let salt = random::<16>().map_err(|_| Unhashable::Fault)?;
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|_| Unhashable::Fault)
}

/// A hash to check passwords against.
pub struct PasswordHash {
    phc: argon2::PasswordHash,
    fingerprint: [u8; 32],
}

impl PasswordHash {
    /// Reads a PHC string with a salt and a hash by argon2id.
    pub(super) fn parse(text: &str) -> Result<Self, HashFault> {
        let phc = argon2::PasswordHash::new(text).map_err(|_| HashFault::NotAHash)?;
        let complete = phc.algorithm == ARGON2ID_IDENT && phc.salt.is_some() && phc.hash.is_some();
        let params = Params::try_from(&phc).ok().filter(|_| complete).ok_or(HashFault::NotAHash)?;
        if params.m_cost() > MAX_MEMORY || params.t_cost() > MAX_PASSES || params.p_cost() > MAX_LANES {
            return Err(HashFault::TooExpensive);
        }
        Ok(Self { fingerprint: Sha256::digest(text).into(), phc })
    }

    /// Whether the hash was made from this password: the same work for every password, compared in constant time.
    pub(super) fn matches(&self, password: &str) -> bool {
        Argon2::default().verify_password(password.as_bytes(), &self.phc).is_ok()
    }

    /// The SHA-256 of the PHC string, whose salt is new with each hash.
    pub(super) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> HashFault {
        PasswordHash::parse(text).err().unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_hash_fits_its_password_alone() {
        let text = hash("correct horse").unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let hash = PasswordHash::parse(&text).unwrap();
        assert!(hash.matches("correct horse"));
        for wrong in ["", "correct horsf", "correct horse ", "Correct horse", &text] {
            assert!(!hash.matches(wrong), "{wrong}");
        }
        assert_ne!(super::hash("correct horse").unwrap(), text, "each has a salt of its own");
    }

    /// Made by the reference implementation: `echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -e`.
    #[test]
    fn a_hash_of_another_program_fits() {
        let text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(PasswordHash::parse(text).unwrap().matches("password"));
    }

    #[test]
    fn a_password_that_is_short_or_not_one_line_is_not_hashed() {
        for (password, fault) in [
            ("", Unhashable::Empty),
            ("1234567", Unhashable::Short),
            ("äöüäöüä", Unhashable::Short),
            ("12345678\n9", Unhashable::SeveralLines),
            ("\n", Unhashable::SeveralLines),
        ] {
            assert_eq!(hash(password), Err(fault), "{password:?}");
        }
        assert!(hash("äöüäöüäö").is_ok());
    }

    #[test]
    fn what_is_no_argon2id_hash_is_refused() {
        let good = hash("correct horse").unwrap();
        for bad in [
            "",
            "correct horse",
            "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA",
            "$argon2id$v=19$m=19456,t=2,p=1",
            &good.replace("argon2id", "argon2i"),
            &good.replace("m=19456", "m=1"),
            &format!("{good}\n{good}"),
            &format!(" {good}"),
        ] {
            assert_eq!(fault(bad), HashFault::NotAHash, "{bad}");
        }
    }

    #[test]
    fn a_hash_that_would_take_all_memory_is_refused() {
        let good = hash("correct horse").unwrap();
        for (from, to) in [("m=19456", "m=262145"), ("t=2", "t=17"), ("p=1", "p=17")] {
            assert_eq!(fault(&good.replace(from, to)), HashFault::TooExpensive, "{to}");
        }
    }
}
