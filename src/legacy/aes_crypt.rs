//! Files of AES Crypt, in which duplicati/oauth-server keeps its tokens and may keep its secrets: stream formats 1 and 2
//! (<https://www.aescrypt.com/aes_file_format.html>), reading alone. Format 3, which that server cannot read either, is
//! named. Nothing is decrypted before its checksum is found right.

use aes::Aes256;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// Rounds of SHA-256 over the password. Some milliseconds, so it is no work for a thread that serves others.
const ROUNDS: u32 = 8192;

/// Why a file did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AesCryptError {
    /// It does not begin as such a file.
    #[error("is not a file of AES Crypt")]
    NotAesCrypt,
    /// Its stream format is none of those that are read.
    #[error("is a file of AES Crypt in stream format {0}; formats 1 and 2 are read")]
    Format(u8),
    /// It ends before it is whole.
    #[error("is cut short")]
    CutShort,
    /// Its key does not open with this password, or the part that holds it is damaged.
    #[error("does not open: the password is another one, or the file is damaged")]
    WrongPassword,
    /// The password is right, and its content is not what was written.
    #[error("is damaged")]
    Damaged,
}

/// The content of such a file.
///
/// # Errors
/// See [`AesCryptError`].
pub fn decrypt(file: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, AesCryptError> {
    let mut rest = file.strip_prefix(b"AES").ok_or(AesCryptError::NotAesCrypt)?;
    let [format, _reserved] = take(&mut rest)?;
    match format {
        1 => {}
        2 => while skip_extension(&mut rest)? {},
        _ => return Err(AesCryptError::Format(format)),
    }
    let iv: [u8; 16] = take(&mut rest)?;
    let sealed: [u8; 48] = take(&mut rest)?;
    let checksum: [u8; 32] = take(&mut rest)?;
    let key = stretched(password, &iv);
    authentic(&key, &sealed, &checksum).ok_or(AesCryptError::WrongPassword)?;
    let inner = plain(&key, &iv, &sealed);
    let (iv, key) = (inner[..16].try_into(), inner[16..].try_into().map(Zeroizing::new));
    let (Ok(iv), Ok(key)) = (iv, key) else { return Err(AesCryptError::Damaged) };

    let length = rest.len().checked_sub(33).ok_or(AesCryptError::CutShort)?;
    let (content, end) = rest.split_at(length);
    let (spare, checksum) = (usize::from(end[0]), &end[1..]);
    // What is cut off at the end of a whole file is not told apart from what is changed in it.
    authentic(&key, content, checksum).ok_or(AesCryptError::Damaged)?;
    if length % 16 != 0 || spare > 15 || (spare > 0 && length == 0) {
        return Err(AesCryptError::Damaged);
    }
    let mut content = plain(&key, &iv, content);
    content.truncate(if spare == 0 { length } else { length - 16 + spare });
    Ok(content)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], AesCryptError> {
    let (taken, after) = rest.split_first_chunk().ok_or(AesCryptError::CutShort)?;
    *rest = after;
    Ok(*taken)
}

/// Names and values that say nothing of the content. The empty one is the last.
fn skip_extension(rest: &mut &[u8]) -> Result<bool, AesCryptError> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    *rest = rest.get(length..).ok_or(AesCryptError::CutShort)?;
    Ok(length > 0)
}

fn stretched(password: &str, iv: &[u8; 16]) -> Zeroizing<[u8; 32]> {
    let password: Zeroizing<Vec<u8>> = Zeroizing::new(password.encode_utf16().flat_map(u16::to_le_bytes).collect());
    let mut key = Zeroizing::new([0; 32]);
    key[..16].copy_from_slice(iv);
    for _ in 0..ROUNDS {
        let digest = Sha256::new().chain_update(*key).chain_update(&*password).finalize();
        key.copy_from_slice(&digest);
    }
    key
}

fn authentic(key: &[u8; 32], data: &[u8], checksum: &[u8]) -> Option<()> {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).ok()?;
    mac.chain_update(data).verify_slice(checksum).ok()
}

/// Whole blocks, decrypted.
fn plain(key: &[u8; 32], iv: &[u8; 16], data: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(data.to_vec());
    let decryptor = cbc::Decryptor::<Aes256>::new(key.into(), iv.into());
    if decryptor.decrypt_padded::<NoPadding>(&mut plain).is_err() {
        plain.clear();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oauth-server").join(name)
    }

    #[test]
    fn a_file_of_secrets_opens_with_its_passphrase_and_nothing_else() {
        let file = fs::read(fixture("secrets.json.aes")).unwrap();
        assert_eq!(*decrypt(&file, "correct horse").unwrap(), fs::read(fixture("secrets.json")).unwrap());
        for wrong in ["correct horsf", "correct hors", "correct horse ", "", "Correct horse"] {
            assert_eq!(decrypt(&file, wrong).err(), Some(AesCryptError::WrongPassword), "{wrong:?}");
        }
    }

    #[test]
    fn no_byte_that_counts_can_be_changed_and_nothing_cut_off() {
        let file = fs::read(fixture("secrets.json.aes")).unwrap();
        // Behind the extensions, whose names and values count for nothing.
        let head = file.len() - 341usize.next_multiple_of(16) - 33 - 96;
        for at in (head..file.len()).step_by(7).chain([0, 2, 3]) {
            let mut changed = file.clone();
            changed[at] ^= 0x10;
            assert!(decrypt(&changed, "correct horse").is_err(), "byte {at}");
        }
        for length in (0..file.len()).step_by(11) {
            assert!(decrypt(&file[..length], "correct horse").is_err(), "{length} bytes");
        }
        assert_eq!(decrypt(b"{\"GD_CLIENT_ID\":\"x\"}", "").err(), Some(AesCryptError::NotAesCrypt));
        assert_eq!(decrypt(b"AES\x03\x00\x00\x00", "").err(), Some(AesCryptError::Format(3)));
        assert_eq!(decrypt(b"AES\x02\x00\xff\xff", "").err(), Some(AesCryptError::CutShort));
    }
}
