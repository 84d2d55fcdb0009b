//! `authseal keys new`.

use crate::cli::Misuse;
use crate::cli::configured::ConfigFile;
use crate::cli::files::place;
use crate::clock::{Clock, UnixTime, rfc3339};
use crate::config::{Config, KeyringSource};
use crate::keyfile;
use crate::seal::{Epoch, new_secret_text};
use anyhow::bail;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Args)]
pub(in crate::cli) struct New {
    /// Where to [default: the configured `keyring.file`, else keys.toml beside the configuration]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// The number of its key. Where there was a keyring that is lost, one above all that were ever in it, so that the
    /// AuthIDs of that time are told from those of a newer replica
    #[arg(long, value_name = "EPOCH", default_value = "1", value_parser = super::epoch)]
    epoch: Epoch,
    /// Print the keyring, with its secret, and make no file: to be piped to where it is kept
    #[arg(long, conflicts_with_all = ["file", "dry_run", "json"])]
    print: bool,
    /// Print it as one line of base64 and make no file: for AUTHSEAL_KEYRING__TEXT
    #[arg(long, conflicts_with_all = ["file", "dry_run", "json", "print"])]
    one_line: bool,
    /// Say where it would be made, and make nothing
    #[arg(long)]
    dry_run: bool,
    /// Say it as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(new: &New) -> anyhow::Result<()> {
    if new.print {
        print!("{}", *text(new.epoch, Clock::system().now())?);
        return Ok(());
    }
    if new.one_line {
        println!("{}", *keyfile::pack(&text(new.epoch, Clock::system().now())?));
        return Ok(());
    }
    let configured = |config: Config| match config.keyring {
        KeyringSource::File(file) => Ok(file),
        KeyringSource::Text(_) => Err(Misuse(
            "the keyring is given as text; name a file to make, or take `--print` or `--one-line`".to_owned(),
        )
        .into()),
    };
    let path = place(new.file.as_ref(), &new.config, "keys.toml", configured)?;
    if !new.dry_run {
        keyfile::create(&path, &text(new.epoch, Clock::system().now())?)?;
    } else if path.exists() {
        bail!("there is a keyring {} already; it would stay as it is", path.display());
    }
    if new.json {
        let keyring = path.display().to_string();
        println!(
            "{}",
            json!({ "keyring": keyring, "epoch": new.epoch.number(), "changed": !new.dry_run, "dry_run": new.dry_run })
        );
        return Ok(());
    }
    let made = if new.dry_run { "would make" } else { "made" };
    println!("{made} {} with epoch {} as primary", path.display(), new.epoch);
    println!("keep a copy in a safe place: without it every AuthID is worthless, with it every AuthID can be opened");
    Ok(())
}

/// Makes a keyring file that only its owner can read.
///
/// # Errors
/// When the file exists, or cannot be written.
pub(in crate::cli) fn new_keyring(path: &Path, now: UnixTime) -> anyhow::Result<()> {
    Ok(keyfile::create(path, &text(Epoch::FIRST, now)?)?)
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
