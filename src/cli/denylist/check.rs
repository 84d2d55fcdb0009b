//! `authseal denylist check`: whether servers would take the file up, and what in it looks like a mistake.

use super::TORN;
use super::target::Look;
use crate::cli::counted::counted;
use crate::cli::json;
use crate::clock::Clock;
use crate::denylist::{DenylistError, FaultyLine, Rule, lines};
use crate::watch;
use serde::Serialize;
use serde_json::{Value, json};

/// How many doubts are told one by one.
const MAX_DOUBTS: usize = 20;

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
        warnings.push(TORN.to_owned());
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
        let rules = counted(epoch + service + login_before + grant + legacy, "rule");
        println!("{}: good; {rules}: {kinds}", target.denylist.display());
    }
    Ok(())
}

fn fault(fault: &FaultyLine) -> Value {
    json!({ "line": fault.line, "says": fault.wrong.to_string() })
}
