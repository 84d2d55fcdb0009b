//! An old AuthID as text, and what is derived from it: the id of its login, and the secret that its record is kept with.
//! Both come from what only its owner has, so they are the same on every replica and after every change of keys.
//!
//! The id of the login comes from the AuthID's SHA-256 alone: whoever has that, an operator with a leaked text and no
//! server at hand, denies the login with all that was sealed of it later.

use crate::authid::{GrantId, RecordSecret, ServiceId};
use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::ops::RangeInclusive;
use zeroize::Zeroizing;

/// The shortest refresh token that the old server took, in bytes.
const MIN_TOKEN: usize = 6;
/// How many hex digits a name has: duplicati/oauth-handler fills up to 30 with zeros.
const NAME_LEN: RangeInclusive<usize> = 30..=32;
/// The longest old AuthID that is read, in bytes: more than the old server's clients could send.
const MAX_LEN: usize = 16 * 1024;

/// What the id of each such login begins with, so that it is known where nothing else of the login is: a denylist's line
/// about it must not end with the keys, since an old AuthID needs none.
const OLD: [u8; 2] = [0x01, 0xd0];

/// Which kind of AuthID of the old server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// `<32 hex digits>:<password>`.
    V1,
    /// `v2:<service>:<refresh token>`.
    V2,
}

impl Version {
    /// The kind in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// SHA-256 of an old AuthID in its one spelling: what it is denied by. Not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Reads 64 lower-case hex digits, as `sha256sum` writes them.
    pub fn parse(text: &str) -> Option<Self> {
        let (one, other) = text.split_at_checked(32)?;
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(GrantId::parse(one)?.as_bytes());
        bytes[16..].copy_from_slice(GrantId::parse(other)?.as_bytes());
        Some(Self(bytes))
    }

    /// The login of its AuthID.
    pub fn grant(&self) -> GrantId {
        let mut bytes = [0; 16];
        derive(&self.0, &[b"authseal legacy grant"], &mut bytes[OLD.len()..]);
        bytes[..OLD.len()].copy_from_slice(&OLD);
        GrantId::new(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether a login may be one of an old AuthID; of those that are not, one in 65,536 looks like it.
pub fn may_be_old(grant: GrantId) -> bool {
    grant.as_bytes().starts_with(&OLD)
}

/// An AuthID of the old server, not yet looked at further.
pub enum OldAuthId {
    /// `<32 hex digits>:<password>`: what opens which entry of the old server's store. Those of duplicati/oauth-handler
    /// may have two digits less.
    Version1 {
        /// Lower-case hex: the entry's name.
        file: String,
        /// Its password.
        password: SecretString,
    },
    /// `v2:<service>:<refresh token>`.
    Version2 {
        /// What it is for, as the old server knew it.
        service: ServiceId,
        /// The provider's refresh token.
        refresh_token: SecretString,
    },
}

impl OldAuthId {
    /// Reads one as the old server did: blanks around each part count for nothing. `%3A` is a colon, as in those of today.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LEN {
            return None;
        }
        let (head, rest) = split(text.trim())?;
        if head == "v2" {
            let (service, token) = split(rest)?;
            let service = ServiceId::parse_alias(service)?;
            return (token.len() >= MIN_TOKEN)
                .then(|| Self::Version2 { service, refresh_token: token.to_owned().into() });
        }
        let is_name = NAME_LEN.contains(&head.len()) && head.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_name && !rest.is_empty())
            .then(|| Self::Version1 { file: head.to_ascii_lowercase(), password: rest.to_owned().into() })
    }

    /// The same with the service's id here: a service may have several, and a login that is written with another of them
    /// is the same login.
    #[must_use]
    pub fn of(self, service: &ServiceId) -> Self {
        match self {
            Self::Version2 { refresh_token, .. } => Self::Version2 { service: service.clone(), refresh_token },
            version_1 => version_1,
        }
    }

    /// Which kind it is.
    pub fn version(&self) -> Version {
        match self {
            Self::Version1 { .. } => Version::V1,
            Self::Version2 { .. } => Version::V2,
        }
    }

    /// The id of its login.
    pub fn grant(&self) -> GrantId {
        self.digest().grant()
    }

    /// What a record of its login is named by and kept with.
    pub fn record_secret(&self) -> RecordSecret {
        let mut bytes = Zeroizing::new([0; 32]);
        let public = self.public();
        let info: [&[u8]; 3] = [b"authseal legacy bind", b"\0", public.as_bytes()];
        derive(self.secret().as_bytes(), &info, bytes.as_mut_slice());
        RecordSecret::new(bytes)
    }

    /// What it is denied by: SHA-256 of its one spelling.
    pub fn digest(&self) -> Digest {
        let hash = Sha256::new_with_prefix(self.public()).chain_update(self.secret());
        Digest(hash.finalize().into())
    }

    /// What is not secret in it, as its one spelling begins.
    fn public(&self) -> String {
        match self {
            Self::Version1 { file, .. } => format!("{file}:"),
            Self::Version2 { service, .. } => format!("v2:{service}:"),
        }
    }

    fn secret(&self) -> &str {
        match self {
            Self::Version1 { password, .. } => password.expose_secret(),
            Self::Version2 { refresh_token, .. } => refresh_token.expose_secret(),
        }
    }
}

/// HKDF-SHA256 (RFC 5869) without a salt.
fn derive(secret: &[u8], info: &[&[u8]], out: &mut [u8]) {
    if Hkdf::<Sha256>::new(None, secret).expand_multi_info(info, out).is_err() {
        // Cannot be: HKDF-SHA256 gives up to 8160 bytes. What is left at zeros must never be used, so stop here.
        unreachable!("HKDF gives 32 bytes");
    }
}

/// Parts at the first colon, which may be escaped.
fn split(text: &str) -> Option<(&str, &str)> {
    let at = [":", "%3A", "%3a"].iter().filter_map(|colon| text.find(colon).map(|at| (at, colon.len()))).min()?;
    Some((text[..at.0].trim(), text[at.0 + at.1..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "c0b443e7c4704d71abd0b2905ed76a13:e6_dD_b-5D4Pz-4.0b_3t.e1L8.nK6_z";
    const V2: &str = "v2:googledrive:1//0e-token:with:colons%3A";

    fn parts(text: &str) -> Option<(String, String)> {
        OldAuthId::parse(text).map(|old| (old.public(), old.secret().to_owned()))
    }

    #[test]
    fn old_authids_are_read_as_the_old_server_read_them() {
        let (name, password) = V1.split_once(':').unwrap();
        let v1 = Some((format!("{name}:"), password.to_owned()));
        for text in [V1, &format!(" {name} : {password}\n"), &V1.replacen(':', "%3A", 1)] {
            assert_eq!(parts(text), v1, "{text}");
        }
        assert_eq!(parts(&V1.replace("c0b4", "C0B4")), v1, "as the file is named");
        let v2 = Some(("v2:googledrive:".to_owned(), "1//0e-token:with:colons%3A".to_owned()));
        for text in [V2, " v2 : googledrive :1//0e-token:with:colons%3A\t", &V2.replacen(':', "%3a", 2)] {
            assert_eq!(parts(text), v2, "{text}");
        }
        assert_eq!(parts("v2:Box:token-x"), Some(("v2:Box:".to_owned(), "token-x".to_owned())), "another id than box");
        let long = format!("v2:box.com:{}", "x".repeat(MAX_LEN));
        let bare = &V1[..33];
        for text in
            ["", ":", "v2:", "v2:box.com", "v2:box.com:short", "v2:B x:token-x", "v2::token-x", bare, &V1[3..], &long]
        {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_derived_differs_with_each_part_and_never_changes() {
        let all = [V1, &V1.replace("c0b4", "d0b4"), &V1.replace("e6_d", "f6_d"), V2, &V2.replace("google", "other")];
        let derived: Vec<_> = all.iter().map(|text| OldAuthId::parse(text).unwrap()).collect();
        for (at, one) in derived.iter().enumerate() {
            assert_ne!(one.grant().as_bytes().as_slice(), &one.record_secret().expose()[..16]);
            for other in &derived[at + 1..] {
                assert_ne!(one.grant(), other.grant());
                assert_ne!(one.record_secret().expose(), other.record_secret().expose());
                assert_ne!(one.digest(), other.digest());
            }
        }
        // Frozen: records and denylists of running servers are named by them.
        assert_eq!(derived[0].grant().to_string(), "01d00938201f08330e6c78670aa713d4");
        assert_eq!(derived[3].grant().to_string(), "01d027be0b912800c861a07b589147d8");
        let digest = derived[3].digest();
        assert_eq!(digest.0[..], Sha256::digest(V2)[..], "as `sha256sum` says of the AuthID");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        let hex = digest.to_string();
        for text in ["", &hex[1..], &hex.to_uppercase(), &format!("{hex}0"), &hex.replace(&hex[60..], "zzzz")] {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
        assert!(derived.iter().all(|old| may_be_old(old.grant())) && !may_be_old(GrantId::new([1; 16])));
    }
}
