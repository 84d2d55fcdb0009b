//! Client ids and secrets: what is there has to have something in it, and one must not have been copied with the other.

use super::check::Checker;
use super::registrations::registrations;
use crate::provider::{ClientRegistration, ServiceSettings};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;

/// From how many bytes on a text is not by chance a part of another.
const ALONE: usize = 8;

impl Checker<'_> {
    pub(super) fn credentials(
        &mut self,
        clients: &BTreeMap<String, ClientRegistration>,
        services: &BTreeMap<String, ServiceSettings>,
    ) {
        for client in registrations(clients) {
            self.filled(&client.key("id"), client.id);
            for (key, secret) in client.secrets() {
                self.pair([&client.key("id"), &key], client.id, Some(secret));
            }
        }
        for (id, service) in services {
            let secret = service.client_secret.as_ref().map(ExposeSecret::expose_secret);
            let keys: [&[&str]; 2] = [&["services", id, "client_id"], &["services", id, "client_secret"]];
            self.filled(keys[0], service.client_id.as_deref());
            self.pair(keys, service.client_id.as_deref(), secret);
        }
    }

    fn pair(&mut self, [id_key, secret_key]: [&[&str]; 2], id: Option<&str>, secret: Option<&str>) {
        self.filled(secret_key, secret);
        let (Some(id), Some(secret)) = (id, secret) else { return };
        let holds = |text: &str, other: &str| text != other && other.len() >= ALONE && text.contains(other);
        if holds(secret, id) {
            self.fault(secret_key, "holds the client id too; keep the secret alone");
        }
        if holds(id, secret) {
            self.fault(id_key, "holds the secret too; keep the id alone");
        }
    }
}
