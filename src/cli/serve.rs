//! `authseal serve`.

use super::{Configured, block_on, log};
use crate::app::App;
use crate::clock::Clock;
use crate::web::Server;
use anyhow::Context;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal serve
  authseal serve --config /srv/authseal.toml --listen 127.0.0.1:8090 --listen '[::1]:8090'";

pub(super) fn serve(configured: &Configured) -> anyhow::Result<()> {
    let (config, public_url) = configured.load()?;
    log::start(&config.log)?;
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    no_core_dumps();
    block_on(async {
        let app = App::build(config, public_url, Clock::system())?;
        let offered: Vec<_> = app.catalogue().offered().map(|service| service.id.as_str()).collect();
        if offered.is_empty() {
            tracing::warn!(
                "no service is offered: set a client id in [clients.<provider>]; `authseal providers` lists what there is"
            );
        }
        let (services, public_url) = (offered.join(" "), app.public_url().to_string());
        let server = Server::bind(app)?;
        for address in server.addresses() {
            tracing::info!(%address, public_url, services, "listening");
        }
        run(server).await
    })?
}

/// Answers until told to end, and reads keyring and denylist again on SIGHUP.
pub(super) async fn run(server: Server) -> anyhow::Result<()> {
    let app = server.app();
    let tokens = app.tokens().clone();
    let mut hangups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let reloads = tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP: reading all files again");
            app.reload();
        }
    });
    let ended = server.run()?.await;
    reloads.abort();
    tokens.settle().await;
    Ok(ended?)
}

/// A core dump would hold every key. Best effort: a system that refuses says so in the log.
fn no_core_dumps() {
    let limit = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limit.and(dumpable) {
        tracing::warn!(%error, "core dumps could not be switched off; one would hold the keys");
    }
}
