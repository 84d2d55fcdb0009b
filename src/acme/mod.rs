//! Certificates by ACME (RFC 8555): ordered, renewed and kept by this server itself. What is issued becomes a file, which
//! [`crate::tls`] follows as it follows the files of others; nothing else takes a certificate into force.
//!
//! All that is known lies in one folder: account, certificate, answers to challenges, and how the last attempt went. So a
//! restart orders nothing, and replicas that share the folder take turns and answer each other's challenges. Before the
//! first certificate there is a placeholder, which expired long ago: clients refuse it, and each alarm about expired
//! certificates tells of it.

mod attempt;
mod cache;
mod challenge;
mod fault;
mod http;
mod order;

pub use fault::Fault;

use crate::clock::{Clock, UnixTime, rfc3339};
use crate::meter::Meter;
use crate::provider::Outbound;
use crate::tls::{LiveCertificate, PairFiles};
use attempt::Attempt;
use cache::Cache;
use rustls::ServerConfig;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often the folder is looked at: another replica may have been there, and the clock may have been set.
const LOOK: Duration = Duration::from_secs(2);
/// For a whole order: authorities look from several places, and some of them take their time.
const PATIENCE: Duration = Duration::from_secs(600);

/// `[acme]`, checked.
#[derive(Clone, Debug)]
pub struct AcmeSettings {
    /// The names that the certificate is for, in lower case, at least one.
    pub domains: Vec<String>,
    /// The mail address of the account.
    pub contact: String,
    /// The URL of the authority's directory.
    pub directory: String,
    /// The folder for all of it.
    pub cache: PathBuf,
    /// A PEM file with authorities for the directory's own certificate, beside those of `outbound`.
    pub ca_file: Option<PathBuf>,
    /// How names are proved: over http (http-01), or else in a TLS handshake (tls-alpn-01).
    pub over_http: bool,
}

impl AcmeSettings {
    /// The one file with the chain and its key.
    pub fn files(&self) -> PairFiles {
        let file = self.cache.join("certificate.pem");
        PairFiles { cert: file.clone(), key: file, acme: true }
    }

    /// The folder of the answers to challenges under way.
    pub fn challenges(&self) -> PathBuf {
        challenges(&self.cache)
    }
}

fn challenges(cache: &Path) -> PathBuf {
    cache.join("challenges")
}

/// The certificate of a server that speaks TLS itself, and what orders it where this server has it issued.
#[derive(Clone)]
pub struct Certificate {
    /// The one in force.
    pub live: Option<Arc<LiveCertificate>>,
    /// Whoever orders it.
    pub acme: Option<Arc<Acme>>,
}

impl Certificate {
    /// What rustls serves with; `None` where the server does not speak TLS.
    ///
    /// # Errors
    /// As for [`LiveCertificate::server_config`].
    pub fn server_config(&self) -> Result<Option<ServerConfig>, rustls::Error> {
        let config = |live: &Arc<LiveCertificate>| match &self.acme {
            Some(acme) => acme.server_config(live),
            None => live.server_config(),
        };
        self.live.as_ref().map(config).transpose()
    }
}

/// What orders certificates.
pub struct Acme {
    settings: AcmeSettings,
    cache: Cache,
    outbound: Outbound,
    clock: Clock,
    meter: Meter,
    /// The last attempt, and when the next one is due.
    seen: Mutex<(Attempt, UnixTime)>,
}

/// How it does. Times are RFC 3339.
#[derive(Debug, Serialize)]
pub struct AcmeView {
    /// The authority's directory.
    pub directory: String,
    /// The names.
    pub domains: Vec<String>,
    /// When a certificate was last ordered, by this replica or another one that has the folder.
    pub last_attempt: Option<String>,
    /// How many attempts have failed in a row.
    pub failures: u32,
    /// Why the last one failed; `None` if it did not.
    pub fault: Option<String>,
    /// When the next one is due.
    pub next_attempt: String,
}

impl Acme {
    /// Prepares the folder, so that there is a certificate to begin with.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub fn open(settings: AcmeSettings, outbound: Outbound, clock: Clock, meter: Meter) -> Result<Self, Fault> {
        let cache = Cache::open(&settings)?;
        let seen = Mutex::new((cache.attempt(), clock.now()));
        Ok(Self { settings, cache, outbound, clock, meter, seen })
    }

    /// Orders and renews, until nobody else has it any more.
    pub fn start(self: &Arc<Self>) {
        tokio::spawn(run(Arc::downgrade(self)));
    }

    /// What rustls serves with, challenges included.
    ///
    /// # Errors
    /// As for [`LiveCertificate::server_config`].
    fn server_config(&self, certificate: &Arc<LiveCertificate>) -> Result<ServerConfig, rustls::Error> {
        let config = certificate.server_config()?;
        Ok(match self.settings.over_http {
            true => config,
            false => challenge::answering(config, &self.settings),
        })
    }

    /// How it does.
    pub fn view(&self) -> AcmeView {
        let (attempt, next) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        AcmeView {
            directory: self.settings.directory.clone(),
            domains: self.settings.domains.clone(),
            last_attempt: attempt.tried.map(rfc3339),
            failures: attempt.failures,
            fault: attempt.fault,
            next_attempt: rfc3339(next),
        }
    }

    /// Orders a certificate if it is time. `again`: this process has tried before.
    async fn look(&self, again: &mut bool) {
        if self.show(*again) > self.clock.now() {
            return;
        }
        let lock = match self.cache.lock() {
            Ok(Some(lock)) => lock,
            Ok(None) => return, // another replica is at it
            Err(fault) => return self.failed(&self.cache.attempt(), fault, None, again),
        };
        // Another replica may have been here in between.
        let attempt = self.cache.attempt();
        if self.next(&attempt, *again) > self.clock.now() {
            return;
        }
        // Should this process end meanwhile, it was an attempt all the same.
        let begun = attempt.failed(self.clock.now(), "it was broken off".to_owned(), None);
        let http = http::Http::new(&self.outbound, self.settings.ca_file.as_deref(), self.clock.clone());
        let outcome = match (self.cache.put_attempt(&begun), http) {
            (Err(fault), _) | (_, Err(fault)) => Err((fault, None)),
            (Ok(()), Ok(http)) => {
                let told = http.told();
                let ordered = timeout(PATIENCE, order::order(&self.settings, &self.cache, http)).await;
                let ordered = ordered.unwrap_or_else(|_| Err(Fault::Refused("it takes too long".to_owned())));
                let placed = ordered.and_then(|pem| self.cache.put_certificate(&pem, self.clock.now()));
                placed.map_err(|fault| (fault, told.get()))
            }
        };
        self.cache.clear_challenges();
        match outcome {
            Ok(()) => {
                *again = true;
                self.meter.acme_order("issued");
                tracing::info!(domains = ?self.settings.domains, "certificate issued");
                let done = Attempt::done(self.clock.now());
                if let Err(fault) = self.cache.put_attempt(&done) {
                    tracing::error!(%fault, "how the order of a certificate went could not be written down");
                }
            }
            Err((fault, told)) => self.failed(&attempt, fault, told, again),
        }
        self.show(*again);
        drop(lock);
    }

    /// Has others see how it does; gives when the next order is due.
    fn show(&self, again: bool) -> UnixTime {
        let attempt = self.cache.attempt();
        let next = self.next(&attempt, again).max(self.clock.now());
        self.meter.acme_next(next);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = (attempt, next);
        next
    }

    /// When the next order is due.
    fn next(&self, attempt: &Attempt, again: bool) -> UnixTime {
        let due = self.cache.due();
        attempt.earliest(self.clock.now(), again).map_or(due, |earliest| due.max(earliest))
    }

    fn failed(&self, before: &Attempt, fault: Fault, told: Option<UnixTime>, again: &mut bool) {
        *again = true;
        self.meter.acme_order(fault.label());
        let mut attempt = before.failed(self.clock.now(), fault.to_string(), told);
        attempt.gentle = !matches!(fault, Fault::Unreachable(_));
        let next = rfc3339(attempt.earliest(self.clock.now(), true).unwrap_or_default());
        tracing::error!(%fault, next_attempt = next, "no certificate was issued; the one in force stays");
        // Where the folder cannot be written to, the attempt is remembered by this process alone.
        if self.cache.put_attempt(&attempt).is_err() {
            self.cache.remember(attempt);
        }
    }
}

async fn run(acme: Weak<Acme>) {
    let mut again = false;
    while let Some(acme) = acme.upgrade() {
        acme.look(&mut again).await;
        drop(acme);
        sleep(LOOK).await;
    }
}
