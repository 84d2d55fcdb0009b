//! `authseal keys verify`: whether all replicas hold this keyring.

use super::keyring_source::KeyringArgs;
use crate::cli::counted::counted;
use crate::cli::replicas::{Against, Verdict, verdicts};
use crate::cli::{UsageError, json};
use anyhow::bail;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Args)]
pub(in crate::cli) struct Verify {
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
    same: bool,
    replicas: Vec<Verdict>,
}

pub(super) fn run(verify: &Verify) -> anyhow::Result<()> {
    let target = verify.keyring.find()?;
    let replicas = verify.against.ask(target.own_listener.as_ref())?;
    if replicas.is_empty() {
        return Err(UsageError(
            "nobody was asked; name the replicas' admin listeners with `--against URL…`".to_owned(),
        )
        .into());
    }
    let verdicts = verdicts(&target.keyring, &replicas);
    let differ = verdicts.iter().filter(|verdict| !verdict.is_same()).count();
    let all = verdicts.len();
    let digest = target.keyring.digest();
    let theirs: BTreeSet<_> = verdicts.iter().map(|verdict| verdict.digest.clone()).collect();
    let agree = differ == all && all > 1 && theirs.len() == 1 && !theirs.contains(&None);
    if verify.json {
        let report = Report { keyring: target.file(), digest, same: differ == 0, replicas: verdicts };
        json::print(&report)?;
    } else {
        verdicts.iter().for_each(|verdict| println!("{}", verdict.line()));
        if differ == 0 {
            println!("all hold this keyring, {digest}");
        }
    }
    match differ {
        0 => Ok(()),
        _ if agree => bail!("all {all} replicas hold one and the same keyring, but another than {}", target.place),
        1 => bail!("1 of {} does not hold {}", counted(all, "replica"), target.place),
        _ => bail!("{differ} of {} do not hold {}", counted(all, "replica"), target.place),
    }
}
