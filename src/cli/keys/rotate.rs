//! Key rotation, `authseal keys stage`, `promote` and `retire`: a step is decided, the replicas are asked whether it would
//! lock anybody out, and only then the file is replaced.

use super::epoch_usage::EpochUsage;
use super::keyring_source::{KeyringArgs, Target};
use crate::cli::replicas::{Against, Replica, Verdict, verdicts};
use crate::cli::{block_on, json};
use crate::clock::Clock;
use crate::keyring_file::Change;
use crate::seal::{Epoch, Keyring};
use crate::store::{Store, StorePlace};
use crate::tokens::records_by_epoch;
use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde::Serialize;
use std::iter;

#[derive(Args)]
pub(in crate::cli) struct Stage {
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Args)]
pub(in crate::cli) struct Promote {
    /// Epoch to promote [default: the only one that is staged]
    #[arg(value_parser = super::epoch)]
    epoch: Option<Epoch>,
    #[command(flatten)]
    against: Against,
    /// No questions to replicas: there is no other
    #[arg(long, conflicts_with = "urls")]
    alone: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Args)]
pub(in crate::cli) struct Retire {
    /// Epoch to retire
    #[arg(value_parser = super::epoch)]
    epoch: Epoch,
    #[command(flatten)]
    against: Against,
    /// Days for which no replica may have seen it in use
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    unused_for: u32,
    /// Retirement even if it is in use: whoever uses it has to log in again
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Args)]
struct OutputArgs {
    #[command(flatten)]
    keyring: KeyringArgs,
    /// New keyring, with its secrets, on standard output; no file is changed: to be piped to where the keyring is kept
    #[arg(long, conflicts_with_all = ["dry_run", "json"])]
    print: bool,
    /// Preview of what would happen; nothing is changed
    #[arg(long)]
    dry_run: bool,
    /// Output as a JSON object
    #[arg(long)]
    json: bool,
}

/// What a step did, or why it was not taken.
#[derive(Default, Serialize)]
struct Report {
    keyring: Option<String>,
    epoch: Option<u32>,
    changed: bool,
    dry_run: bool,
    /// Of the keyring as it is now.
    digest: String,
    error: Option<String>,
    replicas: Vec<Verdict>,
    /// What to do next, a sentence each.
    next: Vec<String>,
    #[serde(skip)]
    says: String,
}

pub(super) fn stage(stage: &Stage) -> anyhow::Result<()> {
    take(&stage.output, |target, report| {
        let change = Change::stage(&target.keyring, Clock::system().now())?;
        let (epoch, primary) = (change.epoch(), target.keyring.primary().epoch());
        report.epoch = Some(epoch.number());
        report.says = format!("epoch {epoch} is staged: it opens, and {primary} goes on sealing");
        report.next = vec![
            "give this keyring to every replica; each takes it up within two seconds".to_owned(),
            "ask them: authseal keys verify --against URL…   (their admin listeners)".to_owned(),
            format!("then: authseal keys promote {epoch} --against URL…   (on a single machine without --against)"),
        ];
        Ok(Some(change))
    })
}

pub(super) fn promote(promote: &Promote) -> anyhow::Result<()> {
    take(&promote.output, |target, report| {
        let before = target.keyring.primary().epoch();
        report.epoch = promote.epoch.map(Epoch::number);
        let Some(change) = Change::promote(&target.keyring, promote.epoch)? else {
            report.says = format!("epoch {before} is the primary already");
            return Ok(None);
        };
        let epoch = change.epoch();
        report.epoch = Some(epoch.number());
        if !promote.alone {
            let replicas = promote.against.ask(target.own_listener.as_ref())?;
            report.replicas = verdicts(&target.keyring, &replicas);
            all_open(&target.keyring, epoch, &replicas)?;
        }
        report.says = format!("epoch {epoch} is the primary: it seals from now on, and {before} only opens");
        report.next = vec![
            "give this keyring to every replica, in any order: all of them open both".to_owned(),
            "ask them: authseal keys verify --against URL…".to_owned(),
            format!(
                "leave epoch {before} as it is: an AuthID that was pasted stays under it until it is made again; `authseal keys list --against URL…` shows whether it is in use"
            ),
        ];
        Ok(Some(change))
    })
}

/// Whether every replica could open what is sealed with `epoch`.
fn all_open(keyring: &Keyring, epoch: Epoch, replicas: &[Replica]) -> anyhow::Result<()> {
    let keys = keyring.keys(epoch).map_err(|why| anyhow!("epoch {epoch} is {why}"))?;
    if replicas.is_empty() {
        bail!(
            "epoch {epoch} stays staged: nobody said whether every replica holds it; name them with `--against URL…`, or say `--alone` if there is no other than this machine's"
        );
    }
    let unfit = |Replica { url, answer }: &Replica| {
        let why = answer.as_ref().map_err(String::clone).and_then(|answer| answer.opens(keys));
        why.err().map(|why| format!("{url} {why}"))
    };
    match replicas.iter().filter_map(unfit).collect::<Vec<_>>() {
        unfit if unfit.is_empty() => Ok(()),
        unfit => bail!(
            "epoch {epoch} stays staged, since not every replica could open what it seals: {}; give them this keyring and try again",
            unfit.join("; ")
        ),
    }
}

pub(super) fn retire(retire: &Retire) -> anyhow::Result<()> {
    take(&retire.output, |target, report| {
        let epoch = retire.epoch;
        let now = Clock::system().now();
        report.epoch = Some(epoch.number());
        let Some(change) = Change::retire(&target.keyring, epoch, now)? else {
            report.says = format!("epoch {epoch} is retired already");
            return Ok(None);
        };
        // What does not open any more is used by nobody.
        if !retire.force && target.keyring.keys(epoch).is_ok() {
            let replicas = retire.against.ask(target.own_listener.as_ref())?;
            report.replicas = verdicts(&target.keyring, &replicas);
            unused(epoch, &replicas, retire.unused_for, now)?;
        }
        report.says = format!("epoch {epoch} is retired: no AuthID that was sealed under it works any more");
        if let Some(records) = records_sealed_under(epoch, &target.store)? {
            report.says += &format!("\nrecords in the state store that need it: {records}; those logins end, too");
        }
        report.next = vec![
            "give this keyring to every replica".to_owned(),
            "ask them: authseal keys verify --against URL…".to_owned(),
            "whoever still had such an AuthID logs in again".to_owned(),
            "the secret is gone from this file, not from copies of it: destroy those".to_owned(),
        ];
        Ok(Some(change))
    })
}

/// Whether no replica seals with `epoch` or has seen it in use.
fn unused(epoch: Epoch, replicas: &[Replica], days: u32, now: i64) -> anyhow::Result<()> {
    let seals = |replica: &&Replica| replica.answer.as_ref().is_ok_and(|answer| answer.seals_with(epoch.number()));
    if let Some(Replica { url, .. }) = replicas.iter().find(seals) {
        bail!("epoch {epoch} stays: {url} still seals with it; give that replica this keyring first");
    }
    let unused = match replicas {
        [] => Err("may be in use: no replica was asked".to_owned()),
        _ => EpochUsage::new(epoch.number(), replicas).unused_for(days, now),
    };
    unused.map_err(|why| {
        anyhow!(
            "epoch {epoch} stays: it {why}. Name every replica with `--against URL…`, ask for less time with `--unused-for DAYS`, or end whatever uses it with `--force`"
        )
    })
}

/// How many records of the state store are sealed under `epoch`; `None` where there is no store that outlives the process.
fn records_sealed_under(epoch: Epoch, place: &StorePlace) -> anyhow::Result<Option<u64>> {
    if !place.is_durable() {
        return Ok(None);
    }
    let counts = block_on(async { records_by_epoch(&Store::attach(place, Clock::system())?).await })?;
    let counts = counts.context("the state store was not asked which logins need this epoch")?;
    Ok(Some(counts.get(&Some(epoch)).copied().unwrap_or_default()))
}

/// Decides a step with `decide`, takes it, and says what came of it.
fn take(
    output: &OutputArgs,
    decide: impl FnOnce(&Target, &mut Report) -> anyhow::Result<Option<Change>>,
) -> anyhow::Result<()> {
    let target = output.keyring.find()?;
    let mut report = Report { keyring: target.file(), dry_run: output.dry_run, ..Report::default() };
    let taken = decide(&target, &mut report).and_then(|change| write(output, &target, change));
    report.changed = matches!(&taken, Ok(Written::Changed(_)));
    report.digest = match &taken {
        Ok(Written::Changed(keyring)) => keyring.digest(),
        _ => target.keyring.digest(),
    };
    if let Err(error) = &taken {
        report.error = Some(format!("{error:#}"));
        report.next.clear();
    }
    if output.json {
        json::print(&report)?;
    }
    let place = &target.place;
    let headline = match taken? {
        Written::Nothing => None,
        Written::Not => Some(format!("nothing is changed; this would be so in {place}:")),
        Written::Printed => Some("the text on standard output has to take the old one's place; in it:".to_owned()),
        Written::Changed(_) => Some(format!("changed {place}:")),
    };
    let lines = headline.into_iter().chain(report.lines());
    match output {
        OutputArgs { json: true, .. } => {}
        OutputArgs { print: true, .. } => lines.for_each(|line| eprintln!("{line}")),
        _ => lines.for_each(|line| println!("{line}")),
    }
    Ok(())
}

/// What became of a step.
enum Written {
    /// There was nothing to do.
    Nothing,
    /// It was only asked about.
    Not,
    /// The text with it went to standard output.
    Printed,
    /// This keyring is in the file now.
    Changed(Keyring),
}

/// Puts `change` where it belongs.
fn write(output: &OutputArgs, target: &Target, change: Option<Change>) -> anyhow::Result<Written> {
    let Some(change) = change else {
        if output.print {
            print!("{}", target.text()); // whoever takes it for the new one loses nothing
        }
        return Ok(Written::Nothing);
    };
    let new = target.changed(change)?;
    if output.dry_run {
        return Ok(Written::Not);
    }
    if output.print {
        print!("{}", *new);
        return Ok(Written::Printed);
    }
    target.replace(&new)?;
    Ok(Written::Changed(Keyring::parse(&new)?))
}

impl Report {
    /// For people.
    fn lines(&self) -> impl Iterator<Item = String> {
        let next = self.next.iter().enumerate().map(|(at, next)| format!("  {}. {next}", at + 1));
        let heading = (!self.next.is_empty()).then(|| "next:".to_owned());
        iter::once(self.says.clone()).chain(heading).chain(next)
    }
}
