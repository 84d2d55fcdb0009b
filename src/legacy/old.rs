//! An old AuthID as text, and what is derived from it: the id of its login, and the secret that its record is kept with.
//! Both come from what only its owner has, so they are the same on every replica and after every change of keys.

use crate::authid::{GrantId, RecordSecret, ServiceId};
use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The shortest refresh token that the old server took, in bytes.
const MIN_TOKEN: usize = 6;
/// The longest old AuthID that is read, in bytes: more than the old server's clients could send.
const MAX_LEN: usize = 16 * 1024;

/// An AuthID of the old server, not yet looked at further.
pub enum OldAuthId {
    /// `<32 hex digits>:<password>`: what opens which file of the old server's store.
    Version1 {
        /// Lower-case hex: the file's name.
        file: String,
        /// Its password.
        password: SecretString,
    },
    /// `v2:<service>:<refresh token>`.
    Version2 {
        /// What it is for.
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
            let service = ServiceId::parse(service)?;
            return (token.len() >= MIN_TOKEN)
                .then(|| Self::Version2 { service, refresh_token: token.to_owned().into() });
        }
        let is_name = head.len() == 32 && head.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_name && !rest.is_empty())
            .then(|| Self::Version1 { file: head.to_ascii_lowercase(), password: rest.to_owned().into() })
    }

    /// The id of its login.
    pub fn grant(&self) -> GrantId {
        let mut bytes = [0; 16];
        self.derive(b"authseal legacy grant", &mut bytes);
        GrantId::new(bytes)
    }

    /// What a record of its login is named by and kept with.
    pub fn record_secret(&self) -> RecordSecret {
        let mut bytes = Zeroizing::new([0; 32]);
        self.derive(b"authseal legacy bind", bytes.as_mut_slice());
        RecordSecret::new(bytes)
    }

    /// What it is denied by: SHA-256 of its one spelling.
    pub fn digest(&self) -> [u8; 32] {
        let hash = Sha256::new_with_prefix(self.public()).chain_update(self.secret());
        hash.finalize().into()
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

    /// HKDF-SHA256 (RFC 5869): the secret part as input, a label and the rest as info.
    fn derive(&self, label: &[u8], out: &mut [u8]) {
        let public = self.public();
        let info: [&[u8]; 3] = [label, b"\0", public.as_bytes()];
        if Hkdf::<Sha256>::new(None, self.secret().as_bytes()).expand_multi_info(&info, out).is_err() {
            // Cannot be: HKDF-SHA256 gives up to 8160 bytes. What is left at zeros must never be used, so stop here.
            unreachable!("HKDF gives 32 bytes");
        }
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
        let long = format!("v2:box.com:{}", "x".repeat(MAX_LEN));
        let bare = &V1[..33];
        for text in
            ["", ":", "v2:", "v2:box.com", "v2:box.com:short", "v2:Box:token-x", "v2::token-x", bare, &V1[1..], &long]
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
        assert_eq!(derived[0].grant().to_string(), "84fa337a3111533f827b4799bdbaa2db");
        assert_eq!(derived[3].grant().to_string(), "540376fabd36e25522ef05eea262db5a");
        assert_eq!(derived[3].digest()[..], Sha256::digest(V2)[..], "as `sha256sum` says of the AuthID");
    }
}
