//! The mailbox: where the AuthID waits until Duplicati's page asks for it with its fetch token. One read, 90 seconds.
//!
//! An entry's name is a keyed hash of the token and its key comes from the token, so neither the store's content nor
//! the server's keys alone give an AuthID away. A token can be planted in somebody else's login, so it is not enough:
//! who asks must be the page that opened the login, in a browser where the login's is, or the person must have agreed.

use super::context::{self, Reader};
use super::fetch_token::FetchToken;
use super::origin::Origin;
use crate::guard::{self, Guard};
use crate::net::{self, ClientNet};
use crate::seal::{EpochKeys, Key, Keyring, Purpose, SealError};
use crate::store::{Name, Shelf, Store};
use secrecy::SecretString;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long an AuthID waits. The page polls every 3 s; browsers slow down pages in the background.
const WAITS: Duration = Duration::from_secs(90);
/// How long it is remembered that it was asked for or picked up, for our page to tell the person.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Who may pick an AuthID up with the right token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Receiver {
    /// Everybody: the person agreed.
    Anybody,
    /// This page.
    Only(Asker),
}

/// A page that asks for an AuthID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    /// Where its browser is, if that is known.
    pub address: Option<ClientNet>,
    /// The page's origin, if the browser tells. Without it a page that others can make lead anywhere would be enough to
    /// have a token of theirs accepted.
    pub origin: Option<Origin>,
}

impl Receiver {
    fn admits(&self, asker: &Asker) -> bool {
        match self {
            Self::Anybody => true,
            Self::Only(wanted) => {
                let same_place = wanted.address.is_some() && wanted.address == asker.address;
                let same_page = wanted.origin.is_some() && wanted.origin == asker.origin;
                (same_place || !guard::on(Guard::MailboxAddress)) && (same_page || !guard::on(Guard::MailboxOrigin))
            }
        }
    }
}

/// Leaves an AuthID for whoever asks with `token`. Returns whether the store took it.
///
/// # Errors
/// When the operating system has no randomness.
pub(super) async fn leave(
    store: &Store,
    keyring: &Keyring,
    token: &FetchToken,
    receiver: Receiver,
    authid: &str,
) -> Result<bool, SealError> {
    let (name, key) = entry(keyring.primary(), token);
    let entry = key.seal(&name, &write(&receiver, authid))?;
    Ok(store.put(Shelf::Mailbox, &name, &entry, WAITS).await.is_ok())
}

/// Takes the AuthID that waits for `token`, if there is one and the asker may have it. If not, it stays, and a note is
/// made that somebody asked. While the store fails, nothing waits.
pub(super) async fn pick_up(
    store: &Store,
    keyring: &Keyring,
    token: &FetchToken,
    asker: &Asker,
) -> Option<SecretString> {
    for keys in keyring.around_primary() {
        let (name, key) = entry(keys, token);
        let unseal = |blob: Option<Vec<u8>>| read(&key.open(&name, &blob?)?);
        let Some((receiver, _)) = unseal(store.read(Shelf::Mailbox, &name).await.ok()?) else { continue };
        if !receiver.admits(asker) {
            remember(store, &note(keys, Purpose::MailboxAsked, token)).await;
            continue;
        }
        let Some((_, authid)) = unseal(store.take(Shelf::Mailbox, &name).await.ok()?) else { continue };
        remember(store, &note(keys, Purpose::MailboxPickedUp, token)).await;
        return Some(authid);
    }
    None
}

/// Whether the AuthID for `token` was picked up.
pub(super) async fn was_picked_up(store: &Store, keyring: &Keyring, token: &FetchToken) -> bool {
    is_noted(store, keyring, Purpose::MailboxPickedUp, token).await
}

/// Whether somebody asked for it who may not have it by themselves.
pub(super) async fn was_asked_for(store: &Store, keyring: &Keyring, token: &FetchToken) -> bool {
    is_noted(store, keyring, Purpose::MailboxAsked, token).await
}

async fn is_noted(store: &Store, keyring: &Keyring, purpose: Purpose, token: &FetchToken) -> bool {
    for keys in keyring.around_primary() {
        if let Ok(Some(_)) = store.read(Shelf::Mailbox, &note(keys, purpose, token)).await {
            return true;
        }
    }
    false
}

/// A note that is lost costs our page a sentence; the store itself says that it fails.
async fn remember(store: &Store, name: &Name) {
    let _ = store.put(Shelf::Mailbox, name, b"", REMEMBERED).await;
}

fn entry(keys: &EpochKeys, token: &FetchToken) -> (Name, Key) {
    let token = token.expose().as_bytes();
    let key = Key::new(&keys.derive(Purpose::MailboxEntry, token));
    (*keys.derive(Purpose::MailboxName, token), key)
}

fn note(keys: &EpochKeys, purpose: Purpose, token: &FetchToken) -> Name {
    *keys.derive(purpose, token.expose().as_bytes())
}

/// `everybody (1) | address (16) | origin, with its length (1) before it | AuthID`.
fn write(receiver: &Receiver, authid: &str) -> Zeroizing<Vec<u8>> {
    let (anybody, asker) = match receiver {
        Receiver::Anybody => (1, None),
        Receiver::Only(asker) => (0, Some(asker)),
    };
    let origin = asker.and_then(|asker| asker.origin.as_ref()).map_or("", Origin::as_str);
    let mut bytes = Zeroizing::new(Vec::with_capacity(18 + origin.len() + authid.len()));
    bytes.push(anybody);
    bytes.extend(net::to_bytes(asker.and_then(|asker| asker.address)));
    context::write(&mut bytes, origin.as_bytes());
    bytes.extend_from_slice(authid.as_bytes());
    bytes
}

fn read(bytes: &[u8]) -> Option<(Receiver, SecretString)> {
    let mut reader = Reader(bytes);
    let ([anybody], address) = (reader.array()?, net::from_bytes(reader.array()?));
    let origin = Origin::of(reader.text()?);
    let receiver = if anybody == 1 { Receiver::Anybody } else { Receiver::Only(Asker { address, origin }) };
    Some((receiver, std::str::from_utf8(reader.0).ok()?.to_owned().into()))
}
