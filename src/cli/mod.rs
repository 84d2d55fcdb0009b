//! The command line: what can be typed, and what it does. The one room that prints.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

#[macro_use]
mod plain;
mod authid;
mod check;
mod completions;
mod config;
mod configured;
mod demo;
mod denylist;
mod export;
mod files;
mod healthcheck;
mod import;
mod init;
mod json;
mod keys;
mod log;
mod man;
mod online;
mod password;
mod providers;
mod remotes;
mod serve;

use crate::app::StartupError;
use crate::config::Faults;
use crate::denylist::DenylistError;
use anyhow::Context;
use clap::{Parser, Subcommand};
use configured::{ConfigFile, Configured};
use std::process::ExitCode;
use std::time::Duration;
use thiserror::Error;

/// An OAuth handler for Duplicati that keeps no database.
///
/// A person logs in once at their storage provider, in a browser. authseal seals the provider's refresh token into a
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
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
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
    Import(import::Verb),
    /// Say whether `serve` would start with this configuration, and what it would offer
    #[command(after_help = check::EXAMPLES)]
    Check(check::Check),
    /// List the services: which are offered, and what the others need
    #[command(after_help = providers::EXAMPLES)]
    Providers(providers::Providers),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Verb),
    /// Make the keyring, look at it, and change keys
    #[command(subcommand)]
    Keys(keys::Verb),
    /// Look at an AuthID
    #[command(subcommand)]
    Authid(authid::Verb),
    /// Make the denylist, look at it, and change it beside running servers
    #[command(subcommand)]
    Denylist(denylist::Verb),
    /// Make the hash for `access.password_file`
    #[command(subcommand)]
    Access(password::Verb),
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
struct Misuse(String);

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    log::keep_panics_quiet();
    let _finish = log::Finish;
    // For the HTTP clients that are not told which to use. Fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let verb = Cli::parse().verb;
    let is_check = matches!(verb, Verb::Check(_));
    let outcome = match verb {
        Verb::Serve(serve) => serve::serve(&serve),
        Verb::Demo(demo) => demo::demo(&demo),
        Verb::Init(init) => init::init(&init),
        Verb::Import(verb) => import::run(&verb),
        Verb::Check(configured) => check::check(&configured),
        Verb::Providers(providers) => providers::providers(&providers),
        Verb::Config(verb) => config::run(&verb),
        Verb::Keys(verb) => keys::run(&verb),
        Verb::Authid(verb) => authid::run(&verb),
        Verb::Denylist(verb) => denylist::run(&verb),
        Verb::Access(verb) => password::run(&verb),
        Verb::Healthcheck(healthcheck) => healthcheck::healthcheck(&healthcheck),
        Verb::Completions(completions) => completions::completions(&completions),
        Verb::Man(man) => man::man(&man),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    log::say(&match error.downcast_ref::<Faults>() {
        Some(faults) => format!("{faults}\n{}", to_do(faults, is_check)), // begins with a headline of its own
        None => format!("authseal: {error:#}"),
    });
    exit_code(&error)
}

/// What to do about faults; whoever ran `check` knows that it exists.
fn to_do(faults: &Faults, is_check: bool) -> String {
    let them = if faults.all().len() == 1 { "it" } else { "them" };
    let then = if is_check { "" } else { ", then run `authseal check`" };
    format!("Fix {them}{then}. {DOCS}/configuration.md explains every key.")
}

/// 2 for what has to be fixed before another try, the same as clap's own for what it cannot read; 1 for the rest.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let faulty = |error: &DenylistError| matches!(error, DenylistError::Faulty(..));
    let to_mend = error.is::<Misuse>()
        || error.is::<Faults>()
        || error.is::<StartupError>()
        || error.downcast_ref().is_some_and(faulty);
    ExitCode::from(if to_mend { 2 } else { 1 })
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
