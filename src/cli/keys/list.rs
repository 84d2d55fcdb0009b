//! `authseal keys list`: the epochs with their states, and which of them replicas have seen in use.

use super::epoch_usage::EpochUsage;
use super::keyring_source::KeyringArgs;
use crate::cli::json;
use crate::cli::replicas::{Against, Verdict, verdicts};
use crate::clock::{Clock, UnixTime, rfc3339};
use crate::seal::{Entry, Epoch, EpochKeys, KeyState};
use clap::Args;
use serde::Serialize;

#[derive(Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    keyring: KeyringArgs,
    #[command(flatten)]
    against: Against,
    /// Output as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    keyring: Option<String>,
    digest: String,
    primary: u32,
    min_epoch: Option<u32>,
    watched_since: Option<String>,
    epochs: Vec<Row>,
    replicas: Vec<Verdict>,
}

/// One epoch; times are RFC 3339.
#[derive(Serialize)]
struct Row {
    epoch: u32,
    state: &'static str,
    created: Option<String>,
    retired: Option<String>,
    fingerprint: Option<String>,
    last_seen: Option<String>,
    usage: String,
    #[serde(skip)]
    shown: KeyState,
}

pub(super) fn run(list: &List) -> anyhow::Result<()> {
    let target = list.keyring.find()?;
    let replicas = list.against.ask(target.own_listener.as_ref())?;
    let verdicts = verdicts(&target.keyring, &replicas);
    // On the error stream: what is wrong with a replica does not belong into the list.
    verdicts.iter().filter(|verdict| !verdict.is_same()).for_each(|verdict| eprintln!("{}", verdict.line()));
    let now = Clock::system().now();
    let usage = |epoch: Epoch| (!replicas.is_empty()).then(|| EpochUsage::new(epoch.number(), &replicas));
    let rows =
        target.keyring.entries().map(|(epoch, state, entry)| row(epoch, state, entry, usage(epoch), now)).collect();
    let report = Report {
        keyring: target.file(),
        digest: target.keyring.digest(),
        primary: target.keyring.primary().epoch().number(),
        min_epoch: target.keyring.min_epoch().map(Epoch::number),
        watched_since: usage(target.keyring.newest()).and_then(|usage| usage.watched_since).map(rfc3339),
        epochs: rows,
        replicas: verdicts,
    };
    if list.json {
        json::print(&report)?;
    } else {
        report.print();
    }
    Ok(())
}

fn row(epoch: Epoch, state: KeyState, entry: &Entry, usage: Option<EpochUsage>, now: UnixTime) -> Row {
    Row {
        epoch: epoch.number(),
        state: state.label(),
        created: entry.created.map(|time| time.to_string()),
        retired: entry.keys.as_ref().err().map(ToString::to_string),
        fingerprint: entry.keys.as_ref().ok().map(EpochKeys::fingerprint),
        last_seen: usage.and_then(|usage| usage.last_seen).map(rfc3339),
        usage: match (state, usage) {
            (KeyState::Retired | KeyState::BelowFloor, _) => "no longer opens".to_owned(),
            (_, None) => "unknown".to_owned(),
            (_, Some(usage)) => usage.describe(now),
        },
        shown: state,
    }
}

impl Report {
    fn print(&self) {
        println!("{:<12}{:<17}{:<22}{:<18}IN USE", "EPOCH", "STATE", "CREATED", "FINGERPRINT");
        for row in &self.epochs {
            let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let created = or_none(&row.created);
            let fingerprint = or_none(&row.fingerprint);
            println!("{:<12}{:<17}{created:<22}{fingerprint:<18}{}", row.epoch, row.shown, row.usage);
        }
        println!("digest {}", self.digest);
        if self.replicas.is_empty() {
            println!("which epochs are in use, the replicas know: ask them with --against URL…");
        }
    }
}
