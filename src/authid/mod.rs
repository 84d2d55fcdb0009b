//! The AuthID: what a user keeps. It names a service and holds that service's refresh token, sealed.
//!
//! `v3:<service>:<epoch>:<base64url of grant id (16) | nonce (24) | ciphertext | tag (16)>`. Everything outside the
//! ciphertext is its associated data, so nothing can be swapped. There is one spelling for each AuthID: a second one
//! would slip past lists of revoked ones. `docs/authid-format.md` describes the format for other implementations.

mod content;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod grant;
mod ids;
mod pasted;
mod revoke_code;
mod text;

pub use grant::{Grant, RecordSecret, Unknown};
pub use ids::{AppId, GrantId, ServiceId};
pub use pasted::{strip, tidy};
pub use revoke_code::RevokeCode;
pub use text::{AuthId, Envelope, ParseError};

use crate::seal::{Epoch, EpochKeys, Keyring, NoKey, Purpose, SealError};
use secrecy::ExposeSecret;
use thiserror::Error;

/// The longest AuthID, in bytes.
pub const MAX_LEN: usize = 6 * 1024;

/// Why an AuthID of the right shape did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// There is no key for its epoch.
    #[error("no key for its epoch: {0}")]
    NoKey(NoKey),
    /// It was not made with the key of its epoch, or was changed since.
    #[error("sealed with another server's key, or damaged")]
    Forged,
}

/// Why a login could not be sealed.
#[derive(Debug, Error)]
pub enum SealLoginError {
    /// The refresh token is empty. What was sealed of it would never open.
    #[error("the provider's refresh token is empty")]
    NoToken,
    /// The refresh token is too long to fit [`MAX_LEN`].
    #[error("the provider's refresh token is too long to be sealed into an AuthID")]
    TooLong,
    /// No randomness.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Seals a grant under the keyring's primary.
///
/// # Errors
/// When the refresh token is empty or too long, or there is no randomness.
pub fn seal(keys: &EpochKeys, grant: &Grant) -> Result<AuthId, SealLoginError> {
    if grant.refresh_token.expose_secret().is_empty() {
        return Err(SealLoginError::NoToken);
    }
    let plaintext = grant.to_json();
    let associated = associated_data(&grant.service, keys.epoch(), grant.id);
    let mut body = grant.id.as_bytes().to_vec();
    body.extend(keys.authid().seal(&associated, &plaintext)?);
    AuthId::encode(&grant.service, keys.epoch(), &body).ok_or(SealLoginError::TooLong)
}

impl Envelope {
    /// Opens the AuthID with the one key that its epoch names.
    ///
    /// # Errors
    /// When that key is not here or does not fit.
    pub fn open(&self, keyring: &Keyring) -> Result<Grant, OpenError> {
        let keys = keyring.keys(self.epoch).map_err(OpenError::NoKey)?;
        let associated = associated_data(&self.service, self.epoch, self.grant);
        let plaintext = keys.authid().open(&associated, self.sealed()).ok_or(OpenError::Forged)?;
        // What opens was sealed here, so other content is an error of ours; no one else can tell, so say the same.
        Grant::from_json(&plaintext, self.service.clone(), self.grant).ok_or(OpenError::Forged)
    }
}

/// `label | 0x00 | length of service (1) | service | epoch (4, big endian) | grant id (16)`.
fn associated_data(service: &ServiceId, epoch: Epoch, grant: GrantId) -> Vec<u8> {
    let service = service.as_str().as_bytes();
    let mut data = Vec::with_capacity(64);
    data.extend_from_slice(Purpose::AuthId.info());
    data.push(0);
    data.push(service.len() as u8); // at most 32, ServiceId::MAX_LEN
    data.extend_from_slice(service);
    data.extend_from_slice(&epoch.number().to_be_bytes());
    data.extend_from_slice(grant.as_bytes());
    data
}
