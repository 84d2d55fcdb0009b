//! `authseal authid …`.

use super::Configured;
use crate::authid::Envelope;
use crate::clock::rfc3339;
use crate::config::KeyringSource;
use crate::denylist::Denylist;
use crate::keyfile::LiveKeyring;
use anyhow::{Context, anyhow};
use clap::Subcommand;
use secrecy::{ExposeSecret, SecretString};
use std::io::{self, BufRead, IsTerminal, Read};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Read an AuthID from standard input and say what it is: service, login id, epoch, times, revoked or not
    ///
    /// The AuthID is not taken as an argument, because other users of this machine can read those. Nothing secret is
    /// printed.
    Inspect(Configured),
}

pub(super) fn run(verb: &Verb) -> anyhow::Result<()> {
    let Verb::Inspect(configured) = verb;
    let config = configured.load()?;
    let authid = read()?;
    let envelope = Envelope::parse(authid.expose_secret())
        .map_err(|error| anyhow!("{error}: an AuthID of this kind of server begins with `v3:` and is copied whole"))?;
    println!("service   {}", envelope.service);
    println!("login id  {}", envelope.grant);
    let keyring = match &config.keyring {
        KeyringSource::File(path) => LiveKeyring::open(path)?,
        KeyringSource::Text(text) => LiveKeyring::from_text(text.expose_secret())?,
    };
    let keyring = keyring.load();
    let state = keyring.entries().find(|(epoch, _, _)| *epoch == envelope.epoch).map(|(_, state, _)| state);
    let state = state.map_or_else(|| "not in this keyring".to_owned(), |state| format!("{state:?}").to_lowercase());
    println!("epoch     {} ({state})", envelope.epoch);
    let login = envelope.open(&keyring).map_err(|error| anyhow!("it does not open: {error}"))?;
    println!("login     {}", rfc3339(login.login_at));
    println!("sealed    {}", rfc3339(login.sealed_at));
    let denied = Denylist::open(&config.denylist)?.denies(&login.service, envelope.epoch, login.grant, login.login_at);
    println!("revoked   {}", denied.map_or_else(|| "no".to_owned(), |rule| format!("yes, by a rule of the kind {rule:?}")));
    Ok(())
}

/// One line, or all that is piped in.
fn read() -> anyhow::Result<SecretString> {
    let mut text = String::new();
    if io::stdin().is_terminal() {
        eprintln!("Paste the AuthID and press Enter:");
        io::stdin().lock().read_line(&mut text).context("cannot read standard input")?;
    } else {
        io::stdin().take(64 * 1024).read_to_string(&mut text).context("cannot read standard input")?;
    }
    Ok(text.into())
}
