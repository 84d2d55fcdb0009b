//! `authseal keys verify`: do all replicas hold this keyring?

use super::answer::{Difference, Hex};
use super::replicas::{Against, Replica};
use super::source::{Found, Source};
use crate::cli::{Misuse, json};
use anyhow::bail;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Args)]
pub(in crate::cli) struct Verify {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    against: Against,
    /// Say it as a JSON object
    #[arg(long)]
    json: bool,
}

/// What came of comparing one replica with the keyring at hand.
#[derive(Serialize)]
pub(super) struct Verdict {
    url: String,
    verdict: &'static str,
    digest: Option<Hex>,
    differences: Vec<Difference>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Report {
    keyring: Option<String>,
    digest: String,
    same: bool,
    replicas: Vec<Verdict>,
}

pub(super) fn run(verify: &Verify) -> anyhow::Result<()> {
    let found = verify.source.find()?;
    let replicas = verify.against.ask(found.own_listener.as_ref())?;
    if replicas.is_empty() {
        return Err(
            Misuse("nobody was asked; name the replicas' admin listeners with `--against URL…`".to_owned()).into()
        );
    }
    let verdicts = verdicts(&found, &replicas);
    let differ = verdicts.iter().filter(|verdict| !verdict.is_same()).count();
    let (all, digest) = (verdicts.len(), found.keyring.digest());
    let theirs: BTreeSet<_> = verdicts.iter().map(|verdict| verdict.digest.clone()).collect();
    let agree = differ == all && all > 1 && theirs.len() == 1 && !theirs.contains(&None);
    if verify.json {
        let report = Report { keyring: found.file(), digest, same: differ == 0, replicas: verdicts };
        json::print(&report)?;
    } else {
        verdicts.iter().for_each(|verdict| println!("{}", verdict.line()));
        if differ == 0 {
            println!("all hold this keyring, {digest}");
        }
    }
    match differ {
        0 => Ok(()),
        _ if agree => bail!("all {all} replicas hold one and the same keyring, but another than {}", found.place),
        _ => bail!("{differ} of {all} replicas do not hold {}", found.place),
    }
}

pub(super) fn verdicts(found: &Found, replicas: &[Replica]) -> Vec<Verdict> {
    let verdict = |Replica { url, answer }: &Replica| {
        let url = url.clone();
        match answer {
            Err(error) => {
                Verdict { url, verdict: "no_answer", digest: None, differences: Vec::new(), error: Some(error.clone()) }
            }
            Ok(answer) => {
                let differences = answer.differences(&found.keyring);
                let verdict = if differences.is_empty() { "same" } else { "differs" };
                Verdict { url, verdict, digest: Some(answer.digest.clone()), differences, error: None }
            }
        }
    };
    replicas.iter().map(verdict).collect()
}

impl Verdict {
    pub(super) fn is_same(&self) -> bool {
        self.error.is_none() && self.differences.is_empty()
    }

    /// `http://10.0.0.5:9464 lacks epoch 5, has another secret for epoch 4`.
    pub(super) fn line(&self) -> String {
        let Self { url, error, differences, .. } = self;
        let differences: Vec<_> = differences.iter().map(ToString::to_string).collect();
        match error {
            Some(error) => format!("{url} {error}"),
            None if differences.is_empty() => format!("{url} holds this keyring"),
            None => format!("{url} {}", differences.join(", ")),
        }
    }
}
