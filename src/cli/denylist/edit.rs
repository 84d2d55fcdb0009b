//! `authseal denylist add`, `remove` and `compact`: the commands that change the file.

use super::target::{Files, Target};
use crate::cli::counted::counted;
use crate::cli::replicas::{Against, Replica};
use crate::cli::{UsageError, json};
use crate::clock::Clock;
use crate::denylist::{self, KeepReason, Line, Recorded, Removal, Rule, keep_reason, read_rules};
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
struct OutputArgs {
    #[command(flatten)]
    files: Files,
    /// Preview of what would happen; nothing is changed
    #[arg(long)]
    dry_run: bool,
    /// Output as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(in crate::cli) struct Add {
    /// Rule as a line of the file has it: `epoch …`, `login …` or `legacy …`; `-` for lines on standard input
    #[arg(required = true, value_name = "RULE")]
    words: Vec<String>,
    /// Addition even of a rule that names an unknown service; lines on standard input are always added
    #[arg(long)]
    force: bool,
    /// Reason, for whoever reads the file later
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Args)]
pub(in crate::cli) struct Remove {
    /// Rule as a line of the file has it; of a login's line, `through` and `at` may be left out
    #[arg(required = true, value_name = "RULE")]
    words: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Args)]
pub(in crate::cli) struct Compact {
    #[command(flatten)]
    against: Against,
    /// No questions to servers: none runs with another keyring than this
    #[arg(long, conflicts_with = "urls")]
    alone: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn add(add: &Add) -> anyhow::Result<()> {
    let note = add.note.trim();
    if note.len() > MAX_NOTE || note.contains(char::is_control) {
        return Err(UsageError(format!("a note is one line of {MAX_NOTE} bytes at most")).into());
    }
    let target = add.output.files.find()?;
    let mut wanted = match add.words.as_slice() {
        [dash] if dash == "-" => from_input(note)?,
        words => {
            let rule = from_words(words)?;
            if let Some(unknown) = target.unknown(&rule).filter(|_| !add.force) {
                return Err(UsageError(format!(
                    "{unknown}; nothing is added, since it would refuse nothing: if it is meant, say `--force`"
                ))
                .into());
            }
            vec![(rule, note.to_owned())]
        }
    };
    let mut warnings: Vec<_> = target.complete(wanted.iter_mut().map(|(rule, _)| rule)).into_iter().collect();
    let now = Clock::system().now();
    let new = denylist::add(&target.denylist, &wanted, add.output.dry_run)?;
    warnings.extend(new.iter().filter_map(|rule| Some(format!("{rule}: {}", target.doubt(rule, now)?))));
    let mut says: Vec<_> = warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    let headline = match (new.len(), add.output.dry_run) {
        (0, _) => "nothing to add: it is all there already",
        (_, true) => "nothing is changed; this would be added:",
        (_, false) => "added, and in force within two seconds wherever this file is seen:",
    };
    says.push(headline.to_owned());
    says.extend(new.iter().map(|rule| format!("  {rule}")));
    let rules: Vec<_> = new.iter().map(ToString::to_string).collect();
    let known = wanted.len() - new.len();
    add.output.tell(&target, new.len(), &says, json!({ "added": rules, "known": known, "warnings": warnings }))
}

pub(super) fn remove(remove: &Remove) -> anyhow::Result<()> {
    let target = remove.output.files.find()?;
    let rule = from_words(&remove.words)?.bare();
    // Where replicas tell each other, the others are to take it out too, and none of them may bring it back.
    let is = |line: &Line<'_>| line.rule.as_ref().is_some_and(|other| other.bare() == rule);
    let mut at = Clock::system().now();
    denylist::lines(&target.denylist, |line| {
        // Later than what it takes out.
        at = at.max(line.rule.as_ref().filter(|_| is(&line)).and_then(Rule::at).map_or(at, |at| at + 1));
        Ok(())
    })?;
    let removal = target.replicates.then(|| Removal { rule: rule.clone(), at });
    let gone = denylist::remove(&target.denylist, is, removal.as_slice(), remove.output.dry_run)?;
    if gone == 0 {
        return Err(anyhow!(
            "{} has no line for `{rule}`; `authseal denylist list` shows all",
            target.denylist.display()
        ));
    }
    let says = match remove.output.dry_run {
        true => format!("nothing is changed; `{rule}` would go ({})", lines(gone)),
        false => format!("removed `{rule}` ({}): what no other rule refuses works again", lines(gone)),
    };
    remove.output.tell(&target, gone, &[says], json!({ "removed": gone }))
}

pub(super) fn compact(Compact { against, alone, output }: &Compact) -> anyhow::Result<()> {
    let target = output.files.find()?;
    let keyring =
        target.keyring.as_ref().map_err(|why| anyhow!("which epochs are retired, the keyring knows: {why}"))?;
    if !alone && !output.dry_run {
        all_hold(keyring, &against.ask(target.own_listener.as_ref())?)?;
    }
    let mut stay: BTreeMap<KeepReason, usize> = BTreeMap::new();
    // Counted on a first reading, since what is removed may take several.
    denylist::lines(&target.denylist, |line| {
        let why = line.rule.as_ref().and_then(|rule| keep_reason(rule, keyring));
        why.into_iter().for_each(|why| *stay.entry(why).or_default() += 1);
        Ok(())
    })?;
    let goes = |line: &Line<'_>| {
        let rule = line.rule.as_ref().or(line.removal.as_ref().map(|removal| &removal.rule));
        rule.is_some_and(|rule| keep_reason(rule, keyring).is_none())
    };
    let gone = denylist::remove(&target.denylist, goes, &[], output.dry_run)?;
    let mut says = vec![match (gone, output.dry_run) {
        (0, _) => "nothing to drop: every rule is needed".to_owned(),
        (_, true) => format!("nothing is changed; {} would be dropped, all about retired epochs", lines(gone)),
        (_, false) => format!("dropped {}, all about retired epochs", lines(gone)),
    }];
    says.extend(stay.iter().map(|(why, count)| format!("{} must stay: {why}", lines(*count))));
    let stay: Vec<_> = stay.iter().map(|(why, count)| json!({ "lines": count, "why": why.to_string() })).collect();
    output.tell(&target, gone, &says, json!({ "dropped": gone, "stay": stay }))
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
    counted(count, "line")
}

/// The rule in the words of a command line.
fn from_words(words: &[String]) -> anyhow::Result<Rule> {
    if words.iter().any(|word| word.contains('#')) {
        return Err(UsageError("a note is given with --note".to_owned()).into());
    }
    if words.iter().any(|word| word.starts_with("v2:") || word.starts_with("v3:")) {
        return Err(UsageError(
            "that is no rule. Was it an AuthID? It does not belong on a command line, where others can read it: give it to `authseal authid revoke` on standard input".to_owned(),
        )
        .into());
    }
    Ok(Rule::parse(&words.join(" ")).map_err(|wrong| UsageError(wrong.to_string()))?)
}

/// The rules on standard input, each with its own note or else with `note`.
fn from_input(note: &str) -> anyhow::Result<Vec<(Rule, String)>> {
    let mut rules = read_rules(io::stdin().lock())
        .context("cannot read standard input")?
        .map_err(|why| UsageError(format!("nothing was added; on standard input: {why}")))?;
    for (_, own) in &mut rules {
        *own = if own.is_empty() { note.to_owned() } else { own.chars().take(MAX_NOTE).collect() };
    }
    Ok(rules)
}

impl Target {
    /// Writes into rules about logins what tells `compact` when they are needed no more: as of now, whatever they say of an
    /// earlier time, since these logins may have been sealed again until now. Gives what is to be warned of.
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

impl OutputArgs {
    /// For people, or as JSON: `more` with what is common to all.
    fn tell(&self, target: &Target, lines: usize, says: &[String], mut more: Value) -> anyhow::Result<()> {
        if !self.json {
            says.iter().for_each(|line| println!("{line}"));
            return Ok(());
        }
        more["denylist"] = target.denylist.display().to_string().into();
        more["changed"] = (lines > 0 && !self.dry_run).into();
        more["dry_run"] = self.dry_run.into();
        json::print(&more)
    }
}
