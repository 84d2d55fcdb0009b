//! Keyrings for tests and benchmarks that see this crate from outside.

use authseal::seal::{Epoch, new_secret_text};

/// The secret of an epoch, in text form.
pub(crate) fn secret(number: i64) -> String {
    new_secret_text(Epoch::try_from(number).unwrap()).unwrap().to_string()
}

/// The table of an epoch in a keyring's file, with a new secret.
pub(crate) fn key(number: i64) -> String {
    format!("[[key]]\nepoch = {number}\ncreated = 2026-11-23T10:00:00Z\nsecret = \"{}\"\n", secret(number))
}
