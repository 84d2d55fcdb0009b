//! `authseal denylist list`: line by line, since there may be a million.

use super::target::Look;
use crate::cli::counted::counted;
use crate::cli::json;
use crate::cli::plain::plain;
use crate::clock::rfc3339;
use crate::denylist::{Line, Recorded, Rule, lines};
use crate::seal::Epoch;
use anyhow::Context;
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};

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
        eprintln!("{} in {}", counted(rows, "rule"), path.display());
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
