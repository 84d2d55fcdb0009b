//! `authseal denylist list` and `check`: the commands that only read the file, line by line, since there may be a million.

use super::target::Files;
use crate::cli::json;
use crate::cli::plain::plain;
use crate::clock::{Clock, rfc3339};
use crate::denylist::{DenylistError, FaultyLine, Line, Recorded, Rule, lines};
use crate::seal::Epoch;
use crate::watch;
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};

/// How many doubts are told one by one.
const MAX_DOUBTS: usize = 20;

#[derive(Args)]
pub(in crate::cli) struct Look {
    #[command(flatten)]
    files: Files,
    /// Output as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn list(look: &Look) -> anyhow::Result<()> {
    let path = look.files.find()?.denylist;
    let mut out = BufWriter::new(io::stdout().lock());
    let between = if json::for_people() { "\n" } else { "" };
    let mut rows = 0;
    let mut row = |line: &Line<'_>, rule: &Rule| {
        let text = String::from_utf8_lossy(line.bytes);
        match (look.json, rows) {
            (false, _) => writeln!(out, "{:>6}  {}", line.number, plain(text.trim())),
            (true, 0) => write!(out, "[{between}{}", plain(&as_json(line.number, rule, &text).to_string())),
            (true, _) => write!(out, ",{between}{}", plain(&as_json(line.number, rule, &text).to_string())),
        }?;
        rows += 1;
        Ok::<_, io::Error>(())
    };
    // A line at a time, there may be a million. When nobody reads any more, as in `… | head`, the rest is not printed.
    let mut printed = Ok(());
    let read = lines(&path, |line| {
        if let (Ok(()), Some(rule)) = (&printed, &line.rule) {
            printed = row(&line, rule);
        }
        Ok(())
    });
    // A list that could not be read to its end is not closed, so that no program takes it for the whole.
    if look.json && read.is_ok() {
        printed =
            printed.and_then(|()| writeln!(out, "{}", if rows == 0 { "[]".to_owned() } else { format!("{between}]") }));
    }
    match printed.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context("cannot write to standard output");
        }
        _ => {}
    }
    if read? {
        eprintln!("the last line is cut short and counts for nothing");
    }
    if !look.json {
        eprintln!("{rows} rules in {}", path.display());
    }
    Ok(())
}

/// A rule for programs; what it does not have is null.
fn as_json(number: usize, rule: &Rule, text: &str) -> Value {
    let note = text.split_once('#').map(|(_, note)| note.trim());
    let row = |kind: &str| json!({ "line": number, "kind": kind, "epoch": null, "service": null, "login_before": null, "grant": null, "login": null, "legacy": null, "through": null, "at": null, "note": note });
    let mut row = row(match rule {
        Rule::Epoch(_) => "epoch",
        Rule::Service(..) => "service",
        Rule::LoginBefore(..) => "login_before",
        Rule::Grant(..) => "grant",
        Rule::Legacy(_) => "legacy",
    });
    match rule {
        Rule::Epoch(epoch) => row["epoch"] = epoch.number().into(),
        Rule::Service(epoch, service) => {
            row["epoch"] = epoch.number().into();
            row["service"] = service.as_str().into();
        }
        Rule::LoginBefore(epoch, time) => {
            row["epoch"] = epoch.number().into();
            row["login_before"] = rfc3339(*time).into();
        }
        Rule::Grant(grant, Recorded { through, at }) => {
            row["grant"] = grant.to_string().into();
            row["login"] = row["grant"].clone();
            row["through"] = through.map(Epoch::number).into();
            row["at"] = at.map(|time| time.to_string()).into();
        }
        Rule::Legacy(digest) => {
            row["legacy"] = digest.to_string().into();
            row["grant"] = digest.grant().to_string().into();
            row["login"] = row["grant"].clone();
        }
    }
    row
}

/// What is told of a denylist without fault.
#[derive(Default, Serialize)]
struct Counts {
    epoch: usize,
    service: usize,
    login_before: usize,
    grant: usize,
    legacy: usize,
}

pub(super) fn check(look: &Look) -> anyhow::Result<()> {
    let target = look.files.find()?;
    let mut counts = Counts::default();
    let mut warnings = Vec::new();
    let now = Clock::system().now();
    let mut more = 0;
    let read = lines(&target.denylist, |line| {
        let Some(rule) = &line.rule else { return Ok(()) };
        *match rule {
            Rule::Epoch(_) => &mut counts.epoch,
            Rule::Service(..) => &mut counts.service,
            Rule::LoginBefore(..) => &mut counts.login_before,
            Rule::Grant(..) => &mut counts.grant,
            Rule::Legacy(_) => &mut counts.legacy,
        } += 1;
        match target.doubt(rule, now) {
            Some(_) if warnings.len() >= MAX_DOUBTS => more += 1,
            Some(doubt) => warnings.push(format!("line {}: {doubt}", line.number)),
            None => {}
        }
        Ok(())
    });
    if more > 0 {
        warnings.push(format!("and {more} more like these"));
    }
    if let Ok(true) = read {
        warnings
            .push("the last line is cut short and counts for nothing; the next rule that is added mends it".to_owned());
    }
    warnings.extend(watch::detached(&target.denylist));
    if let Err(why) = &target.keyring {
        warnings.push(format!("not compared with the keyring: {why}"));
    }
    if look.json {
        let faults = match &read {
            Err(DenylistError::Faulty(_, faults)) => faults.first.iter().map(fault).collect(),
            _ => Vec::new(),
        };
        let error = read.as_ref().err().map(ToString::to_string);
        let file = target.denylist.display().to_string();
        json::print(
            &json!({ "denylist": file, "good": read.is_ok(), "error": error, "faults": faults, "rules": counts, "warnings": warnings }),
        )?;
    }
    read?;
    if !look.json {
        warnings.iter().for_each(|warning| println!("warning: {warning}"));
        let Counts { epoch, service, login_before, grant, legacy } = counts;
        let old = if legacy > 0 { format!(", {legacy} of old AuthIDs") } else { String::new() };
        let kinds = format!(
            "{epoch} of epochs, {service} of services, {login_before} of older logins, {grant} of single logins{old}"
        );
        println!(
            "{}: good; {} rules: {kinds}",
            target.denylist.display(),
            epoch + service + login_before + grant + legacy
        );
    }
    Ok(())
}

fn fault(fault: &FaultyLine) -> Value {
    json!({ "line": fault.line, "says": fault.wrong.to_string() })
}
