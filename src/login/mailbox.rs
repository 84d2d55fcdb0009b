//! The mailbox: where the AuthID waits until Duplicati's page asks for it with its fetch token. One read, 90 seconds.
//!
//! An entry's name is a keyed hash of the token and its key comes from the token, so neither the store's content nor
//! the server's keys alone give an AuthID away. A token can be planted in somebody else's login, so it is not enough:
//! who asks must be where the browser of the login is, or the person must have agreed.

use super::client::{self, ClientNet};
use super::context::Reader;
use super::fetch_token::FetchToken;
use crate::guard::{self, Guard};
use crate::seal::{EpochKeys, Key, Keyring, Purpose, SealError};
use crate::store::{Name, Store};
use secrecy::SecretString;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long an AuthID waits. The page polls every 3 s; browsers slow down pages in the background.
const WAITS: Duration = Duration::from_secs(90);
/// How long it is remembered that it was asked for or picked up, for our page to tell the person.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Who may pick an AuthID up with the right token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiver {
    /// Everybody: the person agreed.
    Anybody,
    /// Programs at this address; nobody, if it is not known.
    At(Option<ClientNet>),
}

impl Receiver {
    fn admits(self, asker: Option<ClientNet>) -> bool {
        match self {
            Self::Anybody => true,
            Self::At(address) => !guard::on(Guard::MailboxAddress) || (address.is_some() && address == asker),
        }
    }
}

/// Leaves an AuthID for whoever asks with `token`. Returns whether the store took it.
///
/// # Errors
/// When the operating system has no randomness.
pub(super) fn leave(
    store: &Store,
    keyring: &Keyring,
    token: &FetchToken,
    receiver: Receiver,
    authid: &str,
) -> Result<bool, SealError> {
    let (name, key) = entry(keyring.primary(), token);
    Ok(store.put(name, key.seal(&name, &write(receiver, authid))?, WAITS))
}

/// Takes the AuthID that waits for `token`, if there is one and the asker may have it. If not, it stays, and a note is
/// made that somebody asked.
pub(super) fn pick_up(
    store: &Store,
    keyring: &Keyring,
    token: &FetchToken,
    asker: Option<ClientNet>,
) -> Option<SecretString> {
    keyring.around_primary().find_map(|keys| {
        let (name, key) = entry(keys, token);
        let unseal = |blob: &[u8]| read(&key.open(&name, blob)?);
        let (receiver, _) = unseal(&store.look(&name)?)?;
        if !receiver.admits(asker) {
            store.put(note(keys, Purpose::MailboxAsked, token), Vec::new(), REMEMBERED);
            return None;
        }
        let (_, authid) = unseal(&store.take(&name)?)?;
        store.put(note(keys, Purpose::MailboxPickedUp, token), Vec::new(), REMEMBERED);
        Some(authid)
    })
}

/// Whether the AuthID for `token` was picked up.
pub(super) fn was_picked_up(store: &Store, keyring: &Keyring, token: &FetchToken) -> bool {
    keyring.around_primary().any(|keys| store.holds(&note(keys, Purpose::MailboxPickedUp, token)))
}

/// Whether somebody asked for it who may not have it by themselves.
pub(super) fn was_asked_for(store: &Store, keyring: &Keyring, token: &FetchToken) -> bool {
    keyring.around_primary().any(|keys| store.holds(&note(keys, Purpose::MailboxAsked, token)))
}

fn entry(keys: &EpochKeys, token: &FetchToken) -> (Name, Key) {
    let token = token.expose().as_bytes();
    let key = Key::new(&keys.derive(Purpose::MailboxEntry, token));
    (*keys.derive(Purpose::MailboxName, token), key)
}

fn note(keys: &EpochKeys, purpose: Purpose, token: &FetchToken) -> Name {
    *keys.derive(purpose, token.expose().as_bytes())
}

/// `everybody (1) | address (16) | AuthID`.
fn write(receiver: Receiver, authid: &str) -> Zeroizing<Vec<u8>> {
    let (anybody, address) = match receiver {
        Receiver::Anybody => (1, None),
        Receiver::At(address) => (0, address),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(17 + authid.len()));
    bytes.push(anybody);
    bytes.extend(client::to_bytes(address));
    bytes.extend_from_slice(authid.as_bytes());
    bytes
}

fn read(bytes: &[u8]) -> Option<(Receiver, SecretString)> {
    let mut reader = Reader(bytes);
    let ([anybody], address) = (reader.array()?, client::from_bytes(reader.array()?));
    let receiver = if anybody == 1 { Receiver::Anybody } else { Receiver::At(address) };
    Some((receiver, std::str::from_utf8(reader.0).ok()?.to_owned().into()))
}
