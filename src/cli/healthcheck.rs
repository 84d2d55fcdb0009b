//! `authseal healthcheck`: a container has no curl.

use super::block_on;
use super::configured::{ConfigFile, seen_from_here};
use anyhow::anyhow;
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use url::Url;

/// Where a server listens that is not told.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

#[derive(Args)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    file: ConfigFile,
    /// The server to ask, by http [default: the first address that the configuration listens on]
    #[arg(long, value_parser = plain_url)]
    url: Option<Url>,
}

pub(super) fn healthcheck(healthcheck: &Healthcheck) -> anyhow::Result<()> {
    let base = match &healthcheck.url {
        Some(url) => url.clone(),
        None => Url::parse(&format!("http://{}", listens(&healthcheck.file)))?,
    };
    let url = base.join("/readyz")?;
    let answer = block_on(async {
        // No certificates: none are needed for http, and an empty container has none to load.
        let client =
            reqwest::Client::builder().tls_certs_only([]).no_proxy().timeout(Duration::from_secs(3)).build()?;
        client.get(url.clone()).send().await
    })?;
    let status = answer
        .map_err(|error| {
            let error = anyhow::Error::from(error.without_url());
            anyhow!("{url} does not answer ({}); is authseal running, and is --url right?", error.root_cause())
        })?
        .status();
    if status.is_success() {
        println!("ready");
        return Ok(());
    }
    Err(anyhow!("{url} answers {status}"))
}

fn plain_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.has_host());
    url.ok_or("must be like http://127.0.0.1:8080")
}

/// Where the server listens, as seen from here. A file that was edited to no good since the start does not make a
/// running server ill.
fn listens(file: &ConfigFile) -> SocketAddr {
    let listen = file.load().map(|config| config.listen);
    if listen.is_err() {
        eprintln!("authseal: the configuration has faults (`authseal check` lists them); asking {DEFAULT}");
    }
    seen_from_here(listen.ok().and_then(|listen| listen.first().copied()).unwrap_or(DEFAULT))
}
