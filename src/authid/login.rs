//! A login: what is inside an AuthID.

use super::ServiceId;
use crate::clock::UnixTime;
use crate::seal::{SealError, random};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;
use zeroize::Zeroizing;

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

/// 32 random bytes known only to the holder of the AuthID (and to this server while it is open): what a stored record
/// of this login is named by and sealed with. Kept by re-sealing.
#[derive(Clone)]
pub struct Bind(Zeroizing<[u8; 32]>);

impl Bind {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn random() -> Result<Self, SealError> {
        random().map(Zeroizing::new).map(Self)
    }

    /// Its bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// One person's login at one service.
#[derive(Clone)]
pub struct Login {
    /// Where.
    pub service: ServiceId,
    /// Which login.
    pub grant: GrantId,
    /// The provider's refresh token.
    pub refresh_token: SecretString,
    /// When the refresh token came from the provider. A move to a newer key alone keeps it.
    pub sealed_at: UnixTime,
    /// When the person logged in.
    pub login_at: UnixTime,
    /// See [`Bind`].
    pub bind: Bind,
}

/// The times that an AuthID can hold: what RFC 3339 can write, from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
const TIMES: RangeInclusive<UnixTime> = 0..=253_402_300_799;

/// The plaintext: compact JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content<'a> {
    #[serde(borrow)]
    token: std::borrow::Cow<'a, str>,
    sealed: UnixTime,
    login: UnixTime,
    bind: &'a str,
}

impl Login {
    pub(super) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let bind = Zeroizing::new(BASE64URL.encode(self.bind.0.as_slice()));
        let content = Content {
            token: self.refresh_token.expose_secret().into(),
            sealed: self.sealed_at,
            login: self.login_at,
            bind: &bind,
        };
        // Strings and numbers always serialise.
        Zeroizing::new(serde_json::to_vec(&content).unwrap_or_default())
    }

    pub(super) fn from_json(json: &[u8], service: ServiceId, grant: GrantId) -> Option<Self> {
        // serde would take an array of the members' values for the object.
        let content: Content<'_> = json.starts_with(b"{").then(|| serde_json::from_slice(json).ok()).flatten()?;
        if content.token.is_empty() || !TIMES.contains(&content.sealed) || !TIMES.contains(&content.login) {
            return None;
        }
        let mut bind = Zeroizing::new([0; 32]);
        (BASE64URL.decode_slice(content.bind, bind.as_mut_slice()).ok()? == 32).then_some(())?;
        Some(Self {
            service,
            grant,
            refresh_token: SecretString::from(content.token.into_owned()),
            sealed_at: content.sealed,
            login_at: content.login,
            bind: Bind(bind),
        })
    }
}
