//! The mailbox: where the AuthID waits until Duplicati's page polls for it with its fetch token. One read, 90 seconds.
//!
//! An entry's name is a keyed hash of the token and its key comes from the token, so neither the store's content nor
//! the server's keys alone give an AuthID away. A token can be planted in somebody else's login (login CSRF), so it is
//! not enough: the request must come from the page that opened the login, in a browser where the login's is, or the
//! user must have agreed. Nor may another browser's login replace an AuthID that waits: whoever knows a token could log
//! in with it.

use super::browser_cookie::CookieHash;
use super::fetch_token::FetchToken;
use super::login_context::{self, Reader};
use crate::mitigation::{self, Mitigation};
use crate::net::{self, ClientNet, Origin};
use crate::seal::{EpochKeys, Key, Keyring, Purpose, SealError};
use crate::store::{Name, Shelf, Store};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long an AuthID waits. The page polls every 3 s; browsers slow down pages in the background.
const WAITS: Duration = Duration::from_secs(90);
/// How long it is remembered that it was asked for or picked up, for our page to tell the user.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How often an AuthID is put in while others change what waits there.
const TRIES: usize = 3;

/// Who may pick an AuthID up with the right token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    /// Everybody: the user agreed, and nobody's address is known.
    Anybody,
    /// Whoever asks from this address: the user agreed.
    Address(ClientNet),
    /// This page.
    Only(Requester),
}

/// A page that asks for an AuthID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requester {
    /// Where its browser is, if that is known.
    pub address: Option<ClientNet>,
    /// The page's origin, if the browser tells. Without it a page that others can make lead anywhere would be enough to
    /// have a token of theirs accepted.
    pub origin: Option<Origin>,
}

impl Recipient {
    fn admits(&self, requester: &Requester) -> bool {
        match self {
            Self::Anybody => true,
            Self::Address(wanted) => requester.address == Some(*wanted),
            Self::Only(wanted) => {
                let same_place = wanted.address.is_some() && wanted.address == requester.address;
                let same_page = wanted.origin.is_some() && wanted.origin == requester.origin;
                (same_place || !mitigation::on(Mitigation::MailboxAddress))
                    && (same_page || !mitigation::on(Mitigation::MailboxOrigin))
            }
        }
    }
}

/// Puts in the AuthID of a login in the browser of `browser_cookie`, for the recipient who asks with `token`. Returns
/// whether it waits: not if the store fails, or if an AuthID of another browser's login waits already.
///
/// # Errors
/// When the operating system has no randomness.
pub(super) async fn put(
    store: &Store,
    keyring: &Keyring,
    token: &FetchToken,
    browser_cookie: &CookieHash,
    recipient: &Recipient,
    authid: &SecretString,
) -> Result<bool, SealError> {
    let (name, key) = entry(keyring.primary(), token);
    for _ in 0..TRIES {
        let Ok(before) = store.read(Shelf::Mailbox, &name).await else { return Ok(false) };
        let waiting = before.as_deref().and_then(|blob| read(&key.open(&name, blob)?));
        let is_anothers = waiting.is_some_and(|waiting| waiting.browser_cookie.0 != browser_cookie.0);
        if mitigation::on(Mitigation::MailboxOwner) && is_anothers {
            return Ok(false);
        }
        let entry = key.seal(&name, &write(browser_cookie, recipient, authid))?;
        // Only in the place of what was looked at: another browser's may have come since.
        match store.swap(Shelf::Mailbox, &name, before.as_deref(), Some(&entry), WAITS).await {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(_) => return Ok(false),
        }
    }
    Ok(false)
}

/// Takes the AuthID that waits for `token`, if there is one and the requester may have it. If not, it stays, and a note
/// is made that somebody asked. While the store fails, nothing waits.
pub(super) async fn take(
    store: &Store,
    keyring: &Keyring,
    token: &FetchToken,
    requester: &Requester,
) -> Option<SecretString> {
    for keys in keyring.around_primary() {
        let (name, key) = entry(keys, token);
        let Some(blob) = store.read(Shelf::Mailbox, &name).await.ok()? else { continue };
        let Some(Waiting { recipient, authid, .. }) = key.open(&name, &blob).and_then(|bytes| read(&bytes)) else {
            continue;
        };
        if !recipient.admits(requester) {
            remember(store, keys, Purpose::MailboxAsked, token, requester.address).await;
            continue;
        }
        // Only what was looked at: another one, for somebody else, may have come since. Of several who ask, one gets it.
        if !store.swap(Shelf::Mailbox, &name, Some(&blob), None, WAITS).await.ok()? {
            continue;
        }
        remember(store, keys, Purpose::MailboxPickedUp, token, requester.address).await;
        return Some(authid);
    }
    None
}

/// Whether the AuthID for `token` was picked up.
pub(super) async fn was_picked_up(store: &Store, keyring: &Keyring, token: &FetchToken) -> bool {
    noted(store, keyring, Purpose::MailboxPickedUp, token).await.is_some()
}

/// Where somebody first asked for it from who may not have it by themselves, if somebody did; that may not be known.
pub(super) async fn asked_from(store: &Store, keyring: &Keyring, token: &FetchToken) -> Option<Option<ClientNet>> {
    noted(store, keyring, Purpose::MailboxAsked, token).await
}

/// The address of a note; sealed, like all that tells of a user.
async fn noted(store: &Store, keyring: &Keyring, purpose: Purpose, token: &FetchToken) -> Option<Option<ClientNet>> {
    for keys in keyring.around_primary() {
        let (name, key) = note(keys, purpose, token);
        if let Ok(Some(blob)) = store.read(Shelf::Mailbox, &name).await {
            let address = key.open(&name, &blob)?.as_slice().try_into().ok()?;
            return Some(net::from_bytes(address));
        }
    }
    None
}

/// Makes a note, unless there is one. One that is lost costs our page a sentence; the store itself says that it fails.
async fn remember(store: &Store, keys: &EpochKeys, purpose: Purpose, token: &FetchToken, address: Option<ClientNet>) {
    let (name, key) = note(keys, purpose, token);
    if let Ok(None) = store.read(Shelf::Mailbox, &name).await
        && let Ok(note) = key.seal(&name, &net::to_bytes(address))
    {
        let _ = store.put(Shelf::Mailbox, &name, &note, REMEMBERED).await;
    }
}

fn entry(keys: &EpochKeys, token: &FetchToken) -> (Name, Key) {
    note(keys, Purpose::MailboxName, token)
}

fn note(keys: &EpochKeys, purpose: Purpose, token: &FetchToken) -> (Name, Key) {
    let token = token.expose().as_bytes();
    let key = Key::new(&keys.derive(Purpose::MailboxEntry, token));
    (*keys.derive(purpose, token), key)
}

/// An AuthID that waits.
struct Waiting {
    /// The browser of its login.
    browser_cookie: CookieHash,
    recipient: Recipient,
    authid: SecretString,
}

/// `browser cookie hash (16) | kind of recipient (1) | address (16) | origin, with its length (1) before it | AuthID`.
fn write(browser_cookie: &CookieHash, recipient: &Recipient, authid: &SecretString) -> Zeroizing<Vec<u8>> {
    let (kind, address, origin) = match recipient {
        Recipient::Only(requester) => (0, requester.address, requester.origin.as_ref()),
        Recipient::Anybody => (1, None, None),
        Recipient::Address(address) => (2, Some(*address), None),
    };
    let (origin, authid) = (origin.map_or("", Origin::as_str), authid.expose_secret());
    let mut bytes = Zeroizing::new(Vec::with_capacity(34 + origin.len() + authid.len()));
    bytes.extend(browser_cookie.0);
    bytes.push(kind);
    bytes.extend(net::to_bytes(address));
    login_context::write(&mut bytes, origin.as_bytes());
    bytes.extend_from_slice(authid.as_bytes());
    bytes
}

fn read(bytes: &[u8]) -> Option<Waiting> {
    let mut reader = Reader(bytes);
    let browser_cookie = CookieHash(reader.array()?);
    let ([kind], address) = (reader.array()?, net::from_bytes(reader.array()?));
    let origin = Origin::parse(reader.text()?);
    let recipient = match kind {
        0 => Recipient::Only(Requester { address, origin }),
        1 => Recipient::Anybody,
        _ => Recipient::Address(address?),
    };
    Some(Waiting { browser_cookie, recipient, authid: std::str::from_utf8(reader.0).ok()?.to_owned().into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::seal::testing::keyring;
    use crate::store::disk::Files;
    use crate::store::testing::{Hooked, Moment};
    use std::fs;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    /// A login in a browser, and the page that opened it.
    struct Login {
        cookie: CookieHash,
        requester: Requester,
        authid: SecretString,
    }

    fn login(number: u8) -> Login {
        let address = std::net::IpAddr::from([192, 0, 2, number]).into();
        let origin = Origin::parse(&format!("http://localhost:{number}"));
        let requester = Requester { address: Some(address), origin };
        Login { cookie: CookieHash([number; 16]), requester, authid: number.to_string().into() }
    }

    /// Two logins with one token, whoever planted it: what one of them does while the other one's entry appears there.
    #[tokio::test]
    async fn an_entry_that_comes_between_looking_and_acting_is_neither_replaced_nor_handed_to_somebody_else() {
        let folder = tempfile::tempdir().unwrap();
        let (token, keyring) = (FetchToken::parse("abcdefghijklmnop01").unwrap(), keyring(1, &[1]));
        // A path, and what is in it right after the next file was read.
        let then = Arc::new(Mutex::new(None::<(PathBuf, Vec<u8>)>));
        let next = then.clone();
        let put_there = move |moment| {
            if moment == Moment::AfterRead
                && let Some((path, bytes)) = next.lock().unwrap().take()
            {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            Ok(())
        };
        let disk = Arc::new(Hooked(Files::below(folder.path()), put_there));
        let store = Store::on_disk(disk, folder.path(), Clock::system()).unwrap();
        let (user, stranger) = (login(1), login(2));
        let put = async |login: &Login| {
            let recipient = Recipient::Only(login.requester.clone());
            put(&store, &keyring, &token, &login.cookie, &recipient, &login.authid).await.unwrap()
        };
        let take = async |login: &Login| {
            let authid = take(&store, &keyring, &token, &login.requester).await;
            authid.map(|authid| authid.expose_secret().to_owned())
        };
        let file = || {
            let inside = fs::read_dir(folder.path().join("mailbox")).unwrap().map(|inside| inside.unwrap().path());
            let mut files = inside.flat_map(|inside| fs::read_dir(inside).unwrap()).map(|file| file.unwrap().path());
            files.next().unwrap()
        };
        // The entry of the user as it is on the disk, of which nobody knows yet.
        assert!(put(&user).await);
        let entry = (file(), fs::read(file()).unwrap());
        assert_eq!(take(&user).await.as_deref(), Some("1"));

        *then.lock().unwrap() = Some(entry.clone());
        assert!(!put(&stranger).await, "the user's AuthID waits by now");
        assert_eq!((take(&stranger).await, take(&user).await.as_deref()), (None, Some("1")));

        assert!(put(&stranger).await);
        *then.lock().unwrap() = Some(entry);
        assert_eq!(take(&stranger).await, None, "what is there by now is the user's");
        assert_eq!(take(&user).await.as_deref(), Some("1"), "and stays");
    }
}
