//! `authseal legacy`: how much is left of the AuthIDs that duplicati/oauth-server made, as far as running servers have seen,
//! and what that means for what they need: the folder of tokens, another handler, `legacy.v2`.

use super::counted::counted;
use super::json;
use super::keys::span;
use super::replicas::{Asking, Replica, Time, Told};
use crate::authid::ServiceId;
use crate::clock::{Clock, UnixTime, rfc3339};
use crate::legacy::Version;
use anyhow::bail;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal legacy
  authseal legacy --against http://10.0.0.5:9464 http://10.0.0.6:9464";

/// The body of `GET /legacy`; what else it may hold is not looked at.
#[derive(Deserialize)]
struct Answer {
    v1: bool,
    v2: bool,
    export: Option<Export>,
    watching_since: Time,
    seen: Vec<Row>,
}

/// What another handler told.
#[derive(Deserialize)]
struct Export {
    taken_over: u64,
    last: Option<Time>,
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

/// Each AuthID is asked for by one replica.
#[derive(Default, Serialize)]
struct TakenOver {
    authids: u64,
    last: Option<String>,
    #[serde(skip)]
    last_time: Option<UnixTime>,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Since when all that answered have watched.
    watching_since: Option<String>,
    taken: BTreeMap<&'static str, bool>,
    /// From the handler of `legacy.export_url`, if there is one.
    taken_over: Option<TakenOver>,
    seen: Vec<Line<'a>>,
    errors: Vec<String>,
}

pub(super) fn legacy(asking: &Asking) -> anyhow::Result<()> {
    let advice = "nobody was asked; name the replicas' admin listeners with `--against URL…`";
    let replicas: Vec<Replica<Answer>> = asking.ask(advice)?;
    let report = report(&replicas);
    let silent = report.errors.len();
    if asking.json {
        json::print(&report)?;
    } else {
        print(&report, &replicas);
    }
    match silent {
        0 => Ok(()),
        _ => bail!("{silent} of {} did not say what they have seen", counted(replicas.len(), "replica")),
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
    let exports = answers().filter_map(|answer| answer.export.as_ref());
    let taken_over = exports.fold(None, |sum: Option<TakenOver>, export| {
        let sum = sum.unwrap_or_default();
        let last_time = sum.last_time.max(export.last.as_ref().map(|last| last.0));
        let authids = sum.authids + export.taken_over;
        Some(TakenOver { authids, last: last_time.map(rfc3339), last_time })
    });
    Report {
        taken_over,
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
    let Some(since) = watched.map(|since| now - since) else { return };
    if report.seen.is_empty() {
        println!("none came within {} of watching", span(since));
    }
    if !report.seen.is_empty() {
        println!("{:<20}{:<9}{:<12}LAST CAME", "SERVICE", "VERSION", "AUTHIDS");
    }
    for Line { service, version, sum: Sum { at_least, at_most, last_seen } } in &report.seen {
        let count = if at_least == at_most { at_least.to_string() } else { format!("{at_least}-{at_most}") };
        println!("{service:<20}{:<9}{count:<12}{} ago", version.as_str(), span(now - last_seen));
    }
    if let Some(TakenOver { authids, last_time, .. }) = &report.taken_over {
        let when = last_time.map_or_else(String::new, |last| format!(", the last one {} ago", span(now - last)));
        println!("{authids} were taken over from the handler of legacy.export_url{when}");
    }
    println!("{}", advice(report, since, now));
}

/// What may be switched off, and when.
fn advice(report: &Report<'_>, watched: i64, now: UnixTime) -> String {
    const ENOUGH: &str = "longer than your users' longest pause between two backups";
    let quiet = |version| {
        let last = report.seen.iter().filter(|line| line.version == version).map(|line| line.sum.last_seen).max();
        last.map_or(watched, |last| now - last)
    };
    let taken = |version: Version| report.taken.get(version.as_str()) == Some(&true);
    let mut sentences = Vec::new();
    if let Some(TakenOver { last_time, .. }) = &report.taken_over {
        let quiet = span(last_time.map_or(watched, |last| now - last));
        sentences.push(format!(
            "no new one for {quiet}: if that is {ENOUGH}, the handler may be switched off; legacy.export_url stays"
        ));
    }
    if taken(Version::V1) {
        let quiet = span(quiet(Version::V1));
        sentences.push(format!(
            "none of v1 for {quiet}: if that is {ENOUGH}, what serves them may go: legacy.v1_dir, legacy.export_url"
        ));
    }
    if taken(Version::V2) {
        let quiet = span(quiet(Version::V2));
        sentences.push(format!("none of v2 for {quiet}: if that is {ENOUGH}, legacy.v2 may go"));
    }
    sentences.join("\n")
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn as_text<S: serde::Serializer>(time: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}
