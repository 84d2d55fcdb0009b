//! `authseal providers`: each service with whether it is offered, and for those of one provider, what to do.

use super::{ConfigFile, UsageError, json};
use crate::provider::{Availability, Catalogue, Provider, Service};
use clap::Args;
use serde_json::{Value, json};
use std::iter;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal providers
  authseal providers google          # what to register, and where";

#[derive(Args)]
pub(super) struct Providers {
    /// Provider or service to describe
    id: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
    /// Output as a JSON list
    #[arg(long)]
    json: bool,
}

pub(super) fn providers(providers: &Providers) -> anyhow::Result<()> {
    let catalogue = providers.file.load()?.catalogue;
    let asked = providers.id.as_deref();
    let is_asked = |service: &&Service| {
        asked.is_none_or(|id| {
            let found = catalogue.find(id).is_some_and(|found| found.id == service.id);
            found || service.provider.id() == id
        })
    };
    let services: Vec<_> = catalogue.all().map(|service| &**service).filter(is_asked).collect();
    if services.is_empty() {
        let what = "no provider and no service is called so; `authseal providers` lists them";
        return Err(UsageError(what.to_owned()).into());
    }
    match (providers.json, asked) {
        (true, _) => return json::print(&services.into_iter().map(as_json).collect::<Value>()),
        (false, Some(_)) => services.into_iter().for_each(tell),
        (false, None) => print(&catalogue),
    }
    Ok(())
}

/// One line a service, under a line of headings; each column as wide as what is in it, and all within 80.
fn print(catalogue: &Catalogue) {
    let rows = catalogue.all().map(|service| {
        [service.id.as_str(), &service.name, service.provider.name(), label(service.availability(), &service.provider)]
    });
    let rows: Vec<_> = iter::once(["SERVICE", "NAME", "PROVIDER", "STATE"]).chain(rows).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)?.chars().count().into()).max();
    let [one, two, three] = [0, 1, 2].map(|column| width(column).unwrap_or_default());
    for [id, name, provider, state] in &rows {
        println!("{id:one$}  {name:two$}  {provider:three$}  {state}");
    }
    if catalogue.all().any(|service| service.availability() != Availability::Offered) {
        println!("\nWhat to do for one of them: `authseal providers SERVICE`");
    }
}

/// All of one service.
fn tell(service: &Service) {
    let provider = &service.provider;
    println!("{}, {} at {}: {}", service.id, service.name, provider.name(), label(service.availability(), provider));
    for (app, client_id) in service.apps() {
        let does = if service.makes_logins_with(app) { "makes logins" } else { "serves its logins" };
        println!("  app {app}, client id {client_id}: {does}");
    }
    advice(service.availability(), provider).into_iter().for_each(|advice| println!("  {advice}"));
    if !matches!(service.availability(), Availability::Gone { .. }) {
        provider.console_url().into_iter().for_each(|url| println!("  register at {url}"));
        provider.console_hint().into_iter().for_each(|hint| println!("  {hint}"));
    }
}

/// A service for scripts: `state` is one of six labels, `apps` has its registrations, `advice` is the sentence for
/// people.
pub(super) fn as_json(service: &Service) -> Value {
    let availability = service.availability();
    let label = match availability {
        Availability::Offered => "offered",
        Availability::Closed => "closed",
        Availability::NotConfigured => "not_configured",
        Availability::SwitchedOff => "switched_off",
        Availability::NeedsStore => "needs_store",
        Availability::Gone { .. } => "gone",
    };
    let apps = service.apps().map(|(app, client_id)| {
        json!({ "app": app.to_string(), "client_id": client_id, "makes_logins": service.makes_logins_with(app) })
    });
    json!({
        "service": service.id.as_str(),
        "name": service.name,
        "provider": service.provider.id(),
        "hidden": service.hidden,
        "state": label,
        "apps": apps.collect::<Value>(),
        "advice": advice(availability, &service.provider),
    })
}

/// Whether a service can be used here, in words that are short enough for a table.
fn label(availability: Availability<'_>, provider: &Provider) -> &'static str {
    match availability {
        Availability::Offered => "offered",
        Availability::Closed => "no new logins",
        Availability::NotConfigured if provider.needs_registration() => "no client id",
        Availability::NotConfigured => "not enabled",
        Availability::SwitchedOff => "switched off",
        Availability::NeedsStore => "needs a store",
        Availability::Gone { .. } => "ended",
    }
}

/// What to do for a service that cannot be used here.
pub(super) fn advice(availability: Availability<'_>, provider: &Provider) -> Option<String> {
    let client = format!("clients.{}", provider.id());
    match availability {
        Availability::Offered => None,
        Availability::Closed => Some(format!("{client}.accept_logins is false; the logins it made are served")),
        Availability::NotConfigured if provider.needs_registration() => Some(format!("set {client}.id")),
        Availability::NotConfigured => Some(format!("set {client}.enabled = true; nothing is registered there")),
        Availability::SwitchedOff => Some(format!("{client}.enabled is false")),
        Availability::NeedsStore => Some(
            "its refresh tokens can be used once, so they must be remembered: set state.store to dir:FOLDER or redis://HOST"
                .to_owned(),
        ),
        Availability::Gone { reason, .. } => Some(reason.to_owned()),
    }
}
