//! URL and cookie values that only this server can read: sealed to travel as text through browsers and to be opened
//! here again, by any replica. `base64url(epoch (4, big endian) | nonce (24) | ciphertext | tag (16))`, under the
//! primary's key for one purpose. The epoch and what the caller adds are associated data.

use super::{Epoch, Keyring, Purpose, SealError};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use zeroize::Zeroizing;

/// A value that opened.
pub struct OpenedParam {
    /// The epoch it was sealed under.
    pub epoch: Epoch,
    /// Its nonce; it never comes twice.
    pub nonce: [u8; 24],
    /// What was sealed.
    pub plaintext: Zeroizing<Vec<u8>>,
}

impl Keyring {
    /// Seals `plaintext` for `purpose`, bound to `added`. Returns the text and its nonce.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn seal_param(
        &self,
        purpose: Purpose,
        added: &[u8],
        plaintext: &[u8],
    ) -> Result<(String, [u8; 24]), SealError> {
        let keys = self.primary();
        let mut bytes = keys.epoch().number().to_be_bytes().to_vec();
        let sealed = keys.key(purpose).seal(&[&bytes, added].concat(), plaintext)?;
        let nonce = sealed.first_chunk().copied().unwrap_or([0; 24]); // `seal` puts it first
        bytes.extend(sealed);
        Ok((BASE64URL.encode(bytes), nonce))
    }

    /// Opens what [`Keyring::seal_param`] made for the same `purpose` and `added`; `None` for anything else.
    pub fn open_param(&self, text: &str, purpose: Purpose, added: &[u8]) -> Option<OpenedParam> {
        let bytes = BASE64URL.decode(text).ok()?;
        let (epoch_bytes, sealed) = bytes.split_first_chunk::<4>()?;
        let epoch = Epoch::try_from(i64::from(u32::from_be_bytes(*epoch_bytes))).ok()?;
        let associated = [epoch_bytes.as_slice(), added].concat();
        let plaintext = self.keys(epoch).ok()?.key(purpose).open(&associated, sealed)?;
        Some(OpenedParam { epoch, nonce: *sealed.first_chunk()?, plaintext })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::keyring;
    use super::*;

    #[test]
    fn a_parameter_opens_for_its_purpose_and_what_was_added_alone() {
        let (ours, theirs) = (keyring(2, &[1, 2]), keyring(2, &[1, 2]));
        let (text, nonce) = ours.seal_param(Purpose::State, b"added", b"plain").unwrap();
        let opened = ours.open_param(&text, Purpose::State, b"added").unwrap();
        assert_eq!((opened.epoch, opened.nonce, opened.plaintext.as_slice()), (Epoch(2), nonce, b"plain".as_slice()));
        assert!(ours.open_param(&text, Purpose::Context, b"added").is_none());
        assert!(ours.open_param(&text, Purpose::State, b"other").is_none());
        assert!(theirs.open_param(&text, Purpose::State, b"added").is_none());
        let (again, other) = ours.seal_param(Purpose::State, b"added", b"plain").unwrap();
        assert!(again != text && other != nonce, "a nonce never comes twice");
    }

    #[test]
    fn no_byte_of_a_parameter_can_be_changed_or_left_out() {
        let keyring = keyring(2, &[1, 2, 3]);
        let (text, _) = keyring.seal_param(Purpose::State, b"", b"plain").unwrap();
        let bytes = BASE64URL.decode(&text).unwrap();
        let opens = |bytes: &[u8]| keyring.open_param(&BASE64URL.encode(bytes), Purpose::State, b"").is_some();
        assert!(opens(&bytes));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[at] ^= 1 << bit;
                assert!(!opens(&other), "bit {bit} of byte {at}");
            }
            assert!(!opens(&bytes[..at]), "{at} bytes");
        }
    }
}
