//! What an operator may change in a keyring, one step at a time: stage, promote, retire. What would lock everybody out
//! is refused here. What other replicas hold, and whether an epoch is in use, is left to the one who asks them.

use crate::clock::UnixTime;
use crate::seal::{Epoch, KeyState, Keyring};
use thiserror::Error;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds an epoch, newer than all, that opens and does not seal yet.
    Stage(Epoch, UnixTime),
    /// Makes an epoch the one that seals.
    Promote(Epoch),
    /// Puts the time in the place of an epoch's secret.
    Retire(Epoch, UnixTime),
}

/// Why a step is not taken. Says what to do instead.
#[derive(Debug, Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum Refused {
    #[error("epoch {0} is the last that there can be")]
    Last(Epoch),
    #[error("no epoch is staged; make one with `authseal keys stage`")]
    NoneStaged,
    #[error("epochs {0} are staged; name the one to promote")]
    SeveralStaged(String),
    #[error("the keyring has no epoch {0}; `authseal keys list` shows what it has")]
    Absent(Epoch),
    #[error("epoch {0} is retired: its secret is gone, and nothing can be sealed with it")]
    Retired(Epoch),
    #[error(
        "epoch {0} is older than the primary {1}, and promoting goes upwards only; to be rid of {1}, stage a new epoch and promote that"
    )]
    Downwards(Epoch, Epoch),
    #[error("epoch {0} is the primary, which everything is sealed with; promote another epoch first")]
    Primary(Epoch),
}

impl Change {
    /// The epoch that changes.
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Stage(epoch, _) | Self::Promote(epoch) | Self::Retire(epoch, _) => *epoch,
        }
    }

    /// The next epoch, made at `now`.
    ///
    /// # Errors
    /// When the numbers are used up.
    pub fn stage(keyring: &Keyring, now: UnixTime) -> Result<Self, Refused> {
        let newest = keyring.newest();
        let next = Epoch::try_from(i64::from(newest.number()) + 1).map_err(|_| Refused::Last(newest))?;
        Ok(Self::Stage(next, now))
    }

    /// Promotes `named`, or the only epoch that is staged. `None` when it is the primary already.
    ///
    /// # Errors
    /// When there is no such epoch to promote, or several.
    pub fn promote(keyring: &Keyring, named: Option<Epoch>) -> Result<Option<Self>, Refused> {
        let primary = keyring.primary().epoch();
        let Some(epoch) = named else {
            let staged = keyring.entries().filter(|(_, state, _)| *state == KeyState::Staged);
            let staged: Vec<_> = staged.map(|(epoch, ..)| epoch).collect();
            return match staged.as_slice() {
                [] => Err(Refused::NoneStaged),
                [epoch] => Ok(Some(Self::Promote(*epoch))),
                several => {
                    Err(Refused::SeveralStaged(several.iter().map(Epoch::to_string).collect::<Vec<_>>().join(", ")))
                }
            };
        };
        match state(keyring, epoch)? {
            KeyState::Primary => Ok(None),
            KeyState::Staged => Ok(Some(Self::Promote(epoch))),
            KeyState::Retired if epoch > primary => Err(Refused::Retired(epoch)),
            _ => Err(Refused::Downwards(epoch, primary)),
        }
    }

    /// Retires `epoch` as of `now`. `None` when its secret is gone already.
    ///
    /// # Errors
    /// When there is no such epoch, or it is the primary.
    pub fn retire(keyring: &Keyring, epoch: Epoch, now: UnixTime) -> Result<Option<Self>, Refused> {
        let (_, state, entry) = keyring.entries().find(|(entry, ..)| *entry == epoch).ok_or(Refused::Absent(epoch))?;
        match state {
            KeyState::Primary => Err(Refused::Primary(epoch)),
            _ => Ok(entry.keys.is_ok().then_some(Self::Retire(epoch, now))),
        }
    }
}

fn state(keyring: &Keyring, epoch: Epoch) -> Result<KeyState, Refused> {
    keyring.entries().find(|(entry, ..)| *entry == epoch).map(|(_, state, _)| state).ok_or(Refused::Absent(epoch))
}

#[cfg(test)]
mod tests {
    use super::super::tests::keyring_text;
    use super::*;

    const NOW: UnixTime = 1_795_428_000;

    fn epoch(number: i64) -> Epoch {
        Epoch::try_from(number).unwrap()
    }

    /// Epochs up to `newest`, of which some are retired.
    fn keyring(primary: i64, newest: i64, retired: &[i64]) -> Keyring {
        Keyring::parse(&keyring_text(primary, newest, retired)).unwrap()
    }

    #[test]
    fn the_next_epoch_is_one_above_the_newest_even_a_retired_one() {
        assert_eq!(Change::stage(&keyring(2, 4, &[4]), NOW), Ok(Change::Stage(epoch(5), NOW)));
        let last = keyring_text(1, 1, &[]) + "[[key]]\nepoch = 4294967295\nretired = 2026-11-23T10:00:00Z\n";
        let refused = Change::stage(&Keyring::parse(&last).unwrap(), NOW);
        assert_eq!(refused, Err(Refused::Last(epoch(4_294_967_295))));
    }

    #[test]
    fn only_a_staged_epoch_is_promoted() {
        let promote = |keyring: &Keyring, number: Option<i64>| Change::promote(keyring, number.map(epoch));
        assert_eq!(promote(&keyring(2, 3, &[]), None), Ok(Some(Change::Promote(epoch(3)))));
        assert_eq!(promote(&keyring(3, 3, &[]), None), Err(Refused::NoneStaged));
        assert_eq!(promote(&keyring(2, 3, &[3]), None), Err(Refused::NoneStaged));
        let two = keyring(2, 4, &[1]);
        assert_eq!(promote(&two, None), Err(Refused::SeveralStaged("3, 4".to_owned())));
        assert_eq!(promote(&two, Some(4)), Ok(Some(Change::Promote(epoch(4)))));
        assert_eq!(promote(&two, Some(2)), Ok(None));
        assert_eq!(promote(&two, Some(5)), Err(Refused::Absent(epoch(5))));
        assert_eq!(promote(&two, Some(1)), Err(Refused::Downwards(epoch(1), epoch(2))));
        assert_eq!(promote(&keyring(3, 4, &[]), Some(2)), Err(Refused::Downwards(epoch(2), epoch(3))));
        assert_eq!(promote(&keyring(2, 4, &[3]), Some(3)), Err(Refused::Retired(epoch(3))));
    }

    #[test]
    fn the_primary_is_never_retired() {
        let keyring = keyring(3, 4, &[1]);
        assert_eq!(Change::retire(&keyring, epoch(3), NOW), Err(Refused::Primary(epoch(3))));
        assert_eq!(Change::retire(&keyring, epoch(9), NOW), Err(Refused::Absent(epoch(9))));
        assert_eq!(Change::retire(&keyring, epoch(1), NOW), Ok(None));
        assert_eq!(Change::retire(&keyring, epoch(2), NOW), Ok(Some(Change::Retire(epoch(2), NOW))));
        assert_eq!(Change::retire(&keyring, epoch(4), NOW), Ok(Some(Change::Retire(epoch(4), NOW))));
    }

    #[test]
    fn an_epoch_below_the_floor_can_be_retired_too() {
        let text = format!("min_epoch = 2\n{}", keyring_text(2, 2, &[]));
        let retired = Change::retire(&Keyring::parse(&text).unwrap(), epoch(1), NOW);
        assert_eq!(retired, Ok(Some(Change::Retire(epoch(1), NOW))));
    }
}
