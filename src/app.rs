//! The composition root: a checked [`Config`] becomes the modules of a server, each wired once. What only one of them
//! asks for passes through whole, as [`HttpSettings`] does; where to listen is left to the server.

mod certificate;
mod live;
mod status;
mod tend;

pub use live::{LiveApp, Load, Outcome, Verdict};
pub use status::Status;

use crate::acme::{Acme, Certificate};
use crate::clock::Clock;
use crate::config::{Config, Delivery, HttpSettings, KeyringSource, Keys};
use crate::denylist::Denylist;
use crate::health::Health;
use crate::keyring_file::LiveKeyring;
use crate::login::{DeliveryRules, Logins};
use crate::meter::Meter;
use crate::net::Origin;
use crate::pages::Pages;
use crate::password::{PasswordFile, SharedPassword};
use crate::provider::{Catalogue, Probe, ProviderClient};
use crate::rate_limit::Limits;
use crate::replication::{Replicas, Replication};
use crate::store::{Store, StoreError, StorePlace};
use crate::tokens::{Settings, TokenService};
use crate::watch::Watch;
use secrecy::ExposeSecret;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;
use tokio::time::Instant;
use url::Url;

/// A server's modules, its address, and how it reads and answers requests: by one configuration. Of another one, which
/// takes its place, it differs in the settings; what is remembered, counted and under way belongs to both.
#[derive(Clone)]
pub struct App {
    tokens: TokenService,
    logins: Logins,
    limits: Limits,
    store: Arc<Store>,
    replication: Arc<Replication>,
    password: Option<Arc<SharedPassword>>,
    certificate: Certificate,
    providers: Arc<ProviderClient>,
    pages: Arc<Pages>,
    watch: Arc<Watch>,
    health: Arc<Health>,
    meter: Meter,
    keys: Keys,
    public_url: Url,
    own_origin: Origin,
    http: HttpSettings,
    file: Option<PathBuf>,
}

/// Everything that keeps the server from starting, beyond its configuration: one sentence each.
#[derive(Debug, Error)]
#[error("{}", .0.join("\n"))]
pub struct StartupError(Vec<String>);

impl App {
    /// Opens the keyring, the denylist and what else there is, starts to follow these files, and wires everything
    /// together. Calls no provider: its outage must not keep this server from starting.
    ///
    /// # Errors
    /// All files that are missing or faulty.
    pub fn build(config: Config, public_url: Url, clock: Clock) -> Result<Self, StartupError> {
        Self::with_store(Store::open, config.replicas.clone(), false, config, public_url, clock)
    }

    /// The same for a look at it, which may be root's: what the server would make is not made.
    ///
    /// # Errors
    /// As [`App::build`].
    pub fn examine(config: Config, public_url: Url, clock: Clock) -> Result<Self, StartupError> {
        Self::with_store(Store::attach, Replicas::default(), true, config, public_url, clock)
    }

    fn with_store(
        open: fn(&StorePlace, Clock) -> Result<Store, StoreError>,
        replicas: Replicas,
        examine: bool,
        config: Config,
        public_url: Url,
        clock: Clock,
    ) -> Result<Self, StartupError> {
        let mut faults = Vec::new();
        let keyring = collect(
            &mut faults,
            match &config.keyring {
                KeyringSource::File(path) => LiveKeyring::open(path),
                KeyringSource::Text(text) => LiveKeyring::from_text(text.expose_secret()),
            },
        );
        let denylist = collect(&mut faults, Denylist::open(&config.denylist));
        let pages = collect(&mut faults, Pages::load(config.templates_dir.as_deref(), &config.site));
        let meter = Meter::new(clock.clone(), config.names());
        let certificate = collect(&mut faults, certificate::open(&config, &public_url, examine, &clock, &meter));
        let providers =
            collect(&mut faults, ProviderClient::new(config.catalogue, &config.outbound, clock.clone(), meter.clone()));
        let own_origin = collect(&mut faults, Origin::parse(public_url.as_str()).ok_or("`public_url` is too long"));
        let password = collect(&mut faults, config.access_password_file.map(PasswordFile::open).transpose());
        let store = collect(&mut faults, open(&config.store, clock.clone()).map(|store| store.counted(meter.clone())));
        let (
            Some(keyring),
            Some(denylist),
            Some(pages),
            Some(providers),
            Some(own_origin),
            Some(password),
            Some(certificate),
            Some(store),
        ) = (keyring, denylist, pages, providers, own_origin, password, certificate, store)
        else {
            return Err(StartupError(faults));
        };
        let keyring = Arc::new(keyring);
        let denylist = Arc::new(denylist);
        let providers = Arc::new(providers);
        let shared = password.map(|password| Arc::new(SharedPassword::new(password, keyring.clone(), clock.clone())));
        let certificate_file = certificate.live.as_ref().and_then(|certificate| certificate.follow());
        let files = [
            keyring.follow(),
            denylist.follow(),
            shared.as_ref().and_then(|password| password.follow()),
            certificate_file,
        ];
        let watch = Watch::start(files.into_iter().flatten().collect());
        let watch = watch.map_err(|error| StartupError(vec![format!("cannot follow changed files: {error}")]))?;
        let rules = rules(&config.delivery, &own_origin);
        let callback = format!("{}/logged-in", own_origin.as_str());
        let store = Arc::new(store);
        tokio::spawn(tend::tend(Arc::downgrade(&store)));
        certificate.acme.iter().for_each(Acme::start);
        let replication = Replication::start(
            &replicas,
            keyring.clone(),
            denylist.clone(),
            &store,
            &config.outbound,
            clock.clone(),
            meter.clone(),
        );
        let replication = Arc::new(replication.map_err(|error| StartupError(vec![error.to_string()]))?);
        let tokens = TokenService::new(
            keyring.clone(),
            denylist.clone(),
            providers.clone(),
            store.clone(),
            Settings { patience: config.patience, brake: config.brake, legacy: config.legacy },
            clock.clone(),
            meter.clone(),
        );
        Ok(Self {
            health: Arc::new(Health::new(
                keyring.clone(),
                denylist.clone(),
                store.clone(),
                replication.clone(),
                certificate.clone(),
                shared.as_ref().map(|shared| shared.load_status().clone()),
                meter.clone(),
            )),
            limits: Limits::new(config.rates, &clock),
            logins: Logins::new(keyring, providers.clone(), tokens.clone(), store.clone(), rules, callback, clock),
            tokens,
            store,
            replication,
            password: shared,
            certificate,
            pages: Arc::new(pages),
            providers,
            watch: Arc::new(watch),
            meter,
            keys: config.keys,
            public_url,
            own_origin,
            http: config.http,
            file: config.file,
        })
    }

    /// The same server by another configuration, of which no key differs that needs a restart. `repaired`: calls to
    /// providers may work that did not.
    fn with(&self, config: Config, repaired: bool) -> Result<Self, StartupError> {
        let mut faults = Vec::new();
        let names = config.names();
        let pages = collect(&mut faults, Pages::load(config.templates_dir.as_deref(), &config.site));
        let providers = collect(&mut faults, self.providers.with(config.catalogue, &config.outbound));
        let (Some(pages), Some(providers)) = (pages, providers) else { return Err(StartupError(faults)) };
        self.meter.rename(names);
        let providers = Arc::new(providers);
        let settings = Settings { patience: config.patience, brake: config.brake, legacy: config.legacy };
        let tokens = self.tokens.with(providers.clone(), self.store.clone(), settings, repaired);
        let rules = rules(&config.delivery, &self.own_origin);
        Ok(Self {
            logins: self.logins.with(providers.clone(), tokens.clone(), rules),
            limits: self.limits.with(config.rates),
            tokens,
            providers,
            pages: Arc::new(pages),
            keys: config.keys,
            http: config.http,
            ..self.clone()
        })
    }

    /// AuthIDs to access tokens.
    pub fn tokens(&self) -> &TokenService {
        &self.tokens
    }

    /// Consents to AuthIDs.
    pub fn logins(&self) -> &Logins {
        &self.logins
    }

    /// How often what may be asked.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What outlives a request.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The exchange of denylists with other replicas.
    pub fn replication(&self) -> &Replication {
        &self.replication
    }

    /// Who may begin a login; `None` where everybody may.
    pub fn password(&self) -> Option<&SharedPassword> {
        self.password.as_deref()
    }

    /// What there is to log in to.
    pub fn catalogue(&self) -> &Catalogue {
        self.providers.catalogue()
    }

    /// Asks the hosts of all providers that are offered, without credentials, until `deadline`.
    pub async fn visit_providers(&self, deadline: Instant) -> Vec<Probe> {
        self.providers.probe(&format!("{}/logged-in", self.own_origin.as_str()), deadline).await
    }

    /// The pages.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// How this process does.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What is counted.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// What browsers see.
    pub fn public_url(&self) -> &Url {
        &self.public_url
    }

    /// The origin of [`App::public_url`].
    pub fn own_origin(&self) -> &Origin {
        &self.own_origin
    }

    /// What the public listeners speak TLS with, if they do.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// How requests are read and answered.
    pub fn http(&self) -> &HttpSettings {
        &self.http
    }
}

fn rules(delivery: &Delivery, own: &Origin) -> DeliveryRules {
    let listed = delivery.trusted_origins.iter().filter_map(|origin| Origin::parse(origin)).collect();
    DeliveryRules { own: own.clone(), loopback: delivery.loopback, listed }
}

/// What a step gave; its fault goes to the list, so that an operator reads of all at once.
fn collect<T, E: ToString>(faults: &mut Vec<String>, outcome: Result<T, E>) -> Option<T> {
    outcome.map_err(|fault| faults.push(fault.to_string())).ok()
}
