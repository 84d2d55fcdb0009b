//! `authseal keys new`: a keyring of one fresh key. Refused where a lost keyring has left traces, since a new one with the
//! same epochs would pass for it.

use crate::cli::config_args::ConfigFile;
use crate::cli::default_path::place;
use crate::cli::running::running;
use crate::cli::{UsageError, json};
use crate::clock::{Clock, UnixTime, rfc3339};
use crate::config::{Config, KeyringSource};
use crate::denylist::{self, Rule};
use crate::keyring_file;
use crate::seal::{Epoch, new_secret_text};
use crate::store::StorePlace;
use anyhow::bail;
use clap::Args;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Args)]
pub(in crate::cli) struct New {
    /// Path of the new keyring [default: the configured `keyring.file`, else keys.toml beside the configuration]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// Number of its key [default: 1]. Where there was a keyring that is lost, one above all that were ever in it, so
    /// that the AuthIDs of that time are told from those of a newer replica
    #[arg(long, value_name = "EPOCH", value_parser = super::epoch)]
    epoch: Option<Epoch>,
    /// Keyring, with its secret, on standard output; no file is made: to be piped to where it is kept
    #[arg(long, conflicts_with_all = ["file", "dry_run", "json"])]
    print: bool,
    /// Keyring as one line of base64 on standard output; no file is made: for AUTHSEAL_KEYRING__TEXT
    #[arg(long, conflicts_with_all = ["file", "dry_run", "json", "print"])]
    one_line: bool,
    /// Preview of where it would be made; nothing is made
    #[arg(long)]
    dry_run: bool,
    /// Output as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(new: &New) -> anyhow::Result<()> {
    let epoch = new.epoch.unwrap_or(Epoch::FIRST);
    if new.print {
        print!("{}", *text(epoch, Clock::system().now())?);
        return Ok(());
    }
    if new.one_line {
        println!("{}", *keyring_file::pack(&text(epoch, Clock::system().now())?));
        return Ok(());
    }
    let configured = |config: Config| match config.keyring {
        KeyringSource::File(file) => Ok(file),
        KeyringSource::Text(_) => Err(UsageError(
            "the keyring is given as text; name a file to make, or take `--print` or `--one-line`".to_owned(),
        )
        .into()),
    };
    let path = place(new.file.as_ref(), &new.config, "keys.toml", configured)?;
    if new.epoch.is_none() && !path.exists() {
        no_traces(&path, new.config.load().ok().as_ref())?;
    }
    if !new.dry_run {
        keyring_file::create(&path, &text(epoch, Clock::system().now())?)?;
    } else if path.exists() {
        bail!("there is a keyring {} already; it would stay as it is", path.display());
    }
    if new.json {
        let keyring = path.display().to_string();
        return json::print(
            &json!({ "keyring": keyring, "epoch": epoch.number(), "changed": !new.dry_run, "dry_run": new.dry_run }),
        );
    }
    let made = if new.dry_run { "would make" } else { "made" };
    println!("{made} {} with epoch {epoch} as primary", path.display());
    println!("keep a copy in a safe place: without it every AuthID is worthless, with it every AuthID can be opened");
    Ok(())
}

/// Refuses where the denylist or the state folder of the server that is to use the keyring `path` show that there was one,
/// or that server itself, which still runs with it: a new one with the same epochs would pass for the lost one until
/// somebody's backup fails.
///
/// # Errors
/// Says what shows it, and what to do.
pub(in crate::cli) fn no_traces(path: &Path, config: Option<&Config>) -> anyhow::Result<()> {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = whole(path);
    let configured = config.and_then(|config| match &config.keyring {
        KeyringSource::File(file) => Some((whole(file), config)),
        KeyringSource::Text(_) => None,
    });
    let (denylist, store) = match configured {
        Some((file, config)) if file == path => {
            if let Some(running) = running(config) {
                let found = format!("the server at {} runs with a keyring and would take up a new one", running.url);
                return Err(was_one(&found, &path, running.newest));
            }
            (config.denylist.clone(), config.store.clone())
        }
        // Another one beside that of the server.
        Some((file, _)) if file.parent() == path.parent() => return Ok(()),
        _ => (path.with_file_name("denylist"), StorePlace::Memory),
    };
    let mut rules = 0;
    let mut newest = None;
    // A list that cannot be read to its end tells what it can.
    let _ = denylist::lines(&denylist, |line| {
        let epoch = line.rule.as_ref().map(|rule| match rule {
            Rule::Epoch(epoch) | Rule::Service(epoch, _) | Rule::LoginBefore(epoch, _) => Some(*epoch),
            Rule::Grant(_, recorded) => recorded.through,
            Rule::Legacy(_) => None,
        });
        rules += usize::from(epoch.is_some());
        newest = newest.max(epoch.flatten());
        Ok(())
    });
    let found = match &store {
        _ if rules > 0 => format!("the denylist {} has rules", denylist.display()),
        StorePlace::Dir(folder) if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) => {
            format!("the state folder {} is in use", folder.display())
        }
        _ => return Ok(()),
    };
    Err(was_one(&found, &path, newest.map(Epoch::number)))
}

/// What to do where `found` shows that there was a keyring, with epochs up to `newest` as far as is known.
fn was_one(found: &str, path: &Path, newest: Option<u32>) -> anyhow::Error {
    let above = newest.map(|newest| newest.saturating_add(1).to_string());
    UsageError(format!(
        "{found}, so there was a keyring, and without it every AuthID is worthless: put it back as {}. If it is lost for good, \
         `authseal keys new --epoch {}` makes one; its epoch has to be above all that were ever in use",
        path.display(),
        above.as_deref().unwrap_or("NUMBER")
    ))
    .into()
}

/// Makes a keyring file that only its owner can read.
///
/// # Errors
/// When the file exists, or cannot be written.
pub(in crate::cli) fn new_keyring(path: &Path, now: UnixTime) -> anyhow::Result<()> {
    Ok(keyring_file::create(path, &text(Epoch::FIRST, now)?)?)
}

/// A keyring of one fresh key.
fn text(epoch: Epoch, now: UnixTime) -> anyhow::Result<Zeroizing<String>> {
    Ok(Zeroizing::new(format!(
        "# The keys that AuthIDs are sealed with. Secret: whoever reads this file can open every AuthID.\n\
         primary = {epoch}\n\n[[key]]\nepoch = {epoch}\ncreated = {}\nsecret = \"{}\"\n",
        rfc3339(now),
        *new_secret_text(epoch)?
    )))
}
