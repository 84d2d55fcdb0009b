//! `authseal keys …` and `authseal denylist …`: the two files that a server needs.

use super::Configured;
use crate::clock;
use crate::config::KeyringSource;
use crate::denylist::Denylist;
use crate::keyfile::LiveKeyring;
use crate::seal::{Epoch, new_secret_text};
use anyhow::{Context, bail};
use clap::Subcommand;
use secrecy::ExposeSecret;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Subcommand)]
pub(super) enum Keys {
    /// Make a keyring with one fresh key; never overwrites
    New {
        /// Where to [default: the configured `keyring.file`, else keys.toml here]
        file: Option<PathBuf>,
        #[command(flatten)]
        configured: Configured,
    },
    /// List the epochs and what each may do; shows no secret
    List {
        /// The keyring [default: the configured one]
        file: Option<PathBuf>,
        #[command(flatten)]
        configured: Configured,
    },
}

#[derive(Subcommand)]
pub(super) enum DenylistVerb {
    /// Make an empty denylist; never overwrites
    Init {
        /// Where to [default: the configured `denylist.file`]
        file: Option<PathBuf>,
        #[command(flatten)]
        configured: Configured,
    },
}

pub(super) fn keys(verb: &Keys) -> anyhow::Result<()> {
    match verb {
        Keys::New { file, configured } => {
            let path = match file {
                Some(file) => file.clone(),
                None => match configured.load()?.keyring {
                    KeyringSource::File(file) => file,
                    KeyringSource::Text(_) => bail!("the keyring is given as text; name a file to make"),
                },
            };
            new_keyring(&path, clock::Clock::system().now())?;
            println!("made {} with epoch 1 as primary", path.display());
            println!(
                "keep a copy in a safe place: without it every AuthID is worthless, with it every AuthID can be opened"
            );
            Ok(())
        }
        Keys::List { file, configured } => {
            let keyring = match file {
                Some(file) => LiveKeyring::open(file)?,
                None => match configured.load()?.keyring {
                    KeyringSource::File(file) => LiveKeyring::open(file)?,
                    KeyringSource::Text(text) => LiveKeyring::from_text(text.expose_secret())?,
                },
            };
            println!("{:<12}{:<12}CREATED", "EPOCH", "STATE");
            for (epoch, state, entry) in keyring.load().entries() {
                let created = entry.created.map_or_else(|| "-".to_owned(), |time| time.to_string());
                println!("{:<12}{:<12}{created}", epoch.to_string(), format!("{state:?}").to_lowercase());
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
    let mut file = file.with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn denylist(verb: &DenylistVerb) -> anyhow::Result<()> {
    let DenylistVerb::Init { file, configured } = verb;
    let path = match file {
        Some(file) => file.clone(),
        None => configured.load()?.denylist,
    };
    Denylist::init(&path)?;
    println!("made {}: nothing is denied yet", path.display());
    Ok(())
}
