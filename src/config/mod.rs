//! Configuration: four layers become one checked [`Config`], or a list of everything that is wrong with them.
//!
//! The layers, each over the one before: what is built in (with `config/providers.toml`), the TOML file, the
//! environment, the command line. No error ends the reading: a faulty key is noted, taken out, and the reading
//! continues, so that an operator sees all errors at once. No error's text holds a configured value: it may be a
//! secret. Nothing here reads the process's environment but [`Sources::of_process`].

mod acme;
mod changes;
mod check;
mod credentials;
mod doubts;
mod error;
mod expiry;
mod extract;
mod followed;
mod http;
mod layers;
mod limits;
mod lines;
mod listening;
mod networks;
mod outbound;
mod raw;
mod registrations;
mod secrets;
mod show;
mod site;
mod sources;
#[cfg(test)]
mod tests;
mod underscores;
mod values;

pub use changes::{Changes, Keys, RELOADED};
pub use check::{check_origin, log_filter};
pub use error::{ConfigError, ConfigErrors};
pub use http::HttpSettings;
pub use listening::Listeners;
pub use show::{Shown, keys_of, show};
pub use site::{Contact, Site};
pub use sources::{FILE_LIMIT, Sources};

use crate::acme::AcmeSettings;
use crate::clock::UnixTime;
use crate::legacy::Accepted;
use crate::meter::Names;
use crate::provider::{Catalogue, Outbound};
use crate::rate_limit::Rates;
use crate::replication::Replicas;
use crate::store::StorePlace;
use crate::tls::PairFiles;
use crate::tokens::{BrakeSettings, Patience};
use layers::Layers;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use url::Url;

/// A checked configuration. Paths are absolute when [`Sources::working_dir`] is.
pub struct Config {
    /// The configuration file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Which keys have which values.
    pub keys: Keys,
    /// The files that secrets were read from.
    secret_files: Vec<PathBuf>,
    /// When the secrets of clients end, as far as the configuration says so.
    secrets_end: BTreeMap<String, UnixTime>,
    /// What is no fault, but ought to be fixed: a sentence each, without configured values.
    pub warnings: Vec<String>,
    /// What can be used and is hardly meant, the same way; for whoever asks, since a server may be right about it.
    pub doubts: Vec<String>,
    /// What browsers see: scheme, host and port, no path.
    pub public_url: Option<Url>,
    /// Where the server listens, and until when.
    pub listeners: Listeners,
    /// The certificate that the public listeners speak TLS with; plain http without it.
    pub tls: Option<PairFiles>,
    /// How this server has that certificate issued, where it does.
    pub acme: Option<AcmeSettings>,
    /// How requests are read and answered.
    pub http: HttpSettings,
    /// Where the keyring is.
    pub keyring: KeyringSource,
    /// The denylist file.
    pub denylist: PathBuf,
    /// Whether a first start may make it.
    pub create_denylist: bool,
    /// How denylists are exchanged with other replicas.
    pub replicas: Replicas,
    /// The file with the hash of the password that a login begins with, if one is wanted.
    pub access_password_file: Option<PathBuf>,
    /// Where state is kept that outlives a request.
    pub store: StorePlace,
    /// How calls to providers leave this machine.
    pub outbound: Outbound,
    /// The files with authorities that providers have of their own.
    own_authorities: Vec<PathBuf>,
    /// To whom an AuthID is handed without a click.
    pub delivery: Delivery,
    /// What there is to log in to: `[providers]`, `[services]` and `[clients]`, those built in included.
    pub catalogue: Catalogue,
    /// What may be asked how often.
    pub rates: Rates,
    /// How long requests for an access token may wait, and how many.
    pub patience: Patience,
    /// When refusals of a provider are taken for this server's fault.
    pub brake: BrakeSettings,
    /// Which AuthIDs of duplicati/oauth-server are served.
    pub legacy: Accepted,
    /// Who runs this server.
    pub site: Site,
    /// The log.
    pub log: Log,
    /// A folder of pages that replace built-in ones of the same name.
    pub templates_dir: Option<PathBuf>,
}

/// Where the keyring is.
#[derive(Debug)]
pub enum KeyringSource {
    /// In a file; it is watched.
    File(PathBuf),
    /// In the configuration itself, usually in `AUTHSEAL_KEYRING__TEXT`.
    Text(SecretString),
}

/// To whom an AuthID is handed without a click.
#[derive(Debug)]
pub struct Delivery {
    /// Origins in their ASCII serialisation (RFC 6454 section 6.2).
    pub trusted_origins: Vec<String>,
    /// Whether pages on this computer (`localhost`, 127.0.0.0/8, `[::1]`) are trusted, on any port.
    pub loopback: bool,
}

/// The log.
#[derive(Debug)]
pub struct Log {
    /// As [`log_filter`] takes it.
    pub level: String,
    /// How it is written.
    pub format: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// What labels of metrics may name.
    pub fn names(&self) -> Names {
        let ids = |offered| {
            let services = self.catalogue.all();
            services.filter(move |service| service.is_served() == offered)
        };
        let names = |offered| ids(offered).map(|service| service.id.to_string()).collect();
        Names {
            services: names(true),
            others: names(false),
            providers: ids(true).map(|service| service.provider.id().to_owned()).collect(),
            secrets: self.secrets_end.clone(),
        }
    }

    /// All files and folders whose content a server goes by.
    pub fn inputs(&self) -> impl Iterator<Item = &Path> {
        let keyring = match &self.keyring {
            KeyringSource::File(file) => Some(file),
            KeyringSource::Text(_) => None,
        };
        let pair = self.tls.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        let authorities = self.outbound.ca_file.iter().chain(&self.own_authorities);
        let others = [self.file.as_ref(), keyring, self.access_password_file.as_ref(), self.templates_dir.as_ref()];
        let others = others.into_iter().flatten().chain([&self.denylist]).chain(pair).chain(authorities);
        others.chain(&self.secret_files).map(PathBuf::as_path)
    }

    /// Reads and checks the configuration, for commands that serve nobody.
    ///
    /// # Errors
    /// All faults that were found.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        match read(sources)? {
            (config, _, faults) if faults.is_empty() => Ok(config),
            (config, _, faults) => Err(ConfigErrors { warnings: config.warnings, ..faults }),
        }
    }

    /// The addresses at which a server with this configuration listens for operators, whatever else is wrong with it: whoever
    /// asks there may read less than the server does.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub fn admin_listeners(sources: &Sources) -> Result<Vec<SocketAddr>, ConfigErrors> {
        read(sources).map(|(config, ..)| config.listeners.admin)
    }

    /// Reads and checks the configuration of a server, which needs `public_url` too.
    ///
    /// # Errors
    /// All faults that were found.
    pub fn load_to_serve(sources: &Sources) -> Result<(Self, Url), ConfigErrors> {
        let (config, _, mut faults) = read(sources)?;
        match config.public_url.clone() {
            Some(public_url) if faults.is_empty() => return Ok((config, public_url)),
            Some(_) => {}
            None => faults.missing("public_url", &advice(sources, &config)),
        }
        Err(ConfigErrors { warnings: config.warnings, ..faults })
    }
}

/// What to do without a `public_url`: most often there is no configuration at all.
fn advice(sources: &Sources, config: &Config) -> String {
    let set = "set it to what browsers see, like `https://oauth.example.com`";
    if config.file.is_some() {
        return set.to_owned();
    }
    let looked: Vec<_> = sources.candidates().iter().map(|path| path.display().to_string()).collect();
    format!("no configuration file was found at {}: `authseal init` writes one. Or {set}", looked.join(" or "))
}

/// A configuration as far as it could be read, the layers that it was read from, and what is wrong with it; it is of use
/// only if nothing is.
fn read(sources: &Sources) -> Result<(Config, Layers, ConfigErrors), ConfigErrors> {
    let mut layers = Layers::stack(sources)?;
    let mut faults = ConfigErrors::default();
    values::clean(&mut layers, &mut faults);
    let (secret_files, mut warnings) = secrets::read_files(&mut layers, &mut faults);
    // Once more, for what was in these files.
    values::clean(&mut layers, &mut faults);
    let written = extract::extract(&mut layers, &mut faults);
    let doubts = doubts::judge(&written, &layers);
    warnings.extend(expiry::judge(&written.clients, &layers, sources.now, &mut faults));
    let secrets_end = expiry::ends(&written.clients);
    let config = check::check(written, &layers, &mut faults);
    warnings.extend(outbound::unread(sources, &config.outbound));
    let keys = Keys::of(&layers);
    Ok((Config { keys, secret_files, secrets_end, warnings, doubts, ..config }, layers, faults))
}
