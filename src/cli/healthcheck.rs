//! `authseal healthcheck`: the readiness probe of a container that has no curl.

use super::block_on;
use super::config_args::{ConfigFile, seen_from_here};
use crate::config::Config;
use crate::net::names_loopback;
use crate::provider::bundled_tls;
use anyhow::anyhow;
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use url::Url;

/// Where a server listens that is not told.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal healthcheck
  authseal healthcheck --url https://127.0.0.1:8443";

#[derive(Args)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    file: ConfigFile,
    /// The server to ask [default: the first address that the configuration listens on]
    #[arg(long, value_parser = base_url)]
    url: Option<Url>,
}

pub(super) fn healthcheck(healthcheck: &Healthcheck) -> anyhow::Result<()> {
    let base = match &healthcheck.url {
        Some(url) => url.clone(),
        None => Url::parse(&listens(&healthcheck.file))?,
    };
    let url = base.join("/readyz")?;
    let answer = block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(3));
        let client = match names_loopback(&url) {
            // The certificate is for the public name, and nobody is between this machine and itself.
            true => client.tls_certs_only([]).tls_danger_accept_invalid_certs(true),
            // Not the machine's: an empty container has none.
            false => client.tls_backend_preconfigured(bundled_tls()?),
        };
        let answer = client.build()?.get(url.clone()).send().await;
        answer.map_err(|error| {
            let error = anyhow::Error::from(error.without_url());
            anyhow!("{url} does not answer ({}); is authseal running, and is --url right?", error.root_cause())
        })
    })?;
    let status = answer?.status();
    if status.is_success() {
        println!("ready");
        return Ok(());
    }
    Err(anyhow!("{url} answers {status}"))
}

fn base_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or("must be like http://127.0.0.1:8080 or https://127.0.0.1:8443")
}

/// Where the server listens, as seen from here. A file that was edited to no good since the start does not make a
/// running server ill.
fn listens(file: &ConfigFile) -> String {
    let config = file.load();
    if config.is_err() {
        eprintln!("authseal: the configuration has faults (`authseal check` lists them); asking {DEFAULT}");
    }
    let first = |config: &Config| config.listeners.public.first().copied();
    let scheme = if config.as_ref().is_ok_and(|config| config.tls.is_some()) { "https" } else { "http" };
    format!("{scheme}://{}", seen_from_here(config.ok().as_ref().and_then(first).unwrap_or(DEFAULT)))
}
