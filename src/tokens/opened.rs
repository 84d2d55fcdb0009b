//! An AuthID that opened, sealed or old, and which of them are served.

use super::brake::BrakeSettings;
use super::waiting::Patience;
use crate::authid::Grant;
use crate::legacy::{Accepted, Version};
use crate::seal::{Epoch, KeyringNumber};

/// An AuthID that opened. It may be revoked all the same.
pub struct Opened {
    /// What was in it.
    pub login: Grant,
    /// What kept it.
    pub seal: Seal,
}

/// What keeps the login of an AuthID from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// It is sealed under this epoch, and was opened with this keyring.
    Epoch(Epoch, KeyringNumber),
    /// Nothing of this server's: it is an old one of this version.
    Old(Version),
}

impl Opened {
    /// The epoch it was sealed under, if it was.
    pub fn epoch(&self) -> Option<Epoch> {
        self.sealed().map(|(epoch, _)| epoch)
    }

    /// That, and the keyring that opened it.
    pub(super) fn sealed(&self) -> Option<(Epoch, KeyringNumber)> {
        match self.seal {
            Seal::Epoch(epoch, keyring) => Some((epoch, keyring)),
            Seal::Old(_) => None,
        }
    }

    /// Its version, if it is an old one.
    pub fn old(&self) -> Option<Version> {
        match self.seal {
            Seal::Epoch(..) => None,
            Seal::Old(version) => Some(version),
        }
    }
}

/// How AuthIDs are served.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How long clients are kept waiting.
    pub patience: Patience,
    /// When refusals of a provider are taken for this server's fault.
    pub brake: BrakeSettings,
    /// Which old AuthIDs are served.
    pub legacy: Accepted,
}
