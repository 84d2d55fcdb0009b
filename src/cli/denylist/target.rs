//! The denylist that a command is about and the keyring that belongs to it, and what in a rule looks like a mistake beside
//! both.

use crate::cli::config_args::ConfigFile;
use crate::cli::replicas::own_listener;
use crate::clock::UnixTime;
use crate::config::{Config, KeyringSource};
use crate::denylist::Rule;
use crate::keyring_file::{KeyringFileError, read_text};
use crate::provider::Catalogue;
use crate::seal::{Epoch, Keyring, NoKey};
use clap::Args;
use secrecy::ExposeSecret;
use std::path::{Path, PathBuf};
use url::Url;

#[derive(Args)]
pub(super) struct Files {
    /// The denylist [default: the configured one]
    #[arg(long, value_name = "FILE")]
    denylist: Option<PathBuf>,
    /// The keyring of the servers that use it [default: the configured one, unless --denylist is given]
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

/// Of the commands that only read.
#[derive(Args)]
pub(in crate::cli) struct Look {
    #[command(flatten)]
    pub(super) files: Files,
    /// Output as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The files that were found.
pub(super) struct Target {
    pub(super) denylist: PathBuf,
    /// Or why there is none at hand.
    pub(super) keyring: Result<Keyring, String>,
    /// The admin listener of the server of this machine, if one is configured.
    pub(super) own_listener: Option<Url>,
    /// Whether the server of this machine tells others what changes in it.
    pub(super) replicates: bool,
    /// The services that there are, where a configuration says so.
    catalogue: Option<Catalogue>,
}

impl Files {
    pub(super) fn find(&self) -> anyhow::Result<Target> {
        let named = self.keyring.as_deref().map(from_file);
        if let Some(denylist) = self.denylist.clone() {
            let keyring = named.unwrap_or_else(|| Err("name it with --keyring FILE".to_owned()));
            return Ok(Target { denylist, keyring, own_listener: None, replicates: false, catalogue: None });
        }
        let config = self.config.load()?;
        let keyring = named.unwrap_or_else(|| configured(&config));
        let own_listener = own_listener(&config);
        let replicates = config.replicas.is_on();
        Ok(Target { denylist: config.denylist, keyring, own_listener, replicates, catalogue: Some(config.catalogue) })
    }
}

fn configured(config: &Config) -> Result<Keyring, String> {
    match &config.keyring {
        KeyringSource::File(path) => from_file(path),
        KeyringSource::Text(text) => {
            Keyring::parse(text.expose_secret()).map_err(|error| KeyringFileError::InText(error).to_string())
        }
    }
}

fn from_file(path: &Path) -> Result<Keyring, String> {
    read_text(path).map(|(_, keyring)| keyring).map_err(|error| error.to_string())
}

impl Target {
    /// That `rule` is about a service that is not known here, if a configuration says which are: a slip that would pass for
    /// a revocation.
    pub(super) fn unknown(&self, rule: &Rule) -> Option<String> {
        let (Rule::Service(_, service), Some(catalogue)) = (rule, &self.catalogue) else { return None };
        let unknown = catalogue.find(service.as_str()).is_none();
        unknown.then(|| format!("no service is called `{service}`; `authseal providers` lists them"))
    }

    /// What makes one doubt that `rule` does what somebody wants.
    pub(super) fn doubt(&self, rule: &Rule, now: UnixTime) -> Option<String> {
        let of_epoch = |epoch: &Epoch| match self.keyring.as_ref().ok()?.keys(*epoch) {
            Err(NoKey::Newer) => Some(format!("epoch {epoch} is newer than all in the keyring")),
            Ok(_) => None,
            Err(why) => Some(format!("epoch {epoch} is {why} and opens nothing anyway")),
        };
        if let Some(unknown) = self.unknown(rule) {
            return Some(unknown);
        }
        match rule {
            Rule::Epoch(epoch) if self.seals_with(*epoch) => {
                Some(format!("epoch {epoch} is the primary, so every new login is refused, too; promote another"))
            }
            Rule::LoginBefore(epoch, time) if *time > now => {
                Some(format!("the time is to come: until then it refuses new logins under epoch {epoch}"))
            }
            Rule::Epoch(epoch) | Rule::Service(epoch, _) | Rule::LoginBefore(epoch, _) => of_epoch(epoch),
            Rule::Grant(..) | Rule::Legacy(_) => None,
        }
    }

    fn seals_with(&self, epoch: Epoch) -> bool {
        self.keyring.as_ref().is_ok_and(|keyring| keyring.primary().epoch() == epoch)
    }
}
