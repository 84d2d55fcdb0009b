//! How this process does: what of its files is in force, how its store answers, whether it is about to end. For those
//! who run it; nothing here is secret, and no provider is ever asked.

use crate::clock::rfc3339;
use crate::denylist::Denylist;
use crate::keyfile::LiveKeyring;
use crate::meter::Meter;
use crate::store::Store;
use crate::tls::LiveCertificate;
use crate::watch::Readings;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How this process does.
pub struct Health {
    keyring: Arc<LiveKeyring>,
    denylist: Arc<Denylist>,
    store: Arc<Store>,
    certificate: Option<Arc<LiveCertificate>>,
    meter: Meter,
    draining: AtomicBool,
}

/// Whether this process wants requests, and what it has to serve them with.
#[derive(Serialize)]
pub struct Readiness {
    /// Whether it wants more requests. A file that became faulty or a store that fails does not change that: what was
    /// read before is in force, and the services that need no store go on.
    pub ready: bool,
    /// Whether it was told to end.
    pub draining: bool,
    /// The keyring.
    pub keyring: Reading,
    /// The denylist.
    pub denylist: Reading,
    /// The state store.
    pub store: StoreState,
}

/// What of a file is in force.
#[derive(Serialize)]
pub struct Reading {
    /// How many epochs or rules.
    pub entries: usize,
    /// When it was read, RFC 3339.
    pub since: String,
    /// Whether the file could not be read since, or has a fault.
    pub last_load_failed: bool,
}

/// How the store does.
#[derive(Serialize)]
pub struct StoreState {
    /// Whether what it holds outlives this process.
    pub durable: bool,
    /// Since when requests to it fail, of either kind, RFC 3339; `None` if they do not.
    pub failing_since: Option<String>,
    /// Since when those fail that read or remove.
    pub reading_fails_since: Option<String>,
    /// Since when those fail that put something there: a full store is read as before.
    pub writing_fails_since: Option<String>,
}

/// The keyring as replicas compare it.
#[derive(Serialize)]
pub struct KeyringView {
    /// See [`Keyring::digest`](crate::seal::Keyring::digest).
    pub digest: String,
    /// The epoch that seals.
    pub primary: u32,
    /// The lowest epoch that opens, if there is a floor.
    pub min_epoch: Option<u32>,
    /// Since when `last_seen` is kept, RFC 3339: an epoch that was not seen since then may have been used before.
    pub watching_since: String,
    /// All epochs from the oldest to the newest.
    pub epochs: Vec<EpochView>,
}

/// One epoch of it.
#[derive(Serialize)]
pub struct EpochView {
    /// Its number.
    pub epoch: u32,
    /// See [`KeyState::word`](crate::seal::KeyState::word).
    pub state: &'static str,
    /// When its key was made, RFC 3339.
    pub created: Option<String>,
    /// See [`EpochKeys::fingerprint`](crate::seal::EpochKeys::fingerprint); `None` without a secret.
    pub fingerprint: Option<String>,
    /// When an AuthID of this epoch was last used here, RFC 3339.
    pub last_seen: Option<String>,
}

impl Health {
    /// Looks after these.
    pub fn new(
        keyring: Arc<LiveKeyring>,
        denylist: Arc<Denylist>,
        store: Arc<Store>,
        certificate: Option<Arc<LiveCertificate>>,
        meter: Meter,
    ) -> Self {
        Self { keyring, denylist, store, certificate, meter, draining: AtomicBool::new(false) }
    }

    /// From now on this process wants no more requests.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether it was told to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether it wants requests, in detail.
    pub fn readiness(&self) -> Readiness {
        let draining = self.is_draining();
        let store = self.store.health();
        Readiness {
            ready: !draining,
            draining,
            keyring: reading(self.keyring.load().entries().count(), self.keyring.readings()),
            denylist: reading(self.denylist.count(), self.denylist.readings()),
            store: StoreState {
                durable: self.store.is_durable(),
                failing_since: store.failing().map(rfc3339),
                reading_fails_since: store.reading.map(rfc3339),
                writing_fails_since: store.writing.map(rfc3339),
            },
        }
    }

    /// The keyring in force, and when each epoch was last used here.
    pub fn keyring(&self) -> KeyringView {
        let keyring = self.keyring.load();
        let epochs = keyring.entries().map(|(epoch, state, entry)| EpochView {
            epoch: epoch.number(),
            state: state.word(),
            created: entry.created.map(|time| time.to_string()),
            fingerprint: entry.keys.as_ref().ok().map(|keys| keys.fingerprint()),
            last_seen: self.meter.last_seen(epoch.number()).map(rfc3339),
        });
        KeyringView {
            digest: keyring.digest(),
            primary: keyring.primary().epoch().number(),
            min_epoch: keyring.min_epoch().map(|epoch| epoch.number()),
            watching_since: rfc3339(self.meter.watching_since()),
            epochs: epochs.collect(),
        }
    }

    /// All metrics, in Prometheus's text format.
    pub fn metrics(&self) -> String {
        let states = self.keyring.load().entries().map(|(epoch, state, _)| (epoch.number(), state.word())).collect();
        let (keyring, denylist) = (self.keyring.readings(), self.denylist.readings());
        self.meter.keyring(&states, keyring.good_at(), keyring.failed());
        self.meter.denylist(self.denylist.count(), denylist.good_at(), denylist.failed());
        if let Some(certificate) = &self.certificate {
            self.meter.certificate(certificate.ends(), certificate.readings().failed());
        }
        let store = self.store.health();
        self.meter.store(store.reading.is_some(), store.writing.is_some());
        self.meter.process(self.is_draining());
        self.meter.render()
    }
}

fn reading(entries: usize, readings: &Readings) -> Reading {
    Reading { entries, since: rfc3339(readings.good_at()), last_load_failed: readings.failed() }
}
