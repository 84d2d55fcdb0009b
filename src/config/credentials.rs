//! Client ids and secrets: what is there has to have something in it.

use super::check::Keys;
use crate::provider::{ClientFacts, ServiceFacts};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;

impl Keys<'_> {
    pub(super) fn credentials(
        &mut self,
        clients: &BTreeMap<String, ClientFacts>,
        services: &BTreeMap<String, ServiceFacts>,
    ) {
        for (id, client) in clients {
            self.filled(&["clients", id, "id"], client.id.as_deref());
            self.filled(&["clients", id, "secret"], client.secret.as_ref().map(ExposeSecret::expose_secret));
        }
        for (id, service) in services {
            self.filled(&["services", id, "client_id"], service.client_id.as_deref());
            self.filled(
                &["services", id, "client_secret"],
                service.client_secret.as_ref().map(ExposeSecret::expose_secret),
            );
        }
    }
}
