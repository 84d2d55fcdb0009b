//! Changes as they travel: lines of text, sealed, `version (1) | epoch (4, big endian) | nonce (24) | ciphertext | tag (16)`.
//! Version and epoch are associated data. Whoever has no key of the keyring can neither make one nor read in it.

use crate::denylist::Change;
use crate::seal::{Epoch, Keyring, Purpose, SealError};

const VERSION: u8 = 1;
/// The most bytes of text in one, so that it is a blob that the store takes.
pub(super) const MAX_TEXT: usize = 24 * 1024;

/// `changes` as texts to seal, each as long as can be.
pub(super) fn texts(changes: &[Change]) -> Vec<String> {
    let mut texts = vec![String::new()];
    for change in changes {
        let line = format!("{change}\n");
        match texts.last_mut() {
            Some(text) if text.len() + line.len() <= MAX_TEXT => text.push_str(&line),
            _ => texts.push(line),
        }
    }
    texts.retain(|text| !text.is_empty());
    texts
}

/// Seals a text under the primary's key.
///
/// # Errors
/// When the operating system has no randomness.
pub(super) fn seal(keyring: &Keyring, text: &str) -> Result<Vec<u8>, SealError> {
    let keys = keyring.primary();
    let mut bytes = vec![VERSION];
    bytes.extend(keys.epoch().number().to_be_bytes());
    let sealed = keys.key(Purpose::Replication).seal(&bytes, text.as_bytes())?;
    bytes.extend(sealed);
    Ok(bytes)
}

/// The changes in what [`seal`] made; `None` for anything else, and for a key that is not here. Lines that this version
/// does not know are left out.
pub(super) fn open(keyring: &Keyring, bytes: &[u8]) -> Option<Vec<Change>> {
    let (head, sealed) = bytes.split_first_chunk::<5>()?;
    let [version, epoch @ ..] = *head;
    let epoch = Epoch::try_from(i64::from(u32::from_be_bytes(epoch))).ok().filter(|_| version == VERSION)?;
    let text = keyring.keys(epoch).ok()?.key(Purpose::Replication).open(head, sealed)?;
    Some(std::str::from_utf8(&text).ok()?.lines().filter_map(Change::parse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::testing::key_table;

    #[test]
    fn what_was_sealed_opens_with_the_same_key_whole_and_nothing_else_does() {
        let keyring = |epoch| Keyring::parse(&format!("primary = {epoch}\n{}", key_table(epoch))).unwrap();
        let line = "+1795428000 grant 00112233445566778899aabbccddeeff through 4 at 2026-11-23T10:00:00Z";
        let changes: Vec<_> =
            [line, "+0 epoch 3", "-1795428000 epoch 3 service dropbox"].map(|line| Change::parse(line).unwrap()).into();
        assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>()[0], line);
        let one = keyring(1);
        let sealed = seal(&one, &texts(&changes)[0]).unwrap();
        assert_eq!(open(&one, &sealed).unwrap(), changes);
        assert!(open(&keyring(2), &sealed).is_none());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(open(&one, &damaged).is_none(), "{at}");
            assert!(open(&one, &sealed[..at]).is_none(), "{at}");
        }
        for line in ["", "epoch 3", "+ epoch 3", "+-1 epoch 3", "+1 epoch 0", "+1", "*1 epoch 3", "+1 removed 3"] {
            assert!(Change::parse(line).is_none(), "{line}");
        }
        let many: Vec<_> = (0..1000).map(|_| changes[0].clone()).collect();
        let texts = texts(&many);
        assert!(texts.len() > 2 && texts.iter().all(|text| text.len() <= MAX_TEXT));
        assert_eq!(texts.concat().lines().count(), 1000);
    }
}
