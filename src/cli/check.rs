//! `authseal check` and `authseal providers`.

use super::{Configured, block_on};
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::provider::{Availability, Catalogue};

/// Does all that `serve` does before it listens.
pub(super) fn check(configured: &Configured) -> anyhow::Result<()> {
    let (config, public_url) = Config::load_to_serve(&configured.sources()?)?;
    let file =
        config.file.as_ref().map_or_else(|| "environment and flags".to_owned(), |file| file.display().to_string());
    config.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    block_on(async {
        let app = App::build(config, public_url, Clock::system())?;
        println!("{file}: good");
        println!("callback to register at every provider: {}/logged-in", app.own_origin().as_str());
        let offered: Vec<_> = app.catalogue().offered().map(|service| service.id.as_str()).collect();
        match offered.as_slice() {
            [] => println!("no service is offered yet: set a client id in [clients.<provider>]"),
            ids => println!("offered: {}", ids.join(", ")),
        }
        println!("everything else: authseal providers");
        Ok(())
    })?
}

pub(super) fn providers(configured: &Configured) -> anyhow::Result<()> {
    let config = configured.load()?;
    print(&config.catalogue);
    Ok(())
}

fn print(catalogue: &Catalogue) {
    println!("{:<14}{:<34}{:<16}STATE", "SERVICE", "NAME", "PROVIDER");
    for service in catalogue.all() {
        let state = match service.availability() {
            Availability::Offered => "offered".to_owned(),
            Availability::NotConfigured => match service.provider.console_url() {
                Some(url) => format!("no client id; register one at {url}"),
                None => format!("off; set [clients.{}]", service.provider.id()),
            },
            Availability::NeedsStore => {
                "off: its refresh tokens can be used once, which needs a state store; this version has none".to_owned()
            }
            Availability::Gone { reason, .. } => reason.to_owned(),
        };
        println!("{:<14}{:<34}{:<16}{state}", service.id.as_str(), service.name, service.provider.name());
    }
}
