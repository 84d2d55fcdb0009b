//! Sealing: bytes in, bytes out, under the key of one epoch and one purpose.
//!
//! The cipher is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), the only one; there is nothing to negotiate. A key
//! belongs to one epoch and one [`Purpose`], so that what was sealed as a login state never opens as an AuthID.
//! This room does no I/O, reads no clock and knows no configuration.

mod key;
mod keyring;
mod keyring_number;
mod sealed_param;
mod purpose;
#[cfg(test)]
pub(crate) mod testing;

pub use key::{EpochKeys, Key, KeyTextError, SealError, derive_from, new_secret_text, random};
pub use keyring::{Entry, KeyState, Keyring, KeyringError, NoKey};
pub use keyring_number::KeyringNumber;
pub use purpose::Purpose;
pub use sealed_param::OpenedParam;

use serde::Deserialize;
use std::fmt;

/// The number of a key generation: 1 to 4294967295. Higher is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "i64")]
pub struct Epoch(u32);

impl Epoch {
    /// The epoch of a new keyring's key.
    pub const FIRST: Self = Self(1);

    /// The epoch's number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Reads the one spelling of an epoch: decimal digits without a leading zero or sign.
    pub fn parse(text: &str) -> Option<Self> {
        let canonical = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        canonical.then(|| text.parse().ok()).flatten().map(Self)
    }
}

impl TryFrom<i64> for Epoch {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(format!("an epoch is a number from 1 to {}, not {number}", u32::MAX)),
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
