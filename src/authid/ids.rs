//! The names in an AuthID: of the service, of the login, of the app registration. None of them is secret.

use crate::seal::{SealError, random};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// The short name of a service, as clients ask for it: `googledrive`, `box.com`. 1 to 32 of `a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ServiceId(Arc<str>);

impl ServiceId {
    /// Most characters in a service id.
    pub const MAX_LEN: usize = 32;

    /// Reads a service id; there is no second spelling.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let fits = (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| Self(text.into()))
    }

    /// Reads what another server may have as an id, with capital letters too: they are other ids. Here such an id is an
    /// alias at most.
    pub fn parse_alias(text: &str) -> Option<Self> {
        Self::parse(&text.to_ascii_lowercase()).map(|_| Self(text.into()))
    }

    /// The id itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not a service id: 1 to 32 of a-z, 0-9, `.`, `_` and `-`"))
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 16 random bytes that name one login. Not secret: they are logged, reported and revoked by. Kept by re-sealing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId([u8; 16]);

impl GrantId {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn random() -> Result<Self, SealError> {
        random().map(Self)
    }

    /// From its bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads 32 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let text: &[u8; 32] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which app registration at the provider a login was made with: the only client that its refresh token is good for.
/// Not secret. Client ids differ in much more than 48 bits hold, and only those of one provider are told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppId([u8; 6]);

impl AppId {
    /// That of a client at a provider, by their ids.
    pub fn new(provider: &str, client_id: &str) -> Self {
        let mut hash = Sha256::new_with_prefix("authseal app v1\0");
        hash.update(provider);
        hash.update([0]);
        hash.update(client_id);
        let hash: [u8; 32] = hash.finalize().into();
        Self(std::array::from_fn(|i| hash[i]))
    }

    /// Reads 8 characters of base64url.
    pub fn parse(text: &str) -> Option<Self> {
        BASE64URL.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_id_has_one_spelling_and_is_shown_in_it() {
        let text = "00090a0f90a0f0ff199aaffa012345de";
        let id = GrantId::parse(text).unwrap();
        assert_eq!(id.as_bytes(), &u128::from_str_radix(text, 16).unwrap().to_be_bytes());
        assert_eq!((id.to_string(), format!("{id:?}")), (text.to_owned(), text.to_owned()));
        for digit in ["A", "F", "g", "/", ":", "`", " ", "\u{e9}"] {
            let other = format!("{digit}{}", &text[digit.len()..]);
            assert!(other.len() == 32 && GrantId::parse(&other).is_none(), "{other}");
        }
        assert!(GrantId::parse(&text[1..]).is_none() && GrantId::parse(&format!("{text}0")).is_none());
    }

    #[test]
    fn a_service_has_no_capital_letters_and_an_alias_may_have_some() {
        for id in ["a", "box.com", "one-drive_2", &"z".repeat(32)] {
            assert_eq!(ServiceId::parse(id).map(|id| id.to_string()).as_deref(), Some(id));
            let alias = id.to_uppercase();
            assert_eq!(ServiceId::parse_alias(&alias).map(|id| id.to_string()), Some(alias.clone()));
            assert!(ServiceId::parse(&alias).is_none(), "{alias}");
        }
        for other in ["", "a b", "a/b", "a:b", "\u{e9}", &"z".repeat(33)] {
            assert!(ServiceId::parse(other).is_none() && ServiceId::parse_alias(other).is_none(), "{other}");
        }
    }
}
