//! The command line: what can be typed, and what it does. The one room that prints.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage or configuration.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod authid;
mod check;
mod demo;
mod files;
mod healthcheck;
mod log;
mod password;
mod serve;

use crate::config::{Config, Faults, Sources};
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// An OAuth handler for Duplicati that keeps no database.
///
/// A person logs in once at their storage provider, in a browser. authseal seals the provider's refresh token into a
/// string, the AuthID, with a key that only this server holds. Duplicati keeps the AuthID and exchanges it at
/// /refresh for short-lived access tokens.
///
/// New here? `authseal demo` runs everything with a pretend provider.
#[derive(Parser)]
#[command(name = "authseal", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the server
    Serve(Configured),
    /// Try everything with a pretend provider; needs no configuration
    Demo(demo::Demo),
    /// Say whether `serve` would start with this configuration, and what it would offer
    Check(Configured),
    /// List the services: which are offered, which are not and why
    Providers(Configured),
    /// Make and look at the keyring
    #[command(subcommand)]
    Keys(files::Keys),
    /// Look at an AuthID
    #[command(subcommand)]
    Authid(authid::Verb),
    /// Make the denylist
    #[command(subcommand)]
    Denylist(files::DenylistVerb),
    /// Make the hash for `access.password_file`
    #[command(subcommand)]
    Access(password::Verb),
    /// Ask a running server whether it is ready; for containers
    Healthcheck(healthcheck::Healthcheck),
}

/// Where the configuration comes from.
#[derive(Args)]
struct Configured {
    /// The configuration file [default: authseal.toml here, else /etc/authseal/authseal.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here instead of where the configuration says; may be given more than once
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
    /// What browsers see, instead of what the configuration says
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

impl Configured {
    fn sources(&self) -> anyhow::Result<Sources> {
        let mut flags = Vec::new();
        if let Some(url) = &self.public_url {
            flags.push(("public_url".to_owned(), url.clone()));
        }
        if !self.listen.is_empty() {
            let addresses: Vec<_> = self.listen.iter().map(SocketAddr::to_string).collect();
            flags.push(("listen".to_owned(), addresses.join(",")));
        }
        Sources::of_process(self.config.clone(), flags).context("cannot tell the working directory")
    }

    fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.sources()?)?)
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // For the HTTP clients that are not told which to use. Fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = match Cli::parse().verb {
        Verb::Serve(configured) => serve::serve(&configured),
        Verb::Demo(demo) => demo::demo(&demo),
        Verb::Check(configured) => check::check(&configured),
        Verb::Providers(configured) => check::providers(&configured),
        Verb::Keys(verb) => files::keys(&verb),
        Verb::Authid(verb) => authid::run(&verb),
        Verb::Denylist(verb) => files::denylist(&verb),
        Verb::Access(verb) => password::run(&verb),
        Verb::Healthcheck(healthcheck) => healthcheck::healthcheck(&healthcheck),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Faults>() {
            Some(faults) => {
                eprintln!("{faults}");
                ExitCode::from(2)
            }
            None => {
                eprintln!("authseal: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Runs a future on the runtime that everything runs on: provider calls outlive the request that began them.
fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    Ok(runtime.block_on(future))
}
