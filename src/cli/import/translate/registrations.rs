//! The registrations at providers that services were taken over with: the first is the provider's, and a service that had
//! another one has it to itself.

use super::Work;
use crate::cli::import::report::{Became, shown};
use crate::cli::import::services::OldService;
use crate::provider::{Provider, Service};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// A registration at a provider.
pub(super) struct Registration {
    provider: Arc<Provider>,
    client_id: String,
    secret: SecretString,
    tenant: Option<String>,
}

impl Work<'_> {
    /// The provider's registration, or one of this service's own where another has the provider's.
    pub(super) fn register(
        &mut self,
        id: &str,
        old: &OldService,
        base: &Arc<Provider>,
        tenant: Option<String>,
    ) -> String {
        let provider = base.id().to_owned();
        let is_public = old.kind.as_ref().is_some_and(|kind| kind.public);
        let new = Registration {
            provider: Arc::clone(base),
            client_id: old.client_id.clone(),
            secret: if is_public { SecretString::default() } else { old.client_secret.clone() },
            tenant,
        };
        let Some(first) = self.registrations.get(&provider) else {
            self.registrations.insert(provider.clone(), new);
            return provider;
        };
        let same_secret = first.secret.expose_secret() == new.secret.expose_secret();
        if first.client_id != new.client_id || !same_secret {
            let tables = &mut self.made.tables;
            tables.set(&["services", id, "client_id"], old.client_id.as_str());
            tables.set_secret(["services", id], "client_secret", format!("service-{id}-secret"), &old.client_secret);
        }
        if first.tenant != new.tenant {
            let line = format!(
                "service {}: it was of another tenant than the others of {provider}, and there is one tenant for all",
                shown(&old.id)
            );
            self.report.add(Became::Differs, line);
        }
        provider
    }

    /// The tables of all providers' registrations; services of theirs that were not there before are not shown.
    pub(super) fn registrations(&mut self) {
        for (id, registration) in &self.registrations {
            let tables = &mut self.made.tables;
            let is_public =
                registration.provider.settings().public_client_id.as_deref() == Some(&registration.client_id);
            match is_public {
                true => tables.set(&["clients", id, "enabled"], true),
                false => tables.set(&["clients", id, "id"], registration.client_id.as_str()),
            }
            if !registration.secret.expose_secret().is_empty() {
                tables.set_secret(["clients", id], "secret", format!("{id}-secret"), &registration.secret);
            }
            if let Some(tenant) = &registration.tenant {
                tables.set(&["clients", id, "tenant"], tenant.as_str());
            }
            let of_it = |service: &&Arc<Service>| service.provider.id() == id;
            for service in self.catalogue.all().filter(of_it) {
                let service_id = service.id.as_str();
                if self.taken.contains(service_id) {
                    continue;
                }
                if !service.hidden {
                    tables.set(&["services", service_id, "hidden"], true);
                }
                let line = format!(
                    "service `{service_id}`: whoever knows it can log in there too, with the registration at {id}"
                );
                self.report.add(Became::Differs, line);
            }
        }
    }
}
