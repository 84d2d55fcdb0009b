//! Old AuthIDs that another handler knows, which is asked once for each: what it told is kept sealed in the store, under
//! a key that needs the AuthID too, and opens there on every replica and after every restart. So that handler can be
//! switched off when no AuthID comes any more that never came before.
//!
//! A store that fails is no reason to refuse anybody: the handler is asked again, as often as it has to be.
//!
//! `version (1) | epoch (4) | nonce (24) | ciphertext | tag (16)`, beside the records of rotation and, as far as
//! [`records_by_epoch`](super::records_by_epoch) looks, like them.

use super::Inner;
use super::single_flight::Flights;
use crate::authid::{GrantId, RecordSecret, ServiceId};
use crate::clock::{Clock, UnixTime};
use crate::keyring_file::LiveKeyring;
use crate::legacy::{Digest, Export, ExportError, Handler, OldAuthId, Stored};
use crate::lru::Lru;
use crate::meter::Meter;
use crate::seal::{Epoch, Key, Purpose, derive_from};
use crate::store::{Name, Shelf, Store, StoreError};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
/// Version and epoch.
const HEAD_LEN: usize = 5;
const DAY: u64 = 86_400;
/// How long an entry is kept that nobody comes for.
const LIFE: Duration = Duration::from_secs(400 * DAY);
/// An entry of this age, in seconds, is written again when somebody comes for it.
const OLD: i64 = 30 * DAY as i64;
/// Most that are remembered in memory, about 1 KiB each, and how long without a look at the store.
const MOST_KNOWN: u64 = 50_000;
const CURRENT: Duration = Duration::from_secs(3600);

/// What is known from another handler.
pub(super) struct Exported {
    handler: Handler,
    known: Lru<Digest, Arc<Stored>>,
    pub(super) flights: Flights<Digest, Result<Arc<Stored>, ExportError>>,
    store: Arc<Store>,
    keyring: Arc<LiveKeyring>,
    clock: Clock,
    taken_over: AtomicU64,
    last: AtomicI64,
}

/// The plaintext: compact JSON.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    service: Cow<'a, str>,
    #[serde(borrow)]
    token: Cow<'a, str>,
    kept: UnixTime,
}

/// What the store had, and whether it should be written again.
struct Kept {
    stored: Arc<Stored>,
    is_stale: bool,
}

impl Exported {
    pub(super) fn new(
        export: Export,
        store: Arc<Store>,
        keyring: Arc<LiveKeyring>,
        clock: &Clock,
        meter: Meter,
    ) -> Self {
        Self {
            handler: Handler::new(export, clock.clone(), meter),
            known: Lru::new(MOST_KNOWN, CURRENT, clock),
            flights: Flights::new(),
            store,
            keyring,
            clock: clock.clone(),
            taken_over: AtomicU64::new(0),
            last: AtomicI64::new(0),
        }
    }

    /// Whether it is this handler that is asked, with this key.
    pub(super) fn asks(&self, export: &Export) -> bool {
        self.handler.is(export)
    }

    /// How many the handler told of since this process started, and when it did so last.
    pub(super) fn taken_over(&self) -> (u64, Option<UnixTime>) {
        let last = self.last.load(Ordering::Acquire);
        (self.taken_over.load(Ordering::Acquire), (last != 0).then_some(last))
    }

    async fn kept(&self, grant: GrantId, bind: &RecordSecret) -> Option<Kept> {
        let blob = self.store.read(Shelf::Records, &name(bind)).await.ok()??;
        let keyring = self.keyring.load();
        let (head, sealed) = blob.split_first_chunk::<HEAD_LEN>()?;
        let [VERSION, epoch @ ..] = *head else { return None };
        let keys = keyring.keys(Epoch::try_from(i64::from(u32::from_be_bytes(epoch))).ok()?).ok()?;
        let key = Key::new(&keys.derive(Purpose::ExportEntry, bind.expose()));
        let plaintext = key.open(&associated_data(grant, head), sealed)?;
        let Content { service, token, kept } = serde_json::from_slice(&plaintext).ok()?;
        let stored = Arc::new(Stored {
            service_id: ServiceId::parse_alias(&service)?,
            refresh_token: token.into_owned().into(),
        });
        let age = self.clock.now().saturating_sub(kept);
        Some(Kept { stored, is_stale: age > OLD || keys.epoch() < keyring.primary().epoch() })
    }

    async fn keep(&self, grant: GrantId, bind: &RecordSecret, stored: &Stored) -> Result<(), StoreError> {
        let keyring = self.keyring.load();
        let keys = keyring.primary();
        let content = Content {
            service: stored.service_id.as_str().into(),
            token: stored.refresh_token.expose_secret().into(),
            kept: self.clock.now(),
        };
        // Strings and numbers always serialise.
        let plaintext = Zeroizing::new(serde_json::to_vec(&content).unwrap_or_default());
        let mut blob = vec![VERSION];
        blob.extend(keys.epoch().number().to_be_bytes());
        let key = Key::new(&keys.derive(Purpose::ExportEntry, bind.expose()));
        let sealed = key.seal(&associated_data(grant, &blob), &plaintext).map_err(|_| StoreError::Interrupted)?;
        blob.extend(sealed);
        self.store.put(Shelf::Records, &name(bind), &blob, LIFE).await
    }
}

impl Inner {
    /// What the handler of `legacy.export_url` has, or had, for an AuthID; of many who ask at once one causes the work, and
    /// a client that hangs up does not end it.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub(super) async fn exported(
        self: &Arc<Self>,
        exported: &Arc<Exported>,
        old: &OldAuthId,
        name: &str,
        password: &SecretString,
    ) -> Result<Arc<Stored>, ExportError> {
        let digest = old.digest();
        if let Some(stored) = exported.known.get(&digest) {
            return Ok(stored);
        }
        let work = || {
            let (inner, exported) = (self.clone(), exported.clone());
            let (grant, bind) = (old.grant(), old.record_secret());
            let (name, password) = (name.to_owned(), password.clone());
            async move {
                let (stored, write) = match exported.kept(grant, &bind).await {
                    Some(kept) => (kept.stored, kept.is_stale),
                    None => {
                        let stored = exported.handler.ask(&inner.providers, digest, &name, &password).await?;
                        exported.taken_over.fetch_add(1, Ordering::AcqRel);
                        exported.last.store(exported.clock.now(), Ordering::Release);
                        (Arc::new(stored), true)
                    }
                };
                // The store itself says what failed.
                let is_kept = !write || exported.keep(grant, &bind, &stored).await.is_ok();
                let life = if is_kept { CURRENT } else { Duration::from_secs(60) };
                exported.known.lock().insert_with(digest, stored.clone(), 1, life);
                Ok(stored)
            }
        };
        exported.flights.join(digest, work).await.unwrap_or(Err(ExportError::Fails))
    }
}

/// Where the entry of an old AuthID is.
fn name(bind: &RecordSecret) -> Name {
    *derive_from(bind.expose(), Purpose::ExportName)
}

/// `label | 0x00 | grant id (16) | version (1) | epoch (4)`.
fn associated_data(grant: GrantId, head: &[u8]) -> Vec<u8> {
    [Purpose::ExportEntry.info(), &[0], grant.as_bytes(), head].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::testing::keyring_text;
    use crate::store::StorePlace;
    use std::fs;

    const DAYS: Duration = Duration::from_secs(86_400);

    #[tokio::test]
    async fn what_is_kept_of_an_authid_is_written_again_after_a_month_or_under_a_newer_key_and_for_400_days() {
        let (clock, folder) = (Clock::system(), tempfile::tempdir().unwrap());
        let store = Arc::new(Store::open(&StorePlace::Dir(folder.path().to_owned()), clock.clone()).unwrap());
        let export = |key: &str| Export {
            url: Export::check_url("https://handler.example.com/export").unwrap(),
            key: key.to_owned().into(),
        };
        let text = keyring_text(1, &[1, 2]);
        let of = |text: &str| {
            let keyring = Arc::new(LiveKeyring::from_text(text).unwrap());
            Exported::new(export("key"), store.clone(), keyring, &clock, Meter::default())
        };
        let (one, two) = (of(&text), of(&text.replace("primary = 1", "primary = 2")));
        assert!(one.asks(&export("key")) && !one.asks(&export("other")));
        let (grant, bind) = (GrantId::random().unwrap(), RecordSecret::random().unwrap());
        let service_id = ServiceId::parse_alias("GoogleDrive").unwrap();
        let stored = Stored { service_id, refresh_token: "token".to_owned().into() };
        let kept = async |at: &Exported| {
            at.kept(grant, &bind).await.map(|kept| {
                let Stored { service_id, refresh_token } = &*kept.stored;
                assert_eq!((service_id.as_str(), refresh_token.expose_secret()), ("GoogleDrive", "token"));
                kept.is_stale
            })
        };
        assert_eq!(kept(&one).await, None);
        one.keep(grant, &bind, &stored).await.unwrap();
        assert_eq!((kept(&one).await, kept(&two).await), (Some(false), Some(true)));
        assert!(one.kept(GrantId::random().unwrap(), &bind).await.is_none(), "of another AuthID");
        assert!(one.kept(grant, &RecordSecret::random().unwrap()).await.is_none());
        two.keep(grant, &bind, &stored).await.unwrap();
        clock.advance(30 * DAYS - Duration::from_secs(9));
        assert_eq!((kept(&one).await, kept(&two).await), (Some(false), Some(false)));
        clock.advance(Duration::from_secs(10));
        assert_eq!((kept(&one).await, kept(&two).await), (Some(true), Some(true)));
        // A file begins with its end.
        two.keep(grant, &bind, &stored).await.unwrap();
        let folders = fs::read_dir(folder.path().join("records")).unwrap();
        let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
        let end = |file: fs::DirEntry| i64::from_be_bytes(*fs::read(file.path()).unwrap().first_chunk().unwrap());
        let ends = files.map(|file| end(file.unwrap()) - clock.now()).collect::<Vec<_>>();
        assert!(ends.len() == 1 && ends[0].abs_diff(400 * 86_400) < 60, "{ends:?}");
    }
}
