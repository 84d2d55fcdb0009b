//! The command line: its commands, one file or folder each, and the exit code. The one module that prints.
//!
//! Shared by several commands: `config_args` (where the configuration comes from), `default_path` (where files are made),
//! `replicas` (asking running servers), `json` and `plain` (output), `log`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

#[macro_use]
mod plain;
mod apps;
mod authid;
mod check;
mod completions;
mod config;
mod config_args;
mod counted;
mod default_path;
mod demo;
mod denylist;
mod export;
mod healthcheck;
pub(crate) mod import;
mod init;
mod json;
mod keys;
mod legacy;
mod log;
mod man;
mod online_check;
mod password;
mod providers;
mod reload;
mod remotes;
mod replicas;
mod running;
mod serve;
mod settled;
mod standard_input;
mod status;
mod successor;
mod supervisor;
mod support_bundle;

use crate::app::StartupError;
use crate::config::ConfigErrors;
use crate::denylist::DenylistError;
use anyhow::Context;
use clap::{Parser, Subcommand};
use config_args::{ConfigFile, Configured};
use reload::NotReloaded;
use std::process::ExitCode;
use std::time::Duration;
use thiserror::Error;

/// An OAuth handler for Duplicati that keeps no database.
///
/// A user logs in once at their storage provider, in a browser. authseal seals the provider's refresh token into a
/// string, the AuthID, with a key that only this server holds. Duplicati keeps the AuthID and exchanges it at
/// /refresh for short-lived access tokens.
///
/// New here? `authseal demo` runs everything with a pretend provider, and `authseal init` begins a real server.
#[derive(Parser)]
#[command(
    name = "authseal",
    version,
    long_version = BUILD,
    max_term_width = 100,
    after_help = AFTER_HELP
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::Serve),
    /// Try everything with a pretend provider; needs no configuration
    Demo(demo::Demo),
    /// Write a first configuration, a keyring and a denylist; asks, and never overwrites
    #[command(after_help = init::EXAMPLES)]
    Init(init::Init),
    /// Take over what runs today
    #[command(subcommand)]
    Import(import::Command),
    /// Check whether `serve` would start with this configuration, and what it would offer
    #[command(after_help = check::EXAMPLES)]
    Check(check::Check),
    /// List the services: which are offered, and what the others need
    #[command(after_help = providers::EXAMPLES)]
    Providers(providers::Providers),
    /// Have a running server take up its changed configuration, and say what came of that
    #[command(after_help = reload::EXAMPLES)]
    Reload(reload::Reload),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Make the keyring, look at it, and change keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Look at an AuthID
    #[command(subcommand)]
    Authid(authid::Command),
    /// Make the denylist, look at it, and change it beside running servers
    #[command(subcommand)]
    Denylist(denylist::Command),
    /// Say how many logins use which app registration at a provider, as running servers have seen
    #[command(after_help = apps::EXAMPLES)]
    Apps(replicas::Asking),
    /// Say how many AuthIDs of duplicati/oauth-server still come, as running servers have seen
    #[command(after_help = legacy::EXAMPLES)]
    Legacy(replicas::Asking),
    /// Say how running servers do: version, keys, store, providers, what ends soon, the last errors
    #[command(after_help = status::EXAMPLES)]
    Status(replicas::Asking),
    /// Print what somebody who helps has to know of this server, without secrets
    #[command(after_help = support_bundle::EXAMPLES)]
    SupportBundle(support_bundle::SupportBundle),
    /// Make the hash for `access.password_file`
    #[command(subcommand)]
    Access(password::Command),
    /// Ask a running server whether it is ready; for containers
    #[command(after_help = healthcheck::EXAMPLES)]
    Healthcheck(healthcheck::Healthcheck),
    /// Print what a shell needs to complete this command line
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::Completions),
    /// Write the manual pages
    #[command(after_help = man::EXAMPLES)]
    Man(man::Man),
}

/// What was built, from what and for what; build.rs knows.
const BUILD: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("BUILD_COMMIT"),
    "\ntarget: ",
    env!("BUILD_TARGET"),
    "\nrustc: ",
    env!("BUILD_RUSTC"),
    "\ndocs: ",
    env!("CARGO_PKG_HOMEPAGE"),
    "docs/README.md"
);

/// Where the documentation is: `homepage` in Cargo.toml, with `docs/` behind it; without one, in the source.
const DOCS: &str = concat!(env!("CARGO_PKG_HOMEPAGE"), "docs");

const AFTER_HELP: &str = concat!(
    "\
Examples:
  authseal demo
  authseal init
  authseal check --online
  authseal serve

Exit codes: 0 done, 1 failed, 2 the command line or the configuration has to be
fixed first. Documentation: ",
    env!("CARGO_PKG_HOMEPAGE"),
    "docs/README.md"
);

/// A command that was not given as it has to be, in a sentence that says how.
#[derive(Debug, Error)]
#[error("{0}")]
struct UsageError(String);

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    log::keep_panics_quiet();
    let _finish = log::Finish;
    // For the HTTP clients that are not told which to use. Fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let command = Cli::parse().command;
    let is_check = matches!(command, Command::Check(_));
    let outcome = match command {
        Command::Serve(serve) => serve::serve(&serve),
        Command::Demo(demo) => demo::demo(&demo),
        Command::Init(init) => init::init(&init),
        Command::Import(command) => import::run(&command),
        Command::Check(configured) => check::check(&configured),
        Command::Providers(providers) => providers::providers(&providers),
        Command::Reload(reload) => reload::reload(&reload),
        Command::Config(command) => config::run(&command),
        Command::Keys(command) => keys::run(&command),
        Command::Authid(command) => authid::run(&command),
        Command::Denylist(command) => denylist::run(&command),
        Command::Apps(asking) => apps::apps(&asking),
        Command::Legacy(asking) => legacy::legacy(&asking),
        Command::Status(asking) => status::status(&asking),
        Command::SupportBundle(bundle) => support_bundle::support_bundle(&bundle),
        Command::Access(command) => password::run(&command),
        Command::Healthcheck(healthcheck) => healthcheck::healthcheck(&healthcheck),
        Command::Completions(completions) => completions::completions(&completions),
        Command::Man(man) => man::man(&man),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    log::say(&match error.downcast_ref::<ConfigErrors>() {
        Some(faults) => format!("{faults}\n{}", to_do(faults, is_check)), // begins with a headline of its own
        None => format!("authseal: {error:#}"),
    });
    exit_code(&error)
}

/// What to do about faults; whoever ran `check` knows that it exists.
fn to_do(faults: &ConfigErrors, is_check: bool) -> String {
    let them = if faults.all().len() == 1 { "it" } else { "them" };
    let then = if is_check { "" } else { ", then run `authseal check`" };
    format!("Fix {them}{then}. {DOCS}/configuration.md explains every key.")
}

/// 2 for what has to be fixed before another try, the same as clap's own for what it cannot read; 3 for a
/// reload that needs a restart; 1 for the rest.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let faulty = |error: &DenylistError| matches!(error, DenylistError::Faulty(..));
    let to_mend = error.is::<UsageError>()
        || error.is::<ConfigErrors>()
        || error.is::<StartupError>()
        || error.downcast_ref().is_some_and(faulty);
    match error.downcast_ref::<NotReloaded>() {
        Some(NotReloaded { needs_restart: true, .. }) => ExitCode::from(3),
        Some(_) => ExitCode::from(2),
        None => ExitCode::from(if to_mend { 2 } else { 1 }),
    }
}

/// Runs a future on the runtime that everything runs on: provider calls outlive the request that began them.
fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let output = runtime.block_on(future);
    // What matters has been waited for; a look-up of a name may hang for as long as its name servers do.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(output)
}
