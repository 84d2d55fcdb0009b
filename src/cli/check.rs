//! `authseal check` and `authseal providers`.

use super::{ConfigFile, Configured, block_on};
use crate::app::App;
use crate::clock::Clock;
use crate::provider::{Availability, Catalogue, Provider};
use std::iter;

/// Does all that `serve` does before it listens.
pub(super) fn check(configured: &Configured) -> anyhow::Result<()> {
    let (config, public_url) = configured.load()?;
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

pub(super) fn providers(file: &ConfigFile) -> anyhow::Result<()> {
    print(&file.load()?.catalogue);
    Ok(())
}

/// One line a service, under a line of headings; each column as wide as what is in it.
fn print(catalogue: &Catalogue) {
    let rows = catalogue.all().map(|service| [service.id.as_str(), &service.name, service.provider.name()]);
    let rows: Vec<_> = iter::once(["SERVICE", "NAME", "PROVIDER"]).chain(rows).collect();
    let states = catalogue.all().map(|service| state(service.availability(), &service.provider));
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)?.chars().count().into()).max();
    let [one, two, three] = [0, 1, 2].map(|column| width(column).unwrap_or_default());
    for ([id, name, provider], state) in rows.iter().zip(iter::once("STATE".to_owned()).chain(states)) {
        println!("{id:one$}  {name:two$}  {provider:three$}  {state}");
    }
}

fn state(availability: Availability<'_>, provider: &Provider) -> String {
    match availability {
        Availability::Offered => "offered".to_owned(),
        Availability::NotConfigured => {
            let client = format!("clients.{}", provider.id());
            match provider.console_url() {
                Some(url) => format!("off: {client}.id is not set (register at {url}), or {client}.enabled is false"),
                None => format!("off: set {client}.id, or {client}.enabled = true where nothing is registered"),
            }
        }
        Availability::NeedsStore => {
            "off: its refresh tokens can be used once, so they must be remembered: set state.store to dir:FOLDER or redis://HOST"
                .to_owned()
        }
        Availability::Gone { reason, .. } => reason.to_owned(),
    }
}
