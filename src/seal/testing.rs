//! Keyrings for the tests of this crate; those from outside have `tests/support/keyring.rs`.

use super::{Epoch, Keyring, new_secret_text};

pub(crate) fn epoch(number: i64) -> Epoch {
    Epoch::try_from(number).unwrap()
}

/// The table of an epoch in a keyring's file, with a new secret.
pub(crate) fn key_table(number: i64) -> String {
    format!("[[key]]\nepoch = {number}\nsecret = \"{}\"\n", *new_secret_text(epoch(number)).unwrap())
}

/// The text of a keyring with new secrets.
pub(crate) fn keyring_text(primary: i64, epochs: &[i64]) -> String {
    epochs.iter().fold(format!("primary = {primary}\n"), |text, number| text + &key_table(*number))
}

/// That keyring.
pub(crate) fn keyring(primary: i64, epochs: &[i64]) -> Keyring {
    Keyring::parse(&keyring_text(primary, epochs)).unwrap()
}
