//! Defence against login CSRF (RFC 9700 section 4.7, RFC 6749 section 10.12): a random cookie binds `state` to the
//! browser in which the login began, so that nobody can finish their own login in somebody else's browser. One cookie per
//! browser, used by all its tabs; sealed contexts hold a hash of it.

use crate::mitigation::{self, Mitigation};
use crate::seal::{SealError, random};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// 128 random bits in a browser's cookie.
#[derive(Clone)]
pub struct BrowserCookie([u8; 16]);

/// The first 16 bytes of a browser cookie's SHA-256: what sealed contexts and states hold.
#[derive(Clone, Debug)]
pub struct CookieHash(pub(super) [u8; 16]);

impl BrowserCookie {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn random() -> Result<Self, SealError> {
        random().map(Self)
    }

    /// Reads a cookie's value: 22 characters of base64url.
    pub fn parse(cookie: &str) -> Option<Self> {
        BASE64URL.decode(cookie).ok()?.try_into().ok().map(Self)
    }

    /// The cookie's value.
    pub fn to_cookie(&self) -> String {
        BASE64URL.encode(self.0)
    }

    /// What to seal.
    pub fn hash(&self) -> CookieHash {
        let hash: [u8; 32] = Sha256::digest(self.0).into();
        CookieHash(std::array::from_fn(|i| hash[i]))
    }

    /// Whether `hash` was made from this browser cookie, in constant time.
    pub fn matches(&self, hash: &CookieHash) -> bool {
        !mitigation::on(Mitigation::BrowserCookie) || self.hash().0.ct_eq(&hash.0).into()
    }
}
