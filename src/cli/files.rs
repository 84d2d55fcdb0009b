//! `authseal keys …` and `authseal denylist …`: the two files that a server needs.

use super::configured::{ConfigFile, beside};
use crate::clock;
use crate::config::{Config, KeyringSource};
use crate::denylist::Denylist;
use crate::keyfile::LiveKeyring;
use crate::seal::{Epoch, new_secret_text};
use anyhow::{Context, bail};
use clap::Subcommand;
use secrecy::ExposeSecret;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Subcommand)]
pub(super) enum Keys {
    /// Make a keyring with one fresh key; never overwrites
    #[command(after_help = "\
Examples:
  authseal keys new                            where the configuration says
  authseal keys new /etc/authseal/keys.toml")]
    New {
        /// Where to [default: the configured `keyring.file`, else keys.toml beside the configuration]
        file: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// List the epochs and what each may do; shows no secret
    List {
        /// The keyring [default: the configured one]
        file: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Subcommand)]
pub(super) enum DenylistVerb {
    /// Make an empty denylist; never overwrites
    Init {
        /// Where to [default: the configured `denylist.file`, else denylist beside the configuration]
        file: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigFile,
    },
}

pub(super) fn keys(verb: &Keys) -> anyhow::Result<()> {
    match verb {
        Keys::New { file, config } => {
            let configured = |config: Config| match config.keyring {
                KeyringSource::File(file) => Ok(file),
                KeyringSource::Text(_) => bail!("the keyring is given as text; name a file to make"),
            };
            let path = place(file.as_ref(), config, "keys.toml", configured)?;
            new_keyring(&path, clock::Clock::system().now())?;
            println!("made {} with epoch 1 as primary", path.display());
            println!(
                "keep a copy in a safe place: without it every AuthID is worthless, with it every AuthID can be opened"
            );
            Ok(())
        }
        Keys::List { file, config } => {
            let keyring = match file {
                Some(file) => LiveKeyring::open(file)?,
                None => match config.load()?.keyring {
                    KeyringSource::File(file) => LiveKeyring::open(file)?,
                    KeyringSource::Text(text) => LiveKeyring::from_text(text.expose_secret())?,
                },
            };
            println!("{:<12}{:<17}CREATED", "EPOCH", "STATE");
            for (epoch, state, entry) in keyring.load().entries() {
                let created = entry.created.map_or_else(|| "-".to_owned(), |time| time.to_string());
                println!("{:<12}{state:<17}{created}", epoch.to_string());
            }
            Ok(())
        }
    }
}

/// Makes a keyring file that only its owner can read.
///
/// # Errors
/// When the file exists, or cannot be written.
pub(super) fn new_keyring(path: &Path, now: clock::UnixTime) -> anyhow::Result<()> {
    let epoch = Epoch::FIRST;
    let secret = new_secret_text(epoch)?;
    let text = Zeroizing::new(format!(
        "# The keys that AuthIDs are sealed with. Secret: whoever reads this file can open every AuthID.\n\
         primary = {epoch}\n\n[[key]]\nepoch = {epoch}\ncreated = {}\nsecret = \"{}\"\n",
        clock::rfc3339(now),
        *secret
    ));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match file {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("there is a keyring {} already; it stays as it is", path.display());
        }
        file => file.with_context(|| format!("cannot make {}", path.display()))?,
    };
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn denylist(verb: &DenylistVerb) -> anyhow::Result<()> {
    let DenylistVerb::Init { file, config } = verb;
    let path = place(file.as_ref(), config, "denylist", |config| Ok(config.denylist))?;
    Denylist::init(&path)?;
    println!("made {}: nothing is denied yet", path.display());
    Ok(())
}

/// Where to make a file: where `named`, else where `configured` finds it. A configuration that is not finished does not
/// stand in the way, since people make these files while they write it: then the file gets its usual name beside it.
fn place(
    named: Option<&PathBuf>,
    config: &ConfigFile,
    usual: &str,
    configured: impl FnOnce(Config) -> anyhow::Result<PathBuf>,
) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.clone());
    }
    let sources = config.sources(Vec::new())?;
    let faults = match Config::load(&sources) {
        Ok(config) => return configured(config),
        Err(faults) => faults,
    };
    let path = beside(&sources).join(usual);
    eprintln!("{faults}\nAs it stands it is not used; the file gets its usual place: {}\n", path.display());
    Ok(path)
}
