//! `authseal healthcheck`: a container has no curl.

use super::block_on;
use anyhow::{Context, anyhow};
use clap::Args;
use std::time::Duration;

#[derive(Args)]
pub(super) struct Healthcheck {
    /// The server to ask
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: url::Url,
}

pub(super) fn healthcheck(healthcheck: &Healthcheck) -> anyhow::Result<()> {
    let url = healthcheck.url.join("/readyz").context("the URL cannot be used")?;
    let status = block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(3)).build()?;
        client.get(url.clone()).send().await.map(|answer| answer.status())
    })?;
    let status = status.with_context(|| format!("{url} does not answer"))?;
    if status.is_success() {
        println!("ready");
        return Ok(());
    }
    Err(anyhow!("{url} answers {status}"))
}
