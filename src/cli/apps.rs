//! `authseal apps`: how many logins still use which app registration at a provider, as far as running servers have seen.

use super::counted::counted;
use super::json;
use super::keys::span;
use super::replicas::{Asking, Replica, Time, Told};
use crate::clock::{Clock, UnixTime, rfc3339};
use anyhow::bail;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal apps
  authseal apps --against http://10.0.0.5:9464 http://10.0.0.6:9464";

/// The body of `GET /apps`; what else it may hold is not looked at.
#[derive(Deserialize)]
struct Answer {
    watching_since: Time,
    window_days: i64,
    apps: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    provider: String,
    app: String,
    client_id: String,
    current: bool,
    logins: u64,
    last_seen: Option<Time>,
}

impl Told for Answer {
    const PATH: &'static str = "/apps";
    const WHAT: &'static str = "what it knows of app registrations";
}

/// One registration. The same login may have come to several replicas.
#[derive(Serialize)]
struct Sum<'a> {
    provider: &'a str,
    app: &'a str,
    client_id: &'a str,
    /// Whether some replica makes logins with it.
    current: bool,
    /// At how many of the replicas that answered it is configured.
    configured_at: usize,
    at_least: u64,
    at_most: u64,
    #[serde(serialize_with = "as_text")]
    last_seen: Option<UnixTime>,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Since when all that answered have watched.
    watching_since: Option<String>,
    window_days: Option<i64>,
    apps: Vec<Sum<'a>>,
    errors: Vec<String>,
}

pub(super) fn apps(asking: &Asking) -> anyhow::Result<()> {
    let advice = "nobody was asked; name the replicas' admin listeners with `--against URL…`";
    let replicas: Vec<Replica<Answer>> = asking.ask(advice)?;
    let report = report(&replicas);
    if asking.json {
        json::print(&report)?;
    } else {
        print(&report, &replicas);
    }
    match report.errors.len() {
        0 => Ok(()),
        silent => bail!("{silent} of {} did not say what they have seen", counted(replicas.len(), "replica")),
    }
}

fn report(replicas: &[Replica<Answer>]) -> Report<'_> {
    let answers = || replicas.iter().filter_map(|replica| replica.answer.as_ref().ok());
    let mut sums: BTreeMap<(&str, &str), Sum<'_>> = BTreeMap::new();
    for row in answers().flat_map(|answer| &answer.apps) {
        let sum = sums.entry((&row.provider, &row.app)).or_insert_with(|| Sum {
            provider: &row.provider,
            app: &row.app,
            client_id: &row.client_id,
            current: false,
            configured_at: 0,
            at_least: 0,
            at_most: 0,
            last_seen: None,
        });
        sum.current |= row.current;
        sum.configured_at += 1;
        sum.at_least = sum.at_least.max(row.logins);
        sum.at_most += row.logins;
        sum.last_seen = sum.last_seen.max(row.last_seen.as_ref().map(|time| time.0));
    }
    let error = |replica: &Replica<Answer>| Some(format!("{} {}", replica.url, replica.answer.as_ref().err()?));
    Report {
        watching_since: answers().map(|answer| answer.watching_since.0).max().map(rfc3339),
        window_days: answers().map(|answer| answer.window_days).min(),
        apps: sums.into_values().collect(),
        errors: replicas.iter().filter_map(error).collect(),
    }
}

fn print(report: &Report<'_>, replicas: &[Replica<Answer>]) {
    let now = Clock::system().now();
    report.errors.iter().for_each(|error| println!("{error}"));
    let answers = || replicas.iter().filter_map(|replica| replica.answer.as_ref().ok());
    if let (Some(since), Some(days)) = (answers().map(|answer| answer.watching_since.0).max(), report.window_days) {
        println!("logins of the last {}, within {} of watching", counted(days, "day"), span(now - since));
        println!("{:<14}{:<10}{:<10}{:<12}{:<24}CLIENT ID", "PROVIDER", "APP", "MAKES", "LOGINS", "LAST CAME");
    }
    for sum in &report.apps {
        let Sum { provider, app, client_id, current, configured_at, at_least, at_most, last_seen } = sum;
        let count = if at_least == at_most { at_least.to_string() } else { format!("{at_least}-{at_most}") };
        let last = last_seen.map_or_else(|| "-".to_owned(), |last| format!("{} ago", span(now - last)));
        let makes = if *current { "logins" } else { "-" };
        println!("{provider:<14}{app:<10}{makes:<10}{count:<12}{last:<24}{client_id}");
        let asked = answers().count();
        if *configured_at < asked {
            println!("  configured at {configured_at} of {} only", counted(asked, "replica"));
        }
    }
}

#[allow(clippy::ref_option, reason = "serde wants a reference")]
fn as_text<S: serde::Serializer>(time: &Option<UnixTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(rfc3339).serialize(serializer)
}
