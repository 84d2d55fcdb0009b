//! `authseal authid …`: inspect, reseal and revoke AuthIDs with the server's files, as the pages /inspect and /revoke do.
//! Works beside a running server and without one.

use super::export::{To, export};
use super::settled::settled;
use super::standard_input::read;
use super::{ConfigFile, UsageError, block_on, json};
use crate::authid::ParseError;
use crate::clock::Clock;
use crate::config::{Config, KeyringSource};
use crate::denylist::Denylist;
use crate::keyring_file::LiveKeyring;
use crate::meter::Meter;
use crate::provider::ProviderClient;
use crate::seal::Epoch;
use crate::store::Store;
use crate::tokens::{ExchangeError, Opened, ProviderRevocation, ProviderRevocationMode, Settings, TokenService};
use crate::web::verdict;
use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::sync::Arc;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Read an AuthID from standard input and say what it is: service, login id, epoch, times, revoked or not
    ///
    /// The AuthID is not taken as an argument, because other users of this machine can read those. Nothing secret is
    /// printed.
    #[command(after_help = "\
Examples:
  authseal authid inspect            # asks for the AuthID
  authseal authid inspect < file     # reads it from a file")]
    Inspect {
        #[command(flatten)]
        input: Input,
        /// One request to the storage provider, whether the login still works; an error if not
        #[arg(long)]
        test: bool,
    },
    /// Read an AuthID from standard input and print the same login's AuthID, sealed with the newest key in use
    ///
    /// No new login is needed. The old AuthID stays good as long as its epoch does. What changed, and the new revoke
    /// code, is said on standard error.
    #[command(after_help = "\
Examples:
  authseal authid reseal             # asks for the AuthID
  authseal authid reseal < old > new")]
    Reseal {
        #[command(flatten)]
        input: Input,
    },
    /// Read an AuthID from standard input and print the provider's refresh token in it, in plain
    #[command(after_help = "\
Examples:
  authseal authid export --rclone    # asks for the AuthID, prints a remote")]
    Export {
        #[command(flatten)]
        input: Input,
        /// As a remote of an rclone.conf, with the client's id and secret
        #[arg(long, conflicts_with = "json", required_unless_present = "json")]
        rclone: bool,
    },
    /// Read an AuthID or a revoke code from standard input and revoke the login, durably
    ///
    /// Adds a line to the denylist, which running servers take up by themselves.
    #[command(after_help = "\
Examples:
  authseal authid revoke             # asks for the AuthID or the revoke code
  authseal authid revoke < file      # reads it from a file")]
    Revoke {
        #[command(flatten)]
        input: Input,
        /// Revocation at the storage provider too, even where that ends every login of that user at this app
        #[arg(long)]
        at_provider: bool,
    },
}

#[derive(Args)]
pub(super) struct Input {
    #[command(flatten)]
    file: ConfigFile,
    /// Output as JSON
    #[arg(long)]
    json: bool,
    /// Taken only to be refused without being printed, as it would be if it were unknown.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    argument: Vec<OsString>,
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    let (Command::Inspect { input, .. }
    | Command::Reseal { input }
    | Command::Export { input, .. }
    | Command::Revoke { input, .. }) = command;
    if !input.argument.is_empty() {
        let advice = "send the AuthID on standard input; on the command line other users of this machine can read it, and the shell keeps it";
        return Err(UsageError(advice.to_owned()).into());
    }
    let config = input.file.load()?;
    let json = input.json;
    let text = read()?;
    block_on(async {
        let (tokens, providers, _) = rooms(config)?;
        let work = async {
            match command {
                Command::Inspect { test, .. } => {
                    inspect(&tokens, &providers, &open(&tokens, &text).await?, *test, json).await
                }
                Command::Reseal { .. } => reseal(&tokens, &open(&tokens, &text).await?, json).await,
                Command::Export { rclone, .. } => {
                    let to = if *rclone { To::Rclone } else { To::Json };
                    export(&tokens, &providers, &open(&tokens, &text).await?, to).await
                }
                Command::Revoke { at_provider, .. } => revoke(&tokens, &providers, &text, *at_provider, json).await,
            }
        };
        settled(&tokens, work).await
    })?
}

async fn inspect(
    tokens: &TokenService,
    providers: &ProviderClient,
    opened: &Opened,
    test: bool,
    json: bool,
) -> anyhow::Result<()> {
    let verdict = |outcome| verdict(outcome, &opened.login.service, providers.catalogue());
    let facts = tokens.info(opened);
    let tested = if test { Some(tokens.check_upstream(opened).await) } else { None };
    if json {
        let mut answer = facts.json();
        if let Some(outcome) = &tested {
            answer["test"] = json!({ "works": outcome.is_ok(), "verdict": verdict(outcome) });
        }
        print_json(answer)?;
    } else {
        facts.rows().iter().for_each(|(label, value)| println!("{label:<10}{value}"));
    }
    match &tested {
        Some(outcome) if outcome.is_err() => bail!("{}", verdict(outcome)),
        Some(outcome) if !json => println!("{:<10}{}", "test", verdict(outcome)),
        _ => {}
    }
    Ok(())
}

async fn reseal(tokens: &TokenService, opened: &Opened, json: bool) -> anyhow::Result<()> {
    let resealed = tokens.reseal(opened).await.map_err(|refused| anyhow!("{}", in_words(&refused)))?;
    let authid = resealed.authid.expose();
    let code = resealed.revoke_code.expose_secret();
    let grant = opened.login.id;
    if json {
        let (epoch, before) = (resealed.epoch.number(), opened.epoch().map(Epoch::number));
        let answer = json!({ "authid": authid, "revoke_code": code, "grant": grant.to_string(), "epoch": epoch, "epoch_before": before });
        return print_json(answer);
    }
    match opened.epoch() {
        None => eprintln!(
            "login {grant}: sealed under epoch {} now; the old AuthID stays good as long as it is taken",
            resealed.epoch
        ),
        Some(before) if before == resealed.epoch => {
            eprintln!("login {grant}: sealed once more under epoch {before}; the AuthID that was read stays good")
        }
        Some(before) => {
            eprintln!(
                "login {grant}: sealed under epoch {} now; the AuthID under epoch {before} stays good",
                resealed.epoch
            )
        }
    }
    eprintln!("its revoke code: {code}");
    println!("{authid}");
    Ok(())
}

async fn revoke(
    tokens: &TokenService,
    providers: &ProviderClient,
    text: &SecretString,
    at_provider: bool,
    json: bool,
) -> anyhow::Result<()> {
    let revocable =
        tokens.revocable(text.expose_secret()).await.map_err(|refused| anyhow!("{}", in_words(&refused)))?;
    let at_provider = if at_provider { ProviderRevocationMode::Always } else { ProviderRevocationMode::Never };
    let done = tokens.revoke(revocable, at_provider, || true).await;
    let provider = providers.catalogue().find(done.service.as_str()).map(|service| &service.provider);
    let withdraw_url = provider.and_then(|provider| provider.withdraw_url());
    if json {
        print_json(done.json(withdraw_url))?;
    } else {
        let todo = withdraw_url.filter(|_| done.at_provider != ProviderRevocation::Done);
        println!("login id: {}", done.grant);
        println!("refused by this server: {}", if done.here.is_ok() { "yes, durably" } else { "no" });
        let name = provider.map_or(done.service.as_str(), |provider| provider.name());
        let todo = todo.map_or_else(String::new, |url| format!("; its owner can do it at {url}"));
        println!("withdrawn at {name}: {}{todo}", done.at_provider.describe());
    }
    if let Err(error) = done.here {
        return Err(anyhow!("{}", error.cause).context("the denylist could not be written"));
    }
    if done.at_provider == ProviderRevocation::Failed {
        bail!("the login is refused here, but the storage provider did not end it; try again");
    }
    Ok(())
}

/// The login id is there under the name that pages have for it, too.
fn print_json(mut answer: Value) -> anyhow::Result<()> {
    answer["login"] = answer["grant"].clone();
    json::print(&answer)
}

/// What works on AuthIDs, with the files that the configuration names.
pub(super) fn rooms(config: Config) -> anyhow::Result<(TokenService, Arc<ProviderClient>, Arc<LiveKeyring>)> {
    let keyring = match &config.keyring {
        KeyringSource::File(path) => LiveKeyring::open(path)?,
        KeyringSource::Text(text) => LiveKeyring::from_text(text.expose_secret())?,
    };
    let denylist = Denylist::open(&config.denylist)?;
    let clock = Clock::system();
    let store = Arc::new(Store::attach(&config.store, clock.clone())?);
    let providers = Arc::new(ProviderClient::new(config.catalogue, &config.outbound, clock.clone(), Meter::default())?);
    let keyring = Arc::new(keyring);
    let denylist = Arc::new(denylist);
    let (meter, settings) = (Meter::default(), Settings { legacy: config.legacy, ..Settings::default() });
    let tokens =
        TokenService::new(Arc::clone(&keyring), denylist, Arc::clone(&providers), store, settings, clock, meter);
    Ok((tokens, providers, keyring))
}

/// Before anything is said of an AuthID: until it opens, it may say of itself what it likes.
async fn open(tokens: &TokenService, text: &SecretString) -> anyhow::Result<Opened> {
    tokens.open(text.expose_secret()).await.map_err(|refused| anyhow!("{}", in_words(&refused)))
}

/// For operators, who can look at the keyring.
fn in_words(refused: &ExchangeError) -> String {
    match refused {
        ExchangeError::Parse(ParseError::Malformed) => {
            "not an AuthID; one of this server begins with `v3:` and is copied whole".to_owned()
        }
        ExchangeError::Parse(ParseError::Version1) => of_another_server(1, "legacy.v1_dir"),
        ExchangeError::Parse(ParseError::Version2(_)) => of_another_server(2, "legacy.v2 = true"),
        ExchangeError::IsRevokeCode => "a revoke code, not an AuthID; `authseal authid revoke` takes it".to_owned(),
        ExchangeError::BadRevokeCode => "not a revoke code of this server, or mistyped; copy it whole".to_owned(),
        ExchangeError::NoKey(epoch, why) => format!("it does not open: epoch {epoch}, which it names, is {why}"),
        ExchangeError::NoKeyForRevokeCode(epoch, why) => {
            format!("the revoke code does not count: epoch {epoch}, which it names, is {why}")
        }
        ExchangeError::Forged => format!("it does not open: {refused}"),
        ExchangeError::Denied(rule) => format!("it is revoked, by a rule for {rule}; its owner can log in again"),
        ExchangeError::Gone(_, reason) => reason.clone(),
        other => other.to_string(),
    }
}

fn of_another_server(version: u8, key: &str) -> String {
    format!(
        "an AuthID of version {version}, from another kind of server; it must be made again: log in at this server; or if it is of your own duplicati/oauth-server, `{key}` has it served"
    )
}
