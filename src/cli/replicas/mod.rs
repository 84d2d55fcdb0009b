//! Asking replicas at their admin listeners, all at once: above all what keyring they hold, `GET /keyring`, and how that
//! differs from the keyring at hand.

mod keyring;
mod told;

pub(super) use keyring::{Hex, ReplicaKeyring, Time};
pub(super) use told::Told;

use crate::cli::config_args::{ConfigFile, seen_from_here};
use crate::cli::{UsageError, block_on};
use crate::config::Config;
use crate::provider::bundled_tls;
use crate::seal::Keyring;
use anyhow::Context;
use clap::Args;
use futures_util::future::join_all;
use keyring::Difference;
use reqwest::{Client, StatusCode, redirect};
use serde::Serialize;
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// After this time it is said that a replica is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// And after as much again as this it counts as one that does not answer.
const MORE: Duration = Duration::from_secs(3);
/// The longest answer, in bytes; thousands of epochs take less.
const MAX_ANSWER: usize = 1024 * 1024;

#[derive(Args)]
pub(super) struct Against {
    /// The admin listeners of all replicas, each for itself and not through a balancer [default: the configured
    /// `admin.listen`, if it answers]
    #[arg(long = "against", value_name = "URL", num_args = 1.., value_parser = admin_url)]
    urls: Vec<Url>,
}

/// The arguments of a command that tells what replicas answer.
#[derive(Args)]
pub(super) struct Asking {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    against: Against,
    /// Output as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A replica, and what it said or why it said nothing.
pub(super) struct Replica<A = ReplicaKeyring> {
    pub(super) url: String,
    pub(super) answer: Result<A, String>,
}

impl Against {
    /// Whether replicas were named.
    pub(super) fn is_named(&self) -> bool {
        !self.urls.is_empty()
    }

    /// Asks the replicas that were named. If none were, it asks the server of this machine, and returns nothing if that
    /// does not answer.
    pub(super) fn ask<A: Told>(&self, own_listener: Option<&Url>) -> anyhow::Result<Vec<Replica<A>>> {
        if !self.urls.is_empty() {
            return ask(&self.urls);
        }
        let Some(own) = own_listener else { return Ok(Vec::new()) };
        let mut replicas = ask(std::slice::from_ref(own))?;
        replicas.retain(|replica| {
            let Replica { url, answer } = replica;
            match answer {
                Ok(_) => eprintln!("asked {url}, the server of this machine; name others with --against"),
                Err(why) => eprintln!("the server of this machine was not asked: {url} {why}"),
            }
            answer.is_ok()
        });
        Ok(replicas)
    }
}

impl Asking {
    /// Asks, and has at least one answer or failure; a configuration, which knows the server of this machine, is not
    /// needed where replicas are named. `advice` is for whoever asked nobody.
    pub(super) fn ask<A: Told>(&self, advice: &str) -> anyhow::Result<Vec<Replica<A>>> {
        let own = self.config.load().map(|config| own_listener(&config));
        let own = if self.against.is_named() { own.unwrap_or_default() } else { own? };
        let replicas = self.against.ask(own.as_ref())?;
        if replicas.is_empty() { Err(UsageError(advice.to_owned()).into()) } else { Ok(replicas) }
    }
}

/// What came of comparing one replica with the keyring at hand.
#[derive(Serialize)]
pub(super) struct Verdict {
    url: String,
    verdict: &'static str,
    pub(super) digest: Option<Hex>,
    differences: Vec<Difference>,
    error: Option<String>,
}

/// What comes of comparing each replica with `keyring`.
pub(super) fn verdicts(keyring: &Keyring, replicas: &[Replica]) -> Vec<Verdict> {
    let verdict = |Replica { url, answer }: &Replica| {
        let url = url.clone();
        match answer {
            Err(error) => {
                Verdict { url, verdict: "no_answer", digest: None, differences: Vec::new(), error: Some(error.clone()) }
            }
            Ok(answer) => {
                let differences = answer.differences(keyring);
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

/// The admin listener that a configuration asks for, as seen from the machine that it is on.
pub(super) fn own_listener(config: &Config) -> Option<Url> {
    let address = config.listeners.admin.first().copied().map(seen_from_here)?;
    Url::parse(&format!("http://{address}")).ok()
}

pub(super) fn admin_url(text: &str) -> Result<Url, &'static str> {
    let plain = |url: &Url| url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && plain(url));
    url.ok_or("must be like http://10.0.0.5:9464; an epoch goes before --against")
}

pub(super) fn ask<A: Told>(urls: &[Url]) -> anyhow::Result<Vec<Replica<A>>> {
    let client = client().context("the HTTP client cannot be set up")?;
    block_on(join_all(urls.iter().map(|url| patiently(&client, url))))
}

async fn patiently<A: Told>(client: &Client, url: &Url) -> Replica<A> {
    let shown = url.as_str().trim_end_matches('/').to_owned();
    let mut exchange = pin!(exchange(client, format!("{shown}{}", A::PATH)));
    let answer = match timeout(PATIENCE, exchange.as_mut()).await {
        Ok(answer) => answer,
        Err(_) => {
            eprintln!("{shown} has not answered yet; {} seconds more", MORE.as_secs());
            let late = || Err(format!("does not answer within {} seconds", (PATIENCE + MORE).as_secs()));
            timeout(MORE, exchange).await.unwrap_or_else(|_| late())
        }
    };
    Replica { url: shown, answer }
}

/// One request. Its error is the end of a sentence that begins with the URL.
async fn exchange<A: Told>(client: &Client, url: String) -> Result<A, String> {
    let no_answer = |error: reqwest::Error| {
        let error = anyhow::Error::from(error.without_url());
        format!("does not answer ({})", error.root_cause())
    };
    let mut response = client.get(url).send().await.map_err(no_answer)?;
    if response.status() == StatusCode::MISDIRECTED_REQUEST {
        return Err("is not asked under that name; list it in its `admin.names`, or name its address".to_owned());
    }
    if !response.status().is_success() {
        return Err(format!("answers {}; is that the admin listener of an authseal?", response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            break; // nothing that is asked for is that long
        }
    }
    serde_json::from_slice(&body)
        .map_err(|_| format!("answers with something else than {}; is that its admin listener?", A::WHAT))
}

/// Trusts what this machine trusts; an empty container has no certificates, so there it is what is built in.
pub(super) fn client() -> anyhow::Result<Client> {
    let builder = || Client::builder().redirect(redirect::Policy::none()).no_proxy();
    match builder().build() {
        Ok(client) => Ok(client),
        Err(_) => Ok(builder().tls_backend_preconfigured(bundled_tls()?).build()?),
    }
}
