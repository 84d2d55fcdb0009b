//! `authseal reload`: has a running server read its configuration again, waits for what comes of it, and says that.
//!
//! The server is asked at its admin listener. It judges by its own environment and rights, which are not those of whoever
//! asks; here the configuration is read for nothing but that listener's address.

use super::config_args::{ConfigFile, seen_from_here};
use super::{UsageError, block_on, json, replicas};
use crate::app::{Outcome, Verdict};
use crate::config::Config;
use anyhow::anyhow;
use clap::Args;
use reqwest::StatusCode;
use std::time::Duration;
use thiserror::Error;
use url::Url;

/// How long the server may take: as long as slow disks do.
const PATIENCE: Duration = Duration::from_secs(60);
/// What to do where nobody can be asked.
const INSTEAD: &str = "admin.listen is not set, so there is nobody to ask for the verdict: send the server SIGHUP \
    (`systemctl reload authseal`, `docker kill --signal HUP NAME`) and read its log, or set admin.listen and restart it once";

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal reload
  authseal reload --url http://127.0.0.1:9464

Exit codes: 0 the changed configuration is in force; 1 the server was not reached;
2 it has faults; 3 it is good, and something in it needs a restart. After 1, 2 and
3 the server continues with the configuration that it had.";

#[derive(Args)]
pub(super) struct Reload {
    #[command(flatten)]
    file: ConfigFile,
    /// The server's admin listener [default: the first address of `admin.listen`]
    #[arg(long, value_parser = replicas::admin_url)]
    url: Option<Url>,
    /// Output as a JSON object
    #[arg(long)]
    json: bool,
}

/// A configuration that the server did not take up, in sentences.
#[derive(Debug, Error)]
#[error("{says}")]
pub(super) struct NotReloaded {
    pub(super) needs_restart: bool,
    says: String,
}

pub(super) fn reload(reload: &Reload) -> anyhow::Result<()> {
    let url = match &reload.url {
        Some(url) => url.clone(),
        None => {
            let listeners = Config::admin_listeners(&reload.file.sources(Vec::new())?)?;
            let first = listeners.first().copied().map(seen_from_here);
            Url::parse(&format!("http://{}", first.ok_or_else(|| UsageError(INSTEAD.to_owned()))?))?
        }
    };
    let verdict = block_on(ask(url.as_str().trim_end_matches('/')))??;
    if reload.json {
        json::print(&verdict)?;
    } else {
        verdict.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    }
    let Verdict { outcome, changed, needs_restart, faults, .. } = &verdict;
    let lines = |lines: &[String]| lines.iter().map(|line| format!("\n  {line}")).collect::<String>();
    let stays = "the server continues with the configuration that it had";
    let says = match outcome {
        Outcome::Applied if reload.json => return Ok(()),
        Outcome::Applied if changed.is_empty() => {
            println!("reloaded: no key has changed; the files that the keys name were read again");
            return Ok(());
        }
        Outcome::Applied => {
            println!("reloaded; changed:{}", lines(changed));
            return Ok(());
        }
        Outcome::Refused => format!("not reloaded, {stays}. What is wrong:{}", lines(faults)),
        Outcome::NeedsRestart => format!("not reloaded, {stays}. Needs a restart:{}", lines(needs_restart)),
    };
    Err(NotReloaded { needs_restart: *outcome == Outcome::NeedsRestart, says }.into())
}

async fn ask(url: &str) -> anyhow::Result<Verdict> {
    let no_answer = |error: reqwest::Error| {
        let error = anyhow::Error::from(error.without_url());
        anyhow!(
            "{url} does not answer ({}); is authseal running, and is admin.listen what it was at its start? --url names the \
             listener",
            error.root_cause()
        )
    };
    let request = replicas::client()?.post(format!("{url}/reload")).timeout(PATIENCE);
    let answer = request.send().await.map_err(no_answer)?;
    match answer.status() {
        StatusCode::FORBIDDEN => Err(anyhow!("{url} takes this on its own machine, or in its own container, only")),
        StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT => {
            let body = answer.bytes().await.map_err(no_answer)?;
            serde_json::from_slice(&body)
                .map_err(|_| anyhow!("{url} answers with something else than a verdict; is that its admin listener?"))
        }
        other => Err(anyhow!("{url} answers {other}; is that the admin listener of an authseal that can reload?")),
    }
}
