//! Which keyring a command is about, and where a changed one goes.

use crate::cli::config_args::ConfigFile;
use crate::cli::replicas::own_listener;
use crate::config::KeyringSource;
use crate::keyring_file::{self, Change, KeyringFileError};
use crate::seal::Keyring;
use crate::store::StorePlace;
use anyhow::{Context, bail};
use clap::Args;
use secrecy::ExposeSecret;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use url::Url;
use zeroize::Zeroizing;

/// The most bytes that are read from standard input, as of a file.
const MAX_INPUT: u64 = 1024 * 1024;

#[derive(Args)]
pub(super) struct KeyringArgs {
    /// The keyring file, or `-` for standard input [default: the configured keyring]
    #[arg(long = "keyring", value_name = "FILE")]
    named: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

/// A keyring that was found.
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) keyring: Keyring,
    /// The admin listener of the server that runs with this keyring on this machine, if one is configured.
    pub(super) own_listener: Option<Url>,
    /// The state store of the server that runs with this keyring, if a configuration names it.
    pub(super) store: StorePlace,
    text: Zeroizing<String>,
}

pub(super) enum Place {
    File(PathBuf),
    Input,
    Configuration,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Input => f.write_str("the keyring on standard input"),
            Self::Configuration => f.write_str("the keyring given as text"),
        }
    }
}

impl KeyringArgs {
    pub(super) fn find(&self) -> anyhow::Result<Target> {
        match &self.named {
            Some(path) if path == Path::new("-") => {
                let mut text = Zeroizing::new(String::new());
                io::stdin().take(MAX_INPUT).read_to_string(&mut text).context("cannot read standard input")?;
                Target::of_text(Place::Input, keyring_file::unpack(&text), None)
            }
            Some(path) => Target::of_file(path, None),
            None => {
                let config = self.config.load()?;
                let own_listener = own_listener(&config);
                let target = match &config.keyring {
                    KeyringSource::File(path) => Target::of_file(path, own_listener),
                    KeyringSource::Text(text) => {
                        let text = Zeroizing::new(text.expose_secret().to_owned());
                        Target::of_text(Place::Configuration, text, own_listener)
                    }
                };
                Ok(Target { store: config.store, ..target? })
            }
        }
    }
}

impl Target {
    fn of_file(path: &Path, own_listener: Option<Url>) -> anyhow::Result<Self> {
        let (text, keyring) = keyring_file::read_text(path)?;
        Ok(Self { place: Place::File(path.to_owned()), keyring, own_listener, store: StorePlace::Memory, text })
    }

    fn of_text(place: Place, text: Zeroizing<String>, own_listener: Option<Url>) -> anyhow::Result<Self> {
        let keyring = Keyring::parse(&text).map_err(KeyringFileError::InText)?;
        Ok(Self { place, keyring, own_listener, store: StorePlace::Memory, text })
    }

    /// The file, for programs; `None` for a text.
    pub(super) fn file(&self) -> Option<String> {
        match &self.place {
            Place::File(path) => Some(path.display().to_string()),
            Place::Input | Place::Configuration => None,
        }
    }

    /// The text as it is, secrets included.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text with `change` in it, which nobody has seen yet.
    pub(super) fn changed(&self, change: Change) -> anyhow::Result<Zeroizing<String>> {
        keyring_file::apply(&self.text, change).with_context(|| format!("{} is not changed", self.place))
    }

    /// Puts `new` in the place of the file.
    pub(super) fn replace(&self, new: &str) -> anyhow::Result<()> {
        match &self.place {
            Place::File(path) => Ok(keyring_file::replace(path, &self.text, new)?),
            Place::Input | Place::Configuration => bail!(
                "{} cannot be changed from here; with `--print` the new text goes to standard output, to be put where the old one is kept",
                self.place
            ),
        }
    }
}
