//! What a replica says of its keyring, and how that differs from the one at hand.

use super::told::Told;
use crate::clock::UnixTime;
use crate::seal::{EpochKeys, KeyState, Keyring};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The body of `GET /keyring`; what else it may hold is not looked at.
#[derive(Clone, Deserialize)]
pub(in crate::cli) struct ReplicaKeyring {
    pub(super) digest: Hex,
    min_epoch: Option<u32>,
    watching_since: Time,
    epochs: Vec<Epoch>,
}

/// What a replica says of one epoch.
#[derive(Clone, Deserialize)]
struct Epoch {
    epoch: u32,
    state: State,
    fingerprint: Option<Hex>,
    last_seen: Option<Time>,
}

/// A state; `None` for one that this version does not know. What a replica says is never repeated to the letter.
#[derive(Clone, Copy, Deserialize)]
#[serde(from = "String")]
struct State(Option<KeyState>);

impl From<String> for State {
    fn from(word: String) -> Self {
        Self(KeyState::ALL.into_iter().find(|state| state.label() == word))
    }
}

impl fmt::Display for State {
    /// The end of `has epoch 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(state) => write!(f, "as {state}"),
            None => f.write_str("in a state that this version does not know"),
        }
    }
}

/// A digest or fingerprint.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(try_from = "String")]
pub(in crate::cli) struct Hex(String);

impl TryFrom<String> for Hex {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex { Ok(Self(text)) } else { Err("not hexadecimal") }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(in crate::cli) struct Time(pub(in crate::cli) UnixTime);

impl TryFrom<String> for Time {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(|time: jiff::Timestamp| Self(time.as_second()))
    }
}

impl Epoch {
    fn is(&self, state: KeyState) -> bool {
        self.state.0 == Some(state)
    }
}

/// One way in which a replica's keyring is not the one at hand.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Difference {
    epoch: Option<u32>,
    what: What,
    /// The end of a sentence that begins with the replica.
    says: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::cli) enum What {
    /// The replica lacks an epoch.
    Missing,
    /// The replica has an epoch that is not at hand.
    Extra,
    /// Both have the epoch, with different secrets.
    OtherSecret,
    /// Both have the epoch, in different states.
    State,
    /// The floors differ.
    MinEpoch,
    /// Something that this version does not know.
    Unknown,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl Told for ReplicaKeyring {
    const PATH: &'static str = "/keyring";
    const WHAT: &'static str = "a keyring";
}

impl ReplicaKeyring {
    fn epoch(&self, number: u32) -> Option<&Epoch> {
        self.epochs.iter().find(|epoch| epoch.epoch == number)
    }

    /// Since when the replica has noted which epochs are in use.
    pub(in crate::cli) fn watching_since(&self) -> UnixTime {
        self.watching_since.0
    }

    /// When something sealed under an epoch was last used there.
    pub(in crate::cli) fn last_seen(&self, epoch: u32) -> Option<UnixTime> {
        self.epoch(epoch)?.last_seen.map(|time| time.0)
    }

    /// Whether the replica seals with this epoch.
    pub(in crate::cli) fn seals_with(&self, epoch: u32) -> bool {
        self.epoch(epoch).is_some_and(|epoch| epoch.is(KeyState::Primary))
    }

    /// All differences from `keyring`; none if both are the same.
    pub(in crate::cli) fn differences(&self, keyring: &Keyring) -> Vec<Difference> {
        if self.digest.0 == keyring.digest() {
            return Vec::new();
        }
        let mut theirs: BTreeMap<_, _> = self.epochs.iter().map(|epoch| (epoch.epoch, epoch)).collect();
        let mut found = Vec::new();
        let mut note = |epoch, what, says| found.push(Difference { epoch, what, says });
        for (epoch, state, entry) in keyring.entries() {
            let number = epoch.number();
            let Some(their) = theirs.remove(&number) else {
                note(Some(number), What::Missing, format!("lacks epoch {number}"));
                continue;
            };
            let own = entry.keys.as_ref().ok().map(EpochKeys::fingerprint);
            if own.as_ref().zip(their.fingerprint.as_ref()).is_some_and(|(own, their)| *own != their.0) {
                note(Some(number), What::OtherSecret, format!("has another secret for epoch {number}"));
            }
            if !their.is(state) {
                let says = format!("has epoch {number} {}, which is {state} here", their.state);
                note(Some(number), What::State, says);
            }
        }
        for number in theirs.into_keys() {
            note(Some(number), What::Extra, format!("has epoch {number}, which is not here"));
        }
        let floor = keyring.min_epoch().map(|epoch| epoch.number());
        if floor != self.min_epoch {
            let word = |floor: Option<u32>| {
                floor.map_or_else(|| "no min_epoch".to_owned(), |floor| format!("min_epoch {floor}"))
            };
            note(None, What::MinEpoch, format!("has {}; here it is {}", word(self.min_epoch), word(floor)));
        }
        if found.is_empty() {
            found.push(Difference {
                epoch: None,
                what: What::Unknown,
                says: "has another digest, though all else is the same; is it another version of authseal?".to_owned(),
            });
        }
        found
    }

    /// Whether the replica can open what is sealed with `keys`.
    ///
    /// # Errors
    /// Why it cannot: the end of a sentence that begins with the replica.
    pub(in crate::cli) fn opens(&self, keys: &EpochKeys) -> Result<(), String> {
        let number = keys.epoch().number();
        let epoch = self.epoch(number).ok_or_else(|| format!("lacks epoch {number}"))?;
        if ![KeyState::Staged, KeyState::Primary, KeyState::Open].iter().any(|state| epoch.is(*state)) {
            return Err(format!("has epoch {number} {}", epoch.state));
        }
        match &epoch.fingerprint {
            Some(fingerprint) if fingerprint.0 == keys.fingerprint() => Ok(()),
            _ => Err(format!("has another secret for epoch {number}")),
        }
    }
}
