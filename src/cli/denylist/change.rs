//! `authseal denylist add`, `remove` and `compact`.

use super::found::{Files, Found};
use crate::cli::keys::{Against, Replica};
use crate::cli::{Misuse, json};
use crate::clock::Clock;
use crate::denylist::{self, KeepReason, Recorded, Rule, keep_reason, read_rules};
use crate::seal::Keyring;
use anyhow::{Context, anyhow, bail};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;

/// The most bytes of a note.
const MAX_NOTE: usize = 500;

#[derive(Args)]
struct How {
    #[command(flatten)]
    files: Files,
    /// Say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Say it as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(in crate::cli) struct Add {
    /// As a line of the file holds it: `epoch …`, `login …` or `legacy …`; `-` for lines on standard input
    #[arg(required = true, value_name = "RULE")]
    words: Vec<String>,
    /// Add it even if it names a service that is not known here; lines on standard input always are
    #[arg(long)]
    force: bool,
    /// Why, for whoever reads the file later
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
pub(in crate::cli) struct Remove {
    /// As a line of the file holds it; of a login's line, `through` and `at` may be left out
    #[arg(required = true, value_name = "RULE")]
    words: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
pub(in crate::cli) struct Compact {
    #[command(flatten)]
    against: Against,
    /// No server runs with another keyring than this: ask nobody
    #[arg(long, conflicts_with = "urls")]
    alone: bool,
    #[command(flatten)]
    how: How,
}

pub(super) fn add(add: &Add) -> anyhow::Result<()> {
    let note = add.note.trim();
    if note.len() > MAX_NOTE || note.contains(char::is_control) {
        return Err(Misuse(format!("a note is one line of {MAX_NOTE} bytes at most")).into());
    }
    let found = add.how.files.find()?;
    let mut wanted = match add.words.as_slice() {
        [dash] if dash == "-" => from_input(note)?,
        words => {
            let rule = from_words(words)?;
            if let Some(unknown) = found.unknown(&rule).filter(|_| !add.force) {
                return Err(Misuse(format!(
                    "{unknown}; nothing is added, since it would refuse nothing: if it is meant, say `--force`"
                ))
                .into());
            }
            vec![(rule, note.to_owned())]
        }
    };
    let mut warnings: Vec<_> = found.complete(wanted.iter_mut().map(|(rule, _)| rule)).into_iter().collect();
    let now = Clock::system().now();
    let new = denylist::add(&found.denylist, &wanted, add.how.dry_run)?;
    warnings.extend(new.iter().filter_map(|rule| Some(format!("{rule}: {}", found.doubt(rule, now)?))));
    let mut says: Vec<_> = warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    let headline = match (new.len(), add.how.dry_run) {
        (0, _) => "nothing to add: it is all there already",
        (_, true) => "nothing is changed; this would be added:",
        (_, false) => "added, and in force within two seconds wherever this file is seen:",
    };
    says.push(headline.to_owned());
    says.extend(new.iter().map(|rule| format!("  {rule}")));
    let rules: Vec<_> = new.iter().map(ToString::to_string).collect();
    let known = wanted.len() - new.len();
    add.how.tell(&found, new.len(), &says, json!({ "added": rules, "known": known, "warnings": warnings }))
}

pub(super) fn remove(remove: &Remove) -> anyhow::Result<()> {
    let found = remove.how.files.find()?;
    let rule = from_words(&remove.words)?.bare();
    let gone = denylist::remove(&found.denylist, |other| other.bare() == rule, remove.how.dry_run)?;
    if gone == 0 {
        return Err(anyhow!(
            "{} has no line for `{rule}`; `authseal denylist list` shows all",
            found.denylist.display()
        ));
    }
    let says = match remove.how.dry_run {
        true => format!("nothing is changed; `{rule}` would go ({})", lines(gone)),
        false => format!("removed `{rule}` ({}): what no other rule refuses works again", lines(gone)),
    };
    remove.how.tell(&found, gone, &[says], json!({ "removed": gone }))
}

pub(super) fn compact(Compact { against, alone, how }: &Compact) -> anyhow::Result<()> {
    let found = how.files.find()?;
    let keyring =
        found.keyring.as_ref().map_err(|why| anyhow!("which epochs are retired, the keyring knows: {why}"))?;
    if !alone && !how.dry_run {
        all_hold(keyring, &against.ask(found.own_listener.as_ref())?)?;
    }
    let mut stay: BTreeMap<KeepReason, usize> = BTreeMap::new();
    // Counted on a first reading, since what is removed may take several.
    denylist::lines(&found.denylist, |line| {
        let why = line.rule.as_ref().and_then(|rule| keep_reason(rule, keyring));
        why.into_iter().for_each(|why| *stay.entry(why).or_default() += 1);
        Ok(())
    })?;
    let gone = denylist::remove(&found.denylist, |rule| keep_reason(rule, keyring).is_none(), how.dry_run)?;
    let mut says = vec![match (gone, how.dry_run) {
        (0, _) => "nothing to drop: every rule is needed".to_owned(),
        (_, true) => format!("nothing is changed; {} would be dropped, all about retired epochs", lines(gone)),
        (_, false) => format!("dropped {}, all about retired epochs", lines(gone)),
    }];
    says.extend(stay.iter().map(|(why, count)| format!("{} must stay: {why}", lines(*count))));
    let stay: Vec<_> = stay.iter().map(|(why, count)| json!({ "lines": count, "why": why.to_string() })).collect();
    how.tell(&found, gone, &says, json!({ "dropped": gone, "stay": stay }))
}

/// Whether every replica holds this keyring: one that opens more still needs the rules about it.
fn all_hold(keyring: &Keyring, replicas: &[Replica]) -> anyhow::Result<()> {
    if replicas.is_empty() {
        bail!(
            "nothing is dropped: nobody said whether every server has retired these epochs; name the admin listeners with `--against URL…`, or say `--alone`"
        );
    }
    let unfit = |Replica { url, answer }: &Replica| match answer.as_ref().map(|answer| answer.differences(keyring)) {
        Ok(differences) => differences.first().map(|difference| format!("{url} {difference}")),
        Err(why) => Some(format!("{url} {why}")),
    };
    match replicas.iter().filter_map(unfit).collect::<Vec<_>>() {
        unfit if unfit.is_empty() => Ok(()),
        unfit => bail!("nothing is dropped, since not every server holds this keyring: {}", unfit.join("; ")),
    }
}

fn lines(count: usize) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{count} lines") }
}

/// The rule in the words of a command line.
fn from_words(words: &[String]) -> anyhow::Result<Rule> {
    if words.iter().any(|word| word.contains('#')) {
        return Err(Misuse("a note is given with --note".to_owned()).into());
    }
    if words.iter().any(|word| word.starts_with("v2:") || word.starts_with("v3:")) {
        return Err(Misuse(
            "that is no rule. Was it an AuthID? It does not belong on a command line, where others can read it: give it to `authseal authid revoke` on standard input".to_owned(),
        )
        .into());
    }
    Ok(Rule::parse(&words.join(" ")).map_err(|wrong| Misuse(wrong.to_string()))?)
}

/// The rules on standard input, each with its own note or else with `note`.
fn from_input(note: &str) -> anyhow::Result<Vec<(Rule, String)>> {
    let mut rules = read_rules(io::stdin().lock())
        .context("cannot read standard input")?
        .map_err(|why| Misuse(format!("nothing was added; on standard input: {why}")))?;
    for (_, own) in &mut rules {
        *own = if own.is_empty() { note.to_owned() } else { own.chars().take(MAX_NOTE).collect() };
    }
    Ok(rules)
}

impl Found {
    /// Writes into rules about logins what tells `compact` when they are needed no more: as of now, whatever they say of an
    /// earlier time, since these logins may have been sealed anew until now. Gives what is to be warned of.
    fn complete<'a>(&self, rules: impl Iterator<Item = &'a mut Rule>) -> Option<String> {
        let at = Timestamp::from_second(Clock::system().now()).ok();
        let through = self.keyring.as_ref().map(Keyring::newest);
        let logins = rules.filter_map(|rule| match rule {
            Rule::Grant(_, recorded) => Some(recorded),
            _ => None,
        });
        let mut undated = 0;
        for recorded in logins {
            *recorded = match &through {
                Ok(newest) => Recorded { through: recorded.through.max(Some(*newest)), at },
                Err(_) => Recorded::default(),
            };
            undated += usize::from(through.is_err());
        }
        let why = through.err().filter(|_| undated > 0)?;
        Some(format!("`compact` will never drop this, since the newest epoch is not known: {why}"))
    }
}

impl How {
    /// For people, or as JSON: `more` with what is common to all.
    fn tell(&self, found: &Found, lines: usize, says: &[String], mut more: Value) -> anyhow::Result<()> {
        if !self.json {
            says.iter().for_each(|line| println!("{line}"));
            return Ok(());
        }
        more["denylist"] = found.denylist.display().to_string().into();
        more["changed"] = (lines > 0 && !self.dry_run).into();
        more["dry_run"] = self.dry_run.into();
        json::print(&more)
    }
}
