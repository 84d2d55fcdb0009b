//! `authseal check`: does everything that `serve` does before it listens, and says what it would offer; with `--online`
//! it also asks whom `serve` would depend on.

use super::default_path::scratch;
use super::denylist::TORN;
use super::online_check::{Finding, State, look};
use super::providers::{advice, as_json};
use super::{Configured, UsageError, block_on, json, log};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors};
use crate::denylist::{self, Denylist};
use crate::files;
use crate::provider::{Availability, Catalogue};
use crate::store::StorePlace;
use crate::watch;
use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use url::Url;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal check
  authseal check --online            # asks the providers, too
  authseal check --json | jq .faults

Exit codes: 0 good, warnings or not; 1 `--online` found something that backups need to fail;
2 `serve` would not start.";

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    configured: Configured,
    /// Questions to the providers' hosts and the state store, too; 10 seconds at most. Sends the clients'
    /// ids and secrets to their providers' token endpoints, with a code that is none; touches no login
    #[arg(long)]
    online: bool,
    /// Output as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn check(check: &Check) -> anyhow::Result<()> {
    let outcome = check.configured.load(None);
    let outcome = outcome.and_then(|(config, public_url)| CheckReport::new(config, public_url, check.online));
    let report = match outcome {
        Ok(report) => report,
        Err(error) => {
            let found = error.downcast_ref::<ConfigErrors>();
            let warnings = found.map(|faults| faults.warnings.as_slice()).unwrap_or_default();
            if check.json {
                let line = |line| json!({ "key": null, "origin": null, "line": null, "says": line });
                let faults = match found {
                    Some(faults) => json!(faults.all()),
                    None => error.to_string().lines().map(line).collect(),
                };
                json::print(&json!({ "good": false, "faults": faults, "warnings": warnings }))?;
            } else {
                warnings.iter().for_each(|warning| println!("warning: {warning}"));
            }
            return Err(error);
        }
    };
    match check.json {
        true => json::print(&report.as_json())?,
        false => report.print(),
    }
    let online = report.online.unwrap_or_default();
    match online.iter().filter(|finding| finding.state == State::Failed).count() {
        0 => Ok(()),
        failed => bail!("online: {failed} of {} failed; backups need them", online.len()),
    }
}

/// What is to be said of a configuration that `serve` would start with.
struct CheckReport {
    file: Option<String>,
    warnings: Vec<String>,
    callback: String,
    /// Where the server will make its state folder.
    to_be_made: Option<String>,
    /// Where it will make its denylist.
    denylist_to_be_made: Option<String>,
    app: App,
    /// Where it was asked for.
    online: Option<Vec<Finding>>,
}

impl CheckReport {
    fn new(mut config: Config, public_url: Url, online: bool) -> anyhow::Result<Self> {
        log::filter(&config.log)?;
        let file = config.file.as_ref().map(|file| file.display().to_string());
        let mut warnings = [config.warnings.as_slice(), &config.doubts].concat();
        warnings.extend(config.file.as_deref().and_then(files::rewritable));
        // A server starts without it, as long as it has a certificate.
        let authorities = config.acme.as_ref().and_then(|acme| config.outbound.tls_with(acme.ca_file.as_deref()).err());
        warnings.extend(authorities.map(|why| format!("acme.ca_file: no certificate can be ordered, since {why}")));
        warnings.extend(BTreeSet::from_iter(config.inputs().filter_map(files::shared)));
        warnings.extend(config.inputs().filter_map(watch::detached));
        let to_be_made = match &config.store {
            StorePlace::Dir(path) if !path.exists() => Some(path.display().to_string()),
            _ => None,
        };
        // In its place another, empty one is looked at.
        let empty = scratch()?;
        let mut denylist_to_be_made = None;
        let would_be_first =
            |path: &Path| Denylist::would_be_first(path).map_err(|error| UsageError(error.to_string()));
        if config.create_denylist && would_be_first(&config.denylist)? {
            denylist_to_be_made = Some(config.denylist.display().to_string());
            config.denylist = empty.path().join("denylist");
            Denylist::init(&config.denylist)?;
        } else if let Ok(true) = denylist::lines(&config.denylist, |_| Ok(())) {
            warnings.push(format!("{}: {TORN}", config.denylist.display()));
        }
        block_on(async {
            let app = App::examine(config, public_url, Clock::system())?;
            let callback = format!("{}/logged-in", app.own_origin().as_str());
            warnings.extend(app.certificate().live.iter().flat_map(|certificate| certificate.warnings()));
            warnings.extend(of_services(app.catalogue()));
            let online = if online { Some(look(&app).await) } else { None };
            Ok(Self { file, warnings, callback, to_be_made, denylist_to_be_made, app, online })
        })?
    }

    fn as_json(&self) -> Value {
        let services: Vec<_> = self.app.catalogue().all().map(|service| as_json(service)).collect();
        json!({
            "good": true,
            "file": self.file,
            "warnings": self.warnings,
            "callback": self.callback,
            "state_folder_to_be_made": self.to_be_made,
            "denylist_to_be_made": self.denylist_to_be_made,
            "services": services,
            "online": self.online,
        })
    }

    fn print(&self) {
        self.warnings.iter().for_each(|warning| println!("warning: {warning}"));
        println!("{}: good", self.file.as_deref().unwrap_or("environment and flags"));
        println!("callback to register at every provider: {}", self.callback);
        if let Some(path) = &self.to_be_made {
            println!("state folder {path}: not there, the server will make it");
        }
        if let Some(path) = &self.denylist_to_be_made {
            println!("denylist {path}: not there, the server will make it");
        }
        let catalogue = self.app.catalogue();
        let offered: Vec<_> = catalogue.offered().map(|service| service.id.as_str()).collect();
        if !offered.is_empty() {
            println!("offered: {}", offered.join(", "));
        }
        let apps = self.app.tokens().apps().apps;
        for apps in apps.chunk_by(|one, next| one.provider == next.provider) {
            if let [first, _, ..] = apps {
                let does = |makes: bool| if makes { "makes logins" } else { "serves its logins" };
                let each = apps.iter().map(|app| format!("{} {}", app.client_id, does(app.current)));
                println!("registrations at {}: {}", first.provider, each.collect::<Vec<_>>().join(", "));
            }
        }
        match catalogue.all().filter(|service| is_left_out(service.availability())).count() {
            0 => {}
            1 => println!("1 other is not set up: `authseal providers` names it"),
            left_out => println!("{left_out} others are not set up: `authseal providers` lists them"),
        }
        self.online.iter().flatten().for_each(|finding| println!("online: {finding}"));
    }
}

/// Whether a service is not offered because nobody asked for it.
fn is_left_out(availability: Availability<'_>) -> bool {
    matches!(availability, Availability::NotConfigured | Availability::SwitchedOff)
}

/// What an operator surely did not mean: nothing offered, or something set up that is off all the same.
fn of_services(catalogue: &Catalogue) -> Vec<String> {
    let mut warnings = Vec::new();
    if catalogue.served().next().is_none() {
        warnings.push("no service is offered: set a client id in [clients.<provider>]".to_owned());
    }
    for service in catalogue.all().filter(|service| service.availability() == Availability::NeedsStore) {
        let advice = advice(service.availability(), &service.provider).unwrap_or_default();
        warnings.push(format!("{} is set up, but off: {advice}", service.id));
    }
    for service in catalogue.served().filter(|service| service.forgets_new_tokens()) {
        warnings.push(format!(
            "{}: its refresh tokens change, and with state.store = \"memory\" the new ones are forgotten: each login ends with \
            its first one; set state.store",
            service.id
        ));
    }
    warnings
}
