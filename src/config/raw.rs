//! The keys as they are written, with their types, not yet validated; those of providers are in `provider`. What a
//! key means is in docs/configuration.md. A test compares this list with that page and with the example file.

use super::LogFormat;
use crate::provider::{ClientRegistration, ProviderSettings, ServiceSettings};
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) public_url: Option<String>,
    pub(super) listen: Vec<String>,
    pub(super) tls: Tls,
    pub(super) acme: Acme,
    pub(super) server: Server,
    pub(super) admin: Admin,
    pub(super) keyring: Keyring,
    pub(super) denylist: Denylist,
    pub(super) state: State,
    pub(super) outbound: Outbound,
    pub(super) access: Access,
    pub(super) delivery: Delivery,
    pub(super) clients: BTreeMap<String, ClientRegistration>,
    pub(super) providers: BTreeMap<String, ProviderSettings>,
    pub(super) services: BTreeMap<String, ServiceSettings>,
    pub(super) refresh: Refresh,
    pub(super) legacy: Legacy,
    pub(super) limits: Limits,
    pub(super) site: Site,
    pub(super) privacy: Privacy,
    pub(super) log: Log,
    pub(super) acme_challenge_dir: Option<String>,
    pub(super) templates_dir: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) redirect_listen: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Acme {
    pub(super) contact: Option<String>,
    pub(super) domains: Vec<String>,
    pub(super) directory: Option<String>,
    pub(super) cache: Option<String>,
    pub(super) ca_file: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    pub(super) trusted_proxies: Vec<String>,
    pub(super) drain_seconds: u64,
    pub(super) max_connections: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    pub(super) listen: Vec<String>,
    pub(super) names: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Keyring {
    pub(super) file: Option<String>,
    pub(super) text: Option<SecretString>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Denylist {
    pub(super) file: Option<String>,
    pub(super) create: bool,
    pub(super) replicate: bool,
    pub(super) follow: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct State {
    pub(super) store: Option<SecretString>,
    pub(super) ca_file: Option<String>,
    pub(super) redis_wait: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Outbound {
    pub(super) proxy: Option<SecretString>,
    pub(super) ca_file: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Access {
    pub(super) password_file: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Delivery {
    pub(super) trusted_origins: Vec<String>,
    pub(super) loopback: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Refresh {
    pub(super) wait_seconds: u64,
    pub(super) max_waiting: Option<u64>,
    pub(super) brake_logins: u64,
    pub(super) brake_refused: u64,
    pub(super) allow_query_authid: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Legacy {
    pub(super) v2: bool,
    pub(super) v1_dir: Option<String>,
    pub(super) export_url: Option<String>,
    pub(super) export_key: Option<SecretString>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) invalid_authids: u64,
    pub(super) provider_calls: u64,
    pub(super) provider_calls_in_all: u64,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Site {
    pub(super) name: Option<String>,
    pub(super) contact: Option<String>,
    pub(super) imprint_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Privacy {
    pub(super) url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: Option<String>,
    pub(super) format: LogFormat,
}
