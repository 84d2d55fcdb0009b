//! `authseal providers`: each service with whether it is offered, and if not, why and what to do.

use super::ConfigFile;
use crate::provider::{Availability, Catalogue, Provider, Service};
use clap::Args;
use serde_json::{Value, json};
use std::iter;

#[derive(Args)]
pub(super) struct Providers {
    #[command(flatten)]
    file: ConfigFile,
    /// Say it as a JSON list
    #[arg(long)]
    json: bool,
}

pub(super) fn providers(providers: &Providers) -> anyhow::Result<()> {
    let catalogue = providers.file.load()?.catalogue;
    match providers.json {
        true => println!("{:#}", catalogue.all().map(|service| as_json(service)).collect::<Value>()),
        false => print(&catalogue),
    }
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

/// A service for scripts: `state` is one of four words, `advice` the sentence for people.
pub(super) fn as_json(service: &Service) -> Value {
    let availability = service.availability();
    let word = match availability {
        Availability::Offered => "offered",
        Availability::NotConfigured => "not_configured",
        Availability::NeedsStore => "needs_store",
        Availability::Gone { .. } => "gone",
    };
    let advice = (availability != Availability::Offered).then(|| state(availability, &service.provider));
    json!({
        "service": service.id.as_str(),
        "name": service.name,
        "provider": service.provider.id(),
        "hidden": service.hidden,
        "state": word,
        "advice": advice,
    })
}

/// Whether a service can be used here, and what to do if it cannot.
pub(super) fn state(availability: Availability<'_>, provider: &Provider) -> String {
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
