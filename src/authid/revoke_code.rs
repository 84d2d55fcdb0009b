//! The revoke code: it withdraws one login and opens nothing, so that the login can be ended when its AuthID was lost or
//! stolen. Nothing of it is stored: its tag is derived from the epoch's secret, and so it ends with its epoch.
//!
//! `revoke:<service>:<epoch>:<grant id (16) | tag (14), base32, in groups of 8>`. There is one spelling for each code.

use super::{GrantId, OpenError, ServiceId};
use crate::mitigation::{self, Mitigation};
use crate::seal::{Epoch, EpochKeys, Keyring, Purpose};
use secrecy::SecretString;
use subtle::ConstantTimeEq;

const PREFIX: &str = "revoke:";
/// Crockford's base32 in lower case: without i, l, o and u, which are mistaken for others or make words.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Bytes of the tag: 112 bits that nobody guesses, and with the grant id a whole number of groups.
const TAG_LEN: usize = 14;
/// Bytes in a group of 8 characters.
const GROUP: usize = 5;

/// A revoke code. What it names is a claim until it was [checked](RevokeCode::check).
pub struct RevokeCode {
    /// Where the login is.
    pub service: ServiceId,
    /// The epoch whose key made the code.
    pub epoch: Epoch,
    /// The login.
    pub grant: GrantId,
    tag: [u8; TAG_LEN],
}

impl RevokeCode {
    /// The code that withdraws a login.
    pub fn new(keys: &EpochKeys, service: &ServiceId, grant: GrantId) -> Self {
        Self { service: service.clone(), epoch: keys.epoch(), grant, tag: tag(keys, service, grant) }
    }

    /// Reads a code: outer white space is dropped, and nothing else is corrected. What people paste is read with
    /// [`RevokeCode::find`].
    pub fn parse(text: &str) -> Option<Self> {
        let (service, rest) = text.trim_ascii().strip_prefix(PREFIX)?.split_once(':')?;
        let (epoch, body) = rest.split_once(':')?;
        let (grant, tag) = decode(body)?;
        Some(Self { service: ServiceId::parse(service)?, epoch: Epoch::parse(epoch)?, grant: GrantId::new(grant), tag })
    }

    /// Whether the code was made here, with the one key that its epoch names. Compares in constant time.
    ///
    /// # Errors
    /// When that key is not here or the code is not of its making.
    pub fn check(&self, keyring: &Keyring) -> Result<(), OpenError> {
        let keys = keyring.keys(self.epoch).map_err(OpenError::NoKey)?;
        let right = tag(keys, &self.service, self.grant).ct_eq(&self.tag);
        if mitigation::on(Mitigation::RevokeCodeTag) && !bool::from(right) { Err(OpenError::Forged) } else { Ok(()) }
    }

    /// The text, to hand to the login's owner.
    pub fn print(&self) -> SecretString {
        let bytes = [self.grant.as_bytes().as_slice(), &self.tag].concat();
        let groups: Vec<_> = bytes.chunks(GROUP).map(encode_group).collect();
        format!("{PREFIX}{}:{}:{}", self.service, self.epoch, groups.join("-")).into()
    }
}

/// `HKDF-SHA256(secret, info | 0x00 | length of service (1) | service | grant id)`, its first bytes.
fn tag(keys: &EpochKeys, service: &ServiceId, grant: GrantId) -> [u8; TAG_LEN] {
    let service = service.as_str().as_bytes();
    let length = [service.len() as u8]; // at most 32, ServiceId::MAX_LEN
    let input = [&length, service, grant.as_bytes()].concat();
    let derived = keys.derive(Purpose::RevokeCode, &input);
    std::array::from_fn(|i| derived[i])
}

fn encode_group(bytes: &[u8]) -> String {
    let number = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    (0..8).rev().map(|digit| char::from(ALPHABET[(number >> (5 * digit)) as usize % 32])).collect()
}

/// Six groups of eight, nothing between them but a dash: 240 bits, so none is left over.
fn decode(body: &str) -> Option<([u8; 16], [u8; TAG_LEN])> {
    let mut bytes = Vec::with_capacity(16 + TAG_LEN);
    for group in body.split('-') {
        let value = |digit: u8| ALPHABET.iter().position(|known| *known == digit);
        let add = |number: u64, digit: u8| Some(number << 5 | value(digit)? as u64);
        let number = group.bytes().try_fold(0, add).filter(|_| group.len() == 8)?;
        bytes.extend_from_slice(&number.to_be_bytes()[8 - GROUP..]);
    }
    let (grant, tag) = bytes.split_first_chunk()?;
    Some((*grant, tag.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::NoKey;
    use crate::seal::testing::keyring;
    use secrecy::ExposeSecret;

    fn code(keyring: &Keyring) -> String {
        let service = ServiceId::parse("box.com").unwrap();
        RevokeCode::new(keyring.primary(), &service, GrantId::random().unwrap()).print().expose_secret().to_owned()
    }

    fn holds(keyring: &Keyring, text: &str) -> bool {
        RevokeCode::parse(text).is_some_and(|code| code.check(keyring).is_ok())
    }

    #[test]
    fn a_code_names_its_login_and_reads_back() {
        let keyring = keyring(7, &[7]);
        let (service, grant) = (ServiceId::parse("box.com").unwrap(), GrantId::random().unwrap());
        let printed = RevokeCode::new(keyring.primary(), &service, grant).print();
        let text = printed.expose_secret();
        assert!(text.starts_with("revoke:box.com:7:") && text.len() == 17 + 48 + 5, "{text}");
        let code = RevokeCode::parse(&format!(" {text}\n")).unwrap();
        assert_eq!((&code.service, code.epoch.number(), code.grant), (&service, 7, grant));
        assert_eq!(code.check(&keyring), Ok(()));
        assert_eq!(code.print().expose_secret(), text);
    }

    #[test]
    fn no_character_of_a_code_can_be_changed() {
        let keyring = keyring(1, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let text = code(&keyring);
        for (at, old) in text.char_indices() {
            for new in "0o1il9zu-:Ab ".chars().filter(|new| *new != old) {
                let mut other = text.clone();
                other.replace_range(at..=at, new.encode_utf8(&mut [0; 4]));
                assert!(!holds(&keyring, &other), "{other}");
            }
            assert!(!holds(&keyring, &text[..at]));
        }
        for other in [text.to_uppercase(), text.replace('-', ""), format!("{text}-"), format!("{text}-00000000")] {
            assert!(RevokeCode::parse(&other).is_none(), "{other}");
        }
        assert!(holds(&keyring, &text));
    }

    #[test]
    fn a_code_counts_with_the_key_of_its_epoch_alone() {
        let (ours, theirs, newer) = (keyring(1, &[1]), keyring(1, &[1]), keyring(2, &[2]));
        let check = |text: &str| RevokeCode::parse(text).unwrap().check(&ours);
        assert_eq!(check(&code(&theirs)), Err(OpenError::Forged));
        assert_eq!(check(&code(&newer)), Err(OpenError::NoKey(NoKey::Newer)));
    }
}
