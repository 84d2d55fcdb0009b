//! `authseal authid …`.

use super::{ConfigFile, Misuse};
use crate::authid::{Envelope, OpenError, ParseError};
use crate::clock::rfc3339;
use crate::config::KeyringSource;
use crate::denylist::Denylist;
use crate::keyfile::LiveKeyring;
use crate::provider::Rotation;
use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use secrecy::{ExposeSecret, SecretString};
use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Read};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Read an AuthID from standard input and say what it is: service, login id, epoch, times, revoked or not
    ///
    /// The AuthID is not taken as an argument, because other users of this machine can read those. Nothing secret is
    /// printed.
    #[command(after_help = "\
Examples:
  authseal authid inspect            asks for the AuthID
  authseal authid inspect < file     reads it from a file")]
    Inspect {
        #[command(flatten)]
        file: ConfigFile,
        /// Taken only to be refused without being printed, as it would be if it were unknown.
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        argument: Vec<OsString>,
    },
}

pub(super) fn run(verb: &Verb) -> anyhow::Result<()> {
    let Verb::Inspect { file, argument } = verb;
    if !argument.is_empty() {
        let advice = "send the AuthID on standard input; on the command line other users of this machine can read it, and the shell keeps it";
        return Err(Misuse(advice.to_owned()).into());
    }
    let config = file.load()?;
    let authid = read()?;
    let envelope = Envelope::parse(authid.expose_secret()).map_err(|error| anyhow!("{}", unreadable(&error)))?;
    let keyring = match &config.keyring {
        KeyringSource::File(path) => LiveKeyring::open(path)?,
        KeyringSource::Text(text) => LiveKeyring::from_text(text.expose_secret())?,
    };
    let (keyring, epoch) = (keyring.load(), envelope.epoch);
    // Before anything is said of it: until it opens, it may say of itself what it likes.
    let login = envelope.open(&keyring).map_err(|error| match error {
        OpenError::NoKey(why) => anyhow!("it does not open: epoch {epoch}, which it names, is {why}"),
        OpenError::Forged => anyhow!("it does not open: {error}"),
    })?;
    let denied = Denylist::open(&config.denylist)?.denies(&login.service, epoch, login.grant, login.login_at);
    println!("service   {}", login.service);
    println!("login id  {}", login.grant);
    if let Some((_, state, _)) = keyring.entries().find(|(entry, _, _)| *entry == epoch) {
        println!("epoch     {epoch} ({state})");
    }
    println!("login     {}", rfc3339(login.login_at));
    println!("sealed    {}", rfc3339(login.sealed_at));
    let service = config.catalogue.find(login.service.as_str());
    if let Some(service) = service
        && let Some(end) = service.ends(login.sealed_at, None)
    {
        let date = rfc3339(end).split('T').next().unwrap_or_default().to_owned();
        let unless = if service.provider.rotation() == Rotation::Rolling { " (without a state store)" } else { "" };
        println!("ends      about {date}{unless}");
    }
    println!("revoked   {}", denied.map_or_else(|| "no".to_owned(), |rule| format!("yes, by a rule for {rule}")));
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
    let text = SecretString::from(text);
    if text.expose_secret().trim().is_empty() {
        bail!("nothing came on standard input; pipe the AuthID in");
    }
    Ok(text)
}

fn unreadable(error: &ParseError) -> String {
    match error {
        ParseError::Malformed => "not an AuthID; one of this server begins with `v3:` and is copied whole".to_owned(),
        ParseError::Version1 | ParseError::Version2(_) => {
            format!("{error}, from another kind of server; it must be made anew: log in at this server")
        }
    }
}
