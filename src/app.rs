//! The whole, built from a checked configuration: every room, wired once.

use crate::clock::Clock;
use crate::config::{Config, KeyringSource};
use crate::denylist::{Denylist, OpenError};
use crate::keyfile::{KeyfileError, LiveKeyring};
use crate::login::{DeliveryRules, Logins, Origin};
use crate::pages::{Pages, TemplateError};
use crate::provider::{Catalogue, Providers};
use crate::store::Store;
use crate::tokens::Tokens;
use crate::watch::Watch;
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use url::Url;

/// A server's rooms and what the handlers ask of the configuration.
pub struct App {
    tokens: Tokens,
    logins: Logins,
    providers: Arc<Providers>,
    pages: Pages,
    watch: Watch,
    public_url: Url,
    own_origin: Origin,
    listen: Vec<SocketAddr>,
    allow_query_authid: bool,
    privacy_url: Option<Url>,
    acme_challenge_dir: Option<PathBuf>,
}

/// Why the server cannot start, beyond its configuration.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum BuildError {
    #[error(transparent)]
    Keyring(#[from] KeyfileError),
    #[error(transparent)]
    Denylist(#[from] OpenError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("cannot set up TLS towards providers: {0}")]
    Providers(String),
    #[error("`public_url` has no origin that browsers know")]
    PublicUrl,
}

impl App {
    /// Opens the keyring and the denylist, starts to follow both files, and wires everything together. Calls no
    /// provider: its outage must not keep this server from starting.
    ///
    /// # Errors
    /// When a file is missing or faulty.
    pub fn build(config: Config, public_url: Url, clock: Clock) -> Result<Self, BuildError> {
        let keyring = Arc::new(match &config.keyring {
            KeyringSource::File(path) => LiveKeyring::open(path)?,
            KeyringSource::Text(text) => LiveKeyring::from_text(text.expose_secret())?,
        });
        let denylist = Arc::new(Denylist::open(&config.denylist)?);
        let watch = Watch::start(keyring.follow().into_iter().chain([denylist.follow()]).collect());
        let providers = Arc::new(Providers::new(config.catalogue, clock.clone()).map_err(BuildError::Providers)?);
        let own_origin = Origin::of(public_url.as_str()).ok_or(BuildError::PublicUrl)?;
        let rules = DeliveryRules {
            own: own_origin.clone(),
            loopback: config.delivery.loopback,
            listed: config.delivery.trusted_origins.iter().filter_map(|origin| Origin::of(origin)).collect(),
        };
        let callback = format!("{}/logged-in", own_origin.as_str());
        let store = Store::memory(clock.clone());
        Ok(Self {
            tokens: Tokens::new(keyring.clone(), denylist, providers.clone(), clock.clone()),
            logins: Logins::new(keyring, providers.clone(), store, rules, callback, clock),
            pages: Pages::load(config.templates_dir.as_deref())?,
            providers,
            watch,
            public_url,
            own_origin,
            listen: config.listen,
            allow_query_authid: config.allow_query_authid,
            privacy_url: config.privacy_url,
            acme_challenge_dir: config.acme_challenge_dir,
        })
    }

    /// AuthIDs to access tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Consents to AuthIDs.
    pub fn logins(&self) -> &Logins {
        &self.logins
    }

    /// What there is to log in to.
    pub fn catalogue(&self) -> &Catalogue {
        self.providers.catalogue()
    }

    /// The pages.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Reads keyring and denylist again.
    pub fn reload(&self) {
        self.watch.reload_all();
    }

    /// What browsers see.
    pub fn public_url(&self) -> &Url {
        &self.public_url
    }

    /// The origin of [`App::public_url`].
    pub fn own_origin(&self) -> &Origin {
        &self.own_origin
    }

    /// Where to listen.
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Whether `/refresh?authid=` is answered.
    pub fn allow_query_authid(&self) -> bool {
        self.allow_query_authid
    }

    /// The operator's own privacy policy.
    pub fn privacy_url(&self) -> Option<&Url> {
        self.privacy_url.as_ref()
    }

    /// Where an ACME client leaves its answers.
    pub fn acme_challenge_dir(&self) -> Option<&Path> {
        self.acme_challenge_dir.as_deref()
    }
}
