//! A login: what is inside an AuthID. How it is written is in `content`.

use super::ServiceId;
use super::content::Unknown;
use crate::clock::UnixTime;
use crate::seal::{SealError, random};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use std::fmt;
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
pub struct RecordSecret(Zeroizing<[u8; 32]>);

impl RecordSecret {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn random() -> Result<Self, SealError> {
        random().map(Zeroizing::new).map(Self)
    }

    /// From its bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads what [`RecordSecret::print`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        (BASE64URL.decode_slice(text, bytes.as_mut_slice()).ok()? == 32).then_some(Self(bytes))
    }

    pub(super) fn print(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL.encode(self.0.as_slice()))
    }
}

/// Which app registration at the provider a login was made with: the only client that its refresh token is good for.
/// Not secret. Client ids differ in much more than 48 bits hold, and only those of one provider are told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppId([u8; 6]);

impl AppId {
    /// That of a client at a provider, by their ids.
    pub fn of(provider: &str, client_id: &str) -> Self {
        let mut hash = Sha256::new_with_prefix("authseal app v1\0");
        hash.update(provider);
        hash.update([0]);
        hash.update(client_id);
        let hash: [u8; 32] = hash.finalize().into();
        Self(std::array::from_fn(|i| hash[i]))
    }

    /// Reads 8 characters of base64url.
    pub(super) fn parse(text: &str) -> Option<Self> {
        BASE64URL.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL.encode(self.0))
    }
}

/// One person's login at one service.
#[derive(Clone)]
pub struct Grant {
    /// Where.
    pub service: ServiceId,
    /// Which login.
    pub id: GrantId,
    /// The provider's refresh token.
    pub refresh_token: SecretString,
    /// When the refresh token came from the provider. A move to a newer key alone keeps it.
    pub sealed_at: UnixTime,
    /// When the person logged in.
    pub login_at: UnixTime,
    /// See [`RecordSecret`].
    pub record_secret: RecordSecret,
    /// The app registration that it was made with, if that is known.
    pub app: Option<AppId>,
    /// When the refresh token ends, if the provider said so at the login.
    pub ends_at: Option<UnixTime>,
    /// What a newer version of this server wrote beside these.
    pub unknown: Unknown,
}

impl Grant {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn new(service: ServiceId, refresh_token: SecretString, now: UnixTime) -> Result<Self, SealError> {
        Ok(Self {
            service,
            id: GrantId::random()?,
            refresh_token,
            sealed_at: now,
            login_at: now,
            record_secret: RecordSecret::random()?,
            app: None,
            ends_at: None,
            unknown: Unknown::default(),
        })
    }

    /// The same login around another refresh token, which came at `sealed_at`. What was said of the old one's end is
    /// not true of it.
    pub fn renewed(&self, refresh_token: SecretString, sealed_at: UnixTime) -> Self {
        Self { refresh_token, sealed_at, ends_at: None, ..self.clone() }
    }
}
