//! All services, by id and alias. Made from the settings in one go, with every error reported at once, so that an
//! operator corrects a configuration in one round.

use super::service::{Client, Provider, Service};
use super::{
    Availability, ClientRegistration, Flow, ProviderSettings, RefreshTokenPolicy, ServiceSettings, validate,
    validate_clients,
};
use crate::authid::ServiceId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// All services.
#[derive(Default)]
pub struct Catalogue {
    by_id: HashMap<String, Arc<Service>>,
    all: Vec<Arc<Service>>,
}

impl Catalogue {
    /// Checks the settings. `durable_store` tells whether this server has a store that outlives the process.
    ///
    /// # Errors
    /// All errors, each a sentence that begins with the key and says what to write instead, without what is there: a
    /// secret may have been put into the wrong key.
    pub fn build(
        providers: BTreeMap<String, ProviderSettings>,
        services: BTreeMap<String, ServiceSettings>,
        clients: BTreeMap<String, ClientRegistration>,
        durable_store: bool,
    ) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        for id in clients.keys().filter(|id| !providers.contains_key(*id)) {
            let service = services.iter().find(|(service, settings)| *service == id || settings.aliases.contains(id));
            let why = match service.and_then(|(_, settings)| settings.provider.as_ref()) {
                Some(provider) => format!("names a service, and clients belong to providers; write clients.{provider}"),
                None => validate::unknown_provider(id, providers.keys()),
            };
            faults.push(format!("clients.{id} {why}"));
        }
        let no_client = ClientRegistration::default();
        let mut checked = BTreeMap::new();
        for (id, settings) in providers {
            let client = clients.get(&id).unwrap_or(&no_client);
            let provider = validate::provider(&id, settings, client.tenant.as_deref(), &mut faults);
            let registered = validate_clients::client(&provider, client, &mut faults);
            let others = validate_clients::others(&provider, client, registered.as_ref(), &mut faults);
            checked.insert(id, (Arc::new(provider), client, registered, others));
        }
        let mut catalogue = Self::default();
        let complete = services.iter().filter(|(_, settings)| settings.provider.is_some());
        let known: Vec<String> = complete.map(|(id, _)| id.clone()).collect();
        for (id, settings) in services {
            let Some(name) = &settings.provider else {
                let meant = validate::nearest(&id, known.iter())
                    .map(|known| format!("; or did you mean services.{known}?"))
                    .unwrap_or_default();
                faults.push(format!("services.{id}.provider is missing; name a table of [providers]{meant}"));
                continue;
            };
            let Some((provider, client, registered, others)) = checked.get(name) else {
                let unknown = validate::unknown_provider(name, checked.keys());
                faults.push(format!("services.{id}.provider {unknown}"));
                continue;
            };
            let own =
                validate_clients::service_client(&id, provider, &settings, client, registered.as_ref(), &mut faults);
            if let Some(mut service) = service(&id, settings, provider, own, durable_store, &mut faults) {
                service.switched_off = client.enabled == Some(false);
                service.accepts_logins = client.accept_logins != Some(false);
                // One with a client of its own may have logins that the provider's made before.
                let own = service.client.as_ref().map(|client| client.id.as_str());
                let theirs = registered.iter().chain(others).filter(|other| own.is_some_and(|own| own != other.id));
                service.others = theirs.cloned().collect();
                service.refresh_token_days = client.refresh_token_days.or(service.refresh_token_days);
                catalogue.add(service, &mut faults);
            }
        }
        for (provider, ..) in checked.values() {
            let successor = provider.settings.gone.as_ref().and_then(|gone| gone.successor.as_deref());
            if successor.is_some_and(|id| catalogue.find(id).is_none()) {
                faults.push(format!("providers.{}.gone.successor is not the id of a service", provider.id));
            }
        }
        catalogue.all.sort_by_cached_key(|service| (service.name.to_lowercase(), service.id.clone()));
        if faults.is_empty() { Ok(catalogue) } else { Err(faults) }
    }

    /// The service with this id or alias.
    pub fn find(&self, id: &str) -> Option<&Arc<Service>> {
        self.by_id.get(id)
    }

    /// All services, hidden ones and those that are not offered too, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Service>> + Clone {
        self.all.iter()
    }

    /// The services that can be used here, by name.
    pub fn offered(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.all().filter(|service| service.availability() == Availability::Offered)
    }

    /// The services whose logins are served here, by name: those that can be used, and those that make no new logins.
    pub fn served(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.all().filter(|service| service.is_served())
    }

    fn add(&mut self, service: Service, faults: &mut Vec<String>) {
        let service = Arc::new(service);
        for id in std::iter::once(&service.id).chain(&service.aliases) {
            if let Some(other) = self.by_id.insert(id.as_str().to_owned(), Arc::clone(&service)) {
                let one = &other.id;
                let two = &service.id;
                faults.push(format!("services.{two} and services.{one} share an id or an alias; give it to one only"));
            }
        }
        self.all.push(service);
    }
}

fn service(
    id: &str,
    settings: ServiceSettings,
    provider: &Arc<Provider>,
    client: Option<Client>,
    durable_store: bool,
    faults: &mut Vec<String>,
) -> Option<Service> {
    let needs_scopes = provider.settings.gone.is_none()
        && provider.flow() == Flow::Code
        && provider.settings.send_scope.unwrap_or(true)
        && settings.scopes.is_empty();
    if needs_scopes {
        let provider = &provider.id;
        faults.push(format!(
            "services.{id}.scopes is empty; list the scopes to ask for, or set providers.{provider}.send_scope = false"
        ));
    }
    // RFC 6749 section 3.3.
    let is_scope =
        |scope: &str| !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    for (at, _) in settings.scopes.iter().enumerate().filter(|(_, scope)| !is_scope(scope)) {
        faults.push(format!(
            "services.{id}.scopes has no scope as its entry {}; write each as a string of its own, without spaces",
            at + 1
        ));
    }
    let mut checked = |key: &str, parsed: Option<ServiceId>, letters: &str| {
        if parsed.is_none() {
            faults.push(format!("{key} an id that is not 1 to 32 of {letters}, 0-9, `.`, `_` and `-`"));
        }
        parsed
    };
    let aliases = settings.aliases.iter();
    let alias =
        |text: &String| checked(&format!("services.{id}.aliases has"), ServiceId::parse_alias(text), "a-z, A-Z");
    let aliases = aliases.filter_map(alias).collect();
    Some(Service {
        id: checked(&format!("services.{id} has"), ServiceId::parse(id), "a-z")?,
        name: settings.name.unwrap_or_else(|| id.to_owned()),
        aliases,
        hidden: settings.hidden,
        duplicati: settings.duplicati,
        scopes: settings.scopes,
        provider: Arc::clone(provider),
        client,
        others: Vec::new(),
        accepts_logins: true,
        switched_off: false,
        needs_store: provider.rotation() == RefreshTokenPolicy::SingleUse && !durable_store,
        renewed: provider.rotation() != RefreshTokenPolicy::Static && durable_store,
        refresh_token_days: provider.settings.refresh_token_days,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{built_in, clients};
    use super::*;

    fn catalogue(clients: BTreeMap<String, ClientRegistration>, durable_store: bool) -> Result<Catalogue, Vec<String>> {
        let (providers, services) = built_in();
        Catalogue::build(providers, services, clients, durable_store)
    }

    #[test]
    fn every_service_that_clients_ask_for_is_built_in() {
        let catalogue = catalogue(BTreeMap::new(), false).unwrap();
        for id in
            "googledrive googledocs gcs onedrivev2 sharepoint msgroup box.com box dropbox jottacloud pcloud onedrive"
                .split(' ')
        {
            let service = catalogue.find(id).unwrap();
            assert_eq!(service.hidden, ["googledocs", "onedrive"].contains(&id), "{id}");
            assert_ne!(service.availability(), Availability::Offered, "{id}");
        }
        assert_eq!(catalogue.find("box").unwrap().id.as_str(), "box.com");
        assert!(catalogue.find("Box").is_none());
        let names: Vec<_> = catalogue.all().map(|service| service.name.as_str()).collect();
        assert_eq!(names[..4], ["Box", "Dropbox", "Google Cloud Storage", "Google Drive"]);
        assert_eq!(names.len(), 11);
    }

    #[test]
    fn a_service_is_offered_when_it_has_a_client_and_the_store_it_needs() {
        let mut some = clients(["google", "box"]);
        some.insert("jottacloud".into(), ClientRegistration { enabled: Some(true), ..ClientRegistration::default() });
        some.insert(
            "dropbox".into(),
            ClientRegistration { enabled: Some(false), ..clients(["x"]).remove("x").unwrap() },
        );
        for durable in [false, true] {
            let catalogue = catalogue(some.clone(), durable).unwrap();
            let availability = |id| catalogue.find(id).unwrap().availability();
            let rotating = if durable { Availability::Offered } else { Availability::NeedsStore };
            assert_eq!(availability("googledocs"), Availability::Offered);
            assert_eq!(catalogue.offered().count(), if durable { 5 } else { 3 });
            assert_eq!([availability("box"), availability("jottacloud")], [rotating; 2]);
            assert_eq!(availability("dropbox"), Availability::SwitchedOff);
            assert_eq!(availability("pcloud"), Availability::NotConfigured);
            let gone = availability("onedrive");
            assert!(matches!(gone, Availability::Gone { successor: Some("onedrivev2"), .. }), "{gone:?}");
        }
        let id = ClientRegistration { id: Some("jottacli".into()), ..ClientRegistration::default() };
        let catalogue = catalogue([("jottacloud".to_owned(), id)].into(), true).unwrap();
        assert_eq!(catalogue.find("jottacloud").unwrap().availability(), Availability::Offered);
    }

    #[test]
    fn a_service_can_have_a_client_of_its_own() {
        let (providers, mut services) = built_in();
        let gcs = services.get_mut("gcs").unwrap();
        (gcs.client_id, gcs.client_secret) = (Some("own".into()), Some("s".into()));
        let catalogue = Catalogue::build(providers, services, BTreeMap::new(), false).unwrap();
        assert_eq!(catalogue.find("gcs").unwrap().client.as_ref().unwrap().id, "own");
        assert_eq!(catalogue.find("googledrive").unwrap().availability(), Availability::NotConfigured);
    }

    #[test]
    fn a_tenant_goes_into_the_urls() {
        let mut clients = clients(["microsoft"]);
        clients.get_mut("microsoft").unwrap().tenant = Some("contoso.example".into());
        let catalogue = catalogue(clients, false).unwrap();
        let url = catalogue.find("msgroup").unwrap().provider.authorize.clone().unwrap();
        assert_eq!(url.as_str(), "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/authorize");
        let rotation = Some(RefreshTokenPolicy::Static);
        let issuer = Some("https://x.example/{tenant}".into());
        let settings = ProviderSettings { issuer, rotation, ..ProviderSettings::default() };
        let client =
            ClientRegistration { id: Some("i".into()), tenant: Some("t".into()), ..ClientRegistration::default() };
        let mut faults = Vec::new();
        let provider = validate::provider("p", settings, client.tenant.as_deref(), &mut faults);
        validate_clients::client(&provider, &client, &mut faults);
        assert_eq!((provider.issuer(), faults), (Some("https://x.example/t"), Vec::new()));
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let (mut providers, mut services) = built_in();
        let faulty: BTreeMap<String, ProviderSettings> = toml::from_str(
            r#"
            [plain]
            rotation = "none"
            authorize_url = "http://example.com/a"
            token_url = "https://{realm}.example.com/t"
            withdraw_url = "javascript:alert(1)"
            authorize_params = { state = "x" }
            errors = { "Bad code" = "later" }
            [bare]
            [hosts]
            rotation = "none"
            authorize_url = "https://example.com/"
            token_url = "https://example.com/"
            token_hosts = { a = "b" }
            revoke_ends_all_logins = true
            [lan]
            rotation = "none"
            issuer = "https://192.168.0.1"
            [ended]
            gone = { reason = "caf\u00e9", successor = "nothing" }
            [tenant]
            rotation = "none"
            issuer = "https://example.com"
            default_tenant = "a/b"
            "#,
        )
        .unwrap();
        providers.extend(faulty);
        let more: BTreeMap<String, ServiceSettings> = toml::from_str(
            r#"
            [none]
            [typo]
            provider = "gogle"
            [empty]
            provider = "tenant"
            aliases = ["box", "No", "N o"]
            [spaced]
            provider = "tenant"
            scopes = ["a b"]
            client_secret = "s"
            [UPPER]
            provider = "live"
            "#,
        )
        .unwrap();
        services.extend(more);
        let clients: BTreeMap<String, ClientRegistration> = toml::from_str(
            r#"
            [dropbx]
            id = "x"
            [box]
            id = "x"
            [google]
            secret = "s"
            [dropbox]
            id = ""
            enabled = true
            [pcloud]
            tenant = "t"
            refresh_token_days = 0
            "#,
        )
        .unwrap();
        let faults = Catalogue::build(providers, services, clients, false).err().unwrap();
        let expected = [
            "clients.dropbx names no provider; did you mean `dropbox`?",
            "clients.box.secret is missing",
            "clients.google.secret stands alone",
            "clients.dropbox.enabled = true is not enough",
            "providers.plain.authorize_url must begin with https://",
            "providers.plain.token_url has an unknown placeholder",
            "providers.plain.withdraw_url must name a host",
            "providers.plain.authorize_params.state is made by the server",
            "providers.plain.errors has `Bad code`",
            "providers.bare.token_url is missing",
            "providers.bare.authorize_url is missing",
            "providers.bare.rotation is missing; write \"none\" if",
            "providers.hosts.token_hosts needs `{host}`",
            "providers.hosts.token_hosts needs `raw_token = true`",
            "providers.hosts.revoke_ends_all_logins is of no use",
            "providers.lan.issuer names a private address",
            "providers.ended.gone.reason must be",
            "providers.ended.gone.successor is not the id",
            "providers.tenant.default_tenant or the client's",
            "clients.pcloud.tenant is of no use",
            "clients.pcloud.refresh_token_days must be at least 1",
            "services.none.provider is missing",
            "services.typo.provider names no provider; did you mean `google`?",
            "services.empty.scopes is empty",
            "services.empty.aliases has an id that is not",
            "services.empty and services.box.com share an id or an alias",
            "services.spaced.scopes has no scope as its entry 1",
            "services.spaced.client_secret stands alone",
            "services.UPPER has an id that is not",
        ];
        for text in expected {
            assert!(faults.iter().any(|fault| fault.contains(text)), "{text}\n{faults:#?}");
        }
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    }

    #[test]
    fn a_provider_without_a_rotation_is_a_fault_and_every_built_in_one_has_it() {
        for (id, mut settings) in built_in().0 {
            assert!(settings.rotation.take().is_some() || settings.gone.is_some(), "{id}");
            let ended = settings.gone.is_some();
            let mut faults = Vec::new();
            validate::provider(&id, settings, None, &mut faults);
            assert_eq!(faults.is_empty(), ended, "{id}: {faults:?}");
            let named =
                |fault: &String| ["\"none\"", "\"rolling\"", "\"single_use\""].iter().all(|n| fault.contains(n));
            assert!(faults.iter().all(named), "{faults:?}");
        }
    }
}
