//! `authseal serve`: starts the server, and ends it by signals: SIGTERM after everything under way is done, SIGINT at
//! once. SIGHUP reads all files again, the configuration too; SIGUSR2 hands over to a new process.

use super::import::{self, Report};
use super::supervisor::{self, Supervisor};
use super::{Configured, UsageError, block_on, log, successor};
use crate::app::{App, LiveApp};
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, KeyringSource};
use crate::denylist::Denylist;
use crate::socket::{self, Handed, Sockets};
use crate::watch;
use crate::web::Server;
use anyhow::Context;
use clap::Args;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::field;
use url::Url;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal serve
  authseal serve --config /srv/authseal.toml \\
      --listen 127.0.0.1:8090 --listen '[::1]:8090'
  authseal serve --oauth-server-env --dir /var/lib/authseal -- \\
      run --hostname oauth.example.com";

#[derive(Args, Clone)]
pub(super) struct Serve {
    #[command(flatten)]
    configured: Configured,
    /// Run from the settings of a duplicati/oauth-server instead of a configuration file: from its environment, which this
    /// process has, and its command line behind `--`. Variables that begin with AUTHSEAL_ count on top
    #[arg(long, conflicts_with = "path")]
    oauth_server_env: bool,
    /// The folder for keyring, denylist and state, with --oauth-server-env [default: the working directory]
    #[arg(long, value_name = "FOLDER", requires = "oauth_server_env")]
    dir: Option<PathBuf>,
    /// Its command line, with --oauth-server-env
    #[arg(last = true, value_name = "ITS COMMAND LINE", requires = "oauth_server_env")]
    words: Vec<OsString>,
}

impl Serve {
    /// The checked configuration, its `public_url`, and what there is to say of the settings that it was made from.
    fn load(&self) -> anyhow::Result<(Config, Url, Report)> {
        if !self.oauth_server_env {
            let (config, public_url) = self.configured.load(None)?;
            return Ok((config, public_url, Report::default()));
        }
        let dir = std::path::absolute(self.dir.as_deref().unwrap_or(Path::new(".")))?;
        let (text, report) = import::from_process(&self.words, &dir)?;
        let (config, public_url) = self.configured.load(Some(text))?;
        match &config.keyring {
            KeyringSource::File(file) if !file.exists() => Err(import::no_keyring(file).into()),
            _ => Ok((config, public_url, report)),
        }
    }

    /// The same for a server that runs; its faults, a line each.
    fn load_again(&self) -> Result<Config, Vec<String>> {
        self.load().map(|(config, ..)| config).map_err(|error| match error.downcast_ref::<ConfigErrors>() {
            Some(faults) => faults.all().iter().map(ToString::to_string).collect(),
            None => vec![format!("{error:#}")],
        })
    }
}

pub(super) fn serve(serve: &Serve) -> anyhow::Result<()> {
    let mut handed = Handed::from_environment().map_err(|error| UsageError(error.to_string()))?;
    log::prepare()?;
    let (config, public_url, report) = serve.load()?;
    log::start(&config.log)?;
    for (warns, found) in report.lines() {
        match warns {
            true => tracing::warn!(found, "a setting of the oauth-server is not in force here"),
            false => tracing::info!(found, "a setting of the oauth-server"),
        }
    }
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
        let tls = app.certificate().live.is_some();
        let serve = serve.clone();
        let supervisor = Supervisor::new(handed.predecessor());
        let server = Server::bind(LiveApp::new(app, Box::new(move || serve.load_again())), listeners, handed)?;
        // Before anybody reads where it listens and sends one.
        let attended = io::stdin().is_terminal() || io::stderr().is_terminal();
        let signals = Signals::new(if attended { Hangup::Ends } else { Hangup::Reloads })?;
        let max_connections = server.max_connections();
        for address in server.addresses() {
            tracing::info!(address, tls, max_connections, "listening");
        }
        for redirect_address in server.redirect_addresses() {
            tracing::info!(redirect_address, "sending visitors from http to https");
        }
        for admin_address in server.admin_addresses() {
            tracing::info!(admin_address, "listening for operators");
        }
        run(server, signals, supervisor).await
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
    upgrades: Signal,
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
            upgrades: listen(SignalKind::user_defined2())?,
            terminations: listen(SignalKind::terminate())?,
            interrupts: listen(SignalKind::interrupt())?,
        })
    }
}

/// Answers until told to end: SIGTERM lets nothing be lost, SIGINT waits for nothing, and neither does the end of the
/// terminal. Without one, all files are read again on SIGHUP, one time after the other. On SIGUSR2 a new process takes
/// its place.
pub(super) async fn run(server: Server, signals: Signals, supervisor: Supervisor) -> anyhow::Result<()> {
    let live = server.live().into_inner();
    let supervisor = Arc::new(supervisor);
    let Signals { hangup, hangups, mut upgrades, mut terminations, mut interrupts } = signals;
    let meter = live.load().meter().clone();
    let mut hung_up = tokio::spawn(follow_hangups(hangups, hangup, live, supervisor.clone()));
    let (sockets, pulse) = (server.sockets()?, server.pulse());
    let mut running = server.run()?;
    supervisor::reassure(pulse);
    supervisor.ready();
    let end = loop {
        tokio::select! {
            ended = running.ended() => return Ok(ended?),
            _ = interrupts.recv() => break End::Now("SIGINT"),
            _ = &mut hung_up => break End::Now("SIGHUP"),
            _ = terminations.recv() => break End::Drained,
            successor = upgrade(&mut upgrades, &sockets) => match successor {
                Ok(successor) => break End::HandedOver(successor),
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "no new process takes over, this one continues");
                }
            },
        }
    };
    // Who connects from now on is refused, or has another process.
    drop(sockets);
    let why = match end {
        End::Now(why) => why,
        End::Drained => {
            tracing::info!("SIGTERM: ending, as soon as everything under way is done");
            supervisor.stopping();
            tokio::select! {
                () = running.drain() => "SIGTERM",
                _ = interrupts.recv() => "SIGINT while ending",
            }
        }
        End::HandedOver(successor) => {
            let process = successor.id().unwrap_or_default();
            tracing::info!(
                process,
                "SIGUSR2: a new process has taken over; ending, as soon as everything under way is done"
            );
            supervisor.succeeded_by(process);
            // It outlives this process.
            std::mem::forget(successor);
            tokio::select! {
                () = running.hand_over() => "SIGUSR2",
                _ = interrupts.recv() => "SIGINT while ending",
            }
        }
    };
    hung_up.abort();
    running.stop().await?;
    tracing::info!(why, requests = meter.answers(), "ended");
    Ok(())
}

/// Reads all files again at each hangup; ends when the terminal is closed.
async fn follow_hangups(mut hangups: Signal, hangup: Hangup, live: Arc<LiveApp>, supervisor: Arc<Supervisor>) {
    while hangups.recv().await.is_some() {
        if hangup == Hangup::Ends {
            return tracing::info!("SIGHUP: the terminal is closed, ending");
        }
        tracing::info!("SIGHUP: reading all files again");
        let live = live.clone();
        supervisor.reloading();
        if let Err(error) = tokio::task::spawn_blocking(move || live.reload()).await {
            tracing::error!(%error, "reading the configuration again ran into a defect of authseal; please report it");
        }
        supervisor.ready();
    }
}

/// How a server ends.
enum End {
    Now(&'static str),
    Drained,
    HandedOver(Child),
}

/// Waits until it is told to, and then until a new process serves.
async fn upgrade(told: &mut Signal, sockets: &Sockets) -> anyhow::Result<Child> {
    told.recv().await;
    tracing::info!("SIGUSR2: starting a new process to take over");
    successor::start(sockets).await
}

/// A core dump would hold every key. Best effort: a system that refuses says so in the log.
fn no_core_dumps() {
    let limit = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limit.and(dumpable) {
        tracing::warn!(%error, "core dumps could not be switched off; one would hold the keys");
    }
}
