//! `authseal legacy`: how much is left of the AuthIDs that duplicati/oauth-server made, as far as running servers have seen.

use super::UsageError;
use super::config_args::ConfigFile;
use super::json;
use super::keys::span;
use super::replicas::{Against, Replica, Time, Told, own_listener};
use crate::authid::ServiceId;
use crate::clock::{Clock, UnixTime, rfc3339};
use crate::legacy::Version;
use anyhow::bail;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal legacy
  authseal legacy --against http://10.0.0.5:9464 http://10.0.0.6:9464";

#[derive(Args)]
pub(super) struct Legacy {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    against: Against,
    /// Output as a JSON object
    #[arg(long)]
    json: bool,
}

/// The body of `GET /legacy`; what else it may hold is not looked at.
#[derive(Deserialize)]
struct Answer {
    v1: bool,
    v2: bool,
    watching_since: Time,
    seen: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    service: ServiceId,
    version: Version,
    authids: u64,
    last_seen: Time,
}

impl Told for Answer {
    const PATH: &'static str = "/legacy";
    const WHAT: &'static str = "what it knows of old AuthIDs";
}

/// What came of one version for one service. The same AuthID may have come to several replicas.
#[derive(Default, Serialize)]
struct Sum {
    at_least: u64,
    at_most: u64,
    #[serde(serialize_with = "as_text")]
    last_seen: UnixTime,
}

#[derive(Serialize)]
struct Line<'a> {
    service: &'a str,
    version: Version,
    #[serde(flatten)]
    sum: Sum,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Since when all that answered have watched.
    watching_since: Option<String>,
    taken: BTreeMap<&'static str, bool>,
    seen: Vec<Line<'a>>,
    errors: Vec<String>,
}

pub(super) fn legacy(legacy: &Legacy) -> anyhow::Result<()> {
    let own = legacy.config.load().map(|config| own_listener(&config));
    // Where replicas are named, no configuration is needed.
    let own = if legacy.against.is_named() { own.unwrap_or_default() } else { own? };
    let replicas: Vec<Replica<Answer>> = legacy.against.ask(own.as_ref())?;
    if replicas.is_empty() {
        let advice = "nobody was asked; name the replicas' admin listeners with `--against URL…`";
        return Err(UsageError(advice.to_owned()).into());
    }
    let report = report(&replicas);
    let silent = report.errors.len();
    if legacy.json {
        json::print(&report)?;
    } else {
        print(&report, &replicas);
    }
    match silent {
        0 => Ok(()),
        _ => bail!("{silent} of {} replicas did not say what they have seen", replicas.len()),
    }
}

fn report(replicas: &[Replica<Answer>]) -> Report<'_> {
    let answers = || replicas.iter().filter_map(|replica| replica.answer.as_ref().ok());
    let mut sums: BTreeMap<(&str, Version), Sum> = BTreeMap::new();
    for row in answers().flat_map(|answer| &answer.seen) {
        let sum = sums.entry((row.service.as_str(), row.version)).or_default();
        sum.at_least = sum.at_least.max(row.authids);
        sum.at_most += row.authids;
        sum.last_seen = sum.last_seen.max(row.last_seen.0);
    }
    let error = |replica: &Replica<Answer>| Some(format!("{} {}", replica.url, replica.answer.as_ref().err()?));
    let any = |is: fn(&Answer) -> bool| answers().any(is);
    Report {
        watching_since: answers().map(|answer| answer.watching_since.0).max().map(rfc3339),
        taken: [("v1", any(|answer| answer.v1)), ("v2", any(|answer| answer.v2))].into(),
        seen: sums.into_iter().map(|((service, version), sum)| Line { service, version, sum }).collect(),
        errors: replicas.iter().filter_map(error).collect(),
    }
}

fn print(report: &Report<'_>, replicas: &[Replica<Answer>]) {
    let now = Clock::system().now();
    for (version, taken) in &report.taken {
        println!("old AuthIDs of {version}: {}", if *taken { "taken" } else { "not taken" });
    }
    report.errors.iter().for_each(|error| println!("{error}"));
    let watched = replicas.iter().filter_map(|replica| replica.answer.as_ref().ok());
    let watched = watched.map(|answer| answer.watching_since.0).max();
    if let Some(since) = watched.filter(|_| report.seen.is_empty()) {
        println!("none came within {} of watching", span(now - since));
    }
    if !report.seen.is_empty() {
        println!("{:<20}{:<9}{:<12}LAST CAME", "SERVICE", "VERSION", "AUTHIDS");
    }
    for Line { service, version, sum: Sum { at_least, at_most, last_seen } } in &report.seen {
        let count = if at_least == at_most { at_least.to_string() } else { format!("{at_least}-{at_most}") };
        println!("{service:<20}{:<9}{count:<12}{} ago", version.as_str(), span(now - last_seen));
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn as_text<S: serde::Serializer>(time: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}
