//! The keyring: which epochs there are, and what each may still do. Made from the text of a TOML file; reading the
//! file is left to others.
//!
//! Exactly one epoch is primary: it seals. Lower ones only open. A higher one is *staged*: it opens already, so that
//! every replica knows it before any replica seals with it.

use super::key::hex;
use super::keyring_number::KeyringNumber;
use super::{Epoch, EpochKeys, KeyTextError};
use crate::unseen;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// A checked keyring.
pub struct Keyring {
    number: KeyringNumber,
    primary: Epoch,
    min_epoch: Option<Epoch>,
    entries: BTreeMap<Epoch, Entry>,
}

/// What the keyring file says of one epoch.
pub struct Entry {
    /// When the key was made, RFC 3339.
    pub created: Option<jiff::Timestamp>,
    /// The keys, or when they were given up.
    pub keys: Result<EpochKeys, jiff::Timestamp>,
}

/// What an epoch may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Newer than the primary: opens, does not seal yet.
    Staged,
    /// Seals and opens.
    Primary,
    /// Opens.
    Open,
    /// The secret is gone; nothing opens.
    Retired,
    /// Below `min_epoch`; nothing opens.
    BelowFloor,
}

impl KeyState {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Staged, Self::Primary, Self::Open, Self::Retired, Self::BelowFloor];

    /// In one word, for programs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Primary => "primary",
            Self::Open => "open",
            Self::Retired => "retired",
            Self::BelowFloor => "below_min_epoch",
        }
    }
}

impl fmt::Display for KeyState {
    /// In words for operators, at most 15 characters; fills a width.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if *self == Self::BelowFloor { "below min_epoch" } else { self.label() })
    }
}

/// Why nothing sealed under an epoch can be opened here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// Above all that this keyring knows; a replica with a newer one may open it.
    Newer,
    /// Not in the keyring.
    Absent,
    /// Given up by the operator.
    Retired,
    /// Below the keyring's floor.
    BelowFloor,
}

impl fmt::Display for NoKey {
    /// The end of a sentence that begins with "this epoch is".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Newer => "newer than all in the keyring",
            Self::Absent => "not in the keyring",
            Self::Retired => "retired",
            Self::BelowFloor => "below the keyring's min_epoch",
        })
    }
}

/// Why a keyring was refused. Names what to fix; never holds a secret.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum KeyringError {
    #[error(
        "the keyring is not valid TOML of the expected form{0}; `primary = EPOCH` names the key that seals, and each key is a `[[key]]` table with `epoch`, `created`, and `secret` or `retired`"
    )]
    Toml(String),
    #[error("the secret of epoch {0} {1}")]
    Secret(Epoch, KeyTextError),
    #[error("the entry for epoch {0} holds the secret of epoch {1}; give each secret the entry of its own epoch")]
    Swapped(Epoch, Epoch),
    #[error("epoch {0} appears twice; keep one `[[key]]` per epoch")]
    Twice(Epoch),
    #[error("epochs {0} and {1} have the same secret; make a new one with `authseal keys new`")]
    SameSecret(Epoch, Epoch),
    #[error("epoch {0} needs either `secret` or `retired`, and not both")]
    SecretOrRetired(Epoch),
    #[error("epoch {0}: `{1}` is not a time like 2026-11-23T10:00:00Z")]
    Time(Epoch, &'static str),
    #[error("`primary = {0}` names an epoch that the keyring holds no secret for")]
    NoPrimary(Epoch),
    #[error("`min_epoch = {0}` is above `primary = {1}`: everything sealed from now on would be refused")]
    FloorAbovePrimary(Epoch, Epoch),
}

impl Keyring {
    /// Reads and checks a keyring.
    ///
    /// # Errors
    /// The first error found.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let file: File = toml::from_str(text).map_err(|error| KeyringError::Toml(place(text, &error)))?;
        let mut entries: BTreeMap<Epoch, Entry> = BTreeMap::new();
        for key in file.key {
            let epoch = key.epoch;
            let entry = key.check()?;
            if entries.contains_key(&epoch) {
                return Err(KeyringError::Twice(epoch));
            }
            if let Ok(new) = &entry.keys {
                let twin = |(_, old): &(&Epoch, &Entry)| old.keys.as_ref().is_ok_and(|old| old.same_secret(new));
                if let Some((other, _)) = entries.iter().find(twin) {
                    return Err(KeyringError::SameSecret(*other, epoch));
                }
            }
            entries.insert(epoch, entry);
        }
        if entries.get(&file.primary).is_none_or(|entry| entry.keys.is_err()) {
            return Err(KeyringError::NoPrimary(file.primary));
        }
        if let Some(floor) = file.min_epoch.filter(|floor| *floor > file.primary) {
            return Err(KeyringError::FloorAbovePrimary(floor, file.primary));
        }
        Ok(Self { number: KeyringNumber::next(), primary: file.primary, min_epoch: file.min_epoch, entries })
    }

    /// Which it is. What was opened under it need not be opened again while it is in force.
    pub fn number(&self) -> KeyringNumber {
        self.number
    }

    /// The keys that seal.
    pub fn primary(&self) -> &EpochKeys {
        match self.entries.get(&self.primary).map(|entry| &entry.keys) {
            Some(Ok(keys)) => keys,
            // `parse` refuses a keyring without it, and nothing removes entries.
            _ => unreachable!("a keyring has its primary"),
        }
    }

    /// The keys that open what was sealed under `epoch`.
    ///
    /// # Errors
    /// Says why there are none.
    pub fn keys(&self, epoch: Epoch) -> Result<&EpochKeys, NoKey> {
        if self.min_epoch.is_some_and(|floor| epoch < floor) {
            return Err(NoKey::BelowFloor);
        }
        match self.entries.get(&epoch).map(|entry| &entry.keys) {
            Some(Ok(keys)) => Ok(keys),
            Some(Err(_)) => Err(NoKey::Retired),
            None if epoch > self.newest() => Err(NoKey::Newer),
            None => Err(NoKey::Absent),
        }
    }

    /// The highest epoch in the keyring, staged ones included.
    pub fn newest(&self) -> Epoch {
        self.entries.keys().next_back().copied().unwrap_or(self.primary)
    }

    /// The keys under which something short-lived may have been sealed by a replica one rotation ahead or behind:
    /// the primary, then the nearest newer and the nearest older epoch that open.
    pub fn around_primary(&self) -> impl Iterator<Item = &EpochKeys> {
        let open = |(epoch, _): (&Epoch, &Entry)| self.keys(*epoch).ok();
        let newer = self.entries.iter().filter(|(epoch, _)| **epoch > self.primary).find_map(open);
        let older = self.entries.iter().rev().filter(|(epoch, _)| **epoch < self.primary).find_map(open);
        std::iter::once(self.primary()).chain(newer).chain(older)
    }

    /// The lowest epoch that still opens, if there is a floor.
    pub fn min_epoch(&self) -> Option<Epoch> {
        self.min_epoch
    }

    /// What two replicas compare: 64 hex digits, equal if and only if their keyrings do the same. The SHA-256 of these
    /// lines, each with its newline, the epochs from the oldest to the newest and `-` for what there is not:
    /// `authseal-keyring 1`, `min_epoch <epoch>`, and for each epoch `<epoch> <state> <fingerprint>`.
    pub fn digest(&self) -> String {
        let floor = self.min_epoch.map_or_else(|| "-".to_owned(), |floor| floor.to_string());
        let mut text = format!("authseal-keyring 1\nmin_epoch {floor}\n");
        for (epoch, state, entry) in self.entries() {
            let fingerprint = entry.keys.as_ref().map_or_else(|_| "-".to_owned(), EpochKeys::fingerprint);
            text.push_str(&format!("{epoch} {} {fingerprint}\n", state.label()));
        }
        hex(Sha256::digest(text).iter())
    }

    /// All epochs from the oldest to the newest.
    pub fn entries(&self) -> impl Iterator<Item = (Epoch, KeyState, &Entry)> {
        self.entries.iter().map(|(epoch, entry)| {
            let state = match self.keys(*epoch) {
                Err(NoKey::BelowFloor) => KeyState::BelowFloor,
                Err(_) => KeyState::Retired,
                Ok(_) if *epoch > self.primary => KeyState::Staged,
                Ok(_) if *epoch == self.primary => KeyState::Primary,
                Ok(_) => KeyState::Open,
            };
            (*epoch, state, entry)
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    primary: Epoch,
    min_epoch: Option<Epoch>,
    #[serde(default)]
    key: Vec<FileKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    epoch: Epoch,
    created: Option<TextOrTime>,
    secret: Option<String>,
    retired: Option<TextOrTime>,
}

/// TOML has times of its own; operators quote them or not.
#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrTime {
    Text(String),
    Time(toml::value::Datetime),
}

impl TextOrTime {
    fn read(self) -> Option<jiff::Timestamp> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Time(time) => time.to_string().parse().ok(),
        }
    }
}

impl FileKey {
    fn check(self) -> Result<Entry, KeyringError> {
        let epoch = self.epoch;
        let time = |value: Option<TextOrTime>, name| match value {
            None => Ok(None),
            Some(value) => value.read().map(Some).ok_or(KeyringError::Time(epoch, name)),
        };
        let created = time(self.created, "created")?;
        let retired = time(self.retired, "retired")?;
        let keys = match (self.secret.map(SecretString::from), retired) {
            (Some(secret), None) => {
                let keys = EpochKeys::from_text(unseen::trim(secret.expose_secret()))
                    .map_err(|error| KeyringError::Secret(epoch, error))?;
                if keys.epoch() != epoch {
                    return Err(KeyringError::Swapped(epoch, keys.epoch()));
                }
                Ok(keys)
            }
            (None, Some(retired)) => Err(retired),
            _ => return Err(KeyringError::SecretOrRetired(epoch)),
        };
        Ok(Entry { created, keys })
    }
}

/// Where a TOML error is and what it says of the form, without the source line that `toml` would quote: that line
/// may be the secret.
fn place(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| 1 + text.get(..span.start).unwrap_or_default().matches('\n').count());
    line.map(|line| format!(" (near line {line})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::new_secret_text;
    use super::*;

    fn epoch(number: i64) -> Epoch {
        Epoch::try_from(number).unwrap()
    }

    fn key(number: i64) -> String {
        let secret = new_secret_text(epoch(number)).unwrap();
        format!("[[key]]\nepoch = {number}\ncreated = 2026-11-23T10:00:00Z\nsecret = \"{}\"\n", *secret)
    }

    #[test]
    fn every_epoch_has_the_state_that_the_file_gives_it() {
        let retired = "[[key]]\nepoch = 3\nretired = \"2026-11-24T10:00:00Z\"\n";
        let text = format!("primary = 4\nmin_epoch = 2\n{}{}{retired}{}{}", key(1), key(2), key(4), key(6));
        let keyring = Keyring::parse(&text).unwrap();
        let states: Vec<_> = keyring.entries().map(|(epoch, state, _)| (epoch.number(), state)).collect();
        use KeyState::*;
        assert_eq!(states, [(1, BelowFloor), (2, Open), (3, Retired), (4, Primary), (6, Staged)]);
        assert_eq!(keyring.primary().epoch(), epoch(4));
        let why = |number| keyring.keys(epoch(number)).err();
        assert_eq!([why(2), why(4), why(6)], [None, None, None]);
        assert_eq!(why(1), Some(NoKey::BelowFloor));
        assert_eq!(why(3), Some(NoKey::Retired));
        assert_eq!(why(5), Some(NoKey::Absent));
        assert_eq!(why(7), Some(NoKey::Newer));
        let around: Vec<_> = keyring.around_primary().map(|keys| keys.epoch().number()).collect();
        assert_eq!(around, [4, 6, 2]);
    }

    #[test]
    fn a_state_fills_its_column_and_a_missing_key_says_why() {
        let states: Vec<_> = KeyState::ALL.iter().map(|state| format!("{state:15}|")).collect();
        let shown =
            ["staged         |", "primary        |", "open           |", "retired        |", "below min_epoch|"];
        assert_eq!(states, shown);
        assert_eq!(NoKey::Retired.to_string(), "retired");
        let floor = Keyring::parse(&format!("primary = 2\nmin_epoch = 2\n{}{}", key(1), key(2))).unwrap();
        assert_eq!((floor.min_epoch(), floor.keys(epoch(1)).err()), (Some(epoch(2)), Some(NoKey::BelowFloor)));
    }

    #[test]
    fn equal_keyrings_have_equal_digests_and_every_difference_shows() {
        let (one, two, three) = (key(1), key(2), key(3));
        let retired = "[[key]]\nepoch = 2\nretired = 2026-11-24T10:00:00Z\n";
        let digest = |text: &str| Keyring::parse(text).unwrap().digest();
        let first = digest(&format!("primary = 2\n{one}{two}"));
        assert!(first.len() == 64 && first.bytes().all(|b| b.is_ascii_hexdigit()), "{first}");
        // Order, notes and the day it was made do not matter.
        let other_day = two.replace("2026-11-23", "2026-11-20");
        assert_eq!(digest(&format!("# a note\nprimary = 2\n{other_day}{one}")), first);
        let others = [
            format!("primary = 1\n{one}{two}"),
            format!("primary = 2\nmin_epoch = 1\n{one}{two}"),
            format!("primary = 2\nmin_epoch = 2\n{one}{two}"),
            format!("primary = 2\n{two}"),
            format!("primary = 2\n{one}{two}{three}"),
            format!("primary = 2\n{}{two}", key(1)),
            format!("primary = 1\n{one}{retired}"),
        ];
        let all: std::collections::BTreeSet<_> = others.iter().map(|text| digest(text)).chain([first]).collect();
        assert_eq!(all.len(), others.len() + 1);
    }

    #[test]
    fn a_faulty_keyring_is_refused_with_its_fault_and_without_its_secrets() {
        let one = key(1);
        let secret = one.split('"').nth(1).unwrap().to_owned();
        let twin = one.replace("epoch = 1", "epoch = 2");
        let cases = [
            (format!("primary = 1\n{one}{one}"), "epoch 1 appears twice"),
            (format!("primary = 1\n{}{}", key(1), "[[key]]\nepoch = 1\nretired = 2026-11-24T10:00:00Z\n"), "twice"),
            (format!("primary = 2\n{twin}"), "holds the secret of epoch 1"),
            (format!("primary = 2\n{one}"), "`primary = 2`"),
            (format!("primary = 1\nmin_epoch = 2\n{one}"), "`min_epoch = 2`"),
            (format!("primary = 1\n{one}retired = 2026-11-24T10:00:00Z\n"), "not both"),
            ("primary = 1\n[[key]]\nepoch = 1\n".to_owned(), "either `secret` or `retired`"),
            ("primary = 1\n[[key]]\nepoch = 1\nsecret = \"hunter2\"\n".to_owned(), "passphrase"),
            (format!("primary = 1\n{}", one.replace("2026-11-23T", "yesterday")), "near line 4"),
            (format!("primary = 1\n{}", one.replace("2026-11-23T10:00:00Z", "\"now\"")), "`created` is not a time"),
            (format!("primary = 1\n{}", one.replace("secret", "sceret")), "near line 5"),
            (format!("primary = 0\n{one}"), "near line 1"),
            (String::new(), "not valid TOML"),
        ];
        for (text, expected) in cases {
            let error = Keyring::parse(&text).err().unwrap().to_string();
            assert!(error.contains(expected), "{error:?} should say {expected:?}");
            assert!(!error.contains(&secret[16..40]), "{error:?} holds the secret");
        }
    }
}
