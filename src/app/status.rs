//! How a server does, in one answer: what an operator asks before looking anywhere else. Gathered from the modules that
//! know; nothing of it is secret.

use super::App;
use crate::clock::rfc3339;
use crate::health::{KeyringView, Readiness};
use crate::meter::{ALARMS, Alarm, Calls};
use crate::tokens::OldView;
use serde::Serialize;
use std::collections::BTreeMap;

/// How a server does. Times are RFC 3339.
#[derive(Serialize)]
pub struct Status {
    version: &'static str,
    commit: &'static str,
    now: String,
    started: String,
    public_url: String,
    /// The file; `None` where everything comes from the environment.
    configuration: Option<String>,
    services: Vec<String>,
    readiness: Readiness,
    keyring: KeyringView,
    store: &'static str,
    /// When the certificate ends, where this server speaks TLS itself.
    certificate_ends: Option<String>,
    /// When the secrets of clients end, where the configuration tells.
    secrets_end: BTreeMap<String, String>,
    /// Those that were called.
    providers: BTreeMap<String, ProviderStatus>,
    legacy: OldView,
    /// The last warnings and errors of the log.
    log: Vec<Alarm>,
}

#[derive(Serialize)]
struct ProviderStatus {
    last_good: Option<String>,
    last_failed: Option<String>,
    /// How that is counted in `authseal_provider_seconds`.
    failure: Option<&'static str>,
}

impl From<Calls> for ProviderStatus {
    fn from(Calls { well, failed }: Calls) -> Self {
        let (last_failed, failure) = failed.map(|(at, word)| (rfc3339(at), word)).unzip();
        Self { last_good: well.map(rfc3339), last_failed, failure }
    }
}

impl App {
    /// How this server does.
    pub fn status(&self) -> Status {
        let meter = &self.meter;
        Status {
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("BUILD_COMMIT"),
            now: rfc3339(meter.clock().now()),
            started: rfc3339(meter.watching_since()),
            public_url: self.public_url.to_string(),
            configuration: self.file.as_ref().map(|file| file.display().to_string()),
            services: self.catalogue().offered().map(|service| service.id.to_string()).collect(),
            readiness: self.health.readiness(),
            keyring: self.health.keyring(),
            store: self.store.name(),
            certificate_ends: self.certificate.live.as_ref().map(|certificate| rfc3339(certificate.ends())),
            secrets_end: meter.secrets().into_iter().map(|(client, end)| (client, rfc3339(end))).collect(),
            providers: meter.providers().into_iter().map(|(id, calls)| (id, calls.into())).collect(),
            legacy: self.tokens.old_authids(),
            log: ALARMS.all(),
        }
    }
}
