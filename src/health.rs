//! How this process does: what of its files is in force, how its store answers, whether it is about to end. For those
//! who run it; nothing here is secret, and no provider is ever asked.

use crate::acme::{AcmeView, Certificate};
use crate::clock::rfc3339;
use crate::denylist::Denylist;
use crate::keyring_file::LiveKeyring;
use crate::meter::{File, Meter};
use crate::replication::{Progress, Replication};
use crate::store::Store;
use crate::watch::LoadStatus;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How this process does.
pub struct Health {
    keyring: Arc<LiveKeyring>,
    denylist: Arc<Denylist>,
    store: Arc<Store>,
    replication: Arc<Replication>,
    certificate: Certificate,
    password: Option<Arc<LoadStatus>>,
    configuration: LoadStatus,
    meter: Meter,
    draining: AtomicBool,
}

/// Whether this process wants requests, and what it has to serve them with.
#[derive(Serialize)]
pub struct Readiness {
    /// Whether it wants more requests: until it is told to end, and not before it has got what others revoked where its own
    /// denylist was empty. A file that became faulty or a store that fails does not change that: what was
    /// read before is in force, and the services that need no store continue.
    pub ready: bool,
    /// Whether it was told to end.
    pub draining: bool,
    /// The configuration, which is read when somebody asks for that.
    pub configuration: Reading,
    /// The keyring.
    pub keyring: Reading,
    /// The denylist.
    pub denylist: Reading,
    /// Certificate and key, where this server speaks TLS itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Reading>,
    /// How the orders of that certificate go, where this server has it issued itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeView>,
    /// The file of the shared password, where one is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Reading>,
    /// The state store.
    pub store: StoreState,
    /// Where revocations of other servers come from; nothing where denylists are not exchanged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replication: Vec<SourceState>,
}

/// How far the exchange of denylists with one source is.
#[derive(Serialize)]
pub struct SourceState {
    /// `redis`, or the URL of a replica's denylist.
    pub from: String,
    /// Since when what others revoke may be missing here, RFC 3339; `None` if it is not.
    pub behind_since: Option<String>,
    /// How many rules of the own denylist are not there yet.
    pub unsent: usize,
}

/// What of a file is in force.
#[derive(Serialize)]
pub struct Reading {
    /// How many epochs or rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<usize>,
    /// When it was read, RFC 3339.
    pub since: String,
    /// Whether the file could not be read since, or has an error.
    pub last_load_failed: bool,
    /// Since when that is so, RFC 3339; `None` if it is not.
    pub stale_since: Option<String>,
    /// When the file was last looked at, changed or not, RFC 3339; `None` where there is no file to follow.
    pub last_look: Option<String>,
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
    /// See [`KeyState::label`](crate::seal::KeyState::label).
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
        replication: Arc<Replication>,
        certificate: Certificate,
        password: Option<Arc<LoadStatus>>,
        meter: Meter,
    ) -> Self {
        let health = Self {
            keyring,
            denylist,
            store,
            replication,
            certificate,
            password,
            configuration: LoadStatus::begun(false),
            meter,
            draining: AtomicBool::new(false),
        };
        health.count_epochs();
        health
    }

    /// The configuration was read again, and is in force or was refused.
    pub fn reloaded(&self, well: bool) {
        self.configuration.note(well);
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
            ready: !draining && !self.replication.is_new(),
            draining,
            configuration: reading(None, &self.configuration),
            keyring: reading(Some(self.keyring.load().entries().count()), self.keyring.load_status()),
            denylist: reading(Some(self.denylist.count()), self.denylist.load_status()),
            certificate: self.certificate.live.as_ref().map(|certificate| reading(None, certificate.load_status())),
            acme: self.certificate.acme.as_ref().map(|acme| acme.view()),
            password: self.password.as_ref().map(|load_status| reading(None, load_status)),
            store: StoreState {
                durable: self.store.is_durable(),
                failing_since: store.failing().map(rfc3339),
                reading_fails_since: store.reading.map(rfc3339),
                writing_fails_since: store.writing.map(rfc3339),
            },
            replication: self.replication.progress().iter().map(|source| source_state(source)).collect(),
        }
    }

    /// The keyring in force, and when each epoch was last used here.
    pub fn keyring(&self) -> KeyringView {
        let keyring = self.keyring.load();
        let epochs = keyring.entries().map(|(epoch, state, entry)| EpochView {
            epoch: epoch.number(),
            state: state.label(),
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
        self.count_epochs();
        self.meter.denylist(self.denylist.count());
        self.file(&File::CONFIGURATION, &self.configuration);
        self.file(&File::KEYRING, self.keyring.load_status());
        self.file(&File::DENYLIST, self.denylist.load_status());
        if let Some(certificate) = &self.certificate.live {
            self.meter.certificate(certificate.ends());
            self.file(&File::CERTIFICATE, certificate.load_status());
        }
        if let Some(load_status) = &self.password {
            self.file(&File::PASSWORD, load_status);
        }
        let store = self.store.health();
        self.meter.store(store.reading.is_some(), store.writing.is_some());
        for source in self.replication.progress() {
            self.meter.replication(source.name(), source.behind(), source.unsent());
        }
        self.meter.process(self.is_draining());
        self.meter.render()
    }

    fn count_epochs(&self) {
        let states = self.keyring.load().entries().map(|(epoch, state, _)| (epoch.number(), state.label())).collect();
        self.meter.keyring(&states);
    }

    fn file(&self, file: &File, load_status: &LoadStatus) {
        self.meter.file(file, load_status.good_at(), load_status.stale_since().is_some(), load_status.looked_at());
    }
}

fn source_state(source: &Progress) -> SourceState {
    let behind_since = source.behind_since().map(rfc3339);
    SourceState { from: source.name().to_owned(), behind_since, unsent: source.unsent() }
}

fn reading(entries: Option<usize>, load_status: &LoadStatus) -> Reading {
    let stale_since = load_status.stale_since().map(rfc3339);
    Reading {
        entries,
        since: rfc3339(load_status.good_at()),
        last_load_failed: stale_since.is_some(),
        stale_since,
        last_look: load_status.looked_at().map(rfc3339),
    }
}
