//! `authseal serve`: starts the server, and ends it by signals: SIGTERM after everything under way is done, SIGINT at
//! once. SIGHUP reads all files again.

use super::{Configured, UsageError, block_on, log};
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::denylist::Denylist;
use crate::socket;
use crate::watch;
use crate::web::Server;
use anyhow::Context;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::io::{self, IsTerminal};
use std::path::Path;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::field;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal serve
  authseal serve --config /srv/authseal.toml \\
      --listen 127.0.0.1:8090 --listen '[::1]:8090'";

pub(super) fn serve(configured: &Configured) -> anyhow::Result<()> {
    log::prepare()?;
    let (config, public_url) = configured.load()?;
    log::start(&config.log)?;
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    config.inputs().filter_map(watch::detached).for_each(|warning| tracing::warn!("{warning}"));
    no_core_dumps();
    socket::raise_limit();
    first_denylist(&config)?;
    block_on(async {
        let file = config.file.clone();
        let listeners = config.listeners.clone();
        let app = App::build(config, public_url, Clock::system())?;
        starts(file.as_deref(), &app);
        let tls = app.certificate().is_some();
        let server = Server::bind(app, listeners)?;
        // Before anybody reads where it listens and sends one.
        let attended = io::stdin().is_terminal() || io::stderr().is_terminal();
        let signals = Signals::new(if attended { Hangup::Ends } else { Hangup::Reloads })?;
        let max_connections = server.max_connections();
        for address in server.addresses() {
            tracing::info!(%address, tls, max_connections, "listening");
        }
        for redirect_address in server.redirect_addresses() {
            tracing::info!(%redirect_address, "sending visitors from http to https");
        }
        for admin_address in server.admin_addresses() {
            tracing::info!(%admin_address, "listening for operators");
        }
        run(server, signals).await
    })?
}

/// What runs, and by what.
fn starts(file: Option<&Path>, app: &App) {
    let services: Vec<_> = app.catalogue().offered().map(|service| service.id.as_str()).collect();
    let keyring = app.health().keyring();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = file.map(|file| field::display(file.display())),
        public_url = app.public_url().as_str(),
        store = app.store().name(),
        primary_epoch = keyring.primary,
        keyring = keyring.digest,
        denylist_rules = app.health().readiness().denylist.entries,
        ?services,
        concat!("authseal ", env!("CARGO_PKG_VERSION"), " starts")
    );
    if services.is_empty() {
        tracing::warn!(
            "no service is offered: set a client id in [clients.<provider>]; `authseal providers` lists what there is"
        );
    }
}

/// Makes the denylist on a first start, where the configuration lets it.
fn first_denylist(config: &Config) -> anyhow::Result<()> {
    if config.create_denylist
        && Denylist::init_first(&config.denylist).map_err(|error| UsageError(error.to_string()))?
    {
        let path = config.denylist.display().to_string();
        tracing::warn!(
            path,
            "made an empty denylist; keep its folder, or what gets revoked works again after a restart"
        );
    }
    Ok(())
}

/// What SIGHUP is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hangup {
    /// The terminal that the server runs on is closed, so it ends.
    Ends,
    /// Somebody changed a file.
    Reloads,
}

/// What a server is told by signals.
pub(super) struct Signals {
    hangup: Hangup,
    hangups: Signal,
    terminations: Signal,
    interrupts: Signal,
}

impl Signals {
    /// From now on signals wait here instead of ending the process.
    pub(super) fn new(hangup: Hangup) -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            hangup,
            hangups: listen(SignalKind::hangup())?,
            terminations: listen(SignalKind::terminate())?,
            interrupts: listen(SignalKind::interrupt())?,
        })
    }
}

/// Answers until told to end: SIGTERM lets nothing be lost, SIGINT waits for nothing, and neither does the end of the
/// terminal. Without one, all files are read again on SIGHUP.
pub(super) async fn run(server: Server, signals: Signals) -> anyhow::Result<()> {
    let app = server.app();
    let Signals { hangup, mut hangups, mut terminations, mut interrupts } = signals;
    let meter = app.meter().clone();
    let mut hung_up = tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            if hangup == Hangup::Ends {
                return tracing::info!("SIGHUP: the terminal is closed, ending");
            }
            tracing::info!("SIGHUP: reading all files again");
            app.reload();
        }
    });
    let mut running = server.run()?;
    let why = tokio::select! {
        ended = running.ended() => return Ok(ended?),
        _ = interrupts.recv() => "SIGINT",
        _ = &mut hung_up => "SIGHUP",
        _ = terminations.recv() => {
            tracing::info!("SIGTERM: ending, as soon as everything under way is done");
            tokio::select! {
                () = running.drain() => "SIGTERM",
                _ = interrupts.recv() => "SIGINT while ending",
            }
        }
    };
    hung_up.abort();
    running.stop().await?;
    tracing::info!(why, requests = meter.answers(), "ended");
    Ok(())
}

/// A core dump would hold every key. Best effort: a system that refuses says so in the log.
fn no_core_dumps() {
    let limit = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limit.and(dumpable) {
        tracing::warn!(%error, "core dumps could not be switched off; one would hold the keys");
    }
}
