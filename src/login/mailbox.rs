//! The mailbox: where the AuthID waits until Duplicati's page asks for it with its fetch token. One read, 90 seconds.
//!
//! An entry's name is a keyed hash of the token and its key comes from the token, so neither the store's content nor
//! the server's keys alone give an AuthID away.

use super::fetch_token::FetchToken;
use crate::seal::{EpochKeys, Key, Keyring, Purpose, SealError};
use crate::store::{Name, Store};
use secrecy::SecretString;
use std::time::Duration;

/// How long an AuthID waits. The page polls every 3 s; browsers slow down pages in the background.
const WAITS: Duration = Duration::from_secs(90);
/// How long it is remembered that it was picked up, for our page to tell the person.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Leaves an AuthID for whoever asks with `token`. Returns whether the store took it.
///
/// # Errors
/// When the operating system has no randomness.
pub(super) fn leave(store: &Store, keyring: &Keyring, token: &FetchToken, authid: &str) -> Result<bool, SealError> {
    let (name, key) = entry(keyring.primary(), token);
    Ok(store.put(name, key.seal(&name, authid.as_bytes())?, WAITS))
}

/// Takes the AuthID that waits for `token`, if there is one.
pub(super) fn pick_up(store: &Store, keyring: &Keyring, token: &FetchToken) -> Option<SecretString> {
    keyring.around_primary().find_map(|keys| {
        let (name, key) = entry(keys, token);
        let authid = key.open(&name, &store.take(&name)?)?;
        store.put(picked_up_name(keys, token), Vec::new(), REMEMBERED);
        String::from_utf8(authid.to_vec()).ok().map(SecretString::from)
    })
}

/// Whether the AuthID for `token` was picked up.
pub(super) fn was_picked_up(store: &Store, keyring: &Keyring, token: &FetchToken) -> bool {
    keyring.around_primary().any(|keys| store.holds(&picked_up_name(keys, token)))
}

fn entry(keys: &EpochKeys, token: &FetchToken) -> (Name, Key) {
    let token = token.expose().as_bytes();
    let key = Key::new(&keys.derive(Purpose::MailboxEntry, token));
    (*keys.derive(Purpose::MailboxName, token), key)
}

fn picked_up_name(keys: &EpochKeys, token: &FetchToken) -> Name {
    *keys.derive(Purpose::MailboxPickedUp, token.expose().as_bytes())
}
